"""Jobs, decisions and receipts as the API shows them."""

import asyncio
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping

from lowtide.scheduler.control.background import Background
from lowtide.scheduler.control.clock import Clock
from lowtide.scheduler.control.driver import Driver
from lowtide.scheduler.control.gridwatch import GridWatch
from lowtide.scheduler.control.loop import Loop
from lowtide.scheduler.control.observe import Observer
from lowtide.scheduler.control.policy_sets import PolicySets
from lowtide.scheduler.control.shadowing import Shadow
from lowtide.scheduler.control.sites import SiteRuntime
from lowtide.scheduler.control.writer import Writer
from lowtide.scheduler.decide.explain import NOTHING, explain
from lowtide.scheduler.decide.insight import insight
from lowtide.scheduler.model.bind import Insight
from lowtide.scheduler.model.job import JobId
from lowtide.scheduler.model.plan import Plan
from lowtide.scheduler.report import receipt as receipts
from lowtide.scheduler.report.shape import Json, event_json, job_json, stamp
from lowtide.scheduler.settings import Settings
from lowtide.scheduler.store import accounts, attempts, jobs, plans, transfers

PAGE = 500
"""Jobs whose rows in the ledger are read at once, in three queries."""
UNDECIDED: Json = {
    "action": None,
    "next_review_at": None,
    "baseline_g": None,
    "saving_g": None,
    "doubt_g": None,
    "latest_start_at": None,
    "would_start_now_if": [],
    "would_suspend_if": [],
    "binds": [],
    "candidates": [],
    "grid": [],
    "history": [],
}
"""What explain says of a job that no cycle has seen yet."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The running parts of a daemon that its API works with."""

    settings: Settings
    writer: Writer
    observer: Observer
    loop: Loop
    driver: Driver
    grid: GridWatch
    sites: dict[str, SiteRuntime]
    clock: Clock
    background: Background
    policy_sets: PolicySets
    shadow: Shadow


@dataclass(frozen=True, slots=True)
class _Figured:
    """A job as the API shows it, with what the ledger has of it."""

    job: Json
    energy: list[RowMapping]
    baseline: RowMapping | None
    attempts: list[RowMapping]
    transfers: list[RowMapping]

    def receipt(self) -> Json:
        return receipts.receipt(self.job, self.energy, self.baseline, self.attempts, self.transfers)


class Lookup:
    """Reads from the store and from the loop's memory; changes nothing."""

    def __init__(self, parts: Parts) -> None:
        """Take the running parts."""
        self._writer, self._loop, self._clock = parts.writer, parts.loop, parts.clock

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
        tries, brought = attempts.by_job(connection, ids), transfers.of_jobs(connection, ids)
        told = []
        for row in rows:
            own, baseline, attempts_of = energy.get(row["id"], []), base.get(row["id"]), tries.get(row["id"], [])
            last = attempts_of[-1] if attempts_of else None
            job = job_json(row, now=now, last=last, figures=receipts.totals(own, baseline))
            told.append(_Figured(job, own, baseline, attempts_of, brought.get(row["id"], [])))
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
            found = await asyncio.to_thread(self._insight, latest[1], JobId(job_id))
            return explain(latest[0], latest[1], insight=found, job=told, history=history)
        if not stored:
            return {**UNDECIDED, "job": told, "now": stamp(self._clock.now()), "reason": told["reason"]}
        last = stored[0]
        return {
            **UNDECIDED,
            **last["data"],
            "job": told,
            "now": stamp(last["at"]),
            "grid": last["grid"],
            "history": history,
            "reason": told["reason"],
        }

    def _insight(self, plan: Plan, job_id: JobId) -> Insight:
        """What binds a job of the newest plan; nothing where the next cycle has already looked at the world."""
        snapshot = self._loop.latest_snapshot
        return insight(snapshot, plan, job_id) if snapshot is not None and snapshot.now == plan.made_at else NOTHING

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
