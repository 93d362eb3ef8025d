"""The cheapest placement of one job in any of its modes, and the one that ends first."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from lowtide.policies.fill import Field, Piece, cost, filled
from lowtide.policies.guard import NOISE
from lowtide.policies.holding import is_declared, placed_in
from lowtide.policies.hull import climb
from lowtide.policies.mend import settled
from lowtide.policies.offer import Offer
from lowtide.policies.pieces import hold_slots
from lowtide.policies.problem import EPSILON_S, BoolArray, FloatArray, Placement, Request
from lowtide.policies.resize import resized
from lowtide.policies.scarcity import Scarcity
from lowtide.policies.seed import seeds
from lowtide.scheduler.model.units import kwh_per_s

FEW_MODES = 8
"""Of more, those below the hull are not tried alone: they seldom win, and each takes milliseconds."""
MANY = 1000
"""More pauses than there are slots to pause in."""


def spread(offer: Offer, scarce: Scarcity | None = None) -> Placement | None:
    """The best placement in any modes over the open sites; None when no site has one.

    With ``scarce`` the best is what costs least together with the capacity that it holds; the placement's own cost
    stays in grams.
    """
    fields = [(site, field) for site in offer.request.sites if (field := _field(offer, site, scarce)) is not None]
    bounds = [(_least_g(offer, field), number) for number, (_, field) in enumerate(fields)]
    best, least_g = None, math.inf
    for bound_g, number in sorted(bounds):
        if bound_g >= least_g * (1 - NOISE):
            break
        site, field = fields[number]
        for pieces in _settled(offer, field, offer.request):
            placed = _placed(offer, site, pieces)
            cost_g = total_g(offer, placed, scarce)
            if best is None or cost_g < least_g:
                best, least_g = placed, cost_g
    return best


def _least_g(offer: Offer, field: Field) -> float:
    """The least that the work can cost in these slots, infinite where they do not hold it."""
    found = filled(field, offer.request.work_s, np.zeros(field.count, dtype=np.bool_))
    return math.inf if found is None else cost(field, found) * kwh_per_s(1.0)


def total_g(offer: Offer, placed: Placement, scarce: Scarcity | None) -> float:
    """What a placement costs in all, in grams."""
    return placed.cost_g + (0.0 if scarce is None else scarce.held_g(offer.request, placed, offer.problem.grid))


def soonest_spread(offer: Offer) -> Placement | None:
    """The placement in any modes that ends first over all sites, if in time: as fast as there is room."""
    request, baseline = offer.request, offer.baseline
    speed = np.array([mode.speed for mode in request.modes])
    by_s = request.latest_start_s if baseline is None else max(request.latest_start_s, baseline.start_s)
    by_now = replace(request, latest_start_s=by_s)  # as soon as can be is in time for a start
    found = []
    for site in request.sites:
        field = _slots(offer, site, offer.must_end_s)
        if field is not None:
            field = replace(field, cost=np.outer(speed, 1.0 + field.begin_s))  # the later the dearer, however fast
            found += [_placed(offer, site, pieces) for pieces in _settled(offer, field, by_now)]
    return min(found, key=lambda placed: placed.end_s, default=None)


def _settled(offer: Offer, field: Field, request: Request) -> Iterator[list[Piece]]:
    for tried, must in _ways_to_begin(request, field, hold_slots(offer)):
        pieces = settled(request, tried, must)
        kept = resized(request, field, pieces) if pieces else None
        if kept:
            yield kept


def _placed(offer: Offer, site: int, found: list[Piece]) -> Placement:
    spans, modes = tuple((a, b) for a, b, _ in found), tuple(mode for _, _, mode in found)
    return placed_in(offer.problem.prices, offer.request, site, spans, modes)


def _ways_to_begin(request: Request, field: Field, hold: int) -> Iterator[tuple[Field, BoolArray]]:
    """Slots and those that must run: all of them; then, mode by mode, those good for it, for all modes and it alone."""
    must = np.zeros(field.count, dtype=np.bool_)
    must[:hold] = True
    yield field, must
    if _is_free(request):
        return
    for mode in _worth_trying(field):
        alone = (np.arange(len(field.modes)) == mode)[:, None]
        for good in seeds(request, field, mode, keep_first=hold > 0):
            slots = good | must
            yield replace(field, room=field.room & slots), slots
            yield replace(field, room=field.room & slots & (alone | must)), slots


def _worth_trying(field: Field) -> list[int]:
    """The modes with room anywhere; of many those on the hull of any slot."""
    found: list[int] = np.flatnonzero(field.room.any(axis=1)).tolist()
    if len(found) <= FEW_MODES:
        return found
    speed = np.array([mode.speed for mode in field.modes])
    steps = climb(field.cost, speed, field.room, np.zeros(field.count, dtype=np.bool_))
    return found if steps is None else np.unique(steps.mode).tolist()


def _is_free(request: Request) -> bool:
    """Whether nothing but the window binds a job, so that the first fill is the optimum."""
    return not request.switch_s and not request.min_run_s and request.suspensions_left >= MANY


def _field(offer: Offer, site: int, scarce: Scarcity | None) -> Field | None:
    """The slots of an open site until the plan must have ended, within the forecast; None when there is none."""
    if not offer.open_sites[site]:
        return None
    field = _slots(offer, site, min(offer.must_end_s, offer.problem.prices.known_until(site)))
    if field is None or scarce is None:
        return field
    low = offer.problem.grid.slot_at(float(field.begin_s[0]))
    return replace(field, cost=field.cost + scarce.cost(offer.request.modes, site, low, low + field.count))


def _slots(offer: Offer, site: int, end_s: float) -> Field | None:
    problem = offer.problem
    low = offer.first_column if offer.first is None else offer.first
    high = min(problem.grid.slots_until(end_s), problem.grid.count)
    if high <= low or end_s <= offer.start_s(low) + EPSILON_S:
        return None
    begin_s, until_s = problem.grid.edges_s[low:high].copy(), problem.grid.edges_s[low + 1 : high + 1].copy()
    begin_s[0], until_s[-1] = offer.start_s(low), min(until_s[-1], end_s)
    room = np.array([room[site, low:high] for room in offer.mode_room])
    if offer.goes_on:  # what runs on runs as it does
        room[:, : hold_slots(offer)] &= np.array([[is_declared(mode, offer.request)] for mode in offer.request.modes])
    price: FloatArray = problem.prices.price_g_per_kwh[site, low:high]
    return Field.priced(offer.request.modes, begin_s, until_s - begin_s, price, room)
