"""Whatever an hour of delay is worth, plans stay sound, and one that is worth everything is as soon as possible."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowtide.scheduler.decide.decide import decide
from lowtide.scheduler.decide.registry import policy_for
from lowtide.scheduler.model.lifecycle import JobState
from lowtide.scheduler.model.plan import JobView, Snapshot
from lowtide.scheduler.model.reason import ReasonCode
from tests.property.test_decide_properties import FEW, POLICIES, held, snapshots

WEIGHING = tuple(name for name in POLICIES if getattr(policy_for(name), "weighs_delay", False))


def weighed(snapshot: Snapshot, delay_g_per_h: float) -> Snapshot:
    queues = {name: replace(queue, delay_g_per_h=delay_g_per_h) for name, queue in snapshot.queues.items()}
    return replace(snapshot, queues=queues)


@given(snapshots(), st.sampled_from([0.5, 5.0, 50.0, 5000.0]))
@FEW
def test_inv_07_and_inv_10_hold_whatever_delay_is_worth(snapshot: Snapshot, delay_g_per_h: float) -> None:
    plan = decide(weighed(snapshot, delay_g_per_h))
    rows = held(plan, snapshot)
    for site in snapshot.sites:
        mine = rows[site.site.name]
        for moment in {start for start, _, _, _ in mine}:
            assert sum(gpus for start, end, gpus, _ in mine if start <= moment < end) <= site.site.gpus
    for view, decision in zip(snapshot.jobs, plan.decisions, strict=True):
        if decision.reason.code is ReasonCode.CARBON_WINDOW and decision.chosen is not None:
            assert decision.chosen.finish <= view.latest_finish_at
    assert not plan.failures


def as_whole(view: JobView, policy: str) -> JobView:
    """Of one queue, and nobody's promise."""
    return replace(view, queue=policy, pinned_start_at=None, modes=())


@pytest.mark.parametrize("policy", [name for name in WEIGHING if not getattr(policy_for(name), "is_joint", False)])
@given(snapshots(noisy=False, waiting=True))
@FEW
def test_where_an_hour_is_worth_everything_nothing_waits_for_carbon(policy: str, snapshot: Snapshot) -> None:
    jobs = tuple(as_whole(view, policy) for view in snapshot.jobs if view.state is JobState.QUEUED)
    asap = tuple(replace(view, queue="asap") for view in jobs)
    sooner, soonest = decide(weighed(replace(snapshot, jobs=jobs), 1e9)), decide(replace(snapshot, jobs=asap))
    for ours, theirs in zip(sooner.decisions, soonest.decisions, strict=True):
        assert ours.action == theirs.action
        assert ours.chosen is None or theirs.chosen is None or ours.chosen.start == theirs.chosen.start
