"""Keeps the issues of every zone in use and learns from them in the background; decisions only read what is there.

Learning takes about a second of a core: it runs on a thread of its own, at most once an hour and zone (INV-11).
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from lowtide.scheduler.forecast.learn import UNLEARNED, Learned, learn
from lowtide.scheduler.forecast.record import REACH, Record, record
from lowtide.scheduler.model.series import Series, SeriesKey

LEARN_EVERY = timedelta(hours=1)
KEEP_EVERY = timedelta(minutes=30)
"""Sources that issue every five minutes tell nothing new each time; two an hour are calibration enough."""


@dataclass(slots=True)
class ZoneForesight:
    """What is known of one zone's forecasts: its issues as first seen, their record and what it taught."""

    key: SeriesKey | None = None
    issues: list[Series] = field(default_factory=list)
    past: Record | None = None
    learned: Learned = UNLEARNED
    learned_at: datetime | None = None
    actual_key: SeriesKey | None = None


class Foresight:
    """One state per zone, changed on the loop's thread alone."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        """Take the clock."""
        self._now = now
        self.zones: dict[str, ZoneForesight] = {}

    def of(self, zone: str) -> ZoneForesight:
        """The state of a zone; empty at first."""
        return self.zones.setdefault(zone, ZoneForesight())

    def remember(self, zone: str, key: SeriesKey, issues: list[Series]) -> None:
        """Begin anew with what the store holds of a key: at the start, and when a zone's figures become others."""
        self.zones[zone] = ZoneForesight(key, issues)

    def saw(self, zone: str, forecast: Series | None) -> Series | None:
        """Take note of the forecast in use; returns it when it is a new issue that is worth keeping."""
        if forecast is None or not forecast.points:
            return None
        if self.of(zone).key != forecast.key:
            self.remember(zone, forecast.key, [])
        state, now = self.of(zone), self._now()
        if state.issues and _same(state.issues[-1], forecast):
            return None
        recent = len(state.issues) > 1 and forecast.fetched_at - state.issues[-2].fetched_at < KEEP_EVERY
        if recent:
            state.issues.pop()
        state.issues = [i for i in state.issues if i.fetched_at > now - REACH] + [forecast]
        return None if recent else forecast

    async def lay(self, zone: str, actual: Series | None) -> None:
        """Lay the record anew, so that decisions know the newest error; some milliseconds, off the loop's thread."""
        state = self.of(zone)
        if actual is None:
            state.past = None
            return
        if state.actual_key not in {None, actual.key}:  # what other figures taught tells nothing of these
            state.learned, state.learned_at = UNLEARNED, None
        state.actual_key = actual.key
        issues = [issue for issue in state.issues if issue.key == actual.key]
        step_s = issues[-1].step_s if issues else actual.step_s
        state.past = await asyncio.to_thread(record, issues, actual, self._now(), step_s)

    async def learn(self, zone: str) -> None:
        """Learn from the record, where an hour has passed since."""
        state, now = self.of(zone), self._now()
        due = state.learned_at is None or now - state.learned_at >= LEARN_EVERY
        if due and state.past is not None:
            state.learned_at = now
            state.learned = await asyncio.to_thread(learn, state.past, state.past.slot_of(now))


def _same(known: Series, forecast: Series) -> bool:
    """Whether this issue is known already: by its moment, or where none is told by its figures."""
    if known.issued_at != forecast.issued_at:
        return False
    if forecast.issued_at is not None:
        return True
    last = {point.start: point.g_per_kwh for point in known.points}
    return all(last.get(point.start) == point.g_per_kwh for point in forecast.points)
