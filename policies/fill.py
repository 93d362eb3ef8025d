"""Fills slots with one job's work for the least cost: how much of the way up its hull each slot goes.

This is the linear program  min Σ cost(mode, slot) · time  subject to  Σ speed(mode) · time >= work  over the
slots, where time in a slot may be shared between modes and idling. It is solved exactly by taking the steps
along the hulls of all slots in order of cost per second of work, until the work is done; only the last step is
taken in part, so that at most one slot is split.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from lowtide.policies.hull import IDLE, Climb, climb
from lowtide.policies.problem import EPSILON_S, BoolArray, FloatArray, IntArray
from lowtide.scheduler.model.mode import Mode

FLOOR_G_PER_KWH = 1e-9
"""A price of 0 counts as this much, so that of modes that emit nothing the one that draws less is the better."""

Piece = tuple[float, float, int]
"""Start and end in seconds after now, and the index of the mode that runs between."""


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """The slots of one site that one job may use, in order.

    Attributes:
        modes: the ways in which it can run.
        begin_s: [slot], when each begins, in seconds after now.
        width_s: [slot], how much of each may be used, above 0.
        cost: [mode, slot], what a second costs, in g/kWh·W.
        room: [mode, slot], where there is room for a mode.

    """

    modes: tuple[Mode, ...]
    begin_s: FloatArray
    width_s: FloatArray
    cost: FloatArray
    room: BoolArray

    @classmethod
    def priced(
        cls, modes: tuple[Mode, ...], begin_s: FloatArray, width_s: FloatArray, price: FloatArray, room: BoolArray
    ) -> Self:
        """The slots at a price in g/kWh with PUE, [slot]; one below 0 counts as 0."""
        power_w = np.array([mode.power_w for mode in modes])
        return cls(modes, begin_s, width_s, np.outer(power_w, np.maximum(price, FLOOR_G_PER_KWH)), room)

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
    speeds = np.array([mode.speed for mode in field.modes])
    steps = climb(field.cost, speeds, field.room, must)
    if steps is None:
        return None
    base = steps.base.copy()
    missing_s = work_s - float((np.where(base == IDLE, 0.0, speeds[base]) * field.width_s).sum())
    if missing_s <= EPSILON_S:
        return Fill(base)
    gain_s = steps.gain * field.width_s[steps.slot]
    order = np.lexsort((steps.slot, steps.ratio))  # stable: the steps of a slot stay in order
    done_s = np.cumsum(gain_s[order])
    if not len(order) or done_s[-1] < missing_s - EPSILON_S:
        return None
    count = min(int(np.searchsorted(done_s, missing_s - EPSILON_S)), len(order) - 1)
    whole, last = order[:count], int(order[count])
    base[steps.slot[whole]] = steps.mode[whole]  # a slot's steps come in order: the highest is written last
    share = (missing_s - (float(done_s[count - 1]) if count else 0.0)) / float(gain_s[last])
    return _with_last(field, base, steps, last, share)


def _with_last(field: Field, mode: IntArray, steps: Climb, last: int, share: float) -> Fill:
    slot, upper = int(steps.slot[last]), int(steps.mode[last])
    if (1 - share) * field.width_s[slot] > EPSILON_S:
        return Fill(mode, slot, upper, share)
    mode[slot] = upper
    return Fill(mode)


def cost(field: Field, fill: Fill) -> float:
    """What it costs in g/kWh·W·s; to compare fills of one field."""
    slots = np.arange(field.count)
    each = np.where(fill.mode == IDLE, 0.0, field.cost[fill.mode, slots])
    if fill.split is not None:
        each[fill.split] += fill.share * (field.cost[fill.upper, fill.split] - each[fill.split])
    return float(each @ field.width_s)


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
