"""The sums behind the metrics: what was added since the last look, and the same after a restart (INV-17)."""

import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from lowtide.scheduler.metrics import _ledger
from lowtide.scheduler.model.job import JobId, JobSpec, Resources, spec_to_json
from lowtide.scheduler.model.lifecycle import AttemptState, JobState
from lowtide.scheduler.model.reason import Reason, ReasonCode
from lowtide.scheduler.store import attempts, jobs
from lowtide.scheduler.store import tables as t
from lowtide.scheduler.store.database import Database
from lowtide.scheduler.store.totals import SPANS, WAIT_BUCKETS_S, Totals, open_jobs

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
WHY = Reason(ReasonCode.POLICY_ASAP)
QUEUES = ("research", "clinical")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "lowtide.db")
    opened.migrate()
    with opened.write() as connection:
        sites = [{"name": "lab", "zone": "GB", "gpus": 99, "cpus": 99, "jurisdiction": ""}]
        connection.execute(insert(t.site), sites)
    yield opened
    opened.close()


def submit(database: Database, number: int, at: datetime) -> str:
    spec = JobSpec(name="mri", argv=("true",), queue=QUEUES[number % 2], resources=Resources(gpus=0, cpus=1))
    new = jobs.NewJob(
        JobId(f"job-{number}"), spec, spec_to_json(spec), "digest", "normal", "ann", at, at + timedelta(hours=2)
    )
    with database.write() as connection:
        jobs.submit(connection, [new])
    return new.job_id


def start(database: Database, job_id: str, at: datetime) -> str:
    common: dict[str, Any] = {"at": at, "actor": "lowtide", "reason": WHY}
    with database.write() as connection:
        need = Resources(gpus=0, cpus=1)
        attempt = attempts.begin(connection, JobId(job_id), site="lab", fence="f", resources=need, **common)
        attempts.running(connection, attempt, started_at=at, **common)
        jobs.set_values(connection, job_id, first_feasible_at=at - timedelta(seconds=90))
    return attempt


def end(database: Database, job_id: str, attempt: str, state: JobState, at: datetime, draws: random.Random) -> None:
    common: dict[str, Any] = {"at": at, "actor": "lowtide", "reason": WHY}
    row = {"attempt_id": attempt, "component": "cpu", "start_at": at}
    used = {"end_at": at, "energy_mj": draws.randrange(10**9), "source": "s", "quality": "measured", "scale": 1.0}
    how = {"grid_source": "s", "zone": "GB", "signal": "average", "basis": "direct", "accounting": "consumption"}
    price = {"emissions_g": draws.random() * 100, "g_per_kwh": 100.0, "pue": 1.0, "kind": "actual", **how}
    price |= {"cost": draws.random(), "currency": draws.choice(["EUR", "GBP"])}
    base = {"job_id": job_id, "start_at": at, "emissions_g": draws.random() * 100, "data": {"zone": "GB"}}
    with database.write() as connection:
        attempts.move(connection, attempt, AttemptState(state.value), **common)
        jobs.move(connection, job_id, state, **common)
        connection.execute(insert(t.energy), [row | used])
        connection.execute(insert(t.emission), [row | price])
        connection.execute(insert(t.baseline), [base])


def look(database: Database, totals: Totals | None = None) -> Totals:
    """The same sums, moved on; without any, those of a daemon that has just started."""
    found = totals or Totals()
    with database.read() as connection:
        found.catch_up(connection)
    return found


def expected(database: Database, queue: str, what: str) -> int:
    """The same by walking over every job, as simply as can be."""
    with database.read() as connection:
        rows = [row for row in connection.execute(select(t.job)).mappings() if row["queue"] == queue]
    if what == "count":
        return len(rows)
    if what == "late":
        return sum(r["state"] == "succeeded" and r["finished_at"] > r["latest_finish_at"] for r in rows)
    span, figure = what.split("_")
    ends = [(row[SPANS[span][0].name], row[SPANS[span][1].name]) for row in rows]
    micros = [max(0, round((b - a).total_seconds() * 1e6)) for a, b in ends if a and b]
    if figure == "us":
        return sum(micros)
    return len(micros) if figure == "count" else sum(m <= float(figure) * 1e6 for m in micros)


def costs_walked_over(database: Database) -> dict[tuple[str, ...], int]:
    """By project, site and currency, in millionths of its unit."""
    with database.read() as connection:
        rows = connection.execute(select(t.emission.c.cost, t.emission.c.currency)).all()
    found: Counter[tuple[str, ...]] = Counter()
    for paid, currency in rows:
        found["default", "lab", currency] += round(paid * 1e6)
    return found


def test_inv17_sums_carried_on_equal_those_of_a_restart_and_of_a_walk_over_every_job(database: Database) -> None:
    draws, carried, live = random.Random(7), Totals(), {}
    figures = ["count", "late", *(f"{s}_{e}" for s in SPANS for e in ("count", "us", *WAIT_BUCKETS_S))]
    for number in range(40):
        at = NOON + timedelta(seconds=draws.uniform(0, 20_000))
        job_id = submit(database, number, at)
        if draws.random() < 0.8:
            begun = at + timedelta(seconds=draws.uniform(0, 4000))
            live[job_id] = (start(database, job_id, begun), begun)
        if live and draws.random() < 0.7:
            ended_id = draws.choice(sorted(live))
            attempt, begun = live.pop(ended_id)
            state = draws.choice([JobState.SUCCEEDED, JobState.FAILED])
            end(database, ended_id, attempt, state, begun + timedelta(seconds=draws.uniform(0, 9000)), draws)
        if draws.random() < 0.4:
            before = (carried.energy_mj.total(), carried.emissions_ug.total(), carried.jobs("research", "count"))
            look(database, carried)
            after = (carried.energy_mj.total(), carried.emissions_ug.total(), carried.jobs("research", "count"))
            assert all(a >= b for a, b in zip(after, before, strict=True))
    look(database, carried)
    fresh = look(database)
    assert (carried.ended, carried.open) == (fresh.ended, fresh.open)
    assert carried.energy_mj == fresh.energy_mj
    assert carried.emissions_ug == fresh.emissions_ug
    assert carried.baseline_ug == fresh.baseline_ug
    assert carried.compared_ug == fresh.compared_ug
    assert carried.cost_millionths == fresh.cost_millionths == costs_walked_over(database)
    for queue in QUEUES:
        told = {what: carried.jobs(queue, what) for what in figures}
        assert told == {what: expected(database, queue, what) for what in figures}


def test_a_store_that_fails_half_way_counts_nothing_twice_and_nothing_never(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = submit(database, 0, NOON)
    attempt = start(database, job_id, NOON)
    totals = look(database)
    end(database, job_id, attempt, JobState.SUCCEEDED, NOON, random.Random(1))

    def fail(*_arguments: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr("lowtide.scheduler.store.totals._baselines", fail)
        with pytest.raises(ZeroDivisionError):
            look(database, totals)
    assert totals.jobs("research", "count", JobState.RUNNING) == 1
    look(database, totals)
    assert totals.jobs("research", "count") == totals.jobs("research", "count", JobState.SUCCEEDED) == 1
    assert totals.energy_mj == look(database).energy_mj


def test_what_is_still_open_is_found_by_an_index_and_not_among_all_jobs_ever(database: Database) -> None:
    with database.read() as connection:
        compiled = open_jobs().compile(connection.engine, compile_kwargs={"literal_binds": True})
        plan = " ".join(str(row[3]) for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}"))
    assert "USING INDEX job_open" in plan


def test_the_oldest_waiting_job_is_known_by_queue(database: Database) -> None:
    for number, minutes in enumerate((9, 4, 3, 8)):
        submit(database, number, NOON + timedelta(minutes=minutes))
    start(database, "job-2", NOON + timedelta(hours=1))
    waiting = look(database).oldest_waiting
    assert waiting == {"research": NOON + timedelta(minutes=9), "clinical": NOON + timedelta(minutes=4)}


def test_savings_are_told_over_jobs_that_have_both_sides(database: Database) -> None:
    """What a counter of avoided grams would need: the emissions of exactly the jobs that the counterfactual counts."""
    draws = random.Random(3)
    for number in range(2):
        attempt = start(database, submit(database, 2 * number, NOON), NOON)
        end(database, f"job-{2 * number}", attempt, JobState.SUCCEEDED, NOON + timedelta(hours=1), draws)
    with database.read() as connection:
        grams = connection.execute(select(t.emission.c.emissions_g).order_by(t.emission.c.attempt_id)).scalars().all()
    open_attempt = start(database, submit(database, 4, NOON), NOON)
    row = {"attempt_id": open_attempt, "component": "cpu", "start_at": NOON, "end_at": NOON, "energy_mj": 1}
    price = {"emissions_g": 5.0, "g_per_kwh": 1.0, "pue": 1.0, "kind": "actual", "grid_source": "s", "zone": "GB"}
    with database.write() as connection:
        connection.execute(insert(t.energy), [row | {"source": "s", "quality": "measured", "scale": 1.0}])
        values = {name: row[name] for name in ("attempt_id", "component", "start_at")}
        how = {"signal": "average", "basis": "direct", "accounting": "consumption"}
        connection.execute(insert(t.emission), [values | price | how])
    totals = look(database)
    assert totals.compared_ug["research", "GB"] == sum(round(g * 1e6) for g in grams)
    assert totals.emissions_ug["research", "GB"] == totals.compared_ug["research", "GB"] + 5_000_000


def test_what_was_paid_is_told_by_project_site_and_currency(database: Database) -> None:
    job_id = submit(database, 0, NOON)
    end(database, job_id, start(database, job_id, NOON), JobState.SUCCEEDED, NOON, random.Random(1))
    (sample,) = next(one for one in _ledger(look(database)) if one.name == "lowtide_electricity_cost").samples
    with database.read() as connection:
        (paid,) = connection.execute(select(t.emission)).mappings()
    assert sample.labels == {"project": "default", "site": "lab", "currency": paid["currency"]}
    assert sample.value == pytest.approx(paid["cost"], abs=1e-6)
