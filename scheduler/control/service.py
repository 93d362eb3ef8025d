"""The daemon as its API sees it: every request becomes a transaction or an answer from memory.

Jobs are read in ``lookup.py``, accepted in ``intake.py`` and changed in ``intervention.py``; here is the rest.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from importlib.metadata import version

from sqlalchemy import Connection, RowMapping

from lowtide.scheduler.control.booking import Booking
from lowtide.scheduler.control.doctor import findings
from lowtide.scheduler.control.gridcheck import grid_checks
from lowtide.scheduler.control.intake import Intake
from lowtide.scheduler.control.intervention import Intervention
from lowtide.scheduler.control.joblog import Course, JobLogs
from lowtide.scheduler.control.lookup import Parts
from lowtide.scheduler.control.past import History
from lowtide.scheduler.control.projects import statement
from lowtide.scheduler.control.sites import SiteRuntime
from lowtide.scheduler.control.steering import Steering
from lowtide.scheduler.control.zones import coverage, regions, site_grid
from lowtide.scheduler.model.cluster import Cluster
from lowtide.scheduler.model.errors import NotFound
from lowtide.scheduler.model.site import Pool, Site
from lowtide.scheduler.report.outlook import outlook
from lowtide.scheduler.report.shape import Json, stamp
from lowtide.scheduler.store import attempts, jobs


class Service(Intake, Intervention, Steering, Booking, History):
    """Everything behind /v1."""

    def __init__(
        self,
        parts: Parts,
        *,
        url: Callable[[], str],
        shutdown: Callable[[bool], None],
        waits_for: Callable[[], list[str]],
    ) -> None:
        """Take the running parts; ``waits_for`` tells what keeps the daemon from being of use yet."""
        super().__init__(parts)
        self._url, self._shutdown, self._waits_for = url, shutdown, waits_for
        self._started_at = parts.clock.now()
        self._logs = JobLogs(parts.settings.data_dir / "logs", course=self._course, cluster=self._cluster)

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

    # ---- grid, sites, the daemon itself ----

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
            "pools": [_pool_json(pool, here, site) for pool in site.pools],
            "power_budget_w": site.power_budget_w,
            "pue": site.pue,
            "ray_version": runtime.ray_version or None,
            "attempts": [row["id"] for row in here],
        }

    async def zones(self) -> list[Json]:
        """The configured grid sources with the zones that they answer for."""
        return await coverage(self._grid, self._clock.now())

    async def regions(self, region: str | None) -> list[Json]:
        """Where a cloud region lies; without one, the rows of the settings."""
        return regions(self._settings, region)

    async def queues(self) -> list[Json]:
        """Queues as they decide now."""
        return [q.model_dump(mode="json") for q in self._sets.queues]

    async def budgets(self) -> list[Json]:
        """The projects' budgets: used, promised and left now."""
        snapshot = await self._snapshot()
        return await asyncio.to_thread(statement, snapshot)

    async def check_grid(self) -> list[Json]:
        """What the configured grid sources answer now."""
        return await grid_checks(self._grid, self._clock.now(), self._settings.slot_s)

    async def doctor(self) -> list[Json]:
        """Findings about this installation."""
        live = await self._writer.read(attempts.live)
        sites = [row["site"] for row in live]
        told = await findings(self._settings, self._sites, self._grid, self._clock, sites)
        told += self._observer.findings()
        return [*told, self._loop.budget.finding(), self._sets.finding(), *self._shadow.findings()]

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
            "policy_set": self._sets.brief,
            "sites": [self._site_json(runtime, []) for runtime in self._sites.values()],
        }

    def request_shutdown(self, *, stop_cluster: bool) -> None:
        """End the daemon; the local cluster too where asked, else its jobs run on."""
        self._shutdown(stop_cluster)


def _pool_json(pool: Pool, live: list[RowMapping], site: Site) -> Json:
    here = [row for row in live if site.pool_of(row["pool"], row["gpus"], row["cpus"]) == pool]
    return {
        "name": pool.name,
        "gpus": pool.gpus,
        "gpus_used": sum(row["gpus"] for row in here),
        "gpu_model": pool.gpu_model or None,
        "cpus": pool.cpus,
        "cpus_used": sum(row["cpus"] for row in here),
    }
