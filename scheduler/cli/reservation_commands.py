"""Commands for administrators about capacity that is kept free: drains and reservations."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from lowtide.scheduler.cli import quick
from lowtide.scheduler.cli.output import check_format, show
from lowtide.scheduler.cli.policy_commands import HELP, admin
from lowtide.scheduler.cli.root import Output, target
from lowtide.scheduler.cli.table import Cell, Column, table
from lowtide.scheduler.cli.words import NONE
from lowtide.scheduler.model.errors import BadInput

Json = dict[str, Any]
Place = Annotated[str, typer.Argument(metavar="SITE[/POOL]", help="A site, or one of its pools.")]
From = Annotated[str | None, typer.Option("--from", metavar="TIME", help="Default: now. Clock times are UTC.")]
Until = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Default: until it is ended.")]
Why = Annotated[str | None, typer.Option("--why", metavar="TEXT", help="Kept on record.")]
reservation = typer.Typer(
    cls=quick.Group,
    help="Capacity kept free: for a project or a queue, or for nobody.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings=HELP,
)
admin.add_typer(reservation, name="reservation")


@admin.command(cls=quick.Command)
def drain(
    ctx: typer.Context,
    place: Place,
    start: From = None,
    end: Until = None,
    why: Why = None,
    output: Output = "table",
) -> None:
    """Start nothing at a site or pool, and suspend in time what can be; tells which jobs run on."""
    check_format(output)
    order = {**_place(place), "start": start or "", "end": end or "", "why": why}
    found = target(ctx).connect().post("/v1/reservations", order)
    show(output, found, human=lambda: _made(found))


@admin.command(cls=quick.Command)
def resume(ctx: typer.Context, place: Place, why: Why = None, output: Output = "table") -> None:
    """End the drains of a site or pool."""
    check_format(output)
    found = target(ctx).connect().post("/v1/reservations/resume", {**_place(place), "why": why})["items"]
    show(output, found, human=lambda: f"{place} is drained no more.")


@reservation.command(cls=quick.Command)
def add(
    ctx: typer.Context,
    place: Place,
    *,
    start: From = None,
    end: Until = None,
    gpus: Annotated[str | None, typer.Option("--gpus", metavar="N", help="Default: all.")] = None,
    cpus: Annotated[
        str | None, typer.Option("--cpus", metavar="N", help="Default: as many as go with the GPUs.")
    ] = None,
    project: Annotated[str | None, typer.Option("--project", metavar="NAME", help="Whose jobs may use it.")] = None,
    queue: Annotated[str | None, typer.Option("--queue", metavar="NAME", help="Whose jobs may use it.")] = None,
    why: Why = None,
    output: Output = "table",
) -> None:
    """Keep capacity free for a project or a queue (with both, for the one's jobs in the other), or for nobody."""
    check_format(output)
    amounts = {"gpus": _count("--gpus", gpus), "cpus": _count("--cpus", cpus)}
    order = {**_place(place), **amounts, "project": project, "queue": queue, "why": why}
    found = target(ctx).connect().post("/v1/reservations", {**order, "start": start or "", "end": end or ""})
    show(output, found, human=lambda: _made(found))


@reservation.command("list", cls=quick.Command)
def list_them(ctx: typer.Context, output: Output = "table") -> None:
    """List the last 200 drains and reservations, newest first."""
    check_format(output)
    found = target(ctx).connect().items("/v1/reservations")
    show(output, found, human=lambda: _list_text(found))


@reservation.command(cls=quick.Command)
def remove(
    ctx: typer.Context,
    number: Annotated[str, typer.Argument(metavar="N", help="Its number in the list.")],
    why: Why = None,
    output: Output = "table",
) -> None:
    """End a drain or reservation before its time; it stays on record."""
    check_format(output)
    which = _count("N", number)
    found = target(ctx).connect().post(f"/v1/reservations/{which}/end", {"why": why})
    show(output, found, human=lambda: f"Reservation {which} is over.")


def _place(text: str) -> Json:
    site, _, pool = text.partition("/")
    return {"site": site, "pool": pool}


def _count(what: str, text: str | None) -> int | None:
    if text is not None and not text.isdecimal():
        raise BadInput(f"{what}: {text[:40]!r} is no whole number.", fix="Write it in digits, for example 4.")
    return None if text is None else int(text)


def _made(found: Json) -> str:
    until = f"until {found['end_at']}" if found["end_at"] else "until it is ended"
    head = f"Reservation {found['number']}: {_what(found)} of {_where(found)} from {found['start_at']} {until}."
    return "\n".join((head, *_jobs(found["jobs"])))


def _jobs(found: Sequence[Json]) -> list[str]:
    told = {True: "is suspended in time if its queue lets it be", False: "cannot be suspended and runs on"}
    return [f"Job {one['job_id']}, to end at {one['ends_at']}, {told[one['can_be_suspended']]}." for one in found]


def _list_text(found: Sequence[Json]) -> str:
    if not found:
        return "Nothing is or was reserved."
    names = ("STATE", "WHERE", "WHAT", "FOR", "FROM", "UNTIL", "BY")
    rows = [
        [str(r["number"]), r["state"], _where(r), _what(r), _whom(r), r["start_at"], _until(r), r["actor"]]
        for r in found
    ]
    columns = [Column("N", is_number=True), *(Column(name) for name in names), Column("WHY", is_flexible=True)]
    whole = table(
        columns, [[Cell(text) for text in (*row, r["why"] or NONE)] for row, r in zip(rows, found, strict=True)]
    )
    running = [line for r in found for line in _jobs(r["jobs"])]
    return "\n".join((whole, *running))


def _where(one: Json) -> str:
    return f"{one['site']}/{one['pool']}" if one["pool"] else str(one["site"])


def _what(one: Json) -> str:
    return "all" if one["gpus"] is None else f"{one['gpus']} GPU(s) and {one['cpus']} CPU(s)"


def _whom(one: Json) -> str:
    whom = [f"{kind} {one[kind]}" for kind in ("project", "queue") if one[kind]]
    return ", ".join(whom) or "nobody"


def _until(one: Json) -> str:
    return str(one["ended_at"] or one["end_at"] or NONE)
