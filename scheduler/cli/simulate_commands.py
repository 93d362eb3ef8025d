"""The command that plays a trace of jobs through policies on virtual time; it needs no daemon."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from lowtide.scheduler.cli import quick
from lowtide.scheduler.cli.output import check_format, show
from lowtide.scheduler.cli.root import Output, app
from lowtide.scheduler.model.errors import BadInput

if TYPE_CHECKING:
    from lowtide.scheduler.simulate.foretold import Issued
    from lowtide.scheduler.simulate.play import Estimate, Patience, Play

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
    as_json: Annotated[bool, typer.Option("--json", help="The same as -o json.")] = False,  # noqa: FBT002 - as above
    output: Output = "table",
) -> None:
    """Play a trace of jobs through a policy, with perfect foresight or forecasts as issued, and say what it emits."""
    check_format(output)
    play = _play(jobs, intensity, start, hours)
    play = replace(
        play,
        params=tuple(_param(one) for one in param or ()),
        gpus=_positive("--gpus", gpus),
        patience=_patience(patience),
        power_w=_positive("--power-w", power_w),
        slot_s=_seconds("--slot", slot),
        switch_s=_seconds("--switch-cost", switch_cost),
        is_interruptible=interruptible,
        is_bound_wanted=bound,
        estimate=_estimate(estimate),
        is_clairvoyant=clairvoyant,
        seed=seed,
    )
    play = replace(play, issued=_issued(forecast, play, is_raw=as_issued))
    found = [_timed(replace(play, policy=name)) for name in policy]
    show("json" if as_json else output, found[0] if len(found) == 1 else found, human=lambda: _text(found, play))


def _play(jobs: Path, intensity: Path, start: str | None, hours: float | None) -> "Play":
    from lowtide.scheduler.simulate.play import Play  # noqa: PLC0415 - SciPy is slow to import
    from lowtide.scheduler.simulate.trace import read_intensity, read_jobs  # noqa: PLC0415 - as above

    zones = read_intensity(_read(intensity), intensity.name)
    first = max(series.points[0].start for series in zones.values())
    last = min(series.points[-1].end for series in zones.values())
    begin = first if start is None else _moment(start)
    end = last if hours is None else begin + timedelta(hours=_positive("--hours", hours) or 0.0)
    return Play(read_jobs(_read(jobs), jobs.name), zones, "", begin, end)


def _issued(path: Path | None, play: "Play", *, is_raw: bool) -> "Issued | None":
    from lowtide.scheduler.simulate.foretold import Issued  # noqa: PLC0415 - as above
    from lowtide.scheduler.simulate.trace import read_forecasts  # noqa: PLC0415 - as above

    if path is None:
        if is_raw:
            raise BadInput("--as-issued says how forecasts are used, and there are none.", fix="Give --forecast CSV.")
        return None
    issues = read_forecasts(_read(path), path.name, play.intensity)
    return Issued(play.intensity, issues, play.slot_s, is_raw=is_raw)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read: {error}.", fix="Give a CSV file in UTF-8.") from None


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(f"--start {text!r} is no time.", fix="Give for example 2022-10-19T16:00Z.") from None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _param(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    return name, _asked("--param", text, lambda: float(value), "percentile=30")


def _positive(option: str, value: T) -> T:
    if value is not None and not value > 0:  # type: ignore[operator]  # numbers only
        raise BadInput(f"{option} is {value}.", fix="Give more than 0.")
    return value


def _seconds(option: str, text: str) -> float:
    from lowtide.scheduler.model.quantity import duration_s  # noqa: PLC0415 - status does not need it

    return _asked(option, text, lambda: duration_s(text), "15m")


def _estimate(text: str) -> "Estimate":
    from lowtide.scheduler.simulate.play import Estimate  # noqa: PLC0415 - as above

    return _asked("--estimate", text, lambda: Estimate(text), " or ".join(Estimate))


def _patience(text: str) -> "Patience":
    from lowtide.scheduler.simulate.play import Patience  # noqa: PLC0415 - as above

    parts = dict(one.partition("=")[::2] for one in text.split(","))
    fields = {f"{name.strip()}_s": _seconds("--patience", value) for name, value in parts.items()}
    return _asked("--patience", text, lambda: Patience(**fields), "short=6h,long=24h,split=2h")


def _asked(option: str, text: str, read: Callable[[], T], example: str) -> T:
    try:
        return read()
    except (TypeError, ValueError):
        raise BadInput(f"{option} {text!r} is not understood.", fix=f"Give for example {option} {example}.") from None


def _timed(play: "Play") -> Json:
    from lowtide.scheduler.simulate.play import foresight_fraction, played  # noqa: PLC0415 - as above

    begun = time.perf_counter()
    found = {**played(play), "wall_s": round(time.perf_counter() - begun, 3)}
    return {**found, "foresight_fraction": foresight_fraction(play, found)}


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
    limit = "no limit of GPUs" if play.gpus is None else f"{play.gpus} GPUs each"
    head = f"{len(play.jobs)} jobs from {play.start:%Y-%m-%d %H:%M} UTC at {', '.join(play.intensity)} ({limit}),"
    columns = [Column(title, is_number=key != "policy") for title, key, _ in shown]
    sight = "perfect foresight" if play.issued is None else "forecasts as issued"
    use = ", believed as they are" if play.issued is not None and play.issued.is_raw else ""
    known = "in advance" if play.is_clairvoyant else "when submitted"
    return f"{head}\n{sight}{use}, jobs known {known}\n{table(columns, cells)}"
