"""Puts a daemon together from its settings and runs its background work; knows nothing of HTTP."""

import asyncio
import contextlib
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import structlog
from sqlalchemy import Connection, func, insert, select

from lowtide.connectors.cluster.local_ray import LocalRay
from lowtide.connectors.cluster.ray_jobs import RayJobs
from lowtide.scheduler.control import accounting, settling
from lowtide.scheduler.control.clock import Clock
from lowtide.scheduler.control.driver import Driver
from lowtide.scheduler.control.gridwatch import GridWatch
from lowtide.scheduler.control.loop import Loop
from lowtide.scheduler.control.observe import Observer
from lowtide.scheduler.control.reconcile import reconcile
from lowtide.scheduler.control.service import Service
from lowtide.scheduler.control.sites import SiteRuntime
from lowtide.scheduler.control.writer import Writer
from lowtide.scheduler.model.errors import BadInput, LowtideError
from lowtide.scheduler.model.lifecycle import LIVE_ATTEMPT_STATES
from lowtide.scheduler.model.plan import Plan
from lowtide.scheduler.settings import Settings, SiteSettings
from lowtide.scheduler.store import accounts
from lowtide.scheduler.store import tables as t
from lowtide.scheduler.store.database import Database

log = structlog.get_logger()
GRID_CLOCK_S = 60.0
LOOK_S = 5.0
RECONCILE_S = 60.0
FAST_POLL_S = 0.2
"""While an attempt is starting or stopping somebody waits for it: look often."""


class Daemon:
    """All parts of one running daemon."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        *,
        url: Callable[[], str],
        shutdown: Callable[[bool], None],
        cycled: Callable[[Plan, float], None],
    ) -> None:
        """Open the store, check the settings against it and build the parts; nothing runs yet."""
        self.settings, self.clock = settings, clock
        for name in ("packages", "logs", "checkpoints"):
            (settings.data_dir / name).mkdir(parents=True, exist_ok=True)
        self.database = Database(settings.data_dir / "lowtide.db")
        self.database.migrate()
        self.local = self._local_ray()
        self.sites = {s.name: self._site(s) for s in settings.sites}
        self._settle_store()
        self.writer = Writer(self.database)
        self.grid = GridWatch(settings.grids, clock)
        self.grid.follow(list(self.sites.values()))
        self.accountant = accounting.Accountant(
            now=clock.now,
            from_wall=clock.from_wall,
            scale=clock.rate,
            power_w=self._power_w,
        )
        self.settlement = settling.Settlement({name: runtime.site for name, runtime in self.sites.items()})
        self.observer = Observer(settings)
        self.driver = Driver(
            self.writer,
            self.sites,
            clock,
            settings,
            changed=lambda: self.loop.wake("attempt"),
            keep_log=self._keep_log,
            account=self.accountant.attempt,
        )
        self.loop = Loop(
            writer=self.writer,
            observer=self.observer,
            grid=self.grid,
            driver=self.driver,
            sites=self.sites,
            clock=clock,
            settings=settings,
            cycled=cycled,
        )
        self.service = Service(
            settings=settings,
            writer=self.writer,
            observer=self.observer,
            loop=self.loop,
            driver=self.driver,
            grid=self.grid,
            sites=self.sites,
            clock=clock,
            url=url,
            shutdown=shutdown,
        )
        self._tasks: list[asyncio.Task[None]] = []

    # ---- building ----

    def _local_ray(self) -> LocalRay | None:
        local = [s for s in self.settings.sites if s.address == "local"]
        if len(local) > 1:
            message = f"sites {', '.join(s.name for s in local)} are all 'local'; one machine has one private cluster."
            raise BadInput(message, fix="Give the others the base URL of a Ray dashboard as their address.")
        if not local:
            return None
        return LocalRay(self.settings.data_dir, gpus=local[0].gpus, cpus=local[0].cpus)

    def _site(self, settings: SiteSettings) -> SiteRuntime:
        token = settings.token_file.read_text().strip() if settings.token_file else None
        if settings.address != "local":
            cluster = RayJobs(
                settings.address, token=token, ca_file=settings.ca_file, python=settings.python or "python3"
            )
            return SiteRuntime(settings, settings.site(), cluster)
        assert self.local is not None  # noqa: S101 - made before the sites
        cluster = RayJobs("http://127.0.0.1:9", python=settings.python or sys.executable)
        return SiteRuntime(settings, settings.site(), cluster, living=self.local.living_attempts)

    def _settle_store(self) -> None:
        """Tell the store what the sites are now; the clock never starts before what is written down."""
        with self.database.write() as connection:
            for runtime in self.sites.values():
                site = runtime.site
                values = {
                    "zone": site.zone,
                    "gpus": site.gpus,
                    "cpus": site.cpus,
                    "jurisdiction": site.jurisdiction,
                }
                known = connection.execute(select(t.site.c.name).where(t.site.c.name == site.name)).first()
                if known:
                    connection.execute(t.site.update().where(t.site.c.name == site.name).values(**values))
                else:
                    connection.execute(insert(t.site).values(name=site.name, **values))
            latest = connection.execute(select(func.max(t.event.c.at))).scalar()
        if latest is not None:
            self.clock.at_least(latest)

    def _power_w(self, connection: Connection, job_id: str) -> float:
        return accounting.planned_power_w(connection, job_id, self.settings.gpu_power_w, self.settings.cpu_power_w)

    async def _keep_log(self, attempt_id: str, text: str) -> None:
        path = self.settings.data_dir / "logs" / f"{attempt_id}.log"
        await asyncio.to_thread(path.write_text, text)

    # ---- running ----

    async def start(self) -> None:
        """Bring the local cluster up, look at every site, fetch the grid, then begin."""
        await asyncio.gather(self._ensure_local(), self._refresh_grid())
        await asyncio.gather(*(runtime.look() for runtime in self.sites.values()))
        await self.driver.drive_all()  # whatever a killed daemon left behind comes first
        for work in (self.loop.run, self._poll, self._watch_grid, self._watch_sites, self._reconcile):
            self._tasks.append(asyncio.create_task(work()))

    async def _ensure_local(self) -> None:
        if self.local is None:
            return
        url = await self.local.ensure()
        for runtime in self.sites.values():
            if runtime.settings.address == "local":
                await runtime.cluster.close()
                runtime.cluster = RayJobs(url, python=runtime.settings.python or sys.executable)

    async def _poll(self) -> None:
        """Drive live attempts for ever, faster while one is changing."""
        while True:
            rows = await self.writer.read(_live_states)
            if rows:
                await _quietly(self.driver.drive_all(), "drive")
            changing = any(state != "running" for state in rows)
            await asyncio.sleep(FAST_POLL_S if changing else self.settings.poll_s)

    async def _watch_grid(self) -> None:
        while True:
            await asyncio.sleep(max(0.5, GRID_CLOCK_S / self.clock.rate))
            await _quietly(self._refresh_grid(), "grid")
            await _quietly(self._settle(), "ledger")

    async def _refresh_grid(self) -> None:
        before = {zone: state.forecast for zone, state in self.grid.zones.items()}
        fresh = await self.grid.refresh()
        now = self.clock.now()

        def keep(connection: Connection) -> None:
            for series in fresh:
                settling.store_series(connection, series, now)

        await self.writer.run(keep)
        issued = {zone: state.forecast for zone, state in self.grid.zones.items()}
        if any(_issue(issued[zone]) != _issue(before[zone]) for zone in issued):
            self.loop.wake("grid")

    async def _settle(self) -> None:
        """Price energy with what is recorded by now, and close the accounts of jobs that have ended."""
        now, actual = self.clock.now(), self.grid.actuals()

        def look(connection: Connection) -> tuple[list[str], settling.PriceBook]:
            known = settling.recorded(connection, self.grid.zones, actual, now)
            return accounts.open_accounts(connection), settling.PriceBook(known, self.grid.estimates())

        ids, book = await self.writer.read(look)
        for first in range(0, len(ids), settling.PAGE):
            page = ids[first : first + settling.PAGE]
            await self.writer.run(partial(self.settlement.settle, job_ids=page, now=now, book=book))

    async def _watch_sites(self) -> None:
        """Notice a site that went or came back; start the local cluster again when it has died."""
        while True:
            await asyncio.sleep(LOOK_S)
            await asyncio.gather(*(_quietly(self._watch_site(runtime), "site") for runtime in self.sites.values()))

    async def _watch_site(self, runtime: SiteRuntime) -> None:
        was = runtime.reachable
        if await runtime.look() != was:
            facts = {"reachable": runtime.reachable, "why": runtime.trouble}
            log.warning("site_changed", site=runtime.site.name, **facts)
            self.loop.wake("site")
        if not runtime.reachable and runtime.settings.address == "local":
            await self._ensure_local()

    async def _reconcile(self) -> None:
        while True:
            await asyncio.sleep(RECONCILE_S)
            there = [runtime for runtime in self.sites.values() if runtime.reachable]
            await asyncio.gather(*(_quietly(reconcile(r, self.writer, self.clock), "reconcile") for r in there))

    async def stop(self, *, stop_cluster: bool) -> None:
        """End the background work; jobs on clusters go on unless the local cluster is to end too."""
        for task in self._tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*self._tasks, return_exceptions=True)
        for runtime in self.sites.values():
            await runtime.cluster.close()
        await self.grid.close()
        await asyncio.to_thread(self.writer.close)
        self.database.close()
        if stop_cluster and self.local is not None:
            await asyncio.to_thread(self.local.stop)


def _live_states(connection: Connection) -> list[str]:
    live = [state.value for state in LIVE_ATTEMPT_STATES]
    return list(connection.execute(select(t.attempt.c.state).where(t.attempt.c.state.in_(live))).scalars())


def _issue(series: object) -> object:
    return getattr(series, "issued_at", None) or getattr(series, "fetched_at", None)


async def _quietly(work: Coroutine[Any, Any, None], what: str) -> None:
    """Background work that fails is logged and done again at its next turn."""
    try:
        await work
    except LowtideError as error:
        log.warning("background_failed", work=what, why=error.message)
    except Exception:
        log.exception("background_failed", work=what)
