"""The shipped days of Great Britain as they became known, for tests of forecasts."""

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache

from lowtide.connectors.grid.recorded import Recorded
from lowtide.scheduler.forecast.record import Record, record
from lowtide.scheduler.model.series import Series

SLOT = timedelta(minutes=30)


@dataclass(frozen=True)
class RecordedDays:
    """All issues in the order in which they came, and all actuals."""

    issues: tuple[Series, ...]
    actual: Series

    def record_at(self, now: datetime) -> Record:
        """What was known at a moment."""
        known = replace(self.actual, points=tuple(p for p in self.actual.points if p.end <= now))
        return record((i for i in self.issues if i.fetched_at <= now), known, now, SLOT.total_seconds())


@lru_cache(maxsize=1)
def recorded_days() -> RecordedDays:
    """Read once; the last issue reaches to four hours before the end."""
    source = Recorded()

    async def gather() -> RecordedDays:
        found: dict[datetime, Series] = {}
        now = source.first + 8 * SLOT
        while now < source.last - 8 * SLOT:
            issue = await source.forecast("GB", now)
            assert issue is not None
            assert issue.issued_at is not None
            found.setdefault(issue.issued_at, replace(issue, fetched_at=issue.issued_at))
            now += SLOT
        return RecordedDays(tuple(found.values()), await source.actual("GB", source.first, source.last, source.last))

    return asyncio.run(gather())
