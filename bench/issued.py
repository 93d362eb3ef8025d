"""What re-planning with issued forecasts captures of perfect foresight's saving: a trace on recorded days.

The trace is a week of jobs stretched over the fourteen days; the days and their issues are those of Great Britain in
March 2023. An issue is known thirty minutes after the start of the half hour in which it was made, as the recording
tells only that half hour. The data lie outside the repository: ``LOWTIDE_BENCH_DATA`` names their folder.
"""

import csv
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lowtide.scheduler.decide.registry import policy_names
from lowtide.scheduler.simulate.foretold import Issued
from lowtide.scheduler.simulate.play import Play, foresight_fraction, played
from lowtide.scheduler.simulate.trace import TraceJob, read_forecasts, read_intensity, read_jobs

DATA = Path(os.environ.get("LOWTIDE_BENCH_DATA", Path(__file__).resolve().parents[2] / "shared" / "bench"))
POLICIES = ("lowest_window", "lowest_slots", "balanced")
CAPS = (None, 30)
DAYS = 14
WEEK_S = 7 * 24 * 3600.0
SLOT_S = 900.0
GOAL = 0.85
KNOWN_AFTER = timedelta(minutes=29)
"""``issued_utc`` lies one minute after the half hour's start."""
Row = Callable[[str, str, str], None]


def stretched(jobs: tuple[TraceJob, ...]) -> tuple[TraceJob, ...]:
    """A week's arrivals over all days; lengths stay."""
    factor = DAYS * 24 * 3600.0 / WEEK_S
    return tuple(replace(job, submit_s=job.submit_s * factor) for job in jobs)


def _actuals(folder: Path) -> str:
    rows = csv.DictReader((folder / "gb_actual.csv").read_text().splitlines())
    return "\n".join(["start_utc,g_per_kwh,zone", *(f"{r['from_utc']},{r['actual_g_per_kwh']},GB" for r in rows)])


def _forecasts(folder: Path) -> str:
    rows = csv.DictReader((folder / "gb_forecasts.csv").read_text().splitlines())
    told = (f"{_known(r['issued_utc'])},{r['from_utc']},{r['forecast_g_per_kwh']}" for r in rows)
    return "\n".join(["issued_utc,start_utc,g_per_kwh", *told])


def _known(issued: str) -> str:
    return (datetime.fromisoformat(issued) + KNOWN_AFTER).astimezone(UTC).isoformat()


def bench_issued(_folder: Path, row: Row) -> None:
    """One line per policy and cap."""
    if not DATA.is_dir():
        print(f"Forecasts as issued: no data at {DATA}; set LOWTIDE_BENCH_DATA")
        return
    zones = read_intensity(_actuals(DATA / "neso"), "gb_actual.csv")
    issues = read_forecasts(_forecasts(DATA / "neso"), "gb_forecasts.csv", zones)
    begin = issues["GB"][0].fetched_at
    jobs = stretched(read_jobs((DATA / "jobs" / "pai_1k.csv").read_text(), "pai_1k.csv"))
    play = Play(jobs, zones, "", begin, zones["GB"].points[-1].end, slot_s=SLOT_S, is_bound_wanted=True)
    uses = {n: Issued(zones, issues, SLOT_S, is_raw=raw) for n, raw in (("ours", False), ("as issued, naively", True))}
    print(f"Forecasts as issued: {len(jobs)} jobs over {DAYS} days from {begin:%Y-%m-%d %H:%M} UTC, Great Britain;")
    print("the saving as a share of the same policy's with perfect foresight")
    for cap in CAPS:
        for policy in (name for name in POLICIES if name in policy_names()):
            for use, issued in uses.items():
                _line(replace(play, policy=policy, gpus=cap, issued=issued), use, row)


def _line(play: Play, use: str, row: Row) -> None:
    found = played(play)
    share = foresight_fraction(play, found)
    cap = "no cap" if play.gpus is None else f"cap {play.gpus}"
    late = int(str(found["patience_misses"])) + int(str(found["failed"]))
    told = f"at once = 1: {found['ratio']:.4f}, of the bound's saving {found['captured_fraction']:.3f}, late {late}"
    goal = f"; goal >= {GOAL}" if use == "ours" else ""
    row(f"{play.policy}, {cap}, {use}", "-" if share is None else f"{share:.3f}", told + goal)
