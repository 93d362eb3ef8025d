"""Budgets in a plan: greener near their end, waiting after it, and never a job stopped or late for one."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from lowtide.scheduler.decide.decide import decide
from lowtide.scheduler.model.job import Urgency
from lowtide.scheduler.model.lifecycle import JobState
from lowtide.scheduler.model.plan import Action, JobDecision, JobView
from lowtide.scheduler.model.project import Measure, Period, ProjectView, Spending
from lowtide.scheduler.model.reason import ReasonCode
from lowtide.scheduler.model.site import Queue
from tests.builders import (
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

MIDNIGHT = NOON.replace(hour=0) + timedelta(days=1)
ASAP = (a_queue(policy="asap"),)


def planned(
    *jobs: JobView, spendings: tuple[Spending, ...], queues: tuple[Queue, ...] = ASAP, gpus: int = 8
) -> list[JobDecision]:
    held = sum(view.resources.gpus for view in jobs if view.site)
    cpus = sum(view.resources.cpus for view in jobs if view.site)
    sites = [a_site_view(a_site(gpus=gpus), used_gpus=held, used_cpus=cpus)]
    return list(decide(budgeted(a_snapshot(*jobs, queues=queues, sites=sites), *spendings)).decisions)


@pytest.mark.parametrize(
    ("period", "start", "end"),
    [
        (Period.DAY, (2026, 3, 10), (2026, 3, 11)),
        (Period.WEEK, (2026, 3, 9), (2026, 3, 16)),
        (Period.MONTH, (2026, 3, 1), (2026, 4, 1)),
        (Period.QUARTER, (2026, 1, 1), (2026, 4, 1)),
        (Period.YEAR, (2026, 1, 1), (2027, 1, 1)),
    ],
)
def test_periods_are_those_of_the_calendar(
    period: Period, start: tuple[int, int, int], end: tuple[int, int, int]
) -> None:
    assert period.around(NOON) == (datetime(*start, tzinfo=UTC), datetime(*end, tzinfo=UTC))


def test_the_last_quarter_of_a_year_ends_with_it() -> None:
    assert Period.QUARTER.around(datetime(2026, 12, 31, 23, tzinfo=UTC))[1] == datetime(2027, 1, 1, tzinfo=UTC)


def test_a_job_waits_for_the_end_of_the_period_and_says_so_with_numbers() -> None:
    (decision,) = planned(a_job_view(), spendings=(a_spending(1000.0),))
    assert (decision.action, decision.reason.code) == (Action.WAIT, ReasonCode.BUDGET)
    assert decision.chosen is not None
    assert decision.chosen.start == MIDNIGHT
    assert decision.reason.sentence == (
        "waits for the budget of project scans: 1,000 g of 1,000 g are used this day, and 0 g are promised to its "
        "other work; planned for Wed 00:00 UTC"
    )
    assert decision.would_start_now_if == (
        "the budget of project scans were above 1,000 g a day",
        "lowtide run-now job-1 --reason TEXT",
    )
    assert decision.next_review_at > NOON


def test_a_budget_with_something_left_lets_work_begin() -> None:
    (decision,) = planned(a_job_view(), spendings=(a_spending(999.0),))
    assert decision.action is Action.START


def test_patience_ends_before_the_period_and_the_job_runs_over_its_budget_and_says_so() -> None:
    year = a_spending(1000.0, period=Period.YEAR)
    (waiting,) = planned(a_job_view(patience_h=5), spendings=(year,))
    assert waiting.chosen is not None
    assert waiting.reason.code is ReasonCode.BUDGET
    assert waiting.chosen.finish <= NOON + timedelta(hours=6)
    (decision,) = planned(a_job_view(patience_h=0.1), spendings=(year,))
    assert (decision.action, decision.reason.code) == (Action.START, ReasonCode.OVER_BUDGET)
    assert decision.reason.sentence == (
        "its patience ends, so it runs over the budget of project scans: 1,000 g of 1,000 g are used this year"
    )
    (decision,) = planned(a_job_view(patience_h=0.1, has_deadline=True), spendings=(year,))
    assert decision.reason.sentence.startswith("its deadline is near, so")


def test_a_wait_beyond_the_horizon_needs_no_place_yet() -> None:
    (decision,) = planned(a_job_view(patience_h=24 * 30), spendings=(a_spending(1000.0, period=Period.MONTH),))
    assert (decision.action, decision.reason.code) == (Action.WAIT, ReasonCode.BUDGET)
    assert decision.chosen is None
    assert "planned for Wed 00:00 UTC" in decision.reason.sentence
    assert NOON < decision.next_review_at <= NOON + timedelta(hours=1)


@pytest.mark.parametrize("state", [JobState.STARTING, JobState.RUNNING])
def test_work_that_has_begun_is_never_stopped_for_a_budget(state: JobState) -> None:
    view = a_job_view(running_h=1.0, suspendable=True, hours=2)
    (decision,) = planned(replace(view, state=state), spendings=(a_spending(5000.0),), queues=(a_queue(),))
    assert decision.action is Action.KEEP


def test_a_suspended_job_goes_on_whatever_its_budget_says() -> None:
    (decision,) = planned(a_job_view(state=JobState.SUSPENDED), spendings=(a_spending(5000.0),))
    assert decision.action is Action.START


def test_clinical_work_and_what_was_ordered_to_run_now_are_never_held() -> None:
    clinical = a_job_view("a", urgency=Urgency.CLINICAL)
    decisions = planned(clinical, a_job_view("b", forced=True), spendings=(a_spending(5000.0),))
    assert [(d.action, d.reason.code) for d in decisions] == [
        (Action.START, ReasonCode.CLINICAL),
        (Action.START, ReasonCode.RUN_NOW),
    ]


def test_a_budget_is_allotted_in_the_order_of_service_and_exceeded_by_one_job() -> None:
    jobs = [a_job_view(f"j{i}", hours=2, patience_h=20 + i) for i in range(4)]  # 120 g each at 200 g/kWh and 300 W
    decisions = planned(*jobs, spendings=(a_spending(800.0),))
    assert [d.action for d in decisions] == [Action.START, Action.START, Action.WAIT, Action.WAIT]
    assert "800 g of 1,000 g are used this day, and 240 g are promised" in decisions[2].reason.sentence


def test_what_running_work_will_still_take_is_promised() -> None:
    running = a_job_view("a", running_h=1.0, hours=5)  # 300 g at 200 g/kWh and 300 W
    _, decision = planned(running, a_job_view("b"), spendings=(a_spending(800.0),))
    assert decision.reason.code is ReasonCode.BUDGET
    _, decision = planned(running, a_job_view("b"), spendings=(a_spending(600.0),))
    assert decision.action is Action.START


def test_a_budget_of_gpu_hours_counts_gpus_and_leaves_work_without_any_alone() -> None:
    spent = a_spending(10.0, 10.0, measure=Measure.GPU)
    with_gpu, without = planned(a_job_view("a"), a_job_view("b", gpus=0), spendings=(spent,))
    assert "10.0 GPU-h of 10.0 GPU-h" in with_gpu.reason.sentence
    assert without.action is Action.START
    running = a_job_view("a", running_h=1.0, hours=3, gpus=2)
    left = a_spending(4.5, 10.0, measure=Measure.GPU)
    assert planned(running, a_job_view("b"), spendings=(left,))[1].reason.code is ReasonCode.BUDGET


def test_a_job_that_may_not_begin_in_this_period_is_not_held_for_it() -> None:
    view = a_job_view(not_before=MIDNIGHT + timedelta(hours=1))
    (decision,) = planned(view, spendings=(a_spending(1000.0),))
    assert decision.reason.code is ReasonCode.BEGIN_TIME


def test_near_its_end_a_budget_has_any_expected_saving_count() -> None:
    prices = [100.0 if 16 <= i < 32 else 101.0 for i in range(192)]
    view, queue = a_job_view(), a_queue(min_savings=0.2, confidence=0.9)
    for used, action in ((790.0, Action.START), (810.0, Action.WAIT)):
        shot = a_snapshot(view, queues=[queue], forecasts=[a_forecast(prices, errors=5.0)])
        (decision,) = decide(budgeted(shot, a_spending(used))).decisions
        assert decision.action is action
    assert decision.reason.code is ReasonCode.CARBON_WINDOW


def test_a_job_that_would_find_no_place_later_runs_over_its_budget() -> None:
    """Another project's work takes the only GPU from the end of the wait on."""
    later = a_job_view("a", hours=9, patience_h=3.5, not_before=NOON + timedelta(hours=3))
    ours = replace(a_job_view("b", hours=1, patience_h=4.0), project="scans")
    shot = a_snapshot(later, ours, queues=ASAP, sites=[a_site_view(a_site(gpus=1))])
    held = replace(shot, projects={"scans": ProjectView("scans", (a_spending(1000.0),))})
    decision = decide(held).decisions[1]
    assert (decision.action, decision.reason.code) == (Action.START, ReasonCode.OVER_BUDGET)
    assert decision.reason.sentence.startswith("if it waited, work would be late, so")


def test_nobody_else_is_late_because_a_job_waits_for_its_budget() -> None:
    """Two jobs fit one after the other on one GPU only when the held one goes first."""
    ours = replace(a_job_view("a", hours=2, patience_h=2.0), project="scans")
    other = a_job_view("b", hours=3, patience_h=2.5)
    shot = a_snapshot(ours, other, queues=ASAP, sites=[a_site_view(a_site(gpus=1))])
    free = decide(shot)
    held = decide(replace(shot, projects={"scans": ProjectView("scans", (a_spending(1000.0),))}))
    assert [d.action for d in held.decisions] == [d.action for d in free.decisions] == [Action.START, Action.WAIT]


def test_a_decision_that_was_kept_is_taken_anew_when_the_budget_is_spent() -> None:
    view = a_job_view()
    (decided,) = decide(budgeted(a_snapshot(view, queues=ASAP), a_spending(0.0))).decisions
    kept = replace(a_snapshot(replace(view, decided=decided), queues=ASAP), asked=frozenset())
    assert decide(kept).decisions[0].action is Action.START
    assert decide(budgeted(kept, a_spending(1000.0))).decisions[0].reason.code is ReasonCode.BUDGET


def test_joint_policies_hold_jobs_to_budgets_too() -> None:
    shot = a_snapshot(a_job_view(), queues=[a_queue(policy="balanced")], forecasts=[a_forecast(a_dip())])
    (decision,) = decide(budgeted(shot, a_spending(1000.0))).decisions
    assert decision.reason.code is ReasonCode.BUDGET
    assert decision.chosen is not None
    assert decision.chosen.start >= MIDNIGHT
