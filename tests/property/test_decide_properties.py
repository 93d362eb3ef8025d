"""Safety sentences about decide, each under its invariant's id."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lowtide.scheduler.decide.decide import decide
from lowtide.scheduler.decide.explain import plan_to_json
from lowtide.scheduler.decide.registry import policy_for, policy_names
from lowtide.scheduler.model.job import Urgency
from lowtide.scheduler.model.lifecycle import JobState
from lowtide.scheduler.model.mode import Mode
from lowtide.scheduler.model.plan import Action, GridForecast, JobView, Plan, Segment, SiteView, Snapshot
from lowtide.scheduler.model.reason import ReasonCode
from lowtide.scheduler.model.site import Queue
from lowtide.scheduler.model.units import ceil_to, floor_to
from tests.builders import (
    NOON,
    a_forecast,
    a_job_view,
    a_queue,
    a_site,
    a_site_view,
    a_snapshot,
)
from tests.follow import World

POLICIES = policy_names()
SUSPENDING = ("threshold", "lowest_slots", "double_threshold", "balanced")
SITES = ("home", "north")
FEW = settings(max_examples=60, deadline=None)
FEWER = settings(max_examples=25, deadline=None)


def forecasts(zone: str, *, noisy: bool = True) -> st.SearchStrategy[GridForecast]:
    """Hourly prices with errors, from a few hours to three days ahead."""
    price = st.integers(10, 600).map(float)
    return st.builds(
        lambda prices, error, may_shift, lag: a_forecast(
            [p for p in prices for _ in range(2)],
            errors=error if noisy else 0.0,
            zone=zone,
            step_s=1800.0,
            may_shift=may_shift,
            start=NOON - timedelta(minutes=lag),
        ),
        st.lists(price, min_size=6, max_size=72),
        st.sampled_from([0.0, 0.0, 10.0, 50.0]),
        st.sampled_from([True, True, True, False]),
        st.integers(0, 90),
    )


def some_ways(gpus: int, cpus: int) -> tuple[Mode, ...]:
    """As declared, twice as wide with little loss, and at a lower power limit."""
    wide = Mode(2 * gpus, 2 * cpus, 1.9, 610.0)
    return Mode(gpus, cpus, 1.0, 300.0), wide, Mode(gpus, cpus, 0.9, 220.0, power_fraction=0.6)


@st.composite
def job_views(draw: st.DrawFn, job_id: str, *, waiting: bool = False) -> JobView:
    """Any job that a store could hold."""
    hours = draw(st.floats(0.01, 30))
    running = None if waiting else draw(st.sampled_from([None, None, 0.1, 2.0]))
    state = JobState.QUEUED if running is not None else draw(st.sampled_from([JobState.QUEUED, JobState.SUSPENDED]))
    begin = draw(st.sampled_from([None, None, -30, 7, 200]))
    extra: dict[str, object] = {"site": draw(st.sampled_from(SITES))} if running is not None else {}
    gpus, cpus = draw(st.integers(0, 5)), draw(st.integers(1, 20))
    return a_job_view(
        job_id,
        gpus=gpus,
        cpus=cpus,
        modes=draw(st.sampled_from([(), (), some_ways(gpus, cpus)])),
        hours=hours,
        patience_h=draw(st.floats(-2, 40)),
        running_h=running,
        state=state,
        queue=draw(st.sampled_from(POLICIES)),
        urgency=draw(st.sampled_from([Urgency.NORMAL, Urgency.NORMAL, Urgency.CLINICAL])),
        allowed_sites=draw(st.sampled_from([SITES, SITES, ("north", "home"), ("home",), ("north",)])),
        suspendable=draw(st.booleans()),
        suspensions=draw(st.integers(0, 4)),
        forced=draw(st.sampled_from([False, False, False, True])),
        has_deadline=draw(st.booleans()),
        not_before=None if begin is None else NOON + timedelta(minutes=begin),
        pinned_start_at=draw(st.sampled_from([None, NOON, NOON + timedelta(hours=3)])),
        **extra,  # type: ignore[arg-type]  # the site, when it runs
    )


@st.composite
def snapshots(draw: st.DrawFn, *, noisy: bool = True, waiting: bool = False) -> Snapshot:
    """Up to ten jobs on two sites, at any second of a slot."""
    now = NOON + timedelta(seconds=draw(st.sampled_from([0, 1, 450, 899])))
    jobs = [draw(job_views(f"j{i}", waiting=waiting)) for i in range(draw(st.integers(1, 10)))]
    sites = []
    for name in SITES:
        live = [j for j in jobs if j.site == name]
        gpus, cpus = sum(j.resources.gpus for j in live), sum(j.resources.cpus for j in live)
        site = a_site(name, zone=name, gpus=gpus + draw(st.integers(0, 8)), cpus=cpus + draw(st.integers(1, 40)))
        sites.append(a_site_view(site, used_gpus=gpus, used_cpus=cpus))
    queues = [a_queue(policy, policy=policy) for policy in POLICIES]
    grid = [draw(forecasts(name, noisy=noisy)) for name in SITES]
    return a_snapshot(*jobs, now=now, sites=sites, queues=queues, forecasts=grid)


def held(plan: Plan, snapshot: Snapshot) -> dict[str, list[tuple[datetime, datetime, int, int]]]:
    """What live jobs and the plan's placements hold, by site, as (start, end, GPUs, CPUs)."""
    rows: dict[str, list[tuple[datetime, datetime, int, int]]] = {name: [] for name in SITES}
    views = {view.job_id: view for view in snapshot.jobs}
    for decision in plan.decisions:
        view = views[decision.job_id]
        need = view.resources
        if decision.action is Action.KEEP and view.site is not None and decision.chosen is None:
            end = snapshot.now + timedelta(seconds=view.remaining_s)
            rows[view.site].append((snapshot.now, end, need.gpus, need.cpus))
        elif decision.chosen is not None:
            for segment in decision.chosen.segments:
                rows[segment.site].append((segment.start, segment.end, *held_by(view, segment)))
    return rows


def held_by(view: JobView, segment: Segment) -> tuple[int, int]:
    """GPUs and CPUs of one stretch."""
    cpus = next((m.cpus for m in view.modes if m.gpus == segment.gpus), view.resources.cpus)
    return segment.gpus, cpus


@given(snapshots())
@FEW
def test_inv_07_the_starts_of_a_plan_fit_what_is_free_now(snapshot: Snapshot) -> None:
    plan = decide(snapshot)
    for site in snapshot.sites:
        starts = [
            held_by(view, d.chosen.segments[0])
            for view, d in zip(snapshot.jobs, plan.decisions, strict=True)
            if d.action is Action.START and d.chosen is not None and d.chosen.site == site.site.name
        ]
        assert sum(gpus for gpus, _ in starts) + site.used_gpus <= site.site.gpus
        assert sum(cpus for _, cpus in starts) + site.used_cpus <= site.site.cpus


@given(snapshots())
@FEW
def test_inv_07_no_moment_of_a_plan_holds_more_than_a_site_has(snapshot: Snapshot) -> None:
    rows = held(decide(snapshot), snapshot)
    for site in snapshot.sites:
        mine = rows[site.site.name]
        for moment in {start for start, _, _, _ in mine}:
            during = [(g, c) for start, end, g, c in mine if start <= moment < end]
            assert sum(g for g, _ in during) <= site.site.gpus
            assert sum(c for _, c in during) <= site.site.cpus


@given(snapshots())
@FEW
def test_inv_04_and_08_every_job_is_reviewed_again_and_stays_where_it_may_be(snapshot: Snapshot) -> None:
    plan = decide(snapshot)
    assert [d.job_id for d in plan.decisions] == [v.job_id for v in snapshot.jobs]
    for view, decision in zip(snapshot.jobs, plan.decisions, strict=True):
        assert decision.next_review_at > snapshot.now
        assert decision.reason.sentence
        if view.site is None:
            assert {s.site for c in decision.candidates for s in c.segments} <= set(view.allowed_sites)


@given(snapshots())
@FEW
def test_inv_10_only_a_start_in_time_is_ever_deferred_for_carbon(snapshot: Snapshot) -> None:
    for view, decision in zip(snapshot.jobs, decide(snapshot).decisions, strict=True):
        if decision.reason.code is ReasonCode.CARBON_WINDOW:
            assert decision.chosen is not None
            assert decision.latest_start_at is not None
            assert decision.latest_start_at >= snapshot.now + timedelta(seconds=snapshot.slot_s)
            assert decision.chosen.finish <= view.latest_finish_at
            assert decision.next_review_at <= decision.latest_start_at


@given(snapshots())
@FEW
def test_clinical_jobs_wait_for_nothing_but_capacity_and_their_own_begin(snapshot: Snapshot) -> None:
    allowed = {ReasonCode.CAPACITY, ReasonCode.MAKING_ROOM, ReasonCode.BEGIN_TIME, ReasonCode.NO_SITE}
    for view, decision in zip(snapshot.jobs, decide(snapshot).decisions, strict=True):
        if view.urgency is Urgency.CLINICAL:
            assert decision.action is not Action.SUSPEND
            assert decision.action is not Action.WAIT or decision.reason.code in allowed


@given(snapshots())
@FEW
def test_clinical_jobs_are_decided_as_if_no_other_job_waited(snapshot: Snapshot) -> None:
    alone = replace(
        snapshot, jobs=tuple(v for v in snapshot.jobs if v.urgency is Urgency.CLINICAL or v.site is not None)
    )
    with_all = {d.job_id: d for d in decide(snapshot).decisions}
    for view, decision in zip(alone.jobs, decide(alone).decisions, strict=True):
        if view.urgency is Urgency.CLINICAL:
            assert with_all[view.job_id] == decision


@given(snapshots())
@FEW
def test_inv_11_a_rung_that_may_not_shift_leaves_only_hard_reasons_to_wait(snapshot: Snapshot) -> None:
    stale = {z: replace(f, may_shift=False) for z, f in snapshot.forecasts.items()}
    for decision in decide(replace(snapshot, forecasts=stale)).decisions:
        assert decision.reason.code is not ReasonCode.CARBON_WINDOW


@given(snapshots())
@FEW
def test_inv_13_a_shift_always_gains_by_its_own_numbers(snapshot: Snapshot) -> None:
    for decision in decide(snapshot).decisions:
        if decision.reason.code is ReasonCode.CARBON_WINDOW:
            assert decision.chosen is not None
            assert decision.saving_g > 0
            assert np.isclose(decision.baseline_g - decision.chosen.emissions_g, decision.saving_g)


@given(snapshots())
@FEW
def test_inv_14_the_same_snapshot_gives_the_same_bytes_in_any_job_order(snapshot: Snapshot) -> None:
    first = decide(snapshot)
    assert plan_to_json(first) == plan_to_json(decide(snapshot))
    turned = decide(replace(snapshot, jobs=snapshot.jobs[::-1]))
    assert turned.decisions[::-1] == first.decisions


@given(snapshots(waiting=True), st.integers(20, 500))
@FEW
def test_with_a_constant_intensity_everything_runs_as_soon_as_possible(snapshot: Snapshot, price: int) -> None:
    asap = {name: replace(queue, policy="asap") for name, queue in snapshot.queues.items()}
    # A joint policy's jobs are served before those of others, so that beside these nobody's order is that of asap.
    alone = {name for name in POLICIES if not getattr(policy_for(name, ()), "is_joint", False)}
    same = at_one_price(snapshot, price, [view for view in snapshot.jobs if view.queue in alone])
    ours, theirs = decide(same), decide(replace(same, queues=asap))
    assert [d.action for d in ours.decisions] == [d.action for d in theirs.decisions]


@given(snapshots(waiting=True), st.integers(20, 500))
@FEW
def test_with_a_constant_intensity_nobody_waits_where_there_is_room(snapshot: Snapshot, price: int) -> None:
    same = at_one_price(snapshot, price, [replace(view, queue="balanced") for view in snapshot.jobs])
    plan = decide(same)
    for view, decision in zip(same.jobs, plan.decisions, strict=True):
        chosen = decision.chosen
        may_begin = not view.held and (view.not_before is None or view.not_before <= same.now)
        if chosen is not None and chosen.start > same.now and may_begin:
            others = held(replace(plan, decisions=tuple(d for d in plan.decisions if d is not decision)), same)
            assert not any(has_room(view, site, others[site.site.name], same) for site in same.sites)


def at_one_price(snapshot: Snapshot, price: int, views: list[JobView]) -> Snapshot:
    """These jobs as declared: a mode that needs less energy is worth taking at any price, and holds another share."""
    flat = {z: replace(f, g_per_kwh=(float(price),) * len(f.g_per_kwh)) for z, f in snapshot.forecasts.items()}
    return replace(snapshot, forecasts=flat, jobs=tuple(replace(view, modes=()) for view in views))


def has_room(view: JobView, site: SiteView, rows: list[tuple[datetime, datetime, int, int]], shot: Snapshot) -> bool:
    """Whether a job could begin now and run to its end beside others that hold whole slots."""
    slot, need = timedelta(seconds=shot.slot_s), view.resources
    if site.site.name not in view.allowed_sites or not site.site.can_ever_run(need):
        return False
    end = ceil_to(shot.now + timedelta(seconds=view.remaining_s), slot)
    for moment in {shot.now, *(floor_to(start, slot) for start, _, _, _ in rows)}:
        if shot.now <= moment < end:
            during = [(g, c) for start, until, g, c in rows if floor_to(start, slot) <= moment < ceil_to(until, slot)]
            if sum(g for g, _ in during) + need.gpus > site.site.gpus:
                return False
            if sum(c for _, c in during) + need.cpus > site.site.cpus:
                return False
    return True


@given(snapshots(), st.sampled_from([0.25, 2.0, 8.0]))
@FEW
def test_scaling_every_intensity_changes_no_action(snapshot: Snapshot, factor: float) -> None:
    scaled = {z: _scaled(f, factor) for z, f in snapshot.forecasts.items()}
    before, after = decide(snapshot), decide(replace(snapshot, forecasts=scaled))
    assert [(d.action, d.reason.code) for d in before.decisions] == [(d.action, d.reason.code) for d in after.decisions]


def _scaled(forecast: GridForecast, factor: float) -> GridForecast:
    return replace(
        forecast,
        g_per_kwh=tuple(g * factor for g in forecast.g_per_kwh),
        error_g_per_kwh=tuple(e * factor for e in forecast.error_g_per_kwh),
    )


@given(snapshots(), st.integers(1, 5000))
@FEW
def test_moving_all_times_by_whole_slots_moves_the_plan_by_as_much(snapshot: Snapshot, slots: int) -> None:
    by = timedelta(seconds=slots * snapshot.slot_s)
    jobs = tuple(
        replace(
            v,
            submitted_at=v.submitted_at + by,
            latest_finish_at=v.latest_finish_at + by,
            not_before=v.not_before and v.not_before + by,
            running_since=v.running_since and v.running_since + by,
            pinned_start_at=v.pinned_start_at and v.pinned_start_at + by,
        )
        for v in snapshot.jobs
    )
    grid = {z: replace(f, start=f.start + by) for z, f in snapshot.forecasts.items()}
    moved = decide(replace(snapshot, now=snapshot.now + by, jobs=jobs, forecasts=grid))
    for before, after in zip(decide(snapshot).decisions, moved.decisions, strict=True):
        assert (after.action, after.reason.code) == (before.action, before.reason.code)
        assert after.next_review_at == before.next_review_at + by
        assert (after.baseline_g, after.saving_g) == (before.baseline_g, before.saving_g)
        starts = [c.start + by for c in before.candidates]
        assert [c.start for c in after.candidates] == starts


def hourly(prices: Sequence[float], noise: Sequence[float] = (0.0,), error: float = 0.0) -> object:
    """Forecasts of a repeating day; each look is off by the next noise factor."""

    def look(now: datetime) -> dict[str, GridForecast]:
        hour = int((now - NOON).total_seconds() // 3600)
        off = 1.0 + noise[int((now - NOON).total_seconds() // 900) % len(noise)]
        ahead = [max(1.0, prices[(hour + i) % len(prices)] * (off if i else 1.0)) for i in range(48)]
        start = NOON + timedelta(hours=hour)
        return {"GB": a_forecast(ahead, errors=error, start=start, step_s=3600.0)}

    return look


def followed(view: JobView, queue: Queue, look: object) -> World:
    return World(NOON, {view.job_id: view}, [a_site()], {queue.name: queue}, look)  # type: ignore[arg-type]


days = st.lists(st.integers(20, 500).map(float), min_size=5, max_size=24)
noises = st.lists(st.floats(-0.5, 0.5), min_size=1, max_size=12)


@given(days, noises, st.sampled_from(POLICIES), st.floats(0.05, 20), st.floats(0, 30), st.booleans(), st.data())
@FEWER
def test_inv_10_with_free_capacity_and_true_run_times_no_job_ends_late(
    day: list[float],
    noise: list[float],
    policy: str,
    hours: float,
    slack_h: float,
    suspendable: bool,  # noqa: FBT001 - drawn
    data: st.DataObject,
) -> None:
    queue = a_queue(policy=policy, min_savings=0.0, switch_cost_s=data.draw(st.sampled_from([0.0, 120.0, 1800.0])))
    finish_in_h = hours * 1.1 + queue.switch_cost_s / 3600 + slack_h
    view = a_job_view(hours=hours, finish_in_h=finish_in_h, suspendable=suspendable, has_deadline=True)
    course = followed(view, queue, hourly(day, noise)).run()[view.job_id]
    assert course.finished_at is not None
    assert course.finished_at <= view.latest_finish_at


@given(
    days,
    noises,
    st.sampled_from(SUSPENDING),
    st.floats(0.5, 20),
    st.floats(0, 30),
    st.lists(st.booleans(), min_size=4, max_size=4),
    st.booleans(),
)
@FEWER
def test_inv_10_no_suspension_costs_a_deadline_or_patience_even_when_it_loses_all_unproved_work(
    day: list[float],
    noise: list[float],
    policy: str,
    hours: float,
    slack_h: float,
    lost: list[bool],
    has_deadline: bool,  # noqa: FBT001 - drawn
) -> None:
    queue = a_queue(policy=policy, min_savings=0.0, min_run_s=900.0)
    finish_in_h = hours * 1.1 + queue.switch_cost_s / 3600 + slack_h
    view = a_job_view(hours=hours, finish_in_h=finish_in_h, suspendable=True, has_deadline=has_deadline)
    world = followed(view, queue, hourly(day, noise))
    world.loses = lost.__getitem__
    course = world.run()[view.job_id]
    assert course.finished_at is not None
    assert course.finished_at <= view.latest_finish_at


@given(days, noises, st.sampled_from(SUSPENDING), st.floats(1, 15), st.integers(0, 4))
@FEWER
def test_inv_13_suspensions_are_bounded_and_every_stretch_lasts_its_minimum(
    day: list[float], noise: list[float], policy: str, hours: float, most: int
) -> None:
    queue = a_queue(policy=policy, min_savings=0.0, max_suspensions=most, min_run_s=2700.0)
    view = a_job_view(hours=hours, patience_h=30, suspendable=True)
    course = followed(view, queue, hourly(day, noise)).run()[view.job_id]
    assert course.suspensions <= most
    assert len(course.stretches) == course.suspensions + 1
    for _, begun, ended in course.stretches[:-1]:
        assert ended - begun >= timedelta(seconds=2700)


@given(days, st.floats(0.5, 6), st.floats(1, 30))
@FEWER
def test_inv_13_a_promised_start_stands_while_the_forecast_does(
    day: list[float], hours: float, patience_h: float
) -> None:
    promises: list[datetime] = []

    def note(_snapshot: Snapshot, plan: Plan) -> None:
        promises.extend(d.chosen.start for d in plan.decisions if d.action is Action.WAIT and d.chosen is not None)

    # The forecast reaches two days ahead from the first look on, so that nothing new comes into sight.
    view = a_job_view(hours=hours, patience_h=patience_h)
    world = followed(view, a_queue(), hourly(day))
    world.check = note
    course = world.run()[view.job_id]
    assert len(set(promises)) <= 1
    if promises:
        assert course.stretches[0][1] == promises[0]
