"""Drives every live attempt towards its recorded intent, one small step at a time.

Level-triggered: a step looks only at the attempt's row and at the cluster, so the same code serves the
normal path, the retry after a failure and the recovery after a kill -9. No step is taken before the
intent behind it has been committed.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from datetime import datetime

import structlog
from sqlalchemy import Connection, RowMapping

from lowtide.connectors.cluster.package import jobside_package
from lowtide.connectors.jobside import record as jobside_record
from lowtide.scheduler.control import launch
from lowtide.scheduler.control.clock import Clock
from lowtide.scheduler.control.finish import finish
from lowtide.scheduler.control.outcome import ExitRecord, Verdict, judge
from lowtide.scheduler.control.sites import SiteRuntime
from lowtide.scheduler.control.writer import Writer
from lowtide.scheduler.model.cluster import ClusterJob, ClusterJobStatus, Submission, SubmitOutcome
from lowtide.scheduler.model.errors import ClusterFailure, ClusterFailureKind, Conflict
from lowtide.scheduler.model.job import spec_from_json
from lowtide.scheduler.model.lifecycle import AttemptState, JobState
from lowtide.scheduler.model.reason import Reason, ReasonCode
from lowtide.scheduler.settings import Settings
from lowtide.scheduler.store import attempts, jobs

log = structlog.get_logger()
ACTOR = "lowtide"
RESEND_STOP_S = 60.0
"""Wall seconds beyond the grace after which a stop is sent again: Ray forgets stops of pending jobs."""
LOG_LINES = 4000
LOG_BYTES = 4 << 20
PARALLEL_CALLS = 8
"""Calls to one cluster at once; a Ray head starts about one job per second anyway."""
LONG_STEP_S = 1.0
METER_SAMPLES = 2
"""The log of a running attempt is read once in so many samples: a lost node takes no more of them along."""
METER_REST_S = 10.0
"""Wall seconds between two such readings at least: each is two requests to the cluster's head."""


class Driver:
    """Takes live attempts forward; ``changed`` is called after every recorded change."""

    def __init__(
        self,
        writer: Writer,
        sites: dict[str, SiteRuntime],
        clock: Clock,
        settings: Settings,
        *,
        changed: Callable[[], None],
        keep_log: Callable[[str, str], Awaitable[None]],
        account: Callable[[Connection, RowMapping, jobside_record.Report | None], None],
    ) -> None:
        """Take the ports; nothing runs before ``step``."""
        self._writer, self._sites, self._clock, self._settings = writer, sites, clock, settings
        self._changed, self._keep_log, self._account = changed, keep_log, account
        self._busy: set[str] = set()
        self.seen_at: dict[str, datetime] = {}
        """When each job was last seen to run, by its id."""
        self._meter_due_s: dict[str, float] = {}
        self._steps: set[asyncio.Future[None]] = set()
        self._calls = {name: asyncio.Semaphore(PARALLEL_CALLS) for name in sites}

    async def drive_all(self) -> None:
        """One step for every live attempt that is not being driven already.

        Returns when all steps are done or after a second, whichever comes first: steps at a site that hangs
        go on by themselves and hold up nobody else.
        """
        rows = await self._writer.read(attempts.live)
        steps = {asyncio.ensure_future(self.drive(row)) for row in rows if row["id"] not in self._busy}
        self._steps |= steps
        for step in steps:
            step.add_done_callback(self._steps.discard)
        if steps:
            await asyncio.wait(steps, timeout=LONG_STEP_S)

    async def stop(self) -> None:
        """Cut off the steps that are under way; what was recorded goes on after the next start."""
        for step in self._steps:
            step.cancel()
        await asyncio.gather(*self._steps, return_exceptions=True)

    async def drive(self, row: RowMapping) -> None:
        """One step for one attempt; a failure of the cluster is logged and tried again later."""
        if row["id"] in self._busy:
            return
        self._busy.add(row["id"])
        try:
            await self._drive(row["id"], row["site"])
        except ClusterFailure as error:
            log.warning("attempt_not_driven", attempt=row["id"], site=row["site"], why=error.message)
        except Conflict as error:
            # Somebody else moved the attempt on meanwhile (a cancel, say); the next step sees it.
            log.info("attempt_moved_on", attempt=row["id"], why=error.message)
        except Exception:
            log.exception("attempt_step_failed", attempt=row["id"], site=row["site"])
        finally:
            self._busy.discard(row["id"])

    async def _drive(self, attempt_id: str, name: str) -> None:
        """The row is read when its turn has come: it may have changed while the attempt waited for it."""
        site = self._sites.get(name)
        async with self._calls.get(name) or nullcontext():
            row = await self._writer.read(lambda c: attempts.get(c, attempt_id))
            if not AttemptState(row["state"]).is_live:
                return
            await (self._strand(row) if site is None else self._step(row, site))

    async def _step(self, row: RowMapping, site: SiteRuntime) -> None:
        if row["submitted_at"] is None:
            await self._submit_or_drop(row, site)
            return
        if row["state"] == AttemptState.STOPPING and self._stop_due(row):
            await site.cluster.stop(row["id"])
            now = self._clock.now()
            await self._writer.run(lambda c: attempts.stop_sent(c, row["id"], at=now))
        await self._look(row, site)

    def _stop_due(self, row: RowMapping) -> bool:
        if row["stop_sent_at"] is None:
            return True
        waited_s: float = (self._clock.now() - row["stop_sent_at"]).total_seconds() / self._clock.rate
        return waited_s > RESEND_STOP_S

    async def _strand(self, row: RowMapping) -> None:
        """The site has left the settings: nothing can be asked of it, so only what the store knows counts."""
        reason = Reason(ReasonCode.SITE_REMOVED, {"site": row["site"]})
        never_handed = row["cluster_id"] is None
        if never_handed or row["stop_intent"] == "cancel":
            # A cancelled job starts no second attempt; should the site come back, reconcile ends what runs there.
            await self._finish(row, Verdict(AttemptState.LOST, None, reason), None)
        elif row["state"] != AttemptState.UNKNOWN:
            log.error("site_removed", site=row["site"], attempt=row["id"], why=reason.sentence)
            await self._mark_unknown(row, reason, reason.sentence)

    # ---- starting ----

    async def _submit_or_drop(self, row: RowMapping, site: SiteRuntime) -> None:
        """Submit under the recorded id; once it was handed over, only its cluster knows whether it started."""
        if row["state"] == AttemptState.STARTING:
            if not site.reachable and not await site.look():
                return
            if row["cluster_id"] in {None, site.cluster_id}:
                if await self._submit(row, site) is not None:
                    await self._submitted(row)
                return
        if row["cluster_id"] is None:
            await self._finish(row, _never_started(row), None)
            return
        found = await site.cluster.get(row["id"])
        if found.status == ClusterJobStatus.MISSING:
            await self._vanished(row, site)
        else:
            await self._submitted(row)

    async def _submitted(self, row: RowMapping) -> None:
        now = self._clock.now()
        await self._writer.run(lambda c: attempts.submitted(c, row["id"], at=now))
        self._changed()

    async def _submit(self, row: RowMapping, site: SiteRuntime) -> SubmitOutcome | None:
        try:
            order = await self._order(row, site)
            cluster_id = site.cluster_id
            await self._writer.run(lambda c: attempts.hand_over(c, row["id"], cluster_id=cluster_id))
            outcome = await site.cluster.submit(order)
        except ClusterFailure as error:
            if error.kind != ClusterFailureKind.REFUSED:
                raise
            await self._finish(row, _refused(error), None)
            return None
        if outcome == SubmitOutcome.ALREADY_FOREIGN:
            foreign = ClusterFailure(ClusterFailureKind.REFUSED, f"the id {row['id']} is used by somebody else there")
            await self._finish(row, _refused(foreign), None)
            return None
        return outcome

    async def _order(self, row: RowMapping, site: SiteRuntime) -> Submission:
        job = await self._writer.read(lambda c: jobs.get(c, row["job_id"]))
        return launch.submission(
            spec_from_json(job["spec"]),
            row,
            site=site.settings,
            settings=self._settings,
            rate=self._clock.rate,
            to_wall=self._clock.to_wall,
            working_dir_uri=await self._working_dir(job["package"], site),
            jobside_uri=await site.cluster.upload(jobside_package()),
        )

    async def _working_dir(self, package: str | None, site: SiteRuntime) -> str | None:
        if not package:
            return None
        path = self._settings.data_dir / "packages" / package
        try:
            content = await asyncio.to_thread(path.read_bytes)
        except OSError as error:
            message = f"its working directory, kept in {path}, cannot be read: {error.strerror}; submit the job again"
            raise ClusterFailure(ClusterFailureKind.REFUSED, message) from error
        return await site.cluster.upload(content)

    # ---- looking ----

    async def _look(self, row: RowMapping, site: SiteRuntime) -> None:
        asked_at = self._clock.now()
        status = await site.cluster.get(row["id"])
        if status.status == ClusterJobStatus.MISSING:
            await self._vanished(row, site)
            return
        if status.status in {ClusterJobStatus.PENDING, ClusterJobStatus.RUNNING}:
            site.heard(row["id"])
            await self._lives(row, status)
            if status.status == ClusterJobStatus.RUNNING:
                self.seen_at[row["job_id"]] = asked_at
                await self._meter(row, site)
            return
        text = await site.cluster.log_tail(row["id"], max_bytes=LOG_BYTES, lines=LOG_LINES)
        report = jobside_record.parse(text, row["fence"])
        verdict = judge(status, exit_record(report), row["stop_intent"])
        if verdict is None:
            return
        told = tuple(sample.wall_s for sample in report.samples)
        if verdict.needs_proof and not await self._proved(row, site, str(verdict.reason.facts["error"]), told):
            return
        await self._keep_log(row["id"], jobside_record.strip(text))
        await self._finish(row, verdict, report)
        site.heard(row["id"])

    async def _lives(self, row: RowMapping, status: ClusterJob) -> None:
        """The cluster has it: note that it runs, and go on with a stop that was under way when it was lost sight of."""
        now, known = self._clock.now(), row["state"] != AttemptState.UNKNOWN
        reason = Reason(ReasonCode.PROCESS_STARTED if known else ReasonCode.FOUND_AGAIN, {"site": row["site"]})
        if not known and row["stop_intent"]:
            await self._writer.run(
                lambda c: attempts.ask_stop(c, row["id"], intent=row["stop_intent"], at=now, actor=ACTOR, reason=reason)
            )
        elif status.status == ClusterJobStatus.RUNNING and row["state"] in {
            AttemptState.STARTING,
            AttemptState.UNKNOWN,
        }:
            await self._writer.run(
                lambda c: attempts.running(c, row["id"], started_at=now, at=now, actor=ACTOR, reason=reason)
            )
            log.info("attempt_running", attempt=row["id"], node=status.node_id)
        else:
            return
        self._changed()

    async def _meter(self, row: RowMapping, site: SiteRuntime) -> None:
        """Account for what a running attempt has reported: its log may scroll away, or go with its node."""
        now_s = asyncio.get_running_loop().time()
        if row["state"] != AttemptState.RUNNING or now_s < self._meter_due_s.get(row["id"], 0.0):
            return
        self._meter_due_s[row["id"]] = now_s + max(METER_REST_S, METER_SAMPLES * self._settings.sample_s)
        text = await site.cluster.log_tail(row["id"], max_bytes=LOG_BYTES, lines=LOG_LINES)
        report = jobside_record.parse(text, row["fence"])
        await self._writer.run(lambda c: self._heard(c, row, report))

    def _heard(self, connection: Connection, row: RowMapping, report: jobside_record.Report) -> None:
        _note_refusal(connection, row, report)
        self._account(connection, row, report)

    async def _vanished(self, row: RowMapping, site: SiteRuntime) -> None:
        """The cluster does not know the submission: a new incarnation, or somebody deleted it."""
        if not await self._proved(row, site, f"submission vanished from {row['site']}"):
            return
        reason = Reason(ReasonCode.VANISHED, {"site": row["site"]})
        await self._finish(row, Verdict(AttemptState.LOST, None, reason), None)
        site.heard(row["id"])

    async def _proved(self, row: RowMapping, site: SiteRuntime, why: str, told: object = None) -> bool:
        """Mark the attempt unknown; True once no process of it can exist (INV-02)."""
        if row["state"] != AttemptState.UNKNOWN:
            reason = Reason(ReasonCode.ATTEMPT_UNKNOWN, {"attempt_id": row["id"], "site": row["site"]})
            await self._mark_unknown(row, reason, why)
        proof = await site.proof_of_death(row["id"], told)
        if proof:
            log.info("attempt_proved_dead", attempt=row["id"], proof=proof)
        return bool(proof)

    async def _mark_unknown(self, row: RowMapping, reason: Reason, why: str) -> None:
        now = self._clock.now()
        await self._writer.run(
            lambda c: attempts.move(c, row["id"], AttemptState.UNKNOWN, at=now, actor=ACTOR, reason=reason, note=why)
        )
        self._changed()

    async def _finish(self, row: RowMapping, verdict: Verdict, report: jobside_record.Report | None) -> None:
        now, rate = self._clock.now(), self._clock.rate

        def work(connection: Connection) -> JobState:
            _note_refusal(connection, row, report)
            state = finish(
                connection,
                row["id"],
                verdict,
                now=now,
                rate=rate,
                from_wall=self._clock.from_wall,
                report=report,
            )
            self._account(connection, attempts.get(connection, row["id"]), report)
            return state

        state = await self._writer.run(work)
        self._meter_due_s.pop(row["id"], None)
        self.seen_at.pop(row["job_id"], None)
        log.info("attempt_ended", attempt=row["id"], job_state=state, reason=verdict.reason.code)
        self._changed()


def _note_refusal(connection: Connection, row: RowMapping, report: jobside_record.Report | None) -> None:
    """Keep, once, why a runner could not set the power limits that its attempt was planned with."""
    why = "" if report is None else report.power_refused
    if why and row["power_plan"] and not row["power_refused"]:
        attempts.set_values(connection, row["id"], power_refused=why[:500])
        log.warning("power_not_limited", attempt=row["id"], site=row["site"], why=why[:500])


def exit_record(report: jobside_record.Report | None) -> ExitRecord | None:
    """The exit record as the verdict needs it; None when the runner left none."""
    if report is None or report.ended is None:
        return None
    ended = report.ended
    return ExitRecord(
        exit_code=ended.exit_code,
        signal=ended.signal,
        suspended=ended.suspended,
        asked_to_stop=ended.asked_to_stop,
        checkpoint_seq=ended.checkpoint_seq,
        results=dict(ended.results),
        finished=ended.finished,
        lease_lost=ended.lease_lost,
    )


def _never_started(row: RowMapping) -> Verdict:
    target = JobState.SUSPENDED if row["stop_intent"] == "suspend" else None
    reason = Reason(ReasonCode.DECLARED_DEAD, {"proof": "it had not been submitted yet"})
    return Verdict(AttemptState.STOPPED, target, reason)


def _refused(error: ClusterFailure) -> Verdict:
    return Verdict(AttemptState.FAILED, None, Reason(ReasonCode.START_REFUSED, {"error": error.message[:500]}))
