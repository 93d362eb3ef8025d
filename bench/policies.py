"""Every installed policy beside the least that any schedule could emit; every figure comes from this run.

    python bench/policies.py [--zones DE,GB] [--caps none,49,30,24,20] [--policies NAME,...] [--jobs FILE] ...

First a table for each zone and number of GPUs, then the exact policy on the first jobs of the trace, then GAIA's rules
without limit against their published figures. Other traces, times, caps and zones (ZONE.csv or ZONE_*.csv in
--intensity-dir) go by the same options.
"""

import argparse
import os
import sys
import time
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench import gaia, lists
from lowtide.scheduler.decide.registry import policy_names
from lowtide.scheduler.forecast.record import sampled
from lowtide.scheduler.model.quantity import duration_s
from lowtide.scheduler.model.series import Series
from lowtide.scheduler.model.units import kwh_per_s
from lowtide.scheduler.simulate.bound import Demand, bound_g
from lowtide.scheduler.simulate.play import Estimate, Play, played
from lowtide.scheduler.simulate.trace import read_intensity, read_jobs

SHARED = ROOT.parent / "shared" / "bench"
H = 3600.0
BOUND, FIFO, EDF = "LP bound", "FIFO", "EDF"
EXACT = "optimal"
"""Too slow for the whole trace, so it has a table of its own."""
LEGEND = """\
ratio      emissions against running every job at once without limit (= 1)
over bound of the ratio: a fluid linear program that knows all arrivals, so that nobody quite meets it
late       jobs that ended after patience + run time; longest: the worst of them
FIFO       strictly in order of submission, without overtaking; EDF: most urgent first, interrupting at no cost
asap       least slack first with backfilling, without interrupting: earliest deadline first as this scheduler has it
All policies: perfect foresight of the intensity, jobs unknown until submitted.
"""


@dataclass(frozen=True)
class Figures:
    """What one schedule came to."""

    ratio: float
    late: int | None = None
    longest_h: float | None = None
    suspensions: int | None = None
    wall_s: float = 0.0


def figures(name: str, play: Play) -> Figures:
    """One cell of the table."""
    begun = time.perf_counter()
    found = {BOUND: _bound, FIFO: _fifo, EDF: _edf}.get(name, _policy)(replace(play, policy=name))
    return replace(found, wall_s=time.perf_counter() - begun)


def _policy(play: Play) -> Figures:
    found = played(play)
    late = int(str(found["patience_misses"])) + int(str(found["deadline_misses"])) + int(str(found["failed"]))
    longest_h = float(str(found["longest_miss_h"]))
    return Figures(float(str(found["ratio"])), late, longest_h, int(str(found["suspensions"])))


def _grid(play: Play) -> gaia.Grid:
    (series,) = play.intensity.values()
    hours = round((play.end - play.start).total_seconds() / H)
    return gaia.Grid(np.array(sampled(series, play.start, H, hours)))


def _at_once_g(play: Play, grid: gaia.Grid) -> float:
    works = lists.works_of(play)
    return sum(float(grid.over(w.submit_s, w.run_s)) * kwh_per_s(w.power_w) for w in works)


def _bound(play: Play) -> Figures:
    grid = _grid(play)
    demands = [Demand(w.submit_s, w.due_s, w.run_s, w.gpus, w.power_w, (0,)) for w in lists.works_of(play)]
    return Figures(
        bound_g(demands, grid.g_per_kwh[None, :], H, None if play.gpus is None else [play.gpus])
        / _at_once_g(play, grid)
    )


def _fifo(play: Play) -> Figures:
    works = lists.works_of(play)
    return _listed(play, works, lists.fifo(works, _gpus(play)))


def _edf(play: Play) -> Figures:
    works = lists.works_of(play)
    return _listed(play, works, lists.earliest_deadline(works, _gpus(play)))


def _gpus(play: Play) -> int:
    return sum(job.gpus for job in play.jobs) if play.gpus is None else play.gpus


def _listed(play: Play, works: list[lists.Work], stretches: list[lists.Stretch]) -> Figures:
    grid = _grid(play)
    emitted_g = sum(float(grid.over(a, b - a)) * kwh_per_s(works[i].power_w) for i, a, b in stretches)
    late_h = lists.missed_h(works, stretches)
    longest_h = max(late_h, default=0.0)
    return Figures(emitted_g / _at_once_g(play, grid), len(late_h), longest_h, lists.interruptions(stretches))


def show(head: str, rows: dict[str, "Future[Figures]"]) -> None:
    """One table, once its cells are there."""
    print(f"\n{head}")
    print(f"  {'':<18}{'ratio':>8}{'over bound':>12}{'late':>6}{'longest':>9}{'suspended':>11}{'took':>9}")
    bound = rows[BOUND].result().ratio
    for name, future in rows.items():
        one = future.result()
        over = "" if name == BOUND else f"{(one.ratio / bound - 1) * 100:+.2f} %"
        late, stops = ("" if n is None else f"{n}" for n in (one.late, one.suspensions))
        longest = f"{one.longest_h:.1f} h" if one.longest_h else ""
        print(
            f"  {name:<18}{one.ratio:>8.4f}{over:>12}{late:>6}{longest:>9}{stops:>11}{one.wall_s:>7.1f} s", flush=True
        )


def show_gaia(plays: dict[str, Play], pool: ProcessPoolExecutor) -> None:
    """GAIA's rules: published, evaluated on GAIA's and on our terms, and by our policies."""
    rules = [rule for rule in gaia.PUBLISHED if rule in policy_names()]
    ours = {
        (rule, zone, estimate, slot_s): pool.submit(gaia.by_policy, play, rule, estimate, slot_s)
        for rule in rules
        for zone, play in plays.items()
        for estimate, slot_s in ((Estimate.CLASS_MEAN, H), (Estimate.EXACT, H), (Estimate.EXACT, H / 4))
    }
    print("\nGAIA's rules without limit, our guard and deadline margin left out")
    print(f"  {'':<20}{'published':>10}{'GAIA terms':>12} |{'our terms':>10}{'policy':>8} |", end="")
    print(f"{'our terms':>10}{'policy':>8}{'15 min':>8}")
    print(f"  {'':<20}{'':>10}{'class mean':>12} |{'class mean':>18} |{'exact run times':>26}")
    for rule in rules:
        for zone, play in plays.items():
            shown = [f"{gaia.PUBLISHED[rule][zone]:.4f}" if zone in gaia.PUBLISHED[rule] else ""]
            mean, exact = (gaia.asked_of(play, estimate) for estimate in (Estimate.CLASS_MEAN, Estimate.EXACT))
            grid = _grid(play)
            shown += [f"{gaia.evaluated(rule, mean, grid, is_ours=False):.4f}"]
            shown += [f"{gaia.evaluated(rule, jobs, grid, is_ours=True):.4f}" for jobs in (mean, exact)]
            a, b, c = (
                f"{ours[rule, zone, estimate, slot_s].result():.4f}"
                for estimate, slot_s in ((Estimate.CLASS_MEAN, H), (Estimate.EXACT, H), (Estimate.EXACT, H / 4))
            )
            print(
                f"  {gaia.NAMES[rule] + ' ' + zone:<20}{shown[0]:>10}{shown[1]:>12} |{shown[2]:>10}{a:>8} |"
                f"{shown[3]:>10}{b:>8}{c:>8}",
                flush=True,
            )
    print(gaia.TERMS)


def asked() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zones", default="DE,GB")
    parser.add_argument("--caps", default="none,49,30,24,20", help="numbers of GPUs; none for no limit")
    parser.add_argument("--policies", default=",".join(name for name in policy_names() if name != EXACT))
    parser.add_argument("--exact-jobs", type=int, default=100, help="so many jobs for the exact policy; 0 for none")
    parser.add_argument("--exact-caps", default="20", help="numbers of GPUs for these")
    parser.add_argument("--jobs", type=Path, default=SHARED / "jobs" / "pai_1k.csv", help="a trace as for simulate")
    parser.add_argument("--intensity-dir", type=Path, default=SHARED / "intensity")
    parser.add_argument("--start", default="2022-10-19T16:00Z")
    parser.add_argument("--hours", type=float, default=720.0)
    parser.add_argument("--slot", default="15m", help="length of a planning slot")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--no-gaia", action="store_true", help="leave out the second table")
    return parser.parse_args()


def intensity(folder: Path, zone: str, begin: datetime, end: datetime) -> Series:
    """The series of a zone that covers a time."""
    for path in sorted([*folder.glob(f"{zone}.csv"), *folder.glob(f"{zone}_*.csv")]):
        (series, *_) = read_intensity(path.read_text(), path.name).values()
        if series.covers(begin, end):
            return series
    sys.exit(f"No file {zone}.csv or {zone}_*.csv in {folder} covers {begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M}.")


def plays_of(options: argparse.Namespace) -> dict[str, Play]:
    """One backtest per zone, without limit."""
    begin = datetime.fromisoformat(options.start)
    begin = begin.astimezone(UTC) if begin.tzinfo else begin.replace(tzinfo=UTC)
    end = begin + timedelta(hours=options.hours)
    jobs = read_jobs(options.jobs.read_text(), options.jobs.name)
    zones = {zone: intensity(options.intensity_dir, zone, begin, end) for zone in options.zones.split(",")}
    return {z: Play(jobs, {z: s}, "", begin, end, slot_s=duration_s(options.slot)) for z, s in zones.items()}


def main() -> None:
    """Play all cells in processes of their own and show each table as soon as it is full."""
    options = asked()
    plays = plays_of(options)
    caps = [None if cap == "none" else int(cap) for cap in options.caps.split(",")]
    print(LEGEND)
    with ProcessPoolExecutor(options.workers) as pool:
        tables = {
            (zone, cap): {
                name: pool.submit(figures, name, replace(play, gpus=cap))
                for name in (BOUND, FIFO, EDF, *options.policies.split(","))
            }
            for zone, play in plays.items()
            for cap in caps
        }
        few = {zone: replace(play, jobs=play.jobs[: options.exact_jobs]) for zone, play in plays.items()}
        exact = {
            (zone, cap): {
                name: pool.submit(figures, name, replace(play, gpus=cap)) for name in (BOUND, "balanced", EXACT)
            }
            for zone, play in few.items()
            for cap in map(int, options.exact_caps.split(","))
            if play.jobs
        }
        for (zone, cap), rows in tables.items():
            show(f"{zone}, {'no limit' if cap is None else f'{cap} GPUs'}", rows)
        for (zone, cap), rows in exact.items():
            show(f"{zone}, {cap} GPUs, the first {options.exact_jobs} jobs", rows)
        if not options.no_gaia:
            show_gaia(plays, pool)


if __name__ == "__main__":
    main()
