"""Puts a daemon together from its settings and runs its background work; knows nothing of HTTP."""

import asyncio
import contextlib
import sys
from collections.abc import Callable
from datetime import datetime
from functools import partial

import structlog
from sqlalchemy import Connection, RowMapping, func, select

from lowtide.connectors.cluster.local_ray import LocalRay
from lowtide.connectors.cluster.ray_jobs import RayJobs
from lowtide.scheduler.control import accounting, settling
from lowtide.scheduler.control.background import Background, quietly
from lowtide.scheduler.control.clock import Clock
from lowtide.scheduler.control.driver import Driver
from lowtide.scheduler.control.gridwatch import GridWatch
from lowtide.scheduler.control.lookup import Parts
from lowtide.scheduler.control.loop import Loop
from lowtide.scheduler.control.modes import drew_w
from lowtide.scheduler.control.observe import Observer
from lowtide.scheduler.control.policy_sets import PolicySets
from lowtide.scheduler.control.recall import recall
from lowtide.scheduler.control.reconcile import reconcile
from lowtide.scheduler.control.service import Service
from lowtide.scheduler.control.shadowing import Shadow
from lowtide.scheduler.control.sites import SiteRuntime
from lowtide.scheduler.control.writer import Writer
from lowtide.scheduler.control.zones import log_zones, with_zones
from lowtide.scheduler.decide.registry import check_policy
from lowtide.scheduler.model.errors import BadInput, ClusterFailure
from lowtide.scheduler.model.lifecycle import LIVE_ATTEMPT_STATES
from lowtide.scheduler.model.plan import Plan
from lowtide.scheduler.model.series import Series
from lowtide.scheduler.settings import Settings, SiteSettings
from lowtide.scheduler.store import accounts, issues, jobs, sites
from lowtide.scheduler.store import tables as t
from lowtide.scheduler.store.database import Database

log = structlog.get_logger()
GRID_CLOCK_S = 60.0
LOOK_S = 5.0
RECONCILE_S = 60.0
FIRST_GRID_S = 5.0
"""How long the first decisions wait for grid data: without any, work that could wait is started at once."""
STARTING = "its private Ray cluster is being started"
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
        settings = with_zones(settings)
        self.settings, self.clock = settings, clock
        for queue in settings.queues:
            check_policy(queue.queue())
        for name in ("packages", "logs", "checkpoints"):
            (settings.data_dir / name).mkdir(parents=True, exist_ok=True)
        self.database = Database(settings.data_dir / "lowtide.db")
        self.database.migrate()
        self.local = self._local_ray()
        self.sites = {s.name: self._site(s) for s in settings.sites}
        self._settle_store()
        self.writer = Writer(self.database)
        self.grid = GridWatch(settings.grids, clock, settings.data_dir / "grid")
        self.grid.follow(list(self.sites.values()))
        self.accountant = accounting.Accountant(
            now=clock.now,
            from_wall=clock.from_wall,
            scale=clock.rate,
            power_w=self._power_w,
        )
        self.settlement = settling.Settlement({name: runtime.site for name, runtime in self.sites.items()})
        self.observer = Observer(settings)
        self.policy_sets = PolicySets(settings.queues)
        self.policy_sets.resume(self.database)
        self.observer.decide_by(self.policy_sets.queues)
        self.background = Background()
        self.shadow = Shadow(self.writer, self.background)
        self.shadow.resume(self.database, self.policy_sets)
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
            background=self.background,
            shadow=self.shadow,
            cycled=cycled,
        )
        parts = Parts(
            settings=settings,
            writer=self.writer,
            observer=self.observer,
            loop=self.loop,
            driver=self.driver,
            grid=self.grid,
            sites=self.sites,
            clock=clock,
            background=self.background,
            policy_sets=self.policy_sets,
            shadow=self.shadow,
        )
        self.service = Service(parts, url=url, shutdown=shutdown, waits_for=self.waits_for)
        self._unseen = set(self.sites)
        self._useful, self._grid_asked = asyncio.Event(), asyncio.Event()
        self._deciding = self._changing = self._learning = False

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
            sites.declare(connection, [runtime.site for runtime in self.sites.values()])
            latest = connection.execute(select(func.max(t.event.c.at))).scalar()
        if latest is not None:
            self.clock.at_least(latest)

    def _power_w(self, connection: Connection, attempt: RowMapping) -> float:
        spec = jobs.spec_of(connection, attempt["job_id"])
        return drew_w(spec, attempt, self.settings)

    async def _keep_log(self, attempt_id: str, text: str) -> None:
        path = self.settings.data_dir / "logs" / f"{attempt_id}.log"
        await asyncio.to_thread(path.write_text, text)

    # ---- running ----

    def start(self) -> None:
        """Begin all background work and return; nobody waits for a cluster or a grid source that is slow."""
        keep = self.background.keep
        if not self.sites:
            self._useful.set()
        keep(self._decide, "loop")
        keep(self._poll, "poll")
        keep(self._watch_grid, "grid")
        for name, runtime in self.sites.items():
            keep(partial(self._watch_site, runtime), f"site {name}")
            keep(partial(self._reconcile, runtime), f"reconcile {name}")

    def waits_for(self) -> list[str]:
        """What the first decisions still wait for; empty once the daemon is of use."""
        if self._deciding:
            return []
        unseen = [f"site {name}: {self.sites[name].trouble}" for name in self.sites if name in self._unseen]
        return unseen if not self._useful.is_set() else ["grid data"]

    async def _decide(self) -> None:
        """The loop, once something can come of it: a site that answers, or all looked at in vain."""
        await self._useful.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_GRID_S):
                await self._grid_asked.wait()
        self._deciding = True
        await self.loop.run()

    async def _poll(self) -> None:
        """Drive live attempts for ever, faster while one is changing; what a killed daemon left comes first."""
        while True:
            self._changing = False
            await quietly(self._drive(), "drive")
            await asyncio.sleep(FAST_POLL_S if self._changing else self.settings.poll_s)

    async def _drive(self) -> None:
        states = await self.writer.read(_live_states)
        self._changing = any(state != "running" for state in states)
        if states:
            await self.driver.drive_all()

    async def _watch_grid(self) -> None:
        while True:
            await quietly(self._refresh_grid(), "grid")
            if not self._grid_asked.is_set():
                log_zones(self.sites, self.grid)
            self._grid_asked.set()
            await quietly(self._settle(), "ledger")
            await asyncio.sleep(max(0.5, GRID_CLOCK_S / self.clock.rate))

    async def _refresh_grid(self) -> None:
        before = {zone: state.forecast for zone, state in self.grid.zones.items()}
        fresh = await self.grid.refresh()
        recalled = await recall(self.grid, self.writer, self.clock.now())
        now = self.clock.now()

        def keep(connection: Connection) -> None:
            for series in fresh:
                settling.store_series(connection, series, now)

        await self.writer.run(keep)
        await self._keep_issues(recalled=recalled)
        issued = {zone: state.forecast for zone, state in self.grid.zones.items()}
        if any(_issue(issued[zone]) != _issue(before[zone]) for zone in issued):
            self.loop.wake("grid")

    async def _keep_issues(self, *, recalled: bool) -> None:
        """Note new issues, keep them, and learn from them beside everything else."""
        foresight, now = self.grid.foresight, self.clock.now()
        zones = {zone: state for zone, state in self.grid.zones.items() if state.forecast or state.actual}
        new = [s for zone, state in zones.items() if (s := await self._noted(zone, state.forecast))]
        if new:
            await self.writer.run(partial(_store_issues, series=new, now=now))
        for zone, state in zones.items():
            await foresight.lay(zone, state.actual)
        if self._learning:
            return
        self._learning = True
        if recalled:  # without the skill of old figures, what waits by them would start
            await self._learn()
        else:
            self.background.once(self._learn(), "learn")

    async def _noted(self, zone: str, forecast: Series | None) -> Series | None:
        foresight = self.grid.foresight
        if forecast is not None and foresight.of(zone).key != forecast.key:
            stored = await self.writer.read(partial(issues.known, key=forecast.key))
            foresight.remember(zone, forecast.key, stored)
        return foresight.saw(zone, forecast)

    async def _learn(self) -> None:
        """Learn where an hour has passed; decisions go on with what was learned before."""
        try:
            for zone in self.grid.zones:
                await self.grid.foresight.learn(zone)
        finally:
            self._learning = False

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

    async def _watch_site(self, runtime: SiteRuntime) -> None:
        """Notice that one site went or came back, whatever the others do."""
        while True:
            await quietly(self._look(runtime), f"site {runtime.site.name}")
            self._unseen.discard(runtime.site.name)
            if not self._unseen:
                self._useful.set()
            await asyncio.sleep(LOOK_S)

    async def _look(self, runtime: SiteRuntime) -> None:
        """One look; a local cluster that does not run is started, also again when it has died."""
        was = runtime.reachable
        if not await runtime.look() and runtime.settings.address == "local":
            await self._start_local(runtime)
        if runtime.reachable:
            self._useful.set()
        if runtime.reachable != was:
            facts = {"reachable": runtime.reachable, "why": runtime.trouble}
            log.warning("site_changed", site=runtime.site.name, **facts)
            self.loop.wake("site")

    async def _start_local(self, runtime: SiteRuntime) -> None:
        assert self.local is not None  # noqa: S101 - made before the sites
        runtime.trouble = STARTING
        try:
            url = await self.local.ensure()
        except ClusterFailure as failure:
            runtime.trouble = failure.message
            raise
        await runtime.cluster.close()
        runtime.cluster = RayJobs(url, python=runtime.settings.python or sys.executable)
        await runtime.look()

    async def _reconcile(self, runtime: SiteRuntime) -> None:
        while True:
            await asyncio.sleep(RECONCILE_S)
            if runtime.reachable:
                await quietly(reconcile(runtime, self.writer, self.clock), f"reconcile {runtime.site.name}")

    async def stop(self, *, stop_cluster: bool) -> None:
        """End the background work; jobs on clusters go on unless the local cluster is to end too."""
        await self.background.stop()
        await self.driver.stop()
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


def _store_issues(connection: Connection, series: list[Series], now: datetime) -> None:
    for issued in series:
        issues.keep(connection, issued, now)
    issues.prune(connection, now)


def _issue(series: object) -> object:
    return getattr(series, "issued_at", None) or getattr(series, "fetched_at", None)
