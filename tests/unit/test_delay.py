"""What an hour of delay is worth: it moves placements, by exactly that much, and grams stay grams."""

from typing import Any

import pytest

from lowtide.policies.balanced import Balanced
from lowtide.policies.carbon_time import CarbonTime
from lowtide.policies.lowest_slots import LowestSlots
from lowtide.policies.lowest_window import LowestWindow
from lowtide.policies.problem import Choice, Policy
from lowtide.policies.worth import in_grams, prices_of, unweighed
from lowtide.scheduler.decide.decide import decide
from lowtide.scheduler.decide.registry import policy_for, policy_names
from lowtide.scheduler.model.plan import Action, JobDecision
from lowtide.scheduler.model.reason import ReasonCode
from tests.builders import HOUR_S, a_dip, a_forecast, a_job_view, a_queue, a_snapshot, a_spending, budgeted
from tests.problems import a_problem, a_request, hours

FALLING = [[300.0 - 5 * i for i in range(48)]]
"""Every hour later saves a job of two hours and 300 W twelve grams: 20 g/kWh of 0.6 kWh."""
WEIGHING: tuple[Policy, ...] = (LowestWindow(), LowestSlots(), CarbonTime(), Balanced())


def chosen(policy: Policy, delay_g_per_h: float, **changes: Any) -> Choice:
    problem = a_problem(FALLING, a_request(delay_g_per_h=delay_g_per_h, **changes))
    (choice,) = in_grams(problem.prices, problem.requests, policy.plan(problem))
    return choice


@pytest.mark.parametrize("policy", WEIGHING, ids=lambda policy: type(policy).__name__)
def test_a_job_waits_while_each_hour_saves_more_than_it_is_worth(policy: Policy) -> None:
    for pauses in (0, 1000):
        later = chosen(policy, 11.9, suspensions_left=pauses)
        sooner = chosen(policy, 12.1, suspensions_left=pauses)
        assert later.chosen is not None
        assert hours(later.chosen) == [(10.0, 12.0)]
        assert sooner.chosen is sooner.baseline is not None


@pytest.mark.parametrize("policy", WEIGHING, ids=lambda policy: type(policy).__name__)
def test_what_is_told_is_grams_and_the_bar_holds_the_price_of_the_delay(policy: Policy) -> None:
    free, weighed = chosen(policy, 0.0, suspensions_left=0), chosen(policy, 3.0, suspensions_left=0)
    assert weighed.chosen == free.chosen
    assert weighed.baseline == free.baseline
    assert weighed.saving_g == pytest.approx(free.saving_g) == pytest.approx(120.0)
    assert weighed.bar_g == pytest.approx(free.bar_g + 10 * 3.0)


def test_every_window_costs_its_grams_and_the_delay_whatever_its_length_and_power() -> None:
    hours_long = 2.5
    request = a_request(hours=hours_long, power_w=700.0, delay_g_per_h=40.0)
    problem = a_problem(FALLING, request)
    rising = prices_of(problem, request)
    for start_h in (0.0, 0.25, 3.0, 7.75):
        spans = ((start_h * HOUR_S, (start_h + hours_long) * HOUR_S),)
        plain = problem.prices.grams(0, spans, request.power_w)
        assert rising.grams(0, spans, request.power_w) == pytest.approx(plain + 40.0 * start_h)


def test_stretches_weigh_by_the_middle_of_their_work() -> None:
    request = a_request(hours=2.0, delay_g_per_h=30.0)
    problem = a_problem(FALLING, request)
    spans = ((1 * HOUR_S, 2 * HOUR_S), (5 * HOUR_S, 6 * HOUR_S))
    plain = problem.prices.grams(0, spans, 300.0)
    assert prices_of(problem, request).grams(0, spans, 300.0) == pytest.approx(plain + 30.0 * 2.5)


def test_work_that_draws_nothing_has_nothing_to_weigh() -> None:
    problem = a_problem(FALLING, a_request(power_w=0.0, delay_g_per_h=5.0))
    assert prices_of(problem, problem.requests[0]) is problem.prices


def test_nothing_is_touched_where_delay_is_worth_nothing() -> None:
    problem = a_problem(FALLING, a_request())
    choices = LowestWindow().plan(problem)
    assert unweighed(problem) is problem
    assert in_grams(problem.prices, problem.requests, choices) is choices


def decided(queue_policy: str, delay_g_per_h: float, **queue: Any) -> JobDecision:
    made = a_queue(policy=queue_policy, delay_g_per_h=delay_g_per_h, **queue)
    shot = a_snapshot(a_job_view(suspendable=True), queues=[made], forecasts=[a_forecast(a_dip(), errors=20.0)])
    return decide(shot).decisions[0]


@pytest.mark.parametrize("policy", policy_names())
def test_policies_that_do_not_weigh_delay_are_not_moved_by_it(policy: str) -> None:
    """The dip is four hours away and saves 75 of 90 grams."""
    free, dear = decided(policy, 0.0), decided(policy, 1000.0)
    if getattr(policy_for(policy), "weighs_delay", False):
        assert free.action is Action.WAIT
        assert dear.action is Action.START
    else:
        assert dear == free


def test_a_saving_that_the_delay_eats_up_is_told_as_that() -> None:
    decision = decided("lowest_window", 15.0, min_savings=0.4)
    assert (decision.action, decision.reason.code) == (Action.START, ReasonCode.DELAY_WEIGHT)
    assert decision.reason.sentence == (
        "waiting would save 75 g; at 15 g an hour of delay, and by its doubt, it would have to save 96 g"
    )
    assert decided("lowest_window", 0.0, min_savings=0.9).reason.code is ReasonCode.NO_GAIN


def test_a_job_that_waits_all_the_same_says_which_intensity_would_start_it() -> None:
    free, weighed = decided("balanced", 0.0), decided("balanced", 10.0)
    assert free.action is weighed.action is Action.WAIT
    assert weighed.chosen is not None
    assert weighed.saving_g == pytest.approx(75.0)
    assert weighed.baseline_g == pytest.approx(90.0)
    (limit,) = [told for told in weighed.would_start_now_if if "g/kWh" in told]
    assert limit.split()[-2] == "158"  # (90 - 4 h of 10 g - 2.5 g of doubt) / 0.3 kWh


def test_near_the_end_of_a_budget_delay_is_worth_nothing() -> None:
    queue = a_queue(delay_g_per_h=1000.0)
    shot = a_snapshot(a_job_view(), queues=[queue], forecasts=[a_forecast(a_dip())])
    assert decide(budgeted(shot, a_spending(100.0))).decisions[0].action is Action.START
    assert decide(budgeted(shot, a_spending(850.0))).decisions[0].action is Action.WAIT
