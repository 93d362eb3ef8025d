"""Asks grid sources what they answer for, and what their figures mean."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import structlog

from lowtide.connectors.grid.reader import GridReader
from lowtide.scheduler.model.errors import GridFailure, GridFailureKind
from lowtide.scheduler.model.series import Coverage, GridSource, ProbingSource, Series
from lowtide.scheduler.report.shape import Json

log = structlog.get_logger()
WAIT, PERMANENT_WAIT = timedelta(minutes=5), timedelta(hours=1)
PATIENCE_S = 20.0
"""A source that hangs is told of before the command that asks gives up."""
PAST = timedelta(days=1)
"""As much of the past is asked for where people want to know whether a source answers."""


@asynccontextmanager
async def patience(name: str) -> AsyncIterator[None]:
    """The time that a source may take while people wait; raises GridFailure (unavailable) when it is over."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield
    except TimeoutError:
        message = f"{name} did not answer within {PATIENCE_S:g} s."
        raise GridFailure(GridFailureKind.UNAVAILABLE, message) from None


def meaning(series: Series | None) -> Json:
    """What the figures are; null until some have come."""
    names = ("signal", "basis", "accounting")
    return {name: None if series is None else str(getattr(series, name)) for name in names}


def may_know(source: GridSource, zone: str) -> bool:
    """Whether a source knows a zone, or has not said yet: until then it keeps its place before later ones."""
    known = source.zones()
    return zone in known or (not known and isinstance(source, ProbingSource))


async def covered(source: GridSource, now: datetime) -> tuple[Coverage, ...]:
    """The zones of a source, asked anew where only the vendor knows them; raises GridFailure."""
    if isinstance(source, ProbingSource):
        return await source.probe(now)
    return tuple(Coverage(zone) for zone in source.zones())


class Probes:
    """Asks each vendor once, and again after a wait, or with another key, where it did not answer."""

    def __init__(self) -> None:
        """Nobody was asked yet."""
        self._refused: dict[str, tuple[datetime, str]] = {}

    async def run(self, readers: Iterable[GridReader], now: datetime) -> bool:
        """Ask those that have not said their zones; returns whether one has now."""
        silent = [r for r in readers if not r.source.zones() and self._is_due(r, now)]
        await asyncio.gather(*(self._ask(r.source, r.keys(), now) for r in silent))
        return any(reader.source.zones() for reader in silent)

    def _is_due(self, reader: GridReader, now: datetime) -> bool:
        until, keys = self._refused.get(reader.source.name, (now, ""))
        return until <= now or reader.keys() != keys

    async def _ask(self, source: GridSource, keys: str, now: datetime) -> None:
        if not isinstance(source, ProbingSource):
            return
        try:
            await source.probe(now)
        except GridFailure as failure:
            self._refused[source.name] = now + (PERMANENT_WAIT if failure.kind.is_permanent else WAIT), keys
            log.info("grid_probe_failed", source=source.name, why=failure.message)
