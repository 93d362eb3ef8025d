"""INV-07 for sites with pools, power budgets, virtual capacity, drains and reservations, under every policy."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from lowtide.scheduler.decide.decide import decide
from lowtide.scheduler.decide.explain import plan_to_json
from lowtide.scheduler.decide.registry import policy_names
from lowtide.scheduler.model.job import Urgency
from lowtide.scheduler.model.lifecycle import JobState
from lowtide.scheduler.model.plan import Action, JobView, Plan, Snapshot
from lowtide.scheduler.model.reservation import Reservation
from lowtide.scheduler.model.site import Pool, Share
from tests.builders import NOON, a_forecast, a_job_view, a_queue, a_site, a_site_view, a_snapshot

FEW = settings(max_examples=80, deadline=None)
NAMES = ("a", "b", "c")
Held = tuple[str, datetime, datetime, int, int, float, bool]
"""Pool, start, end, GPUs, CPUs, watts, and whether it ran before the plan and simply goes on."""


@st.composite
def jobs(draw: st.DrawFn, job_id: str, queue: str) -> JobView:
    is_running = draw(st.sampled_from([True, False, False]))
    gpus = draw(st.integers(0, 3))
    more: dict[str, object] = {"running_h": 1.0, "pool": draw(st.sampled_from(NAMES))} if is_running else {}
    return a_job_view(
        job_id,
        gpus=gpus,
        cpus=draw(st.integers(1, 6)),
        hours=draw(st.floats(0.1, 8)),
        patience_h=draw(st.floats(0, 20)),
        power_w=100.0 + 300.0 * gpus,
        queue=queue,
        urgency=draw(st.sampled_from([Urgency.NORMAL, Urgency.NORMAL, Urgency.CLINICAL])),
        suspendable=draw(st.booleans()),
        project=draw(st.sampled_from(["", "imaging"])),
        at_stake_s=0.0,
        **more,  # type: ignore[arg-type]  # what a running one has besides
    )


@st.composite
def reservations(draw: st.DrawFn, number: int) -> Reservation:
    begin_h = draw(st.sampled_from([-1.0, 0.0, 0.4, 2.0, 5.0]))
    start, length = NOON + timedelta(hours=begin_h), draw(st.sampled_from([None, 0.3, 1.5, 4.0]))
    amounts = draw(st.sampled_from([(None, None), (None, None), (1, 2), (3, 8)]))
    end = None if length is None else start + timedelta(hours=length)
    whose = draw(st.sampled_from([None, "imaging"]))
    return Reservation(number, "home", draw(st.sampled_from(NAMES)), start, end, *amounts, whose)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    policy = draw(st.sampled_from(policy_names()))
    views = [draw(jobs(f"j{i}", policy)) for i in range(draw(st.integers(1, 8)))]
    live = [view for view in views if view.site is not None]
    pools = []
    for name in NAMES:
        here = [view.resources for view in live if view.pool == name]
        gpus, cpus = draw(st.integers(0, 5)), draw(st.integers(1, 12))
        pools.append(Pool(name, gpus + sum(r.gpus for r in here), cpus + sum(r.cpus for r in here)))
    used_gpus, used_cpus = sum(v.resources.gpus for v in live), sum(v.resources.cpus for v in live)
    budget_w = draw(st.sampled_from([None, 800.0, 2500.0]))
    steps = draw(st.sampled_from([(), (Share(200.0, 0.5, 0.5),), (Share(100.0, 0.7), Share(300.0, 0.2))]))
    whole = a_site(gpus=sum(p.gpus for p in pools), cpus=sum(p.cpus for p in pools))
    site = replace(whole, pools=tuple(pools), power_budget_w=budget_w, virtual_capacity=steps)
    prices = [float(p) for p in draw(st.lists(st.integers(20, 400), min_size=8, max_size=48)) for _ in range(4)]
    view = a_site_view(site, used_gpus=used_gpus, used_cpus=used_cpus)
    queues = [a_queue(policy, policy=policy, switch_cost_s=0.0, min_run_s=0.0)]
    shot = a_snapshot(*views, sites=[view], queues=queues, forecasts=[a_forecast(prices)])
    kept = tuple(draw(reservations(n + 1)) for n in range(draw(st.integers(0, 2))))
    return replace(shot, reservations=kept)


def held(snapshot: Snapshot, plan: Plan) -> Iterator[Held]:
    for view, decision in zip(snapshot.jobs, plan.decisions, strict=True):
        need, chosen = view.resources, decision.chosen
        what = need.gpus, need.cpus, view.power_w
        if view.state is JobState.RUNNING and decision.action is Action.KEEP and chosen is None:
            yield view.pool, snapshot.now, snapshot.now + timedelta(seconds=view.remaining_s), *what, True
        for segment in chosen.segments if chosen is not None else ():
            goes_on = view.state is JobState.RUNNING and segment.start <= snapshot.now
            yield segment.pool, segment.start, segment.end, *what, goes_on


def at_once(rows: list[Held], moment: datetime, *, pool: str | None = None) -> list[Held]:
    return [row for row in rows if row[1] <= moment < row[2] and pool in {None, row[0]}]


@given(snapshots())
@FEW
def test_inv_07_no_pool_and_no_power_budget_is_given_away_twice(snapshot: Snapshot) -> None:
    rows = list(held(snapshot, decide(snapshot)))
    site = snapshot.sites[0].site
    for moment in {row[1] for row in rows}:
        for pool in site.pools:
            here = at_once(rows, moment, pool=pool.name)
            assert sum(row[3] for row in here) <= pool.gpus
            assert sum(row[4] for row in here) <= pool.cpus
        everywhere = at_once(rows, moment)
        if site.power_budget_w is not None and not all(row[6] for row in everywhere):
            assert sum(row[5] for row in everywhere) <= site.power_budget_w + 1e-3


@given(snapshots())
@FEW
def test_nothing_but_what_ran_before_lies_in_what_is_drained(snapshot: Snapshot) -> None:
    for pool, start, end, *_, goes_on in held(snapshot, decide(snapshot)):
        for one in snapshot.reservations:
            if one.is_drain and one.pool == pool and not goes_on:
                assert end <= one.start_at or (one.end_at is not None and start >= one.end_at)


@given(snapshots())
@FEW
def test_a_clinical_job_waits_for_no_more_than_it_would_if_all_were_offered(snapshot: Snapshot) -> None:
    view = snapshot.sites[0]
    whole = replace(snapshot, sites=(replace(view, site=replace(view.site, virtual_capacity=())),))
    clinical = tuple(job for job in snapshot.jobs if job.urgency is Urgency.CLINICAL or job.site is not None)
    limited, plain = (decide(replace(shot, jobs=clinical)) for shot in (snapshot, whole))
    for job, ours, theirs in zip(clinical, limited.decisions, plain.decisions, strict=True):
        if job.urgency is Urgency.CLINICAL and theirs.action is Action.START:
            assert ours.action is Action.START


@given(snapshots())
@FEW
def test_inv_14_the_same_snapshot_gives_the_same_bytes(snapshot: Snapshot) -> None:
    assert plan_to_json(decide(snapshot)) == plan_to_json(decide(snapshot))
