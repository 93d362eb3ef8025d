"""Jobs that wait for others, played to the end under every policy and compared with an exact search."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowtide.scheduler.decide.registry import policy_names
from lowtide.scheduler.model.job import JobId
from tests.small import Small, can_all_be_in_time, late, played

prices = st.lists(st.integers(0, 6).map(lambda n: 50.0 * n), min_size=3, max_size=20)


@st.composite
def workflows(draw: st.DrawFn, *, widest: int = 2, most: int = 6) -> tuple[Small, ...]:
    """Jobs that wait for up to two of those before them; each has time for all that lies before it, and some slack."""
    found: list[Small] = []
    for number in range(draw(st.integers(2, most))):
        length, slack = draw(st.integers(1, 4)), draw(st.integers(0, 10))
        after = draw(st.sets(st.integers(0, number - 1), max_size=2)) if number else set()
        end = max([0, *(soonest(found, before) for before in after)]) + length + slack
        found.append(Small(length, end, draw(st.integers(1, widest)), draw(st.booleans()), after=tuple(sorted(after))))
    return tuple(found)


def soonest(jobs: list[Small], number: int) -> int:
    """The slot at whose begin a job could have ended at the soonest with room for all."""
    job = jobs[number]
    return job.length + max((soonest(jobs, before) for before in job.after), default=0)


@pytest.mark.parametrize("policy", policy_names())
@given(jobs=workflows(), prices=prices, gpus=st.integers(2, 4))
def test_inv24_under_every_policy_nothing_begins_before_what_it_waits_for_has_ended(
    policy: str, jobs: tuple[Small, ...], prices: list[float], gpus: int
) -> None:
    courses = played(jobs, gpus, prices, policy)
    for number, job in enumerate(jobs):
        begin = courses[JobId(f"job-{number}")].stretches[0][1]
        for before in job.after:
            ended = courses[JobId(f"job-{before}")].finished_at
            assert ended is not None
            assert ended <= begin


@pytest.mark.parametrize("policy", policy_names())
@given(jobs=workflows(), prices=prices)
def test_inv10_with_room_for_all_every_chain_is_in_time(
    policy: str, jobs: tuple[Small, ...], prices: list[float]
) -> None:
    assert not late(played(jobs, sum(job.gpus for job in jobs), prices, policy))


@settings(deadline=None)
@given(jobs=workflows(widest=1, most=5), prices=prices)
def test_inv10_on_one_gpu_balanced_is_in_time_wherever_a_search_through_all_orders_is(
    jobs: tuple[Small, ...], prices: list[float]
) -> None:
    free = tuple(Small(job.length, job.end, 1, may_pause=True, after=job.after) for job in jobs)
    if can_all_be_in_time(free, 1):
        assert not late(played(free, 1, prices, "balanced"))
