"""The command that plays a trace of jobs through policies on virtual time; it needs no daemon."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lowtide.scheduler.cli import quick
from lowtide.scheduler.cli import simulate_options as options
from lowtide.scheduler.cli.output import check_format, show
from lowtide.scheduler.cli.root import app
from lowtide.scheduler.cli.simulate_flags import Asked, asks

if TYPE_CHECKING:
    from lowtide.scheduler.simulate.play import Play
    from lowtide.scheduler.simulate.result import Result

Json = dict[str, Any]
NONE = "-"


@app.command(cls=quick.Command, rich_help_panel="Grid and accounts")
@asks
def simulate(asked: Asked) -> None:
    """Play a trace of jobs through a policy, with perfect foresight or forecasts as issued, and say what it emits."""
    check_format(asked.output)
    if asked.html is not None:
        options.check_page(asked.html)
    workers, plays = options.positive("--workers", asked.workers), options.plays_of(asked)
    results = _results(plays, workers) if asked.ray is None else _results_on_ray(plays, asked.ray, asked.ray_python)
    if asked.html is not None:
        _write(asked.html, plays, results)
    found = [result.report for result in results]
    output = "json" if asked.as_json else asked.output
    show(output, found[0] if len(found) == 1 else found, human=lambda: _text(found, plays))


def _results(plays: "list[Play]", workers: int) -> "list[Result]":
    from lowtide.scheduler.cli.simulate_sweep import played_here  # noqa: PLC0415 - SciPy is slow to import

    return played_here(plays, workers)


def _results_on_ray(plays: "list[Play]", address: str, python: str) -> "list[Result]":
    from lowtide.scheduler.cli.simulate_ray import played_on_ray  # noqa: PLC0415 - as above

    return played_on_ray(plays, address, python)


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
    ("COST", "cost", "{}"),
    ("COST AT ONCE", "baseline_cost", "{}"),
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
    return "\n".join([_head(plays), table(columns, cells), *_without_bound(found, plays), *_bound_by(plays)])


def _without_bound(found: list[Json], plays: "list[Play]") -> list[str]:
    """Says why a bound that was asked for is not there."""
    wanted = [report for report, play in zip(found, plays, strict=True) if play.is_bound_wanted]
    missing = ", ".join(dict.fromkeys(_limits(report) for report in wanted if _has_no_bound(report)))
    raised = "--patience" if plays[0].installation is not None else "--gpus or --patience"
    why = f"No bound with {missing}: no schedule ends all of these jobs in time. Raise {raised}."
    return [why] if missing else []


def _limits(report: Json) -> str:
    """The GPUs that a play had."""
    if report["sites"] is None:
        return f"{_cap(report['gpus'])} GPUs at {_zones(report)}"
    return " and ".join(f"{gpus} GPUs at {site}" for site, gpus in report["sites"].items())


def _bound_by(plays: "list[Play]") -> list[str]:
    """Says of what the bound does not know, where that may be what decides."""
    if not any(play.is_bound_wanted and play.installation is not None for play in plays):
        return []
    return ["The bound knows the GPUs and the PUE of each site, and neither pools, power, reservations nor budgets."]


def _has_no_bound(report: Json) -> bool:
    """Whether there is no bound that a report could be held against."""
    return report["bound_ratio"] is None and report["completed"] > 0


def _row(report: Json) -> Json:
    late = report["patience_misses"] + report["deadline_misses"] + report["failed"]
    told = {"zones": _zones(report), "gpus": _cap(report["gpus"]), "params": _params(report)}
    return {**report, **told, **{key: _money(report, key) for key in ("cost", "baseline_cost")}, "late": late}


def _money(report: Json, key: str) -> str | None:
    return None if report[key] is None else f"{report[key]:,.2f} {report['currency']}"


def _order(pair: tuple[int, Json], found: list[Json]) -> tuple[int, int, float]:
    """Zones and caps as they were given, within them the least emissions first."""
    number, row = pair
    zones, caps = [one["zones"] for one in found], [one["gpus"] for one in found]
    ratio = row["ratio"]
    return zones.index(zones[number]), caps.index(caps[number]), 0.0 if ratio is None else ratio


def _head(plays: "list[Play]") -> str:
    play = plays[0]
    head = f"{len(play.jobs)} jobs from {play.start:%Y-%m-%d %H:%M} UTC at {_where(plays)},"
    sight = "perfect foresight" if play.issued is None else "forecasts as issued"
    use = ", believed as they are" if play.issued is not None and play.issued.is_raw else ""
    known = "in advance" if play.is_clairvoyant else "when submitted"
    return f"{head}\n{sight}{use}, jobs known {known}"


def _where(plays: "list[Play]") -> str:
    play, caps = plays[0], {play.gpus for play in plays}
    if play.installation is not None:
        return ", ".join(f"{site.name} ({site.gpus} GPUs in {site.zone})" for site in play.sites)
    limit = "several limits" if len(caps) > 1 else "no limit of GPUs" if play.gpus is None else f"{play.gpus} GPUs each"
    zones = ", ".join(dict.fromkeys(zone for play in plays for zone in play.intensity))
    return f"{zones} ({limit})"
