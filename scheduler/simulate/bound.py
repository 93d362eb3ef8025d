"""The least that any schedule could emit: a linear program that knows every arrival in advance.

Jobs may be split at will, run on parts of GPUs and move between their sites at no cost; only capacity and latest
finishes hold. No schedule can do better, and none quite as well. Solved by HiGHS through SciPy (docs/decisions/0013).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import linprog

from lowtide.scheduler.model.units import kwh_per_s

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
SOLVED = 0
INFEASIBLE = 2


@dataclass(frozen=True, slots=True)
class Demand:
    """One job: ``run_s`` of work on ``gpus`` GPUs within [``begin_s``, ``end_s``), at any of ``sites`` (by index)."""

    begin_s: float
    end_s: float
    run_s: float
    gpus: int
    power_w: float
    sites: tuple[int, ...]


def bound_g(demands: Sequence[Demand], price: FloatArray, step_s: float, gpus: Sequence[int] | None) -> float:
    """The least emissions in grams; NaN where not even the linear program finds a way in time.

    Args:
        demands: the jobs; times in seconds from the first step on.
        price: [site, step], g/kWh.
        step_s: length of a step in seconds.
        gpus: of each site; None for no limit.

    """
    if gpus is None:
        return math.fsum(_alone_g(demand, price, step_s) for demand in demands)
    return _together_g(demands, price, step_s, gpus)


def _within(demand: Demand, count: int, step_s: float) -> tuple[IntArray, FloatArray]:
    """The steps that a job's time touches, and how many seconds of each lie in it."""
    low, high = int(demand.begin_s // step_s), min(math.ceil(demand.end_s / step_s), count)
    steps = np.arange(low, max(low, high))
    begins, ends = np.maximum(steps * step_s, demand.begin_s), np.minimum((steps + 1) * step_s, demand.end_s)
    return steps, ends - begins


def _alone_g(demand: Demand, price: FloatArray, step_s: float) -> float:
    """The cheapest seconds of the cheapest sites."""
    steps, width_s = _within(demand, price.shape[1], step_s)
    cheapest = price[list(demand.sites)][:, steps].min(axis=0)
    order = cheapest.argsort(kind="stable")
    before_s = np.cumsum(width_s[order]) - width_s[order]
    used_s = np.clip(demand.run_s - before_s, 0.0, width_s[order])
    if used_s.sum() < demand.run_s * (1 - 1e-9):
        return math.nan
    return float(used_s @ cheapest[order]) * kwh_per_s(demand.power_w)


def _together_g(demands: Sequence[Demand], price: FloatArray, step_s: float, gpus: Sequence[int]) -> float:
    """One variable per job, site and step: the seconds that it runs there."""
    sites, count = price.shape
    job, cell, most_s, cost = [], [], [], []
    for number, demand in enumerate(demands):
        steps, width_s = _within(demand, count, step_s)
        for site in demand.sites:
            job.append(np.full(len(steps), number))
            cell.append(site * count + steps)
            most_s.append(width_s)
            cost.append(price[site, steps] * kwh_per_s(demand.power_w))
    rows, cells = np.concatenate(job), np.concatenate(cell)
    width = np.array([demand.gpus for demand in demands])[rows]
    each = np.arange(len(rows))
    found = linprog(
        np.concatenate(cost),
        A_ub=sparse.csr_matrix((width, (cells, each)), shape=(sites * count, len(rows))),
        b_ub=np.repeat(np.array(gpus) * step_s, count),
        A_eq=sparse.csr_matrix((np.ones(len(rows)), (rows, each)), shape=(len(demands), len(rows))),
        b_eq=np.array([demand.run_s for demand in demands]),
        bounds=np.column_stack((np.zeros(len(rows)), np.concatenate(most_s))),
        method="highs",
    )
    if found.status == INFEASIBLE:
        return math.nan
    if found.status != SOLVED:
        message = f"the linear program was not solved: {found.message}"
        raise RuntimeError(message)
    return float(found.fun)
