"""Safety sentences about a whole queue whose jobs may run in several modes, as ``balanced`` plans it."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowtide.policies.asap import Asap
from lowtide.policies.balanced import Balanced
from lowtide.policies.elastic import Elastic
from lowtide.policies.holding import give_back, sell, ways, worked_s
from lowtide.policies.optimal import Optimal
from lowtide.policies.problem import EPSILON_S, Choice, Placement, Policy, Problem, Request
from lowtide.scheduler.model.mode import Mode
from lowtide.scheduler.simulate.bound import Demand, bound_g
from tests.builders import SLOT_S
from tests.problems import a_problem, a_request

FEW = settings(max_examples=80, deadline=None)
SLOTS, PLENTY = 24, 64
prices = st.lists(st.integers(1, 10).map(lambda n: 50.0 * n), min_size=SLOTS, max_size=SLOTS)


@st.composite
def elastic(draw: st.DrawFn, name: str, *, is_no_gain: bool = False) -> Request:
    """A job of one or two slots on one GPU, or wider and harder, with at least two hours left over."""
    slots = draw(st.integers(1, 8))
    others = st.builds(
        lambda gpus, speed, more: Mode(gpus, 1, speed, 300.0 * speed * more, 1.0 if gpus > 1 else 0.8),
        st.integers(1, 4),
        st.integers(4, 35).map(lambda n: n / 10),
        st.integers(10 if is_no_gain else 6, 16).map(lambda n: n / 10),
    )
    request = a_request(name, hours=slots / 4, window_h=draw(st.integers(slots, SLOTS)) / 4)
    return replace(request, modes=(request.declared, *draw(st.lists(others, min_size=1, max_size=3))))


@st.composite
def queues(draw: st.DrawFn, *, gpus: st.SearchStrategy[int], most: int = 5, is_no_gain: bool = False) -> Problem:
    found = [draw(elastic(f"job-{n}", is_no_gain=is_no_gain)) for n in range(draw(st.integers(1, most)))]
    found.sort(key=lambda request: request.latest_start_s)
    return a_problem([draw(prices)], *found, gpus=draw(gpus))


def grams(choices: tuple[Choice, ...]) -> float:
    return math.fsum(math.inf if choice.chosen is None else choice.chosen.cost_g for choice in choices)


def late(problem: Problem, policy: Policy) -> list[str]:
    """Who ends after its time."""
    pairs = zip(problem.requests, policy.plan(problem), strict=True)
    return [r.job_id for r, c in pairs if c.chosen is None or c.chosen.end_s > r.must_end_s + EPSILON_S]


def as_declared(problem: Problem) -> Problem:
    return replace(problem, requests=tuple(replace(request, modes=()) for request in problem.requests))


def least_g(problem: Problem, gpus: int) -> float:
    """What the fluid linear program emits."""
    demands = [Demand(r.release_s, r.must_end_s, r.work_s, r.gpus, r.power_w, (0,), r.modes) for r in problem.requests]
    return bound_g(demands, problem.prices.price_g_per_kwh[:, :-1], SLOT_S, [gpus])


@given(queues(gpus=st.integers(1, 4)))
@FEW
def test_inv_07_and_10_what_is_placed_fits_and_gets_its_work_done(problem: Problem) -> None:
    grid = problem.grid
    held = np.zeros(grid.count, dtype=np.int64)
    for request, choice in zip(problem.requests, Balanced().plan(problem), strict=True):
        placed = choice.chosen
        assert placed is not None or choice.baseline is None
        if placed is None:
            continue
        done_s = worked_s(request, placed.spans, ways(request, placed))
        assert math.isclose(done_s, request.work_s, abs_tol=1e-3)
        mine = np.zeros_like(held)
        for (begin_s, end_s), way in zip(placed.spans, ways(request, placed), strict=True):
            touched = slice(grid.slot_at(begin_s), grid.slots_until(end_s))
            mine[touched] = np.maximum(mine[touched], way.gpus)
        held += mine
    assert (held <= problem.timeline.free_gpus[0]).all()


@given(queues(gpus=st.integers(1, 3)))
@FEW
def test_inv_10_nobody_is_late_who_would_be_in_time_as_declared(problem: Problem) -> None:
    if not late(as_declared(problem), Balanced()):
        assert not late(problem, Balanced())


@given(queues(gpus=st.just(PLENTY)))
@FEW
def test_with_room_for_all_nobody_emits_more_than_at_once_as_declared(problem: Problem) -> None:
    for request, choice in zip(problem.requests, Balanced().plan(problem), strict=True):
        (alone,) = Asap().plan(replace(problem, requests=(replace(request, modes=()),)))
        assert choice.chosen is not None
        assert alone.chosen is not None
        assert choice.chosen.cost_g <= alone.chosen.cost_g * (1 + 1e-9)


@given(queues(gpus=st.integers(1, 4)))
@FEW
def test_nobody_emits_less_than_the_linear_program_says(problem: Problem) -> None:
    gpus = int(problem.timeline.free_gpus[0, 0])
    if not late(problem, Balanced()):
        assert grams(Balanced().plan(problem)) >= least_g(problem, gpus) * (1 - 1e-6)


@given(queues(gpus=st.integers(1, PLENTY), most=1))
@FEW
def test_one_job_alone_emits_what_the_linear_program_says(problem: Problem) -> None:
    (request,), gpus = problem.requests, int(problem.timeline.free_gpus[0, 0])
    able = tuple(mode for mode in request.modes if mode.gpus <= gpus and mode.speed >= 1)
    free = replace(problem, requests=(replace(request, modes=able, latest_start_s=request.must_end_s),))
    assert grams(Balanced().plan(free)) == pytest.approx(least_g(free, gpus), rel=1e-6)


@given(queues(gpus=st.integers(1, PLENTY), is_no_gain=True), st.integers(1, 500))
@FEW
def test_with_constant_prices_no_job_is_widened_or_throttled_for_nothing(problem: Problem, price: int) -> None:
    flat = a_problem([[float(price)] * SLOTS], *problem.requests, gpus=int(problem.timeline.free_gpus[0, 0]))
    if late(as_declared(flat), Asap()):
        return
    assert all(not choice.chosen.modes for choice in Balanced().plan(flat) if choice.chosen is not None)


@given(queues(gpus=st.integers(1, 4)))
@FEW
def test_inv_14_equal_problems_have_equal_plans(problem: Problem) -> None:
    assert Balanced().plan(problem) == Balanced().plan(problem)


@given(queues(gpus=st.integers(1, 4)))
@FEW
def test_the_exact_policy_leaves_jobs_with_modes_as_balanced_has_them(problem: Problem) -> None:
    assert Optimal().plan(problem) == Balanced().plan(problem)


def test_at_a_price_for_gpus_the_clean_hour_goes_to_who_gains_most_by_it() -> None:
    # Both could do all of their work in the clean hour, but only the second needs less energy when it is wide.
    day = [[400.0] * 8 + [100.0] * 4 + [400.0] * 12]
    waste = (Mode(1, 1, 1.0, 300.0), Mode(4, 4, 2.0, 1100.0))
    gain = (Mode(1, 1, 1.0, 300.0), Mode(4, 4, 4.0, 900.0))
    first = a_request("first", hours=2.0, window_h=5.75, modes=waste)
    second = a_request("second", hours=4.0, window_h=6.0, suspensions_left=1000, modes=gain)
    problem = a_problem(day, second, first, gpus=4)
    reverse = a_problem(day, first, second, gpus=4)
    assert grams(Balanced().plan(reverse)) == pytest.approx(grams(Balanced().plan(problem)))
    assert grams(Balanced().plan(reverse)) < grams(Elastic().plan(reverse))


def test_a_clinical_job_runs_at_once_and_as_declared() -> None:
    modes = (Mode(1, 1, 1.0, 300.0), Mode(1, 1, 0.9, 200.0, 0.6), Mode(4, 4, 3.9, 900.0))
    clinical = a_request("clinical", hours=2.0, window_h=3.0, modes=modes, is_due=True, is_foremost=True)
    others = [a_request(f"other-{n}", hours=2.0, modes=modes) for n in range(3)]
    problem = a_problem([[400.0] * 8 + [100.0] * 40], clinical, *others, gpus=4)
    choice = Balanced().plan(problem)[0]
    assert choice.chosen is not None
    assert (choice.chosen.modes, choice.chosen.start_s) == ((), 0.0)


def test_a_job_that_would_be_late_as_declared_runs_wide_to_be_in_time() -> None:
    wide = (Mode(1, 1, 1.0, 300.0), Mode(4, 4, 3.0, 1200.0))
    request = a_request(hours=3.0, window_h=2.0, modes=wide, is_due=True, latest_start_s=-3600.0)
    problem = a_problem([[400.0] * 48], request, gpus=4)
    (choice,) = Balanced().plan(problem)
    assert choice.chosen is not None
    assert choice.chosen.end_s == pytest.approx(3600.0)


def test_gpus_that_are_kept_for_work_to_come_are_not_taken_by_width() -> None:
    modes = (Mode(1, 1, 1.0, 300.0), Mode(8, 8, 8.0, 2400.0))
    request = a_request(hours=8.0, window_h=12.0, modes=modes)
    problem = replace(a_problem([[400.0] * 32 + [100.0] * 16], request, gpus=8), inflow_gpus=(6.0,))
    (choice,) = Balanced(reserve=1.0, margin_h=0.0).plan(problem)
    assert choice.chosen is not None
    later = [way.gpus for (a, _), way in zip(choice.chosen.spans, ways(request, choice.chosen), strict=True) if a > 0]
    assert max(later) < 8


def a_running_one(prices: list[float], **changes: object) -> Problem:
    """A wide job that runs, with the place that it holds free, as a joint policy is asked."""
    modes = (Mode(1, 1, 0.5, 150.0), Mode(4, 4, 1.0, 700.0))
    usual = {"gpus": 4, "cpus": 4, "power_w": 700.0, "running_at": 0, "suspensions_left": 1, "modes": modes}
    return a_problem([prices], a_request(hours=4.0, window_h=20.0, **(usual | changes)))  # type: ignore[arg-type]


def test_a_running_job_stops_to_go_on_narrower_where_its_width_is_a_waste() -> None:
    problem = a_running_one([300.0] * 80)
    (choice,) = Balanced().plan(problem)
    assert choice.chosen is not None
    assert choice.chosen.start_s > 0
    assert [way.gpus for way in ways(problem.requests[0], choice.chosen)] == [1]


@pytest.mark.parametrize(
    "changes",
    [{"suspensions_left": 0}, {"hold_s": 4 * 3600.0}, {"switch_s": 43200.0, "resume_s": 43200.0}, {"min_savings": 0.6}],
    ids=["no suspension left", "has to run on", "a switch is too dear", "saves too little"],
)
def test_a_running_job_keeps_its_width_where(changes: dict[str, object]) -> None:
    (choice,) = Balanced().plan(a_running_one([300.0] * 80, **changes))
    assert choice.chosen is choice.baseline


def test_a_running_job_runs_on_as_it_does_until_the_clean_hours_that_it_will_be_wide_in() -> None:
    modes = (Mode(1, 1, 1.0, 300.0), Mode(4, 4, 4.0, 1200.0))
    request = a_request(hours=4.0, window_h=4.0, running_at=0, suspensions_left=1, hold_s=900.0, modes=modes)
    problem = a_problem([[300.0] * 8 + [100.0] * 16], request)
    (choice,) = Balanced().plan(problem)
    assert choice.chosen is not None
    assert choice.baseline is not None
    held = [way.gpus for way in ways(request, choice.chosen)]
    assert (held[0], held[-1], choice.chosen.start_s) == (1, 4, 0.0)
    assert worked_s(request, choice.chosen.spans, ways(request, choice.chosen)) == pytest.approx(request.work_s)
    assert choice.chosen.cost_g < choice.baseline.cost_g


def test_what_a_placement_in_modes_took_is_given_back_whole() -> None:
    problem = a_problem([[300.0] * 16], a_request(modes=(Mode(1, 1, 1.0, 300.0), Mode(4, 4, 4.0, 1200.0))))
    timeline, (request,) = problem.timeline.copy(), problem.requests
    placed = Placement(0, ((0.0, 1000.0), (1000.0, 2000.0)), 0.0, (0, 1))
    sell(timeline, request, placed)
    assert timeline.free_gpus[0].tolist()[:4] == [7, 4, 4, 8]
    give_back(timeline, request, placed)
    assert (timeline.free_gpus == problem.timeline.free_gpus).all()
    assert (timeline.free_cpus == problem.timeline.free_cpus).all()
