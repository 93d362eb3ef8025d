"""Steps along the hulls, cheapest first, do the work for as little as the linear program does."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from lowtide.policies.fill import Field, Fill, filled, pieces
from lowtide.policies.hull import IDLE
from lowtide.scheduler.model.mode import Mode

FEW = settings(max_examples=150, deadline=None)


@st.composite
def fields(draw: st.DrawFn) -> Field:
    slots, count = draw(st.integers(1, 8)), draw(st.integers(1, 5))
    figure = st.integers(1, 400).map(lambda n: n / 10)
    modes = tuple(Mode(gpus, 0, draw(figure), draw(figure)) for gpus in range(1, count + 1))
    width_s = np.array(draw(st.lists(st.integers(1, 20).map(lambda n: 60.0 * n), min_size=slots, max_size=slots)))
    price = np.array(draw(st.lists(st.integers(0, 500).map(float), min_size=slots, max_size=slots)))
    free = np.array(draw(st.lists(st.integers(0, count), min_size=slots, max_size=slots)))
    room = np.array([[mode.gpus <= n for n in free] for mode in modes])
    begin_s = np.concatenate(([0.0], np.cumsum(width_s)[:-1]))
    return Field.priced(modes, begin_s, width_s, price, room)


def optimum(field: Field, work_s: float, must: np.ndarray) -> float | None:
    """The linear program as such: a variable per mode and slot; None where it has no solution."""
    each = [(m, s) for m in range(len(field.modes)) for s in range(field.count) if field.room[m, s]]
    if not each:
        return 0.0 if work_s <= 0 and not must.any() else None
    cost = [field.cost[m, s] for m, s in each]
    speed = [-field.modes[m].speed for m, _ in each]
    of_slot = [[1.0 if s == slot else 0.0 for _, s in each] for slot in range(field.count)]
    full = [row for row, wanted in zip(of_slot, must, strict=True) if wanted]
    found = linprog(
        cost,
        A_ub=[speed, *of_slot],
        b_ub=[-work_s, *field.width_s],
        A_eq=full or None,
        b_eq=field.width_s[must] if full else None,
        method="highs",
    )
    return float(found.fun) if found.status == 0 else None


def cost(field: Field, found: Fill) -> float:
    total = 0.0
    for begin_s, end_s, mode in pieces(field, found):
        inside = np.clip(np.minimum(end_s, field.begin_s + field.width_s) - np.maximum(begin_s, field.begin_s), 0, None)
        total += float(inside @ field.cost[mode])
    return total


@given(fields(), st.floats(0.01, 1.1))
@FEW
def test_it_costs_what_the_linear_program_costs_and_splits_one_slot_at_most(field: Field, part: float) -> None:
    most = sum(
        max((m.speed for m, room in zip(field.modes, field.room[:, s], strict=True) if room), default=0.0) * width
        for s, width in enumerate(field.width_s)
    )
    work_s, free = max(part * most, 1.0), np.zeros(field.count, dtype=np.bool_)
    found, best = filled(field, work_s, free), optimum(field, work_s, free)
    assert (found is None) == (best is None)
    if found is None or best is None:
        return
    assert math.isclose(cost(field, found), best, rel_tol=1e-6, abs_tol=1e-3)
    done_s = sum((end - begin) * field.modes[mode].speed for begin, end, mode in pieces(field, found))
    assert math.isclose(done_s, work_s, rel_tol=1e-9, abs_tol=1e-3)


@given(fields(), st.floats(0.01, 1.0), st.data())
@FEW
def test_slots_that_must_run_run_and_the_rest_is_as_cheap_as_can_be(
    field: Field, part: float, data: st.DataObject
) -> None:
    must = np.array(data.draw(st.lists(st.booleans(), min_size=field.count, max_size=field.count)))
    open_slots = field.room.any(axis=0)
    must &= open_slots
    powers = np.where(field.room, np.array([[m.power_w for m in field.modes]]).T, math.inf)
    least = sum(
        max(m.speed for m, p in zip(field.modes, powers[:, s], strict=True) if p == powers[:, s].min())
        * field.width_s[s]
        for s in np.flatnonzero(must)
    )
    work_s = least + part * float(field.width_s @ np.where(open_slots, 1.0, 0.0)) / 10 + 1.0
    found, best = filled(field, work_s, must), optimum(field, work_s, must)
    assert (found is None) == (best is None)
    if found is None or best is None:
        return
    assert math.isclose(cost(field, found), best, rel_tol=1e-6, abs_tol=1e-3)
    assert all(found.mode[s] != IDLE for s in np.flatnonzero(must))


@given(fields(), st.floats(0.05, 0.95))
@FEW
def test_pieces_are_in_order_and_run_only_where_there_is_room(field: Field, part: float) -> None:
    found = filled(field, part * float(field.width_s.sum()) / 10, np.zeros(field.count, dtype=np.bool_))
    if found is None:
        return
    before = 0.0
    for begin_s, end_s, mode in pieces(field, found):
        assert before <= begin_s < end_s
        before = end_s
        for slot in range(field.count):
            if begin_s < field.begin_s[slot] + field.width_s[slot] and end_s > field.begin_s[slot]:
                assert field.room[mode, slot]
