"""Deadlines are met wherever a search through all schedules of a small queue finds a way.

That holds for work that may pause on one GPU, for units of one slot, and for two jobs of any kind. Beyond that one job
after the other is not always enough: three jobs of 3, 3 and 2 slots that must end by the fourth fill two GPUs only when
one of them is split around the others.
"""

from hypothesis import given
from hypothesis import strategies as st

from tests.small import Small, can_all_be_in_time, late, played

prices = st.lists(st.integers(1, 6).map(lambda n: 50.0 * n), min_size=3, max_size=11)


@st.composite
def queues(draw: st.DrawFn, *, longest: int, may_pause: st.SearchStrategy[bool], most: int = 5) -> tuple[Small, ...]:
    """Jobs for one GPU each."""
    found = []
    for _ in range(draw(st.integers(1, most))):
        length = draw(st.integers(1, longest))
        found.append(Small(length, length + draw(st.integers(0, 8)), may_pause=draw(may_pause)))
    return tuple(found)


@given(queues(longest=4, may_pause=st.just(True)), prices)
def test_inv_10_work_that_may_pause_is_in_time_on_one_gpu_wherever_any_schedule_is(
    jobs: tuple[Small, ...], prices: list[float]
) -> None:
    if can_all_be_in_time(jobs, 1):
        assert not late(played(jobs, 1, prices, "balanced"))


@given(queues(longest=1, may_pause=st.booleans(), most=8), prices, st.integers(1, 3))
def test_inv_10_work_of_one_slot_each_is_in_time_on_several_gpus_wherever_any_schedule_is(
    jobs: tuple[Small, ...], prices: list[float], gpus: int
) -> None:
    if can_all_be_in_time(jobs, gpus):
        assert not late(played(jobs, gpus, prices, "balanced"))


@given(queues(longest=4, may_pause=st.booleans(), most=2), prices, st.integers(1, 2))
def test_inv_10_two_jobs_of_any_kind_are_in_time_wherever_any_schedule_is(
    jobs: tuple[Small, ...], prices: list[float], gpus: int
) -> None:
    if can_all_be_in_time(jobs, gpus):
        assert not late(played(jobs, gpus, prices, "balanced"))


def test_the_search_finds_what_needs_a_pause_and_nothing_beyond() -> None:
    needs_a_pause = (Small(3, 4), Small(1, 2, may_pause=False))
    assert can_all_be_in_time(needs_a_pause, 1)
    assert not can_all_be_in_time((Small(3, 3), Small(1, 2)), 1)
    assert not can_all_be_in_time((Small(2, 2, gpus=2),), 1)
    assert can_all_be_in_time((Small(2, 3), Small(2, 3), Small(2, 3)), 2)
    assert not can_all_be_in_time((Small(2, 3, may_pause=False),) * 3, 2)
