"""Turns a snapshot's sites and forecasts into arrays: prices per site and slot, and the capacity left."""

import math
from dataclasses import dataclass, field, replace

import numpy as np

from lowtide.policies.electricity import Electricity
from lowtide.policies.problem import EPSILON_S, FloatArray, Prices, SlotGrid
from lowtide.policies.timeline import Timeline
from lowtide.scheduler.decide.bills import electricity
from lowtide.scheduler.decide.bookings import Hold, book, holds
from lowtide.scheduler.decide.limits import at_once, hold_back, in_common
from lowtide.scheduler.model.difference import Difference
from lowtide.scheduler.model.lifecycle import JobState
from lowtide.scheduler.model.plan import GridForecast, JobView, Snapshot

SHORTEST_HORIZON_S = 24 * 3600.0
"""Capacity is planned this far even without a forecast, so that a queue sees when its turn comes."""

LONGEST_HORIZON_S = 7 * 24 * 3600.0
"""Forecasts reach four days at most today; a longer series must not grow the arrays without bound."""

AT_ONCE = ((0.0, 0.0),)
"""The current slot."""

LIVE = frozenset({JobState.STARTING, JobState.RUNNING, JobState.SUSPENDING})


@dataclass(frozen=True, slots=True)
class Market:
    """Sites by index, their prices and the capacity that live attempts leave."""

    grid: SlotGrid
    prices: Prices
    timeline: Timeline
    index: dict[str, int]
    rungs: tuple[str, ...]
    inflow_gpus: tuple[float, ...]
    is_brief: bool
    free_now: list[list[int]]
    """[site] of GPUs and CPUs that no live attempt holds: only this can be started on."""
    holds: dict[int, tuple[Hold, ...]]
    """[site] what is kept free there for others or from everybody, where there is such a thing."""
    whole: tuple[tuple[int, int], ...]
    """[site] of all GPUs and CPUs."""
    common_now: Timeline | None
    """The same where sites have more in common than that, such as a power budget; ``free_now`` does not count then."""
    electricity: Electricity | None = None
    """What it costs; None where no site has a tariff."""
    able: dict[tuple[object, ...], tuple[int, ...]] = field(default_factory=dict)
    """Sites that answer and could run a job, by what it needs and where it may run; filled when first asked for."""

    def at_once(self, site: int) -> tuple[int, int]:
        """GPUs and CPUs that are free now at a site."""
        if self.common_now is not None:
            return int(self.common_now.free_gpus[site, 0]), int(self.common_now.free_cpus[site, 0])
        return self.free_now[site][0], self.free_now[site][1]

    def has_now(self, site: int, gpus: int, cpus: int, power_w: float) -> bool:
        """Whether so much is free now."""
        if self.common_now is not None:
            return self.common_now.fits(site, AT_ONCE, gpus, cpus, power_w)
        return self.free_now[site][0] >= gpus and self.free_now[site][1] >= cpus

    def takes_now(self, site: int, gpus: int, cpus: int, power_w: float) -> bool:
        """Take what is free now; False, and nothing taken, where it is not enough."""
        if not self.has_now(site, gpus, cpus, power_w):
            return False
        if self.common_now is not None:
            self.common_now.sell(site, AT_ONCE, gpus, cpus, power_w)
        free = self.free_now[site]
        self.free_now[site] = [free[0] - gpus, free[1] - cpus]
        return True


def market(snapshot: Snapshot) -> Market:
    """The arrays for one decision."""
    horizon_s = max((_end_s(f, snapshot) for f in snapshot.forecasts.values()), default=0.0)
    horizon_s = min(max(horizon_s, SHORTEST_HORIZON_S), LONGEST_HORIZON_S)
    grid = SlotGrid.covering(snapshot.now, snapshot.slot_s, horizon_s)
    index = {view.site.name: i for i, view in enumerate(snapshot.sites)}
    forecasts = [snapshot.forecasts.get(view.site.zone) for view in snapshot.sites]
    rungs = tuple(f.rung if f is not None else "blind" for f in forecasts)
    prices, timeline = _prices(snapshot, grid, forecasts), _timeline(snapshot, grid, index)
    held, whole = holds(snapshot, grid), tuple((v.site.gpus, v.site.cpus) for v in snapshot.sites)
    if snapshot.reservations:
        live = (job for job in snapshot.jobs if job.state in LIVE and job.site in index)
        book(snapshot, grid, held, timeline, [(job, index[str(job.site)], _held_s(job)) for job in live])
    hold_back(snapshot, prices, timeline)
    free_now = np.stack((timeline.free_gpus[:, 0], timeline.free_cpus[:, 0]), axis=1).tolist()
    now = at_once(timeline)
    bills = electricity(snapshot, grid)
    return Market(
        grid, prices, timeline, index, rungs, _inflow(snapshot), snapshot.is_brief, free_now, held, whole, now, bills
    )


def _inflow(snapshot: Snapshot) -> tuple[float, ...]:
    """What keeps how many GPUs busy at each site when work to come spreads as capacity does; never more than all."""
    parts = {row.key for row in snapshot.rows if row.of is not None}
    gpus = [v.site.gpus if v.reachable and v.site.name not in parts else 0 for v in snapshot.sites]
    share = min(1.0, snapshot.inflow_gpus / sum(gpus)) if any(gpus) else 0.0
    return tuple(count * share for count in gpus)


def _end_s(forecast: GridForecast, snapshot: Snapshot) -> float:
    begun_s = (forecast.start - snapshot.now).total_seconds()
    return begun_s + forecast.step_s * len(forecast.g_per_kwh)


def _prices(snapshot: Snapshot, grid: SlotGrid, forecasts: list[GridForecast | None]) -> Prices:
    shape = (len(forecasts), grid.count)
    price, error = np.zeros(shape), np.zeros(shape)
    known_until_s, may_shift = np.zeros(shape[0]), np.zeros(shape[0], dtype=np.bool_)
    groups: list[object] = []
    differences: list[Difference | None] = []
    for i, (view, forecast) in enumerate(zip(snapshot.sites, forecasts, strict=True)):
        signal = None if forecast is None else forecast.provenance.get("signal")
        basis = None if forecast is None else forecast.provenance.get("basis")
        groups.append((signal, basis) if forecast is not None else ("unknown at", view.site.name))
        differences.append(_dearer(forecast, view.site.pue))
        if forecast is not None:
            known = _resampled(forecast, snapshot, grid)
            price[i], error[i] = known.price * view.site.pue, known.error * view.site.pue
            known_until_s[i] = known.until_s
            may_shift[i] = forecast.may_shift and known.until_s > 0
    return Prices(grid, price, error, known_until_s, may_shift, tuple(groups), tuple(differences))


def _dearer(forecast: GridForecast | None, pue: float) -> Difference | None:
    if forecast is None or forecast.difference is None:
        return None
    return replace(forecast.difference, std_g_per_kwh=forecast.difference.std_g_per_kwh * pue)


@dataclass(frozen=True, slots=True)
class _Known:
    price: FloatArray
    error: FloatArray
    until_s: float


def _resampled(forecast: GridForecast, snapshot: Snapshot, grid: SlotGrid) -> _Known:
    """A forecast as means over the grid's slots; after its end the mean of what is known stands in."""
    values, errors = _finite(forecast)
    begun_s = (forecast.start - snapshot.now).total_seconds()
    edges_s = np.arange(len(values) + 1, dtype=np.float64) * forecast.step_s + begun_s
    blank = np.zeros(grid.count)
    if not len(values) or edges_s[-1] <= 0 or begun_s > forecast.step_s:
        return _Known(blank, blank, 0.0)
    edges_s[0] = min(edges_s[0], 0.0)  # a forecast that begins within a step from now holds from now on
    whole = np.flatnonzero(grid.edges_s <= edges_s[-1] + EPSILON_S)
    count = int(whole[-1])
    if count == 0:
        return _Known(blank, blank, 0.0)
    price = _means(values, edges_s, grid.edges_s, count)
    error = _means(errors, edges_s, grid.edges_s, count) if errors.any() else blank
    return _Known(price, error, float(grid.edges_s[count]))


def _finite(forecast: GridForecast) -> tuple[FloatArray, FloatArray]:
    """Values and errors up to the first that cannot be one (INV-12); a short error list is held on."""
    values = np.asarray(forecast.g_per_kwh, dtype=np.float64)
    errors = np.asarray(forecast.error_g_per_kwh or (0.0,), dtype=np.float64)[: len(values)]
    errors = np.concatenate((errors, np.full(len(values) - len(errors), errors[-1] if len(errors) else 0.0)))
    bad = np.flatnonzero(~(np.isfinite(values) & (values >= 0) & np.isfinite(errors)))
    count = int(bad[0]) if bad.size else len(values)
    return values[:count], errors[:count]


def _means(values: FloatArray, edges_s: FloatArray, slots_s: FloatArray, count: int) -> FloatArray:
    """Slot means of a step function; slots from ``count`` on hold the mean of the others."""
    integral = np.concatenate(([0.0], np.cumsum(values * np.diff(edges_s))))
    until = np.interp(slots_s[: count + 1], edges_s, integral)
    widths_s = np.diff(slots_s[: count + 1])
    means = np.empty(len(slots_s) - 1)
    held = np.diff(until)
    means[:count] = held / widths_s
    if count < len(means):
        means[count:] = math.fsum(held) / math.fsum(widths_s)
    return means


def _timeline(snapshot: Snapshot, grid: SlotGrid, index: dict[str, int]) -> Timeline:
    """Capacity less what live attempts hold until their expected end.

    What a site reports as used beyond the snapshot's own live jobs is taken as held throughout: nothing
    is known of its end.
    """
    capacity = np.array([(v.site.gpus, v.site.cpus) for v in snapshot.sites], dtype=np.int64).reshape(-1, 2)
    used = np.array([(v.used_gpus, v.used_cpus) for v in snapshot.sites], dtype=np.int64).reshape(-1, 2)
    live = [job for job in snapshot.jobs if job.state in LIVE and job.site in index]
    for job in live:
        used[index[str(job.site)]] -= (job.resources.gpus, job.resources.cpus)
    free = np.repeat((capacity - np.maximum(used, 0))[:, :, None], grid.count, axis=2)
    common = in_common(snapshot, grid.count)
    timeline = Timeline(free[:, 0], free[:, 1], grid.slot_at, grid.slots_until, common)
    for job in live:
        need = job.resources
        timeline.sell(index[str(job.site)], ((0.0, _held_s(job)),), need.gpus, need.cpus, job.power_w)
    return timeline


def _held_s(job: JobView) -> float:
    """How long a live job is expected to hold its capacity; one that is stopping, for the current slot."""
    return 0.0 if job.state is JobState.SUSPENDING else job.remaining_s
