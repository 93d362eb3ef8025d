"""The capacity timeline sells whole slots and never the same one twice."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowtide.policies.problem import SlotGrid
from lowtide.policies.timeline import Common, Need, Timeline, milliwatts
from tests.builders import NOON


def a_timeline(*, gpus: int = 4, cpus: int = 8, slots: int = 8, offset_s: float = 0.0) -> Timeline:
    grid = SlotGrid.covering(NOON + timedelta(seconds=offset_s), 900.0, slots * 900.0)
    free = np.ones((2, grid.count), dtype=np.int64)
    return Timeline(free * gpus, free * cpus, grid.slot_at, grid.slots_until)


def test_a_sale_takes_every_slot_that_the_run_touches() -> None:
    timeline = a_timeline()
    timeline.sell(0, ((900.0, 2000.0),), 3, 2)
    assert timeline.free_gpus[0, :5].tolist() == [4, 1, 1, 4, 4]
    assert timeline.free_cpus[0, :5].tolist() == [8, 6, 6, 8, 8]
    assert timeline.free_gpus[1].min() == 4


def test_a_run_that_ends_on_an_edge_leaves_the_next_slot_free() -> None:
    timeline = a_timeline()
    timeline.sell(0, ((0.0, 900.0),), 4, 1)
    assert timeline.free_gpus[0, :2].tolist() == [0, 4]


def test_giving_back_undoes_a_sale() -> None:
    timeline = a_timeline(offset_s=100.0)
    timeline.sell(1, ((0.0, 3000.0), (4000.0, 5000.0)), 2, 2)
    timeline.give_back(1, ((0.0, 3000.0), (4000.0, 5000.0)), 2, 2)
    assert (timeline.free_gpus == 4).all()
    assert (timeline.free_cpus == 8).all()


@pytest.mark.parametrize(("gpus", "cpus", "fits"), [(2, 1, True), (3, 1, False), (1, 7, True), (1, 8, False)])
def test_a_span_fits_only_where_gpus_and_cpus_are_left(gpus: int, cpus: int, fits: bool) -> None:  # noqa: FBT001 - a table
    timeline = a_timeline()
    timeline.sell(0, ((1800.0, 2700.0),), 2, 1)
    assert timeline.fits(0, ((0.0, 3600.0),), gpus, cpus) is fits


def test_a_copy_is_sold_on_its_own() -> None:
    timeline = a_timeline()
    timeline.copy().sell(0, ((0.0, 900.0),), 4, 4)
    assert timeline.free_gpus.min() == 4


def test_slots_are_aligned_to_the_epoch_and_the_current_one_begins_now() -> None:
    grid = SlotGrid.covering(NOON + timedelta(minutes=5), 900.0, 3600.0)
    assert grid.edges_s[:3].tolist() == [0.0, 600.0, 1500.0]
    assert grid.at(float(grid.edges_s[1])) == NOON + timedelta(minutes=15)
    assert [grid.slot_at(s) for s in (0.0, 599.9, 600.0, 1500.0)] == [0, 0, 1, 2]
    assert [grid.slots_until(s) for s in (0.0, 600.0, 601.0, 1500.0)] == [1, 1, 2, 2]


def test_a_now_on_an_edge_has_a_whole_first_slot() -> None:
    grid = SlotGrid.covering(NOON, 900.0, 3600.0)
    assert grid.first_s == 900.0
    assert grid.count == 4


def test_stretches_of_one_job_hold_their_own_need_and_a_slot_that_two_touch_the_higher_one() -> None:
    timeline = a_timeline()
    spans, needs = ((0.0, 1200.0), (1200.0, 2700.0)), ((3, 1, 0.0), (2, 5, 0.0))
    assert timeline.fits_each(0, spans, needs)
    timeline.sell_each(0, spans, needs)
    assert timeline.free_gpus[0, :4].tolist() == [1, 1, 2, 4]
    assert timeline.free_cpus[0, :4].tolist() == [7, 3, 3, 8]
    assert not timeline.fits_each(0, ((1800.0, 2000.0),), ((3, 1, 0.0),))
    assert timeline.fits_each(0, ((1800.0, 2000.0),), ((2, 3, 0.0),))


def with_power(watts: float) -> Timeline:
    """Two rows with the same GPUs and CPUs, and a third with the same power budget."""
    free_gpus, free_cpus = np.full((3, 9), 4), np.full((3, 9), 8)
    both, alone, whole = np.array([0, 1]), np.array([2]), np.arange(3)
    free_mw = np.full((3, 9), milliwatts(watts))
    common = Common((both, both, alone), (whole, whole, whole), free_mw)
    grid = SlotGrid.covering(NOON, 900.0, 7200.0)
    return Timeline(free_gpus, free_cpus, grid.slot_at, grid.slots_until, common)


def test_rows_of_one_capacity_sell_it_once_and_all_rows_of_a_budget_its_power() -> None:
    timeline = with_power(1000.0)
    timeline.sell(0, ((0.0, 900.0),), 3, 1, 700.0)
    assert timeline.free_gpus[:, 0].tolist() == [1, 1, 4]
    assert not timeline.fits(2, ((0.0, 900.0),), 1, 1, 301.0)
    assert timeline.fits(2, ((0.0, 900.0),), 1, 1, 300.0)
    assert timeline.has_room(1, 1, 300.5)[:, :2].tolist() == [[False, True]] * 3


def test_inv_07_what_is_given_back_is_exactly_what_was_sold() -> None:
    timeline, before = with_power(1000.0), with_power(1000.0)
    for watts in (0.1, 0.2, 333.3333):
        timeline.sell(1, ((0.0, 1000.0), (2000.0, 3000.0)), 1, 1, watts)
    for watts in (333.3333, 0.2, 0.1):
        timeline.give_back(1, ((0.0, 1000.0), (2000.0, 3000.0)), 1, 1, watts)
    assert timeline.common is not None
    assert before.common is not None
    assert (timeline.free_gpus == before.free_gpus).all()
    assert (timeline.common.free_mw == before.common.free_mw).all()


def test_a_copy_has_its_own_power() -> None:
    timeline = with_power(1000.0)
    timeline.copy().sell(0, ((0.0, 900.0),), 0, 0, 1000.0)
    assert timeline.fits(0, ((0.0, 900.0),), 0, 0, 1000.0)


@given(
    edges=st.lists(st.integers(0, 40), min_size=2, max_size=8, unique=True).map(sorted),
    needs=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5), st.just(0.0)), min_size=4, max_size=4),
    alike=st.booleans(),
    taken=st.integers(0, 9),
)
def test_what_is_sold_where_it_is_free_is_what_each_stretch_needs(
    edges: list[int],
    needs: list[Need],
    alike: bool,  # noqa: FBT001 - drawn
    taken: int,
) -> None:
    spans = tuple((edges[i] * 300.0, edges[i + 1] * 300.0) for i in range(0, len(edges) - 1, 2))
    wanted = tuple(needs[:1] * len(spans) if alike else needs[: len(spans)])
    ours, theirs = a_timeline(), a_timeline()
    for timeline in (ours, theirs):
        timeline.sell(0, ((taken * 900.0, (taken + 1) * 900.0),), 2, 1)
    free = theirs.fits_each(0, spans, wanted)
    if free:
        theirs.sell_each(0, spans, wanted)
    assert ours.sell_where_free(0, spans, wanted) is free
    assert (ours.free_gpus == theirs.free_gpus).all()
    assert (ours.free_cpus == theirs.free_cpus).all()
