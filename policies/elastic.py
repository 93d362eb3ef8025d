"""Runs elastic jobs wider where the grid is clean, and harder where their power can be limited.

Source: Hanafy et al., "CarbonScaler: Leveraging Cloud Workload Elasticity for Optimizing Carbon-Efficiency"
(SIGMETRICS 2023): marginal throughput per marginal gram. Corrected in that it climbs the concave hull of the
profile, which makes greedy optimal for one job where the published rule stops short (see ``hull``), and in that
a pause or another width costs run time, pauses are bounded and capacity holds.

Without such costs and bounds the slots come out as the linear program's optimum. With them they are mended: a pause
too many, or a stretch that is too short, is bridged or given up, whichever is cheaper. A plan begins while the
declared way would still be in time, so that a job is never left to widths that may be gone by then.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from pydantic import BaseModel, ConfigDict

from lowtide.policies.fill import Field, Fill, Piece, cost, filled, pieces, touches
from lowtide.policies.holding import placed_in, worked_s
from lowtide.policies.lift import sell_in_order
from lowtide.policies.lowest_slots import cheaper, cheapest_pieces
from lowtide.policies.offer import Offer
from lowtide.policies.problem import EPSILON_S, BoolArray, Choice, Placement, Problem, Request

MOST_ROUNDS = 300
"""Each closes a gap, gives up a stretch or asks for more work, and there are some hundred slots; then: a window."""

Stretch = list[Piece]
"""Pieces that follow each other without a pause."""


class Elastic(BaseModel):
    """The cheapest modes slot by slot; jobs with one way to run are treated as by ``lowest_slots``. No parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def plan(self, problem: Problem) -> tuple[Choice, ...]:
        """Choose slots and modes for every request; a running job keeps its mode, and may be suspended."""
        return sell_in_order(problem, _widest_where_clean)


def _widest_where_clean(offer: Offer) -> Placement | None:
    if not offer.request.modes or offer.request.running_at is not None:
        return cheapest_pieces(offer)
    if offer.is_guarded:
        return offer.cheapest()
    return cheaper(offer.cheapest(), spread(offer))


def spread(offer: Offer) -> Placement | None:
    """The best placement in any modes over the open sites; None when no site has one."""
    open_sites = offer.open_sites()
    found = [
        placed
        for site in offer.request.sites
        if open_sites[site]
        for family in _families(offer.request)
        if (placed := _at_site(offer, site, family))
    ]
    return min(found, key=lambda p: p.cost_g, default=None)


def _families(request: Request) -> list[BoolArray]:
    """[mode] flags to try: all modes and, where another width costs time, each width by itself."""
    families = [np.ones(len(request.modes), dtype=np.bool_)]
    widths = [(mode.gpus, mode.cpus) for mode in request.modes]
    if request.switch_s > 0 and len(set(widths)) > 1:
        families += [np.array([w == width for w in widths]) for width in sorted(set(widths))]
    return families


def _at_site(offer: Offer, site: int, family: BoolArray) -> Placement | None:
    field = _field(offer, site, family)
    if field is None:
        return None
    must = np.zeros(field.count, dtype=np.bool_)
    must[0] = offer.first is not None
    found = _settled(offer.request, field, must)
    if found is None:
        return None
    spans, modes = tuple((a, b) for a, b, _ in found), tuple(mode for _, _, mode in found)
    return placed_in(offer.problem.prices, offer.request, site, spans, modes)


def _field(offer: Offer, site: int, family: BoolArray) -> Field | None:
    """The slots until the plan must have ended, or None when there is none."""
    request, problem = offer.request, offer.problem
    low = offer.first_column if offer.first is None else offer.first
    end_s = min(request.must_end_s, float(problem.prices.known_until_s[site]))
    high = min(problem.grid.slots_until(end_s), problem.grid.count)
    if high <= low or end_s <= offer.start_s(low) + EPSILON_S:
        return None
    begin_s, until_s = problem.grid.edges_s[low:high].copy(), problem.grid.edges_s[low + 1 : high + 1].copy()
    begin_s[0], until_s[-1] = offer.start_s(low), min(until_s[-1], end_s)
    room = np.array([room[site, low:high] for room in offer.mode_room]) & family[:, None]
    return Field(request.modes, begin_s, until_s - begin_s, problem.prices.price_g_per_kwh[site, low:high], room)


@dataclass(frozen=True, slots=True, eq=False)
class _Draft:
    """A fill, and what it was asked: the slots that must run and the work to fill in."""

    field: Field
    must: BoolArray
    need_s: float
    fill: Fill

    @property
    def cost(self) -> float:
        return cost(self.field, self.fill)


def _draft(field: Field, must: BoolArray, need_s: float) -> _Draft | None:
    fill = filled(field, need_s, must)
    return None if fill is None else _Draft(field, must, need_s, fill)


def _settled(request: Request, field: Field, must: BoolArray) -> list[Piece] | None:
    """Pieces that do the work and keep the bounds; None when that cannot be had by mending."""
    draft = _draft(field, must, request.work_s)
    for _ in range(MOST_ROUNDS):
        if draft is None:
            return None
        found = pieces(draft.field, draft.fill)
        short_s = request.work_s - _worked_s(request, field, found)
        if found[0][0] > request.latest_start_s + EPSILON_S:
            draft = _begun_in_time(draft, request.latest_start_s)
        elif not _keeps_bounds(request, stretches(found)):
            draft = _mended(draft, found)
        elif short_s > EPSILON_S:
            draft = _draft(draft.field, draft.must, draft.need_s + short_s)
        else:
            return _trimmed(request, field, found)
    return None


def _worked_s(request: Request, field: Field, found: list[Piece]) -> float:
    return worked_s(request, tuple((a, b) for a, b, _ in found), tuple(field.modes[mode] for _, _, mode in found))


def stretches(found: list[Piece]) -> list[Stretch]:
    """Pieces that touch, together."""
    grouped = [[found[0]]]
    for before, after in pairwise(found):
        if touches(before[1], after[0]):
            grouped[-1].append(after)
        else:
            grouped.append([after])
    return grouped


def _keeps_bounds(request: Request, runs: list[Stretch]) -> bool:
    if len(runs) == 1:
        return True
    long = all(run[-1][1] - run[0][0] >= request.min_run_s - EPSILON_S for run in runs)
    return long and len(runs) <= request.suspensions_left + 1


def _begun_in_time(draft: _Draft, latest_start_s: float) -> _Draft | None:
    """The same with the cheapest slot that is early enough running."""
    early = draft.field.room.any(axis=0) & (draft.field.begin_s <= latest_start_s + EPSILON_S)
    if not early.any():
        return None
    must = draft.must.copy()
    must[int(np.where(early, draft.field.price, np.inf).argmin())] = True
    return _draft(draft.field, must, draft.need_s)


def _mended(draft: _Draft, found: list[Piece]) -> _Draft | None:
    """The cheaper of bridging the shortest pause and giving up the shortest stretch; None when neither can be."""
    drafts = [d for d in (_bridged(draft, found), _given_up(draft, found)) if d is not None]
    return min(drafts, key=lambda d: d.cost, default=None)


def _bridged(draft: _Draft, found: list[Piece]) -> _Draft | None:
    field, gaps = draft.field, []
    for before, after in pairwise(found):
        gap = (field.begin_s + field.width_s > before[1] + EPSILON_S) & (field.begin_s < after[0] - EPSILON_S)
        if not touches(before[1], after[0]) and field.room[:, gap].any(axis=0).all():
            gaps.append((after[0] - before[1], gap))
    if not gaps:
        return None
    _, gap = min(gaps, key=lambda pair: pair[0])
    return _draft(field, draft.must | gap, draft.need_s)


def _given_up(draft: _Draft, found: list[Piece]) -> _Draft | None:
    field, kept = draft.field, []
    for run in stretches(found):
        inside = (field.begin_s + field.width_s > run[0][0] + EPSILON_S) & (field.begin_s < run[-1][1] - EPSILON_S)
        if not (inside & draft.must).any():
            kept.append((run[-1][1] - run[0][0], inside))
    if not kept:
        return None
    _, inside = min(kept, key=lambda pair: pair[0])
    return _draft(replace(field, room=field.room & ~inside), draft.must, draft.need_s)


def _trimmed(request: Request, field: Field, found: list[Piece]) -> list[Piece]:
    """The same without what is done beyond the work, taken off the end."""
    kept = found
    while True:
        begin_s, end_s, mode = kept[-1]
        spare_s = (_worked_s(request, field, kept) - request.work_s) / field.modes[mode].speed
        if spare_s <= EPSILON_S:
            return kept
        without = kept[:-1]
        if without and _worked_s(request, field, without) >= request.work_s - EPSILON_S:
            kept = without
        else:
            kept = [*without, (begin_s, end_s - spare_s, mode)]
