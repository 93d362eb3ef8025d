"""Drains and reservations in plans: what they keep free, for whom, and what becomes of jobs that run into them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from lowtide.scheduler.decide.decide import decide
from lowtide.scheduler.decide.registry import policy_names
from lowtide.scheduler.model.job import Urgency
from lowtide.scheduler.model.plan import Action, JobDecision, JobView, Snapshot
from lowtide.scheduler.model.reason import ReasonCode
from lowtide.scheduler.model.reservation import Reservation
from lowtide.scheduler.model.site import Pool, Share, Site
from tests.builders import NOON, a_job_view, a_queue, a_site, a_site_view, a_snapshot

POOLS = (Pool("a", 4, 32), Pool("b", 4, 32))


def at(hours: float) -> datetime:
    return NOON + timedelta(hours=hours)


def a_reservation(begin_h: float = 0.0, end_h: float | None = None, **more: Any) -> Reservation:
    kept = {"number": 1, "site": "home", "pool": "", **more}
    return Reservation(start_at=at(begin_h), end_at=None if end_h is None else at(end_h), **kept)


def planned(
    *jobs: JobView, kept: Sequence[Reservation], policy: str = "asap", site: Site | None = None
) -> dict[str, JobDecision]:
    live = [job for job in jobs if job.site is not None]
    gpus, cpus = sum(j.resources.gpus for j in live), sum(j.resources.cpus for j in live)
    sites = [a_site_view(site or a_site(), used_gpus=gpus, used_cpus=cpus)]
    snapshot = a_snapshot(*jobs, sites=sites, queues=[a_queue(policy=policy)])
    return told(replace(snapshot, reservations=tuple(kept)))


def told(snapshot: Snapshot) -> dict[str, JobDecision]:
    return {d.job_id: d for d in decide(snapshot).decisions}


def start(decision: JobDecision) -> datetime | None:
    return None if decision.chosen is None else decision.chosen.start


def a_running_job(name: str = "r", *, hours: float = 4.0, **more: Any) -> JobView:
    return a_job_view(name, running_h=2, hours=hours, **{"suspendable": True, "at_stake_s": 0.0, **more})


def test_nothing_starts_at_a_site_that_is_drained_and_the_reason_says_so() -> None:
    decision = planned(a_job_view(), kept=[a_reservation(-1, 3)])["job-1"]
    assert (decision.action, decision.reason.code) == (Action.WAIT, ReasonCode.KEPT_FREE)
    assert start(decision) == at(3)
    assert decision.reason.sentence == (
        "home is drained from Tue 12:00 UTC until Tue 15:00 UTC; the job is planned for Tue 15:00 UTC"
    )


def test_a_drain_without_an_end_lasts_until_it_is_ended() -> None:
    decision = planned(a_job_view(), kept=[a_reservation()])["job-1"]
    assert (decision.action, decision.chosen) == (Action.WAIT, None)
    assert "until an administrator ends that" in decision.reason.sentence


@pytest.mark.parametrize("policy", policy_names())
def test_inv_07_a_job_starts_before_a_drain_only_if_it_ends_by_then(policy: str) -> None:
    short, long = a_job_view("short", hours=1.5), a_job_view("long", hours=2.5)
    found = planned(short, long, kept=[a_reservation(2.1, 6)], policy=policy)
    assert start(found["short"]) == NOON
    assert start(found["long"]) == at(6)
    assert found["long"].reason.code is ReasonCode.KEPT_FREE


def test_a_slot_that_a_drain_covers_in_part_is_covered() -> None:
    found = planned(a_job_view(hours=2), kept=[a_reservation(1.9, 2.1)])
    assert start(found["job-1"]) == at(2.25)


def test_a_drained_pool_leaves_the_others_as_they_are() -> None:
    site = replace(a_site(), pools=POOLS)
    found = planned(a_job_view("x", gpus=4), a_job_view("y", gpus=4), kept=[a_reservation(pool="a")], site=site)
    assert found["x"].chosen is not None
    assert (found["x"].action, found["x"].chosen.pool) == (Action.START, "b")
    assert found["y"].action is Action.WAIT


@pytest.mark.parametrize("policy", policy_names())
def test_what_can_be_suspended_is_by_the_time_that_its_site_is_drained(policy: str) -> None:
    running = a_running_job()
    now = planned(running, kept=[a_reservation(0.25, 6)], policy=policy)["r"]
    assert now.chosen is not None
    if now.action is Action.KEEP:  # it uses what is left of the slot, and pauses as the drain begins
        assert policy in {"balanced", "optimal"}
        assert now.chosen.segments[0].end == at(0.25)
        assert now.chosen.segments[1].start == at(6)
        return
    assert (now.action, now.reason.code) == (Action.SUSPEND, ReasonCode.KEPT_FREE)
    assert start(now) == at(6)


@pytest.mark.parametrize("policy", policy_names())
def test_what_cannot_be_suspended_runs_on_into_a_drain(policy: str) -> None:
    stuck = a_running_job("stuck", suspendable=False)
    clinical = a_running_job("clinical", urgency=Urgency.CLINICAL)
    late = a_running_job("late", patience_h=1)
    found = planned(stuck, clinical, late, kept=[a_reservation(0.25, 6)], policy=policy)
    assert {d.action for d in found.values()} == {Action.KEEP}


@pytest.mark.parametrize("policy", policy_names())
def test_a_running_job_goes_on_until_a_drain_is_near(policy: str) -> None:
    assert planned(a_running_job(), kept=[a_reservation(2, 6)], policy=policy)["r"].action is Action.KEEP


def test_a_reservation_is_for_its_members_alone() -> None:
    kept = a_reservation(-1, 6, gpus=6, cpus=40, project="imaging")
    member = a_job_view("member", gpus=6, project="imaging")
    other, small = a_job_view("other", gpus=6), a_job_view("small", gpus=2)
    found = planned(member, other, small, kept=[kept])
    assert (found["member"].action, found["small"].action) == (Action.START, Action.START)
    assert (found["other"].action, found["other"].reason.code) == (Action.WAIT, ReasonCode.KEPT_FREE)
    assert found["member"].chosen is not None
    assert found["member"].chosen.site == "home"
    assert "reserved" in found["other"].reason.sentence


def test_members_may_use_what_is_not_reserved_too() -> None:
    kept = a_reservation(-1, 6, gpus=2, cpus=8, queue="research")
    jobs = [a_job_view(f"j{i}", gpus=2) for i in range(5)]
    assert sum(d.action is Action.START for d in planned(*jobs, kept=[kept]).values()) == 4


@pytest.mark.parametrize("policy", policy_names())
def test_a_member_that_runs_fills_the_reservation_and_goes_on(policy: str) -> None:
    kept = a_reservation(-1, 6, gpus=8, cpus=64, project="imaging")
    running = a_running_job(gpus=4, hours=8, project="imaging")
    waits = a_job_view("waits", gpus=4, project="imaging")
    found = planned(running, waits, a_job_view("other", gpus=4), kept=[kept], policy=policy)
    assert found["r"].action is Action.KEEP
    assert found["waits"].action is Action.START
    assert found["other"].action is Action.WAIT


def test_inv_07_what_others_still_run_in_a_reservation_is_not_given_to_its_members() -> None:
    kept = a_reservation(-1, 6, gpus=8, cpus=64, project="imaging")
    stranger = a_running_job(gpus=4, hours=2, suspendable=False)
    found = planned(stranger, a_job_view("waits", gpus=8, project="imaging"), kept=[kept])
    assert start(found["waits"]) == at(2)


def test_clinical_work_has_all_of_a_site_but_what_is_reserved_for_others() -> None:
    site = replace(a_site(), virtual_capacity=(Share(100.0, 0.5),))
    kept = a_reservation(-1, 6, gpus=4, cpus=8, project="imaging")
    jobs = [a_job_view(f"c{i}", gpus=2, urgency=Urgency.CLINICAL) for i in range(3)]
    found = planned(*jobs, kept=[kept], site=site)
    assert sum(d.action is Action.START for d in found.values()) == 2


def test_inv_07_what_is_reserved_is_drained_with_its_pool() -> None:
    both = [a_reservation(-1, 6, project="imaging"), a_reservation(-1, 6, number=2)]
    assert planned(a_job_view(project="imaging"), kept=both)["job-1"].action is Action.WAIT


def test_a_drain_at_another_site_changes_nothing() -> None:
    plain, kept = planned(a_job_view(), kept=[]), planned(a_job_view(), kept=[a_reservation(site="paris")])
    assert plain == kept


@pytest.mark.parametrize("project", [None, "imaging"])
def test_what_is_over_or_far_away_changes_nothing(project: str | None) -> None:
    kept = [a_reservation(-3, -1, project=project), a_reservation(24 * 60, number=2, project=project)]
    jobs = [a_job_view(f"j{i}", gpus=5, project="imaging") for i in range(2)]
    assert planned(*jobs, kept=kept) == planned(*jobs, kept=[])
