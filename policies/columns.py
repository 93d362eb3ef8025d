"""What one job is in a program: a column per window, or columns per slot.

Work that may not be interrupted has one column per window. Other work has two per slot: whether it is held, and
whether a stretch begins there; the latter is left out where stretches cost nothing and have no bounds. Times are in
seconds, costs in grams.
"""

import math
from dataclasses import dataclass

import numpy as np

from lowtide.policies.linear import Linear
from lowtide.policies.offer import Offer
from lowtide.policies.problem import EPSILON_S, FloatArray, IntArray, Placement, Problem, Request
from lowtide.policies.timeline import Span

HALF = 0.5
Late = list[tuple[IntArray, FloatArray | float]]
"""Columns that tell seconds of lateness, and how many each."""
Held = list[tuple[IntArray, IntArray]]
"""Cells of [site, slot], and the columns that hold them when they are 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One job of a program: what it can have, and by when it must end at each of the sites that it may use.

    ``is_priced`` says whether its grams count; those of what is due, or has no forecast, do not. ``usual`` is a
    placement that is known to be possible.
    """

    offer: Offer
    ends_s: dict[int, float]
    is_priced: bool
    usual: Placement

    @property
    def request(self) -> Request:
        """The job."""
        return self.offer.request

    @property
    def weight(self) -> float:
        """What a second of lateness counts."""
        return float(max(1, self.request.gpus))

    def late_s(self, placed: Placement) -> float:
        """By how much a placement ends later than it should, times the weight."""
        return max(0.0, placed.end_s - self.request.must_end_s) * self.weight

    @property
    def most_stretches(self) -> int:
        """How many stretches may begin; one, where the work is shorter than the least stretch."""
        request = self.request
        most = request.suspensions_left + (1 if request.running_at is None else 0)
        return most if request.min_run_s <= request.length_s else min(most, 1)

    def is_free(self, slots: int) -> bool:
        """Whether stretches among so many slots cost nothing and have no bounds."""
        request = self.request
        return not request.switch_s and request.min_run_s <= EPSILON_S and self.most_stretches > (slots + 1) // 2


class Windows:
    """A job that runs in one go: one column per window."""

    def __init__(self, part: Part, problem: Problem, linear: Linear) -> None:
        """All windows, and one row that has one of them taken."""
        self._windows = list(_windows(part, problem))
        count, request = len(self._windows), part.request
        grams = [window.cost_g if part.is_priced else 0.0 for window in self._windows]
        self._columns = linear.columns(count, cost=np.array(grams), high=1.0, is_whole=True)
        linear.row((self._columns, 1.0), low=1.0, high=1.0)
        late_s = np.array([max(0.0, window.end_s - request.must_end_s) for window in self._windows])
        self.late: Late = [(self._columns, late_s)]
        self.held: Held = [
            (cells_of(window, problem), np.repeat(column, len(cells_of(window, problem))))
            for window, column in zip(self._windows, self._columns, strict=True)
        ]

    def placed(self, values: FloatArray) -> Placement | None:
        """The window that was taken."""
        return self._windows[int(values[self._columns].argmax())] if self._windows else None


def _windows(part: Part, problem: Problem) -> list[Placement]:
    """Every window of a job that has room and ends in time."""
    offer, grid = part.offer, problem.grid
    found = []
    for site, end_s in part.ends_s.items():
        for slot in range(offer.first_column, grid.count):
            window = offer.window(site, slot)
            if window.end_s > end_s + EPSILON_S:
                break
            if offer.is_free(window):
                found.append(window)
    return found


def cells_of(placed: Placement, problem: Problem) -> IntArray:
    """The cells that a placement holds."""
    grid = problem.grid
    ranges = (np.arange(grid.slot_at(a), min(grid.slots_until(b), grid.count)) for a, b in placed.spans)
    return placed.site * grid.count + np.unique(np.concatenate(list(ranges)))


@dataclass(frozen=True, slots=True, eq=False)
class _Site:
    """The slots of one site: ``begin_s`` and ``width_s`` of each from ``low`` on, and their columns."""

    site: int
    low: int
    begin_s: FloatArray
    width_s: FloatArray
    held: IntArray
    begun: IntArray


class Slots:
    """A job that may be interrupted: one or two columns per slot."""

    def __init__(self, part: Part, problem: Problem, linear: Linear) -> None:
        """All slots in time, and the rows that make stretches of them."""
        self._part, self._problem, self._linear = part, problem, linear
        self._goes_on = part.request.running_at is not None
        self._sites = [self._site(site, end_s) for site, end_s in part.ends_s.items()]
        self.held: Held = [(s.site * problem.grid.count + s.low + np.arange(len(s.held)), s.held) for s in self._sites]
        self.late: Late = []
        if len(self._sites) > 1:
            self._at_one()
        self._work()
        self._lateness()

    def _site(self, site: int, end_s: float) -> _Site:
        offer, grid = self._part.offer, self._problem.grid
        low = 0 if self._goes_on else offer.first_column
        high = max(low, min(grid.slot_at(end_s - 2 * EPSILON_S) + 1, grid.count))
        begin_s = grid.edges_s[low:high].copy()
        begin_s[:1] = offer.start_s(low)
        width_s = np.maximum(np.minimum(grid.edges_s[low + 1 : high + 1], end_s) - begin_s, 0.0)
        kept = np.zeros(high - low)
        if self._goes_on and self._part.request.hold_s > 0:
            kept[: grid.slots_until(self._part.request.hold_s)] = 1.0
        price = offer.problem.prices.price_g_per_kwh[site, low:high] * offer.g_per_price * self._part.is_priced
        room = np.maximum(offer.room[site, low:high], kept)
        held = self._linear.columns(high - low, cost=price * width_s, low=kept, high=room, is_whole=True)
        return _Site(site, low, begin_s, width_s, held, self._begun(held, begin_s, begin_s + width_s))

    def _begun(self, held: IntArray, begin_s: FloatArray, ends_s: FloatArray) -> IntArray:
        """Columns that tell where stretches begin, where these cost or are bounded; else none."""
        count, linear = len(held), self._linear
        if self._part.is_free(count) or not count:
            return held[:0]
        begun = linear.columns(count, high=1.0)
        linear.rows((begun[1:], -1.0), (held[1:], 1.0), (held[:-1], -1.0), high=0.0)
        if self._goes_on:
            linear.row((begun[:1], 1.0), high=0.0)
        else:
            linear.rows((begun[:1], -1.0), (held[:1], 1.0), high=0.0)
        if self._part.most_stretches > 1:
            self._long_enough(held, begun, begin_s, ends_s)
        return begun

    def _long_enough(self, held: IntArray, begun: IntArray, begin_s: FloatArray, ends_s: FloatArray) -> None:
        """Each stretch holds the slots of the least run."""
        request, count = self._part.request, len(held)
        needed = np.searchsorted(ends_s, begin_s + request.min_run_s - EPSILON_S) + 1 - np.arange(count)
        self._linear.row((begun[needed + np.arange(count) > count], 1.0), high=0.0)
        for at in range(count):
            since = np.arange(max(0, at - int(needed.max()) + 1), at + 1)
            since = since[since + needed[since] > at]
            self._linear.row((begun[since], 1.0), (held[at : at + 1], -1.0), high=0.0)
        # What is longer than the least run in whole slots may not be so without the time that is not needed.
        each_s = request.min_run_s - request.switch_s
        self._linear.row((begun, each_s), high=request.length_s - (0.0 if self._goes_on else request.switch_s))

    def _at_one(self) -> None:
        """All of the work lies at one of the sites."""
        here = self._linear.columns(len(self._sites), high=1.0, is_whole=True)
        self._linear.row((here, 1.0), low=1.0, high=1.0)
        for number, own in zip(here, self._sites, strict=True):
            self._linear.rows((own.held, 1.0), (np.full(len(own.held), number), -1.0), high=0.0)

    def _work(self) -> None:
        """All of it fits in, with what the pauses lose; at most so many stretches, at least so many slots."""
        request, linear = self._part.request, self._linear
        held, begun, width_s = (
            np.concatenate([getattr(own, name) for own in self._sites]) for name in ("held", "begun", "width_s")
        )
        switch_s = request.switch_s if len(begun) else 0.0
        first = np.concatenate([own.held[:1] for own in self._sites]) if self._goes_on else held[:0]
        terms = ((held, width_s), (begun, -switch_s), (first, request.resume_s - switch_s))
        linear.row(*terms, low=request.length_s - switch_s - EPSILON_S)
        least_s = request.work_s if self._goes_on else request.length_s
        linear.row((held, 1.0), low=math.ceil(least_s / self._problem.grid.slot_s - EPSILON_S))
        if len(begun):
            linear.row((begun, 1.0), high=self._part.most_stretches)

    def _lateness(self) -> None:
        """One column that is at least how much later than its time the job ends."""
        must_end_s = self._part.request.must_end_s
        if max(self._part.ends_s.values()) <= must_end_s + EPSILON_S:
            return
        late = self._linear.columns(1)
        self.late.append((late, 1.0))
        for own in self._sites:
            by_s = own.begin_s + own.width_s - must_end_s
            after = by_s > 0
            column = np.full(int(after.sum()), late[0])
            self._linear.rows((own.held[after], by_s[after]), (column, -1.0), high=0.0)

    def placed(self, values: FloatArray) -> Placement | None:
        """The stretches that were taken."""
        own = max(self._sites, key=lambda own: float(values[own.held].sum()))
        slots = np.flatnonzero(values[own.held] > HALF)
        if not len(slots):
            return None
        runs = np.split(slots, np.flatnonzero(np.diff(slots) > 1) + 1)
        spans = [(float(own.begin_s[run[0]]), float(own.begin_s[run[-1]] + own.width_s[run[-1]])) for run in runs]
        trimmed = self._trimmed(own, spans)
        return None if trimmed is None else self._part.offer.placed(own.site, trimmed)

    def _trimmed(self, own: _Site, spans: list[Span]) -> tuple[Span, ...] | None:
        """The stretches without the time that is not needed, taken off the dearest edges; None where that cannot be."""
        spare_s = sum(end_s - begin_s for begin_s, end_s in spans) - self._needed_s(spans)
        while spare_s > EPSILON_S:
            edges = [self._edge(own, spans, i, is_end=is_end) for i in range(len(spans)) for is_end in (True, False)]
            edge = max(edges, key=lambda edge: edge.price if edge.most_s > EPSILON_S else -math.inf)
            by_s = min(spare_s, edge.most_s)
            if by_s <= EPSILON_S:
                return None
            begin_s, end_s = spans[edge.of]
            spans[edge.of] = (begin_s, end_s - by_s) if edge.is_end else (begin_s + by_s, end_s)
            spare_s -= by_s
        return tuple(spans) if spare_s > -2 * EPSILON_S else None

    def _needed_s(self, spans: list[Span]) -> float:
        request = self._part.request
        is_kept = self._goes_on and spans[0][0] <= EPSILON_S
        return request.work_s + (0.0 if is_kept else request.resume_s) + request.switch_s * (len(spans) - 1)

    def _edge(self, own: _Site, spans: list[Span], i: int, *, is_end: bool) -> "_Edge":
        """What could be taken off one end of a stretch: within its last slot, and down to the least run."""
        grid, request, (begin_s, end_s) = self._problem.grid, self._part.request, spans[i]
        is_first = begin_s <= own.begin_s[0] + EPSILON_S
        least_s = 0.0 if len(spans) == 1 else request.min_run_s
        if self._goes_on and begin_s <= EPSILON_S:
            least_s = request.hold_s
        slot = grid.slots_until(end_s) - 1 if is_end else grid.slot_at(begin_s)
        within_s = end_s - grid.start_s(slot) if is_end else grid.start_s(slot + 1) - begin_s
        most_s = 0.0 if is_first and not is_end else min(within_s, end_s - begin_s - max(least_s, 2 * EPSILON_S))
        return _Edge(i, is_end, self._part.offer.problem.prices.price_rows[own.site][slot], most_s)


@dataclass(frozen=True, slots=True)
class _Edge:
    """One end of a stretch: its price, and how many seconds may be taken off it."""

    of: int
    is_end: bool
    price: float
    most_s: float
