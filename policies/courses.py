"""Whole courses of one job as columns of a program, found one by one at the price of capacity."""

from dataclasses import replace

import numpy as np

from lowtide.policies.columns import Held, Late, Part, cells_of
from lowtide.policies.guard import NOISE
from lowtide.policies.linear import Linear
from lowtide.policies.offer import Offer
from lowtide.policies.pieces import cheapest, cheapest_pieces, less
from lowtide.policies.problem import FloatArray, IntArray, Placement, Prices, Problem, Request
from lowtide.policies.timeline import Timeline

NO_COLUMN = -1


class Tariff:
    """Prices with what capacity is worth on top: ``gpu_g`` and ``cpu_g`` of [site, slot] are grams per slot."""

    def __init__(self, problem: Problem, gpu_g: FloatArray, cpu_g: FloatArray) -> None:
        """Nothing is worked out before it is asked for."""
        self._problem, self._gpu_g, self._cpu_g = problem, gpu_g, cpu_g
        self._known: dict[tuple[float, float], Problem] = {}

    def grams_of(self, request: Request, cells: IntArray) -> float:
        """What the capacity of some cells is worth that a job holds."""
        return float((request.gpus * self._gpu_g + request.cpus * self._cpu_g).ravel()[cells].sum())

    def problem_of(self, part: Part) -> Problem:
        """The problem at the prices that a job has to pay."""
        request, grid = part.request, self._problem.grid
        per_price = part.offer.g_per_price * grid.slot_s
        shares = request.gpus / per_price, request.cpus / per_price
        if shares not in self._known:
            prices = _dearer(self._problem.prices, shares[0] * self._gpu_g + shares[1] * self._cpu_g)
            self._known[shares] = replace(self._problem, prices=prices)
        return self._known[shares]


def _dearer(prices: Prices, more: FloatArray) -> Prices:
    count = prices.grid.count
    return Prices(
        prices.grid,
        prices.price_g_per_kwh[:, :count] + more,
        prices.error_g_per_kwh[:, :count],
        prices.known_until_s,
        prices.may_shift,
        prices.groups,
        prices.differences,
    )


class Courses:
    """A job that may pause at a cost: one column per course."""

    def __init__(self, part: Part, usual: Placement, problem: Problem, timeline: Timeline, linear: Linear) -> None:
        """Only the row that has one course taken; the courses are added when they are known."""
        self._part, self._problem, self._linear = part, problem, linear
        self.usual = usual
        self.row = int(linear.limits(np.ones(1), low=1.0)[0])
        self.late: Late = []
        self._columns: list[int] = []
        self._courses: list[Placement] = []
        touched = np.concatenate([site * problem.grid.count + np.arange(problem.grid.count) for site in part.ends_s])
        self.held: Held = [(touched, np.full(len(touched), NO_COLUMN))]
        self._asked = _asked(part)
        self._timeline = timeline

    def add(self, course: Placement) -> tuple[IntArray, int]:
        """A column for a course; the cells that it holds, and its number."""
        (column,) = self._linear.columns(1, cost=course.cost_g, high=1.0, is_whole=True)
        self._linear.cells(np.array([self.row]), np.array([column]), 1.0)
        self._columns.append(int(column))
        self._courses.append(course)
        return cells_of(course, self._problem), int(column)

    def better(self, tariff: Tariff, dual_g: float) -> Placement | None:
        """The course that costs least with the capacity that it holds; None where it saves nothing against ``dual_g``."""
        course = _least(Offer(tariff.problem_of(self._part), self._timeline, self._asked))
        if course is None or course.site not in self._part.ends_s or course.course in {c.course for c in self._courses}:
            return None
        own = self._part.offer.placed(course.site, course.spans)
        all_g = own.cost_g + tariff.grams_of(self._asked, cells_of(own, self._problem))
        return own if all_g < dual_g - NOISE * max(own.cost_g, dual_g) else None

    def placed(self, values: FloatArray) -> Placement | None:
        """The course that was taken."""
        return self._courses[int(values[self._columns].argmax())]


def _asked(part: Part) -> Request:
    """The job, to end by when the program has it end."""
    request, end_s = part.request, max(part.ends_s.values())
    sooner_s = request.must_end_s - end_s
    return replace(request, latest_start_s=request.latest_start_s - sooner_s, must_end_s=end_s)


def _least(offer: Offer) -> Placement | None:
    """The cheapest course, for a running job that goes on, goes on and pauses, or pauses now."""
    if offer.request.running_at is None:
        return cheapest(offer)
    kept = offer.baseline if offer.is_free(offer.baseline) else None
    later = less(kept, cheapest_pieces(offer.going_on()))
    return later if offer.request.hold_s > 0 else less(later, cheapest(offer))
