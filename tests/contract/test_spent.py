"""What projects have spent, moved on from look to look and the same after a restart; days are cut at midnight UTC."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from lowtide.scheduler.model.job import JobId, JobSpec, Resources, spec_to_json
from lowtide.scheduler.model.lifecycle import AttemptState
from lowtide.scheduler.model.reason import Reason, ReasonCode
from lowtide.scheduler.model.spending import by_day
from lowtide.scheduler.store import attempts, jobs
from lowtide.scheduler.store import tables as t
from lowtide.scheduler.store.database import Database
from lowtide.scheduler.store.spent import Spent

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
FIRST = NOON.replace(hour=0)
WHO: dict[str, Any] = {"actor": "lowtide", "reason": Reason(ReasonCode.POLICY_ASAP)}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "lowtide.db")
    opened.migrate()
    with opened.write() as connection:
        connection.execute(insert(t.site).values(name="lab", zone="GB", gpus=99, cpus=99, jurisdiction=""))
    yield opened
    opened.close()


def begin(database: Database, name: str, project: str, at: datetime, *, gpus: int = 2) -> str:
    need = Resources(gpus=gpus, cpus=1)
    spec = JobSpec(name=name, argv=("true",), project=project, resources=need)
    new = jobs.NewJob(JobId(name), spec, spec_to_json(spec), "digest", "normal", "ann", at, at + DAY)
    with database.write() as connection:
        jobs.submit(connection, [new])
        attempt = attempts.begin(connection, JobId(name), site="lab", fence="f", resources=need, at=at, **WHO)
        attempts.running(connection, attempt, started_at=at, at=at, **WHO)
    return attempt


def end(database: Database, attempt: str, at: datetime) -> None:
    with database.write() as connection:
        attempts.move(connection, attempt, AttemptState.SUCCEEDED, at=at, **WHO)


def emit(database: Database, attempt: str, at: datetime, grams: float, component: str = "gpu") -> None:
    row = {"attempt_id": attempt, "component": component, "start_at": at}
    used = {"end_at": at, "energy_mj": 1000, "source": "s", "quality": "measured", "scale": 1.0}
    how = {"grid_source": "s", "zone": "GB", "signal": "average", "basis": "direct", "accounting": "consumption"}
    price = {"emissions_g": grams, "g_per_kwh": 100.0, "pue": 1.0, "kind": "actual", **how}
    with database.write() as connection:
        connection.execute(insert(t.energy), [row | used])
        connection.execute(insert(t.emission), [row | price])


def look(database: Database, spent: Spent | None = None) -> Spent:
    found = spent or Spent()
    with database.read() as connection:
        found.catch_up(connection)
    return found


def test_grams_are_counted_once_by_project_and_day(database: Database) -> None:
    scans, cells = begin(database, "a", "scans", NOON), begin(database, "b", "cells", NOON)
    emit(database, scans, NOON, 10.25)
    emit(database, cells, NOON, 7.0)
    spent = look(database)
    emit(database, scans, NOON, 1.5, "cpu")
    emit(database, scans, FIRST + DAY, 100.0)
    for found in (look(database, look(database, spent)), look(database)):
        assert found.used().emissions_g("scans", FIRST, FIRST + DAY) == 11.75
        assert found.used().emissions_g("scans", FIRST, FIRST + 2 * DAY) == 111.75
        assert found.used().emissions_g("scans", FIRST - 30 * DAY, FIRST) == 0.0
        assert found.used().emissions_g("cells", FIRST, FIRST + DAY) == 7.0


def test_gpu_time_of_ended_attempts_is_cut_at_midnight(database: Database) -> None:
    attempt = begin(database, "a", "scans", NOON)
    spent = look(database)
    assert spent.used().gpu_h("scans", FIRST, FIRST + 3 * DAY) == 0.0
    end(database, attempt, NOON + timedelta(hours=13))
    for found in (look(database, spent), look(database)):
        assert found.used().gpu_h("scans", FIRST, FIRST + DAY) == 2 * 12
        assert found.used().gpu_h("scans", FIRST + DAY, FIRST + 2 * DAY) == 2


def test_the_days_of_a_stretch_add_up_to_it() -> None:
    end_at = NOON + timedelta(days=3, microseconds=7)
    cut = by_day(NOON, end_at)
    assert [day.day for day, _ in cut] == [1, 2, 3, 4]
    assert sum(us for _, us in cut) == (end_at - NOON) // timedelta(microseconds=1)
    assert by_day(NOON, NOON) == []
