"""Power budgets, and sites that offer less while their grid is dirty."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from lowtide.scheduler.decide.decide import decide
from lowtide.scheduler.decide.limits import offered
from lowtide.scheduler.decide.registry import policy_names
from lowtide.scheduler.model.job import Urgency
from lowtide.scheduler.model.plan import Action, GridForecast, JobDecision, JobView, Snapshot
from lowtide.scheduler.model.reason import ReasonCode
from lowtide.scheduler.model.site import Pool, Share, Site
from tests.builders import NOON, a_forecast, a_job_view, a_queue, a_site, a_site_view, a_snapshot

DIRTY_H = 4
HALF = (Share(250.0, gpu_share=0.5),)
DIRTY = a_forecast([300.0] * 4 * DIRTY_H + [200.0] * 176)


def a_limited_snapshot(
    *jobs: JobView,
    site: Site | None = None,
    budget_w: float | None = None,
    steps: Sequence[Share] = (),
    forecast: GridForecast = DIRTY,
    policy: str = "asap",
) -> Snapshot:
    limited = replace(site or a_site(), power_budget_w=budget_w, virtual_capacity=tuple(steps))
    live = [job for job in jobs if job.site is not None]
    gpus, cpus = sum(j.resources.gpus for j in live), sum(j.resources.cpus for j in live)
    view = a_site_view(limited, used_gpus=gpus, used_cpus=cpus)
    return a_snapshot(*jobs, sites=[view], queues=[a_queue(policy=policy)], forecasts=[forecast])


def decisions(snapshot: Snapshot) -> dict[str, JobDecision]:
    return {d.job_id: d for d in decide(snapshot).decisions}


def starting(snapshot: Snapshot) -> set[str]:
    return {i for i, d in decisions(snapshot).items() if d.action is Action.START}


def some_jobs(count: int = 8, **changes: object) -> list[JobView]:
    return [a_job_view(f"j{i}", **changes) for i in range(count)]  # type: ignore[arg-type]  # any argument of it


@pytest.mark.parametrize("policy", policy_names())
def test_inv_07_jobs_that_run_together_stay_within_the_power_budget(policy: str) -> None:
    plan = decide(a_limited_snapshot(*some_jobs(), budget_w=1000.0, policy=policy))
    assert sum(d.action is Action.START for d in plan.decisions) <= 3
    starts = [d.chosen.segments for d in plan.decisions if d.chosen is not None]
    for minutes in range(0, 24 * 60, 15):
        moment = NOON + timedelta(minutes=minutes)
        drawn = sum(s.start <= moment < s.end for segments in starts for s in segments) * 300.0
        assert drawn <= 1000.0


def test_what_runs_draws_on_the_budget_too() -> None:
    running = a_job_view("r", running_h=1, power_w=700.0)
    assert starting(a_limited_snapshot(running, *some_jobs(2), budget_w=1000.0)) == {"j0"}


def test_a_power_budget_binds_clinical_work_too() -> None:
    jobs = some_jobs(4, urgency=Urgency.CLINICAL)
    assert len(starting(a_limited_snapshot(*jobs, budget_w=1000.0, steps=HALF))) == 3


def test_a_budget_of_a_site_binds_all_its_pools_together() -> None:
    site = replace(a_site(), pools=(Pool("a", 4, 32), Pool("b", 4, 32)))
    assert len(starting(a_limited_snapshot(*some_jobs(), site=site, budget_w=1500.0))) == 5


def test_a_site_offers_less_while_its_grid_is_dirty() -> None:
    found = decisions(a_limited_snapshot(*some_jobs(hours=2.0), steps=HALF))
    now = {i for i, d in found.items() if d.action is Action.START}
    later = [d.chosen.start for i, d in found.items() if i not in now and d.chosen is not None]
    assert len(now) == 4
    assert min(later) == NOON + timedelta(hours=2)  # the next four, when the first have ended


def test_all_of_it_is_offered_when_the_grid_is_clean_again() -> None:
    found = decisions(a_limited_snapshot(*some_jobs(hours=12.0), steps=HALF))
    starts = sorted(d.chosen.start for d in found.values() if d.chosen is not None)
    assert starts == [NOON] * 4 + [NOON + timedelta(hours=DIRTY_H)] * 4


def test_clinical_work_has_all_of_a_site_that_offers_less() -> None:
    clinical = some_jobs(6, urgency=Urgency.CLINICAL)
    waits = a_job_view("waits", hours=2.0)
    found = decisions(a_limited_snapshot(*clinical, waits, steps=HALF))
    assert {i for i, d in found.items() if d.action is Action.START} == {f"j{i}" for i in range(6)}
    first = found["j0"]
    assert first.chosen is not None
    assert (first.chosen.site, first.reason.code) == ("home", ReasonCode.CLINICAL)


def test_a_clinical_job_as_wide_as_the_site_starts_though_less_is_offered() -> None:
    assert starting(a_limited_snapshot(a_job_view(gpus=8, urgency=Urgency.CLINICAL), steps=HALF)) == {"job-1"}


def test_clinical_and_other_work_never_share_a_gpu() -> None:
    clinical = some_jobs(6, urgency=Urgency.CLINICAL)
    others = [a_job_view(f"o{i}") for i in range(6)]
    assert len(starting(a_limited_snapshot(*clinical, *others, steps=(Share(250.0, gpu_share=0.9),)))) <= 8


@pytest.mark.parametrize("policy", policy_names())
def test_what_runs_goes_on_though_less_is_offered(policy: str) -> None:
    running = [a_job_view(f"r{i}", running_h=1, suspendable=False) for i in range(8)]
    found = decisions(a_limited_snapshot(*running, steps=HALF, policy=policy))
    assert {d.action for d in found.values()} == {Action.KEEP}


def test_a_joint_policy_pauses_nobody_only_because_less_is_offered() -> None:
    level = a_forecast([300.0] * 192)
    running = [a_job_view(f"r{i}", running_h=2, suspendable=True, at_stake_s=0.0) for i in range(8)]
    found = decisions(a_limited_snapshot(*running, steps=HALF, forecast=level, policy="balanced"))
    assert {d.action for d in found.values()} == {Action.KEEP}


def test_what_is_known_of_no_forecast_is_offered_whole() -> None:
    yearly = a_forecast([300.0] * 192, may_shift=False, rung="static")
    assert len(starting(a_limited_snapshot(*some_jobs(), steps=HALF, forecast=yearly))) == 8


def test_less_power_may_be_offered_than_the_budget_has() -> None:
    steps = (Share(250.0, power_share=0.5),)
    assert len(starting(a_limited_snapshot(*some_jobs(), budget_w=2400.0, steps=steps))) == 4


def test_of_the_steps_below_an_intensity_the_highest_counts() -> None:
    steps = (Share(400.0, 0.2, 0.5), Share(250.0, 0.6))
    gpus, power = offered(steps, np.array([250.0, 250.1, 400.0, 401.0]))
    assert gpus.tolist() == [1.0, 0.6, 0.6, 0.2]
    assert power.tolist() == [1.0, 1.0, 1.0, 0.5]
