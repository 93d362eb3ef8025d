"""Keeps of a job's modes those that are worth running: the concave hull of speed over power.

A greedy rule that takes the best marginal speed per marginal gram, step by step, is optimal only while each
step is worth less than the one before. Measured profiles are not like that: with one worker too many for a
ring, or a limit between two clock steps, a mode may be poor and the next one good again, and greedy then stops
below the good one (CarbonScaler on resnet18). Whatever lies below the hull is never needed: running partly in
its left and partly in its right neighbour on the hull does the same work for less energy. On the hull, with idle
as the first point, the marginal speeds fall and greedy is optimal for one job.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

from lowtide.scheduler.model.mode import Mode

IDLE = -1
"""In place of a mode's index: not running, at no power."""

Point = tuple[float, float]
"""Power in watts and speed."""


@lru_cache(maxsize=1024)
def hull(modes: tuple[Mode, ...], usable: tuple[int, ...], *, may_idle: bool) -> tuple[int, ...]:
    """The modes on the upper concave hull of speed over power, in ascending power.

    Args:
        modes: all modes of a job.
        usable: indexes of those that there is room for.
        may_idle: whether not running is the first point; else the mode of least power is.

    Returns:
        Indexes into ``modes``, ``IDLE`` first where it may idle. Speed and power both rise from one to the next and
        the gain of speed per watt falls; empty where nothing is usable and it may not idle.

    """
    kept = [IDLE] if may_idle else []
    for i in sorted(usable, key=lambda i: (modes[i].power_w, -modes[i].speed, i)):
        if kept and modes[i].speed <= _point(modes, kept[-1])[1]:
            continue  # no faster for no less power
        while len(kept) > 1 and not _bends(*(_point(modes, j) for j in (*kept[-2:], i))):
            kept.pop()
        kept.append(i)
    return tuple(kept)


def marginals_w(modes: Sequence[Mode], levels: tuple[int, ...]) -> list[float]:
    """Watts per unit of speed of each step along a hull; they rise."""
    points = [_point(modes, i) for i in levels]
    return [(after[0] - before[0]) / (after[1] - before[1]) for before, after in pairwise(points)]


def _point(modes: Sequence[Mode], index: int) -> Point:
    return (0.0, 0.0) if index == IDLE else (modes[index].power_w, modes[index].speed)


def _bends(first: Point, middle: Point, last: Point) -> bool:
    """Whether the middle lies above the line between its neighbours."""
    return (middle[1] - first[1]) * (last[0] - middle[0]) > (last[1] - middle[1]) * (middle[0] - first[0])
