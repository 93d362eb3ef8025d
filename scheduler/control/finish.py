"""Writes the end of an attempt and what follows for its job, in one transaction."""

from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import Connection, RowMapping

from lowtide.connectors.jobside.record import Report
from lowtide.scheduler.control.modes import worked_s
from lowtide.scheduler.control.outcome import Verdict
from lowtide.scheduler.model.job import spec_from_json
from lowtide.scheduler.model.lifecycle import AttemptState, JobState
from lowtide.scheduler.model.reason import Reason, ReasonCode
from lowtide.scheduler.store import attempts, jobs

ACTOR = "lowtide"
BACKOFF_S = 10.0
MAX_BACKOFF_S = 600.0
"""Retries after a failure of the site: 10 s, doubling to 10 min, in wall seconds."""


def finish(
    connection: Connection,
    attempt_id: str,
    verdict: Verdict,
    *,
    now: datetime,
    rate: float,
    from_wall: Callable[[float], datetime],
    report: Report | None,
) -> JobState:
    """End the attempt and move its job; returns the job's new state.

    Calling it again for an attempt that has ended changes nothing: evidence may arrive twice.
    """
    row = attempts.get(connection, attempt_id)
    if not AttemptState(row["state"]).is_live:
        return jobs.state_of(connection, row["job_id"])
    started, ended = _span(row, report, from_wall, now)
    attempts.move(
        connection,
        attempt_id,
        verdict.attempt,
        at=now,
        actor=ACTOR,
        reason=verdict.reason,
        exit_code=verdict.exit_code,
        checkpoint_seq=verdict.checkpoint_seq,
        started_at=started,
        ended_at=ended,
    )
    job = jobs.get(connection, row["job_id"])
    if JobState(job["state"]).is_terminal:
        return JobState(job["state"])
    kept_until = _kept_until(verdict, ended, report, from_wall)
    ran = {**row, "started_at": started}
    kept_s = 0.0 if kept_until is None else worked_s(spec_from_json(job["spec"]), ran, kept_until)
    values = _progress(job, verdict, started, kept_s)
    return _follow(connection, job, attempt_id, verdict, values, now=now, rate=rate)


def _span(
    row: RowMapping, report: Report | None, from_wall: Callable[[float], datetime], now: datetime
) -> tuple[datetime | None, datetime]:
    """Start and end of the process by the runner's own record where it left one."""
    started = row["started_at"]
    if report is not None and report.started is not None:
        started = from_wall(report.started.wall_s)
    ended = now
    if report is not None and report.ended is not None:
        ended = min(now, from_wall(report.ended.end_wall_s))
    return started, ended if started is None else max(started, ended)


def _progress(
    job: RowMapping,
    verdict: Verdict,
    started: datetime | None,
    kept_s: float,
) -> dict[str, object]:
    """What the attempt adds to the job: work that a checkpoint keeps, in run time as declared; results, first start."""
    values: dict[str, object] = {"started_at": job["started_at"] or started}
    if verdict.results:
        values["results"] = {**job["results"], **verdict.results}
    if kept_s:
        values["done_s"] = job["done_s"] + kept_s
    if verdict.dirty:
        values["dirty_stops"] = job["dirty_stops"] + 1
    return values


def _kept_until(
    verdict: Verdict, ended: datetime, report: Report | None, from_wall: Callable[[float], datetime]
) -> datetime | None:
    if verdict.reason.code == ReasonCode.CHECKPOINTED:
        return ended
    if report is not None and report.checkpoints:
        return from_wall(report.checkpoints[-1].wall_s)
    return None


def _follow(
    connection: Connection,
    job: RowMapping,
    attempt_id: str,
    verdict: Verdict,
    values: dict[str, object],
    *,
    now: datetime,
    rate: float,
) -> JobState:
    target = verdict.job
    if target == JobState.SUSPENDED:
        if job["state"] == JobState.SUSPENDING:
            values["suspensions"] = job["suspensions"] + 1
        else:  # it checkpointed and stopped without our asking: it simply waits for its next start
            target = JobState.QUEUED
    reason = verdict.reason
    if target is None:
        target, reason = _after_site_failure(connection, job, verdict, values, now=now, rate=rate)
    if target.is_terminal:
        values["exit_code"] = verdict.exit_code
    jobs.move(connection, job["id"], target, at=now, actor=ACTOR, reason=reason, attempt_id=attempt_id, values=values)
    return target


def _after_site_failure(
    connection: Connection,
    job: RowMapping,
    verdict: Verdict,
    values: dict[str, object],
    *,
    now: datetime,
    rate: float,
) -> tuple[JobState, Reason]:
    """The site failed, not the job: try again later, as often as the job allows."""
    failures = job["failures"] + 1
    values["failures"] = failures
    if failures > jobs.spec_of(connection, job["id"]).retries:
        facts: dict[str, object] = {"failures": failures, "error": verdict.reason.sentence}
        return JobState.FAILED, Reason(ReasonCode.RETRIES_SPENT, facts)
    backoff_s = min(MAX_BACKOFF_S, BACKOFF_S * 2 ** (failures - 1)) * rate
    values["not_before"] = now + timedelta(seconds=backoff_s)
    return JobState.QUEUED, verdict.reason
