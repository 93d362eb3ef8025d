"""What one job can have: the windows that fit the capacity left, and what each would cost.

An offer answers a rule's questions (the earliest start, the cheapest window, the window at a slot) and
keeps its arrays to the columns that can matter, so that a queue of 10,000 jobs is a matter of a second.
"""

import math
from dataclasses import replace

import numpy as np

from lowtide.policies.guard import STD_PER_MEAN_ABSOLUTE
from lowtide.policies.problem import (
    EPSILON_S,
    BoolArray,
    FloatArray,
    IntArray,
    Placement,
    Problem,
    Request,
    as_array,
    group_mask,
)
from lowtide.policies.timeline import Span, Timeline
from lowtide.policies.windows import cheapest_window, earliest_window, window_costs
from lowtide.policies.worth import is_weighed, prices_of
from lowtide.scheduler.model.difference import Difference, joint
from lowtide.scheduler.model.units import kwh_per_s

TIE = 1e-9
"""Costs closer than this, relatively, count as equal; the earlier start then wins."""


_KEPT = (
    "_problem",
    "_release_slot",
    "_free_gpus",
    "request",
    "room",
    "mode_room",
    "baseline",
    "open_sites",
    "is_open",
    "first_column",
    "latest_start_s",
    "must_end_s",
)
"""What a copy of an offer has in common with it."""


class Offer:
    """The capacity and the prices that are open to one request.

    Attributes:
        request: the job.
        room: [site, slot], slots with enough capacity at sites open to the request.
        baseline: the earliest placement that fits, or going on for a running job; None when nothing fits.
        open_sites: [site], where a shift may be counted: comparable grams, and a baseline within the forecast.
        is_open: whether that is so at any site.
        first: when set, the start slot that the rule must keep (a promise made earlier).
        latest_start_s: as the request's, or sooner.
        must_end_s: as the request's, or sooner.
        goes_on: whether this is what a running job can have if it goes on in the current slot.
        is_guarded: whether ``starts`` already holds only windows that pass the guard.
        mode_room: for each of the request's modes [site, slot], where there is room for it.

    """

    __slots__ = (
        "_cost",
        "_free_gpus",
        "_problem",
        "_release_slot",
        "baseline",
        "first",
        "first_column",
        "goes_on",
        "is_guarded",
        "is_open",
        "latest_start_s",
        "mode_room",
        "must_end_s",
        "open_sites",
        "request",
        "room",
    )

    def __init__(self, problem: Problem, timeline: Timeline, request: Request) -> None:
        """Work out which windows fit; costs follow when a rule asks."""
        if is_weighed(request):
            problem = replace(problem, prices=prices_of(problem, request))
        self._problem, self.request = problem, request
        self.latest_start_s, self.must_end_s = request.latest_start_s, request.must_end_s
        self._release_slot = problem.grid.slot_at(request.release_s)
        self.first_column = max(self._release_slot, 0 if request.running_at is None else 1)
        self._free_gpus = timeline.free_gpus
        self.room = timeline.has_room(*request.need)
        self.mode_room = tuple(timeline.has_room(mode.gpus, mode.cpus, mode.power_w) for mode in request.modes)
        if len(request.sites) < len(self.room):
            closed = np.ones(len(self.room), dtype=np.bool_)
            closed[list(request.sites)] = False
            self.room[closed] = False
        self._cost: FloatArray | None = None
        self.first: int | None = None
        self.is_guarded = self.goes_on = False
        self.baseline = self._going_on() if request.running_at is not None else self._earliest()
        self.open_sites = self._open_sites()
        self.is_open = bool(self.open_sites.any())

    @property
    def problem(self) -> Problem:
        """The problem that the offer belongs to."""
        return self._problem

    @property
    def g_per_price(self) -> float:
        """Grams per g/kWh·s of the job's power."""
        return kwh_per_s(self.request.power_w)

    def start_s(self, slot: int) -> float:
        """When work begins if it begins in ``slot``: at the slot's edge, or at the release within it."""
        return max(self._problem.grid.start_s(slot), self.request.release_s)

    def placed(self, site: int, spans: tuple[Span, ...]) -> Placement:
        """A placement with its forecast cost."""
        return Placement(site, spans, self._problem.prices.grams(site, spans, self.request.power_w))

    def window(self, site: int, slot: int) -> Placement:
        """The uninterrupted run that begins in ``slot``."""
        start_s = self.start_s(slot)
        return self.placed(site, ((start_s, start_s + self.request.length_s),))

    def _open_sites(self) -> BoolArray:
        if self.baseline is None:
            return np.zeros(len(self.room), dtype=np.bool_)
        prices, site = self._problem.prices, self.baseline.site
        within = self.baseline.end_s <= prices.known_until_s[site] + EPSILON_S
        if not (within and prices.may_shift[site]):
            return np.zeros(len(self.room), dtype=np.bool_)
        return group_mask(prices.groups, site) & prices.may_shift

    def costs(self) -> FloatArray:
        """[site, start], price integrals in g/kWh·s from ``first_column`` on; infinite where not allowed.

        Allowed are windows that fit, begin by the latest start, end within the site's forecast, and lie
        at a site that compares with the baseline's.
        """
        if self._cost is None:
            self._cost = self._window_costs()
            if self.first is not None:
                column = self.first - self.first_column
                self._cost[:, :column] = math.inf
                self._cost[:, column + 1 :] = math.inf
        return self._cost

    def cheapest(self) -> Placement | None:
        """The allowed window of least cost; of equals the earliest, then the preferred site."""
        site, column = cheapest_window(self.costs(), as_array(self.request.sites), TIE)
        return None if site < 0 else self._window_of(site, column)

    def earliest_where(self, wanted: BoolArray) -> Placement | None:
        """The earliest allowed window among [site, start] flags of the same shape as ``costs``."""
        return self._earliest_of(wanted & np.isfinite(self.costs()))

    def latest(self) -> Placement | None:
        """The allowed window that begins last."""
        cost = self.costs()
        if not cost.size:
            return None
        column = cost.shape[1] - 1
        while column >= 0 and float(cost[:, column].min()) == math.inf:
            column -= 1
        if column < 0:
            return None
        return self._window_of(int(cost[:, column].argmin()), column)

    def cheapest_elsewhere(self, site: int, most: int) -> list[Placement]:
        """The cheapest allowed window of each of the ``most`` greenest sites but ``site``, in site order."""
        cost = self.costs()
        if not cost.size or len(cost) == 1:
            return []
        columns = cost.argmin(axis=1).tolist()
        least = [(float(cost[i, column]), i) for i, column in enumerate(columns) if i != site]
        greenest = sorted((c, i) for c, i in least if c < math.inf)[:most]
        return [self._window_of(i, columns[i]) for i in sorted(i for _, i in greenest)]

    def pinned(self, slot: int) -> "Offer":
        """The same offer for a job that must begin in ``slot``."""
        other = self._copy()
        other.first = slot
        return other

    def going_on(self) -> "Offer":
        """For a running job: the same offer when its work simply goes on in the current slot."""
        other = self._copy()
        other.request = replace(self.request, running_at=None, resume_s=0.0)
        other.first = other.first_column = 0
        other.goes_on = True
        return other

    def guarded(self) -> "Offer":
        """The same offer with only those windows that pass the guard against the baseline."""
        other = self._copy()
        other.is_guarded = True
        other._cost = np.where(self._passes(), self.costs(), math.inf)  # noqa: SLF001 - our own copy
        return other

    def _copy(self) -> "Offer":
        other = Offer.__new__(Offer)
        for name in _KEPT:
            setattr(other, name, getattr(self, name))
        other._cost, other.first, other.is_guarded, other.goes_on = None, None, False, False  # noqa: SLF001 - our own copy
        return other

    def is_free(self, placed: Placement | None) -> bool:
        """Whether all slots of a placement have room."""
        if placed is None:
            return False
        grid, room = self._problem.grid, self.room[placed.site]
        return all(room[grid.slot_at(a) : grid.slots_until(b)].all() for a, b in placed.spans)

    def earliest_window(self) -> Placement | None:
        """The first window that fits, for a running job after the current slot; None when nothing fits."""
        return self._first_from(self.first_column, self.first_column + self._long)

    def sparing(self, spare_gpus: IntArray) -> "Offer":
        """The same offer where so many GPUs per [site, slot] stay free besides."""
        other = self._copy()
        other.room = self.room & (self._free_gpus >= spare_gpus + self.request.gpus)
        other.mode_room = tuple(
            room & (self._free_gpus >= spare_gpus + mode.gpus)
            for room, mode in zip(self.mode_room, self.request.modes, strict=True)
        )
        return other

    def _earliest(self) -> Placement | None:
        """The first window that fits; among sites free then, the greener of those that compare."""
        grid, slot = self._problem.grid, self._release_slot
        if slot >= grid.count:
            return None
        return self._first_from(slot, self._release_until)

    def _first_from(self, slot: int, until: int) -> Placement | None:
        """The first window from a slot on, one from the slot itself ending in ``until``."""
        problem, request = self._problem, self.request
        prices = problem.prices
        slot, site = earliest_window(
            self.room,
            as_array(request.sites),
            slot,
            min(until, problem.grid.count),
            self._long,
            prices.price_g_per_kwh,
            prices.price_sum,
            problem.grid.edges_s,
            prices.codes,
            request.release_s,
            request.length_s,
        )
        return None if site < 0 else self.window(site, slot)

    @property
    def _release_until(self) -> int:
        """The exclusive last slot of a window that begins at the release."""
        grid, length_s = self._problem.grid, self.request.length_s
        return min(grid.slots_until(self.start_s(self._release_slot) + length_s), grid.count)

    @property
    def _long(self) -> int:
        """How many slots a window takes that begins with one."""
        grid = self._problem.grid
        return min(max(1, math.ceil((self.request.length_s - EPSILON_S) / grid.slot_s)), grid.count)

    def _going_on(self) -> Placement:
        site = self.request.running_at
        return self.placed(0 if site is None else site, ((0.0, self.request.work_s),))

    def _earliest_of(self, wanted: BoolArray) -> Placement | None:
        columns: list[bool] = _any_site(wanted).tolist()
        if True not in columns:
            return None
        column = columns.index(True)
        sites: list[bool] = wanted[:, column].tolist()
        site = next(s for s in self.request.sites if sites[s])
        return self._window_of(site, column)

    def _window_of(self, site: int, column: int) -> Placement:
        """The window behind one entry of ``costs``, without adding up its price again."""
        start_s = self.start_s(column + self.first_column)
        cost_g = float(self.costs()[site, column]) * kwh_per_s(self.request.power_w)
        return Placement(site, ((start_s, start_s + self.request.length_s),), cost_g)

    def _columns(self) -> tuple[int, int]:
        """The first and the exclusive last start slot that can be allowed."""
        grid, request = self._problem.grid, self.request
        last = grid.slot_at(self.latest_start_s) if self.latest_start_s >= request.release_s else -1
        whole = int((request.length_s + EPSILON_S) // grid.slot_s)
        return self.first_column, max(self.first_column, min(last + 1, grid.count, grid.count + 1 - whole))

    def _window_costs(self) -> FloatArray:
        prices, grid, request = self._problem.prices, self._problem.grid, self.request
        low, high = self._columns()
        if high <= low or not self.is_open:
            return np.empty((len(self.open_sites), 0))
        return window_costs(
            self.room,
            self.open_sites,
            self._release_slot,
            self._release_until,
            self._long,
            prices.price_g_per_kwh,
            prices.price_sum,
            grid.edges_s,
            prices.known_until_s,
            low,
            high,
            request.release_s,
            request.length_s,
        )

    def _integrals(self, sums: FloatArray, values: FloatArray, low: int, high: int) -> FloatArray:
        """[site, start], the integral of ``values`` over the window from each start slot in [low, high)."""
        slot_s, length_s = self._problem.grid.slot_s, self.request.length_s
        whole = int((length_s + EPSILON_S) // slot_s)
        rest_s = max(0.0, length_s - whole * slot_s)
        # Slot 0 and the release slot may begin off the grid and are put right by _off_grid.
        result = sums[:, low + whole : high + whole] - sums[:, low:high]
        result += rest_s * values[:, low + whole : high + whole]
        if low in {0, self._release_slot}:
            result[:, 0] = self._off_grid(sums, values, low)
        return result

    def _off_grid(self, sums: FloatArray, values: FloatArray, slot: int) -> FloatArray:
        """[site], the integral over the window that begins in ``slot`` at now or at the release."""
        start_s = self.start_s(slot)
        end_s = start_s + self.request.length_s
        grid = self._problem.grid
        last = min(grid.slot_at(end_s), grid.count - 1)
        until_end = sums[:, last] + (end_s - grid.start_s(last)) * values[:, last]
        return until_end - sums[:, slot] - (start_s - grid.start_s(slot)) * values[:, slot]

    def _passes(self) -> BoolArray:
        """[site, start], whether the window's saving exceeds the bar; the formula is the guard's."""
        cost, request, baseline = self.costs(), self.request, self.baseline
        if baseline is None or not cost.size:
            return np.zeros(cost.shape, dtype=np.bool_)
        per_kwh_s = kwh_per_s(request.power_w)
        saving_g = baseline.cost_g - cost * per_kwh_s
        error_g = per_kwh_s * self._errors(baseline)
        bar = np.maximum(request.min_savings * baseline.cost_g, request.z * error_g)
        passes: BoolArray = saving_g > np.maximum(bar, TIE * baseline.cost_g)
        return passes

    def _errors(self, baseline: Placement) -> FloatArray:
        """[site, start], the standard deviation of the difference to the baseline, in g/kWh·s."""
        prices, edges_s = self._problem.prices, self._problem.grid.edges_s
        low, high = self.first_column, self.first_column + self.costs().shape[1]
        ours = self._integrals(prices.error_sum, prices.error_g_per_kwh, low, high)
        theirs = np.full(ours.shape, prices.error_over(baseline.site, baseline.spans))
        row = prices.error_sum[baseline.site]
        starts_s = edges_s[low:high].copy()
        starts_s[0] = self.start_s(low)
        begin = np.maximum(starts_s, baseline.start_s)
        end = np.minimum(starts_s + self.request.length_s, baseline.end_s)
        shared = np.interp(end, edges_s, row) - np.interp(begin, edges_s, row)
        shared = np.where(end > begin, shared, 0.0)
        ours[baseline.site] -= shared
        theirs[baseline.site] -= shared
        joined: FloatArray = STD_PER_MEAN_ABSOLUTE * np.hypot(ours, theirs)
        together = prices.differences[baseline.site]
        if together is not None:
            joined[baseline.site] = self._together(together, starts_s, baseline)
        return joined

    def _together(self, errors: Difference, starts_s: FloatArray, baseline: Placement) -> FloatArray:
        """[start], ``Difference.std_over`` for every window against the baseline at its own site."""
        length_s, memory_s = self.request.length_s, errors.memory_s
        own = joint((0.0, length_s), (0.0, length_s), memory_s)
        theirs = sum(joint(a, b, memory_s) for a in baseline.spans for b in baseline.spans)
        both = np.zeros(len(starts_s))
        for span in baseline.spans:
            both += joints(starts_s, starts_s + length_s, span, memory_s)
        std: FloatArray = errors.std_g_per_kwh * np.sqrt(np.maximum(own + theirs - 2 * both, 0.0) / 2)
        return std


def joints(begins: FloatArray, ends: FloatArray, span: Span, memory: float) -> FloatArray:
    """``joint`` of many stretches with one."""

    def twice(x: FloatArray) -> FloatArray:
        found: FloatArray = memory * (np.abs(x) + memory * np.expm1(-np.abs(x) / memory))
        return found

    return twice(span[1] - begins) - twice(span[1] - ends) - twice(span[0] - begins) + twice(span[0] - ends)


def _any_site(flags: BoolArray) -> BoolArray:
    """[column], whether any site's flag is set."""
    found: BoolArray = np.logical_or.reduce(flags, axis=0)
    return found
