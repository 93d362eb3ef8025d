"""Fills slots with one job's work for the fewest grams: how much of the way up its hull each slot goes.

This is the linear program  min Σ price · power(mode) · time  subject to  Σ speed(mode) · time >= work  over the
slots, where time in a slot may be shared between modes and idling. It is solved exactly by taking the steps
along the hulls of all slots in order of grams per second of work, until the work is done; only the last step is
taken in part, so that at most one slot is split.
"""

from dataclasses import dataclass

import numpy as np

from lowtide.policies.hull import IDLE, hull, marginals_w
from lowtide.policies.problem import EPSILON_S, BoolArray, FloatArray
from lowtide.policies.timeline import IntArray
from lowtide.scheduler.model.mode import Mode

Piece = tuple[float, float, int]
"""Start and end in seconds after now, and the index of the mode that runs between."""


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """The slots of one site that one job may use, in order.

    Attributes:
        modes: the ways in which it can run.
        begin_s: [slot], when each begins, in seconds after now.
        width_s: [slot], how much of each may be used, above 0.
        price: [slot], g/kWh with PUE, at least 0.
        room: [mode, slot], where there is room for a mode.

    """

    modes: tuple[Mode, ...]
    begin_s: FloatArray
    width_s: FloatArray
    price: FloatArray
    room: BoolArray

    @property
    def count(self) -> int:
        """How many slots there are."""
        return len(self.begin_s)


@dataclass(frozen=True, slots=True, eq=False)
class Fill:
    """What to do in each slot.

    Attributes:
        mode: [slot], the index of the mode that runs throughout, or ``IDLE``; in the split slot the lower one.
        split: the slot that is shared, if any.
        upper: the mode that the split slot also runs in.
        share: for which part of it, in (0, 1).

    """

    mode: IntArray
    split: int | None = None
    upper: int = IDLE
    share: float = 0.0


def filled(field: Field, work_s: float, must: BoolArray) -> Fill | None:
    """The cheapest way to do the work; None when there is not enough room.

    Args:
        field: the slots.
        work_s: to be done, in seconds at speed 1.
        must: [slot], where it may not idle; in all of such a slot the least powerful mode runs at least.

    """
    base, steps = _steps(field, must)
    if base is None:
        return None
    speeds = np.array([mode.speed for mode in field.modes])
    missing_s = work_s - float((np.where(base == IDLE, 0.0, speeds[base]) * field.width_s).sum())
    if missing_s <= EPSILON_S:
        return Fill(base)
    order = np.lexsort((steps.rank, steps.slot, steps.ratio))
    done_s = np.cumsum(steps.gain_s[order])
    if not len(order) or done_s[-1] < missing_s - EPSILON_S:
        return None
    count = min(int(np.searchsorted(done_s, missing_s - EPSILON_S)), len(order) - 1)
    whole, last = order[:count], int(order[count])
    base[steps.slot[whole]] = steps.mode[whole]  # a slot's steps come in order: the highest is written last
    share = (missing_s - (float(done_s[count - 1]) if count else 0.0)) / float(steps.gain_s[last])
    return _with_last(field, base, steps, last, share)


def _with_last(field: Field, mode: IntArray, steps: "_Steps", last: int, share: float) -> Fill:
    slot, upper = int(steps.slot[last]), int(steps.mode[last])
    if (1 - share) * field.width_s[slot] > EPSILON_S:
        return Fill(mode, slot, upper, share)
    mode[slot] = upper
    return Fill(mode)


@dataclass(frozen=True, slots=True, eq=False)
class _Steps:
    """Every step along every slot's hull: [step] each."""

    slot: IntArray
    rank: IntArray
    mode: IntArray
    gain_s: FloatArray
    ratio: FloatArray


def _steps(field: Field, must: BoolArray) -> tuple[IntArray | None, _Steps]:
    """[slot], the mode from which each starts, and the steps up; None where a slot that must run has no room."""
    base = np.full(field.count, IDLE, dtype=np.int64)
    columns: list[tuple[IntArray, int, int, float, float]] = []
    for slots in _alike(np.vstack((field.room, must))):
        room = field.room[:, slots[0]]
        levels = hull(field.modes, tuple(np.flatnonzero(room).tolist()), may_idle=not must[slots[0]])
        if not levels:
            return None, _joined(field, [])
        base[slots] = levels[0]
        for rank, (level, watts) in enumerate(zip(levels[1:], marginals_w(field.modes, levels), strict=True)):
            before = levels[rank]
            gain = field.modes[level].speed - (0.0 if before == IDLE else field.modes[before].speed)
            columns.append((slots, rank, level, gain, watts))
    return base, _joined(field, columns)


def _alike(rows: BoolArray) -> list[IntArray]:
    """The slots of [row, slot] flags, sorted into those with equal columns."""
    first, *others = np.packbits(rows, axis=0).astype(np.int64)
    for row in others:
        first = np.unique(first, return_inverse=True)[1] * 256 + row
    order = first.argsort(kind="stable")
    return np.split(order, np.flatnonzero(np.diff(first[order])) + 1)


def _joined(field: Field, columns: list[tuple[IntArray, int, int, float, float]]) -> _Steps:
    if not columns:
        none, nothing = np.zeros(0, dtype=np.int64), np.zeros(0)
        return _Steps(none, none, none, nothing, nothing)
    slot = np.concatenate([slots for slots, *_ in columns])
    rank, mode, gain, watts = (
        np.concatenate([np.full(len(column[0]), column[part]) for column in columns]) for part in (1, 2, 3, 4)
    )
    return _Steps(slot, rank, mode, gain * field.width_s[slot], watts * field.price[slot])


def cost(field: Field, fill: Fill) -> float:
    """The price integral times power, in g/kWh·W·s; to compare fills of one field."""
    power_w = np.array([*(mode.power_w for mode in field.modes), 0.0])  # the last one is IDLE's
    drawn_w = power_w[fill.mode]
    if fill.split is not None:
        drawn_w[fill.split] += fill.share * (power_w[fill.upper] - drawn_w[fill.split])
    return float((drawn_w * field.price) @ field.width_s)


def pieces(field: Field, fill: Fill) -> list[Piece]:
    """What runs when, in order; touching stretches of one mode are one piece."""
    found: list[Piece] = []
    active = np.flatnonzero(fill.mode != IDLE).tolist()
    for slot in active if fill.split is None else sorted({*active, fill.split}):
        begin_s, width_s = float(field.begin_s[slot]), float(field.width_s[slot])
        whole = (begin_s, begin_s + width_s, int(fill.mode[slot]))
        for piece in [whole] if slot != fill.split else _halves(field, fill, slot, found[-1] if found else None):
            if found and found[-1][2] == piece[2] and touches(found[-1][1], piece[0]):
                found[-1] = (found[-1][0], piece[1], piece[2])
            else:
                found.append(piece)
    return found


def touches(end_s: float, start_s: float) -> bool:
    """Whether work goes on without a pause."""
    return abs(start_s - end_s) <= EPSILON_S


def _halves(field: Field, fill: Fill, slot: int, before: Piece | None) -> list[Piece]:
    """The split slot, ordered so that as little as possible changes at its edges."""
    begin_s, width_s = float(field.begin_s[slot]), float(field.width_s[slot])
    end_s, upper_s, lower = begin_s + width_s, fill.share * width_s, int(fill.mode[slot])
    first = before[2] if before is not None and touches(before[1], begin_s) else IDLE
    after = slot + 1 < field.count and touches(end_s, float(field.begin_s[slot + 1]))
    following = int(fill.mode[slot + 1]) if after else IDLE
    upper_first = (first == fill.upper) + (following == lower) >= (first == lower) + (following == fill.upper)
    if upper_first:
        halves = [(begin_s, begin_s + upper_s, fill.upper), (begin_s + upper_s, end_s, lower)]
    else:
        halves = [(begin_s, end_s - upper_s, lower), (end_s - upper_s, end_s, fill.upper)]
    return [half for half in halves if half[2] != IDLE]
