"""Safety sentences about policies that choose among modes, on random small problems."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from lowtide.policies.elastic import Elastic
from lowtide.policies.holding import placed_in, ways, worked_s
from lowtide.policies.power_cap import PowerCap
from lowtide.policies.problem import Choice, Placement, Policy, Problem, Request
from lowtide.scheduler.model.mode import Mode
from tests.builders import SLOT_S
from tests.problems import a_problem, a_request

FEW = settings(max_examples=120, deadline=None)
each_policy = pytest.mark.parametrize(
    "policy", [Elastic(), PowerCap(max_slowdown=0.5)], ids=lambda policy: type(policy).__name__
)
prices = st.lists(st.integers(0, 500).map(float), min_size=16, max_size=40)


@st.composite
def requests(draw: st.DrawFn, name: str = "job") -> Request:
    gpus = draw(st.integers(1, 2))
    request = a_request(
        name,
        hours=draw(st.floats(0.1, 3.0)),
        window_h=draw(st.floats(3.1, 9.0)),
        gpus=gpus,
        power_w=300.0 * gpus,
        release_s=draw(st.sampled_from([0.0, 0.0, 500.0, 2 * SLOT_S])),
        resume_s=draw(st.sampled_from([0.0, 60.0])),
        switch_s=draw(st.sampled_from([0.0, 120.0, 1200.0])),
        suspensions_left=draw(st.integers(0, 3)),
        min_run_s=draw(st.sampled_from([0.0, 1800.0])),
    )
    ratio = st.integers(2, 40).map(lambda n: n / 10)
    others = st.builds(
        lambda wide, speed, draws, limit: Mode(wide, 1, speed, draws * request.power_w, limit),
        st.one_of(st.just(gpus), st.integers(1, 6)),
        ratio,
        ratio,
        st.sampled_from([1.0, 0.8, 0.6]),
    )
    return replace(request, modes=(request.declared, *draw(st.lists(others, max_size=4))))


@st.composite
def problems(draw: st.DrawFn, *, most: int = 6) -> Problem:
    jobs = [draw(requests(f"job-{n}")) for n in range(draw(st.integers(1, most)))]
    return a_problem([draw(prices)], *jobs, gpus=draw(st.integers(2, 8)), errors=draw(st.sampled_from([0.0, 20.0])))


def stretches(request: Request, placed: Placement) -> list[float]:
    """How long each width is held without a pause: as many attempts as it takes."""
    found: list[float] = []
    before: tuple[float, Mode] | None = None
    for (begin_s, end_s), way in zip(placed.spans, ways(request, placed), strict=True):
        if before is not None and begin_s - before[0] <= 1e-6 and before[1].gpus == way.gpus:
            found[-1] += end_s - begin_s
        else:
            found.append(end_s - begin_s)
        before = end_s, way
    return found


def placed_by(policy: Policy, problem: Problem) -> list[tuple[Request, Choice, Placement]]:
    """What was placed at all."""
    chosen = zip(problem.requests, policy.plan(problem), strict=True)
    return [(request, choice, choice.chosen) for request, choice in chosen if choice.chosen is not None]


@each_policy
@given(problem=problems())
@FEW
def test_inv_07_no_slot_holds_more_than_there_is(policy: Policy, problem: Problem) -> None:
    grid = problem.grid
    held = np.zeros(grid.count, dtype=np.int64)
    for request, _, placed in placed_by(policy, problem):
        mine = np.zeros_like(held)
        for (begin_s, end_s), way in zip(placed.spans, ways(request, placed), strict=True):
            touched = slice(grid.slot_at(begin_s), grid.slots_until(end_s))
            mine[touched] = np.maximum(mine[touched], way.gpus)
        held += mine
    assert (held <= problem.timeline.free_gpus[0]).all()


@each_policy
@given(problem=problems())
@FEW
def test_inv_10_a_shift_does_all_the_work_in_its_window(policy: Policy, problem: Problem) -> None:
    for request, choice, placed in placed_by(policy, problem):
        if placed is choice.baseline:
            continue
        done_s = worked_s(request, placed.spans, ways(request, placed))
        assert done_s >= request.work_s - 1e-3
        assert not placed.modes or done_s <= request.work_s + 1e-3
        assert request.release_s <= placed.start_s <= request.latest_start_s + 1e-6
        assert placed.end_s <= request.must_end_s + 1e-6
        assert all(a[0] < a[1] <= b[0] + 1e-6 for a, b in pairwise([*placed.spans, (math.inf, math.inf)]))


@given(problem=problems())
@FEW
def test_inv_10_who_runs_slower_than_declared_would_be_in_time_if_that_never_changed(problem: Problem) -> None:
    for request, _, placed in placed_by(Elastic(), problem):
        left_s = request.work_s
        for (begin_s, end_s), way in zip(placed.spans, ways(request, placed), strict=True):
            assert way.speed >= 1 or begin_s + left_s / way.speed <= request.must_end_s + 1e-3
            left_s -= way.speed * (end_s - begin_s)


@each_policy
@given(problem=problems())
@FEW
def test_inv_13_pauses_and_changes_of_width_are_bounded_and_every_shift_gains(policy: Policy, problem: Problem) -> None:
    for request, choice, placed in placed_by(policy, problem):
        found = stretches(request, placed)
        assert len(found) <= request.suspensions_left + 1
        assert len(found) == 1 or not placed.modes or min(found) >= request.min_run_s - 1e-6
        if placed is not choice.baseline:
            assert choice.baseline is not None
            assert placed.cost_g < choice.baseline.cost_g


@each_policy
@given(request=requests(), price=st.integers(1, 500), gpus=st.integers(2, 8))
@FEW
def test_with_a_constant_price_no_job_does_worse_than_as_declared(
    policy: Policy, request: Request, price: int, gpus: int
) -> None:
    (choice,) = policy.plan(a_problem([[float(price)] * 40], request, gpus=gpus))
    assert choice.baseline is not None
    assert choice.chosen is not None
    assert choice.chosen.cost_g <= choice.baseline.cost_g


@each_policy
@given(problem=problems())
@FEW
def test_inv_14_the_same_problem_gives_the_same_plan_and_stays_as_it_is(policy: Policy, problem: Problem) -> None:
    before = problem.timeline.free_gpus.copy()
    assert policy.plan(problem) == policy.plan(problem)
    assert (problem.timeline.free_gpus == before).all()


@given(problem=problems(), slowdown=st.sampled_from([0.0, 0.1, 0.5, 1.0]), least=st.sampled_from([0.5, 0.7]))
@FEW
def test_a_power_limit_delays_no_start_and_no_end_beyond_the_slowdown(
    problem: Problem, slowdown: float, least: float
) -> None:
    for request, choice, placed in placed_by(PowerCap(max_slowdown=slowdown, min_fraction=least), problem):
        assert choice.baseline is not None
        assert placed.start_s == choice.baseline.start_s
        assert placed.end_s <= placed.start_s + (1 + slowdown) * request.length_s + 1e-6
        assert len(stretches(request, placed)) == 1
        used = ways(request, placed)
        assert all((way.gpus, way.cpus) == (request.gpus, request.cpus) for way in used)
        assert all(way.power_fraction >= least for way in used)


@given(request=requests(), day=st.lists(st.integers(1, 500).map(float), min_size=40, max_size=40))
@FEW
def test_power_limits_emit_no_more_than_any_one_limit_that_is_fast_enough(request: Request, day: list[float]) -> None:
    steady = replace(request, resume_s=0.0, release_s=0.0, min_run_s=0.0)
    problem = a_problem([day], steady)
    (choice,) = PowerCap(max_slowdown=0.5).plan(problem)
    assert choice.chosen is not None
    for number, mode in enumerate(steady.modes):
        end_s = steady.work_s / mode.speed
        if (
            mode.gpus == steady.gpus
            and mode.cpus == steady.cpus
            and end_s <= min(1.5 * steady.work_s, steady.must_end_s)
        ):
            alone = placed_in(problem.prices, steady, 0, ((0.0, end_s),), (number,))
            assert choice.chosen.cost_g <= alone.cost_g * (1 + 1e-6)


@given(request=requests(), day=st.lists(st.integers(1, 500).map(float), min_size=40, max_size=40))
@FEW
def test_an_elastic_job_without_costs_and_bounds_emits_what_the_linear_program_does(
    request: Request, day: list[float]
) -> None:
    free = replace(
        request,
        release_s=0.0,
        resume_s=0.0,
        switch_s=0.0,
        min_run_s=0.0,
        suspensions_left=1000,
        must_end_s=40 * SLOT_S,
        latest_start_s=40 * SLOT_S,
        modes=tuple(mode for mode in request.modes if mode.speed >= 1),  # slower ones must be in time alone
    )
    (choice,) = Elastic().plan(a_problem([day], free))
    assert choice.chosen is not None
    assert math.isclose(choice.chosen.cost_g, least_g(free, day), rel_tol=1e-6)


def least_g(request: Request, day: list[float]) -> float:
    """The linear program: seconds in each mode and slot."""
    count = len(request.modes)
    found = linprog(
        np.outer(day, [mode.power_w / 3.6e6 for mode in request.modes]).ravel(),
        A_ub=np.kron(np.eye(len(day)), np.ones((1, count))),
        b_ub=np.full(len(day), SLOT_S),
        A_eq=[np.tile([mode.speed for mode in request.modes], len(day))],
        b_eq=[request.work_s],
        method="highs",
    )
    assert found.status == 0
    return float(found.fun)
