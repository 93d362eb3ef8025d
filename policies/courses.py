"""Whole courses of one job as columns of a program, found one by one at the price of capacity."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from lowtide.policies.columns import Held, Late, Part, cells_of
from lowtide.policies.guard import NOISE
from lowtide.policies.linear import Linear
from lowtide.policies.offer import Offer
from lowtide.policies.pieces import cheapest_pieces, less
from lowtide.policies.problem import EPSILON_S, FloatArray, IntArray, Placement, Prices, Problem, Request
from lowtide.policies.timeline import Timeline

NO_COLUMN = -1


class Worth:
    """What a program says that things are worth: a gram, a late second, and capacity."""

    def __init__(self, problem: Problem, worth: list[FloatArray], *, of_gram: float, of_late_s: float) -> None:
        """Take [site, slot] worths of a GPU, a CPU and, where that is short, a watt; no more is worked out yet."""
        self._problem, self._worth = problem, worth
        self._of_gram, self._of_late_s = of_gram, of_late_s
        self._known: dict[tuple[float, float, bool], Problem] = {}

    def cost_of(self, part: Part, course: Placement) -> float:
        """What a course costs with the capacity that it holds."""
        request, cells = part.request, cells_of(course, self._problem)
        pairs = zip(request.need, self._worth, strict=False)  # there may be no power to be short of
        held = sum(float(need * worth.ravel()[cells].sum()) for need, worth in pairs)
        grams = course.cost_g if part.is_priced else 0.0
        return held + self._of_gram * grams + self._of_late_s * part.late_s(course)

    def problem_of(self, part: Part) -> Problem:
        """The problem at the prices that a job has to pay for all but its lateness."""
        request = part.request
        per_price = part.offer.g_per_price * self._problem.grid.slot_s
        key = request.gpus / per_price, request.cpus / per_price, part.is_priced
        if key not in self._known:
            pairs = zip(request.need, self._worth, strict=False)
            more = np.sum([need / per_price * worth for need, worth in pairs], axis=0)
            prices = _with_capacity(self._problem.prices, more, self._of_gram if part.is_priced else 0.0)
            self._known[key] = replace(self._problem, prices=prices if part.is_priced else _as_if_known(prices))
        return self._known[key]


def _with_capacity(prices: Prices, more: FloatArray, of_gram: float) -> Prices:
    count = prices.grid.count
    return Prices(
        prices.grid,
        of_gram * prices.price_g_per_kwh[:, :count] + more,
        prices.error_g_per_kwh[:, :count],
        prices.known_until_s,
        prices.may_shift,
        prices.groups,
    )


def _as_if_known(prices: Prices) -> Prices:
    """The same where every site compares with every other up to the end of the grid."""
    grid, sites = prices.grid, len(prices.groups)
    return Prices(
        grid,
        prices.price_g_per_kwh[:, : grid.count],
        prices.error_g_per_kwh[:, : grid.count],
        np.full(sites, grid.edges_s[-1]),
        np.ones(sites, dtype=np.bool_),
        ("any",) * sites,
    )


class Courses:
    """A job that may pause at a cost: one column per course."""

    def __init__(self, part: Part, problem: Problem, timeline: Timeline, linear: Linear) -> None:
        """Only the row that has one course taken; the courses are added when they are known."""
        self._part, self._problem, self._timeline, self._linear = part, problem, timeline, linear
        self.row = int(linear.limits(np.ones(1), low=1.0)[0])
        self._columns: list[int] = []
        self._courses: list[Placement] = []
        touched = np.concatenate([site * problem.grid.count + np.arange(problem.grid.count) for site in part.ends_s])
        self.held: Held = [(touched, np.full(len(touched), NO_COLUMN))]
        self._asked = list(_asked(part, problem.grid.slot_s))

    @property
    def late(self) -> Late:
        """The columns of courses that end too late."""
        late_s = np.array([self._part.late_s(course) for course in self._courses]) / self._part.weight
        return [(np.array(self._columns, dtype=np.int64), late_s)]

    def add(self, course: Placement) -> tuple[IntArray, int]:
        """A column for a course; the cells that it holds, and its number."""
        cost_g = course.cost_g if self._part.is_priced else 0.0
        (column,) = self._linear.columns(1, cost=cost_g, high=1.0, is_whole=True)
        self._linear.cells(np.array([self.row]), np.array([column]), 1.0)
        self._columns.append(int(column))
        self._courses.append(course)
        return cells_of(course, self._problem), int(column)

    def better(self, worth: Worth, dual: float) -> Iterator[Placement]:
        """Courses that cost less than ``dual`` with the capacity that they hold: the least that end by some times."""
        problem, known = worth.problem_of(self._part), {course.course for course in self._courses}
        for asked in self._asked:
            course = _least(Offer(problem, self._timeline, asked))
            if course is not None and course.site in self._part.ends_s and course.course not in known:
                known.add(course.course)
                own = self._part.offer.placed(course.site, course.spans)
                cost = worth.cost_of(self._part, own)
                if cost < dual - NOISE * max(abs(cost), abs(dual)):
                    yield own

    def placed(self, values: FloatArray) -> Placement | None:
        """The course that was taken."""
        return self._courses[int(values[self._columns].argmax())]


def _asked(part: Part, slot_s: float) -> Iterator[Request]:
    """The job, to end in time, a slot late, two more, ..., and by when the program has it end at last."""
    request, end_s = part.request, max(part.ends_s.values())
    by_s, step_s = request.must_end_s, slot_s
    while by_s < end_s - EPSILON_S:
        yield _ending(request, by_s)
        by_s, step_s = math.ceil(by_s / slot_s + EPSILON_S) * slot_s + step_s, 2 * step_s
    yield _ending(request, end_s)


def _ending(request: Request, end_s: float) -> Request:
    sooner_s = request.must_end_s - end_s
    return replace(request, latest_start_s=request.latest_start_s - sooner_s, must_end_s=end_s)


def _least(offer: Offer) -> Placement | None:
    """The cheapest course, for a running job that goes on, goes on and pauses, or pauses now."""
    if offer.request.running_at is None:
        return cheapest_pieces(offer)
    kept = offer.baseline if offer.is_free(offer.baseline) else None
    later = less(kept, cheapest_pieces(offer.going_on()))
    return later if offer.request.hold_s > 0 else less(later, cheapest_pieces(offer))
