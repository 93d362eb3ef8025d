"""Jobs that wait for others: after them in the plan, and these early enough for what waits for them."""

from dataclasses import replace
from datetime import datetime, timedelta

from lowtide.scheduler.decide.decide import decide
from lowtide.scheduler.decide.workflow import workflow
from lowtide.scheduler.model.job import JobId, Urgency
from lowtide.scheduler.model.lifecycle import JobState
from lowtide.scheduler.model.plan import Action, JobDecision, JobView, Plan
from lowtide.scheduler.model.project import ProjectView
from lowtide.scheduler.model.reason import ReasonCode
from lowtide.scheduler.model.reservation import Reservation
from lowtide.scheduler.model.site import Share
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
)

JOINT = [a_queue(policy="balanced", deadline_margin=0.0, switch_cost_s=0.0)]
A_DIP_LATE = [a_forecast(a_dip(begin=40, slots=20))]
SHY = a_site_view(replace(a_site(gpus=1), virtual_capacity=(Share(200.0, 0.5),)))
"""Offers half of its GPUs, rounded down, to work that is not clinical while its grid is dirty."""
DIRTY = [a_forecast([300.0] * 24 + [100.0] * 168)]


def after(*job_ids: str) -> tuple[JobId, ...]:
    return tuple(JobId(job_id) for job_id in job_ids)


def decided(plan: Plan, job_id: str) -> JobDecision:
    return next(d for d in plan.decisions if d.job_id == job_id)


def start_of(plan: Plan, job_id: str) -> datetime:
    chosen = decided(plan, job_id).chosen
    assert chosen is not None
    return chosen.start


def end_of(plan: Plan, job_id: str) -> datetime:
    chosen = decided(plan, job_id).chosen
    assert chosen is not None
    return chosen.finish


def a_chain(**last: object) -> list[JobView]:
    return [
        a_job_view("prep", hours=1),
        a_job_view("train", hours=2, waits_for=after("prep")),
        a_job_view("test", hours=1, waits_for=after("train"), **last),  # type: ignore[arg-type]  # any field of a view
    ]


def test_inv24_a_job_is_planned_after_what_it_waits_for_in_the_same_plan() -> None:
    plan = decide(a_snapshot(*a_chain(), queues=JOINT, forecasts=A_DIP_LATE))
    assert start_of(plan, "prep") > NOON  # it goes to the clean hours, the others after it
    assert end_of(plan, "prep") <= start_of(plan, "train")
    assert end_of(plan, "train") <= start_of(plan, "test")


def test_a_job_that_waits_for_others_says_for_which_and_when_their_end_is_expected() -> None:
    plan = decide(a_snapshot(*a_chain()))
    decision = decided(plan, "train")
    assert decision.action is Action.WAIT
    assert decision.reason.sentence == "waits for prep to end (expected: Tue 13:00 UTC)"
    assert decision.would_start_now_if == ("prep had ended",)


def test_inv24_not_even_an_order_to_run_now_has_a_job_begin_before_what_it_waits_for() -> None:
    plan = decide(a_snapshot(a_job_view("prep"), a_job_view("train", waits_for=after("prep"), forced=True)))
    assert decided(plan, "train").action is Action.WAIT
    assert start_of(plan, "train") == end_of(plan, "prep")


def test_patience_counts_from_when_a_job_could_begin() -> None:
    prep = a_job_view("prep", hours=10, patience_h=0)
    plan = decide(
        a_snapshot(prep, a_job_view("train", hours=1, patience_h=5, waits_for=after("prep")), forecasts=A_DIP_LATE)
    )
    assert start_of(plan, "train") == NOON + timedelta(hours=10)  # where the dip begins: not over its time, nor late
    assert decided(plan, "train").latest_start_at == NOON + timedelta(hours=15, minutes=1, seconds=-480)


def test_inv10_what_a_deadline_waits_for_begins_early_enough_for_the_whole_chain() -> None:
    plan = decide(a_snapshot(*a_chain(finish_in_h=5, has_deadline=True), queues=JOINT, forecasts=A_DIP_LATE))
    assert end_of(plan, "test") <= NOON + timedelta(hours=5)
    assert start_of(plan, "train") >= end_of(plan, "prep")


def test_inv10_what_several_wait_for_ends_early_enough_for_all_of_them_one_after_the_other() -> None:
    views = [a_job_view("prep", hours=1, suspendable=True)]
    views += [
        a_job_view(f"part-{n}", hours=2, finish_in_h=8, has_deadline=True, waits_for=after("prep")) for n in range(3)
    ]
    site = a_site_view(a_site(gpus=1))
    plan = decide(a_snapshot(*views, sites=[site], queues=JOINT, forecasts=[a_forecast(a_dip(begin=20))]))
    assert end_of(plan, "prep") <= NOON + timedelta(hours=2)
    assert max(end_of(plan, f"part-{n}") for n in range(3)) <= NOON + timedelta(hours=8)


def test_what_has_to_run_now_for_the_sake_of_another_names_it() -> None:
    plan = decide(a_snapshot(*a_chain(finish_in_h=4.2, has_deadline=True), queues=JOINT, forecasts=A_DIP_LATE))
    decision = decided(plan, "prep")
    assert decision.action is Action.START
    assert decision.reason.sentence == "must run now: train waits for it and cannot be in time otherwise"


def test_a_job_behind_one_that_is_held_waits_for_a_time_that_is_not_known() -> None:
    plan = decide(a_snapshot(a_job_view("prep", held=True), a_job_view("train", waits_for=after("prep"))))
    assert decided(plan, "train").chosen is None
    assert decided(plan, "train").reason.sentence == "waits for prep to end (expected: not known yet)"


def test_a_job_whose_needed_success_did_not_come_stays_and_says_what_to_do() -> None:
    broken = a_job_view("train", broken_by=(JobId("prep"), JobState.FAILED))
    plan = decide(a_snapshot(broken, a_job_view("test", waits_for=after("train"))))
    decision = decided(plan, "train")
    assert decision.action is Action.WAIT
    assert decision.reason.code is ReasonCode.DEPENDENCY_NEVER_SATISFIED
    assert "prep had succeeded, and that is failed" in decision.reason.sentence
    assert "lowtide release train" in decision.reason.sentence
    assert decided(plan, "test").action is Action.WAIT


def test_a_running_job_that_is_waited_for_ends_when_its_run_does() -> None:
    plan = decide(a_snapshot(a_job_view("prep", hours=2, running_h=1), a_job_view("train", waits_for=after("prep"))))
    assert start_of(plan, "train") == NOON + timedelta(hours=2)


def test_the_same_plan_follows_when_the_last_one_is_known() -> None:
    shot = a_snapshot(*a_chain(), queues=JOINT, forecasts=A_DIP_LATE)
    plan = decide(shot)
    views = tuple(
        replace(v, planned_finish_at=end_of(plan, v.job_id), pinned_start_at=start_of(plan, v.job_id))
        for v in shot.jobs
    )
    again = decide(replace(shot, jobs=views))
    assert [d.chosen for d in again.decisions] == [d.chosen for d in plan.decisions]


def test_importance_is_the_longest_run_that_waits_relative_to_the_most_of_its_workflow() -> None:
    others = [a_job_view("alone"), a_job_view("side", hours=1), a_job_view("after-side", waits_for=after("side"))]
    short = a_job_view("short", hours=0.5, waits_for=after("prep"))
    found = workflow(a_snapshot(*a_chain(), short, *others)).importance
    assert found == {"prep": 1.0, "train": 1 / 3, "test": 0.0, "short": 0.0, "side": 1.0, "after-side": 0.0}


def test_the_importance_policy_lets_what_most_waits_for_start_and_the_others_wait() -> None:
    queue = a_queue(policy="importance", policy_params=(("gamma", 1.0), ("least_share", 1.0)))
    views = [a_job_view("alone"), a_job_view("prep"), a_job_view("train", waits_for=after("prep"))]
    plan = decide(a_snapshot(*views, queues=[queue], forecasts=[a_forecast(a_dip())]))
    assert decided(plan, "prep").action is Action.START
    assert decided(plan, "alone").action is Action.WAIT


def test_jobs_that_wait_in_a_circle_wait_and_nothing_else_is_harmed() -> None:
    circle = [a_job_view("a", waits_for=after("b")), a_job_view("b", waits_for=after("a"))]
    plan = decide(a_snapshot(*circle, a_job_view("c")))
    assert [d.action for d in plan.decisions] == [Action.WAIT, Action.WAIT, Action.START]


def test_a_full_site_delays_what_waits_with_what_is_waited_for() -> None:
    site = a_site_view(a_site(gpus=1))
    views = [a_job_view("big", hours=3, patience_h=0), *a_chain()]
    plan = decide(a_snapshot(*views, sites=[site], queues=JOINT))
    assert start_of(plan, "train") >= end_of(plan, "prep") >= NOON + timedelta(hours=1)


def test_inv_10_what_clinical_work_waits_for_is_not_delayed_for_carbon_either() -> None:
    jobs = [
        a_job_view("fetch"),
        a_job_view("prep", waits_for=after("fetch")),
        a_job_view("scan", urgency=Urgency.CLINICAL, waits_for=after("prep")),
    ]
    plan = decide(a_snapshot(*jobs, queues=JOINT, forecasts=A_DIP_LATE))
    assert start_of(plan, "fetch") == NOON
    assert start_of(plan, "prep") == end_of(plan, "fetch")
    assert start_of(plan, "scan") == end_of(plan, "prep")
    sentence = decided(plan, "fetch").reason.sentence
    assert sentence == "must run now: prep waits for it and cannot be in time otherwise"


def test_clinical_work_that_comes_in_has_what_it_waits_for_planned_anew() -> None:
    prep = a_job_view("prep")
    before = decide(a_snapshot(prep, queues=JOINT, forecasts=A_DIP_LATE))
    assert start_of(before, "prep") > NOON
    jobs = [
        replace(prep, decided=before.decisions[0]),
        a_job_view("scan", urgency=Urgency.CLINICAL, waits_for=after("prep")),
    ]
    shot = replace(a_snapshot(*jobs, queues=JOINT, forecasts=A_DIP_LATE), asked=frozenset({JobId("scan")}))
    assert start_of(decide(shot), "prep") == NOON


def test_what_clinical_work_waits_for_does_not_pause_for_carbon() -> None:
    runs = a_job_view("prep", hours=3, running_h=2.0, suspendable=True, at_stake_s=0.0)
    alone = decide(a_snapshot(runs, queues=JOINT, forecasts=A_DIP_LATE))
    assert decided(alone, "prep").action is Action.SUSPEND
    scan = a_job_view("scan", urgency=Urgency.CLINICAL, waits_for=after("prep"))
    assert decided(decide(a_snapshot(runs, scan, queues=JOINT, forecasts=A_DIP_LATE)), "prep").action is Action.KEEP


def test_clinical_work_that_is_held_hurries_nobody() -> None:
    scan = a_job_view("scan", urgency=Urgency.CLINICAL, waits_for=after("prep"), held=True)
    plan = decide(a_snapshot(a_job_view("prep"), scan, queues=JOINT, forecasts=A_DIP_LATE))
    assert start_of(plan, "prep") > NOON


def test_inv24_a_plan_that_is_mended_for_a_deadline_still_has_each_job_after_what_it_waits_for() -> None:
    """What is asked anew must not swap places with what it waits for."""
    now = NOON + timedelta(seconds=333)
    jobs = [
        a_job_view("a", patience_h=30, now=now),
        a_job_view("b", patience_h=0, waits_for=after("a"), now=now),
        a_job_view("c", hours=2, patience_h=30, waits_for=after("b"), urgency=Urgency.CLINICAL, now=now),
    ]
    for policy in ("asap", "balanced"):
        queues = [a_queue(policy=policy, deadline_margin=0.0, switch_cost_s=0.0)]
        plan = decide(a_snapshot(*jobs, now=now, sites=[SHY], queues=queues, forecasts=DIRTY))
        assert start_of(plan, "a") == now
        assert end_of(plan, "a") <= start_of(plan, "b")
        assert end_of(plan, "b") <= start_of(plan, "c")


def test_inv24_a_budget_does_not_have_what_waits_and_what_it_waits_for_swap_places() -> None:
    now = NOON + timedelta(seconds=333)
    first = a_job_view("first", patience_h=0, now=now, project="scans")
    then = a_job_view("then", patience_h=30, waits_for=after("first"), forced=True, now=now)
    shot = a_snapshot(first, then, now=now, sites=[a_site_view(a_site(gpus=1))], queues=[a_queue(policy="asap")])
    plan = decide(replace(shot, projects={"scans": ProjectView("scans", (a_spending(1100.0),))}))
    assert end_of(plan, "first") <= start_of(plan, "then")


def test_clinical_work_is_in_time_before_others_that_were_placed_while_it_was_not_known_when_it_could_begin() -> None:
    runs = a_job_view("runs", gpus=2, hours=1, running_h=1.0)
    due = a_job_view("due", hours=2.25, patience_h=0)
    prep = a_job_view("prep", gpus=0, hours=1)
    scan = a_job_view("scan", hours=5, patience_h=0.2, waits_for=after("prep"), urgency=Urgency.CLINICAL)
    home = a_site_view(replace(SHY.site, gpus=3), used_gpus=2, used_cpus=1)
    clean_once = [a_forecast([300.0] * 24 + [100.0] * 10 + [300.0] * 100 + [100.0] * 58)]
    shot = a_snapshot(runs, due, prep, scan, sites=[home], forecasts=clean_once)
    for policy in ("asap", "balanced"):
        queues = {"research": a_queue(policy=policy, deadline_margin=0.0, switch_cost_s=0.0)}
        plan = decide(replace(shot, reservations=(Reservation(1, "home", "", NOON, gpus=2, cpus=1),), queues=queues))
        assert start_of(plan, "scan") == end_of(plan, "prep")
