"""Makes pieces in several widths what a job can do, when each other width takes a suspension and another attempt.

Where there are too many changes, or a width would be held for too short, two neighbours run as the faster of both:
of all such pairs the one that then costs least, again and again. So the work is done, and what is beyond it comes off
the end.
"""

from itertools import groupby

import numpy as np

from lowtide.policies.fill import Field, Piece, touches
from lowtide.policies.mend import Stretch, stretches, trimmed, wrong
from lowtide.policies.problem import EPSILON_S, FloatArray, Request


def resized(request: Request, field: Field, found: list[Piece]) -> list[Piece] | None:
    """Pieces that can be followed; None where joining neighbours does not lead there."""
    while not can_be_followed(request, field, found):
        runs = _alike(field, found)
        tried = [_joined(request, field, runs, i) for i in range(len(runs) - 1)]
        joined = [pieces for pieces in tried if pieces is not None]
        if not joined:
            return None
        found = min(joined, key=lambda pieces: _cost(field, pieces))
    return found


def can_be_followed(request: Request, field: Field, found: list[Piece]) -> bool:
    """Whether a job can do as its pieces say.

    A wider stretch may find its GPUs taken when it comes. So where a job runs slower than it declares, going on like
    that to its end must be in time.
    """
    runs, left_s = _alike(field, found), request.work_s
    if wrong(request, runs):
        return False
    for run in runs:
        slowest = min(field.modes[mode].speed for _, _, mode in run)
        if slowest < 1 and run[0][0] + left_s / slowest > request.must_end_s + EPSILON_S:
            return False
        left_s -= sum((b - a) * field.modes[mode].speed for a, b, mode in run)
    return True


def _alike(field: Field, found: list[Piece]) -> list[Stretch]:
    """Stretches of one width each."""

    def width(piece: Piece) -> tuple[int, int]:
        mode = field.modes[piece[2]]
        return mode.gpus, mode.cpus

    return [list(run) for stretch in stretches(found) for _, run in groupby(stretch, key=width)]


def _joined(request: Request, field: Field, runs: list[Stretch], first: int) -> list[Piece] | None:
    """The pieces with two neighbours as one, in the faster mode of both; None where there is a pause or no room."""
    before, after = runs[first], runs[first + 1]
    if not touches(before[-1][1], after[0][0]):
        return None
    mode = max((piece[2] for piece in (*before, *after)), key=lambda mode: field.modes[mode].speed)
    begin_s, end_s = before[0][0], after[-1][1]
    if not field.room[mode, _overlaps_s(field, begin_s, end_s) > EPSILON_S].all():
        return None
    others = [piece for run in runs[:first] for piece in run], [piece for run in runs[first + 2 :] for piece in run]
    return trimmed(request, field, [*others[0], (begin_s, end_s, mode), *others[1]])


def _overlaps_s(field: Field, begin_s: float, end_s: float) -> FloatArray:
    """[slot], how much of each lies within a time."""
    ends_s = field.begin_s + field.width_s
    found: FloatArray = np.clip(np.minimum(ends_s, end_s) - np.maximum(field.begin_s, begin_s), 0.0, None)
    return found


def _cost(field: Field, found: list[Piece]) -> float:
    """What the pieces cost, in g/kWh·s·W."""
    return sum(float(_overlaps_s(field, a, b) @ field.cost[mode]) for a, b, mode in found)
