"""Safety sentences about the plan of every installed policy, on random problems such as decide could pose."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from lowtide.policies.holding import ways, worked_s
from lowtide.policies.problem import EPSILON_S, Choice, IntArray, Placement, Problem, Request
from lowtide.scheduler.decide.registry import policy_for, policy_names
from tests.drawn import held, problems, runs

MANY = settings(max_examples=2 * settings().max_examples)
"""Ten thousand problems in the long profile."""
MOMENT_S = 1e-3
JOINT = tuple(name for name in policy_names() if getattr(policy_for(name), "is_joint", False))
SINGLE = tuple(name for name in policy_names() if name not in JOINT)


def going_on(request: Request) -> Placement:
    """A running job that keeps what it has until its end."""
    assert request.running_at is not None
    return Placement(request.running_at, ((0.0, request.work_s),), 0.0)


def cannot_help(problem: Problem, request: Request, placed: Placement, *, is_given_back: bool) -> IntArray:
    """What a running job goes on to hold without a pause; a policy that plans one by one sells the current slot too."""
    if request.running_at is None:
        return held(problem, request, Placement(0, (), 0.0))
    first = placed.spans[0] if placed.start_s <= EPSILON_S else (0.0, 0.0)
    spans = () if is_given_back and placed.start_s > EPSILON_S else (first,)
    return held(problem, request, Placement(request.running_at, spans, 0.0))


def free(problem: Problem, *, is_given_back: bool) -> IntArray:
    """[site, GPUs, CPUs or mW, slot] that a plan may hold, its running jobs included."""
    timeline = problem.timeline
    free_mw = np.zeros_like(timeline.free_gpus) if timeline.common is None else timeline.common.free_mw
    found = np.stack((timeline.free_gpus, timeline.free_cpus, free_mw), axis=1)
    for request in problem.requests:
        if request.running_at is not None and not is_given_back:
            found = found + held(problem, request, going_on(request))
    return found


def assert_fits(problem: Problem, choices: tuple[Choice, ...], *, is_given_back: bool) -> None:
    """No slot holds more than there is (INV-07), but for what ran before a site shrank and simply goes on."""
    room = free(problem, is_given_back=is_given_back)
    total, kept = np.zeros_like(room), np.zeros_like(room)
    for request, choice in zip(problem.requests, choices, strict=True):
        if choice.chosen is not None:
            mine = cannot_help(problem, request, choice.chosen, is_given_back=is_given_back)
            kept += mine
            total += np.maximum(mine, held(problem, request, choice.chosen))
    assert not ((total > room) & (total > kept)).any()


def assert_whole(request: Request, placed: Placement) -> None:
    """All of the work, with what each interruption costs, in order, at a site that is allowed and not too soon."""
    assert placed.site in request.sites
    assert placed.start_s >= request.release_s - EPSILON_S
    assert all(0 <= start_s < end_s < math.inf for start_s, end_s in placed.spans)
    assert all(after[0] >= before[1] - EPSILON_S for before, after in pairwise(placed.spans))
    if placed.modes:
        assert worked_s(request, placed.spans, ways(request, placed)) >= request.work_s - MOMENT_S
        return
    is_kept = request.running_at is not None and placed.start_s <= EPSILON_S
    lost_s = (len(runs(placed)) - 1) * request.switch_s + (0.0 if is_kept else request.resume_s)
    assert math.isclose(sum(b - a for a, b in placed.spans), request.work_s + lost_s, abs_tol=MOMENT_S)


def assert_calm(request: Request, placed: Placement) -> None:
    """No more interruptions than are left, and none before the least stretch is over (INV-13)."""
    found = runs(placed)
    is_paused = request.running_at is not None and placed.start_s > EPSILON_S
    assert len(found) - 1 + is_paused <= request.suspensions_left
    if is_paused:
        assert request.hold_s == 0
    for n, (start_s, end_s) in enumerate(found[:-1]):
        least_s = request.hold_s if request.running_at is not None and n == 0 and not is_paused else request.min_run_s
        assert end_s - start_s >= least_s - EPSILON_S


def assert_in_time(problem: Problem, request: Request, choice: Choice) -> None:
    """What moved for carbon begins and ends in time, and rests on a forecast (INV-10, INV-11)."""
    placed, baseline = choice.chosen, choice.baseline
    assert placed is not None
    assert baseline is not None
    assert placed.start_s <= request.latest_start_s + request.switch_s + EPSILON_S
    assert placed.end_s <= max(request.must_end_s, baseline.end_s) + EPSILON_S
    assert problem.prices.may_shift[placed.site]
    assert placed.end_s <= problem.prices.known_until_s[placed.site] + EPSILON_S
    assert placed.cost_g < baseline.cost_g


def is_delayed(request: Request, choice: Choice) -> bool:
    """Whether carbon makes a job end later, not the lack of room and nobody more urgent."""
    placed, baseline = choice.chosen, choice.baseline
    if placed is None or baseline is None or choice.gives_way or request.is_due:
        return False
    return placed.end_s > baseline.end_s + EPSILON_S


@pytest.mark.parametrize("names", [JOINT, SINGLE], ids=["joint", "one by one"])
@given(data=st.data())
@MANY
def test_inv_07_10_and_13_every_policy_makes_plans_that_can_be_followed(
    names: tuple[str, ...], data: st.DataObject
) -> None:
    problem = data.draw(problems(is_joint=names is JOINT))
    before = problem.timeline.copy()
    for name in names:
        note(name)
        choices = policy_for(name).plan(problem)
        assert (before.free_gpus == problem.timeline.free_gpus).all()
        assert (before.free_cpus == problem.timeline.free_cpus).all()
        if before.common is not None and problem.timeline.common is not None:
            assert (before.common.free_mw == problem.timeline.common.free_mw).all()
        assert_can_be_followed(problem, choices, is_given_back=names is JOINT)


def assert_can_be_followed(problem: Problem, choices: tuple[Choice, ...], *, is_given_back: bool) -> None:
    assert_fits(problem, choices, is_given_back=is_given_back)
    for request, choice in zip(problem.requests, choices, strict=True):
        assert choice.chosen is not None or choice.baseline is None
        if choice.chosen is None:
            continue
        assert_whole(request, choice.chosen)
        assert_calm(request, choice.chosen)
        if is_delayed(request, choice):
            assert_in_time(problem, request, choice)
