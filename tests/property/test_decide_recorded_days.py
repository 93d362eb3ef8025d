"""A dozen jobs over recorded days of a real grid, the forecast being what then came."""

import csv
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from lowtide.scheduler.model.plan import GridForecast
from tests.builders import a_forecast, a_job_view, a_queue, a_site
from tests.follow import Course, World

HALF_HOUR_S = 1800.0
RECORDED = Path(__file__).parents[3] / "shared" / "bench" / "neso" / "gb_actual.csv"


@pytest.fixture(scope="module")
def actual() -> tuple[datetime, list[float]]:
    """Half-hourly intensities in g/kWh and when they begin."""
    if not RECORDED.exists():
        pytest.skip("the recorded days are not on this machine")
    with RECORDED.open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    return datetime.fromisoformat(rows[0]["from_utc"]), [float(r["actual_g_per_kwh"]) for r in rows]


def emitted(course: Course, begin: datetime, prices: list[float], power_w: float) -> float:
    """Grams of the executed stretches at the recorded intensity, second by second of each half hour."""
    total = 0.0
    for _, start, end in course.stretches:
        a, b = (start - begin).total_seconds(), (end - begin).total_seconds()
        for i in range(int(a // HALF_HOUR_S), int(b // HALF_HOUR_S) + 1):
            inside_s = min(b, (i + 1) * HALF_HOUR_S) - max(a, i * HALF_HOUR_S)
            total += max(0.0, inside_s) / 3600 * power_w / 1000 * prices[i]
    return total


def sailed(policy: str, begin: datetime, prices: list[float]) -> tuple[float, World]:
    """Emissions of a dozen jobs under a policy, submitted through the first days."""

    def look(now: datetime) -> dict[str, GridForecast]:
        first = int((now - begin).total_seconds() // HALF_HOUR_S)
        start = begin + timedelta(seconds=first * HALF_HOUR_S)
        return {"GB": a_forecast(prices[first : first + 96], start=start, step_s=HALF_HOUR_S)}

    arrivals = []
    for i in range(12):
        at = begin + timedelta(hours=7 * i, minutes=13 * i)
        view = a_job_view(
            f"j{i:02d}", now=at, gpus=1 + i % 3, hours=1 + (i * 5) % 7, patience_h=24, suspendable=i % 3 != 0
        )
        arrivals.append(replace(view, submitted_at=at))
    queue = a_queue(policy=policy)
    world = World(begin, {}, [a_site(gpus=4)], {queue.name: queue}, look, arrivals=list(arrivals))
    world.now = arrivals[0].submitted_at
    courses = world.run()
    late = [v.job_id for v in arrivals if (f := courses[v.job_id].finished_at) is None or f > v.latest_finish_at]
    assert not late
    return sum(emitted(c, begin, prices, 300.0) for c in courses.values()), world


def test_on_recorded_days_every_carbon_policy_emits_less_than_running_at_once(
    actual: tuple[datetime, list[float]],
) -> None:
    begin, prices = actual
    grams = {p: sailed(p, begin, prices)[0] for p in ("asap", "threshold", "lowest_window", "lowest_slots")}
    assert grams["lowest_window"] < grams["asap"]
    assert grams["lowest_slots"] < grams["asap"]
    assert grams["threshold"] < grams["asap"]
    assert grams["lowest_slots"] <= grams["lowest_window"] * 1.01


def test_on_recorded_days_an_interruptible_job_comes_close_to_its_cheapest_half_hours(
    actual: tuple[datetime, list[float]],
) -> None:
    begin, prices = actual
    hours, bound_g, spent_g = 6, 0.0, 0.0
    for first in range(0, 400, 40):
        at = begin + timedelta(seconds=first * HALF_HOUR_S)
        view = a_job_view(now=at, hours=hours, patience_h=24, suspendable=True)

        def look(now: datetime) -> dict[str, GridForecast]:
            i = int((now - begin).total_seconds() // HALF_HOUR_S)
            start = begin + timedelta(seconds=i * HALF_HOUR_S)
            return {"GB": a_forecast(prices[i : i + 96], start=start, step_s=HALF_HOUR_S)}

        queue = a_queue(policy="lowest_slots")
        world = World(at, {view.job_id: view}, [a_site()], {queue.name: queue}, look)
        spent_g += emitted(world.run()[view.job_id], begin, prices, 300.0)
        cheapest = sorted(prices[first : first + 2 * (24 + hours)])[: 2 * hours]
        bound_g += sum(cheapest) * 0.5 * 0.3
    # The bound switches freely, needs no margin and has no shortest stretch; 3.0 % was measured.
    assert bound_g <= spent_g <= 1.04 * bound_g
