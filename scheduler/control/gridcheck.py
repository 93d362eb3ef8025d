"""Asks every configured grid source one real question, and says of each zone what it goes by and what to mend."""

import asyncio
from dataclasses import dataclass
from datetime import datetime

from lowtide.connectors.grid.reader import GridReader
from lowtide.scheduler.control.gridwatch import GridWatch
from lowtide.scheduler.control.probe import PAST, covered, meaning, patience
from lowtide.scheduler.model.errors import GridFailure, GridFailureKind
from lowtide.scheduler.model.plan import GridForecast
from lowtide.scheduler.model.series import PointKind, Series
from lowtide.scheduler.report.shape import Json

K = GridFailureKind
FIXES = {
    K.AUTH: "Put a working key where the source's options say; it is read anew at each request.",
    K.NOT_ENTITLED: "Take a zone that the key opens (lowtide zones), or another plan.",
    K.UNKNOWN_ZONE: "Set the site's zone to one that the source lists: lowtide zones.",
    K.RATE_LIMITED: "Nothing: it is asked again when its limit allows.",
    K.NO_DATA: "Wait, if the vendor is late; else take another zone: lowtide zones.",
    K.BAD_RESPONSE: "Check base_url, if it is set; if it is right, the vendor has changed its answers: report it.",
    K.UNAVAILABLE: "Check the network, and base_url if it is set; it is asked again by itself.",
    K.GONE: "The vendor has given this address up: set base_url to the new one, or take another source.",
}


@dataclass(frozen=True, slots=True)
class _Found:
    """What is known of a source and a zone; ``is_asked`` where it was asked just now."""

    source: str
    zone: str | None
    series: Series | None
    failure: GridFailure | None
    is_asked: bool = False

    @property
    def outcome(self) -> str:
        if self.failure is not None:
            return str(self.failure.kind)
        return "answered" if self.is_asked else "cached" if self.series else "not_asked"

    @property
    def status(self) -> str:
        if self.failure is None:
            return "ok"
        return "warn" if self.failure.kind == K.RATE_LIMITED else "fail"


async def grid_checks(grid: GridWatch, now: datetime, slot_s: float) -> list[Json]:
    """A row for each source and zone in use, and for each source that is not in use; all are asked at once.

    ``slot_s`` is that of the decisions, so that the rung told is the one that they rest on.
    """
    found = await asyncio.gather(*(_source(name, reader, grid, now) for name, reader in grid.readers.items()))
    rungs = grid.forecasts(now, slot_s)
    return [_row(one, grid, rungs, now) for rows in found for one in rows]


async def _source(name: str, reader: GridReader, grid: GridWatch, now: datetime) -> list[_Found]:
    """One zone of the source is asked about; of the others in use it is told what the daemon knows already."""
    used = [state.zone for state in grid.zones.values() if state.source == name]
    asked = await _asked(name, reader, used[0] if used else None, now)
    return [asked, *(_Found(name, other, *reader.known(other)) for other in used[1:])]


async def _asked(name: str, reader: GridReader, zone: str | None, now: datetime) -> _Found:
    try:
        async with patience(name):
            zone = zone or next((one.zone for one in await covered(reader.source, now)), None)
            series = await reader.try_now(zone, PAST) if zone else None
    except GridFailure as failure:
        return _Found(name, zone, reader.known(zone)[0] if zone else None, failure)
    return _Found(name, zone, series, None, is_asked=True)


def _row(found: _Found, grid: GridWatch, rungs: dict[str, GridForecast], now: datetime) -> Json:
    state, series = grid.zones.get(found.zone or ""), found.series
    is_used = state is not None and state.source == found.source
    return {
        "source": found.source,
        "zone": found.zone,
        "in_use": is_used,
        "status": found.status,
        "outcome": found.outcome,
        "age_s": None if series is None else age_s(series, now),
        **meaning(series),
        "licence": None if series is None else series.attribution,
        "rung": rungs[found.zone or ""].rung if is_used else None,
        "detail": found.failure.message if found.failure else "",
        "fix": (found.failure.fix or FIXES[found.failure.kind]) if found.failure else "",
    }


def age_s(series: Series, now: datetime) -> float:
    """Seconds since a forecast was issued (or fetched, where that is not told), or since the last figure ended."""
    last = series.points[-1] if series.points else None
    is_past = last is not None and last.kind != PointKind.FORECAST
    since = last.end if last is not None and is_past else series.issued_at or series.fetched_at
    return max(0.0, (now - since).total_seconds())
