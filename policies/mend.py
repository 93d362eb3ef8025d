"""Turns the cheapest fill of slots into one that a job may run: pauses bounded, stretches long enough, begun in time.

What breaks a bound is bridged or given up, whichever is cheaper, and filled anew; what pauses and changes of width
lose is filled in as more work. Without such costs and bounds the first fill, which is the optimum, stands.
"""

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from lowtide.policies.fill import Field, Fill, Piece, cost, filled, pieces, touches
from lowtide.policies.holding import worked_s
from lowtide.policies.problem import EPSILON_S, BoolArray, Request

MOST_ROUNDS = 40
"""Each mends a part or asks for more work; what has not settled by then keeps giving up one piece for another."""

SHARE_AT_ONCE = 4
"""A quarter of what is wrong is mended before the slots are filled anew: nearly as good as one by one, and far fewer
rounds."""

Stretch = list[Piece]
"""Pieces that follow each other without a pause."""


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


def settled(request: Request, field: Field, must: BoolArray) -> list[Piece] | None:
    """Pieces that do the work and keep the bounds; None when that cannot be had by mending."""
    draft = _draft(field, must, request.work_s)
    for _ in range(MOST_ROUNDS):
        if draft is None:
            return None
        found = pieces(draft.field, draft.fill)
        short_s = request.work_s - _worked_s(request, field, found)
        if found[0][0] > request.latest_start_s + EPSILON_S:
            draft = _begun_in_time(draft, request.latest_start_s)
        elif count := wrong(request, stretches(found)):
            draft = _mended(draft, found, math.ceil(count / SHARE_AT_ONCE))
        elif short_s > EPSILON_S:
            draft = _draft(draft.field, draft.must, draft.need_s + short_s)
        else:
            return trimmed(request, field, found)
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


def _length_s(run: Stretch) -> float:
    return run[-1][1] - run[0][0]


def wrong(request: Request, runs: list[Stretch]) -> int:
    """How many stretches are too many or too short; one alone is as long as it is."""
    if len(runs) == 1:
        return 0
    short = sum(_length_s(run) < request.min_run_s - EPSILON_S for run in runs)
    return max(short, len(runs) - most_stretches(request))


def most_stretches(request: Request) -> int:
    """How many stretches its suspensions allow; a running job spends one before the first."""
    return request.suspensions_left + (1 if request.running_at is None else 0)


def _begun_in_time(draft: _Draft, latest_start_s: float) -> _Draft | None:
    """The same with the cheapest slot that is early enough running."""
    early = draft.field.room.any(axis=0) & (draft.field.begin_s <= latest_start_s + EPSILON_S)
    if not early.any():
        return None
    must = draft.must.copy()
    cheapest = np.where(draft.field.room & early, draft.field.cost, np.inf).min(axis=0)
    must[int(cheapest.argmin())] = True
    return _draft(draft.field, must, draft.need_s)


def _mended(draft: _Draft, found: list[Piece], at_once: int) -> _Draft | None:
    """The cheaper of bridging the shortest pauses and giving up the shortest stretches; None when neither can be."""
    drafts = [d for d in (_bridged(draft, found, at_once), _given_up(draft, found, at_once)) if d is not None]
    return min(drafts, key=lambda d: d.cost, default=None)


def _bridged(draft: _Draft, found: list[Piece], at_once: int) -> _Draft | None:
    runs = stretches(found)
    gaps = [(before[-1][1], after[0][0]) for before, after in pairwise(runs)]
    inside = [_between(draft.field, *gap) for gap in sorted(gaps, key=lambda gap: gap[1] - gap[0])]
    inside = [slots for slots in inside if draft.field.room[:, slots].any(axis=0).all()][:at_once]
    return _draft(draft.field, np.logical_or.reduce([draft.must, *inside]), draft.need_s) if inside else None


def _given_up(draft: _Draft, found: list[Piece], at_once: int) -> _Draft | None:
    runs = sorted(stretches(found), key=_length_s)
    inside = [_between(draft.field, run[0][0], run[-1][1]) for run in runs]
    inside = [slots for slots in inside if not (slots & draft.must).any()][:at_once]
    if not inside:
        return None
    room = draft.field.room & ~np.logical_or.reduce(inside)
    return _draft(replace(draft.field, room=room), draft.must, draft.need_s)


def _between(field: Field, begin_s: float, end_s: float) -> BoolArray:
    """[slot], those that lie in a time, at least in part."""
    touched: BoolArray = (field.begin_s + field.width_s > begin_s + EPSILON_S) & (field.begin_s < end_s - EPSILON_S)
    return touched


def trimmed(request: Request, field: Field, found: list[Piece]) -> list[Piece]:
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
