"""Attempts in the store. The intent is written here, and committed, before any cluster is called."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, RowMapping, insert, select, update

from lowtide.scheduler.model.errors import Conflict, NotFound
from lowtide.scheduler.model.job import AttemptId, JobId, Resources, attempt_id
from lowtide.scheduler.model.lifecycle import (
    LIVE_ATTEMPT_STATES,
    AttemptState,
    JobState,
    check_attempt_transition,
)
from lowtide.scheduler.model.reason import Reason
from lowtide.scheduler.store import jobs
from lowtide.scheduler.store.tables import attempt, job


def begin(
    connection: Connection,
    job_id: JobId,
    *,
    site: str,
    pool: str = "",
    fence: str,
    resources: Resources,
    at: datetime,
    actor: str,
    reason: Reason,
    plan_id: str | None = None,
    power_plan: list[list[object]] | None = None,
) -> AttemptId:
    """Record the intent to start a job: job to ``starting``, a new attempt with its fence in a pool of the site.

    Raises:
        Conflict: the site or the pool is full (INV-07), an attempt lives (INV-02), or the job has ended (INV-05).
        InvalidTransition: the job is not waiting.

    """
    number = jobs.get(connection, job_id)["attempts"] + 1
    new_id = attempt_id(job_id, number)
    resumed = jobs.state_of(connection, job_id) == JobState.SUSPENDED
    jobs.move(
        connection,
        job_id,
        JobState.STARTING,
        at=at,
        actor=actor,
        reason=reason,
        attempt_id=new_id,
        plan_id=plan_id,
        values={"attempts": number, "not_before": None},
    )
    connection.execute(
        insert(attempt).values(
            id=new_id,
            job_id=job_id,
            number=number,
            site=site,
            pool=pool,
            state=AttemptState.STARTING.value,
            fence=fence,
            gpus=resources.gpus,
            cpus=resources.cpus,
            power_plan=power_plan,
            created_at=at,
            note="resume" if resumed else None,
        )
    )
    _event(connection, new_id, job_id, None, AttemptState.STARTING, at, actor, reason, plan_id)
    return new_id


def _event(
    connection: Connection,
    the_id: str,
    job_id: str,
    source: AttemptState | None,
    target: AttemptState,
    at: datetime,
    actor: str,
    reason: Reason,
    plan_id: str | None = None,
) -> None:
    jobs.write_event(
        connection,
        job_id=job_id,
        attempt_id=the_id,
        at=at,
        actor=actor,
        reason=reason,
        subject="attempt",
        source=source.value if source else None,
        target=target.value,
        plan_id=plan_id,
    )


def move(
    connection: Connection,
    the_id: str,
    target: AttemptState,
    *,
    at: datetime,
    actor: str,
    reason: Reason,
    plan_id: str | None = None,
    **values: object,
) -> RowMapping:
    """Change an attempt's state and record it; returns the row as it was before."""
    row = get(connection, the_id)
    source = AttemptState(row["state"])
    check_attempt_transition(the_id, source, target, jobs.story(connection, row["job_id"]))
    ended = {} if target.is_live else {"ended_at": at}
    connection.execute(update(attempt).where(attempt.c.id == the_id).values(state=target.value, **{**ended, **values}))
    _event(connection, the_id, row["job_id"], source, target, at, actor, reason, plan_id)
    return row


def hand_over(connection: Connection, the_id: str, *, cluster_id: str) -> None:
    """Record, before the call, to which incarnation of the cluster the attempt is handed.

    From here on "the cluster does not know it" no longer means that it never started: the call may be on its
    way still when it has timed out here, or when the daemon is killed.

    Raises:
        Conflict: a stop came first.

    """
    row = get(connection, the_id)
    if AttemptState(row["state"]) != AttemptState.STARTING:
        message = f"attempt {the_id} is {row['state']}; only a starting one is handed to its cluster."
        raise Conflict(message, fix="Nothing to do: a stop came first.")
    set_values(connection, the_id, cluster_id=cluster_id)


def submitted(connection: Connection, the_id: str, *, at: datetime) -> None:
    """The cluster is known to have the submission."""
    set_values(connection, the_id, submitted_at=at)


def running(
    connection: Connection, the_id: str, *, started_at: datetime, at: datetime, actor: str, reason: Reason
) -> None:
    """The process runs: attempt, and job unless it has moved on, to ``running``.

    One that is found again goes on from its first start.
    """
    started_at = get(connection, the_id)["started_at"] or started_at
    row = move(connection, the_id, AttemptState.RUNNING, at=at, actor=actor, reason=reason, started_at=started_at)
    if jobs.state_of(connection, row["job_id"]) == JobState.STARTING:
        first = jobs.get(connection, row["job_id"])["started_at"] or started_at
        jobs.move(
            connection,
            row["job_id"],
            JobState.RUNNING,
            at=at,
            actor=actor,
            reason=reason,
            attempt_id=the_id,
            values={"started_at": first},
        )


def cancel(connection: Connection, job_id: str, *, at: datetime, actor: str, reason: Reason) -> None:
    """End a job for good; its live attempt is then asked to stop. Repeating it is no error (INV-05)."""
    if jobs.state_of(connection, job_id) is JobState.CANCELLED:
        return
    jobs.move(connection, job_id, JobState.CANCELLED, at=at, actor=actor, reason=reason)
    live = live_of(connection, job_id)
    if live is not None:
        ask_stop(connection, live["id"], intent="cancel", at=at, actor=actor, reason=reason)


def ask_stop(
    connection: Connection,
    the_id: str,
    *,
    intent: str,
    at: datetime,
    actor: str,
    reason: Reason,
    plan_id: str | None = None,
) -> None:
    """Record the intent to stop (``suspend`` or ``cancel``) before the cluster is asked."""
    row = get(connection, the_id)
    if AttemptState(row["state"]) == AttemptState.STOPPING:
        connection.execute(update(attempt).where(attempt.c.id == the_id).values(stop_intent=intent))
    else:
        move(
            connection,
            the_id,
            AttemptState.STOPPING,
            at=at,
            actor=actor,
            reason=reason,
            plan_id=plan_id,
            stop_intent=intent,
            stop_asked_at=at,
            stop_sent_at=None,
        )
    if intent == "suspend" and jobs.state_of(connection, row["job_id"]) in {
        JobState.STARTING,
        JobState.RUNNING,
    }:
        jobs.move(
            connection,
            row["job_id"],
            JobState.SUSPENDING,
            at=at,
            actor=actor,
            reason=reason,
            attempt_id=the_id,
            plan_id=plan_id,
        )


def stop_sent(connection: Connection, the_id: str, *, at: datetime | None) -> None:
    """The cluster has taken the stop; None asks for it to be sent again."""
    connection.execute(update(attempt).where(attempt.c.id == the_id).values(stop_sent_at=at))


def set_values(connection: Connection, the_id: str, **values: object) -> None:
    """Change anything but the state."""
    connection.execute(update(attempt).where(attempt.c.id == the_id).values(**values))


def get(connection: Connection, the_id: str) -> RowMapping:
    """One attempt; NotFound when there is none."""
    row = connection.execute(select(attempt).where(attempt.c.id == the_id)).mappings().first()
    if row is None:
        message = f"there is no attempt {the_id!r}."
        raise NotFound(message)
    return row


def live(connection: Connection) -> list[RowMapping]:
    """All attempts that may have a process, with the state of their jobs as ``job_state``."""
    query = (
        select(attempt, job.c.state.label("job_state"), job.c.queue.label("queue"))
        .join(job, job.c.id == attempt.c.job_id)
        .where(attempt.c.state.in_([s.value for s in LIVE_ATTEMPT_STATES]))
        .order_by(attempt.c.id)
    )
    return list(connection.execute(query).mappings())


def refusing_limits(connection: Connection, *, since: datetime) -> dict[str, str]:
    """Sites where an attempt begun since then could not have its power limited, with why, the newest reason of each."""
    query = select(attempt.c.site, attempt.c.power_refused).order_by(attempt.c.created_at)
    query = query.where(attempt.c.power_refused.is_not(None), attempt.c.created_at > since)
    return {row[0]: row[1] for row in connection.execute(query)}


def ended(connection: Connection, ids: Sequence[str]) -> dict[str, RowMapping]:
    """Those of the attempts that have ended, by id; ids in queries of bounded size."""
    found: dict[str, RowMapping] = {}
    over = attempt.c.state.not_in([s.value for s in LIVE_ATTEMPT_STATES])
    for first in range(0, len(ids), 500):
        query = select(attempt).where(over, attempt.c.id.in_(ids[first : first + 500]))
        found |= {row["id"]: row for row in connection.execute(query).mappings()}
    return found


def live_of(connection: Connection, job_id: str) -> RowMapping | None:
    """The job's live attempt, if there is one."""
    query = select(attempt).where(
        attempt.c.job_id == job_id, attempt.c.state.in_([s.value for s in LIVE_ATTEMPT_STATES])
    )
    return connection.execute(query).mappings().first()


def of_job(connection: Connection, job_id: str) -> list[RowMapping]:
    """All attempts of a job, oldest first."""
    return by_job(connection, [job_id]).get(job_id, [])


def by_job(connection: Connection, job_ids: Sequence[str]) -> dict[str, list[RowMapping]]:
    """The attempts of several jobs, oldest first; a job without any is left out."""
    query = select(attempt).where(attempt.c.job_id.in_(job_ids)).order_by(attempt.c.number)
    return jobs.grouped(connection.execute(query).mappings())
