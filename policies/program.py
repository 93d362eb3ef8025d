"""A queue as a mixed-integer linear program: each job's columns, and the capacity that they share.

Jobs that may pause, but at a cost or within bounds, would make it too hard to solve slot by slot. They are columns of
whole courses instead, which are found in rounds: each is the one that a job would choose at the price of capacity that
the linear program gives to the courses of the rounds before (column generation). What the last round leaves open is
settled in whole numbers.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lowtide.policies.columns import Held, Late, Part, Slots, Windows
from lowtide.policies.courses import Courses, Tariff
from lowtide.policies.linear import Effort, Linear
from lowtide.policies.problem import FloatArray, IntArray, Placement, Problem
from lowtide.policies.timeline import Timeline

MOST_ROUNDS = 20
"""Of new courses; by then the price of capacity has settled in queues of any size that was tried."""


class _Taker(Protocol):
    """The columns of one part."""

    held: Held
    late: Late

    def placed(self, values: FloatArray) -> Placement | None:
        """Where a solution puts the job; None where rounding has left no such place."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Share:
    """The rows of one kind of capacity: for each cell of [site, slot] its row, or -1, and each part's need."""

    row: IntArray
    needs: list[float]


class Program:
    """The parts side by side.

    Capacity beyond ``free - spare`` may be had, but costs more than any slot could save.
    """

    def __init__(self, problem: Problem, timeline: Timeline, parts: list[Part], spare_gpus: FloatArray | None) -> None:
        """Write it down; ``timeline`` is what is left beside the parts."""
        self._problem, self._timeline, self._linear, self._parts = problem, timeline, Linear(), parts
        self._takers: list[_Taker] = [self._taker(part) for part in parts]
        self._gpus = self._share(timeline.free_gpus, spare_gpus, [float(part.request.gpus) for part in parts])
        self._cpus = self._share(timeline.free_cpus, None, [float(part.request.cpus) for part in parts])
        for number, taker in enumerate(self._takers):
            if isinstance(taker, Courses):
                self._add(number, taker, taker.usual)

    def _taker(self, part: Part) -> _Taker:
        if part.request.running_at is None and not part.request.suspensions_left:
            return Windows(part, self._problem, self._linear)
        if part.usual is None or part.is_free(self._problem.grid.count):
            return Slots(part, self._problem, self._linear)
        return Courses(part, part.usual, self._problem, self._timeline, self._linear)

    def least_late(self, effort: Effort) -> bool:
        """Have the jobs end as little after their time as can be, from now on; False where that was not found."""
        cost = np.zeros(self._linear.size)
        for part, taker in zip(self._parts, self._takers, strict=True):
            for columns, seconds in taker.late:
                cost[columns] += part.weight * seconds
        found = self._linear.least(effort, cost)
        if found is None:
            return False
        told = np.flatnonzero(cost)
        self._linear.row((told, cost[told]), high=float(cost @ found) * (1 + 1e-6) + 1e-3)
        return True

    def least_grams(self, effort: Effort) -> list[Placement] | None:
        """One placement per part; None where none was found."""
        for _ in range(MOST_ROUNDS):
            if not self._round():
                break
        values = self._linear.least(effort)
        if values is None:
            return None
        placed = [taker.placed(values) for taker in self._takers]
        return [one for one in placed if one is not None] if None not in placed else None

    def _round(self) -> bool:
        """Ask each part that has courses for a better one; whether any has it."""
        courses = [(i, taker) for i, taker in enumerate(self._takers) if isinstance(taker, Courses)]
        duals = self._linear.duals() if courses else None
        if duals is None:
            return False
        count, found = self._problem.grid.count, False
        dear = [np.where(share.row >= 0, -duals[share.row], 0.0) for share in (self._gpus, self._cpus)]
        tariff = Tariff(self._problem, dear[0].reshape(-1, count), dear[1].reshape(-1, count))
        for number, taker in courses:
            better = taker.better(tariff, float(duals[taker.row]))
            if better is not None:
                self._add(number, taker, better)
                found = True
        return found

    def _add(self, number: int, taker: Courses, course: Placement) -> None:
        cells, column = taker.add(course)
        for share in (self._gpus, self._cpus):
            rows = share.row[cells]
            rows = rows[rows >= 0]
            if share.needs[number]:
                self._linear.cells(rows, np.full(len(rows), column), share.needs[number])

    def _share(self, free: IntArray, spare: FloatArray | None, needs: list[float]) -> _Share:
        """One row per cell that the parts could fill."""
        held = [
            (cells, columns, need) for t, need in zip(self._takers, needs, strict=True) for cells, columns in t.held
        ]
        cells = np.concatenate([cells for cells, _, _ in held])
        columns = np.concatenate([columns for _, columns, _ in held])
        values = np.concatenate([np.full(len(cells), need) for cells, _, need in held])
        room = np.maximum(free, 0).ravel().astype(np.float64)
        left = room if spare is None else np.maximum(free - spare, 0.0).ravel()
        scarce = np.flatnonzero(np.bincount(cells, values, minlength=len(room)) > left)
        row = np.full(len(room), -1)
        row[scarce] = self._linear.limits(left[scarce])
        kept = (row[cells] >= 0) & (columns >= 0) & (values > 0)
        self._linear.cells(row[cells[kept]], columns[kept], values[kept])
        beyond = room[scarce] - left[scarce]
        if beyond.any():
            more = self._linear.columns(len(scarce), cost=self._dear(), high=beyond)
            self._linear.cells(row[scarce], more, -1.0)
        return _Share(row, needs)

    def _dear(self) -> float:
        """More grams than a GPU could save by the move of a slot."""
        prices = self._problem.prices.price_g_per_kwh
        each = max(part.offer.g_per_price / part.weight for part in self._parts)
        return float(np.ptp(prices)) * self._problem.grid.slot_s * each
