"""The command that plays a trace of jobs through policies on virtual time; it needs no daemon."""

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from lowtide.scheduler.cli import quick
from lowtide.scheduler.cli import simulate_options as options
from lowtide.scheduler.cli.output import check_format, show
from lowtide.scheduler.cli.root import Output, app

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lowtide.scheduler.simulate.play import Play
    from lowtide.scheduler.simulate.result import Result

Json = dict[str, Any]
T = TypeVar("T")
NONE = "-"


@app.command(cls=quick.Command, rich_help_panel="Grid and accounts")
def simulate(
    jobs: Annotated[Path, typer.Option("--jobs", metavar="CSV", help="Jobs: submit_s,duration_s,gpus and more.")],
    intensity: Annotated[Path, typer.Option("--intensity", metavar="CSV", help="start_utc,g_per_kwh[,zone].")],
    policy: Annotated[list[str], typer.Option("--policy", metavar="NAME", help="A policy; repeat it to compare.")],
    forecast: Annotated[
        Path | None,
        typer.Option("--forecast", metavar="CSV", help="issued_utc,start_utc,g_per_kwh; without, perfect foresight."),
    ] = None,
    as_issued: Annotated[  # noqa: FBT002 - a flag of the command line
        bool, typer.Option("--as-issued", help="Believe --forecast as it is: no correction, no guard.")
    ] = False,
    param: Annotated[
        list[str] | None, typer.Option("--param", metavar="NAME=VALUE", help="A parameter of the policy.")
    ] = None,
    start: Annotated[str | None, typer.Option("--start", metavar="ISO", help="Default: the first intensity.")] = None,
    hours: Annotated[float | None, typer.Option("--hours", metavar="N", help="Default: all of the intensity.")] = None,
    gpus: Annotated[int | None, typer.Option("--gpus", metavar="N", help="Of each zone; without it, no limit.")] = None,
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
    play = options.play_of(jobs, intensity, start, hours)
    play = replace(
        play,
        params=tuple(options.param_of(one) for one in param or ()),
        gpus=options.positive("--gpus", gpus),
        patience=options.patience_of(patience),
        power_w=options.positive("--power-w", power_w),
        slot_s=options.seconds("--slot", slot),
        switch_s=options.seconds("--switch-cost", switch_cost),
        is_interruptible=interruptible,
        is_bound_wanted=bound,
        estimate=options.estimate_of(estimate),
        is_clairvoyant=clairvoyant,
        seed=seed,
    )
    play = replace(play, issued=options.issued_of(forecast, play, is_raw=as_issued))
    results = [_timed(replace(play, policy=name)) for name in policy]
    found = [result.report for result in results]
    if html is not None:
        _write(html, play, results)
    show("json" if as_json else output, found[0] if len(found) == 1 else found, human=lambda: _text(found, play))


def _timed(play: "Play") -> "Result":
    from lowtide.scheduler.simulate.play import foresight_fraction, result  # noqa: PLC0415 - as above

    begun = time.perf_counter()
    found = result(play)
    timed = {**found.report, "wall_s": round(time.perf_counter() - begun, 3)}
    return replace(found, report={**timed, "foresight_fraction": foresight_fraction(play, timed)})


def _write(path: Path, play: "Play", results: "Sequence[Result]") -> None:
    from lowtide.scheduler.simulate.page import page  # noqa: PLC0415 - as above

    shown = {zone: series.clip(play.start, play.end) for zone, series in play.intensity.items()}
    named = {str(result.report["policy"]): result for result in results}
    path.write_text(page(_head(play).replace("\n", " "), shown, named), encoding="utf-8")


COLUMNS = (
    ("POLICY", "policy", "{}"),
    ("EMITTED", "emissions_g", "{:,.0f} g"),
    ("AT ONCE = 1", "ratio", "{:.4f}"),
    ("BOUND", "bound_ratio", "{:.4f}"),
    ("OF FORESIGHT", "foresight_fraction", "{:.3f}"),
    ("MEAN WAIT", "mean_wait_h", "{:.1f} h"),
    ("LONGEST", "max_wait_h", "{:.1f} h"),
    ("LATE", "late", "{}"),
    ("PEAK GPUS", "peak_gpus", "{}"),
    ("SUSPENDED", "suspensions", "{}"),
    ("TOOK", "wall_s", "{:.1f} s"),
)


def _text(found: list[Json], play: "Play") -> str:
    from lowtide.scheduler.cli.table import Cell, Column, table  # noqa: PLC0415 - only who reads it pays for it

    rows = [{**one, "late": one["patience_misses"] + one["deadline_misses"] + one["failed"]} for one in found]
    shown = [column for column in COLUMNS if any(row.get(column[1]) is not None for row in rows)]
    cells = [[Cell(NONE if row.get(key) is None else how.format(row[key])) for _, key, how in shown] for row in rows]
    columns = [Column(title, is_number=key != "policy") for title, key, _ in shown]
    return f"{_head(play)}\n{table(columns, cells)}"


def _head(play: "Play") -> str:
    limit = "no limit of GPUs" if play.gpus is None else f"{play.gpus} GPUs each"
    head = f"{len(play.jobs)} jobs from {play.start:%Y-%m-%d %H:%M} UTC at {', '.join(play.intensity)} ({limit}),"
    sight = "perfect foresight" if play.issued is None else "forecasts as issued"
    use = ", believed as they are" if play.issued is not None and play.issued.is_raw else ""
    known = "in advance" if play.is_clairvoyant else "when submitted"
    return f"{head}\n{sight}{use}, jobs known {known}"
