"""Keeps what is known of the grid ready for decisions, which never wait for the network (INV-11)."""

import asyncio
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import structlog

from lowtide.connectors.grid.reader import GridReader
from lowtide.connectors.grid.shelf import Shelf, fingerprint_of
from lowtide.connectors.grid.static import Static
from lowtide.scheduler.control.clock import Clock
from lowtide.scheduler.control.foresight import Foresight
from lowtide.scheduler.control.probe import Probes, may_know
from lowtide.scheduler.control.sites import SiteRuntime
from lowtide.scheduler.forecast.ladder import GridKnowledge, forecast_for
from lowtide.scheduler.model.errors import BadInput, GridFailure
from lowtide.scheduler.model.plan import GridForecast
from lowtide.scheduler.model.series import GridSource, Series
from lowtide.scheduler.model.units import floor_to
from lowtide.scheduler.settings import GridSettings

log = structlog.get_logger()
GROUP = "lowtide.grid_sources"
HISTORY = timedelta(days=8)
KEPT = timedelta(days=16)
"""Actuals stay in memory for as long as issues are compared with them."""
NAME = re.compile(r"[A-Za-z0-9_][\w.-]{0,63}", re.ASCII)
"""It names a folder, and stands before the slash in the source of a series."""
LOCAL = frozenset({"file", "recorded", "static"})
"""Sources that are on this machine already: what they say needs no second copy."""


def build_source(settings: GridSettings) -> GridSource:
    """The source that the settings name, found by entry point.

    Raises:
        BadInput: no such source is installed, or it does not take the options.

    """
    points = {point.name: point for point in entry_points(group=GROUP)}
    if settings.name not in points:
        message = f"there is no grid source {settings.name!r}; known: {', '.join(sorted(points))}."
        raise BadInput(message, fix="Correct the name under 'grids:'.")
    try:
        source: GridSource = points[settings.name].load()(**settings.options)
    except (TypeError, ValueError) as error:
        message = f"the grid source {settings.name!r} does not take its options: {error}."
        raise BadInput(message, fix="Correct them under 'grids:'.") from error
    return source


@dataclass(slots=True)
class ZoneState:
    """What is known about one zone now."""

    zone: str
    source: str = ""
    actual: Series | None = None
    forecast: Series | None = None
    static: Series | None = None
    trouble: str = ""
    is_recalled: bool = False
    """Whether the store was looked through for its past already."""


@dataclass(frozen=True, slots=True)
class _Basis:
    """What a forecast was made of."""

    known: GridKnowledge
    slot: datetime
    slot_s: float

    def is_that_of(self, other: "_Basis") -> bool:
        """Whether the other one is the very same: series are compared by identity, there are thousands of points."""
        mine, theirs = self.known, other.known
        same = all(getattr(mine, n) is getattr(theirs, n) for n in GridKnowledge.__slots__ if n != "trouble")
        return same and (mine.trouble, self.slot, self.slot_s) == (theirs.trouble, other.slot, other.slot_s)


class GridWatch:
    """Refreshes every zone in use; answers from memory."""

    def __init__(self, grids: tuple[GridSettings, ...], clock: Clock, kept: Path | None = None) -> None:
        """Build the readers; ``kept`` is the folder in which answers outlive a restart.

        Raises:
            BadInput: a source cannot be built, or two go by one name.

        """
        self._clock = clock
        self.readers: dict[str, GridReader] = {}
        for settings in grids:
            source = build_source(settings)
            if not NAME.fullmatch(source.name):
                message = f"a grid source cannot go by the name {source.name!r}."
                raise BadInput(message, fix="Use letters, digits, '.', '-' and '_'.")
            if source.name in self.readers:
                message = f"two grid sources go by the name {source.name!r}."
                raise BadInput(message, fix="Give one of them a name of its own: the option 'name'.")
            keys = partial(fingerprint_of, {"source": settings.name, **settings.options})
            shelf = None
            if kept is not None and settings.name not in LOCAL:
                shelf = Shelf(kept / source.name, keys())
            self.readers[source.name] = GridReader(source, clock.now, shelf=shelf, keys=keys)
        self._static = GridReader(Static(), clock.now)
        self.zones: dict[str, ZoneState] = {}
        self._sites: list[SiteRuntime] = []
        self._climatology: frozenset[str] = frozenset()
        self._probes = Probes()
        self.foresight = Foresight(clock.now)
        self._told: dict[str, tuple[_Basis, GridForecast]] = {}

    def follow(self, sites: list[SiteRuntime]) -> None:
        """Choose a source for every site's zone: the one it names, else the first that may know the zone."""
        self._sites, self._climatology = sites, _opted_in(sites)
        for runtime in sites:
            zone = runtime.site.zone
            if zone:
                source = self._choose(zone, runtime.settings.grid)
                if zone not in self.zones or self.zones[zone].source != source:
                    self.zones[zone] = ZoneState(zone, source)

    def _choose(self, zone: str, wanted: str) -> str:
        if wanted:
            if wanted not in self.readers:
                message = f"the grid source {wanted!r} of zone {zone} is not among: {', '.join(self.readers)}."
                raise BadInput(message, fix="Add it under 'grids:' or correct the site.")
            return wanted
        # The recording tells of March 2023: it steers only where it is asked for by name.
        knowing = [n for n, reader in self.readers.items() if n != "recorded" and may_know(reader.source, zone)]
        return min(knowing, key=lambda name: not _steers(self.readers[name].source), default="")

    async def refresh(self) -> list[Series]:
        """Ask every zone's source; returns the actual series that came in."""
        chosen = {self.zones[s.site.zone].source for s in self._sites if s.site.zone and not s.settings.grid}
        if await self._probes.run([self.readers[name] for name in chosen if name], self._clock.now()):
            self.follow(self._sites)
        found = await asyncio.gather(*(self._refresh(state) for state in self.zones.values()))
        return [series for series in found if series is not None]

    async def _refresh(self, state: ZoneState) -> Series | None:
        state.static = await self._quietly(self._static, state, "static")
        reader = self.readers.get(state.source)
        if reader is None:
            state.trouble = "no configured source knows this zone"
            return None
        state.trouble = ""
        state.forecast = await self._quietly(reader, state, "forecast")
        fresh = await self._quietly(reader, state, "actual")
        if fresh is not None:
            state.actual = _joined(state.actual, fresh, self._clock.now() - KEPT)
        return fresh

    async def _quietly(self, reader: GridReader, state: ZoneState, operation: str) -> Series | None:
        """One question whose failure is kept as the zone's trouble instead of raised into the loop."""
        try:
            if operation == "forecast":
                return await reader.forecast(state.zone)
            return await reader.actual(state.zone, HISTORY)
        except GridFailure as failure:
            if operation != "static":
                state.trouble = failure.message
                log.info("grid_trouble", zone=state.zone, source=state.source, why=failure.message)
            return None

    async def price(self, now: datetime, slot_s: float) -> dict[str, GridForecast]:
        """The prices for one decision; what they are made of is taken here, and they are made beside the loop."""
        return await asyncio.to_thread(self._priced, self._known(), now, slot_s)

    def forecasts(self, now: datetime, slot_s: float) -> dict[str, GridForecast]:
        """Prices by slot from the highest rung of the ladder per zone; made anew per slot and with new knowledge."""
        return self._priced(self._known(), now, slot_s)

    def _known(self) -> list[GridKnowledge]:
        return [self._knowledge(state) for state in self.zones.values()]

    def _priced(self, zones: list[GridKnowledge], now: datetime, slot_s: float) -> dict[str, GridForecast]:
        return {known.zone: self._price_of(known, now, slot_s) for known in zones}

    def _price_of(self, known: GridKnowledge, now: datetime, slot_s: float) -> GridForecast:
        basis = _Basis(known, floor_to(now, timedelta(seconds=slot_s)), slot_s)
        kept = self._told.get(known.zone)
        if kept is None or not kept[0].is_that_of(basis):
            kept = self._told[known.zone] = (basis, forecast_for(known, now, slot_s))
        return kept[1]

    def _knowledge(self, state: ZoneState) -> GridKnowledge:
        reader = self.readers.get(state.source)
        history = state.actual if reader is None or _steers(reader.source) else None
        seen = self.foresight.of(state.zone)
        past = seen.past if state.forecast is not None and seen.past is not None and seen.past.issues else None
        return GridKnowledge(
            state.zone,
            state.forecast,
            history,
            state.static,
            state.trouble,
            past,
            learned=seen.learned,
            climatology=state.zone in self._climatology,
        )

    def forgotten(self) -> dict[str, Series]:
        """What was last answered about the past of zones of which none is known now; each zone is told once."""
        found: dict[str, Series] = {}
        for state in self.zones.values():
            reader = self.readers.get(state.source)
            if state.actual is None and reader is not None and not state.is_recalled:
                state.is_recalled = True
                answer = reader.past(state.zone)
                found |= {} if answer is None else {state.zone: answer}
        return found

    def actuals(self) -> dict[str, Series]:
        """Recorded intensity by zone; a yearly average where the zone has no other source."""
        known = {zone: s.actual for zone, s in self.zones.items() if s.actual is not None}
        flat = {z: s.static for z, s in self.zones.items() if s.static is not None and self._is_flat(s)}
        return {**known, **_spread(flat, self._clock.now())}

    def _is_flat(self, state: ZoneState) -> bool:
        """Whether nothing but the yearly average will ever come for the zone: jobs there are priced with it at once."""
        reader = self.readers.get(state.source)
        return reader is None or isinstance(reader.source, Static)

    def estimates(self) -> dict[str, Series]:
        """What stands in where no actual figure ever came: the yearly average."""
        flat = {zone: s.static for zone, s in self.zones.items() if s.static is not None}
        return _spread(flat, self._clock.now())

    def outcomes(self) -> dict[str, Any]:
        """Readers by source name, for the metrics."""
        return dict(self.readers)

    async def close(self) -> None:
        """Close all sources."""
        for reader in (*self.readers.values(), self._static):
            await reader.close()


def _opted_in(sites: list[SiteRuntime]) -> frozenset[str]:
    """Zones in which every site asks for a climatology: they share one forecast, and none gets it unasked."""
    zones = {runtime.site.zone for runtime in sites}
    return frozenset(zones - {runtime.site.zone for runtime in sites if not runtime.settings.climatology})


def _steers(source: GridSource) -> bool:
    """Whether figures of the source may be foretold from: not where they come days late, for the accounts alone."""
    return getattr(source, "steers", True)


def _joined(old: Series | None, new: Series, keep_from: datetime) -> Series:
    """New figures after old ones; what was seen first stays, as in the store."""
    if old is None or not old.points or old.key != new.key:
        return new
    last = old.points[-1].end
    added = tuple(p for p in new.points if p.start >= last)
    points = tuple(p for p in (*old.points, *added) if p.end > keep_from)
    return Series(**{**{n: getattr(new, n) for n in Series.__slots__}, "points": points})


def _spread(flat: dict[str, Series], now: datetime) -> dict[str, Series]:
    """A yearly average holds for any time: stretched over the ledger's reach."""
    wide: dict[str, Series] = {}
    for zone, series in flat.items():
        point = series.points[0]
        long = type(point)(now - 20 * HISTORY, now + HISTORY, point.g_per_kwh, point.kind)
        wide[zone] = Series(**{**{n: getattr(series, n) for n in Series.__slots__}, "points": (long,)})
    return wide
