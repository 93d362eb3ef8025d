"""What sites offer besides what they have: power budgets, and less of it while their grid is dirty.

A budget bounds the power of all jobs of a site, those in its other pools too. Virtual capacity holds back GPUs and
power from work that may wait; what runs keeps its place, and clinical work, planned on the twin rows, has all there is.
"""

from dataclasses import replace

import numpy as np

from lowtide.policies.problem import FloatArray, IntArray, Prices
from lowtide.policies.timeline import Common, Rows, Timeline, milliwatts
from lowtide.scheduler.model.plan import Snapshot
from lowtide.scheduler.model.site import Share

BOUNDLESS_MW = int(np.iinfo(np.int64).max) // 4
"""Power where there is no budget; all jobs of all time draw less, so that sums never overflow."""


def in_common(snapshot: Snapshot, slots: int) -> Common | None:
    """What rows have in common, nothing sold yet; None where no site has a budget or less to offer at times."""
    if not any(view.site.power_budget_w is not None or view.site.virtual_capacity for view in snapshot.sites):
        return None
    keys = [view.site.name for view in snapshot.sites]
    rows = {row.key: row for row in snapshot.rows}
    sites = [rows[key].site if key in rows else key for key in keys]
    whole = [(rows[key].of or key) if key in rows and rows[key].is_twin else key for key in keys]
    budgets = [view.site.power_budget_w for view in snapshot.sites]
    free_mw = [BOUNDLESS_MW if budget is None else milliwatts(budget) for budget in budgets]
    return Common(_alike(whole), _alike(sites), np.repeat(np.array(free_mw, dtype=np.int64)[:, None], slots, axis=1))


def _alike(names: list[str]) -> tuple[Rows, ...]:
    """For each name the places that have it; a single one as a number, which NumPy is three times as fast with."""
    places = {name: [i for i, other in enumerate(names) if other == name] for name in names}
    return tuple(i if len(places[name]) == 1 else np.array(places[name]) for i, name in enumerate(names))


def hold_back(snapshot: Snapshot, prices: Prices, timeline: Timeline) -> None:
    """Take what sites do not offer off a timeline on which all that runs has been sold."""
    common = timeline.common
    if common is None:
        return
    index = {view.site.name: i for i, view in enumerate(snapshot.sites)}
    for row in snapshot.rows:
        if row.of is not None and row.is_twin:
            _offer_less(snapshot, prices, timeline, common, base=index[row.of], twin=index[row.key])


def _offer_less(
    snapshot: Snapshot, prices: Prices, timeline: Timeline, common: Common, *, base: int, twin: int
) -> None:
    site = snapshot.sites[base].site
    timeline.free_gpus[twin], timeline.free_cpus[twin] = timeline.free_gpus[base], timeline.free_cpus[base]
    if not prices.may_shift[base]:
        return  # as a yearly average never delays a job
    intensity = prices.price_g_per_kwh[base, :-1] / site.pue
    known = prices.grid.edges_s[1:] <= prices.known_until_s[base]
    gpu_share, power_share = offered(site.virtual_capacity, np.where(known, intensity, -np.inf))
    timeline.free_gpus[base] = _within(timeline.free_gpus[base], site.gpus, gpu_share)
    if site.power_budget_w is not None:
        common.free_mw[base] = _within(common.free_mw[base], milliwatts(site.power_budget_w), power_share)


def offered(steps: tuple[Share, ...], intensity_g_per_kwh: FloatArray) -> tuple[FloatArray, FloatArray]:
    """[slot] each, the shares of GPUs and of power at an intensity; of the steps below it the highest counts."""
    gpus, power = np.ones((2, len(intensity_g_per_kwh)))
    for step in sorted(steps, key=lambda step: step.above_g_per_kwh):
        is_above = intensity_g_per_kwh > step.above_g_per_kwh
        gpus[is_above], power[is_above] = step.gpu_share, step.power_share
    return gpus, power


def _within(free: IntArray, whole: int, share: FloatArray) -> IntArray:
    """[slot], what is free within a share of the whole; never below none, as what runs keeps its place."""
    most = np.floor(whole * share + 1e-9).astype(np.int64)  # so that a tenth of ten is one
    within: IntArray = np.where(free > 0, np.clip(most - (whole - free), 0, free), free)
    return within


def at_once(timeline: Timeline) -> Timeline | None:
    """The first slot alone, sold independently; None where rows have nothing in common."""
    common = timeline.common
    if common is None:
        return None
    now = replace(common, free_mw=common.free_mw[:, :1].copy())
    free_gpus, free_cpus = timeline.free_gpus[:, :1].copy(), timeline.free_cpus[:, :1].copy()
    return Timeline(free_gpus, free_cpus, lambda _s: 0, lambda _s: 1, now)
