"""What jobs wait for in the store, and what follows when it ends."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import Connection, RowMapping, insert, select, update

from lowtide.scheduler.model.dependency import After
from lowtide.scheduler.model.job import JobSpec, spec_from_json
from lowtide.scheduler.model.lifecycle import JobState
from lowtide.scheduler.store.tables import dependency, job

PAGE = 500
"""Ids in one query: databases bound how many a statement may have."""


def keep(connection: Connection, specs: Sequence[tuple[str, JobSpec]]) -> None:
    """Write what new jobs wait for; nothing where none waits."""
    rows = [
        {"job_id": job_id, "on_job_id": one.job_id, "after": one.after.value}
        for job_id, spec in specs
        for one in spec.depends_on
    ]
    if rows:
        connection.execute(insert(dependency), rows)


def of_jobs(connection: Connection, job_ids: Iterable[str]) -> dict[str, list[RowMapping]]:
    """What each of the jobs waits for or waited for, with its ``state``; jobs that depend on none are left out."""
    wanted, found = list(job_ids), dict[str, list[RowMapping]]()
    columns = (*dependency.c, job.c.state, job.c.finished_at)
    for first in range(0, len(wanted), PAGE):
        query = select(*columns).join(job, job.c.id == dependency.c.on_job_id)
        query = query.where(dependency.c.job_id.in_(wanted[first : first + PAGE]))
        for row in connection.execute(query.order_by(dependency.c.job_id, dependency.c.on_job_id)).mappings():
            found.setdefault(row["job_id"], []).append(row)
    return found


def is_open(row: RowMapping) -> bool:
    """Whether what is waited for may still end."""
    return not JobState(row["state"]).is_terminal


def is_broken(row: RowMapping) -> bool:
    """Whether it ended as it must not have, and nobody has let that pass."""
    failed = not is_open(row) and row["state"] != JobState.SUCCEEDED
    return bool(failed and row["after"] == After.OK and row["waived_by"] is None)


def ended(connection: Connection, job_id: str, at: datetime) -> None:
    """A job has ended: the patience of jobs that waited for nothing else begins."""
    query = select(dependency.c.job_id).where(dependency.c.on_job_id == job_id)
    _begin_patience(connection, list(connection.execute(query).scalars()), at)


def waive(connection: Connection, job_id: str, *, actor: str, at: datetime) -> list[str]:
    """Let a job begin though what it waited for has failed; returns the ids of what did."""
    broken = [row["on_job_id"] for row in of_jobs(connection, [job_id]).get(job_id, []) if is_broken(row)]
    if broken:
        matching = (dependency.c.job_id == job_id) & dependency.c.on_job_id.in_(broken)
        connection.execute(update(dependency).where(matching).values(waived_by=actor))
        _begin_patience(connection, [job_id], at)
    return broken


def _begin_patience(connection: Connection, job_ids: list[str], at: datetime) -> None:
    """Put off the latest finish of those that are free now by as long as they could not have begun.

    A job becomes free once: what has ended stays so, and what was let pass too.
    """
    for dependent, rows in of_jobs(connection, job_ids).items():
        if any(is_open(row) or is_broken(row) for row in rows):
            continue
        query = select(job.c.spec, job.c.submitted_at, job.c.latest_finish_at).where(job.c.id == dependent)
        row = connection.execute(query.where(job.c.state == JobState.QUEUED)).mappings().first()
        if row is None:
            continue
        spec = spec_from_json(row["spec"])
        blocked = at - max(row["submitted_at"], spec.begin_at or row["submitted_at"])
        changed: dict[str, object] = {"next_review_at": at}
        if spec.deadline_at is None and blocked.total_seconds() > 0:
            changed["latest_finish_at"] = row["latest_finish_at"] + blocked
        connection.execute(update(job).where(job.c.id == dependent).values(**changed))
