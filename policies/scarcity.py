"""What capacity is worth in each slot when the jobs of a queue want more of the clean hours than there is.

Jobs that may be wide where the grid is clean all want the same hours; served one by one, the first take so many GPUs
there that the others are left with dirty hours, or late. At a price for what is short each job finds by itself whether
the clean hour is worth its GPUs to it. The prices come from the fluid problem, in which time is shared at will:

    min  Σ grams  +  ½ · steep · Σ (use beyond capacity)²

by the method of Frank and Wolfe, job by job (Lacoste-Julien et al., "Block-Coordinate Frank-Wolfe Optimization for
Structural SVMs", ICML 2013): at the prices that the mean of all answers so far sets, each job in turn answers with what
is cheapest for it, and its mean moves towards the answer as far as that pays.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lowtide.policies.compiled import compiled
from lowtide.policies.fill import FLOOR_G_PER_KWH
from lowtide.policies.holding import ways
from lowtide.policies.problem import EPSILON_S, BoolArray, FloatArray, Placement, Problem, Request, SlotGrid
from lowtide.policies.timeline import MW_PER_W
from lowtide.scheduler.model.mode import Mode
from lowtide.scheduler.model.units import kwh_per_s

ANSWERS, MOST_ANSWERS = 10, 20_000
"""So many times each job answers, and so many answers there are at most, one for each of its sites; a queue that would
need more is served without prices."""

HALVINGS = 40
"""Of the worth of a second of work; more than the forecast is good for."""


Cells = tuple[slice, int, slice]
"""All resources, a row, and slots."""


@dataclass(frozen=True, slots=True, eq=False)
class Scarcity:
    """What a second of capacity is worth, in g/kWh·W: [GPU, CPU or milliwatt, row, slot]."""

    worth: FloatArray

    def cost(self, modes: tuple[Mode, ...], site: int, low: int, high: int) -> FloatArray:
        """[mode, slot] from ``low`` to before ``high``, what a second in a mode costs for what it holds."""
        cost: FloatArray = _needs(modes).T @ self.worth[:, site, low:high]
        return cost

    def held_g(self, request: Request, placed: Placement, grid: SlotGrid) -> float:
        """What a placement costs for all that it holds, which is whole slots, in grams."""
        peaks = np.zeros((len(self.worth), grid.count))
        for (start_s, end_s), need in zip(placed.spans, _needs(ways(request, placed)).T, strict=True):
            touched = slice(grid.slot_at(start_s), grid.slots_until(end_s))
            peaks[:, touched] = np.maximum(peaks[:, touched], need[:, None])
        each_s = (peaks * self.worth[:, placed.site]).sum(axis=0)
        return float(each_s @ np.diff(grid.edges_s)) * kwh_per_s(1.0)


def _needs(modes: tuple[Mode, ...]) -> FloatArray:
    """[GPU, CPU or milliwatt, mode]."""
    each = zip(*((mode.gpus, mode.cpus, mode.power_w * MW_PER_W) for mode in modes), strict=True)
    return np.array(list(each), dtype=np.float64)


class _Site(NamedTuple):
    """What one job can have at one site: its slots from ``low`` on, [slot], and [mode, slot] where there is room."""

    site: int
    low: int
    price: FloatArray
    width_s: FloatArray
    room: BoolArray


class _Asker:
    """One job: what it can do, and the mean of its answers so far.

    Attributes:
        sites: where it can run.
        used: for each of them [GPU, CPU or milliwatt, slot], times seconds.
        cost: of that, without what capacity is worth; infinite before the first answer.

    """

    __slots__ = ("cost", "needs", "power_w", "sites", "speed", "used", "work_s")

    def __init__(self, problem: Problem, request: Request) -> None:
        """Running jobs, and such that may not be delayed, run as declared."""
        is_plain = request.running_at is not None or request.is_due or not request.modes
        ways = (request.declared,) if is_plain else request.modes
        found = [_site(problem, request, site, ways) for site in request.sites]
        self.sites = [own for own in found if len(own.width_s)]
        self.work_s, self.needs = request.work_s, _needs(ways)
        self.speed, self.power_w = (np.array([getattr(way, name) for way in ways]) for name in ("speed", "power_w"))
        self.used = [np.zeros((len(self.needs), len(own.width_s))) for own in self.sites]
        self.cost = math.inf

    @property
    def price_of_unit(self) -> FloatArray:
        """[GPU, CPU or milliwatt], watts that one of them goes with; 0 where it holds none."""
        need = self.needs[:, 0]
        return np.where(need > 0, self.power_w[0] / np.where(need > 0, need, 1.0), 0.0)


def _site(problem: Problem, request: Request, site: int, ways: tuple[Mode, ...]) -> _Site:
    grid, prices = problem.grid, problem.prices
    end_s = request.release_s + request.length_s
    if not request.is_due:
        end_s = max(end_s, min(request.must_end_s, prices.known_until(site)))
    low, high = grid.slot_at(request.release_s), min(grid.slots_until(end_s), grid.count)
    width_s = np.minimum(grid.edges_s[low + 1 : high + 1], end_s) - np.maximum(
        grid.edges_s[low:high], request.release_s
    )
    room = np.array([problem.timeline.has_room(w.gpus, w.cpus, w.power_w)[site, low:high] for w in ways])
    return _Site(site, low, np.maximum(prices.price_g_per_kwh[site, low:high], FLOOR_G_PER_KWH), width_s, room)


def scarcity(problem: Problem, steep: float) -> Scarcity | None:
    """What capacity is worth where all requests are asked; None where there is enough for what each wants.

    ``steep`` tells by how many times what a unit's grams usually come to its worth rises where twice the capacity is
    used.
    """
    askers = [asker for request in problem.requests if (asker := _Asker(problem, request)).sites]
    market = _Market(problem, askers, steep)
    each = sum(len(asker.sites) for asker in askers)
    for _ in range(min(ANSWERS, MOST_ANSWERS // max(1, each))):
        for asker in askers:
            market.ask(asker)
    return Scarcity(market.worth) if market.worth.any() else None


class _Market:
    """What all use by the mean of their answers, and what capacity is worth then.

    Attributes:
        worth: [GPU, CPU or milliwatt, row, slot].

    """

    def __init__(self, problem: Problem, askers: list[_Asker], steep: float) -> None:
        """Nobody has answered yet."""
        timeline = problem.timeline
        self._common, self._widths_s = timeline.common, np.diff(problem.grid.edges_s)
        power = np.full(timeline.free_gpus.shape, np.inf) if timeline.common is None else timeline.common.free_mw
        self._capacity = np.maximum(np.stack((timeline.free_gpus, timeline.free_cpus, power)), 0.0)
        self._slope = steep * _slope(problem, askers, self._capacity)
        self._use, self.worth = np.zeros(self._capacity.shape), np.zeros(self._capacity.shape)

    def ask(self, asker: _Asker) -> None:
        """Have a job answer, and move its mean as far towards the answer as that lowers the cost of all."""
        at = [(slice(None), own.site, slice(own.low, own.low + len(own.width_s))) for own in asker.sites]
        answers = [
            _answer(own, asker.power_w, asker.speed, asker.needs, np.ascontiguousarray(self.worth[where]), asker.work_s)
            for own, where in zip(asker.sites, at, strict=True)
        ]
        best = min(range(len(at)), key=lambda i: answers[i][0])
        total, wanted = answers[best]
        cost = total - float((self.worth[at[best]] * wanted).sum())
        diffs = [(wanted if i == best else 0.0) - used for i, used in enumerate(asker.used)]
        share = 1.0
        if asker.cost < math.inf:
            paid = asker.cost + sum(float((self.worth[w] * u).sum()) for w, u in zip(at, asker.used, strict=True))
            share = self._share(paid - total, at, diffs)
            cost = asker.cost + share * (cost - asker.cost)
        asker.cost = cost
        asker.used = [used + share * diff for used, diff in zip(asker.used, diffs, strict=True)]
        for where, diff in zip(at, diffs, strict=True):
            self._move(where, share * diff)

    def _share(self, gain: float, at: list[Cells], diffs: list[FloatArray]) -> float:
        """How far to go: to where what is gained at the prices of the moment is lost by their rise."""
        rise = 0.0
        for where, diff in zip(at, diffs, strict=True):
            each = diff / self._widths_s[where[2]]
            is_short = self._use[where] + np.maximum(each, 0.0) > self._capacity[where]
            rise += float((self._slope[:, where[1]] * is_short * each * diff).sum())
        return 1.0 if rise <= 0 else min(1.0, max(0.0, gain) / rise)

    def _move(self, where: Cells, diff: FloatArray) -> None:
        """Change what is used, and what is worth what then, in all rows that have something in common."""
        _, site, slots = where
        twins, kin = (site, site) if self._common is None else (self._common.twins[site], self._common.kin[site])
        each = diff / self._widths_s[slots]
        for resource, rows in ((0, twins), (1, twins), (2, kin)):
            self._use[resource, rows, slots] += each[resource]
            over = self._use[resource, rows, slots] - self._capacity[resource, rows, slots]
            self.worth[resource, rows, slots] = self._slope[resource, rows] * np.maximum(over, 0.0)


def _slope(problem: Problem, askers: list[_Asker], capacity: FloatArray) -> FloatArray:
    """[GPU, CPU or milliwatt, row, 1], what a unit's grams usually come to, by the capacity that there is."""
    price = float(np.abs(problem.prices.price_g_per_kwh[:, :-1]).mean())
    per_unit = np.mean([asker.price_of_unit for asker in askers], axis=0) if askers else np.zeros(len(capacity))
    most = np.maximum(np.where(np.isfinite(capacity), capacity, 0.0).max(axis=2, keepdims=True), 1.0)
    slope: FloatArray = price * per_unit[:, None, None] / most
    return slope


@compiled
def _done_s(cost: FloatArray, speed: FloatArray, own: _Site, worth: float) -> float:
    """The work that is worth its cost where a second of it is worth so much."""
    done_s = 0.0
    for slot in range(len(own.width_s)):
        gain, fast = 0.0, 0.0
        for mode in range(len(speed)):
            more = worth * speed[mode] - cost[mode, slot]
            if own.room[mode, slot] and more > gain:
                gain, fast = more, speed[mode]
        done_s += fast * own.width_s[slot]
    return done_s


@compiled
def _use(
    cost: FloatArray, speed: FloatArray, needs: FloatArray, own: _Site, worth: float, share: float, used: FloatArray
) -> float:
    """Add what that work uses, times ``share``; what it costs."""
    total = 0.0
    for slot in range(len(own.width_s)):
        gain, best = 0.0, -1
        for mode in range(len(speed)):
            more = worth * speed[mode] - cost[mode, slot]
            if own.room[mode, slot] and more > gain:
                gain, best = more, mode
        if best >= 0:
            time_s = share * own.width_s[slot]
            total += time_s * cost[best, slot]
            for resource in range(needs.shape[0]):
                used[resource, slot] += time_s * needs[resource, best]
    return total


@compiled
def _answer(
    own: _Site, power_w: FloatArray, speed: FloatArray, needs: FloatArray, worth: FloatArray, work_s: float
) -> tuple[float, FloatArray]:
    """What the work costs at least, infinite where it does not fit, and [resource, slot] what it uses, by seconds."""
    count, used = len(own.width_s), np.zeros(worth.shape)
    cost = np.empty((len(speed), count))
    most = 1e-9
    for mode in range(len(speed)):
        for slot in range(count):
            cost[mode, slot] = power_w[mode] * own.price[slot]
            for resource in range(needs.shape[0]):
                cost[mode, slot] += needs[resource, mode] * worth[resource, slot]
            most = max(most, cost[mode, slot] / speed[mode])
    low, high = 0.0, most
    for _ in range(HALVINGS):
        if _done_s(cost, speed, own, high) >= work_s - EPSILON_S:
            break
        low, high = high, 2 * high
    else:
        return math.inf + _use(cost, speed, needs, own, high, 1.0, used), used
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if _done_s(cost, speed, own, middle) >= work_s - EPSILON_S:
            high = middle
        else:
            low = middle
    less_s, more_s = _done_s(cost, speed, own, low), _done_s(cost, speed, own, high)
    share = 1.0 if more_s - less_s <= EPSILON_S else (work_s - less_s) / (more_s - less_s)
    total = _use(cost, speed, needs, own, high, share, used)
    return total + _use(cost, speed, needs, own, low, 1 - share, used), used
