"""What people change about a job that is in: each change is one transaction, and the loop is told of it."""

from collections.abc import Callable

from sqlalchemy import Connection

from lowtide.scheduler.control.lookup import Lookup, Parts
from lowtide.scheduler.model.errors import Conflict
from lowtide.scheduler.model.lifecycle import WAITING_JOB_STATES, JobState
from lowtide.scheduler.model.reason import Reason, ReasonCode
from lowtide.scheduler.report.shape import Json
from lowtide.scheduler.store import attempts, dependencies, jobs


class Intervention(Lookup):
    """Cancels, holds, suspends and hurries jobs."""

    def __init__(self, parts: Parts) -> None:
        """Take the running parts."""
        super().__init__(parts)
        self._driver, self._background = parts.driver, parts.background

    async def cancel(self, job_id: str, *, actor: str) -> Json:
        """End a job for good; repeating it is no error (INV-05)."""
        now = self._clock.now()
        reason = Reason(ReasonCode.CANCELLED_BY_USER, {"actor": actor})

        def work(connection: Connection) -> None:
            attempts.cancel(connection, job_id, at=now, actor=actor, reason=reason)

        return await self._change(job_id, work, "cancel")

    async def hold(self, job_id: str, *, actor: str) -> Json:
        """Keep a waiting job from starting."""
        reason = Reason(ReasonCode.HELD, {"actor": actor, "job_id": job_id})

        def work(connection: Connection) -> None:
            state = jobs.state_of(connection, job_id)
            if state not in WAITING_JOB_STATES:
                message = f"job {job_id} is {state}; only a waiting job can be held."
                raise Conflict(message, fix=f"Suspend it with: lowtide suspend {job_id}")
            self._note(connection, job_id, actor, reason, held_by=actor)

        return await self._change(job_id, work, "hold")

    async def release(self, job_id: str, *, actor: str) -> Json:
        """Undo a hold, or else let a job begin though what it depends on has failed; otherwise nothing changes."""
        return await self._free(job_id, actor, ReasonCode.RELEASED)

    async def resume(self, job_id: str, *, actor: str) -> Json:
        """Let a suspended job go on, as soon as its policy says so."""
        return await self._free(job_id, actor, ReasonCode.RESUMED_BY_USER)

    async def _free(self, job_id: str, actor: str, code: ReasonCode) -> Json:
        def work(connection: Connection) -> None:
            row = jobs.get(connection, job_id)
            if JobState(row["state"]).is_terminal:
                message = f"job {job_id} has ended ({row['state']})."
                raise Conflict(message, fix="Submit it again.")
            if row["held_by"] is not None:
                self._note(connection, job_id, actor, Reason(code, {"actor": actor}), held_by=None)
            elif dependencies.waive(connection, job_id, actor=actor, at=self._clock.now()):
                self._note(connection, job_id, actor, Reason(code, {"actor": actor}))

        return await self._change(job_id, work, "release")

    async def suspend(self, job_id: str, *, actor: str) -> Json:
        """Checkpoint and stop a running job; it stays stopped until it is resumed."""
        now = self._clock.now()
        reason = Reason(ReasonCode.SUSPENDED_BY_USER, {"actor": actor, "job_id": job_id})

        def work(connection: Connection) -> None:
            live, state = attempts.live_of(connection, job_id), jobs.state_of(connection, job_id)
            if live is None or state != JobState.RUNNING:
                message = f"job {job_id} is {state}; only a running job can be suspended."
                raise Conflict(message, fix=f"Hold a waiting job with: lowtide hold {job_id}")
            jobs.set_values(connection, job_id, held_by=actor)
            attempts.ask_stop(connection, live["id"], intent="suspend", at=now, actor=actor, reason=reason)

        return await self._change(job_id, work, "suspend")

    async def run_now(self, job_id: str, *, actor: str, why: str) -> Json:
        """Start a waiting job whatever the carbon; who and why stay on record."""
        reason = Reason(ReasonCode.RUN_NOW, {"actor": actor, "why": why})

        def work(connection: Connection) -> None:
            state = jobs.state_of(connection, job_id)
            if state not in WAITING_JOB_STATES:
                message = f"job {job_id} is {state}; only a waiting job can be told to run now."
                raise Conflict(message, fix=f"See: lowtide explain {job_id}")
            self._note(
                connection, job_id, actor, reason, held_by=None, forced_by=actor, forced_why=why, not_before=None
            )

        return await self._change(job_id, work, "run_now")

    def _note(self, connection: Connection, job_id: str, actor: str, reason: Reason, **values: object) -> None:
        now = self._clock.now()
        jobs.set_values(
            connection, job_id, reason_code=reason.code.value, reason_facts=reason.facts, next_review_at=now, **values
        )
        jobs.write_event(connection, job_id=job_id, at=now, actor=actor, reason=reason)

    async def _change(self, job_id: str, work: Callable[[Connection], None], why: str) -> Json:
        await self._writer.run(work)
        self._loop.wake(why)
        self._background.once(self._driver.drive_all(), "drive")
        return await self.job(job_id)
