"""A queue as a mixed-integer linear program: each job's columns, and the capacity that they share.

Jobs that may pause, but at a cost or within bounds, would make it too hard to solve slot by slot. They are columns of
whole courses instead, which are found in rounds: each is the one that a job would choose at the price of capacity that
the linear program gives to the courses of the rounds before (column generation). What the last round leaves open is
settled in whole numbers.
"""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from lowtide.policies.columns import Held, Late, Part, Slots, Windows
from lowtide.policies.courses import Courses, Worth
from lowtide.policies.linear import Effort, Linear
from lowtide.policies.problem import FloatArray, IntArray, Placement, Problem
from lowtide.policies.timeline import MW_PER_W, Common, Rows, Timeline

MOST_ROUNDS = 20
"""Of new courses; what comes after saves next to nothing."""

LATE_GAP = 0.01
"""How much later than least, relatively, is good enough where not all can be in time; nobody late is always found."""

ROUNDING, MOMENT_S = 1e-6, 1e-3
"""So much later than least, relatively and in seconds, is as late."""


class _Taker(Protocol):
    """The columns of one part."""

    held: Held

    @property
    def late(self) -> Late:
        """What tells how late the job is."""
        ...

    def placed(self, values: FloatArray) -> Placement | None:
        """Where a solution puts the job; None where rounding has left no such place."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Share:
    """The rows of one kind of capacity: for each cell of [site, slot] its row, or -1, and each part's need.

    Cells of sites that share it, as they do a power budget, have the same row.
    """

    row: IntArray
    needs: list[float]


class Program:
    """The parts side by side.

    Capacity beyond ``free - spare`` may be had, but costs more than any slot could save.
    """

    def __init__(self, problem: Problem, timeline: Timeline, parts: list[Part], spare_gpus: IntArray | None) -> None:
        """Write it down; ``timeline`` is what is left beside the parts."""
        self._problem, self._timeline, self._linear, self._parts = problem, timeline, Linear(), parts
        self._late_row: int | None = None
        self._takers: list[_Taker] = [self._taker(part) for part in parts]
        self._shares = [
            self._share(timeline.free_gpus, spare_gpus, [float(part.request.gpus) for part in parts]),
            self._share(timeline.free_cpus, None, [float(part.request.cpus) for part in parts]),
        ]
        if timeline.common is not None:
            drawn_w = [part.request.power_w for part in parts]
            self._shares.append(self._share(_left_w(timeline.common), None, drawn_w, timeline.common.kin))
        for number, taker in enumerate(self._takers):
            if isinstance(taker, Courses):
                self._add(number, taker, parts[number].usual)

    def _taker(self, part: Part) -> _Taker:
        if part.request.running_at is None and not part.request.suspensions_left:
            return Windows(part, self._problem, self._linear)
        if part.is_free(self._problem.grid.count):
            return Slots(part, self._problem, self._linear)
        return Courses(part, self._problem, self._timeline, self._linear)

    def least_late(self, effort: Effort) -> None:
        """Have the jobs end as little after their time as can be, from now on; together not later than usual."""
        self._rounds(is_late=True)
        cost = self._late_cost()
        most = sum(part.late_s(part.usual) for part in self._parts)
        found = self._linear.least(replace(effort, gap=LATE_GAP), cost)
        if found is not None:
            most = min(most, float(cost @ found))
        told = np.flatnonzero(cost)
        self._late_row = self._linear.row((told, cost[told]), high=most * (1 + ROUNDING) + MOMENT_S)

    def least_grams(self, effort: Effort) -> list[Placement] | None:
        """One placement per part; None where none was found."""
        self._rounds(is_late=False)
        values = self._linear.least(effort)
        if values is None:
            return None
        placed = [taker.placed(values) for taker in self._takers]
        return [one for one in placed if one is not None] if None not in placed else None

    def _late_cost(self) -> FloatArray:
        """[column], seconds of lateness weighted by GPUs."""
        cost = np.zeros(self._linear.size)
        for part, taker in zip(self._parts, self._takers, strict=True):
            for columns, seconds in taker.late:
                cost[columns] += part.weight * seconds
        return cost

    def _rounds(self, *, is_late: bool) -> None:
        for _ in range(MOST_ROUNDS):
            if not self._round(is_late=is_late):
                break

    def _round(self, *, is_late: bool) -> bool:
        """Ask each part that has courses for better ones; whether any has."""
        courses = [(i, taker) for i, taker in enumerate(self._takers) if isinstance(taker, Courses)]
        duals = self._linear.duals(self._late_cost() if is_late else None) if courses else None
        if duals is None:
            return False
        worth, is_found = self._worth(duals, is_late=is_late), False
        for number, taker in courses:
            for course in taker.better(worth, float(duals[taker.row])):
                self._add(number, taker, course)
                is_found = True
        return is_found

    def _worth(self, duals: FloatArray, *, is_late: bool) -> Worth:
        shape = self._problem.grid.count
        worth = [np.where(share.row >= 0, -duals[share.row], 0.0).reshape(-1, shape) for share in self._shares]
        of_late_s = 1.0 if is_late else 0.0 if self._late_row is None else -float(duals[self._late_row])
        return Worth(self._problem, worth, of_gram=0.0 if is_late else 1.0, of_late_s=of_late_s)

    def _add(self, number: int, taker: Courses, course: Placement) -> None:
        cells, column = taker.add(course)
        for share in self._shares:
            rows = share.row[cells]
            rows = rows[rows >= 0]
            if share.needs[number]:
                self._linear.cells(rows, np.full(len(rows), column), share.needs[number])
        if self._late_row is not None:
            late_s = self._parts[number].late_s(course)
            self._linear.cells(np.array([self._late_row]), np.array([column]), late_s)

    def _share(
        self, free: FloatArray | IntArray, spare: IntArray | None, needs: list[float], kin: tuple[Rows, ...] = ()
    ) -> _Share:
        """One row per cell that the parts could fill, or per those of ``kin``, the sites that share it."""
        rows = np.array([np.min(others) for others in kin] or range(len(free)))
        at = (rows[:, None] * free.shape[1] + np.arange(free.shape[1])).ravel()
        held = [
            (cells, columns, need) for t, need in zip(self._takers, needs, strict=True) for cells, columns in t.held
        ]
        cells = at[np.concatenate([cells for cells, _, _ in held])]
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
        return _Share(row[at], needs)

    def _dear(self) -> float:
        """More grams than a GPU could save by the move of a slot."""
        spreads = (np.ptp(part.offer.problem.prices.price_g_per_kwh) * part.offer.g_per_price for part in self._parts)
        each = max(float(g) / part.weight for g, part in zip(spreads, self._parts, strict=True))
        return each * self._problem.grid.slot_s


def _left_w(common: Common) -> FloatArray:
    """[site, slot], power that is left; of sites that share it the least, as what one draws no other has."""
    left: FloatArray = np.array([common.free_mw[np.atleast_1d(rows)].min(axis=0) for rows in common.kin]) / MW_PER_W
    return left
