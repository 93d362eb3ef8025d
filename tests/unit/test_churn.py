"""A promise is moved when its start goes by more than a slot, or its site changes, and nobody ordered that."""

from datetime import datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry

from lowtide.scheduler.control.plan_budget import PlanBudget
from lowtide.scheduler.control.plan_metrics import PlanMetrics
from lowtide.scheduler.decide.churn import Churn, churn
from lowtide.scheduler.model.job import JobId
from lowtide.scheduler.model.plan import Action, Candidate, JobDecision, Plan, Segment
from lowtide.scheduler.model.reason import Reason, ReasonCode
from tests.builders import NOON, SLOT_S


def promised(
    hours: float | None,
    *,
    site: str = "home",
    action: Action = Action.WAIT,
    code: ReasonCode = ReasonCode.LOW_CARBON_NOW,
) -> JobDecision:
    """A decision whose placement begins so many hours after noon; None for one without."""
    at = NOON if hours is None else NOON + timedelta(hours=hours)
    chosen = Candidate((Segment(site, "", at, at + timedelta(hours=1), 1),), 10.0, chosen=True)
    return JobDecision(JobId("a"), action, Reason(code), NOON, () if hours is None else (chosen,))


def between(before: JobDecision, after: JobDecision, now: datetime = NOON) -> Churn:
    return churn({"a": before}, Plan(now, (after,)), SLOT_S)


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        (promised(4), promised(5), Churn(1, 1)),
        (promised(4), promised(4.25), Churn(1, 0)),
        (promised(4), promised(4, site="north"), Churn(1, 1)),
        (promised(4), promised(0, action=Action.START), Churn(1, 1)),
        (promised(4), promised(0, action=Action.START, code=ReasonCode.RUN_NOW), Churn(0, 0)),
        (promised(None), promised(4), Churn(0, 0)),
        (promised(4), promised(None), Churn(0, 0)),
        (promised(0, action=Action.KEEP), promised(4, action=Action.SUSPEND), Churn(0, 0)),
    ],
    ids=["later", "by a slot", "elsewhere", "sooner", "ordered", "none before", "none now", "a running job"],
)
def test_inv_13_moved_promises_are_counted(before: JobDecision, after: JobDecision, found: Churn) -> None:
    assert between(before, after) == found


def test_a_promise_whose_time_has_passed_is_not_moved_by_who_still_makes_room_for_it() -> None:
    assert between(promised(4), promised(6), NOON + timedelta(hours=6)) == Churn(1, 0)


def test_a_decision_that_was_kept_moves_nothing() -> None:
    same = promised(4)
    assert between(same, same) == Churn(1, 0)


def test_a_job_that_is_new_had_no_promise() -> None:
    assert churn({}, Plan(NOON, (promised(4),)), SLOT_S) == Churn()
    assert Churn().share == 0.0


def test_moves_are_counted_by_what_asked_for_the_plan_and_orders_go_under_one_word() -> None:
    registry = CollectorRegistry()
    metrics = PlanMetrics(registry)
    metrics.cycled("grid", Churn(4, 1), PlanBudget(1.0))
    metrics.cycled("release", Churn(4, 3), PlanBudget(1.0))
    moved = "lowtide_plan_moved_promises_total"
    assert registry.get_sample_value(moved, {"cause": "grid"}) == 1
    assert registry.get_sample_value(moved, {"cause": "order"}) == 3
    assert registry.get_sample_value("lowtide_plan_churn_ratio") == 0.75
