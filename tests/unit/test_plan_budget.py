"""A plan may take so long: of a longer queue the most urgent part is planned, and that is said."""

from dataclasses import replace
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from lowtide.scheduler.control import plan_budget
from lowtide.scheduler.control.plan_budget import PlanBudget
from lowtide.scheduler.decide.decide import decide
from lowtide.scheduler.model.job import JobId, Urgency
from lowtide.scheduler.model.plan import Action, JobView, Plan, Snapshot
from lowtide.scheduler.model.reason import ReasonCode
from tests.builders import NOON, a_dip, a_forecast, a_job_view, a_queue, a_site, a_site_view, a_snapshot

LATER = ReasonCode.NOT_YET_PLANNED


@pytest.fixture(autouse=True)
def _two_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_budget, "LEAST_JOBS", 2)


def a_queue_of(*views: JobView, now_s: float = 0.0, **site: bool) -> Snapshot:
    now = NOON + timedelta(seconds=now_s)
    sites = [a_site_view(a_site(gpus=6), **site)]
    return a_snapshot(*views, now=now, sites=sites, queues=[a_queue()], forecasts=[a_forecast(a_dip())])


def some_jobs(count: int = 6) -> list[JobView]:
    """Each has an hour more than the one before."""
    return [a_job_view(f"job-{n}", hours=2, patience_h=10 + n) for n in range(count)]


def cycle(budget: PlanBudget, snapshot: Snapshot, took_s: float = 0.0003) -> Plan:
    """One cycle that took so long."""
    narrowed = budget.within(snapshot)
    plan = decide(narrowed)
    budget.planned(narrowed, plan, took_s)
    return plan


def later(plan: Plan) -> list[JobId]:
    return [one.job_id for one in plan.decisions if one.reason.code is LATER]


def test_a_queue_that_can_be_planned_in_time_is_planned_whole() -> None:
    budget = PlanBudget(1.0)
    snapshot = a_queue_of(*some_jobs())
    assert budget.within(snapshot) is snapshot
    assert not later(cycle(budget, snapshot))
    assert budget.finding()["status"] == "ok"


def test_of_a_longer_queue_the_most_urgent_are_planned_first_and_the_others_say_that_they_wait_for_it() -> None:
    budget = PlanBudget(0.0003)
    assert later(cycle(budget, a_queue_of(*some_jobs()))) == ["job-2", "job-3", "job-4", "job-5"]
    second = cycle(budget, a_queue_of(*some_jobs(), now_s=1))
    assert later(second) == ["job-4", "job-5"]
    assert [one.chosen is not None for one in second.decisions] == [True] * 4 + [False] * 2
    assert not later(cycle(budget, a_queue_of(*some_jobs(), now_s=2)))
    assert sorted(budget.within(a_queue_of(*some_jobs(), now_s=3)).asked or ()) == ["job-0", "job-1"], "round again"


def test_what_may_not_be_delayed_is_in_every_part_however_many_they_are() -> None:
    urgent = [a_job_view(f"now-{n}", hours=2, urgency=Urgency.CLINICAL) for n in range(4)]
    plan = cycle(PlanBudget(0.0003), a_queue_of(*some_jobs(), *urgent))
    assert [one.action for one in plan.decisions if one.job_id.startswith("now")] == [Action.START] * 4


def test_a_promised_start_that_has_come_is_in_the_part() -> None:
    budget = PlanBudget(0.0003)
    for second in range(3):
        plan = cycle(budget, a_queue_of(*some_jobs(), now_s=second))
    chosen = plan.decisions[5].chosen
    assert chosen is not None
    late_s = (chosen.start - NOON).total_seconds() + 3
    found = cycle(budget, a_queue_of(*some_jobs(), now_s=late_s))
    assert found.decisions[5].action is Action.START


def test_a_due_job_takes_the_place_that_another_was_promised() -> None:
    budget = PlanBudget(0.0003)
    for second in range(3):
        cycle(budget, a_queue_of(*some_jobs(), now_s=second))
    wide = a_job_view("wide", gpus=6, hours=8, urgency=Urgency.CLINICAL)
    found = {one.job_id: one for one in cycle(budget, a_queue_of(*some_jobs(), wide, now_s=3)).decisions}
    assert found[JobId("wide")].action is Action.START


@pytest.mark.parametrize("changes", [{"held": True}, {"suspensions": 1}])
def test_a_job_to_which_something_has_happened_does_not_keep_its_placement(changes: dict[str, object]) -> None:
    budget = PlanBudget(0.0003)
    for second in range(3):
        cycle(budget, a_queue_of(*some_jobs(), now_s=second))
    views = some_jobs()
    views[5] = replace(views[5], **changes)  # type: ignore[arg-type]  # any field of JobView
    assert later(cycle(budget, a_queue_of(*views, now_s=3))) == ["job-5"]


def test_at_a_site_that_does_not_answer_nothing_is_kept() -> None:
    budget = PlanBudget(0.0003)
    for second in range(3):
        cycle(budget, a_queue_of(*some_jobs(), now_s=second))
    found = cycle(budget, a_queue_of(*some_jobs(), now_s=3, reachable=False))
    assert not [one for one in found.decisions if one.chosen is not None]


def test_how_many_fit_is_learned_from_what_plans_took() -> None:
    budget = PlanBudget(1.0)
    before = budget.most
    cycle(budget, a_queue_of(*some_jobs()), took_s=6.0)
    assert (before, budget.most) == (6666, 2)


def test_a_partial_plan_is_told_once_until_plans_are_whole_again() -> None:
    budget = PlanBudget(0.0003)
    with capture_logs() as log:
        cycle(budget, a_queue_of(*some_jobs()))
        cycle(budget, a_queue_of(*some_jobs(), now_s=1))
        assert budget.finding()["status"] == "warn"
        assert "looks at 2 of 6 jobs to keep within 0.0003 s; 2 have no placement yet" in budget.finding()["detail"]
        cycle(budget, a_queue_of(*some_jobs(2), now_s=2))
    assert [entry["event"] for entry in log] == ["plan_partial", "plan_whole_again"]
