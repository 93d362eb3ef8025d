"""Jobs in the store: submission, the one function that changes a job's state, and the reads.

Every function takes an open connection, so that a caller can join several in one transaction.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, insert, select, text, update
from sqlalchemy.sql.elements import ColumnElement

from lowtide.scheduler.model.errors import Conflict, NotFound
from lowtide.scheduler.model.job import JobId, JobSpec, spec_from_json
from lowtide.scheduler.model.lifecycle import (
    JOB_TRANSITIONS,
    JobState,
    check_job_transition,
)
from lowtide.scheduler.model.reason import Reason, ReasonCode
from lowtide.scheduler.store import dependencies
from lowtide.scheduler.store.tables import TERMINAL, event, job

STORY_LENGTH = 12
_LIGHT = [column for column in job.c if column.name not in {"spec", "spec_digest"}]


@dataclass(frozen=True, slots=True)
class NewJob:
    """A submission ready to be written. ``spec_json`` and its digest are made once, by the API."""

    job_id: JobId
    spec: JobSpec
    spec_json: dict[str, object]
    spec_digest: str
    urgency: str
    actor: str
    submitted_at: datetime
    latest_finish_at: datetime
    idempotency_key: str | None = None
    package: str | None = None


@dataclass(frozen=True, slots=True)
class Submitted:
    """The answer to one submission: a job, or the conflict that kept it out."""

    job_id: JobId
    created: bool
    conflict: Conflict | None = None


def submit(connection: Connection, new: Sequence[NewJob]) -> list[Submitted]:
    """Write any number of submissions; one conflict does not keep out the others.

    A key that was seen with the same spec gives the same job back (INV-01).
    """
    known = _known_keys(connection, [n.idempotency_key for n in new if n.idempotency_key])
    answers: list[Submitted] = []
    fresh: list[NewJob] = []
    for candidate in new:
        seen = known.get(candidate.idempotency_key) if candidate.idempotency_key else None
        if seen is None:
            fresh.append(candidate)
            answers.append(Submitted(candidate.job_id, created=True))
            if candidate.idempotency_key:
                known[candidate.idempotency_key] = (candidate.job_id, candidate.spec_digest)
        else:
            answers.append(_again(candidate, *seen))
    if fresh:
        connection.execute(insert(job), [row_values(n) for n in fresh])
        connection.execute(insert(event), [_submitted_event(n) for n in fresh])
        dependencies.keep(connection, [(n.job_id, n.spec) for n in fresh])
    return answers


def _known_keys(connection: Connection, keys: list[str]) -> dict[str, tuple[JobId, str]]:
    if not keys:
        return {}
    query = select(job.c.idempotency_key, job.c.id, job.c.spec_digest).where(job.c.idempotency_key.in_(keys))
    return {row[0]: (row[1], row[2]) for row in connection.execute(query)}


def _again(candidate: NewJob, job_id: JobId, digest: str) -> Submitted:
    if digest == candidate.spec_digest:
        return Submitted(job_id, created=False)
    return Submitted(job_id, created=False, conflict=key_taken(str(candidate.idempotency_key), job_id))


def key_taken(key: str, job_id: str) -> Conflict:
    """The refusal of a key that belongs to another job."""
    return Conflict(
        f"the idempotency key {key!r} was used for job {job_id} with another spec.", fix="Use a new key for a new job."
    )


def by_key(connection: Connection, key: str) -> RowMapping | None:
    """The job that was submitted with an idempotency key."""
    return connection.execute(select(job).where(job.c.idempotency_key == key)).mappings().first()


def row_values(new: NewJob) -> dict[str, object]:
    """The row of a fresh submission."""
    spec = new.spec
    return {
        "id": new.job_id,
        "name": spec.name,
        "project": spec.project,
        "queue": spec.queue,
        "urgency": new.urgency,
        "actor": new.actor,
        "state": JobState.QUEUED.value,
        "state_since": new.submitted_at,
        "spec": new.spec_json,
        "spec_digest": new.spec_digest,
        "fingerprint": spec.fingerprint,
        "package": new.package,
        "idempotency_key": new.idempotency_key,
        "submitted_at": new.submitted_at,
        "latest_finish_at": new.latest_finish_at,
        "next_review_at": new.submitted_at,
        "reason_code": ReasonCode.NOT_REVIEWED.value,
        "reason_facts": {},
        "done_s": 0.0,
        "attempts": 0,
        "suspensions": 0,
        "failures": 0,
        "dirty_stops": 0,
        "results": {},
    }


def _submitted_event(new: NewJob) -> dict[str, object]:
    return {
        "at": new.submitted_at,
        "job_id": new.job_id,
        "subject": "job",
        "target": JobState.QUEUED.value,
        "actor": new.actor,
        "reason_code": ReasonCode.SUBMITTED.value,
        "reason_facts": {"actor": new.actor},
    }


def write_event(
    connection: Connection,
    *,
    job_id: str,
    at: datetime,
    actor: str,
    reason: Reason,
    subject: str = "job",
    source: str | None = None,
    target: str | None = None,
    attempt_id: str | None = None,
    plan_id: str | None = None,
) -> None:
    """Append one row to the event log."""
    connection.execute(
        insert(event).values(
            at=at,
            job_id=job_id,
            attempt_id=attempt_id,
            subject=subject,
            source=source,
            target=target,
            actor=actor,
            reason_code=reason.code.value,
            reason_facts=reason.facts,
            plan_id=plan_id,
        )
    )


def move(
    connection: Connection,
    job_id: str,
    target: JobState,
    *,
    at: datetime,
    actor: str,
    reason: Reason,
    attempt_id: str | None = None,
    plan_id: str | None = None,
    values: dict[str, object] | None = None,
) -> None:
    """Change a job's state and record it (INV-03); the only place where a job's state is written.

    ``values`` are other columns that change with it.

    Raises:
        NotFound: no such job.
        InvalidTransition: the table forbids the change; the error tells the job's story.

    """
    source = state_of(connection, job_id)
    if target not in JOB_TRANSITIONS[source]:
        check_job_transition(job_id, source, target, story(connection, job_id))
    changed = {"state": target.value, "state_since": at, "next_review_at": at, **(values or {})}
    changed |= {"reason_code": reason.code.value, "reason_facts": reason.facts}
    if target.is_terminal:
        changed |= {"next_review_at": None, "finished_at": at}
    connection.execute(update(job).where(job.c.id == job_id).values(**changed))
    write_event(
        connection,
        job_id=job_id,
        at=at,
        actor=actor,
        reason=reason,
        source=source.value,
        target=target.value,
        attempt_id=attempt_id,
        plan_id=plan_id,
    )
    if target.is_terminal:
        dependencies.ended(connection, job_id, at)


def state_of(connection: Connection, job_id: str) -> JobState:
    """The job's state now; NotFound when there is none."""
    found = connection.execute(select(job.c.state).where(job.c.id == job_id)).scalar()
    if found is None:
        message = f"there is no job {job_id!r}."
        raise NotFound(message, fix="List jobs with: lowtide status --all")
    return JobState(found)


def states_of(connection: Connection, job_ids: Iterable[str]) -> dict[str, JobState]:
    """States by id of those jobs that there are; ids in one query of bounded size each."""
    wanted, found = list(job_ids), dict[str, JobState]()
    for first in range(0, len(wanted), 500):
        query = select(job.c.id, job.c.state).where(job.c.id.in_(wanted[first : first + 500]))
        found |= {row[0]: JobState(row[1]) for row in connection.execute(query)}
    return found


def set_values(connection: Connection, job_id: str, **values: object) -> None:
    """Change anything but the state."""
    connection.execute(update(job).where(job.c.id == job_id).values(**values))


def story(connection: Connection, job_id: str) -> tuple[str, ...]:
    """The last events of a job as short sentences, oldest first."""
    query = select(event).where(event.c.job_id == job_id).order_by(event.c.seq.desc()).limit(STORY_LENGTH)
    rows = connection.execute(query).mappings().all()
    return tuple(
        f"{row['at']:%Y-%m-%d %H:%M:%S} {row['subject']} {row['source'] or '-'} -> {row['target'] or '-'}"
        f" by {row['actor']} ({row['reason_code']})"
        for row in reversed(rows)
    )


def get(connection: Connection, job_id: str) -> RowMapping:
    """One job with its spec; NotFound when there is none."""
    row = connection.execute(select(job).where(job.c.id == job_id)).mappings().first()
    if row is None:
        state_of(connection, job_id)
        raise AssertionError(job_id)
    return row


def spec_of(connection: Connection, job_id: str) -> JobSpec:
    """The frozen spec of one job."""
    return spec_from_json(get(connection, job_id)["spec"])


def specs_of(connection: Connection, job_ids: Iterable[str]) -> dict[str, JobSpec]:
    """Specs by id; ids in one query of bounded size each."""
    wanted = list(job_ids)
    found: dict[str, JobSpec] = {}
    for first in range(0, len(wanted), 500):
        query = select(job.c.id, job.c.spec).where(job.c.id.in_(wanted[first : first + 500]))
        found |= {row[0]: spec_from_json(row[1]) for row in connection.execute(query)}
    return found


def submitted_since(connection: Connection, since: datetime) -> Iterator[tuple[datetime, JobSpec]]:
    """When jobs were submitted after ``since``, in that order, with their specs."""
    query = select(job.c.submitted_at, job.c.spec).where(job.c.submitted_at > since)
    for row in connection.execute(query.order_by(job.c.submitted_at, job.c.id)):
        yield row[0], spec_from_json(row[1])


def open_jobs(connection: Connection) -> list[RowMapping]:
    """All non-terminal jobs without their specs, in id order."""
    # The condition stands as in the index, or SQLite would read every job that ever was in each cycle.
    query = select(*_LIGHT).where(text(f"NOT ({TERMINAL})")).order_by(job.c.id)
    return list(connection.execute(query).mappings())


def search(
    connection: Connection,
    *,
    states: Sequence[str] = (),
    queue: str | None = None,
    name: str | None = None,
    limit: int = 500,
    after: str | None = None,
) -> list[RowMapping]:
    """Jobs, newest first; ``after`` is the id of the last one of the page before."""
    query: Select[Any] = select(job).order_by(job.c.submitted_at.desc(), job.c.id.desc()).limit(limit)
    conditions: list[ColumnElement[bool]] = []
    if states:
        conditions.append(job.c.state.in_(list(states)))
    if queue:
        conditions.append(job.c.queue == queue)
    if name:
        conditions.append(job.c.name == name)
    if after:
        mark = get(connection, after)["submitted_at"]
        conditions.append((job.c.submitted_at < mark) | ((job.c.submitted_at == mark) & (job.c.id < after)))
    return list(connection.execute(query.where(*conditions)).mappings())


def events_of(connection: Connection, job_id: str) -> list[RowMapping]:
    """A job's whole event log, oldest first; NotFound when there is no such job."""
    state_of(connection, job_id)
    query = select(event).where(event.c.job_id == job_id).order_by(event.c.seq)
    return list(connection.execute(query).mappings())


def grouped(rows: Iterable[RowMapping]) -> dict[str, list[RowMapping]]:
    """Rows of any table by the job that they belong to, in their order."""
    found: dict[str, list[RowMapping]] = {}
    for row in rows:
        found.setdefault(row["job_id"], []).append(row)
    return found
