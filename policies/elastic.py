"""Runs elastic jobs wider where the grid is clean, and harder where their power can be limited.

Source: Hanafy et al., "CarbonScaler: Leveraging Cloud Workload Elasticity for Optimizing Carbon-Efficiency"
(SIGMETRICS 2023): marginal throughput per marginal gram. Corrected in that it climbs the concave hull of the
profile, which makes greedy optimal for one job where the published rule stops short (see ``hull``), and in that
a pause or another width costs run time, pauses are bounded and capacity holds.

Without such costs and bounds the slots come out as the linear program's optimum; with them they are mended (see
``mend``), and ``lowest_slots`` is what has to be beaten. A plan begins while the
declared way would still be in time, so that a job is never left to widths that may be gone by then. What runs at one
width can be given another by a suspension alone, so each change counts as one (see ``resize``).
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from pydantic import BaseModel, ConfigDict

from lowtide.policies.fill import Field, Piece
from lowtide.policies.holding import placed_in
from lowtide.policies.hull import hull
from lowtide.policies.lift import sell_in_order
from lowtide.policies.lowest_slots import cheaper, cheapest_slots, stop_now
from lowtide.policies.mend import settled
from lowtide.policies.offer import Offer
from lowtide.policies.pieces import cheapest_pieces
from lowtide.policies.problem import EPSILON_S, BoolArray, Choice, Placement, Problem, Request
from lowtide.policies.resize import resized
from lowtide.policies.seed import seeds
from lowtide.scheduler.model.mode import Mode

FEW_MODES = 8
"""Of more, those below the hull are not tried alone: they seldom win, and each takes milliseconds."""
MANY = 1000
"""More pauses than there are slots to pause in."""


class Elastic(BaseModel):
    """The cheapest modes slot by slot; jobs with one way to run are treated as by ``lowest_slots``. No parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def plan(self, problem: Problem) -> tuple[Choice, ...]:
        """Choose slots and modes for every request; a running job may be suspended, to go on in another mode."""
        return sell_in_order(problem, _widest_where_clean)


def _widest_where_clean(offer: Offer) -> Placement | None:
    request = offer.request
    if not request.modes:
        return cheapest_slots(offer)
    if request.running_at is not None:
        return stop_now(offer, _cheapest) if request.suspensions_left else None
    if offer.is_guarded:
        return offer.cheapest()
    return cheaper(cheapest_slots(offer), spread(offer))


def _cheapest(offer: Offer) -> Placement | None:
    return cheaper(cheapest_pieces(offer), spread(offer))


def spread(offer: Offer) -> Placement | None:
    """The best placement in any modes over the open sites; None when no site has one."""
    open_sites = offer.open_sites
    found = [placed for site in offer.request.sites if open_sites[site] and (placed := _at_site(offer, site))]
    return min(found, key=lambda p: p.cost_g, default=None)


def _at_site(offer: Offer, site: int) -> Placement | None:
    field = _field(offer, site)
    if field is None:
        return None
    found = (settled(offer.request, tried, must) for tried, must in _ways_to_begin(offer, field))
    kept = (resized(offer.request, field, pieces) for pieces in found if pieces)
    return min((_placed(offer, site, pieces) for pieces in kept if pieces), key=lambda p: p.cost_g, default=None)


def _placed(offer: Offer, site: int, found: list[Piece]) -> Placement:
    spans, modes = tuple((a, b) for a, b, _ in found), tuple(mode for _, _, mode in found)
    return placed_in(offer.problem.prices, offer.request, site, spans, modes)


def _ways_to_begin(offer: Offer, field: Field) -> Iterator[tuple[Field, BoolArray]]:
    """Slots and those that must run: all of them; then, mode by mode, those good for it, for all modes and it alone."""
    request, is_pinned = offer.request, offer.first is not None
    must = np.zeros(field.count, dtype=np.bool_)
    must[0] = is_pinned
    yield field, must
    if _is_free(request):
        return
    usable = tuple(np.flatnonzero(field.room.any(axis=1)).tolist())
    for mode in usable if len(usable) <= FEW_MODES else hull(field.modes, usable, may_idle=False):
        alone = (np.arange(len(field.modes)) == mode)[:, None]
        for slots in seeds(request, field, mode, keep_first=is_pinned):
            yield replace(field, room=field.room & slots), slots
            yield replace(field, room=field.room & slots & alone), slots


def _is_free(request: Request) -> bool:
    """Whether nothing but the window binds a job, so that the first fill is the optimum."""
    return not request.switch_s and not request.min_run_s and request.suspensions_left >= MANY


def _field(offer: Offer, site: int) -> Field | None:
    """The slots until the plan must have ended, or None when there is none."""
    request, problem = offer.request, offer.problem
    low = offer.first_column if offer.first is None else offer.first
    end_s = min(request.must_end_s, float(problem.prices.known_until_s[site]))
    high = min(problem.grid.slots_until(end_s), problem.grid.count)
    if high <= low or end_s <= offer.start_s(low) + EPSILON_S:
        return None
    begin_s, until_s = problem.grid.edges_s[low:high].copy(), problem.grid.edges_s[low + 1 : high + 1].copy()
    begin_s[0], until_s[-1] = offer.start_s(low), min(until_s[-1], end_s)
    room = np.array([room[site, low:high] for room in offer.mode_room])
    if offer.goes_on:  # what runs in the current slot runs as it does
        room[:, 0] &= [_is_declared(mode, request) for mode in request.modes]
    return Field(request.modes, begin_s, until_s - begin_s, problem.prices.price_g_per_kwh[site, low:high], room)


def _is_declared(mode: Mode, request: Request) -> bool:
    return (mode.gpus, mode.cpus, mode.speed) == (request.gpus, request.cpus, 1.0)
