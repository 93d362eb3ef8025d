"""Rules that look at the present price alone: their bars, what they do at them, and that they see no more."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowtide.policies.importance import Importance
from lowtide.policies.online import bar, inverse_ratio
from lowtide.policies.problem import Choice, Policy, Problem
from lowtide.scheduler.decide.decide import decide
from lowtide.scheduler.decide.market import market
from lowtide.scheduler.decide.registry import policy_for
from lowtide.scheduler.decide.triage import triage
from lowtide.scheduler.model.errors import BadInput
from lowtide.scheduler.model.plan import Action, JobDecision
from tests.builders import a_forecast, a_job_view, a_queue, a_site, a_site_view, a_snapshot

BOUNDS = (("high_g_per_kwh", 400.0), ("low_g_per_kwh", 100.0))
shares = st.floats(0.01, 0.95)


def decided(
    now: float, later: float = 300.0, params: tuple[tuple[str, float], ...] = BOUNDS, **job: object
) -> JobDecision:
    view = a_job_view(**{"hours": 2, "suspendable": True, **job})  # type: ignore[arg-type]  # any field of a job
    queue = a_queue(policy="double_threshold", policy_params=params, min_run_s=900.0, switch_cost_s=120.0)
    (decision,) = decide(a_snapshot(view, queues=[queue], forecasts=[a_forecast([now] + [later] * 191)])).decisions
    return decision


@given(st.integers(1, 500), shares, st.floats(0.0, 0.5))
def test_the_bars_fall_from_unit_to_unit_and_the_one_to_resume_comes_to_the_lower_bound(
    units: int, low: float, switch: float
) -> None:
    if 1 - low - switch <= 0.01:
        return
    found = [bar(i, units, low, switch) for i in range(1, units + 2)]
    assert all(b <= a + 1e-9 for a, b in pairwise(found))
    assert found[-1] - switch == pytest.approx(low, abs=1e-6)
    assert found[0] <= 1 + switch


@given(shares)
def test_one_unit_without_a_cost_of_switching_is_bought_below_the_root_of_both_bounds(low: float) -> None:
    assert bar(1, 1, low) == pytest.approx(math.sqrt(low))


@given(st.integers(1, 200), shares)
def test_the_competitive_ratio_is_that_of_k_min_search(units: int, low: float) -> None:
    ratio = 1 / inverse_ratio(units, low, 0.0)
    assert (1 - low) / (1 - 1 / ratio) == pytest.approx((1 + 1 / (units * ratio)) ** units)


def test_where_a_switch_costs_all_that_prices_differ_nothing_waits() -> None:
    assert bar(1, 8, 0.5, 0.6) - 0.6 == pytest.approx(1.0)


@pytest.mark.parametrize(("now", "action"), [(120.0, Action.START), (390.0, Action.WAIT)])
def test_a_waiting_job_starts_below_its_bar_and_not_above(now: float, action: Action) -> None:
    assert decided(now).action is action


@pytest.mark.parametrize("now", [120.0, 200.0, 240.0, 280.0, 390.0])
@pytest.mark.parametrize("suspendable", [True, False])
def test_nothing_but_the_present_price_decides(now: float, suspendable: bool) -> None:  # noqa: FBT001 - drawn
    found = [decided(now, later, suspendable=suspendable) for later in (1.0, 100.0, 400.0, 900.0)]
    assert len({(d.action, d.reason.code, d.baseline_g, d.saving_g) for d in found}) == 1


def test_a_running_job_goes_on_at_a_price_at_which_it_would_not_have_been_resumed() -> None:
    resume = max(now for now in range(100, 400) if decided(now).action is Action.START)
    pause = min(now for now in range(100, 400) if decided(now, running_h=1.0).action is Action.SUSPEND)
    assert decided(resume + 10.0).action is Action.WAIT
    assert pause > resume + 10


def test_a_job_that_may_not_be_interrupted_waits_for_the_root_of_both_bounds() -> None:
    assert decided(199.0, suspendable=False).action is Action.START
    assert decided(207.0, suspendable=False).action is Action.WAIT


def test_what_waits_promises_its_latest_start_and_starts_when_patience_ends() -> None:
    waiting = decided(390.0, patience_h=10)
    assert waiting.chosen is not None
    assert waiting.latest_start_at is not None
    assert 0 <= (waiting.latest_start_at - waiting.chosen.start).total_seconds() < 900
    assert decided(390.0, patience_h=0.3).action is Action.START


def test_without_bounds_of_its_own_those_of_the_forecast_count() -> None:
    assert decided(300.0, 100.0, ()).action is Action.WAIT
    assert decided(300.0, 900.0, ()).action is Action.START


def test_bounds_in_the_wrong_order_are_refused_by_name() -> None:
    with pytest.raises(BadInput, match="low_g_per_kwh"):
        policy_for("double_threshold", (("high_g_per_kwh", 100.0), ("low_g_per_kwh", 200.0)))


def chosen_for(policy: Policy, importances: list[float], prices: list[float], *, gpus: int = 8) -> list[Choice]:
    """What a policy chooses for jobs of one GPU and one hour."""
    views = [a_job_view(f"j{i}") for i in range(len(importances))]
    site = a_site_view(a_site(gpus=gpus))
    snapshot = a_snapshot(*views, sites=[site], forecasts=[a_forecast(prices)])
    here = market(snapshot)
    askers = triage(snapshot, here, views)[1]
    requests = tuple(replace(a.request, importance=r) for a, r in zip(askers, importances, strict=True))
    return list(policy.plan(Problem(requests, here.prices, here.timeline)))


def starts_now(choices: list[Choice]) -> list[bool]:
    return [c.chosen is not None and c.chosen.start_s == 0 for c in choices]


RANGE = [100.0, *[400.0] * 95]


@pytest.mark.parametrize(
    ("now", "waits"), [(400.0, [True, True, False]), (300.0, [True, False, False]), (240.0, [False, False, False])]
)
def test_the_more_important_a_job_the_dirtier_the_hour_in_which_it_starts(now: float, waits: list[bool]) -> None:
    # With gamma 0.5 a job that nothing waits for starts up to 250 g/kWh, one of importance 0.5 up to 315.
    found = chosen_for(Importance(least_share=1.0), [0.0, 0.5, 1.0], [now, *RANGE])
    assert starts_now(found) == [not w for w in waits]


def test_a_job_of_full_importance_always_starts() -> None:
    assert starts_now(chosen_for(Importance(gamma=1.0, least_share=1.0), [1.0], [400.0, *RANGE])) == [True]


def test_the_dirtier_the_hour_the_fewer_gpus_of_a_site_work() -> None:
    working = [
        sum(starts_now(chosen_for(Importance(gamma=1e-9), [1.0] * 10, [now, *RANGE], gpus=10)))
        for now in (100.0, 200.0, 300.0, 399.0)
    ]
    assert working[0] == 10
    assert working == sorted(working, reverse=True)
    assert working[-1] == 2


@pytest.mark.parametrize("gpus", [1, 2])
def test_a_small_site_keeps_a_gpu_that_may_always_work(gpus: int) -> None:
    assert starts_now(chosen_for(Importance(), [1.0, 1.0], [400.0, *RANGE], gpus=gpus))[0]
