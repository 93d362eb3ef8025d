"""Keeps of a job's modes those that are worth running: the concave hull of speed over cost, slot by slot.

A greedy rule that takes the best marginal speed per marginal gram, step by step, is optimal only while each
step is worth less than the one before. Measured profiles are not like that: with one worker too many for a
ring, or a limit between two clock steps, a mode may be poor and the next one good again, and greedy then stops
below the good one (CarbonScaler on resnet18). Whatever lies below the hull is never needed: running partly in
its left and partly in its right neighbour on the hull does the same work for less. On the hull, with idle as the
first point, the marginal speeds fall and greedy is optimal for one job.

Where GPUs are short a second costs more than its grams (see ``scarcity``), and each slot has a hull of its own.
"""

from dataclasses import dataclass

import numpy as np

from lowtide.policies.compiled import compiled
from lowtide.policies.problem import BoolArray, FloatArray, IntArray

IDLE = -1
"""In place of a mode's index: not running, at no cost."""

SAME = 1e-12
"""Steps whose costs differ by less, relatively, are one step to the faster mode."""


@dataclass(frozen=True, slots=True, eq=False)
class Climb:
    """The hulls of all slots.

    Attributes:
        base: [slot], the mode from which each starts, or ``IDLE``.
        slot: [step], where each step is taken; those of one slot follow each other upwards.
        mode: [step], the mode that it leads to.
        gain: [step], by how much that is faster, above 0.
        ratio: [step], what a second at one more unit of speed costs; from step to step of a slot it never falls.

    """

    base: IntArray
    slot: IntArray
    mode: IntArray
    gain: FloatArray
    ratio: FloatArray


def climb(cost: FloatArray, speed: FloatArray, room: BoolArray, must: BoolArray) -> Climb | None:
    """The way up the hull of each slot, from idling to the fastest mode that is worth it.

    Args:
        cost: [mode, slot], what a second in a mode costs, in any unit.
        speed: [mode], above 0.
        room: [mode, slot], where there is room for a mode.
        must: [slot], where it may not idle: the mode of least cost comes first there.

    Returns:
        The hulls; None where a slot that must run has no room.

    """
    tables = np.ascontiguousarray(cost), speed, np.ascontiguousarray(room)
    is_able, base, slot, mode, gain, ratio = _climbed(*tables, np.ascontiguousarray(must))
    return Climb(base, slot, mode, gain, ratio) if is_able else None


@compiled
def _cheapest(cost: FloatArray, speed: FloatArray, room: BoolArray, slot: int) -> int:
    """The mode of least cost in a slot, of equals the fastest; ``IDLE`` where there is room for none."""
    best = IDLE
    for mode in range(len(speed)):
        if not room[mode, slot]:
            continue
        is_less = best == IDLE or cost[mode, slot] < cost[best, slot]
        if is_less or (cost[mode, slot] == cost[best, slot] and speed[mode] > speed[best]):
            best = mode
    return best


@compiled
def _next(
    cost: FloatArray, speed: FloatArray, room: BoolArray, slot: int, at_cost: float, at_speed: float
) -> tuple[int, float]:
    """The mode that the next step leads to, of equals the fastest, and its ratio; ``IDLE`` at the top."""
    best, lowest = IDLE, np.inf
    for mode in range(len(speed)):
        if room[mode, slot] and speed[mode] > at_speed:
            lowest = min(lowest, (cost[mode, slot] - at_cost) / (speed[mode] - at_speed))
    for mode in range(len(speed)):
        if room[mode, slot] and speed[mode] > at_speed:
            ratio = (cost[mode, slot] - at_cost) / (speed[mode] - at_speed)
            if ratio <= lowest + SAME * abs(lowest) and (best == IDLE or speed[mode] > speed[best]):
                best = mode
    return best, lowest


@compiled
def _climbed(
    cost: FloatArray, speed: FloatArray, room: BoolArray, must: BoolArray
) -> tuple[bool, IntArray, IntArray, IntArray, FloatArray, FloatArray]:
    """What a ``Climb`` holds, slot by slot, and whether there is one."""
    most = cost.shape[0] * cost.shape[1]
    base, slots, modes = np.full(len(must), IDLE), np.empty(most, dtype=np.int64), np.empty(most, dtype=np.int64)
    gains, ratios, count, is_able = np.empty(most), np.empty(most), 0, True
    for slot in range(len(must)):
        at_cost, at_speed, before = 0.0, 0.0, -np.inf
        if must[slot]:
            base[slot] = _cheapest(cost, speed, room, slot)
            if base[slot] == IDLE:
                is_able = False
                break
            at_cost, at_speed = cost[base[slot], slot], speed[base[slot]]
        while True:
            mode, ratio = _next(cost, speed, room, slot, at_cost, at_speed)
            if mode == IDLE:
                break
            before = max(before, ratio)
            slots[count], modes[count], gains[count], ratios[count] = slot, mode, speed[mode] - at_speed, before
            count += 1
            at_cost, at_speed = cost[mode, slot], speed[mode]
    return is_able, base, slots[:count], modes[:count], gains[:count], ratios[:count]
