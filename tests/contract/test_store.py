"""One conformance suite for every database: SQLite now; PostgreSQL joins by one more parameter of ``database``."""

import importlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import delete, insert, select, text, update

from lowtide.connectors.grid import neso
from lowtide.scheduler.model.dependency import After, Dependency
from lowtide.scheduler.model.errors import Conflict, InvalidTransition, NotFound, StoreFailure
from lowtide.scheduler.model.job import JobId, JobSpec, Resources, spec_from_json, spec_to_json
from lowtide.scheduler.model.lifecycle import (
    ATTEMPT_TRANSITIONS,
    JOB_TRANSITIONS,
    AttemptState,
    JobState,
)
from lowtide.scheduler.model.reason import Reason, ReasonCode
from lowtide.scheduler.model.series import Accounting, Basis, Point, PointKind, Series, Signal
from lowtide.scheduler.model.site import Pool, Site
from lowtide.scheduler.store import accounts, attempts, dependencies, guards, issues, jobs, plans, policy_sets, pools
from lowtide.scheduler.store import tables as t
from lowtide.scheduler.store.database import HEAD, Database
from lowtide.scheduler.store.guards_0001 import SQLITE_GUARDS

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
WHY = Reason(ReasonCode.POLICY_ASAP)


@pytest.fixture(params=["sqlite"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    assert request.param == "sqlite"
    opened = Database(tmp_path / "lowtide.db")
    opened.migrate()
    with opened.write() as connection:
        connection.execute(insert(t.site), [{"name": "lab", "zone": "GB", "gpus": 2, "cpus": 4, "jurisdiction": "GB"}])
    yield opened
    opened.close()


def a_new_job(job_id: str = "mri-1", *, key: str | None = None, gpus: int = 1, **more: object) -> jobs.NewJob:
    spec = JobSpec(name="mri", argv=("true",), resources=Resources(gpus=gpus, cpus=1), **more)  # type: ignore[arg-type]
    plain = spec_to_json(spec)
    return jobs.NewJob(
        job_id=JobId(job_id),
        spec=spec,
        spec_json=plain,
        spec_digest=str(hash(str(plain))),
        urgency="normal",
        actor="ann",
        submitted_at=NOW,
        latest_finish_at=NOW + timedelta(days=1),
        idempotency_key=key,
    )


def put(database: Database, *new: jobs.NewJob) -> list[jobs.Submitted]:
    with database.write() as connection:
        return jobs.submit(connection, new)


def begin(database: Database, job_id: str, gpus: int = 1, pool: str = "") -> str:
    with database.write() as connection:
        return attempts.begin(
            connection,
            JobId(job_id),
            site="lab",
            pool=pool,
            fence="f",
            resources=Resources(gpus=gpus, cpus=1),
            at=NOW,
            actor="lowtide",
            reason=WHY,
        )


def end(database: Database, attempt: str, state: AttemptState, job: JobState, job_id: str = "mri-1") -> None:
    with database.write() as connection:
        attempts.move(connection, attempt, state, at=NOW, actor="lowtide", reason=WHY)
        jobs.move(connection, job_id, job, at=NOW, actor="lowtide", reason=WHY)


def test_inv01_a_submitted_job_is_there_after_the_database_was_opened_anew(database: Database) -> None:
    put(database, a_new_job())
    database.close()
    again = Database(database.path)
    with again.read() as connection:
        assert jobs.get(connection, "mri-1")["state"] == "queued"
    again.close()


def test_inv01_the_same_idempotency_key_gives_the_same_job_back(database: Database) -> None:
    put(database, a_new_job("mri-1", key="k"))
    (answer,) = put(database, a_new_job("mri-2", key="k"))
    assert (answer.job_id, answer.created) == ("mri-1", False)


def test_inv01_two_submissions_of_one_batch_with_one_key_are_one_job(database: Database) -> None:
    first, second = put(database, a_new_job("mri-1", key="k"), a_new_job("mri-2", key="k"))
    assert (first.created, second.created, second.job_id) == (True, False, "mri-1")


def test_a_key_that_was_used_for_another_spec_is_a_conflict_and_the_rest_of_the_batch_is_kept(
    database: Database,
) -> None:
    put(database, a_new_job("mri-1", key="k"))
    clash, other = put(database, a_new_job("mri-2", key="k", gpus=2), a_new_job("mri-3"))
    assert clash.conflict is not None
    assert other.created


def test_inv02_a_second_live_attempt_is_refused_by_the_database(database: Database) -> None:
    put(database, a_new_job())
    begin(database, "mri-1")
    row = {"job_id": "mri-1", "number": 2, "site": "lab", "state": "starting", "fence": "g", "gpus": 0, "cpus": 1}
    with pytest.raises(Conflict), database.write() as connection:
        connection.execute(insert(t.attempt).values(id="mri-1-a2", created_at=NOW, **row))


@pytest.mark.parametrize("source", list(JobState))
@pytest.mark.parametrize("target", list(JobState))
def test_inv03_the_database_allows_exactly_the_job_transitions_of_the_table(
    database: Database, source: JobState, target: JobState
) -> None:
    put(database, a_new_job())
    _force(database, "job", "mri-1", source)
    values = {"state": target.value, "finished_at": NOW}
    if source == target or target in JOB_TRANSITIONS[source]:
        with database.write() as connection:
            connection.execute(update(t.job).values(**values))
    else:
        with pytest.raises(Conflict, match="INV-03"), database.write() as connection:
            connection.execute(update(t.job).values(**values))


@pytest.mark.parametrize("source", list(AttemptState))
@pytest.mark.parametrize("target", list(AttemptState))
def test_inv03_the_database_allows_exactly_the_attempt_transitions_of_the_table(
    database: Database, source: AttemptState, target: AttemptState
) -> None:
    put(database, a_new_job())
    begin(database, "mri-1")
    _force(database, "attempt", "mri-1-a1", source)
    values = {"state": target.value, "ended_at": NOW}
    if source == target or target in ATTEMPT_TRANSITIONS[source]:
        with database.write() as connection:
            connection.execute(update(t.attempt).values(**values))
    else:
        with pytest.raises(Conflict, match="INV-03"), database.write() as connection:
            connection.execute(update(t.attempt).values(**values))


def _force(database: Database, table: str, the_id: str, state: str) -> None:
    """Put a row into any state, behind the guards' backs."""
    ended = "finished_at" if table == "job" else "ended_at"
    with database.write() as connection:
        connection.execute(text(f"DROP TRIGGER inv03_{table}_transition"))
        query = f"UPDATE {table} SET state = :state, {ended} = 1 WHERE id = :id"  # noqa: S608 - two fixed names
        connection.execute(text(query), {"state": state, "id": the_id})
        for guard in guards.sqlite_guards():
            if f"inv03_{table}_transition" in guard:
                connection.exec_driver_sql(guard)


def test_inv03_an_illegal_move_tells_the_jobs_story(database: Database) -> None:
    put(database, a_new_job())
    with pytest.raises(InvalidTransition) as caught, database.write() as connection:
        jobs.move(connection, "mri-1", JobState.SUSPENDED, at=NOW, actor="lowtide", reason=WHY)
    assert "submitted" in str(caught.value)


def test_inv03_every_move_leaves_one_event_with_actor_and_reason(database: Database) -> None:
    put(database, a_new_job())
    end(database, begin(database, "mri-1"), AttemptState.FAILED, JobState.FAILED)
    with database.read() as connection:
        told = [(e["subject"], e["source"], e["target"], e["actor"]) for e in jobs.events_of(connection, "mri-1")]
    assert told == [
        ("job", None, "queued", "ann"),
        ("job", "queued", "starting", "lowtide"),
        ("attempt", None, "starting", "lowtide"),
        ("attempt", "starting", "failed", "lowtide"),
        ("job", "starting", "failed", "lowtide"),
    ]


def test_inv04_a_waiting_job_without_a_next_review_is_refused(database: Database) -> None:
    put(database, a_new_job())
    with pytest.raises(Conflict, match="inv04"), database.write() as connection:
        jobs.set_values(connection, "mri-1", next_review_at=None)


def test_inv05_a_cancelled_job_never_starts_again(database: Database) -> None:
    put(database, a_new_job())
    with database.write() as connection:
        jobs.move(connection, "mri-1", JobState.CANCELLED, at=NOW, actor="ann", reason=WHY)
    with pytest.raises(InvalidTransition):
        begin(database, "mri-1")
    row = {"job_id": "mri-1", "number": 1, "site": "lab", "state": "starting", "fence": "g", "gpus": 0, "cpus": 1}
    with pytest.raises(Conflict, match="INV-05"), database.write() as connection:
        connection.execute(insert(t.attempt).values(id="mri-1-a1", created_at=NOW, **row))


def test_inv07_a_site_is_never_given_more_gpus_than_it_has(database: Database) -> None:
    put(database, a_new_job("a-1"), a_new_job("b-1"), a_new_job("c-1"))
    begin(database, "a-1")
    begin(database, "b-1")
    with pytest.raises(Conflict, match="INV-07"):
        begin(database, "c-1")
    with database.read() as connection:
        assert jobs.get(connection, "c-1")["state"] == "queued"


def test_inv07_a_pool_is_never_given_more_than_it_has(database: Database) -> None:
    lab = replace(Site("lab", "GB", 2, 4), pools=(Pool("h100", 1, 2), Pool("a40", 1, 2)))
    with database.write() as connection:
        pools.settle(connection, lab)
    put(database, a_new_job("a-1"), a_new_job("b-1"))
    begin(database, "a-1", pool="h100")
    with pytest.raises(Conflict, match="INV-07 pool is full"):
        begin(database, "b-1", pool="h100")
    assert begin(database, "b-1", pool="a40") == "b-1-a1"


def test_inv07_an_unknown_attempt_keeps_its_gpus(database: Database) -> None:
    put(database, a_new_job("a-1", gpus=2), a_new_job("b-1"))
    attempt = begin(database, "a-1", gpus=2)
    with database.write() as connection:
        attempts.move(connection, attempt, AttemptState.UNKNOWN, at=NOW, actor="lowtide", reason=WHY)
    with pytest.raises(Conflict, match="INV-07"):
        begin(database, "b-1")


def test_an_ended_attempt_gives_its_gpus_back(database: Database) -> None:
    put(database, a_new_job("a-1", gpus=2), a_new_job("b-1", gpus=2))
    end(database, begin(database, "a-1", gpus=2), AttemptState.SUCCEEDED, JobState.SUCCEEDED, "a-1")
    assert begin(database, "b-1", gpus=2) == "b-1-a1"


def test_inv16_a_second_delivery_of_energy_changes_nothing(database: Database) -> None:
    put(database, a_new_job())
    attempt = begin(database, "mri-1")
    row: dict[str, object] = {
        "attempt_id": attempt,
        "component": "cpu",
        "start_at": NOW,
        "end_at": NOW + timedelta(minutes=30),
        "energy_mj": 1000,
        "source": "rapl",
        "quality": "measured",
        "scale": 1.0,
    }
    for energy_mj in (1000, 9999):
        with database.write() as connection:
            accounts.insert_once(connection, t.energy, [{**row, "energy_mj": energy_mj}])
    with database.read() as connection:
        assert [r["energy_mj"] for r in accounts.energy_by_job(connection, ["mri-1"])["mri-1"]] == [1000]


@pytest.mark.parametrize("table", guards.APPEND_ONLY)
def test_inv17_ledger_and_log_tables_refuse_changes(database: Database, table: str) -> None:
    assert f"{table}_no_update" in " ".join(SQLITE_GUARDS)
    put(database, a_new_job())
    if table == "event":
        with pytest.raises(Conflict, match="append-only"), database.write() as connection:
            connection.execute(text("DELETE FROM event"))


def test_a_review_does_not_touch_a_job_that_has_moved_on(database: Database) -> None:
    put(database, a_new_job())
    begin(database, "mri-1")
    review: dict[str, object] = dict.fromkeys(plans.REVIEWED)
    review |= {"id": "mri-1", "seen_state": "queued", "next_review_at": NOW, "reason_code": "capacity"}
    review |= {"reason_facts": {}}
    with database.write() as connection:
        plans.review(connection, [review])
        assert jobs.get(connection, "mri-1")["reason_code"] == "policy_asap"


def test_a_spec_survives_the_store(database: Database) -> None:
    new = a_new_job(deadline_at=NOW, residency=frozenset({"GB"}), widths=((1, 1.0), (4, 3.4)))
    put(database, new)
    with database.read() as connection:
        assert jobs.spec_of(connection, "mri-1") == new.spec
    assert spec_from_json(spec_to_json(new.spec)) == new.spec


def test_what_is_not_there_is_not_found(database: Database) -> None:
    with pytest.raises(NotFound), database.read() as connection:
        jobs.get(connection, "nobody")


def test_pages_follow_each_other_without_gap_or_overlap(database: Database) -> None:
    put(database, *(a_new_job(f"job-{n}") for n in range(7)))
    with database.read() as connection:
        first = [r["id"] for r in jobs.search(connection, limit=4)]
        rest = [r["id"] for r in jobs.search(connection, limit=4, after=first[-1])]
    assert sorted(first + rest) == [f"job-{n}" for n in range(7)]
    assert not set(first) & set(rest)


def test_the_migrations_give_the_schema_of_the_tables(database: Database) -> None:
    with database.read() as connection:
        assert connection.execute(select(text("version_num")).select_from(text("alembic_version"))).scalar() == HEAD
        assert compare_metadata(MigrationContext.configure(connection), t.metadata) == []
        triggers = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE type = 'trigger'").scalars()
        assert sorted(triggers) == sorted(guards.sqlite_guards())


def test_receipts_from_before_attributions_were_kept_still_name_whom_they_named(tmp_path: Path) -> None:
    database = Database(tmp_path / "old.db")
    database._run_alembic("0002")
    how = {"zone": "GB", "signal": "average", "basis": "direct", "accounting": "consumption", "kind": "actual"}
    price = {"component": "cpu", "start_at": NOW, "emissions_g": 1.0, "g_per_kwh": 100.0, "pue": 1.0, **how}
    rows = [{**price, "attempt_id": name, "grid_source": name} for name in ("neso", "campus")]
    with database.write() as connection:
        accounts.insert_once(connection, t.emission, rows)
    database.migrate()
    with database.read() as connection:
        told = {row["source"]: row["attribution"] for row in connection.execute(select(t.attribution)).mappings()}
    assert told == {"neso": neso.ATTRIBUTION}
    database.close()


_issues = importlib.import_module("lowtide.scheduler.store.migrations.versions.0002_issues")
_policy_sets = importlib.import_module("lowtide.scheduler.store.migrations.versions.0005_policy_sets")
_pools = importlib.import_module("lowtide.scheduler.store.migrations.versions.0007_pools_and_reservations")

_dependencies = importlib.import_module("lowtide.scheduler.store.migrations.versions.0006_dependencies")


def test_the_released_guards_are_those_of_the_tables() -> None:
    newer = (*_policy_sets.GUARDS, *_dependencies.GUARDS, *_pools.GUARDS)
    assert [*SQLITE_GUARDS, _issues.GUARD, *newer] == guards.sqlite_guards()


def test_a_full_disk_refuses_the_submission_says_so_and_loses_nothing(database: Database) -> None:
    put(database, a_new_job("kept-1"))
    with database.write() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    many = [a_new_job(f"late-{n}", env={"X": "y" * 2000}) for n in range(200)]
    with pytest.raises(StoreFailure, match="disk is full"):
        put(database, *many)
    with database.write() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    put(database, many[0])
    with database.read() as connection:
        assert [row["id"] for row in jobs.open_jobs(connection)] == ["kept-1", "late-0"]


def an_issue(seen_at: datetime, *, issued_at: datetime | None = None) -> Series:
    half_hour = timedelta(minutes=30)
    points = tuple(
        Point(NOW + i * half_hour, NOW + (i + 1) * half_hour, 100.0 + i, PointKind.FORECAST) for i in range(96)
    )
    meaning = (Signal.AVERAGE, Basis.DIRECT, Accounting.CONSUMPTION)
    return Series("neso", "GB", "GB", points, 1800.0, *meaning, seen_at, issued_at)


def test_issues_come_back_as_they_were_first_seen(database: Database) -> None:
    told = [an_issue(NOW, issued_at=NOW - timedelta(minutes=9)), an_issue(NOW + timedelta(hours=6))]
    with database.write() as connection:
        for series in told:
            assert issues.keep(connection, series, series.fetched_at)
            assert issues.keep(connection, series, series.fetched_at)
    with database.read() as connection:
        assert issues.known(connection, told[0].key) == told


def test_an_issue_is_never_changed_and_is_dropped_when_it_is_old(database: Database) -> None:
    with database.write() as connection:
        issues.keep(connection, an_issue(NOW), NOW)
    with pytest.raises(Conflict, match="append-only"), database.write() as connection:
        connection.execute(update(t.issue).values(step_s=900.0))
    with database.write() as connection:
        issues.prune(connection, NOW + issues.KEPT)
        assert len(issues.known(connection, an_issue(NOW).key)) == 1
        issues.prune(connection, NOW + issues.KEPT + timedelta(seconds=1))
        assert issues.known(connection, an_issue(NOW).key) == []


def test_a_forecast_with_gaps_is_not_kept(database: Database) -> None:
    whole = an_issue(NOW)
    with database.write() as connection:
        assert not issues.keep(connection, replace(whole, points=whole.points[:3] + whole.points[4:]), NOW)


def test_policy_sets_are_numbered_and_never_changed(database: Database) -> None:
    how = {"at": NOW, "actor": "ann", "why": None}
    with database.write() as connection:
        rows = [policy_sets.append(connection, text=text, **how) for text in ("a", "b")]  # type: ignore[arg-type]  # as above
        policy_sets.append(connection, text="c", mode="shadow", **how)  # type: ignore[arg-type]  # as above
    assert [(row["revision"], row["text"], row["at"]) for row in rows] == [(1, "a", NOW), (2, "b", NOW)]
    with database.read() as connection:
        assert [row["revision"] for row in policy_sets.newest(connection, limit=9)] == [2, 1]
        assert [row["revision"] for row in policy_sets.history(connection)] == [3, 2, 1]
        assert policy_sets.enforced(connection, 3) is None
    for change in (update(t.policy_set).values(text="x"), delete(t.policy_set)):
        with pytest.raises(Conflict, match="append-only"), database.write() as connection:
            connection.execute(change)


def a_dependent(on: str, after: After = After.OK) -> jobs.NewJob:
    return a_new_job("after-1", depends_on=(Dependency(after, on),))


def test_inv24_the_database_refuses_an_attempt_before_what_the_job_depends_on_has_ended(database: Database) -> None:
    put(database, a_new_job(), a_dependent("mri-1"))
    with pytest.raises(Conflict, match="INV-24"):
        begin(database, "after-1")
    end(database, begin(database, "mri-1"), AttemptState.SUCCEEDED, JobState.SUCCEEDED)
    assert begin(database, "after-1") == "after-1-a1"


@pytest.mark.parametrize("after", After)
def test_inv24_after_a_failure_only_what_waits_for_any_end_may_begin(database: Database, after: After) -> None:
    put(database, a_new_job(), a_dependent("mri-1", after))
    end(database, begin(database, "mri-1"), AttemptState.FAILED, JobState.FAILED)
    if after is After.OK:
        with pytest.raises(Conflict, match="INV-24"):
            begin(database, "after-1")
        with database.write() as connection:
            assert dependencies.waive(connection, "after-1", actor="ann", at=NOW) == ["mri-1"]
            assert dependencies.waive(connection, "after-1", actor="ann", at=NOW) == []
    assert begin(database, "after-1") == "after-1-a1"


@pytest.mark.parametrize("deadline_at", [None, NOW + timedelta(days=1)])
def test_patience_begins_when_the_last_job_that_is_waited_for_has_ended(
    database: Database, deadline_at: datetime | None
) -> None:
    both = (Dependency(After.OK, "mri-1"), Dependency(After.ANY, "mri-2"))
    put(database, a_new_job(), a_new_job("mri-2"), a_new_job("after-1", depends_on=both, deadline_at=deadline_at))
    for hours, job_id in ((2, "mri-1"), (5, "mri-2")):
        with database.write() as connection:
            at = NOW + timedelta(hours=hours)
            jobs.move(connection, job_id, JobState.STARTING, at=at, actor="lowtide", reason=WHY)
            jobs.move(connection, job_id, JobState.SUCCEEDED, at=at, actor="lowtide", reason=WHY)
            later = timedelta(hours=5) if hours == 5 and deadline_at is None else timedelta(0)
            assert jobs.get(connection, "after-1")["latest_finish_at"] == NOW + timedelta(days=1) + later
