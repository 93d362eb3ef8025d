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
    fast = np.argsort(-speed, kind="stable")  # of equals the first is found, and that is the faster
    cost, room, speed = np.where(room, cost, np.inf)[fast], room[fast], speed[fast]
    if (must & ~room.any(axis=0)).any():
        return None
    slots, least = np.arange(len(must)), cost.argmin(axis=0)
    at_cost, at_speed = np.where(must, cost[least, slots], 0.0), np.where(must, speed[least], 0.0)
    base, before = np.where(must, fast[least], IDLE), np.full(len(must), -np.inf)
    steps: list[tuple[IntArray, IntArray, FloatArray, FloatArray]] = []
    while True:
        gain = speed[:, None] - at_speed
        ratio = np.where(gain > 0, (cost - at_cost) / np.where(gain > 0, gain, 1.0), np.inf)
        lowest = ratio.min(axis=0)
        going = np.flatnonzero(lowest < np.inf)
        if not len(going):
            return _joined(base, steps)
        lowest = lowest[going]
        to = (ratio[:, going] <= lowest + SAME * np.abs(lowest)).argmax(axis=0)
        before[going] = np.maximum(before[going], lowest)
        steps.append((going, fast[to], gain[to, going], before[going]))
        at_cost[going], at_speed[going] = cost[to, going], speed[to]


def _joined(base: IntArray, steps: list[tuple[IntArray, IntArray, FloatArray, FloatArray]]) -> Climb:
    if not steps:
        none, nothing = np.zeros(0, dtype=np.int64), np.zeros(0)
        return Climb(base, none, none, nothing, nothing)
    slot, mode, gain, ratio = (np.concatenate(parts) for parts in zip(*steps, strict=True))
    return Climb(base, slot, mode, gain, ratio)
