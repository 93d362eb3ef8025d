"""The cheapest slots of each site that together hold a job, all sites at once.

Where switching costs nothing and the stretches keep the bounds this is the answer; else it is the least that any
answer can cost, and only the sites that could still win are settled one by one (``slots.py``).
"""

import math
from dataclasses import dataclass

import numpy as np

from lowtide.policies.guard import NOISE
from lowtide.policies.offer import Offer
from lowtide.policies.problem import EPSILON_S, FloatArray, IntArray, Placement, Ranked
from lowtide.policies.slots import at_site

MOST_SETTLED = 2
"""At so many sites stretches that break a bound are mended; it takes long, and the third best site seldom wins."""


@dataclass(frozen=True, slots=True)
class _Taken:
    """What one site's cheapest slots are: their numbers in order, the dearest of them, and what they cost at least."""

    site: int
    slots: IntArray
    dearest: int
    spare_s: float
    least: float


def earliest_pieces(offer: Offer) -> Placement | None:
    """The placement in one or more stretches that ends first over its sites; None when none ends in time."""
    low = offer.first_column if offer.first is None else offer.first
    found = []
    for site in offer.request.sites:
        high = offer.problem.grid.slot_at(offer.must_end_s)
        taken = _taken(offer, site, low, offer.problem.prices.in_time(low, high))
        placed = None if taken is None else _as_taken(offer, taken, low)
        if placed is not None:
            found.append(placed)
    return min(found, key=lambda placed: placed.end_s, default=None)


def cheapest(offer: Offer) -> Placement | None:
    """The cheapest placement, be it a window or in stretches; None when nothing ends in time."""
    placed, is_least = _cheapest(offer)
    return placed if is_least else less(placed, offer.cheapest())


def cheapest_pieces(offer: Offer) -> Placement | None:
    """The cheapest placement in one or more stretches over the open sites; None when none holds the work."""
    return _cheapest(offer)[0]


def less(first: Placement | None, second: Placement | None) -> Placement | None:
    """The one of less cost; of equals, and where nothing is known, the first."""
    if first is None or (second is not None and second.cost_g < first.cost_g * (1 - NOISE)):
        return second
    return first


def _cheapest(offer: Offer) -> tuple[Placement | None, bool]:
    """The cheapest stretches, and whether nothing at all can cost less."""
    low = offer.first_column if offer.first is None else offer.first
    best, is_least, settled = None, False, 0
    for least, site, ranked in _hopeful(offer, low):
        if best is not None and least * offer.g_per_price >= best.cost_g * (1 - NOISE):
            break
        taken = _taken(offer, site, low, ranked)
        if taken is None or (best is not None and taken.least * offer.g_per_price >= best.cost_g * (1 - NOISE)):
            continue
        placed = _as_taken(offer, taken, low)
        is_as_taken = placed is not None
        if placed is None and settled < MOST_SETTLED:
            settled += 1
            placed = at_site(offer, site, None)
        if placed is not None and (best is None or placed.cost_g < best.cost_g):
            best, is_least = placed, is_as_taken
    return best, is_least


def _hopeful(offer: Offer, low: int) -> list[tuple[float, int, Ranked]]:
    """The open sites with the least that the job could cost there if all slots had room, cheapest first."""
    prices, need_s, open_sites = offer.problem.prices, offer.request.length_s, offer.open_sites()
    found = []
    for place, site in enumerate(offer.request.sites):
        if open_sites[site]:
            ranked = prices.ranked(site, low, offer.last_column(site))
            least = ranked.least(need_s)
            if least < math.inf:
                found.append((least, place, site, ranked))
    return [(least, site, ranked) for least, _, site, ranked in sorted(found, key=lambda one: one[:2])]


def _taken(offer: Offer, site: int, low: int, ranked: Ranked) -> _Taken | None:
    """The first slots in a site's ranking that have room and hold the work; those to be held come before."""
    room, hold = offer.room[site], _hold_slots(offer)
    slots = ranked.slots[room.take(ranked.slots)]
    if hold:
        if not room[low : low + hold].all():
            return None
        slots = np.concatenate((np.arange(low, low + hold), slots[slots >= low + hold]))
    have_s = _have_s(slots, low, offer)
    count = int(have_s.searchsorted(offer.request.length_s - EPSILON_S)) + 1
    if count > len(slots):
        return None
    return _of_site(site, slots[:count], float(have_s[count - 1]), offer, low)


def _have_s(slots: IntArray, low: int, offer: Offer) -> FloatArray:
    """How long the first slots are together; the first slot of all may be cut off by the present or a release."""
    grid = offer.problem.grid
    have_s: FloatArray = np.arange(1.0, len(slots) + 1) * grid.slot_s
    first_s = grid.start_s(low + 1) - offer.start_s(low)
    if first_s < grid.slot_s:
        have_s[(slots == low).argmax() if (slots == low).any() else len(slots) :] -= grid.slot_s - first_s
    return have_s


def _hold_slots(offer: Offer) -> int:
    """How many slots from the first on have to be taken."""
    if offer.first is None:
        return 0
    return max(1, offer.problem.grid.slots_until(offer.request.hold_s)) if offer.request.hold_s > 0 else 1


def _of_site(site: int, slots: IntArray, have_s: float, offer: Offer, low: int) -> _Taken:
    """What the slots cost at least: without the time that is not needed, off the last that was taken."""
    grid, price = offer.problem.grid, offer.problem.prices.price_g_per_kwh[site].take(slots)
    spare_s, first_s = max(0.0, have_s - offer.request.length_s), grid.start_s(low + 1) - offer.start_s(low)
    least = float(price.sum()) * grid.slot_s - spare_s * float(price[-1])
    if first_s < grid.slot_s:
        least -= (grid.slot_s - first_s) * float(price[slots == low].sum())
    return _Taken(site, np.sort(slots) - low, int(slots[-1]) - low, spare_s, least)


def _as_taken(offer: Offer, taken: _Taken, low: int) -> Placement | None:
    """The very slots, where they keep the bounds on stretches; None where they have to be settled."""
    request, slots = offer.request, taken.slots
    cuts = np.flatnonzero(np.diff(slots) > 1)
    begins, ends = slots[np.concatenate(([0], cuts + 1))], slots[np.concatenate((cuts, [len(slots) - 1]))] + 1
    most = request.suspensions_left + (1 if request.running_at is None else 0)
    if len(begins) > 1 and (request.switch_s > 0 or len(begins) > most):
        return None
    grid, spans = offer.problem.grid, []
    for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
        spans.append((offer.start_s(low + begin), grid.start_s(low + end)))
    spans = _trimmed(spans, taken, begins.tolist(), ends.tolist())
    begun = spans[1:] if offer.goes_on else spans  # a stretch that goes on began before
    if len(spans) > 1 and min(end - start for start, end in begun) < request.min_run_s - EPSILON_S:
        return None
    return offer.placed(taken.site, tuple(spans))


def _trimmed(
    spans: list[tuple[float, float]], taken: _Taken, begins: list[int], ends: list[int]
) -> list[tuple[float, float]]:
    """Without the time that is not needed: off the dearest slot where it lies at an edge, else off the end."""
    which, at_begin = len(spans) - 1, False
    for i, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        if taken.dearest == end - 1:
            which, at_begin = i, False
        elif taken.dearest == begin and begin > 0:
            which, at_begin = i, True
    start, end_s = spans[which]
    spans[which] = (start + taken.spare_s, end_s) if at_begin else (start, end_s - taken.spare_s)
    return spans
