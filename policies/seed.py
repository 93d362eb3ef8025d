"""Slots in which one mode alone would do a job's work within its bounds: where to begin when all modes may mix.

The cheapest stretches for one width are good stretches for several; within them the modes are then chosen slot by slot.
"""

import numpy as np

from lowtide.policies.fill import Field
from lowtide.policies.problem import EPSILON_S, BoolArray, Request
from lowtide.policies.stretches import Asked, stretches_of


def seeds(request: Request, field: Field, mode: int, *, keep_first: bool) -> list[BoolArray]:
    """[slot] flags each: the cheapest window of a mode and, where the job may pause, its cheapest stretches."""
    found = [_window(request, field, mode, keep_first=keep_first)]
    if request.suspensions_left:
        found.append(_stretches(request, field, mode, keep_first=keep_first))
    return [slots for slots in found if slots is not None]


def _length_s(request: Request, field: Field, mode: int) -> float:
    return request.work_s / field.modes[mode].speed + request.resume_s


def _window(request: Request, field: Field, mode: int, *, keep_first: bool) -> BoolArray | None:
    edges_s = np.append(field.begin_s, field.begin_s[-1] + field.width_s[-1])
    ends_s = field.begin_s + _length_s(request, field, mode)
    last = np.searchsorted(edges_s, ends_s - EPSILON_S)  # exclusive; beyond the edges where it ends too late
    last = np.minimum(last, field.count)
    blocked = np.concatenate(([0], np.cumsum(~field.room[mode])))
    integral = np.concatenate(([0.0], np.cumsum(field.cost[mode] * field.width_s)))
    allowed = (blocked[last] == blocked[:-1]) & (ends_s <= edges_s[-1] + EPSILON_S)
    allowed &= field.begin_s <= request.latest_start_s + EPSILON_S
    allowed[1:] &= not keep_first
    if not allowed.any():
        return None
    cost = np.where(allowed, np.interp(ends_s, edges_s, integral) - integral[:-1], np.inf)
    first = int(cost.argmin())
    flags = np.zeros(field.count, dtype=np.bool_)
    flags[first : last[first]] = True
    return flags


def _stretches(request: Request, field: Field, mode: int, *, keep_first: bool) -> BoolArray | None:
    room, length_s = field.room[mode], _length_s(request, field, mode)
    if float(field.width_s[room].sum()) < length_s or (keep_first and not room[0]):
        return None
    asked = Asked(
        need_s=length_s,
        switch_s=request.switch_s,
        hold=int(keep_first),
        first_run_s=request.min_run_s,
        min_run_s=request.min_run_s,
        most=request.suspensions_left + 1,
    )
    flags: BoolArray = stretches_of(field.cost[mode], field.width_s, room, asked)
    return flags if flags.any() else None
