"""Safety sentences about budgets: on any snapshot, with any budgets, patience ends and nothing is stopped."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from lowtide.scheduler.decide.decide import decide
from lowtide.scheduler.decide.explain import plan_to_json
from lowtide.scheduler.model.job import Urgency
from lowtide.scheduler.model.lifecycle import JobState
from lowtide.scheduler.model.plan import Action, JobDecision, JobView, Snapshot
from lowtide.scheduler.model.project import Budget, Measure, Period, ProjectView, Spending
from lowtide.scheduler.model.reason import ReasonCode
from tests.builders import a_forecast, a_job_view, a_queue, a_site, a_site_view, a_snapshot
from tests.property.test_decide_properties import FEW, snapshots

PROJECTS = ("scans", "cells")


@st.composite
def budgeted(draw: st.DrawFn) -> Snapshot:
    """Jobs of two projects, each with one or two budgets, spent or not."""
    shot = draw(snapshots())
    jobs = tuple(replace(view, project=draw(st.sampled_from((*PROJECTS, "free")))) for view in shot.jobs)
    spending = st.builds(
        lambda period, measure, used: Spending(Budget(period, measure, 1000.0), used, *period.around(shot.now)),
        st.sampled_from(Period),
        st.sampled_from(Measure),
        st.sampled_from([0.0, 700.0, 850.0, 999.0, 1000.0, 5000.0]),
    )
    projects = {name: ProjectView(name, tuple(draw(st.lists(spending, max_size=2)))) for name in PROJECTS}
    return replace(shot, jobs=jobs, projects=projects)


def pairs(snapshot: Snapshot) -> list[tuple[JobView, JobDecision, JobDecision]]:
    """Every job with what is decided, and with what would be without budgets."""
    held, free = decide(snapshot), decide(replace(snapshot, projects={}))
    return list(zip(snapshot.jobs, held.decisions, free.decisions, strict=True))


def is_late(view: JobView, decision: JobDecision) -> bool:
    return decision.chosen is not None and decision.chosen.finish > view.latest_finish_at


@given(budgeted())
@FEW
def test_inv_10_no_job_is_late_because_one_waits_for_its_budget(snapshot: Snapshot) -> None:
    found = pairs(snapshot)
    if any(decision.reason.code is ReasonCode.BUDGET for _, decision, _ in found):
        assert all(is_late(view, free) for view, decision, free in found if is_late(view, decision))


@given(budgeted())
@FEW
def test_patience_always_ends_nothing_is_held_whose_last_moment_has_come(snapshot: Snapshot) -> None:
    for view, decision, _ in pairs(snapshot):
        if decision.reason.code is ReasonCode.BUDGET:
            last = decision.latest_start_at
            assert last is not None
            assert last >= snapshot.now + timedelta(seconds=snapshot.slot_s - 1)
            assert decision.next_review_at <= max(last, snapshot.now + timedelta(seconds=snapshot.slot_s))
            assert view.state is JobState.QUEUED


@given(budgeted())
@FEW
def test_a_budget_neither_stops_nor_holds_clinical_work_nor_what_was_ordered_to_run_now(snapshot: Snapshot) -> None:
    for view, decision, _ in pairs(snapshot):
        if view.urgency is Urgency.CLINICAL or view.forced or view.state is not JobState.QUEUED:
            assert decision.reason.code not in {ReasonCode.BUDGET, ReasonCode.OVER_BUDGET}


@given(budgeted())
@FEW
def test_nothing_is_suspended_for_a_budget_that_is_spent(snapshot: Snapshot) -> None:
    """Where the guard is told to go by any gain, a stop is for carbon; where it is anyway, both plans stop alike."""
    sure = {name: replace(queue, min_savings=0.0, confidence=0.5) for name, queue in snapshot.queues.items()}
    running = tuple(view for view in snapshot.jobs if view.state is JobState.RUNNING)
    for _, held, free in pairs(replace(snapshot, jobs=running, queues=sure)):
        assert (held.action is Action.SUSPEND) is (free.action is Action.SUSPEND)


@given(budgeted())
@FEW
def test_inv_14_equal_snapshots_with_budgets_give_equal_plans(snapshot: Snapshot) -> None:
    assert plan_to_json(decide(snapshot)) == plan_to_json(decide(snapshot))


@given(snapshots())
@FEW
def test_an_open_budget_changes_nothing(snapshot: Snapshot) -> None:
    jobs = tuple(replace(view, project="scans") for view in snapshot.jobs)
    wide = Spending(Budget(Period.DAY, Measure.CARBON, 1e12), 0.0, *Period.DAY.around(snapshot.now))
    held = replace(snapshot, jobs=jobs, projects={"scans": ProjectView("scans", (wide,))})
    assert plan_to_json(decide(held)) == plan_to_json(decide(snapshot))


@st.composite
def crowded(draw: st.DrawFn) -> Snapshot:
    """A few jobs of two projects that together fill one GPU for most of their time."""
    jobs = [
        replace(
            a_job_view(f"j{i}", hours=draw(st.sampled_from([1, 2, 4, 6])), patience_h=draw(st.floats(1, 14))),
            project=draw(st.sampled_from(PROJECTS)),
            suspendable=draw(st.booleans()),
        )
        for i in range(draw(st.integers(2, 5)))
    ]
    queue = a_queue(policy=draw(st.sampled_from(["asap", "balanced", "lowest_window"])))
    prices = draw(st.lists(st.sampled_from([100.0, 200.0, 300.0]), min_size=12, max_size=12))
    forecast = a_forecast([price for price in prices for _ in range(8)])
    return a_snapshot(*jobs, queues=[queue], sites=[a_site_view(a_site(gpus=1))], forecasts=[forecast])


@given(crowded(), st.sampled_from([(0.0, 100.0), (90.0, 10.0), (50.0, 50.0)]), st.sampled_from([0.1, 0.5, 1.0]))
@FEW
def test_inv_10_no_job_is_late_for_the_share_of_another(
    snapshot: Snapshot, used: tuple[float, float], weight: float
) -> None:
    shares = {name: ProjectView(name, recent_gpu_h=gpu_h) for name, gpu_h in zip(PROJECTS, used, strict=True)}
    queues = {name: replace(queue, fair_share_weight=weight) for name, queue in snapshot.queues.items()}
    fair = decide(replace(snapshot, projects=shares, queues=queues))
    for view, ours, theirs in zip(snapshot.jobs, fair.decisions, decide(snapshot).decisions, strict=True):
        assert not is_late(view, ours) or is_late(view, theirs)


@given(crowded(), st.sampled_from(Period), st.sampled_from(Measure))
@FEW
def test_inv_10_no_job_is_late_for_a_spent_budget_where_capacity_is_short(
    snapshot: Snapshot, period: Period, measure: Measure
) -> None:
    spent = Spending(Budget(period, measure, 10.0), 10.0, *period.around(snapshot.now))
    jobs = tuple(replace(view, project="scans") for view in snapshot.jobs)
    held = decide(replace(snapshot, jobs=jobs, projects={"scans": ProjectView("scans", (spent,))}))
    greener = {name: replace(queue, min_savings=0.0, confidence=0.5) for name, queue in snapshot.queues.items()}
    free = decide(replace(snapshot, queues=greener))
    for view, ours, theirs in zip(snapshot.jobs, held.decisions, free.decisions, strict=True):
        assert not is_late(view, ours) or is_late(view, theirs)
