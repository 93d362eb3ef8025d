"""Sites with several pools: what runs where, and how it is told."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from lowtide.scheduler.decide.decide import decide
from lowtide.scheduler.decide.explain import decision_to_dict
from lowtide.scheduler.decide.registry import policy_names
from lowtide.scheduler.model.data import Transfer, TransferPart
from lowtide.scheduler.model.job import JobId, Resources
from lowtide.scheduler.model.lifecycle import JobState
from lowtide.scheduler.model.plan import Action, JobDecision, JobView, Snapshot
from lowtide.scheduler.model.reason import ReasonCode
from lowtide.scheduler.model.site import Pool, Site
from tests.builders import HOUR_S, NOON, a_forecast, a_job_view, a_queue, a_site, a_site_view, a_snapshot

H100, A40, PLAIN = Pool("h100", 4, 32, "H100"), Pool("a40", 8, 32, "A40"), Pool("cpu", 0, 64)
POOLS = (H100, A40, PLAIN)


def a_mixed_site(pools: Sequence[Pool] = POOLS) -> Site:
    whole = a_site(gpus=sum(p.gpus for p in pools), cpus=sum(p.cpus for p in pools))
    return replace(whole, pools=tuple(pools))


def a_mixed_snapshot(*jobs: JobView, policy: str = "balanced", pools: Sequence[Pool] = POOLS) -> Snapshot:
    live = [job for job in jobs if job.site is not None]
    gpus, cpus = sum(j.resources.gpus for j in live), sum(j.resources.cpus for j in live)
    view = a_site_view(a_mixed_site(pools), used_gpus=gpus, used_cpus=cpus)
    return a_snapshot(*jobs, sites=[view], queues=[a_queue(policy=policy)])


def decisions(snapshot: Snapshot) -> dict[str, JobDecision]:
    return {d.job_id: d for d in decide(snapshot).decisions}


def places(snapshot: Snapshot) -> dict[str, tuple[str, str] | None]:
    """Site and pool of what starts."""
    return {
        i: (d.chosen.site, d.chosen.pool) if d.action is Action.START and d.chosen is not None else None
        for i, d in decisions(snapshot).items()
    }


def with_model(view: JobView, model: str) -> JobView:
    return replace(view, resources=replace(view.resources, gpu_model=model))


def test_a_job_starts_in_the_pool_of_the_model_that_it_needs() -> None:
    found = places(a_mixed_snapshot(with_model(a_job_view("a"), "A40"), with_model(a_job_view("b"), "H100")))
    assert found == {"a": ("home", "a40"), "b": ("home", "h100")}


def test_no_job_is_spread_over_two_pools() -> None:
    decision = decisions(a_mixed_snapshot(a_job_view(gpus=9)))["job-1"]
    assert (decision.action, decision.reason.code) == (Action.WAIT, ReasonCode.NO_SITE)
    assert "the largest site offers 8 GPU(s) and 32 CPU(s) of model A40" in decision.reason.sentence


def test_work_without_gpus_goes_to_a_pool_without_gpus_first() -> None:
    jobs = [a_job_view(f"j{i}", gpus=0, cpus=30) for i in range(4)]
    found = list(places(a_mixed_snapshot(*jobs)).values())
    assert sorted(str(place) for place in found) == sorted(
        str(place) for place in [("home", "cpu"), ("home", "cpu"), ("home", "h100"), ("home", "a40")]
    )


@pytest.mark.parametrize("policy", policy_names())
def test_inv_07_no_pool_is_given_more_than_it_has(policy: str) -> None:
    jobs = [a_job_view(f"j{i}", gpus=3, cpus=4, hours=1 + i) for i in range(8)]
    running = [a_job_view("r", gpus=4, cpus=4, hours=3, running_h=1, pool="h100", suspendable=True)]
    found = list(places(a_mixed_snapshot(*jobs, *running, policy=policy)).values())
    assert found.count(("home", "h100")) == 0
    assert found.count(("home", "a40")) == 2


def test_what_runs_counts_in_its_own_pool() -> None:
    running = a_job_view("r", gpus=8, cpus=4, running_h=1, pool="a40")
    found = places(a_mixed_snapshot(running, a_job_view("j", gpus=4)))
    assert found["j"] == ("home", "h100")


def test_a_job_whose_pool_was_renamed_counts_in_the_first_that_could_hold_it() -> None:
    running = a_job_view("r", gpus=8, cpus=4, running_h=1, pool="before")
    assert places(a_mixed_snapshot(running, a_job_view("j", gpus=5)))["j"] is None


def test_people_read_the_pool_where_there_are_several() -> None:
    running = a_job_view("r", gpus=8, cpus=4, running_h=1, pool="a40")
    assert decisions(a_mixed_snapshot(running))["r"].reason.sentence == "its process runs at home/a40"


def test_one_more_job_leaves_what_was_decided_about_a_pool() -> None:
    first = a_mixed_snapshot(a_job_view("a", gpus=8, hours=3), a_job_view("b", gpus=8, hours=2))
    before = decisions(first)
    jobs = [replace(view, decided=before[view.job_id]) for view in first.jobs]
    again = decisions(replace(first, jobs=(*jobs, a_job_view("c", gpus=4)), asked=frozenset({JobId("c")})))
    assert (again["a"], again["b"]) == (before["a"], before["b"])
    assert again["c"].chosen is not None
    assert again["c"].chosen.pool == "h100"


def test_a_site_with_one_pool_is_planned_as_one_without_pools() -> None:
    jobs = [a_job_view(f"j{i}", gpus=3, hours=i + 1, suspendable=True) for i in range(6)]
    plain = a_snapshot(*jobs, queues=[a_queue(policy="balanced")])
    pooled = a_mixed_snapshot(*jobs, pools=[Pool("", 8, 64)])
    assert decide(plain) == decide(pooled)


def test_a_suspended_job_may_go_on_in_another_pool() -> None:
    waits = a_job_view("s", gpus=4, state=JobState.SUSPENDED, suspendable=True)
    running = a_job_view("r", gpus=4, cpus=4, running_h=1, pool="h100")
    assert places(a_mixed_snapshot(waits, running))["s"] == ("home", "a40")


def test_a_need_of_a_model_that_no_pool_has_is_told() -> None:
    view = a_job_view()
    wrong = replace(view, resources=Resources(gpus=1, cpus=1, gpu_model="V100"))
    assert decisions(a_mixed_snapshot(wrong))["job-1"].reason.code is ReasonCode.NO_SITE


def test_a_paused_pool_job_keeps_its_pool_in_the_plan() -> None:
    dip = a_forecast([300.0] * 8 + [50.0] * 184)
    running = a_job_view("r", gpus=4, hours=2, running_h=1, pool="h100", suspendable=True, at_stake_s=0.0)
    snapshot = replace(a_mixed_snapshot(running), forecasts={"GB": dip})
    decision = decisions(snapshot)["r"]
    assert decision.action is Action.SUSPEND
    assert decision.chosen is not None
    assert (decision.chosen.site, decision.chosen.pool) == ("home", "h100")
    assert decision.chosen.start >= NOON + timedelta(seconds=2 * HOUR_S)


def test_the_pool_is_told_in_json_and_empty_where_a_site_has_none() -> None:
    (pooled,) = decide(a_mixed_snapshot(with_model(a_job_view(), "A40"))).decisions
    (plain,) = decide(a_snapshot(a_job_view())).decisions
    for decision, pool in ((pooled, "a40"), (plain, "")):
        candidate = json.loads(json.dumps(decision_to_dict(decision)))["candidates"][0]
        assert (candidate["pool"], candidate["segments"][0]["pool"]) == (pool, pool)


def test_bringing_data_is_priced_by_both_ends_where_one_has_pools() -> None:
    brought = Transfer("away", 900.0, (TransferPart("home", 1, 1.0),))
    job = a_job_view(hours=20, allowed_sites=("home", "away"), transfers=(brought,))
    away, forecasts = a_site_view(a_site("away", zone="FR")), [a_forecast([300.0] * 192), a_forecast(zone="FR")]
    for home in (a_mixed_site(), a_site()):
        (decision,) = decide(a_snapshot(job, sites=[a_site_view(home), away], forecasts=forecasts)).decisions
        assert decision.chosen is not None
        assert decision.chosen.site == "away"
        assert decision.chosen.transfer_g == pytest.approx(250.0)
