"""Fair shares: who used less of late goes first where capacity is short, and nobody is late for it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from lowtide.scheduler.decide.decide import decide
from lowtide.scheduler.decide.fairness import factors
from lowtide.scheduler.model.job import Urgency
from lowtide.scheduler.model.plan import Action, JobDecision, JobView
from lowtide.scheduler.model.project import ProjectView
from lowtide.scheduler.model.reason import ReasonCode
from tests.builders import HOUR_S, a_job_view, a_queue, a_site, a_site_view, a_snapshot

HEAVY, LIGHT = ProjectView("heavy", recent_gpu_h=90.0), ProjectView("light", recent_gpu_h=10.0)


def planned(
    *jobs: JobView, weight: float = 1.0, policy: str = "asap", projects: tuple[ProjectView, ...] = (HEAVY, LIGHT)
) -> dict[str, JobDecision]:
    """Decisions on a site of one GPU."""
    shot = a_snapshot(
        *jobs, queues=[a_queue(policy=policy, fair_share_weight=weight)], sites=[a_site_view(a_site(gpus=1))]
    )
    plan = decide(replace(shot, projects={project.name: project for project in projects}))
    return {decision.job_id: decision for decision in plan.decisions}


def of(project: str, job_id: str, *, patience_h: float = 24.0, **changes: object) -> JobView:
    return replace(a_job_view(job_id, patience_h=patience_h, **changes), project=project)  # type: ignore[arg-type]


def starts(decisions: dict[str, JobDecision]) -> set[str]:
    return {job_id for job_id, decision in decisions.items() if decision.action is Action.START}


def test_a_factor_is_one_half_for_who_used_just_its_share() -> None:
    assert factors({"a": ProjectView("a", recent_gpu_h=5.0)}) == {"a": 0.5}
    told = factors({"heavy": HEAVY, "light": LIGHT, "idle": ProjectView("idle")})
    assert told["heavy"] < told["light"] < told["idle"] == 1.0
    thrice = replace(HEAVY, share=9.0)
    assert factors({"heavy": thrice, "light": LIGHT}) == {"heavy": 0.5, "light": 0.5}


def test_while_nobody_used_anything_nobody_goes_first() -> None:
    assert factors({"a": ProjectView("a"), "b": ProjectView("b", share=3.0)}) == {"a": 1.0, "b": 1.0}


@pytest.mark.parametrize("policy", ["asap", "balanced", "lowest_slots"])
def test_the_project_that_used_less_goes_first_where_a_queue_says_so(policy: str) -> None:
    jobs = of("heavy", "a", patience_h=20.0), of("light", "b", patience_h=24.0)
    assert starts(planned(*jobs, weight=0.0, policy=policy)) == {"a"}
    assert starts(planned(*jobs, weight=1.0, policy=policy)) == {"b"}


def test_a_small_weight_changes_the_order_of_jobs_of_like_slack_alone() -> None:
    near, far = of("light", "b", patience_h=21.0), of("light", "b", patience_h=40.0)
    assert starts(planned(of("heavy", "a", patience_h=20.0), near, weight=0.1)) == {"b"}
    assert starts(planned(of("heavy", "a", patience_h=20.0), far, weight=0.1)) == {"a"}


def test_a_larger_share_makes_the_same_use_count_less() -> None:
    projects = (replace(HEAVY, share=20.0), LIGHT)
    assert starts(planned(of("heavy", "a"), of("light", "b"), projects=projects)) == {"a"}
    assert starts(planned(of("heavy", "a"), of("light", "b"))) == {"b"}


def test_what_is_due_clinical_or_ordered_comes_first_whatever_was_used() -> None:
    for first in (
        of("heavy", "a", patience_h=0.1),
        of("heavy", "a", urgency=Urgency.CLINICAL),
        of("heavy", "a", forced=True),
    ):
        assert starts(planned(first, of("light", "b"))) == {"a"}


def test_nobody_is_late_for_the_share_of_another() -> None:
    """The heavy user's job of six hours must begin before four; the light one's of four could wait for it."""
    ours, other = of("heavy", "a", hours=6.0, patience_h=3.9), of("light", "b", hours=4.0, patience_h=12.0)
    fair, plain = planned(ours, other), planned(ours, other, weight=0.0)
    assert fair == plain
    assert fair["a"].action is Action.START
    roomy = replace(ours, latest_finish_at=ours.latest_finish_at + timedelta(hours=12))
    assert starts(planned(roomy, other)) == {"b"}


def test_within_a_project_the_order_stays() -> None:
    jobs = [of("light", f"j{i}", patience_h=20.0 + i) for i in range(4)]
    fair, plain = planned(*jobs), planned(*jobs, weight=0.0)
    assert fair == plain
    finishes = [fair[f"j{i}"].chosen.finish for i in range(4)]  # type: ignore[union-attr]  # all have a place
    assert finishes == sorted(finishes)
    assert fair["j3"].reason.code is ReasonCode.CAPACITY
    assert (finishes[3] - finishes[0]).total_seconds() == 3 * HOUR_S
