"""A simulated week in which each grid source in turn fails in each way (INV-10, INV-11).

Every source has a site and a zone of its own. What answers in its place keeps its name and its time to live, and
gives recorded figures of a real grid while it is well. Reader, watch, ladder and decide are the product's.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from importlib.metadata import entry_points
from types import SimpleNamespace
from typing import Any

import pytest

from lowtide.connectors.grid.recorded import Recorded
from lowtide.scheduler.control import gridwatch
from lowtide.scheduler.control.gridwatch import GridWatch
from lowtide.scheduler.control.sites import SiteRuntime
from lowtide.scheduler.model.errors import GridFailure, GridFailureKind
from lowtide.scheduler.model.job import Urgency
from lowtide.scheduler.model.plan import GridForecast, JobView
from lowtide.scheduler.model.series import NO_RATES, Series
from lowtide.scheduler.settings import GridSettings, SiteSettings
from tests.builders import a_job_view, a_queue, a_site
from tests.follow import Course, World

BEGIN = datetime.fromisoformat("2023-03-20T00:00:00+00:00")
WEEK, REFRESH = timedelta(days=7), timedelta(minutes=10)
SOURCES = sorted(point.name for point in entry_points(group=gridwatch.GROUP))
WAYS = (*GridFailureKind, "hang", "bug", "nothing", "zero", "old", "glitch")
TURN, LENGTH = WEEK / len(WAYS), timedelta(hours=3)
"""Longer than any cooldown, so that the failure is met and the recovery is seen."""
MAX_TTL_S = 900.0
RECORDED = Recorded()


def trouble(name: str, now: datetime) -> str | None:
    """How a source fails now: once in each way, three hours each, one source after the other."""
    turn, into = divmod(now - BEGIN, TURN)
    begins = SOURCES.index(name) * (TURN - LENGTH) / len(SOURCES)
    return WAYS[turn % len(WAYS)] if begins <= into < begins + LENGTH else None


@dataclass
class StandIn:
    """A source that fails when it is its turn."""

    name: str
    ttl_s: float
    clock: Callable[[], datetime]
    hanging: list[asyncio.Event] = field(default_factory=list)
    failed: set[str] = field(default_factory=set)
    rates = NO_RATES  # limits are counted in real time, and a week passes here in seconds

    def zones(self) -> tuple[str, ...]:
        return (self.name,)

    async def actual(self, zone: str, start: datetime, end: datetime, now: datetime) -> Series:
        return await self._answer(zone, lambda at: RECORDED.actual("GB", start, end, at), now)

    async def forecast(self, zone: str, now: datetime) -> Series | None:
        return await self._answer(zone, lambda at: RECORDED.forecast("GB", at), now)

    async def _answer(self, zone: str, ask: Any, now: datetime) -> Series:
        way = trouble(self.name, self.clock())
        told = await ask(now)
        series = replace(told, source=self.name, zone_requested=zone, zone_returned=zone)
        return series if way is None else await self._fails(way, series)

    async def _fails(self, way: str, series: Series) -> Series:
        self.failed.add(str(way))
        if way == "hang":
            self.hanging.append(asyncio.Event())
            await self.hanging[-1].wait()
            raise GridFailure(GridFailureKind.UNAVAILABLE, f"{self.name} did not answer in time.")
        if way == "bug":
            raise ZeroDivisionError
        if way in set(GridFailureKind):
            raise GridFailure(GridFailureKind(way), f"{self.name} failed.")
        return self._bad(way, series)

    @staticmethod
    def _bad(way: str, series: Series) -> Series:
        """An answer that is well-formed and wrong."""
        if way == "nothing":
            return replace(series, points=())
        if way == "old":
            day = timedelta(days=1)
            aged = tuple(replace(p, start=p.start - day, end=p.end - day) for p in series.points)
            return replace(series, points=aged, issued_at=series.issued_at and series.issued_at - day)
        figure = 0.0 if way == "zero" else 4999.0
        return replace(series, points=tuple(replace(p, g_per_kwh=figure) for p in series.points))

    async def close(self) -> None:
        for event in self.hanging:
            event.set()


class Grid:
    """The watch on virtual time; a question that hangs is given up at the next look, minutes later."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.due = BEGIN, BEGIN
        self.rungs: set[str] = set()
        self.stand_ins: dict[str, StandIn] = {}
        self.task: asyncio.Task[Any] | None = None
        monkeypatch.setattr(gridwatch, "build_source", self.build)
        clock: Any = SimpleNamespace(now=lambda: self.now)
        self.watch = GridWatch(tuple(GridSettings(name=n) for n in SOURCES), clock)
        settings = [SiteSettings(name=n.replace("_", "-"), zone=n, grid=n) for n in SOURCES]
        no_cluster: Any = None
        self.watch.follow([SiteRuntime(s, s.site(), no_cluster) for s in settings])
        self.loop = asyncio.new_event_loop()

    def build(self, settings: GridSettings) -> StandIn:
        real = next(p for p in entry_points(group=gridwatch.GROUP) if p.name == settings.name).load()
        # some take it from their options; longer ones are cut, so that a source is asked while it fails
        made = StandIn(settings.name, min(getattr(real, "ttl_s", MAX_TTL_S), MAX_TTL_S), lambda: self.now)
        self.stand_ins[settings.name] = made
        return made

    def look(self, now: datetime) -> dict[str, GridForecast]:
        """What a decision at ``now`` rests on; it takes what is in memory and never waits."""
        self.now = now
        self.loop.run_until_complete(self._refresh())
        found = self.watch.forecasts(now, 900.0)
        self.rungs |= {forecast.rung for forecast in found.values()}
        return found

    async def _refresh(self) -> None:
        for stand_in in self.stand_ins.values():
            while stand_in.hanging:
                stand_in.hanging.pop().set()
        if self.now >= self.due and (self.task is None or self.task.done()):
            self.due = self.now + REFRESH
            self.task = asyncio.ensure_future(self.watch.refresh())
        for _ in range(50):
            await asyncio.sleep(0)  # whatever does not wait for the vendor goes on

    def close(self) -> None:
        async def ended() -> None:
            for stand_in in self.stand_ins.values():
                await stand_in.close()
            if self.task is not None:
                await self.task
            await self.watch.close()

        self.loop.run_until_complete(ended())
        self.loop.close()


@pytest.fixture
def grid(monkeypatch: pytest.MonkeyPatch) -> Iterator[Grid]:
    made = Grid(monkeypatch)
    yield made
    made.close()


def arrivals() -> list[JobView]:
    """Two jobs a day at every site: shiftable, interruptible, with a tight deadline, clinical."""
    found = []
    for s, source in enumerate(SOURCES):
        for i in range(14):
            at, kind = BEGIN + timedelta(hours=12 * i, minutes=37 * s), (i + s) % 4
            common: dict[str, Any] = {"now": at, "hours": 1 + (i + s) % 4, "allowed_sites": (source.replace("_", "-"),)}
            if kind == 0:
                view = a_job_view(f"{source}-{i}", patience_h=24, suspendable=True, queue="slots", **common)
            elif kind == 1:
                view = a_job_view(f"{source}-{i}", patience_h=20, **common)
            elif kind == 2:
                view = a_job_view(f"{source}-{i}", finish_in_h=6, has_deadline=True, **common)
            else:
                view = a_job_view(f"{source}-{i}", urgency=Urgency.CLINICAL, queue="clinical", **common)
            found.append(replace(view, submitted_at=at))
    return found


def sail(grid: Grid) -> tuple[list[JobView], dict[str, Course]]:
    jobs = arrivals()
    queues = {
        q.name: q
        for q in (
            a_queue(),
            a_queue("slots", policy="lowest_slots"),
            a_queue("clinical", policy="asap", urgency=Urgency.CLINICAL),
        )
    }
    sites = [a_site(name.replace("_", "-"), zone=name, gpus=2) for name in SOURCES]
    world = World(BEGIN, {}, sites, queues, grid.look, arrivals=list(jobs))
    return jobs, world.run(100_000)


@pytest.mark.slow
def test_inv10_inv11_jobs_flow_and_deadlines_hold_while_each_source_in_turn_fails_in_each_way(grid: Grid) -> None:
    jobs, courses = sail(grid)
    late = [v.job_id for v in jobs if (f := courses[v.job_id].finished_at) is None or f > v.latest_finish_at]
    assert not late
    for view in jobs:
        if view.urgency is Urgency.CLINICAL:
            assert courses[view.job_id].stretches[0][1] == view.submitted_at
            assert courses[view.job_id].suspensions == 0
    for stand_in in grid.stand_ins.values():
        assert stand_in.failed == set(WAYS)
    assert {"fresh_forecast", "cached_forecast"} <= grid.rungs
