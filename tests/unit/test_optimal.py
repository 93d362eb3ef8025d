"""What the exact policy finds that one job after the other does not, and what it says about the rest."""

from dataclasses import replace

import numpy as np
import pytest

from lowtide.policies.balanced import Balanced
from lowtide.policies.beside import late_in_all_s
from lowtide.policies.linear import Effort, Linear
from lowtide.policies.optimal import Optimal
from lowtide.policies.problem import Choice, Prices, Problem
from lowtide.policies.timeline import Common, Timeline, milliwatts
from lowtide.scheduler.decide.decide import decide
from tests.builders import SLOT_S, a_dip, a_forecast, a_job_view, a_queue, a_snapshot
from tests.problems import a_problem, a_request, hours

DAY = [300.0] * 8 + [100.0] * 8 + [200.0] * 16 + [80.0] * 4 + [300.0] * 12
COSTLY: dict[str, object] = {"switch_s": 120.0, "min_run_s": 1800.0, "suspensions_left": 3}


def grams(choices: tuple[Choice, ...]) -> float:
    return sum(choice.chosen.cost_g for choice in choices if choice.chosen is not None)


def crowd(**changes: object) -> Problem:
    """Seven jobs for two GPUs that all want the same hours; those with more slack would gain more by them."""
    requests = [
        a_request(f"job-{n}", hours=h, window_h=12 - n / 4, power_w=1500.0 - 200 * n, **changes)  # type: ignore[arg-type]  # any field
        for n, h in enumerate([1, 2, 1.5, 0.5, 2, 1, 1])
    ]
    return a_problem([DAY], *reversed(requests), gpus=2)


@pytest.mark.parametrize("bounds", [{}, COSTLY, {"suspensions_left": 0}], ids=["free", "costly", "in one go"])
def test_a_crowd_emits_less_than_one_after_the_other_and_nobody_is_late(bounds: dict[str, object]) -> None:
    problem = crowd(**bounds)
    usual, found = Balanced().plan(problem), Optimal().plan(problem)
    assert late_in_all_s(problem, found) == late_in_all_s(problem, usual) == 0
    assert grams(found) < 0.999 * grams(usual)


def test_three_jobs_are_in_time_where_only_one_that_is_split_around_the_others_leaves_room() -> None:
    requests = [a_request(f"job-{n}", hours=h, window_h=1.0) for n, h in enumerate([0.75, 0.75, 0.5])]
    problem = a_problem([[100.0] * 8], *requests, gpus=2)
    assert late_in_all_s(problem, Balanced().plan(problem)) > 0
    assert late_in_all_s(problem, Optimal().plan(problem)) == 0


def test_a_running_job_with_slack_pauses_so_that_a_clean_hour_goes_to_one_without() -> None:
    runs = a_request("runs", hours=1.0, window_h=12.0, running_at=0)
    waits = a_request("waits", hours=1.0, window_h=1.5, suspensions_left=0)
    problem = a_problem([[100.0] * 8 + [50.0] * 40], waits, runs, gpus=1)
    first, second = (choice.chosen for choice in Optimal().plan(problem))
    assert first is not None
    assert second is not None
    assert first.end_s <= 1.5 * 3600
    assert all(begin >= 1.5 for begin, _ in hours(second))


def test_with_constant_prices_the_plan_is_that_of_balanced() -> None:
    problem = a_problem([[100.0] * 48], *crowd(**COSTLY).requests, gpus=2)
    assert Optimal().plan(problem) == Balanced().plan(problem)


def test_jobs_beyond_the_limit_stay_and_say_so() -> None:
    problem = crowd()
    choices = Optimal(most_jobs=3).plan(problem)
    usual = Balanced().plan(problem)
    note = "as balanced places it; of 7 jobs the 3 most urgent are planned exactly"
    assert [choice.note for choice in choices] == [""] * 3 + [note] * 4
    assert [choice.chosen for choice in choices[3:]] == [choice.chosen for choice in usual[3:]]
    assert grams(choices) <= grams(usual)


def test_a_program_of_too_many_columns_is_not_begun() -> None:
    problem = crowd()
    columns = 100
    choices = Optimal(most_columns=columns).plan(problem)
    assert sum(not choice.note for choice in choices) == columns // (2 * 48)


def test_a_decision_tells_what_its_policy_notes() -> None:
    views = [a_job_view(f"job-{n}", hours=1) for n in range(3)]
    queue = a_queue(policy="optimal", policy_params=(("most_jobs", 2.0),))
    plan = decide(a_snapshot(*views, queues=[queue], forecasts=[a_forecast(a_dip())]))
    notes = [decision.chosen.note for decision in plan.decisions if decision.chosen is not None]
    assert sum("of 3 jobs the 2 most urgent are planned exactly" in note for note in notes) == 1


def test_what_no_solution_has_is_told_and_not_guessed() -> None:
    program = Linear()
    columns = program.columns(2, cost=1.0, high=1.0, is_whole=True)
    program.row((columns, SLOT_S), low=3 * SLOT_S)
    assert program.least(Effort(0.0, 10, 100)) is None
    assert program.duals() is None


def test_the_duals_are_what_one_more_of_a_bound_would_cost() -> None:
    program = Linear()
    cheap, dear = program.columns(1, cost=10.0, high=2.0), program.columns(1, cost=50.0)
    wanted = program.row((cheap, 1.0), (dear, 1.0), low=3.0, high=3.0)
    limit = program.row((cheap, 1.0), high=1.0)
    least = program.row((dear, 1.0), low=0.5)
    duals = program.duals()
    assert duals is not None
    assert duals[[wanted, limit, least]] == pytest.approx([50.0, -40.0, 0.0])


@pytest.mark.parametrize("bounds", [{}, COSTLY, {"suspensions_left": 0}], ids=["free", "costly", "in one go"])
def test_a_power_budget_is_shared_out_like_gpus(bounds: dict[str, object]) -> None:
    wide = a_problem([DAY, DAY], *crowd(**bounds).requests, gpus=8)
    both, free = np.arange(2), wide.timeline.free_gpus
    common = Common((0, 1), (both, both), np.full(free.shape, milliwatts(2500.0)))
    timeline = Timeline(free, wide.timeline.free_cpus, wide.grid.slot_at, wide.grid.slots_until, common)
    narrow = replace(wide, timeline=timeline)
    usual, found = Balanced().plan(narrow), Optimal().plan(narrow)
    assert not any(choice.note for choice in found)
    assert late_in_all_s(narrow, found) == 0
    assert grams(found) < 0.999 * grams(usual)


def test_what_delay_is_worth_counts_in_the_program() -> None:
    problem = crowd(suspensions_left=1000)
    dear = replace(problem, requests=tuple(replace(r, delay_g_per_h=200.0) for r in problem.requests))
    usual, found = Balanced().plan(dear), Optimal().plan(dear)
    assert grams(found) < 0.95 * grams(usual)  # the prices of delay count in both


def test_work_that_draws_nothing_fails_no_plan() -> None:
    problem = crowd(**COSTLY)
    idle = replace(problem, requests=(replace(problem.requests[0], power_w=0.0), *problem.requests[1:]))
    assert late_in_all_s(idle, Optimal().plan(idle)) == 0


def test_where_somebody_is_late_nobody_is_put_beyond_what_is_forecast_for_a_saving() -> None:
    late = a_request("late", hours=0.01, window_h=0.01, gpus=0, release_s=500.0, is_due=True, suspensions_left=0)
    first = a_request("first", hours=0.01, window_h=0.01, sites=(1,), is_due=True, suspensions_left=0)
    free = a_request("free", hours=901 / 3600, window_h=2701 / 3600, gpus=3, sites=(1, 0), suspensions_left=0)
    problem = a_problem([[0.0, 40.0, 0.0], [0.0] * 3], late, first, free, gpus=3)
    told, known_s, sure = problem.prices, np.array([2700.0, 0.0]), np.array([True, False])
    shape = told.price_g_per_kwh[:, :3], told.error_g_per_kwh[:, :3]
    problem = replace(problem, prices=Prices(told.grid, *shape, known_s, sure, ("known", "unknown")))
    (*_, choice) = Optimal().plan(problem)
    assert choice.chosen is not None
    assert choice.chosen.end_s <= 2700.0
