"""The command that plays a trace of jobs through policies on virtual time; it needs no daemon."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from lowtide.scheduler.cli import quick
from lowtide.scheduler.cli import simulate_options as options
from lowtide.scheduler.cli.output import check_format, show
from lowtide.scheduler.cli.root import Output, app
from lowtide.scheduler.model.data import USUAL_GBIT_PER_S, USUAL_KWH_PER_GB

if TYPE_CHECKING:
    from lowtide.scheduler.simulate.play import Play
    from lowtide.scheduler.simulate.result import Result

Json = dict[str, Any]
T = TypeVar("T")
NONE = "-"


@app.command(cls=quick.Command, rich_help_panel="Grid and accounts")
def simulate(
    jobs: Annotated[Path, typer.Option("--jobs", metavar="CSV", help="Jobs: submit_s,duration_s,gpus and more.")],
    intensity: Annotated[
        list[Path], typer.Option("--intensity", metavar="CSV", help="start_utc,g_per_kwh[,zone]; repeat it to compare.")
    ],
    policy: Annotated[list[str], typer.Option("--policy", metavar="NAME", help="A policy; repeat it to compare.")],
    forecast: Annotated[
        Path | None,
        typer.Option("--forecast", metavar="CSV", help="issued_utc,start_utc,g_per_kwh; without, perfect foresight."),
    ] = None,
    as_issued: Annotated[  # noqa: FBT002 - a flag of the command line
        bool, typer.Option("--as-issued", help="Believe --forecast as it is: no correction, no guard.")
    ] = False,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", metavar="[POLICY.]NAME=VALUE[,VALUE]", help="A parameter, and what to try for it."),
    ] = None,
    start: Annotated[str | None, typer.Option("--start", metavar="ISO", help="Default: the first intensity.")] = None,
    hours: Annotated[float | None, typer.Option("--hours", metavar="N", help="Default: all of the intensity.")] = None,
    gpus: Annotated[
        list[str] | None, typer.Option("--gpus", metavar="N[,N]", help="Of each zone; none, the default, is no limit.")
    ] = None,
    apart: Annotated[  # noqa: FBT002 - as above
        bool, typer.Option("--each-zone", help="Play each zone of a file on its own, instead of all as sites of one.")
    ] = False,
    patience: Annotated[
        str, typer.Option("--patience", metavar="LIST", help="By run time, split at a length.")
    ] = "short=6h,long=24h,split=2h",
    power_w: Annotated[float, typer.Option("--power-w", metavar="W", help="Of a GPU at work.")] = 300.0,
    slot: Annotated[str, typer.Option("--slot", metavar="TIME", help="Length of a planning slot.")] = "15m",
    switch_cost: Annotated[
        str, typer.Option("--switch-cost", metavar="TIME", help="Run time lost to a suspension.")
    ] = "0s",
    interruptible: Annotated[  # noqa: FBT002 - a flag of the command line
        bool, typer.Option("--interruptible/--not-interruptible", help="Unless the trace says.")
    ] = True,
    clairvoyant: Annotated[  # noqa: FBT002 - as above
        bool, typer.Option("--clairvoyant", help="Show the scheduler all jobs in advance.")
    ] = False,
    estimate: Annotated[
        str, typer.Option("--estimate", metavar="KIND", help="Run times told: exact, or class-mean by patience.")
    ] = "exact",
    bound: Annotated[  # noqa: FBT002 - as above
        bool, typer.Option("--bound", help="Also the least that any schedule could emit.")
    ] = False,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", help="Play a sample of the jobs, drawn with replacement.")
    ] = None,
    transfer_kwh_per_gb: Annotated[
        float, typer.Option("--transfer-kwh-per-gb", metavar="KWH", help="Electricity of moving data between zones.")
    ] = USUAL_KWH_PER_GB,
    transfer_gbit_per_s: Annotated[
        float, typer.Option("--transfer-gbit-per-s", metavar="GBIT", help="How fast that is.")
    ] = USUAL_GBIT_PER_S,
    tariff: Annotated[
        Path | None, typer.Option("--tariff", metavar="YAML", help="What electricity costs: currency, timezone, rates.")
    ] = None,
    money_g_per_unit: Annotated[
        float, typer.Option("--money-g-per-unit", metavar="G", help="What a unit of its currency is worth, in gCO2e.")
    ] = 0.0,
    workers: Annotated[int, typer.Option("--workers", metavar="N", help="Processes that play at a time.")] = 1,
    ray: Annotated[
        str | None, typer.Option("--ray", metavar="URL", help="Play on a Ray cluster, by the URL of its dashboard.")
    ] = None,
    ray_python: Annotated[
        str, typer.Option("--ray-python", metavar="PATH", help="Python of the cluster's nodes; it needs lowtide.")
    ] = "python3",
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Also a page: intensity, GPUs at work, waiting times.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as -o json.")] = False,  # noqa: FBT002 - as above
    output: Output = "table",
) -> None:
    """Play a trace of jobs through a policy, with perfect foresight or forecasts as issued, and say what it emits."""
    check_format(output)
    if html is not None:
        options.check_page(html)
    told: Json = {
        "patience": options.patience_of(patience),
        "power_w": options.positive("--power-w", power_w),
        "slot_s": options.seconds("--slot", slot),
        "switch_s": options.seconds("--switch-cost", switch_cost),
        "is_interruptible": interruptible,
        "is_bound_wanted": bound,
        "estimate": options.estimate_of(estimate),
        "is_clairvoyant": clairvoyant,
        "seed": seed,
        "transfer_kwh_per_gb": options.positive("--transfer-kwh-per-gb", transfer_kwh_per_gb),
        "transfer_gbit_per_s": options.positive("--transfer-gbit-per-s", transfer_gbit_per_s),
        "tariff": options.tariff_of(tariff),
        "money_g_per_unit": options.worth("--money-g-per-unit", money_g_per_unit, has_tariff=tariff is not None),
    }
    bases = [replace(play, **told) for play in options.bases_of(jobs, intensity, start, hours, apart=apart)]
    issues = options.issues_of(forecast, bases, is_raw=as_issued)
    if issues is not None:
        bases = [replace(play, issued=options.issued_of(play, issues, is_raw=as_issued)) for play in bases]
    plays = _crossed(bases, options.caps_of(gpus or []), policy, param or [])
    if ray is None:
        results = _results(plays, options.positive("--workers", workers))
    else:
        results = _results_on_ray(plays, ray, ray_python)
    if html is not None:
        _write(html, plays, results)
    found = [result.report for result in results]
    show("json" if as_json else output, found[0] if len(found) == 1 else found, human=lambda: _text(found, plays))


def _crossed(bases: "list[Play]", caps: list[int | None], policies: list[str], params: list[str]) -> "list[Play]":
    from lowtide.scheduler.cli.simulate_sweep import crossed  # noqa: PLC0415 - SciPy is slow to import

    return crossed(bases, caps, policies, [options.axis_of(text) for text in params])


def _results(plays: "list[Play]", workers: int) -> "list[Result]":
    from lowtide.scheduler.cli.simulate_sweep import played_here  # noqa: PLC0415 - as above

    return played_here(_checked(plays), workers)


def _results_on_ray(plays: "list[Play]", address: str, python: str) -> "list[Result]":
    from lowtide.scheduler.cli.simulate_ray import played_on_ray  # noqa: PLC0415 - as above

    return played_on_ray(_checked(plays), address, python)


def _checked(plays: "list[Play]") -> "list[Play]":
    """Before the first is played: a mistake in the last must not cost the others."""
    from lowtide.scheduler.simulate.play import check  # noqa: PLC0415 - as above

    for play in plays:
        check(play)
    return plays


def _write(path: Path, plays: "list[Play]", results: "list[Result]") -> None:
    from lowtide.scheduler.simulate.page import page  # noqa: PLC0415 - as above

    shown = {zone: series.clip(play.start, play.end) for play in plays for zone, series in play.intensity.items()}
    named = {_name(result.report, plays): result for result in results}
    path.write_text(page(_head(plays).replace("\n", " "), shown, named), encoding="utf-8")


def _name(report: Json, plays: "list[Play]") -> str:
    """What tells one play from the others."""
    parts = [report["policy"], _params(report)]
    parts += [_zones(report)] if len({tuple(play.intensity) for play in plays}) > 1 else []
    parts += [f"{_cap(report['gpus'])} GPUs"] if len({play.gpus for play in plays}) > 1 else []
    over = report["over_bound_fraction"]
    parts += [f"{over:+.2%} over the bound"] if over is not None else []
    return ", ".join(part for part in parts if part)


def _params(report: Json) -> str:
    return " ".join(f"{name}={value:g}" for name, value in report["params"].items())


def _zones(report: Json) -> str:
    return "+".join(report["zones"])


def _cap(gpus: int | None) -> str:
    return "no limit" if gpus is None else str(gpus)


COLUMNS = (
    ("ZONES", "zones", "{}"),
    ("GPUS", "gpus", "{}"),
    ("POLICY", "policy", "{}"),
    ("PARAMETERS", "params", "{}"),
    ("EMITTED", "emissions_g", "{:,.0f} g"),
    ("COST", "cost", "{:,.2f}"),
    ("AT ONCE = 1", "ratio", "{:.4f}"),
    ("BOUND", "bound_ratio", "{:.4f}"),
    ("OVER BOUND", "over_bound_fraction", "{:+.2%}"),
    ("OF FORESIGHT", "foresight_fraction", "{:.3f}"),
    ("MEAN WAIT", "mean_wait_h", "{:.1f} h"),
    ("LONGEST", "max_wait_h", "{:.1f} h"),
    ("LATE", "late", "{}"),
    ("PEAK GPUS", "peak_gpus", "{}"),
    ("SUSPENDED", "suspensions", "{}"),
    ("TOOK", "wall_s", "{:.1f} s"),
)


TEXTS = frozenset({"zones", "policy", "params"})


def _text(found: list[Json], plays: "list[Play]") -> str:
    from lowtide.scheduler.cli.table import Cell, Column, table  # noqa: PLC0415 - only who reads it pays for it

    rows = [row for _, row in sorted(enumerate(map(_row, found)), key=lambda pair: _order(pair, found))]
    alike = {key for key in ("zones", "gpus") if len({row[key] for row in rows}) == 1}
    shown = [c for c in COLUMNS if c[1] not in alike and any(row.get(c[1]) not in {None, ""} for row in rows)]
    cells = [[Cell(NONE if row.get(key) is None else how.format(row[key])) for _, key, how in shown] for row in rows]
    columns = [Column(title, is_number=key not in TEXTS) for title, key, _ in shown]
    return "\n".join([_head(plays), table(columns, cells), *_without_bound(found, plays)])


def _without_bound(found: list[Json], plays: "list[Play]") -> list[str]:
    """Says why a bound that was asked for is not there."""
    wanted = [report for report, play in zip(found, plays, strict=True) if play.is_bound_wanted]
    missing = [f"{_cap(report['gpus'])} GPUs at {_zones(report)}" for report in wanted if _has_no_bound(report)]
    caps = ", ".join(dict.fromkeys(missing))
    why = f"No bound with {caps}: no schedule ends all of these jobs in time. Raise --gpus or --patience."
    return [why] if missing else []


def _has_no_bound(report: Json) -> bool:
    """Whether there is no bound that a report could be held against."""
    return report["bound_ratio"] is None and report["completed"] > 0


def _row(report: Json) -> Json:
    late = report["patience_misses"] + report["deadline_misses"] + report["failed"]
    told = {"zones": _zones(report), "gpus": _cap(report["gpus"]), "params": _params(report)}
    return {**report, **told, "late": late}


def _order(pair: tuple[int, Json], found: list[Json]) -> tuple[int, int, float]:
    """Zones and caps as they were given, within them the least emissions first."""
    number, row = pair
    zones, caps = [one["zones"] for one in found], [one["gpus"] for one in found]
    ratio = row["ratio"]
    return zones.index(zones[number]), caps.index(caps[number]), 0.0 if ratio is None else ratio


def _head(plays: "list[Play]") -> str:
    play, caps = plays[0], {play.gpus for play in plays}
    limit = "several limits" if len(caps) > 1 else "no limit of GPUs" if play.gpus is None else f"{play.gpus} GPUs each"
    zones = ", ".join(dict.fromkeys(zone for play in plays for zone in play.intensity))
    head = f"{len(play.jobs)} jobs from {play.start:%Y-%m-%d %H:%M} UTC at {zones} ({limit}),"
    sight = "perfect foresight" if play.issued is None else "forecasts as issued"
    use = ", believed as they are" if play.issued is not None and play.issued.is_raw else ""
    known = "in advance" if play.is_clairvoyant else "when submitted"
    return f"{head}\n{sight}{use}, jobs known {known}"
