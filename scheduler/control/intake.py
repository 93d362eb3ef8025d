"""Accepts jobs, and plans those that might be submitted."""

import asyncio
import hashlib
import json
import os
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from lowtide.connectors.cluster.package import MIB, working_dir_package
from lowtide.scheduler.control.lookup import Lookup, Parts
from lowtide.scheduler.control.run_times import of_earlier_runs
from lowtide.scheduler.decide.decide import decide
from lowtide.scheduler.decide.explain import explain
from lowtide.scheduler.decide.insight import insight
from lowtide.scheduler.decide.standing import Standing
from lowtide.scheduler.model.dependency import After
from lowtide.scheduler.model.errors import BadInput, Conflict, Infeasible
from lowtide.scheduler.model.job import JobId, JobSpec, Urgency, spec_from_json, spec_to_json
from lowtide.scheduler.model.lifecycle import JobState
from lowtide.scheduler.model.plan import JobDecision, Plan, Snapshot
from lowtide.scheduler.model.run_time import Told, expected
from lowtide.scheduler.report.shape import Json, job_json
from lowtide.scheduler.store import jobs, plans

ID_ALPHABET = "23456789abcdefghjkmnpqrstvwxyz"
"""No 0, 1, i, l, o, u: ids are read out and typed."""

LONG_QUEUE = 1000
"""From so many jobs on a dry run is answered beside the newest plan: 10,000 take a second to plan anew."""


class Intake(Lookup):
    """Takes jobs in."""

    def __init__(self, parts: Parts) -> None:
        """Take the running parts."""
        super().__init__(parts)
        self._settings, self._observer = parts.settings, parts.observer
        self._grid, self._sites = parts.grid, parts.sites
        self._standing: tuple[Plan, Standing] | None = None

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
            if spec_from_json(row["spec"]).as_asked != spec.as_asked:
                raise jobs.key_taken(idempotency_key, row["id"])
            return self._figured(connection, [row])[0].job

        return await self._writer.read(work)

    async def _new(self, spec: JobSpec, actor: str, key: str | None) -> jobs.NewJob:
        now = self._clock.now()
        queue = self._queue(spec)
        self._check_feasible(spec)
        self._check_data(spec)
        await self._check_dependencies(spec)
        package = await asyncio.to_thread(self._pack, spec.working_dir) if spec.working_dir else None
        text = json.dumps({**spec_to_json(spec.as_asked), "package": package}, sort_keys=True).encode()
        told = await self._expected(spec)
        return jobs.NewJob(
            job_id=JobId(f"{spec.name[:48].rstrip('-_')}-{_short_id()}"),
            spec=told,
            spec_json=spec_to_json(told),
            spec_digest=hashlib.sha256(text).hexdigest(),
            urgency=(spec.urgency or queue.urgency).value,
            actor=actor,
            submitted_at=now,
            latest_finish_at=told.latest_finish(now, queue.patience_s),
            idempotency_key=key,
            package=package,
        )

    async def _expected(self, spec: JobSpec) -> JobSpec:
        """The spec with a run time to expect, where it declares none."""
        if spec.told is Told.DECLARED:
            return spec
        runs_s = await self._writer.read(lambda c: of_earlier_runs(c, spec))
        return spec.expected_as(expected(runs_s, spec.time_limit_s, self._queue(spec).default_duration_s))

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
        places = [(p, f"{s.name}/{p.name}") for s in sites for p in s.pools] + [
            (s, s.name) for s in sites if not s.pools
        ]
        offers = "; ".join(f"{name}: {_amount(one.gpus, one.gpu_model, one.cpus)}" for one, name in places)
        raise Infeasible(f"the job needs {wanted}; no site has that ({offers}).", fix="Ask for less, or add a site.")

    def _check_data(self, spec: JobSpec) -> None:
        """Refuse data at a site that there is not: what bringing it takes could not be told."""
        for one in spec.data:
            if one.site not in self._sites:
                message = f"there is no site {one.site[:80]!r} for data to lie at; the sites are: "
                raise BadInput(f"{message}{', '.join(self._sites)}.", fix="Correct the declared data.")

    async def _check_dependencies(self, spec: JobSpec) -> None:
        """Refuse to wait for what there is not, or for a success that cannot come any more."""
        if not spec.depends_on:
            return
        wanted = [one.job_id for one in spec.depends_on]
        states = await self._writer.read(lambda c: jobs.states_of(c, wanted))
        for one in spec.depends_on:
            state = states.get(one.job_id)
            if state is None:
                message = f"there is no job {one.job_id[:80]!r} to wait for."
                raise BadInput(message, fix="List jobs with: lowtide status --all")
            if one.after is After.OK and state.is_terminal and state is not JobState.SUCCEEDED:
                message = f"job {one.job_id} is {state}, so waiting for its success would never end."
                raise Conflict(message, fix=f"Submit it again and wait for that, or write {After.ANY}:{one.job_id}.")

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
        return job_json(row, now=new.submitted_at, last=None, figures=None)

    async def plan(self, spec: JobSpec) -> Json:
        """What would be decided now; writes nothing."""
        queue = self._queue(spec)
        self._check_feasible(spec)
        self._check_data(spec)
        await self._check_dependencies(spec)
        spec, urgency = await self._expected(spec), spec.urgency or queue.urgency
        return await self._beside(spec, urgency) or await self._among(spec, urgency)

    async def _beside(self, spec: JobSpec, urgency: Urgency) -> Json | None:
        """What is decided beside the newest plan, where planning a long queue anew would take seconds."""
        snapshot, plan = self._loop.latest_snapshot, self._loop.latest_plan
        if snapshot is None or plan is None or len(snapshot.jobs) < LONG_QUEUE or spec.depends_on:
            return None
        if self._standing is None or self._standing[0] is not plan:
            self._standing = plan, await asyncio.to_thread(Standing, snapshot, plan)
        view = self._observer.imagined(spec, snapshot.now, snapshot.sites, urgency)
        decision = self._standing[1].one_more(view)
        if decision is None:
            return None
        wider = replace(snapshot, jobs=(*snapshot.jobs, view))
        return await _explained(decision, wider, replace(plan, decisions=(*plan.decisions, decision)))

    async def _among(self, spec: JobSpec, urgency: Urgency) -> Json:
        """What is decided when the whole queue is planned with it."""
        snapshot = await self._snapshot()
        still = {v.job_id for v in snapshot.jobs}
        waits_for = tuple(JobId(one.job_id) for one in spec.depends_on if one.job_id in still)
        view = self._observer.imagined(spec, snapshot.now, snapshot.sites, urgency, waits_for)
        every = tuple(sorted((*snapshot.jobs, view), key=lambda v: v.job_id))
        wider = replace(snapshot, jobs=every)
        plan = await asyncio.to_thread(decide, wider)
        decision = next(d for d in plan.decisions if d.job_id == view.job_id)
        return await _explained(decision, wider, plan)

    async def _snapshot(self) -> Snapshot:
        now = self._clock.now()
        forecasts = await self._grid.price(now, self._settings.slot_s)
        shot, _ = await self._writer.read(
            lambda c: self._observer.snapshot(c, now=now, sites=list(self._sites.values()), forecasts=forecasts)
        )
        return shot


async def _explained(decision: JobDecision, snapshot: Snapshot, plan: Plan) -> Json:
    return explain(decision, plan, insight=await asyncio.to_thread(insight, snapshot, plan, decision.job_id))


def _amount(gpus: int, gpu_model: str | None, cpus: int) -> str:
    return f"{gpus} GPU(s){f' of model {gpu_model}' if gpu_model else ''} and {cpus} CPU(s)"


def _short_id() -> str:
    return "".join(secrets.choice(ID_ALPHABET) for _ in range(8))
