"""What room is left for later costs nobody the time that he has."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from lowtide.policies.balanced import Balanced
from lowtide.policies.problem import EPSILON_S, Problem
from tests.drawn import problems


def late_s(problem: Problem, policy: Balanced) -> float:
    """How much time is late in a plan, weighted by GPUs; a job without a place is late by its length."""
    total_s = 0.0
    for request, choice in zip(problem.requests, policy.plan(problem), strict=True):
        late = request.length_s if choice.chosen is None else choice.chosen.end_s - request.must_end_s
        total_s += max(1, request.gpus) * (late if late > EPSILON_S else 0.0)
    return total_s


@given(problems(is_joint=True), st.sampled_from([1.0, 6.0, 24.0]))
def test_inv_10_a_margin_has_nobody_late_who_would_not_be_without(problem: Problem, margin_h: float) -> None:
    busy = replace(problem, inflow_gpus=(30.0,) * len(problem.timeline.free_gpus))
    assert late_s(busy, Balanced(margin_h=margin_h)) <= late_s(busy, Balanced(margin_h=0.0)) + EPSILON_S
