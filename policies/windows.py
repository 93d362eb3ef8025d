"""Uninterrupted runs over all of a job's sites at once: the earliest, and what each would cost; compiled."""

import math

import numpy as np

from lowtide.policies.compiled import compiled
from lowtide.policies.problem import EPSILON_S, BoolArray, FloatArray, IntArray


@compiled
def _first_slot(room: BoolArray, release: int, until: int, long: int) -> int:
    """The first slot from which a window has room; so many slots as there are where there is none."""
    count = len(room)
    if release < count and room[release:until].all():
        return release
    run = 0
    for slot in range(release + 1, count):
        run = run + 1 if room[slot] else 0
        if run == long:
            return slot - long + 1
    return count - run  # beyond the grid nothing is in the way


@compiled
def _over(sums: FloatArray, price: FloatArray, edges_s: FloatArray, slot: int, start_s: float, end_s: float) -> float:
    """The price integral of a window that begins in a slot; beyond the grid the last slot's value goes on."""
    slot_s, passed_s = edges_s[-1] - edges_s[-2], end_s - edges_s[1] + EPSILON_S
    last = 0 if passed_s < 0 else min(1 + int(passed_s // slot_s), len(edges_s) - 2)
    until_end = sums[last] + (end_s - edges_s[last]) * price[last]
    return float(until_end - sums[slot] - (start_s - edges_s[slot]) * price[slot])


@compiled
def earliest_window(
    room: BoolArray,
    sites: IntArray,
    release: int,
    until: int,
    long: int,
    price: FloatArray,
    sums: FloatArray,
    edges_s: FloatArray,
    groups: IntArray,
    release_s: float,
    length_s: float,
) -> tuple[int, int]:
    """The first slot from which a window fits at any site, and the site; site -1 where there is none.

    Of sites free then the preferred one, or the cheapest of those whose grams compare with its own.

    Args:
        room: [site, slot], whether there is room for the job.
        sites: those that may be used, the preferred first.
        release: the first slot that may be used.
        until: the exclusive last slot of a window that begins at the release.
        long: how many slots any other window takes.
        price: [site, slot], g/kWh times PUE.
        sums: [site, slot], its integral.
        edges_s: [slot + 1], when slots begin and end.
        groups: [site], equal where grams compare; negative where nothing is known.
        release_s: when the work may begin.
        length_s: of the window.

    """
    count, first, chosen, least = room.shape[1], room.shape[1], -1, math.inf
    for site in sites:
        slot = _first_slot(room[site], release, until, long)
        if slot < first:
            first, chosen, least = slot, site, math.nan
        elif slot == count or slot > first or groups[site] < 0 or groups[site] != groups[chosen]:
            continue
        start_s = max(float(edges_s[first]), release_s)
        if math.isnan(least):
            least = _over(sums[chosen], price[chosen], edges_s, first, start_s, start_s + length_s)
        cost = _over(sums[site], price[site], edges_s, first, start_s, start_s + length_s)
        if cost < least:
            chosen, least = site, cost
    return first, chosen


@compiled
def window_costs(
    room: BoolArray,
    is_open: BoolArray,
    release: int,
    until: int,
    long: int,
    price: FloatArray,
    sums: FloatArray,
    edges_s: FloatArray,
    known_until_s: FloatArray,
    low: int,
    high: int,
    release_s: float,
    length_s: float,
) -> FloatArray:
    """[site, start], the price integral of every window that begins in [low, high); infinite where it may not.

    ``is_open`` tells for each site whether it may be used, ``known_until_s`` by when a window there must end; ``low``
    does not lie before the release. All else is as for ``earliest_window``.
    """
    sites, count = room.shape
    cost = np.full((sites, high - low), math.inf)
    for site in range(sites):
        if not is_open[site]:
            continue
        run = 0
        for slot in range(min(count, high - 1 + long) - 1, low - 1, -1):
            run = run + 1 if room[site, slot] else 0
            if slot >= high:
                continue
            fits = room[site, slot:until].all() if slot == release else run >= min(long, count - slot)
            start_s = max(float(edges_s[slot]), release_s)
            if fits and start_s + length_s <= known_until_s[site] + EPSILON_S:
                cost[site, slot - low] = _over(sums[site], price[site], edges_s, slot, start_s, start_s + length_s)
    return cost


@compiled
def cheapest_window(cost: FloatArray, sites: IntArray, tie: float) -> tuple[int, int]:
    """The site and column of the least of [site, start]; of equals the earliest, then the preferred site; or -1, -1."""
    least = math.inf
    for site in sites:
        for column in range(cost.shape[1]):
            least = min(least, cost[site, column])
    if least == math.inf:
        return -1, -1
    limit = max(least * (1 + tie), least)
    for column in range(cost.shape[1]):
        for site in sites:
            if cost[site, column] <= limit:
                return site, column
    return -1, -1
