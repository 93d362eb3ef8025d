"""Asks the vendors that alone know their zones what they answer for."""

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta

import structlog

from lowtide.scheduler.model.errors import GridFailure
from lowtide.scheduler.model.series import Coverage, GridSource, ProbingSource

log = structlog.get_logger()
WAIT, PERMANENT_WAIT = timedelta(minutes=5), timedelta(hours=1)


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
    """Asks each vendor once, and again after a wait where it did not answer."""

    def __init__(self) -> None:
        """Nobody was asked yet."""
        self._not_before: dict[str, datetime] = {}

    async def run(self, sources: Iterable[GridSource], now: datetime) -> bool:
        """Ask those that have not said their zones; returns whether one has now."""
        silent = [s for s in sources if isinstance(s, ProbingSource) and not s.zones() and self._is_due(s.name, now)]
        await asyncio.gather(*(self._ask(source, now) for source in silent))
        return any(source.zones() for source in silent)

    def _is_due(self, name: str, now: datetime) -> bool:
        wait = self._not_before.get(name, now) - now
        return wait <= timedelta(0) or wait > PERMANENT_WAIT  # left from before the clock jumped back

    async def _ask(self, source: ProbingSource, now: datetime) -> None:
        try:
            await source.probe(now)
        except GridFailure as failure:
            self._not_before[source.name] = now + (PERMANENT_WAIT if failure.kind.is_permanent else WAIT)
            log.info("grid_probe_failed", source=source.name, why=failure.message)
