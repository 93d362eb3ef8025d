"""The least that any schedule could emit: a linear program that knows every arrival in advance.

Jobs may be split at will, run on parts of GPUs, in any of their modes by turns, and move between their sites at no
cost; only capacity and latest finishes hold. No schedule can do better, and none quite as well. Solved by HiGHS through
SciPy (docs/decisions/0013).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import linprog

from lowtide.scheduler.model.mode import Mode
from lowtide.scheduler.model.units import kwh_per_s

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
SOLVED = 0
INFEASIBLE = 2


@dataclass(frozen=True, slots=True)
class Demand:
    """One job: ``run_s`` of work on ``gpus`` GPUs within [``begin_s``, ``end_s``), at any of ``sites`` (by index).

    ``modes`` are the ways in which it can run instead; empty where it can only run as declared.
    """

    begin_s: float
    end_s: float
    run_s: float
    gpus: int
    power_w: float
    sites: tuple[int, ...]
    modes: tuple[Mode, ...] = ()

    @property
    def ways(self) -> tuple[Mode, ...]:
        """How it can run."""
        return self.modes or (Mode(self.gpus, 0, 1.0, self.power_w),)

    @property
    def widest(self) -> int:
        """The most GPUs that it may hold at once."""
        return max(way.gpus for way in self.ways)


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
    if demand.modes:
        return _together_g([demand], price, step_s, [demand.widest] * len(price))
    steps, width_s = _within(demand, price.shape[1], step_s)
    cheapest = price[list(demand.sites)][:, steps].min(axis=0)
    order = cheapest.argsort(kind="stable")
    before_s = np.cumsum(width_s[order]) - width_s[order]
    used_s = np.clip(demand.run_s - before_s, 0.0, width_s[order])
    if used_s.sum() < demand.run_s * (1 - 1e-9):
        return math.nan
    return float(used_s @ cheapest[order]) * kwh_per_s(demand.power_w)


@dataclass(frozen=True, slots=True)
class _Part:
    """One job in one mode at one site: a variable per step, the seconds that it runs there so."""

    job: int
    way: Mode
    cells: IntArray
    most_s: FloatArray
    cost: FloatArray
    turns: IntArray


def _parts(demands: Sequence[Demand], price: FloatArray, step_s: float) -> list[_Part]:
    """All variables; those with the same number among ``turns`` share the time of one step."""
    parts, turn = [], 0
    for number, demand in enumerate(demands):
        steps, width_s = _within(demand, price.shape[1], step_s)
        for site in demand.sites:
            turns, cells = turn + np.arange(len(steps)), site * price.shape[1] + steps
            for way in demand.ways:
                cost = price[site, steps] * kwh_per_s(way.power_w)
                parts.append(_Part(number, way, cells, width_s, cost, turns))
            turn += len(steps)
    return parts


def _together_g(demands: Sequence[Demand], price: FloatArray, step_s: float, gpus: Sequence[int]) -> float:
    """The linear program of all jobs and their modes."""
    parts = _parts(demands, price, step_s)
    lengths = [len(part.cells) for part in parts]
    rows, width, speed = (
        np.repeat(values, lengths)
        for values in ([p.job for p in parts], [p.way.gpus for p in parts], [p.way.speed for p in parts])
    )
    cells, turns, most_s = (np.concatenate([getattr(p, name) for p in parts]) for name in ("cells", "turns", "most_s"))
    each = np.arange(len(rows))
    by_turns = sparse.csr_matrix((np.ones(len(rows)), (turns, each))) if any(d.modes for d in demands) else None
    _, first = np.unique(turns, return_index=True)
    open_s = np.repeat(np.array(gpus) * step_s, price.shape[1])
    found = linprog(
        np.concatenate([p.cost for p in parts]),
        A_ub=sparse.vstack((sparse.csr_matrix((width, (cells, each)), shape=(price.size, len(rows))), by_turns)),
        b_ub=np.concatenate((open_s, most_s[first] if by_turns is not None else [])),
        A_eq=sparse.csr_matrix((speed, (rows, each)), shape=(len(demands), len(rows))),
        b_eq=np.array([demand.run_s for demand in demands]),
        bounds=np.column_stack((np.zeros(len(rows)), most_s)),
        method="highs",
    )
    if found.status == INFEASIBLE:
        return math.nan
    if found.status != SOLVED:
        message = f"the linear program was not solved: {found.message}"
        raise RuntimeError(message)
    return float(found.fun)
