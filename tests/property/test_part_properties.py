"""A queue that is planned in parts: everybody's turn comes, what is due never waits for it, no GPU is given twice."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lowtide.scheduler.decide.decide import decide
from lowtide.scheduler.decide.part import NEVER, Known, part
from lowtide.scheduler.model.job import JobId, Urgency
from lowtide.scheduler.model.plan import Action, JobView, Plan, Snapshot
from tests.builders import HOUR_S, NOON, a_dip, a_forecast, a_job_view, a_queue, a_site, a_site_view, a_snapshot

GPUS = 3
POLICIES = st.sampled_from(["balanced", "lowest_window", "lowest_slots", "asap"])


@st.composite
def queues(draw: st.DrawFn) -> tuple[JobView, ...]:
    """Up to ten jobs of any slack, some clinical, some held."""
    return tuple(
        a_job_view(
            f"job-{n}",
            gpus=draw(st.integers(1, GPUS)),
            hours=draw(st.sampled_from([0.5, 1.0, 3.0])),
            patience_h=draw(st.sampled_from([0.0, 2.0, 12.0, 30.0])),
            urgency=draw(st.sampled_from([Urgency.NORMAL, Urgency.NORMAL, Urgency.CLINICAL])),
            held=draw(st.integers(0, 4)) == 0,
        )
        for n in range(draw(st.integers(1, 10)))
    )


def planned(views: tuple[JobView, ...], policy: str, most: int, cycles: int) -> list[tuple[Snapshot, Plan]]:
    """So many plans in parts, a second apart; nothing that they say is done."""
    known: dict[JobId, Known] = {}
    found: list[tuple[Snapshot, Plan]] = []
    for cycle in range(cycles):
        whole = a_snapshot(
            *views,
            now=NOON + timedelta(seconds=cycle),
            sites=[a_site_view(a_site(gpus=GPUS))],
            queues=[a_queue(policy=policy, switch_cost_s=0.0)],
            forecasts=[a_forecast(a_dip())],
        )
        snapshot = part(whole, known, most)
        plan = decide(snapshot)
        found.append((snapshot, plan))
        turns = {i: cycle if i in (snapshot.asked or ()) else known[i].turn if known else NEVER for i in _ids(views)}
        pairs = zip(snapshot.jobs, plan.decisions, strict=True)
        known = {view.job_id: Known(view, decision, turns[view.job_id]) for view, decision in pairs}
    return found


def _ids(views: tuple[JobView, ...]) -> list[JobId]:
    return [view.job_id for view in views]


@given(views=queues(), policy=POLICIES, most=st.integers(1, 4))
def test_everybodys_turn_comes(views: tuple[JobView, ...], policy: str, most: int) -> None:
    found = planned(views, policy, most, 2 * len(views))
    looked_at = {job_id for snapshot, _ in found for job_id in snapshot.asked or ()}
    assert looked_at == {view.job_id for view in views}


@given(views=queues(), policy=POLICIES, most=st.integers(1, 4))
def test_clinical_work_starts_as_it_does_when_the_whole_queue_is_planned(
    views: tuple[JobView, ...], policy: str, most: int
) -> None:
    for snapshot, plan in planned(views, policy, most, len(views)):
        whole = decide(replace(snapshot, asked=None, is_partial=False))
        for view, ours, theirs in zip(snapshot.jobs, plan.decisions, whole.decisions, strict=True):
            if view.urgency is Urgency.CLINICAL and theirs.action is Action.START:
                assert ours.action is Action.START


@given(views=queues(), policy=POLICIES, most=st.integers(1, 4))
def test_inv_07_what_is_kept_and_what_is_new_fit_together(views: tuple[JobView, ...], policy: str, most: int) -> None:
    for snapshot, plan in planned(views, policy, most, len(views)):
        held = np.zeros(200)
        for one in plan.decisions:
            for segment in one.chosen.segments if one.chosen is not None else ():
                begin, end = ((at - snapshot.now).total_seconds() / HOUR_S for at in (segment.start, segment.end))
                middle = (np.arange(200) + 0.5) / 4
                held += segment.gpus * ((begin <= middle) & (middle < end))
        assert held.max() <= GPUS


@given(views=queues(), policy=POLICIES, most=st.integers(1, 4))
def test_inv_04_each_next_review_lies_ahead(views: tuple[JobView, ...], policy: str, most: int) -> None:
    for _, plan in planned(views, policy, most, len(views)):
        assert all(one.next_review_at > plan.made_at for one in plan.decisions)
