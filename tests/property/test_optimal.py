"""The exact policy beside a search through all schedules, and beside the policy that it starts from."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowtide.policies.balanced import Balanced
from lowtide.policies.beside import late_in_all_s
from lowtide.policies.optimal import Optimal
from lowtide.policies.problem import Choice, Problem
from tests.drawn import problems
from tests.problems import a_problem, a_request
from tests.small import Small, can_all_be_in_time, late, least_cost, played

EXACT = Optimal(gap=0.0, most_nodes=100_000, most_searched=100_000, reserve=0.0, margin_h=0.0)
HOURS = 0.25
prices = st.lists(st.integers(1, 6).map(lambda n: 50.0 * n), min_size=12, max_size=12)


@st.composite
def queues(draw: st.DrawFn, *, may_pause: st.SearchStrategy[bool]) -> tuple[Small, ...]:
    """Up to four jobs of one or two GPUs."""
    found = []
    for _ in range(draw(st.integers(1, 4))):
        length, gpus = draw(st.integers(1, 4)), draw(st.integers(1, 2))
        end = draw(st.integers(length, 12))
        found.append(Small(length, end, gpus, may_pause=draw(may_pause)))
    return tuple(found)


def problem_of(jobs: tuple[Small, ...], gpus: int, prices: list[float]) -> Problem:
    """The same jobs as requests, the most urgent first."""
    requests = [
        a_request(
            f"job-{n}",
            hours=job.length * HOURS,
            window_h=job.end * HOURS,
            gpus=job.gpus,
            cpus=0,
            power_w=300.0 * job.gpus,
            suspensions_left=1000 if job.may_pause else 0,
        )
        for n, job in enumerate(jobs)
    ]
    return a_problem([prices], *sorted(requests, key=lambda r: (r.latest_start_s, r.job_id)), gpus=gpus)


def grams(choices: tuple[Choice, ...]) -> float:
    """What a plan emits that places everybody."""
    return sum(choice.chosen.cost_g for choice in choices if choice.chosen is not None)


@given(queues(may_pause=st.booleans()), prices, st.integers(2, 3))
def test_inv_10_everybody_is_in_time_wherever_any_schedule_is_and_emits_the_least_of_all_schedules(
    jobs: tuple[Small, ...], prices: list[float], gpus: int
) -> None:
    problem = problem_of(jobs, gpus, prices)
    if can_all_be_in_time(jobs, gpus):
        choices = EXACT.plan(problem)
        assert late_in_all_s(problem, choices) == 0
        assert grams(choices) == pytest.approx(least_cost(jobs, gpus, prices) * 0.3 * HOURS, rel=1e-6)


@given(queues(may_pause=st.booleans()), prices, st.integers(2, 3))
def test_inv_10_everybody_ends_in_time_in_play_too_wherever_any_schedule_does(
    jobs: tuple[Small, ...], prices: list[float], gpus: int
) -> None:
    if can_all_be_in_time(jobs, gpus):
        assert not late(played(jobs, gpus, prices, "optimal"))


@given(problems(is_joint=True))
@settings(max_examples=settings().max_examples // 2)
def test_no_plan_is_later_than_that_of_balanced_or_emits_more(problem: Problem) -> None:
    usual, found = Balanced().plan(problem), Optimal().plan(problem)
    late_s = late_in_all_s(problem, usual), late_in_all_s(problem, found)
    assert late_s[1] <= late_s[0] + 1e-3
    known = [[c.chosen.cost_g for c in plan if c.chosen and c.chosen.cost_g > 0] for plan in (usual, found)]
    assert late_s[1] < late_s[0] or sum(known[1]) <= sum(known[0]) * (1 + 1e-9)


@given(problems(is_joint=True))
@settings(max_examples=settings().max_examples // 5)
def test_inv_14_a_problem_has_one_plan(problem: Problem) -> None:
    assert Optimal().plan(problem) == Optimal().plan(replace(problem, timeline=problem.timeline.copy()))
