"""How the joint policy serves a queue: who waits for cheaper hours, who makes room for whom, what stays free."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from lowtide.scheduler.decide.decide import decide
from lowtide.scheduler.model.job import JobId, Urgency
from lowtide.scheduler.model.plan import Action, JobDecision, JobView, Snapshot
from lowtide.scheduler.model.reason import ReasonCode
from tests.builders import NOON, a_dip, a_forecast, a_job_view, a_queue, a_site, a_site_view, a_snapshot

DIRTY_NOW = a_dip()
"""Clean from 16:00 to 20:00."""


def in_balance(*jobs: JobView, prices: Sequence[float] = (200.0,) * 192, gpus: int = 4, **changes: object) -> Snapshot:
    queue = a_queue(policy="balanced", switch_cost_s=0.0, min_savings=0.0, deadline_margin=0.0, **changes)  # type: ignore[arg-type]  # any field of Queue
    used = sum(job.resources.gpus for job in jobs if job.site)
    site = a_site_view(a_site(gpus=gpus), used_gpus=used, used_cpus=sum(job.resources.cpus for job in jobs if job.site))
    clinical = a_queue("clinical", policy="asap", urgency=Urgency.CLINICAL)
    return a_snapshot(*jobs, sites=[site], queues=[queue, clinical], forecasts=[a_forecast(prices)])


def decided(snapshot: Snapshot) -> dict[str, JobDecision]:
    return {str(decision.job_id): decision for decision in decide(snapshot).decisions}


def hours(moment: datetime) -> float:
    return (moment - NOON) / timedelta(hours=1)


def stretches(decision: JobDecision) -> list[tuple[float, float]]:
    assert decision.chosen is not None
    return [(hours(segment.start), hours(segment.end)) for segment in decision.chosen.segments]


def test_who_has_less_slack_gets_the_cheaper_hours() -> None:
    jobs = a_job_view("later", gpus=4, hours=4, patience_h=30), a_job_view("sooner", gpus=4, hours=4, patience_h=12)
    found = decided(in_balance(*jobs, prices=DIRTY_NOW))
    assert stretches(found["sooner"]) == [(4, 8)]
    assert stretches(found["later"]) != [(4, 8)]


def test_a_running_job_goes_on_and_pauses_later_where_that_emits_least() -> None:
    prices = [100.0] * 4 + [500.0] * 8 + [50.0] * 180
    job = a_job_view("j", hours=4, running_h=2, suspendable=True, at_stake_s=0.0)
    (decision,) = decide(in_balance(job, prices=prices)).decisions
    assert decision.action is Action.SUSPEND  # from 15:00 on it is cheaper still
    near = in_balance(replace(job, latest_finish_at=NOON + timedelta(hours=6)), prices=prices)
    (decision,) = decide(near).decisions
    assert decision.action is Action.KEEP
    assert stretches(decision) == [(0, 1), (3, 6)]


def test_a_job_that_has_just_started_goes_on_for_its_least_stretch() -> None:
    job = a_job_view("j", hours=2, running_h=0.25, suspendable=True)
    (decision,) = decide(in_balance(job, prices=DIRTY_NOW, min_run_s=2700.0)).decisions
    assert decision.action is Action.KEEP
    assert stretches(decision) == [(0, 0.5), (4, 5.5)]


def test_running_jobs_with_more_slack_make_room_for_one_that_could_not_end_in_time() -> None:
    running = [a_job_view(f"r{i}", gpus=2, hours=10, running_h=1, suspendable=True, patience_h=20) for i in range(2)]
    short = a_job_view("due", gpus=3, hours=2, patience_h=3)
    found = decided(in_balance(*running, short))
    assert stretches(found["due"])[-1][1] <= 5
    assert all(stretches(found[name])[-1][1] <= 30 for name in ("r0", "r1"))


def test_who_has_to_start_now_says_that_others_make_room_and_they_say_for_whom() -> None:
    running = [a_job_view(f"r{i}", gpus=2, hours=10, running_h=1, suspendable=True, patience_h=20) for i in range(2)]
    found = decided(in_balance(*running, a_job_view("due", gpus=2, hours=2, patience_h=0.1)))
    assert (found["due"].action, found["due"].reason.code) == (Action.WAIT, ReasonCode.MAKING_ROOM)
    stopped = [d for name, d in found.items() if name != "due" and d.action is Action.SUSPEND]
    assert [d.reason.code for d in stopped] == [ReasonCode.GAVE_WAY]


def test_nobody_with_less_slack_makes_room() -> None:
    running = a_job_view("running", gpus=4, hours=10, running_h=1, suspendable=True, patience_h=1, at_stake_s=0.0)
    found = decided(in_balance(running, a_job_view("due", gpus=2, hours=2, patience_h=2)))
    assert found["running"].action is Action.KEEP
    assert stretches(found["running"]) == [(0, 10)]


def test_who_ends_within_the_slot_is_not_stopped_where_nobody_is_late_for_it() -> None:
    running = a_job_view("running", gpus=4, hours=0.2, running_h=1, suspendable=True, patience_h=20)
    found = decided(in_balance(running, a_job_view("due", gpus=2, hours=2, patience_h=0.3)))
    assert found["running"].action is Action.KEEP


def test_clinical_work_gets_the_place_of_running_work_where_none_is_free() -> None:
    running = [a_job_view(f"r{i}", gpus=2, hours=10, running_h=1, suspendable=True, patience_h=20) for i in range(2)]
    clinical = a_job_view("clinical", gpus=1, hours=1, queue="clinical")
    found = decided(in_balance(*running, clinical))
    assert found["clinical"].reason.code is ReasonCode.MAKING_ROOM
    assert sum(found[name].action is Action.SUSPEND for name in ("r0", "r1")) == 1


def test_clinical_work_disturbs_nobody_where_a_place_is_free() -> None:
    running = a_job_view("running", gpus=2, hours=10, running_h=1, suspendable=True, patience_h=20)
    found = decided(in_balance(running, a_job_view("clinical", gpus=2, hours=1, queue="clinical")))
    assert (found["clinical"].action, found["running"].action) == (Action.START, Action.KEEP)


@pytest.mark.parametrize(("inflow_gpus", "most"), [(0.0, 8), (8.0, 7)])
def test_of_clean_hours_ahead_a_share_stays_free_for_work_to_come(inflow_gpus: float, most: int) -> None:
    jobs = [a_job_view(f"j{i}", hours=4, patience_h=20) for i in range(8)]
    snapshot = replace(in_balance(*jobs, prices=DIRTY_NOW, gpus=8), inflow_gpus=inflow_gpus)
    assert sum(stretches(d) == [(4, 8)] for d in decided(snapshot).values()) == most


def test_what_is_not_asked_about_keeps_its_place_unless_the_new_one_would_be_late() -> None:
    running = a_job_view("running", gpus=4, hours=10, running_h=1, suspendable=True, patience_h=20)
    before = decided(in_balance(running))
    kept = replace(running, decided=before["running"])
    new = a_job_view("new", gpus=4, hours=2, patience_h=20)
    asked = frozenset({JobId("new")})
    calm = decided(replace(in_balance(kept, new), asked=asked))
    assert stretches(calm["running"]) == [(0, 10)]
    urgent = replace(new, latest_finish_at=NOON + timedelta(hours=4))
    pressed = decided(replace(in_balance(kept, urgent), asked=asked))
    assert stretches(pressed["new"])[-1][1] <= 4
