"""The daemon as its API sees it: every request becomes a transaction or an answer from memory."""

import asyncio
import hashlib
import json
import os
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, RowMapping

from lowtide.connectors.cluster.package import MIB, working_dir_package
from lowtide.scheduler.control.background import Background
from lowtide.scheduler.control.clock import Clock
from lowtide.scheduler.control.doctor import findings
from lowtide.scheduler.control.driver import Driver
from lowtide.scheduler.control.gridcheck import grid_checks
from lowtide.scheduler.control.gridwatch import GridWatch
from lowtide.scheduler.control.joblog import Course, JobLogs
from lowtide.scheduler.control.loop import Loop
from lowtide.scheduler.control.observe import Observer
from lowtide.scheduler.control.sites import SiteRuntime
from lowtide.scheduler.control.writer import Writer
from lowtide.scheduler.control.zones import coverage, site_grid
from lowtide.scheduler.decide.decide import decide
from lowtide.scheduler.decide.explain import explain
from lowtide.scheduler.model.cluster import Cluster
from lowtide.scheduler.model.errors import BadInput, Conflict, Infeasible, NotFound
from lowtide.scheduler.model.job import JobId, JobSpec, spec_from_json, spec_to_json
from lowtide.scheduler.model.lifecycle import WAITING_JOB_STATES, JobState
from lowtide.scheduler.model.plan import Snapshot
from lowtide.scheduler.model.reason import Reason, ReasonCode
from lowtide.scheduler.report import receipt as receipts
from lowtide.scheduler.report.outlook import outlook
from lowtide.scheduler.report.shape import Json, event_json, job_json, stamp
from lowtide.scheduler.settings import Settings
from lowtide.scheduler.store import accounts, attempts, jobs, plans

PAGE = 500
"""Jobs whose rows in the ledger are read at once, in three queries."""
ID_ALPHABET = "23456789abcdefghjkmnpqrstvwxyz"
"""No 0, 1, i, l, o, u: ids are read out and typed."""


UNDECIDED: Json = {
    "action": None,
    "next_review_at": None,
    "baseline_g": None,
    "saving_g": None,
    "doubt_g": None,
    "latest_start_at": None,
    "would_start_now_if": [],
    "candidates": [],
    "grid": [],
    "history": [],
}
"""What explain says of a job that no cycle has seen yet."""


@dataclass(frozen=True, slots=True)
class _Figured:
    """A job as the API shows it, with what the ledger has of it."""

    job: Json
    energy: list[RowMapping]
    baseline: RowMapping | None
    attempts: list[RowMapping]

    def receipt(self) -> Json:
        return receipts.receipt(self.job, self.energy, self.baseline, self.attempts)


class Service:
    """Everything behind /v1."""

    def __init__(
        self,
        *,
        settings: Settings,
        writer: Writer,
        observer: Observer,
        loop: Loop,
        driver: Driver,
        grid: GridWatch,
        sites: dict[str, SiteRuntime],
        clock: Clock,
        url: Callable[[], str],
        shutdown: Callable[[bool], None],
        background: Background,
        waits_for: Callable[[], list[str]],
    ) -> None:
        """Take the running parts; ``waits_for`` tells what keeps the daemon from being of use yet."""
        self._background, self._waits_for = background, waits_for
        self._settings, self._writer, self._observer = settings, writer, observer
        self._loop, self._driver, self._grid, self._sites = loop, driver, grid, sites
        self._clock, self._url, self._shutdown = clock, url, shutdown
        self._started_at = clock.now()
        self._logs = JobLogs(settings.data_dir / "logs", course=self._course, cluster=self._cluster)

    # ---- submission ----

    async def submit(self, specs: list[JobSpec], *, actor: str, idempotency_keys: list[str | None]) -> list[Json]:
        """Accept jobs; returns once they are durable. The first conflict among them is raised."""
        new = [await self._new(spec, actor, key) for spec, key in zip(specs, idempotency_keys, strict=True)]
        answers = await asyncio.gather(*(self._writer.submit(n) for n in new))
        self._loop.wake("submit")
        told = []
        for candidate, answer in zip(new, answers, strict=True):
            if answer.conflict is not None:
                raise answer.conflict
            fresh = self._fresh_json(candidate) if answer.created else await self.job(answer.job_id)
            told.append({**fresh, "created": answer.created})
        return told

    async def submitted_before(self, spec: JobSpec, idempotency_key: str) -> Json | None:
        """The job that a key was given to; what its working directory holds by now makes no difference.

        Raises:
            Conflict: the key was given to another job.

        """

        def work(connection: Connection) -> Json | None:
            row = jobs.by_key(connection, idempotency_key)
            if row is None:
                return None
            if spec_from_json(row["spec"]) != spec:
                raise jobs.key_taken(idempotency_key, row["id"])
            return self._figured(connection, [row])[0].job

        return await self._writer.read(work)

    async def _new(self, spec: JobSpec, actor: str, key: str | None) -> jobs.NewJob:
        now = self._clock.now()
        queue = self._queue(spec)
        self._check_feasible(spec)
        package = await asyncio.to_thread(self._pack, spec.working_dir) if spec.working_dir else None
        plain = spec_to_json(spec)
        text = json.dumps({**plain, "package": package}, sort_keys=True).encode()
        return jobs.NewJob(
            job_id=JobId(f"{spec.name[:48].rstrip('-_')}-{_short_id()}"),
            spec=spec,
            spec_json=plain,
            spec_digest=hashlib.sha256(text).hexdigest(),
            urgency=(spec.urgency or queue.urgency).value,
            actor=actor,
            submitted_at=now,
            latest_finish_at=spec.latest_finish(now, queue.patience_s),
            idempotency_key=key,
            package=package,
        )

    def _queue(self, spec: JobSpec) -> Any:
        queue = self._observer.queues.get(spec.queue)
        if queue is None:
            known = ", ".join(sorted(self._observer.queues))
            message = f"there is no queue {spec.queue!r}; the queues are: {known}."
            raise BadInput(message, fix="Choose one with --queue.")
        return queue

    def _check_feasible(self, spec: JobSpec) -> None:
        """Refuse what no configured site could ever run, naming what they offer (residency only waits)."""
        sites = [runtime.site for runtime in self._sites.values()]
        fitting = [s for s in sites if s.can_ever_run(spec.resources)]
        if fitting:
            return
        need = spec.resources
        wanted = _amount(need.gpus, need.gpu_model, need.cpus)
        offers = "; ".join(f"{s.name}: {_amount(s.gpus, s.gpu_model, s.cpus)}" for s in sites)
        raise Infeasible(f"the job needs {wanted}; no site has that ({offers}).", fix="Ask for less, or add a site.")

    def _pack(self, working_dir: str) -> str:
        """Keep the working directory as it is now, under the hash of its content."""
        content = working_dir_package(Path(working_dir), self._settings.max_working_dir_mib * MIB)
        name = f"{hashlib.sha256(content).hexdigest()}.zip"
        target = self._settings.data_dir / "packages" / name
        if not target.exists():
            scratch = target.with_suffix(f".{secrets.token_hex(4)}.new")
            with scratch.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            scratch.rename(target)
        return name

    def _fresh_json(self, new: jobs.NewJob) -> Json:
        row = {**jobs.row_values(new), "started_at": None, "finished_at": None, "held_by": None, "exit_code": None}
        row |= dict.fromkeys(plans.REVIEWED[3:])
        return job_json(row, now=new.submitted_at, site=None, figures=None)

    async def plan(self, spec: JobSpec) -> Json:
        """What would be decided now; writes nothing."""
        queue = self._queue(spec)
        self._check_feasible(spec)
        snapshot = await self._snapshot()
        view = self._observer.imagined(spec, snapshot.now, snapshot.sites, spec.urgency or queue.urgency)
        every = tuple(sorted((*snapshot.jobs, view), key=lambda v: v.job_id))
        wider = Snapshot(
            now=snapshot.now,
            jobs=every,
            sites=snapshot.sites,
            queues=snapshot.queues,
            forecasts=snapshot.forecasts,
            slot_s=snapshot.slot_s,
        )
        plan = await asyncio.to_thread(decide, wider)
        decision = next(d for d in plan.decisions if d.job_id == view.job_id)
        return explain(decision, plan)

    async def _snapshot(self) -> Snapshot:
        now = self._clock.now()
        forecasts = await self._grid.price(now, self._settings.slot_s)
        shot, _ = await self._writer.read(
            lambda c: self._observer.snapshot(c, now=now, sites=list(self._sites.values()), forecasts=forecasts)
        )
        return shot

    # ---- reads ----

    async def jobs(
        self,
        *,
        states: tuple[str, ...] = (),
        queue: str | None = None,
        name: str | None = None,
        limit: int = 500,
        after: str | None = None,
    ) -> list[Json]:
        """Jobs, newest first."""

        def work(connection: Connection) -> list[Json]:
            found = jobs.search(connection, states=states, queue=queue, name=name, limit=limit, after=after)
            return [one.job for one in self._figured(connection, found)]

        return await self._writer.read(work)

    async def job(self, job_id: str) -> Json:
        """One job."""
        return await self._writer.read(lambda c: self._figured(c, [jobs.get(c, job_id)])[0].job)

    def _figured(self, connection: Connection, rows: list[RowMapping]) -> list[_Figured]:
        """Jobs with what the ledger has of them, in queries of bounded size."""
        pages = [rows[first : first + PAGE] for first in range(0, len(rows), PAGE)]
        return [one for page in pages for one in self._page(connection, page)]

    def _page(self, connection: Connection, rows: list[RowMapping]) -> list[_Figured]:
        ids, now = [row["id"] for row in rows if row["attempts"]], self._clock.now()
        energy, base = accounts.energy_by_job(connection, ids), accounts.baseline_by_job(connection, ids)
        tries = attempts.by_job(connection, ids)
        told = []
        for row in rows:
            own, baseline, attempts_of = energy.get(row["id"], []), base.get(row["id"]), tries.get(row["id"], [])
            site = attempts_of[-1]["site"] if attempts_of else None
            job = job_json(row, now=now, site=site, figures=receipts.totals(own, baseline))
            told.append(_Figured(job, own, baseline, attempts_of))
        return told

    async def events(self, job_id: str) -> list[Json]:
        """The event log of a job."""
        return [event_json(row) for row in await self._writer.read(lambda c: jobs.events_of(c, job_id))]

    async def explain(self, job_id: str) -> Json:
        """The last decision about a job with what was considered, and those before it."""
        told = await self.job(job_id)
        stored = await self._writer.read(lambda c: plans.history(c, job_id))
        history = [
            {
                "at": stamp(row["at"]),
                "plan_id": row["plan_id"],
                "action": row["action"],
                "reason": row["data"]["reason"],
                "saving_g": row["data"]["saving_g"],
            }
            for row in stored
        ]
        latest = self._loop.latest.get(job_id)
        if latest is not None:
            return explain(latest[0], latest[1], job=told, history=history)
        if not stored:
            return {**UNDECIDED, "job": told, "now": stamp(self._clock.now()), "reason": told["reason"]}
        last = stored[0]
        return {
            **last["data"],
            "job": told,
            "now": stamp(last["at"]),
            "grid": last["grid"],
            "history": history,
            "reason": told["reason"],
        }

    # ---- changes ----

    async def cancel(self, job_id: str, *, actor: str) -> Json:
        """End a job for good; repeating it is no error (INV-05)."""
        now = self._clock.now()
        reason = Reason(ReasonCode.CANCELLED_BY_USER, {"actor": actor})

        def work(connection: Connection) -> None:
            if jobs.state_of(connection, job_id) == JobState.CANCELLED:
                return
            jobs.move(connection, job_id, JobState.CANCELLED, at=now, actor=actor, reason=reason)
            live = attempts.live_of(connection, job_id)
            if live is not None:
                attempts.ask_stop(connection, live["id"], intent="cancel", at=now, actor=actor, reason=reason)

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
        """Undo a hold; releasing a job that is not held changes nothing."""
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

    # ---- logs ----

    async def log_text(self, job_id: str, *, attempt: int | None = None, tail_lines: int | None = None) -> str:
        """What the job printed, attempt after attempt, without lowtide's own lines."""
        return await self._logs.text(job_id, attempt=attempt, tail_lines=tail_lines)

    def log_stream(self, job_id: str, *, tail_lines: int | None = None) -> AsyncIterator[str]:
        """The log as it grows, until the job has ended."""
        return self._logs.stream(job_id, tail_lines=tail_lines)

    async def _course(self, job_id: str) -> Course:
        def work(connection: Connection) -> Course:
            return Course(jobs.state_of(connection, job_id), attempts.of_job(connection, job_id))

        return await self._writer.read(work)

    def _cluster(self, site: str) -> Cluster | None:
        runtime = self._sites.get(site)
        return None if runtime is None else runtime.cluster

    # ---- grid, sites, reports ----

    async def forecast(self, zone: str | None, hours: float, duration_s: float | None) -> Json:
        """Intensity of a zone: recorded, forecast, and the best windows for a duration."""
        zones = list(self._grid.zones)
        if not zones:
            message = "no site has a grid zone."
            raise NotFound(message, fix="Set 'zone' of a site, or start with: lowtide up --zone GB")
        state = self._grid.zones.get(zone or zones[0])
        if state is None:
            message = f"zone {zone!r} is not in use; the zones are: {', '.join(zones)}."
            raise NotFound(message, fix="Choose one of them.")
        now = self._clock.now()
        price = (await self._grid.price(now, self._settings.slot_s))[state.zone]
        actual = state.actual.clip(now - timedelta(hours=hours / 2), now) if state.actual else None
        return outlook(price, actual, now=now, hours=hours, duration_s=duration_s)

    async def sites(self) -> list[Json]:
        """Sites with their use."""
        live = await self._writer.read(attempts.live)
        return [self._site_json(runtime, live) for runtime in self._sites.values()]

    def _site_json(self, runtime: SiteRuntime, live: list[RowMapping]) -> Json:
        site, here = runtime.site, [row for row in live if row["site"] == runtime.site.name]
        return {
            "name": site.name,
            **site_grid(runtime, self._grid),
            "jurisdiction": site.jurisdiction or None,
            "reachable": runtime.reachable,
            "trouble": runtime.trouble or None,
            "gpus": site.gpus,
            "gpus_used": sum(row["gpus"] for row in here),
            "gpu_model": site.gpu_model or None,
            "cpus": site.cpus,
            "cpus_used": sum(row["cpus"] for row in here),
            "pue": site.pue,
            "ray_version": runtime.ray_version or None,
            "attempts": [row["id"] for row in here],
        }

    async def zones(self) -> list[Json]:
        """The configured grid sources with the zones that they answer for."""
        return await coverage(self._grid, self._clock.now())

    async def queues(self) -> list[Json]:
        """Queues as configured."""
        return [q.model_dump(mode="json") for q in self._settings.queues]

    async def receipt(self, job_id: str) -> Json:
        """What one job used, emitted and avoided."""
        return await self._writer.read(lambda c: self._figured(c, [jobs.get(c, job_id)])[0].receipt())

    async def report(self, job_ids: list[str] | None) -> Json:
        """Receipts of the named jobs, or of all that ran, with their sums."""

        def work(connection: Connection) -> list[Json]:
            if job_ids:
                return self._receipts(connection, [jobs.get(connection, i) for i in job_ids])
            found: list[Json] = []
            page = jobs.search(connection, limit=PAGE)
            while page:
                found += self._receipts(connection, [row for row in page if row["attempts"]])
                page = jobs.search(connection, limit=PAGE, after=page[-1]["id"])
            return found

        return receipts.report(await self._writer.read(work), now=self._clock.now())

    def _receipts(self, connection: Connection, rows: list[RowMapping]) -> list[Json]:
        return [one.receipt() for one in self._figured(connection, rows)]

    async def check_grid(self) -> list[Json]:
        """What the configured grid sources answer now."""
        return await grid_checks(self._grid, self._clock.now(), self._settings.slot_s)

    async def doctor(self) -> list[Json]:
        """Findings about this installation."""
        live = await self._writer.read(attempts.live)
        return await findings(self._settings, self._sites, self._grid, self._clock, [row["site"] for row in live])

    def health(self) -> Json:
        """Whether the daemon is ready, and where it lives."""
        waits_for = self._waits_for()
        ready = "ready" if all(runtime.reachable for runtime in self._sites.values()) else "degraded"
        return {
            "status": "starting" if waits_for else ready,
            "waits_for": waits_for,
            "version": version("lowtide"),
            "pid": os.getpid(),
            "data_dir": str(self._settings.data_dir),
            "now": stamp(self._clock.now()),
            "clock_rate": self._clock.rate,
            "started_at": stamp(self._started_at),
            "url": self._url(),
            "sites": [self._site_json(runtime, []) for runtime in self._sites.values()],
        }

    def request_shutdown(self, *, stop_cluster: bool) -> None:
        """End the daemon; the local cluster too where asked, else its jobs run on."""
        self._shutdown(stop_cluster)


def _amount(gpus: int, gpu_model: str | None, cpus: int) -> str:
    return f"{gpus} GPU(s){f' of model {gpu_model}' if gpu_model else ''} and {cpus} CPU(s)"


def _short_id() -> str:
    return "".join(secrets.choice(ID_ALPHABET) for _ in range(8))
