"""Cuts interruptible work into stretches of slots: the first ones below a threshold, or the cheapest.

The stretches begin as single slots chosen one by one and are then settled: grown until all work, the switches
included, fits; shrunk where that saves; joined across short gaps when that is cheaper, or when there
are more stretches than suspensions left or one is shorter than the minimum run.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lowtide.policies.offer import TIE, Offer
from lowtide.policies.problem import EPSILON_S, Placement

Run = tuple[int, int]
"""First slot and exclusive last slot of one stretch."""


@dataclass(frozen=True, slots=True)
class Slots:
    """The slots of one site that one job may use, in order; indexes are into these lists.

    ``base_s`` is the run time with one stretch; each further one adds ``switch_s``.
    """

    price: list[float]
    width_s: list[float]
    room: list[bool]
    base_s: float
    switch_s: float
    min_run_s: float
    most: int

    def need_s(self, runs: list[Run]) -> float:
        """Run time needed by so many stretches."""
        return self.base_s + self.switch_s * (len(runs) - 1)

    def have_s(self, run: Run) -> float:
        """How long a stretch is."""
        return sum(self.width_s[run[0] : run[1]])

    def spare_s(self, runs: list[Run]) -> float:
        """Room beyond the need; negative when too little is chosen."""
        return sum(self.have_s(run) for run in runs) - self.need_s(runs)

    def cost(self, runs: list[Run]) -> float:
        """The price integral, without the unused end of the last stretch, in g/kWh·s."""
        total = sum(self.price[i] * self.width_s[i] for a, b in runs for i in range(a, b))
        return total - self.spare_s(runs) * self.price[runs[-1][1] - 1]


def interrupted(offer: Offer, limits: list[float]) -> Placement | None:
    """The soonest run, with pauses, in slots priced at most so much at their site; None when no site has one."""
    found = [
        placed
        for site in offer.request.sites
        if offer.open_sites[site] and (placed := _at_site(offer, site, limits[site]))
    ]
    return min(found, key=lambda p: (p.start_s, p.cost_g), default=None)


def _at_site(offer: Offer, site: int, limit: float) -> Placement | None:
    """The same at one site; in the end, as patience runs out, also in dearer slots."""
    low = offer.first_column if offer.first is None else offer.first
    slots = _usable(offer, site, low)
    if slots is None:
        return None
    order = _first_below(slots, limit)
    if offer.first is not None:
        order = [0, *(i for i in order if i != 0)]
    runs = settled(slots, _runs(_enough(slots, order)), keep_first=offer.first is not None)
    return None if runs is None else offer.placed(site, _spans(offer, slots, runs, low))


def cheapest_runs(slots: Slots, *, keep_first: bool) -> list[Run] | None:
    """The cheapest stretches that hold the work and keep the bounds; with ``keep_first`` the first slot is in them."""
    order = _cheapest_first(slots)
    if keep_first:
        order = [0, *(i for i in order if i != 0)]
    return settled(slots, _runs(_enough(slots, order)), keep_first=keep_first)


def _usable(offer: Offer, site: int, low: int) -> Slots | None:
    """The slots from ``low`` until the plan must have ended, or None when they cannot hold the work."""
    request, grid = offer.request, offer.problem.grid
    end_s = min(offer.must_end_s, float(offer.problem.prices.known_until_s[site]))
    high = min(grid.slot_at(end_s), grid.count)  # only slots that end by then
    room: list[bool] = offer.room[site, low:high].tolist()
    if high <= low or (offer.first is not None and not room[0]):
        return None
    width_s = [grid.slot_s] * len(room)
    width_s[0] = grid.start_s(low + 1) - offer.start_s(low)
    if sum(w for w, free in zip(width_s, room, strict=True) if free) < request.length_s:
        return None
    most = request.suspensions_left + (1 if request.running_at is None else 0)
    price = offer.problem.prices.price_rows[site][low:high]
    return Slots(price, width_s, room, request.length_s, request.switch_s, request.min_run_s, most)


def _cheapest_first(slots: Slots) -> list[int]:
    price = np.where(slots.room, slots.price, np.inf)
    order: list[int] = price.argsort(kind="stable")[: int(np.count_nonzero(slots.room))].tolist()
    return order


def _first_below(slots: Slots, limit: float) -> list[int]:
    """Slots at or below the limit in time order; then, as patience ends, the others from the last back."""
    free = [i for i, room in enumerate(slots.room) if room]
    below = [i for i in free if slots.price[i] <= limit]
    return below + [i for i in reversed(free) if slots.price[i] > limit]


def _enough(slots: Slots, order: list[int]) -> list[int]:
    """The first of ``order`` that together hold the work in one stretch, in time order."""
    have_s, taken = 0.0, []
    for i in order:
        taken.append(i)
        have_s += slots.width_s[i]
        if have_s >= slots.base_s - EPSILON_S:
            break
    return sorted(taken)


def _runs(chosen: list[int]) -> list[Run]:
    runs: list[Run] = []
    for i in chosen:
        if runs and runs[-1][1] == i:
            runs[-1] = (runs[-1][0], i + 1)
        else:
            runs.append((i, i + 1))
    return runs


def settled(slots: Slots, runs: list[Run], *, keep_first: bool = False) -> list[Run] | None:
    """Stretches that hold the work and keep the bounds, or None when that cannot be had by joining."""
    current = _fitted(slots, runs, keep_first=keep_first)
    while current is not None and len(current) > 1:
        joined = _joined(slots, current, keep_first=keep_first)
        if _keeps_bounds(slots, current) and (joined is None or slots.cost(joined) >= slots.cost(current) * (1 - TIE)):
            return current
        current = joined
    return current


def _keeps_bounds(slots: Slots, runs: list[Run]) -> bool:
    return len(runs) <= slots.most and all(slots.have_s(run) >= slots.min_run_s - EPSILON_S for run in runs)


def _joined(slots: Slots, runs: list[Run], *, keep_first: bool) -> list[Run] | None:
    """The same with the shortest gap that has room bridged; None when there is no such gap."""
    gaps = [
        (after[0] - before[1], i)
        for i, (before, after) in enumerate(pairwise(runs))
        if all(slots.room[before[1] : after[0]])
    ]
    if not gaps:
        return None
    i = min(gaps)[1]
    bridged = [*runs[:i], (runs[i][0], runs[i + 1][1]), *runs[i + 2 :]]
    return _fitted(slots, bridged, keep_first=keep_first)


def _fitted(slots: Slots, runs: list[Run], *, keep_first: bool) -> list[Run] | None:
    """Grow at the cheapest end until the work fits, then give up the dearest ends that are not needed."""
    current: list[Run] | None = runs
    while current is not None and slots.spare_s(current) < -EPSILON_S:
        current = _grown(slots, current, keep_first=keep_first)
    if current is None:
        return None
    while (smaller := _shrunk(slots, current, keep_first=keep_first)) is not None:
        current = smaller
    return current


def _grown(slots: Slots, runs: list[Run], *, keep_first: bool) -> list[Run] | None:
    ends = [a - 1 for a, _ in runs[1 if keep_first else 0 :]] + [b for _, b in runs]
    free = [i for i in ends if 0 <= i < len(slots.room) and slots.room[i]]
    if not free:
        return None
    cheapest = min(free, key=lambda i: (slots.price[i], i))
    return _runs(sorted({cheapest, *(i for a, b in runs for i in range(a, b))}))


def _shrunk(slots: Slots, runs: list[Run], *, keep_first: bool) -> list[Run] | None:
    """The stretches without their dearest end slot that can be spared, or None."""
    spare_s = slots.spare_s(runs)
    ends = []
    for n, (a, b) in enumerate(runs):
        if b - a > 1:
            if not (keep_first and n == 0):
                ends.append((slots.price[a], a, n, (a + 1, b)))
            ends.append((slots.price[b - 1], b - 1, n, (a, b - 1)))
    for _, slot, n, rest in sorted(ends, reverse=True):
        if slots.width_s[slot] <= spare_s + EPSILON_S and slots.have_s(rest) >= slots.min_run_s - EPSILON_S:
            return [*runs[:n], rest, *runs[n + 1 :]]
    return None


def _spans(offer: Offer, slots: Slots, runs: list[Run], low: int) -> tuple[tuple[float, float], ...]:
    """Stretches as times; the last one ends when the work does."""
    left_s = slots.need_s(runs)
    spans = []
    for a, b in runs:
        start_s = offer.start_s(low + a)
        length_s = min(slots.have_s((a, b)), left_s)
        spans.append((start_s, start_s + length_s))
        left_s -= length_s
    return tuple(span for span in spans if span[1] > span[0])
