"""What a policy is asked and what it answers, in arrays.

``SlotGrid`` is time, ``Request`` is one job, ``Problem`` joins the requests with prices and free capacity.
A policy turns a problem into one ``Choice`` per request. All times inside are seconds after ``now``, so
that a problem looks the same whenever it is posed; all prices already contain the PUE.
"""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lowtide.policies.electricity import Electricity
from lowtide.policies.timeline import Need, Span, Timeline
from lowtide.scheduler.model.difference import Difference
from lowtide.scheduler.model.mode import Mode
from lowtide.scheduler.model.units import kwh_per_s

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
MarkArray = NDArray[np.int8]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

EPSILON_S = 1e-6
"""Two moments closer than a microsecond are the same: the resolution of ``datetime``."""


@dataclass(frozen=True, slots=True)
class SlotGrid:
    """Slots aligned to the Unix epoch; slot 0 is what is left of the current one, from ``now`` on.

    ``edges_s`` has ``count + 1`` entries in seconds after ``now``: slot ``i`` is
    [``edges_s[i]``, ``edges_s[i + 1]``).
    """

    now: datetime
    slot_s: float
    first_s: float
    count: int
    edges_s: FloatArray

    @classmethod
    def covering(cls, now: datetime, slot_s: float, horizon_s: float) -> "SlotGrid":
        """The grid from ``now`` that reaches at least ``horizon_s`` ahead."""
        passed_s = ((now - EPOCH) % timedelta(seconds=slot_s)).total_seconds()
        first_s = slot_s - passed_s if slot_s - passed_s > EPSILON_S else slot_s
        count = 1 + max(1, math.ceil((horizon_s - first_s) / slot_s - EPSILON_S))
        edges_s = np.concatenate(([0.0], first_s + slot_s * np.arange(count)))
        return cls(now, slot_s, first_s, count, edges_s)

    def slot_at(self, offset_s: float) -> int:
        """The slot that contains a moment; may lie beyond the grid."""
        if offset_s < self.first_s - EPSILON_S:
            return 0
        return 1 + int((offset_s - self.first_s + EPSILON_S) // self.slot_s)

    def slots_until(self, end_s: float) -> int:
        """How many slots begin before a moment; the exclusive end of what a run until then occupies."""
        if end_s <= self.first_s + EPSILON_S:
            return 1
        return 1 + math.ceil((end_s - self.first_s - EPSILON_S) / self.slot_s)

    def start_s(self, slot: int) -> float:
        """When a slot begins, in seconds after ``now``."""
        return 0.0 if slot <= 0 else self.first_s + (slot - 1) * self.slot_s

    def at(self, offset_s: float) -> datetime:
        """The moment ``offset_s`` seconds after ``now``."""
        return self.now + timedelta(seconds=offset_s)


@dataclass(frozen=True, slots=True)
class Move:
    """What having a job's data brought to a site takes: run time before its work begins, and grams."""

    site: int
    takes_s: float
    cost_g: float


@dataclass(frozen=True, slots=True)
class Request:
    """One job to be placed.

    Attributes:
        job_id: for the caller; rules do not look at it.
        gpus: whole GPUs held while it runs.
        cpus: CPUs held while it runs.
        sites: indexes of the sites that may run it, in order of preference.
        work_s: run time still needed at full speed.
        resume_s: run time lost when work next begins (a suspended job must restore its state; a running one
            would have to, once suspended); 0 for a first start.
        switch_s: run time lost by each later interruption.
        power_w: of the whole job.
        release_s: it may not begin earlier.
        latest_start_s: an uninterrupted run must begin by then; may be negative.
        must_end_s: an interrupted plan must end by then; keeps the margin before the latest finish.
        suspensions_left: how often it may still be interrupted; 0 when it may not.
        min_run_s: shortest stretch worth running.
        min_savings: share of the baseline that a shift must save.
        z: standard normal quantile of the queue's confidence.
        running_at: the site index where it runs now, or None while it waits.
        pinned_s: the start that the last plan promised, or None.
        hold_s: a running job goes on until then before it may be interrupted; 0 when it may be at once.
        is_due: whether it may not be delayed for carbon; only a joint policy is asked about such jobs.
        is_foremost: whether nobody goes before it, however late: clinical work, and what was ordered to run now.
        importance: how much of its workflow waits for it, relative to the workflow's most important job, in [0, 1];
            0 for a job outside of any workflow: nothing waits for it.
        modes: the ways in which it can run; empty where it can only run as declared.
        delay_g_per_h: grams that each hour of later completion must save; see ``policies/worth.py``.
        money_g_per_unit: grams that a unit of a tariff's currency is worth; the same.
        moves: for the sites that lack data of the job; ``moves.among`` takes them into account.

    """

    job_id: str
    gpus: int
    cpus: int
    sites: tuple[int, ...]
    work_s: float
    resume_s: float
    switch_s: float
    power_w: float
    release_s: float
    latest_start_s: float
    must_end_s: float
    suspensions_left: int
    min_run_s: float
    min_savings: float
    z: float
    running_at: int | None = None
    pinned_s: float | None = None
    hold_s: float = 0.0
    is_due: bool = False
    is_foremost: bool = False
    importance: float = 0.0
    modes: tuple[Mode, ...] = ()
    delay_g_per_h: float = 0.0
    money_g_per_unit: float = 0.0
    moves: tuple[Move, ...] = ()

    @property
    def declared(self) -> Mode:
        """The way that the job declares: what its work is measured in, and what its baseline runs as."""
        return Mode(self.gpus, self.cpus, 1.0, self.power_w)

    @property
    def need(self) -> Need:
        """What it holds and draws while it runs as declared."""
        return self.gpus, self.cpus, self.power_w

    def brought_g(self, site: int) -> float:
        """Grams of bringing its data to a site."""
        return next((move.cost_g for move in self.moves if move.site == site), 0.0)

    @property
    def length_s(self) -> float:
        """How long one uninterrupted run takes when work next begins."""
        return self.work_s + self.resume_s


@dataclass(frozen=True, slots=True)
class Placement:
    """Where and when work happens: ``spans`` of (start, end) in seconds after now; NaN grams are unknown.

    ``modes`` has one index into the request's modes per span; empty where all run as declared.
    """

    site: int
    spans: tuple[Span, ...]
    cost_g: float
    modes: tuple[int, ...] = ()

    @property
    def course(self) -> tuple[int, tuple[Span, ...], tuple[int, ...]]:
        """All but the cost: equal courses are the same thing done."""
        return self.site, self.spans, self.modes

    @property
    def start_s(self) -> float:
        """When work begins or goes on."""
        return self.spans[0][0]

    @property
    def end_s(self) -> float:
        """When work ends."""
        return self.spans[-1][1]


@dataclass(frozen=True, slots=True)
class Choice:
    """A policy's answer for one request.

    ``chosen`` is None when nothing fits within the grid. ``baseline`` is the earliest start that capacity
    allows (for a running job: going on). ``best`` is what the rule wanted before the guard, None when it
    wanted nothing else. ``saving_g`` and ``doubt_g`` compare ``chosen``, or else the refused ``best``,
    with ``baseline``; ``bar_g`` is what the saving had to exceed. ``gives_way`` marks a running job that is
    interrupted for more urgent work and not for carbon. ``note`` is what else people should know of the placement.
    """

    baseline: Placement | None
    chosen: Placement | None
    best: Placement | None = None
    others: tuple[Placement, ...] = ()
    latest: Placement | None = None
    saving_g: float = 0.0
    doubt_g: float = 0.0
    bar_g: float = 0.0
    gives_way: bool = False
    note: str = ""


class Prices:
    """Forecast prices per site and slot with their running integrals.

    Attributes:
        price_g_per_kwh: [site, slot + 1], forecast times PUE; past the end of a site's forecast its mean
            stands in, for orientation only. The last column is padding.
        error_g_per_kwh: the same shape, mean absolute error at that lead, times PUE.
        known_until_s: [site], the end of what the forecast covers, in whole slots; 0 where there is none.
        may_shift: [site], whether the forecast's rung may justify a delay.
        groups: one value per site; grams compare only between sites of the same group.
        is_certain: whether no error is expected anywhere.
        differences: one per site: how errors of its slots go together, PUE included; None where unknown.
        codes: [site], ``groups`` as numbers; -1 where there is no forecast.
        known_slots: [site], the exclusive last slot that ends within the forecast.

    """

    __slots__ = (
        "_edges",
        "_error_rows",
        "_known_until",
        "_order",
        "_price_rows",
        "codes",
        "differences",
        "error_g_per_kwh",
        "error_sum",
        "grid",
        "groups",
        "is_certain",
        "known_slots",
        "known_until_s",
        "may_shift",
        "price_g_per_kwh",
        "price_rows",
        "price_sum",
        "priced",
    )

    def __init__(
        self,
        grid: SlotGrid,
        price_g_per_kwh: FloatArray,
        error_g_per_kwh: FloatArray,
        known_until_s: FloatArray,
        may_shift: BoolArray,
        groups: tuple[object, ...],
        differences: tuple[Difference | None, ...] = (),
    ) -> None:
        """Take [site, slot] arrays; see the class for their meaning."""
        self.grid, self.groups = grid, groups
        self.differences = differences or (None,) * len(groups)
        self.known_until_s, self.may_shift = known_until_s, may_shift
        self.priced = tuple(bool(k > 0) for k in known_until_s)
        widths_s = np.diff(grid.edges_s)
        self.price_g_per_kwh, self.price_sum = _with_integral(price_g_per_kwh, widths_s)
        self.error_g_per_kwh, self.error_sum = _with_integral(error_g_per_kwh, widths_s)
        self.price_rows: list[list[float]] = self.price_g_per_kwh.tolist()
        self._price_rows = (self.price_sum.tolist(), self.price_rows)
        self._error_rows = (self.error_sum.tolist(), self.error_g_per_kwh.tolist())
        self.is_certain = not self.error_g_per_kwh.any()
        self._edges: list[float] = grid.edges_s.tolist()
        self._known_until: list[float] = known_until_s.tolist()
        self._order: IntArray | None = None
        self.known_slots = np.array([min(grid.slot_at(k), grid.count) for k in self._known_until], dtype=np.int64)
        numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
        codes = (numbers[g] if known else -1 for g, known in zip(groups, self.priced, strict=True))
        self.codes = np.fromiter(codes, dtype=np.int64, count=len(groups))

    def known_until(self, site: int) -> float:
        """The end of what a site's forecast covers, in seconds after now."""
        return self._known_until[site]

    @property
    def order(self) -> IntArray:
        """[site, slot], the numbers of a site's slots from the cheapest on; of equals the earlier first."""
        if self._order is None:
            self._order = self.price_g_per_kwh[:, :-1].argsort(axis=1, kind="stable")
        return self._order

    def price_over(self, site: int, spans: tuple[Span, ...]) -> float:
        """The integral of the price over spans, in g/kWh·s."""
        sums, rows = self._price_rows
        return self._over(sums[site], rows[site], spans)

    def error_over(self, site: int, spans: tuple[Span, ...]) -> float:
        """The integral of the expected error over spans, in g/kWh·s."""
        if self.is_certain:
            return 0.0
        sums, rows = self._error_rows
        return self._over(sums[site], rows[site], spans)

    def grams(self, site: int, spans: tuple[Span, ...], power_w: float) -> float:
        """Forecast emissions of a constant power over spans; NaN where the site has no forecast."""
        if not self.priced[site]:
            return math.nan
        return self.price_over(site, spans) * kwh_per_s(power_w)

    def _over(self, sums: list[float], row: list[float], spans: tuple[Span, ...]) -> float:
        """Differences of the integral from now; beyond the grid the last slot's value goes on."""
        slot_at, last, edges, total = self.grid.slot_at, self.grid.count - 1, self._edges, 0.0
        for start_s, end_s in spans:
            slot = min(slot_at(end_s), last)
            total += sums[slot] + (end_s - edges[slot]) * row[slot]
            if start_s > 0:
                slot = min(slot_at(start_s), last)
                total -= sums[slot] + (start_s - edges[slot]) * row[slot]
        return total


def _with_integral(values: FloatArray, widths_s: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Pad [site, slot] by one column and give its integral at every edge, both [site, slot + 1]."""
    sites = values.shape[0]
    padding = np.zeros((sites, 1))
    integral = np.concatenate((padding, np.cumsum(values * widths_s, axis=1)), axis=1)
    return np.concatenate((values, values[:, -1:]), axis=1), integral


@dataclass(frozen=True, slots=True)
class Problem:
    """Requests in the order in which they are served, prices, and the capacity that is left for them.

    A policy leaves ``timeline`` as it is: it works on a copy. ``inflow_gpus`` has one value per site: how many GPUs
    there work that is yet to be submitted will keep busy on average; empty where that is not known.
    ``is_brief`` says that nobody will read what else could have been chosen. ``electricity`` is what it costs, None
    where no site has a tariff.
    """

    requests: tuple[Request, ...]
    prices: Prices
    timeline: Timeline
    inflow_gpus: tuple[float, ...] = ()
    is_brief: bool = False
    electricity: Electricity | None = None

    @property
    def grid(self) -> SlotGrid:
        """The slots that all arrays are cut into."""
        return self.prices.grid


class Policy(Protocol):
    """What to do when: one pure method.

    A policy with ``is_joint = True`` besides weighs the whole queue at once: it is asked about running jobs together
    with waiting ones, also about those that are due. What its running requests hold is then free in the timeline,
    and it may interrupt them for others. One with ``weighs_delay = True`` chooses by an ``Offer``'s prices alone, so
    that these may hold what delay and money are worth to a request. The others are shown prices that hold money where
    it is worth the same to all whom they are asked about, and no delay.
    """

    def plan(self, problem: Problem) -> tuple[Choice, ...]:
        """Choose for every request, in the order of the requests; together they fit the timeline."""
        ...


@lru_cache(maxsize=4096)
def as_array(sites: tuple[int, ...]) -> IntArray:
    """Indexes of sites, for what is compiled."""
    return np.array(sites, dtype=np.int64)


@lru_cache(maxsize=256)
def group_mask(groups: tuple[object, ...], site: int) -> BoolArray:
    """[site], whether grams at a site compare with grams at ``site``."""
    return np.array([group == groups[site] for group in groups], dtype=np.bool_)
