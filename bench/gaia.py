"""The rules of GAIA (Hanafy et al., ASPLOS 2024) without limit: as published, as we compute them, and by our policies.

GAIA tries starts at whole hours after a job's arrival and is told the mean length of the job's class. Our slots are
aligned to the clock. The rules are therefore evaluated here directly on both terms: on GAIA's they give the published
figures, on ours what our policies give. What is left between the two is the difference in terms, not in the rules.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lowtide.scheduler.simulate.play import Estimate, Play, played

FloatArray = NDArray[np.float64]
H = 3600.0
PUBLISHED = {
    "carbon_time": {"DE": 0.912, "GB": 0.873},
    "lowest_window": {"DE": 0.902, "GB": 0.859},
    "threshold": {"DE": 0.917, "GB": 0.853},
    "lowest_slots": {"DE": 0.8652, "GB": 0.8057},
}
NAMES = {
    "carbon_time": "Carbon-Time",
    "lowest_window": "Lowest-Window",
    "threshold": "Ecovisor",
    "lowest_slots": "cheapest slots",
}


@dataclass(frozen=True)
class Grid:
    """Hourly intensity from the trace's start on."""

    g_per_kwh: FloatArray

    def over(self, begin_s: FloatArray | float, length_s: FloatArray | float) -> FloatArray:
        """The integral over a stretch, g/kWh·s."""
        sums = np.concatenate(([0.0], np.cumsum(self.g_per_kwh))) * H
        edges_s = np.arange(len(sums)) * H
        return np.interp(np.add(begin_s, length_s), edges_s, sums) - np.interp(begin_s, edges_s, sums)


@dataclass(frozen=True)
class Asked:
    """One job: arrival, true and told run time, patience, all in seconds; and its GPUs."""

    at_s: float
    run_s: float
    told_s: float
    patience_s: float
    gpus: int


def asked_of(play: Play, estimate: Estimate) -> list[Asked]:
    """The jobs, with the run times that are told."""
    patience = play.patience
    assert patience is not None, "these rules know no queues that would have any"
    lengths = {short: [j.duration_s for j in play.jobs if patience.is_short(j) is short] for short in (True, False)}
    mean_s = {short: math.fsum(found) / max(len(found), 1) for short, found in lengths.items()}
    exact = estimate is Estimate.EXACT
    return [
        Asked(
            j.submit_s,
            j.duration_s,
            j.duration_s if exact else mean_s[patience.is_short(j)],
            patience.of(j),
            j.gpus,
        )
        for j in play.jobs
    ]


def after_arrival(job: Asked) -> FloatArray:
    """Whole hours after the arrival, as GAIA tries them."""
    return job.at_s + np.arange(0.0, job.patience_s + 1.0, H)


def on_the_clock(job: Asked) -> FloatArray:
    """At once, and at the hours of the clock, as our slots lie."""
    hours_s = np.arange(math.ceil(job.at_s / H) * H, job.at_s + job.patience_s + 1e-6, H)
    return np.concatenate(([job.at_s], hours_s))


def started(rule: str, job: Asked, grid: Grid, starts_s: FloatArray) -> float:
    """When a rule starts a job, in seconds after the trace's start."""
    cost = grid.over(starts_s, job.told_s)
    if rule == "carbon_time":
        return float(starts_s[np.argmax((cost[0] - cost) / (starts_s - job.at_s + job.told_s))])
    return float(starts_s[np.argmin(cost)])


def ecovisor(job: Asked, grid: Grid, *, is_moving: bool) -> float:
    """The integral of intensity over the hours in which the job runs, g/kWh·s.

    It runs below the 30th percentile of the day after the arrival, or, ``is_moving``, of the day from each hour on.
    """
    at_s, left_s, wait_s, total = job.at_s, job.run_s, job.patience_s, 0.0
    limit = _percentile(grid, at_s)
    while left_s > 1e-6:
        hour = min(int(at_s // H), len(grid.g_per_kwh) - 1)
        step_s = (int(at_s // H) + 1) * H - at_s
        if is_moving:
            limit = _percentile(grid, hour * H)
        if grid.g_per_kwh[hour] < limit or wait_s <= 0:
            step_s = min(step_s, left_s)
            total, left_s = total + step_s * float(grid.g_per_kwh[hour]), left_s - step_s
        else:
            step_s = min(step_s, wait_s)
            wait_s -= step_s
        at_s += step_s
    return total


def _percentile(grid: Grid, at_s: float) -> float:
    seconds = np.minimum(np.arange(int(at_s), int(at_s) + 24 * 3600, 60) // 3600, len(grid.g_per_kwh) - 1)
    return float(np.quantile(grid.g_per_kwh[seconds], 0.3))


def cheapest(job: Asked, grid: Grid) -> float:
    """The integral over the cheapest seconds within patience and run time, g/kWh·s."""
    end_s = job.at_s + job.patience_s + job.run_s
    edges_s = np.unique([job.at_s, *np.arange(math.ceil(job.at_s / H) * H, end_s, H), end_s])
    price = grid.g_per_kwh[(edges_s[:-1] // H).astype(int)]
    order = price.argsort(kind="stable")
    width_s = np.diff(edges_s)[order]
    used_s = np.clip(job.run_s - (np.cumsum(width_s) - width_s), 0.0, width_s)
    return float(used_s @ price[order])


def evaluated(rule: str, jobs: list[Asked], grid: Grid, *, is_ours: bool) -> float:
    """A rule's emissions relative to running at once, on our terms or on GAIA's."""
    total, base = 0.0, 0.0
    for job in jobs:
        base += job.gpus * float(grid.over(job.at_s, job.run_s))
        if rule == "threshold":
            found = ecovisor(job, grid, is_moving=is_ours)
        elif rule == "lowest_slots":
            found = cheapest(job, grid)
        else:
            starts_s = on_the_clock(job) if is_ours else after_arrival(job)
            found = float(grid.over(started(rule, job, grid, starts_s), job.run_s))
        total += job.gpus * found
    return total / base


def by_policy(play: Play, rule: str, estimate: Estimate, slot_s: float) -> float:
    """What our policy of that name makes of it through the scheduler's decisions, without guard and margin."""
    terms = replace(play, policy=rule, gpus=None, slot_s=slot_s, estimate=estimate)
    return float(str(played(replace(terms, min_savings=0.0, deadline_margin=0.0))["ratio"]))


TERMS = """\
GAIA terms: starts at whole hours after the arrival, told the mean run time of the job's class (short or long).
Our terms: starts at once and at the hours of the clock, where our slots begin; at 15 min also between.
Ecovisor: as published the percentile is that of the day after submission; our threshold follows the coming day.
Cheapest slots: evaluated to the second with the true run time; ours take whole slots of at least their length."""
