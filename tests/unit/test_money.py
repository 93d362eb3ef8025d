"""What money is worth: it moves placements by exactly that much, grams stay grams, and what it costs is told."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lowtide.policies.balanced import Balanced
from lowtide.policies.electricity import Electricity
from lowtide.policies.lowest_window import LowestWindow
from lowtide.policies.optimal import Optimal
from lowtide.policies.problem import Move, Policy, Problem
from lowtide.policies.worth import at_one_worth, in_grams, prices_of, unweighed
from lowtide.scheduler.decide.decide import decide
from lowtide.scheduler.decide.explain import decision_to_dict
from lowtide.scheduler.decide.insight import insight
from lowtide.scheduler.decide.registry import policy_names
from lowtide.scheduler.model.bind import BindCode
from lowtide.scheduler.model.job import JobId, Urgency
from lowtide.scheduler.model.plan import Action, JobDecision, Snapshot
from lowtide.scheduler.model.reason import ReasonCode
from lowtide.scheduler.model.tariff import Rate, Tariff
from lowtide.scheduler.policy_set import over, parsed, ready_made
from lowtide.scheduler.settings import QueueSettings
from tests.builders import (
    HOUR_S,
    NOON,
    a_dip,
    a_forecast,
    a_job_view,
    a_queue,
    a_site,
    a_site_view,
    a_snapshot,
    a_spending,
    budgeted,
)
from tests.problems import a_problem, a_request

WEEK = tuple(range(7))
CHEAP_H = 8
"""Hours after noon at which electricity is cheap for two; the carbon dip of ``a_dip`` begins after four."""


def a_tariff(currency: str = "EUR", *, usual: float = 0.5, cheap: float = 0.1) -> Tariff:
    begin = (12 + CHEAP_H) * 60
    return Tariff(currency, "UTC", (Rate(begin, begin + 120, WEEK, cheap), Rate(begin + 120, begin, WEEK, usual)))


def a_case(worth_g: float = 0.0, *, tariff: Tariff | None = None, pue: float = 1.0, **queue: Any) -> Snapshot:
    """A job of one hour and 300 W; dips in carbon and in price lie at different hours."""
    site = replace(a_site(pue=pue), tariff=tariff or a_tariff())
    made = a_queue(money_g_per_unit=worth_g, **queue)
    return a_snapshot(
        a_job_view(suspendable=True), sites=[a_site_view(site)], queues=[made], forecasts=[a_forecast(a_dip())]
    )


def decided(worth_g: float = 0.0, **case: Any) -> JobDecision:
    return decide(a_case(worth_g, **case)).decisions[0]


def start_h(decision: JobDecision) -> float:
    assert decision.chosen is not None
    return (decision.chosen.start - NOON).total_seconds() / HOUR_S


@pytest.mark.parametrize("policy", ["lowest_window", "lowest_slots", "lowest_slot", "balanced", "optimal", "elastic"])
def test_a_job_waits_for_carbon_or_for_money_by_what_a_unit_is_worth(policy: str) -> None:
    """The dip saves 75 g; the cheap hours save 0.12 EUR, so that they weigh the same at 625 g per EUR."""
    assert start_h(decided(policy=policy)) == start_h(decided(620.0, policy=policy)) == 4.0
    assert start_h(decided(630.0, policy=policy)) == float(CHEAP_H)


def test_where_money_decides_the_reason_and_the_costs_say_so() -> None:
    decision = decided(1000.0)
    assert (decision.action, decision.reason.code) == (Action.WAIT, ReasonCode.CHEAP_WINDOW)
    told = "waits for cheaper electricity at Tue 20:00 UTC: that saves about 0.12 EUR and 0 g"
    assert decision.reason.sentence == told
    assert decision.saving_g == pytest.approx(0.0)
    assert decision.would_start_now_if == ("lowtide run-now job-1 --reason TEXT",)
    costs = {c.note: c.cost for c in decision.candidates}
    assert costs["as soon as possible"] == pytest.approx(0.3 * 0.5)
    assert costs["chosen"] == pytest.approx(0.3 * 0.1)
    assert decision_to_dict(decision)["candidates"][0]["currency"] == "EUR"  # type: ignore[index]  # a list


def test_a_shift_for_money_says_what_it_emits_more() -> None:
    prices = [100.0 if i < 32 else 300.0 for i in range(192)]
    shot = replace(a_case(1000.0), forecasts={"GB": a_forecast(prices)})
    decision = decide(shot).decisions[0]
    assert decision.saving_g == pytest.approx(-60.0)
    assert decision.reason.sentence.endswith("that saves about 0.12 EUR and emits 60 g more")


def test_a_saving_of_carbon_that_costs_too_much_is_told_as_that() -> None:
    dear = Tariff("EUR", "UTC", (Rate(12 * 60, 14 * 60, WEEK, 0.1), Rate(14 * 60, 12 * 60, WEEK, 0.5)))
    decision = decided(500.0, tariff=dear, min_savings=0.2)
    assert (decision.action, decision.reason.code) == (Action.START, ReasonCode.MONEY_WEIGHT)
    assert decision.reason.sentence == (
        "waiting would save 75 g and cost 0.12 EUR more; at 500 g per EUR, and by its doubt, it would have to save 81 g"
    )


def test_pue_counts_for_money_as_it_does_for_grams() -> None:
    assert start_h(decided(620.0, pue=1.5)) == 4.0
    assert start_h(decided(630.0, pue=1.5)) == float(CHEAP_H)
    chosen = decided(630.0, pue=1.5).chosen
    assert chosen is not None
    assert chosen.cost == pytest.approx(1.5 * 0.3 * 0.1)


@pytest.mark.parametrize("policy", policy_names())
def test_a_tariff_alone_changes_no_plan(policy: str) -> None:
    told = decided(policy=policy)
    blind = replace(a_case(policy=policy), sites=(a_site_view(),))
    plain = decide(blind).decisions[0]
    without = tuple(replace(c, cost=None, currency="") for c in told.candidates)
    assert replace(told, candidates=without) == plain


@pytest.mark.parametrize("policy", policy_names())
def test_a_worth_without_a_tariff_changes_no_plan(policy: str) -> None:
    plain, weighed = (replace(a_case(worth_g, policy=policy), sites=(a_site_view(),)) for worth_g in (0.0, 1000.0))
    ours, theirs = decide(weighed).decisions[0], decide(plain).decisions[0]
    assert start_h(ours) == start_h(theirs)
    assert ours.reason == theirs.reason


def test_with_the_same_price_at_all_hours_money_moves_nothing() -> None:
    flat = a_tariff(usual=0.3, cheap=0.3)
    assert start_h(decided(1000.0, tariff=flat)) == start_h(decided()) == 4.0


def test_twice_the_price_at_half_its_worth_is_the_same_plan() -> None:
    once, twice = decided(630.0), decided(315.0, tariff=a_tariff(usual=1.0, cheap=0.2))
    assert start_h(once) == start_h(twice)
    assert once.saving_g == pytest.approx(twice.saving_g)


def under(name: str, shot: Snapshot) -> JobDecision:
    """The decision under a set that comes with lowtide."""
    (queue,) = over([QueueSettings(name="research")], parsed(ready_made()[name]))
    return decide(replace(shot, queues={"research": queue.queue()})).decisions[0]


def test_the_cheapest_set_goes_by_cost_and_between_equal_costs_by_carbon() -> None:
    assert start_h(under("cheapest", a_case())) == float(CHEAP_H)
    assert start_h(under("balanced", a_case())) == 4.0
    flat = a_case(tariff=a_tariff(usual=0.3, cheap=0.3))
    assert start_h(under("cheapest", flat)) == start_h(under("cheapest", replace(flat, sites=(a_site_view(),)))) == 4.0


def two_sites(here: Tariff | None, there: Tariff | None) -> JobDecision:
    """The job starts at home unless the other site, where the grid is the same, costs less."""
    sites = [a_site_view(replace(a_site(n), tariff=t)) for n, t in (("home", here), ("away", there))]
    view = a_job_view(allowed_sites=("home", "away"), suspendable=True)
    queue = a_queue(money_g_per_unit=1000.0, policy="balanced")
    return decide(a_snapshot(view, sites=sites, queues=[queue], forecasts=[a_forecast()])).decisions[0]


def test_sites_are_compared_where_their_tariffs_are_in_one_currency() -> None:
    flat, dear = a_tariff(usual=0.1, cheap=0.1), a_tariff(usual=0.6, cheap=0.6)
    sites = [
        two_sites(dear, there).chosen.site  # type: ignore[union-attr]  # there is room
        for there in (flat, replace(flat, currency="GBP"), None)
    ]
    assert sites == ["away", "home", "home"]


def test_clinical_work_never_waits_for_money() -> None:
    shot = a_case(1e6)
    clinical = tuple(replace(view, urgency=Urgency.CLINICAL) for view in shot.jobs)
    decision = decide(replace(shot, jobs=clinical)).decisions[0]
    assert (decision.action, decision.reason.code) == (Action.START, ReasonCode.CLINICAL)


def test_near_the_end_of_a_budget_carbon_alone_counts() -> None:
    shot = a_case(1e6)
    assert start_h(decide(budgeted(shot, a_spending(100.0))).decisions[0]) == float(CHEAP_H)
    assert start_h(decide(budgeted(shot, a_spending(850.0))).decisions[0]) == 4.0


def test_what_forbids_a_greener_placement_is_told_in_grams() -> None:
    shot = a_case(1000.0)
    found = insight(shot, decide(shot), JobId("job-1"))
    assert all(bind.saving_g is None or bind.saving_g <= 75.1 for bind in found.binds)
    assert BindCode.CAPACITY not in {bind.code for bind in found.binds}


def electric(problem: Problem, *per_kwh: float, currency: str = "EUR") -> Problem:
    """The same with one site whose electricity has these prices, slot by slot."""
    row = np.resize(np.array(per_kwh), (1, problem.grid.count))
    return replace(problem, electricity=Electricity(problem.grid.edges_s, row, (currency,)))


def test_every_window_costs_its_grams_and_what_its_money_is_worth() -> None:
    request = a_request(hours=1.25, power_w=700.0, money_g_per_unit=40.0, delay_g_per_h=3.0)
    problem = electric(a_problem([[300.0 - i for i in range(48)]], request), 0.2, 0.5, 0.3)
    assert problem.electricity is not None
    for start_h_ in (0.0, 0.25, 7.5):
        spans = ((start_h_ * HOUR_S, (start_h_ + 1.25) * HOUR_S),)
        plain = problem.prices.grams(0, spans, 700.0)
        money = problem.electricity.money(0, spans, 700.0)
        assert prices_of(problem, request).grams(0, spans, 700.0) == pytest.approx(
            plain + 40.0 * money + 3.0 * start_h_
        )


@pytest.mark.parametrize("policy", [Balanced(), Optimal()], ids=["balanced", "optimal"])
@pytest.mark.parametrize("seed", range(6))
def test_a_joint_plan_takes_money_for_the_carbon_that_it_is_worth(policy: Policy, seed: int) -> None:
    """Four jobs on one GPU; the same prices once as carbon and money, once as carbon alone."""
    draw = np.random.default_rng(seed)
    carbon, money = draw.integers(1, 5, (1, 24)) * 100.0, draw.integers(1, 5, (1, 24)) * 0.25
    asked = [
        a_request(f"j{i}", hours=h, window_h=6.0, money_g_per_unit=1024.0)
        for i, h in enumerate(draw.choice([0.5, 1.0, 1.5], 4))
    ]
    weighed = electric(a_problem(carbon.tolist(), *asked, gpus=1), *money[0])
    plain = (replace(request, money_g_per_unit=0.0) for request in asked)
    alone = a_problem((carbon + 1024.0 * money).tolist(), *plain, gpus=1)
    ours, theirs = policy.plan(weighed), policy.plan(alone)
    assert [c.chosen and c.chosen.course for c in ours] == [c.chosen and c.chosen.course for c in theirs]


def test_what_is_worth_nothing_is_not_touched() -> None:
    problem = electric(a_problem([[300.0] * 48], a_request()), 0.2)
    assert prices_of(problem, problem.requests[0]) is problem.prices
    assert unweighed(problem) is problem
    assert at_one_worth(problem) is problem


def test_a_policy_of_its_own_prices_weighs_money_that_is_worth_the_same_to_all() -> None:
    one, other = a_request("a", money_g_per_unit=10.0), a_request("b", money_g_per_unit=20.0)
    alike, apart = (electric(a_problem([[300.0] * 48], one, r), 0.2) for r in (replace(one, job_id="b"), other))
    assert at_one_worth(alike).prices.price_g_per_kwh[0, 0] == pytest.approx(302.0)
    assert at_one_worth(apart).prices is apart.prices
    assert not any(request.money_g_per_unit for request in at_one_worth(apart).requests)


def test_choices_told_in_grams_keep_those_of_bringing_data() -> None:
    request = a_request(hours=1.0, delay_g_per_h=1.0, moves=(Move(0, 0.0, 17.0),))
    problem = a_problem([[300.0] * 48], request)
    (choice,) = in_grams(problem.prices, problem.requests, LowestWindow().plan(problem))
    assert choice.chosen is not None
    assert choice.chosen.cost_g == pytest.approx(90.0 + 17.0)
