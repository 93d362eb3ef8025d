"""The command about zones: what the configured grid sources answer for, and where a cloud region lies.

Public tables place regions without a daemon too; rows of the settings come from the daemon that was started with them.
"""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from lowtide.scheduler.cli import quick
from lowtide.scheduler.cli.output import check_format, show, warn
from lowtide.scheduler.cli.root import Output, app, target
from lowtide.scheduler.cli.table import Cell, Column, table
from lowtide.scheduler.cli.words import NONE
from lowtide.scheduler.model.errors import Unreachable

Json = dict[str, Any]
SHOWN = 12
"""Zones of one source in a table; -o wide and the other formats list all."""


@app.command(cls=quick.Command, rich_help_panel="Grid and accounts")
def zones(
    ctx: typer.Context,
    region: Annotated[
        str | None, typer.Option("--region", metavar="REGION", help="Where a cloud region lies: aws:eu-west-1.")
    ] = None,
    output: Output = "table",
) -> None:
    """List what each grid source answers for, or map a cloud region to its zone."""
    check_format(output)
    if region is not None:
        told = _placements(ctx, region)
        show(output, told, human=lambda: _regions_text(told))
        return
    daemon = target(ctx).connect()
    found = daemon.items("/v1/zones")
    shown = None if output == "wide" else SHOWN
    show(output, found, human=lambda: _listing(found, daemon.items("/v1/regions"), shown), rows=lambda: _flat(found))


def _placements(ctx: typer.Context, region: str) -> list[Json]:
    """The zones of a region with their sources; an ambiguous one is refused."""
    try:
        return target(ctx).connect().items("/v1/regions", region=region)
    except Unreachable:
        from lowtide.connectors.grid.regions import agreed  # noqa: PLC0415 - status does not need it

        warn("No daemon answered: this is what public tables say, without the rows of its settings.")
        return [asdict(one) for one in agreed(region)]


def _regions_text(told: list[Json]) -> str:
    names = ("ZONE", "CLOUD REGION", "AS NAMED BY", "ORIGIN")
    rows = [[Cell(text) for text in _region_row(one)] for one in told]
    return table([*(Column(name) for name in names), Column("SAYS", is_flexible=True)], rows)


def _region_row(one: Json) -> list[str]:
    return [one["zone"], one["region"], one["naming"] or "any source", one["origin"], one["source"] or NONE]


def _listing(found: list[Json], regions: list[Json], shown: int | None) -> str:
    """The sources, and under them the regions that the settings place."""
    return "\n".join([_sources_text(found, shown), *(["", _regions_text(regions)] if regions else [])])


def _sources_text(found: list[Json], shown: int | None) -> str:
    rows = [[Cell(text) for text in _row(source, shown)] for source in found]
    names = ("SOURCE", "SIGNAL", "BASIS", "ACCOUNTING", "FORECAST", "IN USE")
    listing = table([*(Column(name) for name in names), Column("ZONES", is_flexible=True)], rows)
    return "\n".join([listing, *_troubles(found)])


def _row(source: Json, shown: int | None) -> list[str]:
    meaning = [source[key] or NONE for key in ("signal", "basis", "accounting")]
    forecasts = {True: "yes", False: "no", None: NONE}[source["forecasts"]]
    every = [zone["zone"] for zone in source["zones"]]
    more = "" if shown is None or len(every) <= shown else f" and {len(every) - shown} more"
    listed = ", ".join(every[:shown]) + more
    return [source["source"], *meaning, forecasts, ", ".join(source["in_use"]) or NONE, listed or NONE]


def _troubles(found: list[Json]) -> list[str]:
    """What is wrong with a source, and what to do, each a line."""
    told = [_trouble(one["source"], why) for one in found for why in one["failures"]]
    return list(dict.fromkeys(told))


def _trouble(source: str, why: Json) -> str:
    says_whose = str(why["detail"]).startswith(source)
    return f"{'' if says_whose else f'{source}: '}{why['detail']} {why['fix']}".rstrip()


def _flat(found: list[Json]) -> list[Json]:
    """A row for each zone, and one for a source that lists none."""
    rows: list[Json] = []
    for source in found:
        common = {key: source[key] for key in ("source", "signal", "basis", "accounting")}
        common["trouble"] = "; ".join(why["detail"] for why in source["failures"])
        for zone in source["zones"] or [{"zone": None, "name": None, "forecasts": None}]:
            said = zone["forecasts"]
            rows.append(common | zone | {"forecasts": source["forecasts"] if said is None else said})
    return rows
