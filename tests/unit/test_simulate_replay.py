"""A past played again: the same jobs under other queues, counted like what happened."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lowtide.scheduler.cli.replay_view import _past, replay, replay_text
from lowtide.scheduler.model.errors import BadInput
from lowtide.scheduler.model.job import JobId, Urgency
from lowtide.scheduler.model.series import Point, PointKind, Series, Signal
from lowtide.scheduler.model.site import Queue
from lowtide.scheduler.report.issues import issues_json, issues_of
from lowtide.scheduler.settings import DEFAULT_QUEUES
from lowtide.scheduler.simulate.replay import Past, replayed, side_by_side, usable
from tests.fake_policies import a_past_day, a_past_job

HOUR = timedelta(hours=1)
START = datetime(2026, 3, 1, tzinfo=UTC)
GREEN, ASAP = Queue("research", policy="lowest_window"), Queue("research", policy="asap")
JOB = JobId("mri-1")


def told(*jobs: dict[str, Any], series: Series | None = None, issued: Sequence[Series] = ()) -> dict[str, Any]:
    return {
        "start": START.isoformat(),
        "end": (START + 24 * HOUR).isoformat(),
        "slot_s": 900.0,
        "sites": [{"name": "lab", "zone": "GB", "gpus": 2, "cpus": 8, "pue": 1.5}],
        "queues": [queue.model_dump(mode="json") for queue in DEFAULT_QUEUES],
        "jobs": list(jobs) or [a_past_job()],
        "intensity": {"GB": (series or a_past_day()).to_json()},
        "issues": {"GB": issues_json(list(issued))},
        "projects": {"declared": [], "half_life_h": 168.0, "used": []},
        "reservations": [],
    }


def a_past(*jobs: dict[str, Any], series: Series | None = None) -> Past:
    return usable(_past(told(*jobs, series=series)))


def column(found: dict[str, Any], name: str) -> dict[str, Any]:
    (one,) = [one for one in found["columns"] if one["name"] == name]
    return dict(one)


def test_a_greener_set_runs_in_the_dip_and_emits_what_was_measured_there_times_pue() -> None:
    text = "queues: {research: {policy: lowest_window}}"
    found: dict[str, Any] = replay(told(), text, "trial")
    assert column(found, "what happened")["emissions_g"] == pytest.approx(0.3 * 300 * 1.5)
    assert column(found, "trial")["emissions_g"] == pytest.approx(0.3 * 50 * 1.5)
    assert column(found, "trial")["mean_wait_h"] == pytest.approx(5.0)
    assert column(found, "what happened")["mean_wait_h"] == 0
    assert (found["jobs"], found["compared"]) == (1, 1)


def test_the_queue_gives_the_patience_that_a_job_has_not_itself() -> None:
    hasty = replace(GREEN, patience_s=3600.0)
    (ended,) = replayed(a_past(), {"research": hasty}).values()
    assert ended.finished_at is not None
    assert ended.finished_at <= START + 3 * HOUR
    (own,) = replayed(a_past(a_past_job(patience_s=86_400.0)), {"research": hasty}).values()
    assert own.stretches[0][1] == START + 6 * HOUR


def test_a_clinical_job_is_never_delayed_whichever_way_it_is_clinical() -> None:
    clinical = replayed(a_past(a_past_job(urgency="clinical")), {"research": GREEN})
    by_queue = replayed(a_past(), {"research": Queue("research", policy="lowest_window", urgency=Urgency.CLINICAL)})
    for outcomes in (clinical, by_queue):
        assert outcomes[JOB].stretches[0][1] == START + HOUR


def test_a_job_runs_as_long_as_it_truly_did_whatever_was_declared() -> None:
    outcome = replayed(a_past(a_past_job(run_s=7200.0)), {"research": ASAP})[JOB]
    assert outcome.finished_at == START + 3 * HOUR


def test_what_a_set_would_not_have_ended_is_compared_for_no_set() -> None:
    late = "2026-03-01T22:30:00+00:00"
    tardy = a_past_job("mri-2", submitted_at=late, run_s=7200.0, duration_s=7200.0)
    past = a_past(tardy, a_past_job())
    columns = {
        "happened": {job.view.job_id: job.happened for job in past.jobs},
        "asap": replayed(past, {"research": ASAP}),
    }
    found: dict[str, Any] = side_by_side(past, columns)
    assert (found["jobs"], found["compared"]) == (2, 1)
    assert [one["not_ended"] for one in found["columns"]] == [0, 1]
    assert [one["emissions_g"] for one in found["columns"]] == pytest.approx([135.0, 135.0])


def test_a_gap_in_the_intensity_shortens_the_past_and_a_short_hole_does_not() -> None:
    whole = a_past_day()
    gap = replace(whole, points=whole.points[:10] + whole.points[20:])
    hole = replace(whole, points=whole.points[:10] + whole.points[11:])
    assert a_past(series=hole).start == START
    with pytest.raises(BadInput, match="1 jobs have ended, 0 of them"):
        a_past(series=gap)
    later = a_past_job(submitted_at="2026-03-01T11:00:00+00:00")
    assert a_past(later, series=gap).start == START + 10 * HOUR


def test_a_job_whose_site_is_gone_is_not_compared() -> None:
    job = a_past_job()
    moved = a_past_job(stretches=[["old", *job["stretches"][0][1:]]])
    past = a_past(moved)
    found = side_by_side(past, {"happened": {JOB: past.jobs[0].happened}})
    assert found["compared"] == 0


def test_jobs_that_waited_for_others_do_so_in_the_replay_and_not_for_what_lies_outside_of_it() -> None:
    jobs = a_past_job("prep-1"), a_past_job("train-1", depends_on=["prep-1", "long-gone"])
    found = replayed(a_past(*jobs), {"research": ASAP})
    assert found[JobId("train-1")].stretches[0][1] == found[JobId("prep-1")].finished_at


def an_issue(seen_at: datetime, *, low_from: int) -> Series:
    """A day of 300 g/kWh, forecast to fall to 50 for six hours."""
    half_hour = timedelta(minutes=30)
    prices = [50.0 if low_from <= i // 2 < low_from + 6 else 300.0 for i in range(48)]
    points = tuple(
        Point(START + i * half_hour, START + (i + 1) * half_hour, g, PointKind.FORECAST) for i, g in enumerate(prices)
    )
    return replace(a_past_day(), points=points, fetched_at=seen_at, issued_at=seen_at)


def test_issues_come_back_as_they_were() -> None:
    issues = (an_issue(START - HOUR, low_from=6), an_issue(START, low_from=12))
    assert issues_of(issues_json(issues)) == issues
    assert issues_of(issues_json(())) == ()


def test_a_replay_plans_with_the_forecasts_that_were_issued_and_not_with_what_was_to_be_measured() -> None:
    text = "queues: {research: {policy: lowest_window, confidence: 0.5}}"
    wrong = an_issue(START - HOUR, low_from=14)
    found: dict[str, Any] = replay(told(issued=[wrong]), text, "trial")
    assert (found["forecast"], found["issued_zones"]) == ("issued", ["GB"])
    assert column(found, "trial")["emissions_g"] == pytest.approx(0.3 * 300 * 1.5)
    assert column(found, "trial")["mean_wait_h"] == pytest.approx(13.0), "it ran where the dip was forecast"
    assert "Replays plan with the forecasts as they were issued." in replay_text(found)


OTHER = replace(an_issue(START - HOUR, low_from=14), signal=Signal.MARGINAL)
IN_VAIN = [(), (an_issue(START + 9 * HOUR, low_from=14),), (OTHER,)]


@pytest.mark.parametrize("issued", IN_VAIN, ids=["none", "none in time", "none of the same signal"])
def test_without_forecasts_from_before_a_replay_says_that_it_knows_the_intensity(issued: tuple[Series, ...]) -> None:
    found: dict[str, Any] = replay(told(issued=issued), "queues: {research: {policy: lowest_window}}", "trial")
    assert column(found, "trial")["emissions_g"] == pytest.approx(0.3 * 50 * 1.5)
    assert found["forecast"] == "perfect"
    assert "replays know the intensity in advance" in replay_text(found)


def test_where_only_some_zones_have_forecasts_the_others_are_named_as_known() -> None:
    plain = told(issued=[an_issue(START - HOUR, low_from=6)])
    plain["intensity"]["FR"] = a_past_day().to_json()
    found: dict[str, Any] = replay(plain, "queues: {}", "trial")
    assert found["forecast"] == "mixed"
    assert "as they were issued in GB; of the other zones" in replay_text(found)


NIGHT_RATE = {"begin_min": 0, "end_min": 360, "days": list(range(7)), "per_kwh": 0.1}
DAY_RATE = {"begin_min": 360, "end_min": 1440, "days": list(range(7)), "per_kwh": 0.4}
TARIFF = {"currency": "EUR", "timezone": "UTC", "rates": [NIGHT_RATE, DAY_RATE]}


def test_each_schedule_tells_what_it_would_have_cost_by_the_tariff_pue_included() -> None:
    plain = told()
    plain["sites"][0]["tariff"] = TARIFF
    found: dict[str, Any] = replay(plain, "queues: {research: {policy: lowest_window}}", "trial")
    assert column(found, "what happened")["cost"] == pytest.approx(0.3 * 0.1 * 1.5)
    assert column(found, "trial")["cost"] == pytest.approx(0.3 * 0.4 * 1.5)
    assert {one["currency"] for one in found["columns"]} == {"EUR"}
    rows = replay_text(found).splitlines()
    assert rows[0].endswith("COST")
    assert rows[1].endswith("0.045 EUR")


def test_without_a_tariff_everywhere_no_cost_is_told() -> None:
    plain = told(a_past_job(), a_past_job("mri-2", allowed_sites=["hall"]))
    plain["sites"][0]["tariff"] = TARIFF
    plain["sites"].append({"name": "hall", "zone": "GB", "gpus": 2, "cpus": 8})
    found: dict[str, Any] = replay(plain, "queues: {}", "trial")
    assert [one["cost"] for one in found["columns"]] == [pytest.approx(2 * 0.3 * 0.1 * 1.5), None, None]
    assert "COST" not in replay_text(replay(told(), "queues: {}", "trial"))


HOUR_US = 3_600_000_000


def budgeted(period: str, used: list[Any]) -> dict[str, Any]:
    """Three jobs of an hour on a GPU, the last two hours after the others, on account of two GPU-hours."""
    plain = told(a_past_job(), a_past_job("mri-2", submitted_at="2026-03-01T03:00:00+00:00"), a_past_job("mri-3"))
    budget = {"period": period, "measure": "gpu", "limit": 2.0, "near": 0.8}
    declared = [{"name": "default", "share": 1.0, "budgets": [budget]}]
    return plain | {"projects": {"declared": declared, "half_life_h": 168.0, "used": used}}


def ended(plain: dict[str, Any]) -> list[str]:
    outcomes = replayed(usable(_past(plain)), {"research": ASAP})
    return sorted(job_id for job_id, one in outcomes.items() if one.finished_at is not None)


@pytest.mark.parametrize(
    ("period", "used", "within"),
    [
        ("day", [], ["mri-1", "mri-3"]),
        ("month", [["default", "2026-02-28", 0, 2 * HOUR_US]], ["mri-1", "mri-3"]),
        ("year", [["default", "2026-02-28", 0, 2 * HOUR_US]], []),
        ("year", [["another", "2026-02-28", 0, 2 * HOUR_US]], ["mri-1", "mri-3"]),
        ("year", [["default", "2026-03-01", 0, 2 * HOUR_US]], ["mri-1", "mri-3"]),
    ],
)
def test_budgets_hold_in_a_replay_with_what_was_used_before_and_not_on_its_own_days(
    period: str, used: list[Any], within: list[str]
) -> None:
    assert ended(budgeted(period, used)) == within


def test_what_was_drained_is_drained_in_a_replay_from_when_that_was_ordered_until_it_was_ended() -> None:
    drain: dict[str, Any] = {"number": 1, "site": "lab", "pool": "", "at": "2026-03-01T00:30:00+00:00"}
    drain |= {"start_at": "2026-03-01T01:00:00+00:00", "end_at": None, "ended_at": "2026-03-01T04:00:00+00:00"}
    drain |= dict.fromkeys(("gpus", "cpus", "project", "queue"))
    plain = told(a_past_job()) | {"reservations": [drain]}
    (found,) = replayed(usable(_past(plain)), {"research": ASAP}).values()
    assert found.stretches[0][1] == START + 4 * HOUR


def test_pools_count_in_a_replay() -> None:
    plain = told(*(a_past_job(f"mri-{n}", gpu_model="H100") for n in (1, 2)))
    pools = [{"name": name, "gpus": 1, "cpus": 4, "gpu_model": model} for name, model in (("a", "H100"), ("b", "A100"))]
    plain["sites"][0]["pools"] = pools
    outcomes = replayed(usable(_past(plain)), {"research": ASAP}).values()
    assert sorted(one.stretches[0][1] for one in outcomes) == [START + HOUR, START + 2 * HOUR]
