"""What the planner is told of projects: their budgets, with what running work has taken so far."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lowtide.scheduler.control.observe import Observer
from lowtide.scheduler.control.projects import statement
from lowtide.scheduler.model.errors import BadInput
from lowtide.scheduler.model.plan import Snapshot
from lowtide.scheduler.settings import Settings, load
from tests.driving import Bench

BUDGETS = [{"period": "month", "carbon_g": 5000, "gpu_h": 100}, {"period": "day", "gpu_h": 4, "near": 0.5}]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "data")
    yield made
    made.close()


def seen(bench: Bench, **settings: Any) -> Snapshot:
    observer = Observer(Settings(data_dir=bench.data_dir, sites=bench.settings.sites, **settings))
    with bench.database.read() as connection:
        return observer.snapshot(connection, now=bench.clock.now(), sites=[bench.site], forecasts={})[0]


def test_without_budgets_nothing_is_told_of_projects(bench: Bench) -> None:
    bench.put()
    shot = seen(bench)
    assert shot.projects == {}
    assert [view.project for view in shot.jobs] == ["default"]


def test_running_work_counts_up_to_now_and_promises_the_rest(bench: Bench) -> None:
    bench.put(duration_s=7200.0)
    bench.begin()
    bench.step(2)
    bench.pass_s(1800)
    shot = seen(bench, projects=[{"name": "default", "budgets": BUDGETS}, {"name": "idle"}])
    gpus = shot.jobs[0].resources.gpus
    told = {(row["period"], row["measure"]): row for row in statement(shot)}
    assert told.keys() == {("month", "carbon"), ("month", "gpu"), ("day", "gpu")}
    day = told["day", "gpu"]
    assert day["used"] == pytest.approx(0.5 * gpus)
    assert day["promised"] == pytest.approx(1.5 * gpus)
    assert day["left"] == pytest.approx(4 - 2 * gpus)
    assert told["month", "carbon"]["used"] == 0.0
    assert day["standing"] == ("near" if gpus == 1 else "spent" if gpus > 1 else "open")


def test_a_period_that_began_after_the_attempt_has_only_what_ran_in_it(bench: Bench) -> None:
    bench.put(duration_s=7200.0)
    bench.begin()
    bench.step(2)
    now = bench.clock.now()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    bench.pass_s((midnight - now).total_seconds() + 900)
    shot = seen(bench, projects=[{"name": "default", "budgets": [BUDGETS[1]]}])
    (spending,) = shot.projects["default"].spendings
    assert spending.used == pytest.approx(0.25 * shot.jobs[0].resources.gpus, rel=0.01)


@pytest.mark.parametrize(
    ("projects", "told"),
    [
        ([{"name": "a", "budgets": [{"period": "month"}]}], "give carbon_g, gpu_h or both"),
        ([{"name": "a", "budgets": [{"period": "day", "gpu_h": 1}] * 2}], "put both limits"),
        ([{"name": "a"}, {"name": "a"}], "project a is configured twice"),
        ([{"name": "A B"}], "is not a slug"),
        ([{"name": "a", "budgets": [{"period": "hour", "gpu_h": 1}]}], "'day', 'week', 'month', 'quarter' or 'year'"),
        ([{"name": "a", "budgets": [{"period": "day", "gpu_h": 0}]}], "greater than 0"),
    ],
)
def test_wrong_budgets_are_refused_with_what_was_expected(projects: list[Any], told: str) -> None:
    with pytest.raises(BadInput, match=told):
        load(None, projects=projects)


def test_shares_come_from_the_settings_and_recent_use_counts_half_after_each_half_life(bench: Bench) -> None:
    shared = {"queues": [{"name": "research", "fair_share_weight": 0.5}], "fair_share_half_life_h": 24}
    bench.put(duration_s=7200.0)
    assert seen(bench, **shared).projects["default"].share == 1.0
    bench.begin()
    bench.step(2)
    bench.pass_s(3600)
    scans = {"name": "scans", "share": 3}
    shot = seen(bench, projects=[scans], **shared)
    gpus = shot.jobs[0].resources.gpus
    assert (shot.projects["scans"].share, shot.projects["scans"].recent_gpu_h) == (3.0, 0.0)
    used = shot.projects["default"].recent_gpu_h
    assert used == pytest.approx(gpus, rel=0.5)
    bench.pass_s(10 * 86_400)
    later = seen(bench, projects=[scans], **shared).projects["default"].recent_gpu_h
    assert later < gpus * 24 * 2  # ten days of running, most of which are forgotten
    assert seen(bench, projects=[scans]).projects.keys() == {"scans"}
