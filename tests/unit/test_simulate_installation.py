"""A trace played at what settings declare: pools, power, budgets, shares, reservations and tariffs count as live."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lowtide.scheduler.model.errors import BadInput
from lowtide.scheduler.model.job import Urgency
from lowtide.scheduler.model.project import Budget, Measure, Period, Project
from lowtide.scheduler.model.reservation import Reservation
from lowtide.scheduler.model.series import Accounting, Basis, Point, PointKind, Series, Signal
from lowtide.scheduler.model.site import Pool, Queue, Share, Site
from lowtide.scheduler.model.tariff import SpotPrices
from lowtide.scheduler.simulate.installation import Booked, Installation
from lowtide.scheduler.simulate.play import Play, result
from lowtide.scheduler.simulate.trace import TraceJob

START = datetime(2026, 3, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
H = 3600.0
SITE = Site("lab", "GB", 4, 8)
ASAP = Queue("research", policy="asap", patience_s=48 * H)
CLINICAL = Queue("clinical", policy="asap", urgency=Urgency.CLINICAL, priority=100)


def a_series(values: list[float], zone: str = "GB") -> Series:
    points = tuple(Point(START + i * HOUR, START + (i + 1) * HOUR, v, PointKind.ACTUAL) for i, v in enumerate(values))
    return Series("t", zone, zone, points, H, Signal.AVERAGE, Basis.DIRECT, Accounting.CONSUMPTION, START)


def a_place(*sites: Site, queues: tuple[Queue, ...] = (ASAP, CLINICAL), **changes: Any) -> Installation:
    found = Installation(sites or (SITE,), {"settings": {one.name: one for one in queues}})
    return replace(found, **changes)


def a_play(*jobs: TraceJob, place: Installation, values: list[float] | None = None, **changes: Any) -> Play:
    series = a_series(values or [300.0] * 120)
    play = Play(jobs, {"GB": series}, "settings", START, series.points[-1].end, installation=place, patience=None)
    return replace(play, **changes)


def waits_h(play: Play) -> dict[str, float]:
    """By job; all of them have to end."""
    found = result(play)
    assert found.report["failed"] == 0
    return dict(zip((job.job_id for job in play.jobs), map(float, found.waits_h), strict=True))


def jobs(count: int, **changes: Any) -> list[TraceJob]:
    return [replace(TraceJob(f"j{i}", 0.0, H, 1), **changes) for i in range(count)]


def test_a_job_runs_in_a_pool_of_the_model_that_it_asks_for() -> None:
    pools = (Pool("big", 1, 4, "H100"), Pool("small", 3, 4, "A100"))
    place = a_place(replace(SITE, pools=pools))
    assert sorted(waits_h(a_play(*jobs(3, gpu_model="H100"), place=place)).values()) == [0.0, 1.0, 2.0]
    assert set(waits_h(a_play(*jobs(3, gpu_model="A100"), place=place)).values()) == {0.0}
    with pytest.raises(BadInput, match="needs 2 GPUs of model 'H100', and no pool of lab has as many"):
        result(a_play(*jobs(1, gpu_model="H100", gpus=2), place=place))


def test_a_power_budget_holds_where_gpus_are_left() -> None:
    place = a_place(replace(SITE, power_budget_w=700.0))
    assert sorted(waits_h(a_play(*jobs(4), place=place)).values()) == [0.0, 0.0, 1.0, 1.0]


def test_virtual_capacity_is_offered_by_intensity_and_clinical_work_has_it_all() -> None:
    place = a_place(replace(SITE, virtual_capacity=(Share(250.0, gpu_share=0.5),)))
    values = [300.0] * 3 + [200.0] * 117
    assert sorted(waits_h(a_play(*jobs(4), place=place, values=values)).values()) == [0.0, 0.0, 1.0, 1.0]
    assert set(waits_h(a_play(*jobs(4, queue="clinical"), place=place, values=values)).values()) == {0.0}


def test_what_is_spent_has_work_wait_for_the_next_period_and_other_projects_go_on() -> None:
    budget = Budget(Period.DAY, Measure.GPU, 2.0)
    place = a_place(projects=(Project("scans", (budget,)),))
    mine = [TraceJob(f"j{i}", i * 2 * H, H, 1, project="scans") for i in range(4)]
    found = waits_h(a_play(*mine, TraceJob("other", 6 * H, H, 1), place=place))
    assert [found[f"j{i}"] for i in range(4)] == pytest.approx([0.0, 0.0, 20.0, 18.0])
    assert found["other"] == 0.0


def test_a_budget_of_carbon_counts_what_was_measured_times_pue() -> None:
    # one hour of 300 W at 300 g/kWh and a PUE of 2 is 180 g
    within, spent = (Project("scans", (Budget(Period.DAY, Measure.CARBON, limit),)) for limit in (181.0, 179.0))
    site = replace(SITE, pue=2.0)
    mine = [TraceJob(f"j{i}", i * 2 * H, H, 1, project="scans") for i in range(2)]
    first, second = (waits_h(a_play(*mine, place=a_place(site, projects=(one,))))["j1"] for one in (within, spent))
    assert [first, second] == pytest.approx([0.0, 22.0])


def test_what_projects_used_is_told_and_adds_up() -> None:
    mine = [*jobs(2, project="scans"), TraceJob("other", 0.0, 2 * H, 1, project="cells")]
    report = result(a_play(*mine, place=a_place(replace(SITE, pue=1.5)))).report
    told = {one["project"]: one for one in report["projects"]}  # type: ignore[attr-defined]  # rows of JSON
    assert {name: one["gpu_h"] for name, one in told.items()} == {"scans": pytest.approx(2), "cells": pytest.approx(2)}
    assert sum(one["emissions_g"] for one in told.values()) == pytest.approx(report["emissions_g"])
    assert report["emissions_g"] == pytest.approx(4 * 0.3 * 300 * 1.5)


def test_with_shares_the_project_that_used_less_goes_first() -> None:
    place = a_place(replace(SITE, gpus=1), queues=(replace(ASAP, fair_share_weight=1.0),))
    before = TraceJob("a", 0.0, 6 * H, 1, project="greedy")
    after = TraceJob("b", H, H, 1, project="greedy"), TraceJob("c", 2 * H, H, 1, project="modest")
    found = waits_h(a_play(before, *after, place=place))
    assert (found["b"], found["c"]) == (6.0, 4.0)
    plain = waits_h(a_play(before, *after, place=a_place(replace(SITE, gpus=1))))
    assert (plain["b"], plain["c"]) == (5.0, 5.0)


def booked(**changes: Any) -> Booked:
    kept = Reservation(1, "lab", "", START, START + 5 * HOUR)
    return Booked(replace(kept, **changes), START)


def test_nothing_starts_where_a_site_is_drained_until_that_is_over_or_ended() -> None:
    assert waits_h(a_play(*jobs(1), place=a_place(reservations=(booked(),))))["j0"] == pytest.approx(5.0)
    ended = replace(booked(), ended_at=START + 2 * HOUR)
    assert waits_h(a_play(*jobs(1), place=a_place(reservations=(ended,))))["j0"] == pytest.approx(2.0)


def test_a_drain_that_nobody_knew_of_yet_keeps_nobody_waiting() -> None:
    unknown = replace(booked(), made_at=START + 4 * HOUR)
    place = a_place(reservations=(unknown,))
    found = waits_h(a_play(TraceJob("a", 0.0, 2 * H, 1), TraceJob("b", 4.5 * H, H, 1), place=place))
    assert [found["a"], found["b"]] == pytest.approx([0.0, 0.5])


def test_what_is_reserved_is_used_by_its_members_alone() -> None:
    place = a_place(reservations=(booked(gpus=3, cpus=0, project="scans"),))
    others, members = jobs(2), [replace(one, job_id=f"m{one.job_id}", project="scans") for one in jobs(3)]
    found = waits_h(a_play(*others, *members, place=place))
    assert [found[f"mj{i}"] for i in range(3)] == [0.0, 0.0, 0.0]
    assert sorted((found["j0"], found["j1"])) == [0.0, 1.0]


def test_cost_is_told_by_the_tariff_of_each_site_and_not_across_currencies() -> None:
    night = SpotPrices("EUR", START, H, (0.1,) * 6 + (0.4,) * 114)
    lab = replace(SITE, tariff=night, pue=1.5)
    queue = replace(ASAP, policy="lowest_window")
    values = [300.0] * 8 + [50.0] * 112
    report = result(a_play(*jobs(1), place=a_place(lab, queues=(queue,)), values=values)).report
    assert (report["cost"], report["currency"]) == (pytest.approx(0.3 * 0.4 * 1.5), "EUR")
    assert report["baseline_cost"] == pytest.approx(0.3 * 0.1 * 1.5)
    away = replace(SITE, name="away", tariff=replace(night, currency="GBP"))
    both = [*jobs(1, site="lab"), TraceJob("k", 0.0, H, 1, site="away")]
    mixed = result(a_play(*both, place=a_place(lab, away))).report
    assert (mixed["cost"], mixed["currency"], mixed["baseline_cost"]) == (None, None, None)


def test_a_policy_is_played_for_all_queues_that_may_wait_and_a_set_as_it_says() -> None:
    values = [300.0] * 8 + [50.0] * 112
    greener = replace(ASAP, policy="lowest_window")
    place = a_place(queues=(replace(ASAP, policy="threshold"), CLINICAL))
    place = replace(place, sets={**place.sets, "mine": {"research": greener, "clinical": CLINICAL}})
    mine = [TraceJob("a", 0.0, H, 1), TraceJob("b", 0.0, H, 1, queue="clinical")]
    for policy in ("lowest_window", "mine"):
        assert waits_h(a_play(*mine, place=place, values=values, policy=policy)) == {"a": pytest.approx(8.0), "b": 0.0}
    with pytest.raises(BadInput, match="mine is a policy set"):
        result(a_play(*mine, place=place, policy="mine", params=(("percentile", 20.0),)))


def test_the_bound_knows_of_the_gpus_and_the_pue_of_each_site() -> None:
    site = replace(SITE, gpus=1, pue=2.0)
    values = [300.0, 100.0] + [300.0] * 118
    report = result(a_play(*jobs(2), place=a_place(site), values=values, is_bound_wanted=True)).report
    assert report["bound_g"] == pytest.approx(0.3 * (100 + 300) * 2.0)


@pytest.mark.parametrize(
    ("job", "told"),
    [
        (TraceJob("a", 0.0, H, 1, queue="resarch"), "names queue 'resarch'; the queues are: research, clinical"),
        (TraceJob("a", 0.0, H, 1, site="GB"), "names site 'GB'; the sites are: lab"),
        (TraceJob("a", 0.0, H, 5), "needs 5 GPUs, and no pool of lab has as many"),
    ],
)
def test_a_job_that_the_installation_cannot_take_is_refused(job: TraceJob, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        result(a_play(job, place=a_place()))


def test_prices_and_intensity_have_to_reach_over_the_whole_play() -> None:
    short = replace(SITE, tariff=SpotPrices("EUR", START, H, (0.1,) * 6))
    with pytest.raises(BadInput, match="prices of zone 'GB' reach from 2026-03-10T00:00 to 2026-03-10T06:00"):
        result(a_play(*jobs(1), place=a_place(short)))
    with pytest.raises(BadInput, match="site 'lab' is in zone 'FR', and the intensity holds: GB"):
        result(a_play(*jobs(1), place=a_place(replace(SITE, zone="FR"))))
