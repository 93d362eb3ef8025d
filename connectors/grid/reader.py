"""Reads a grid source politely: cache, single flight, cooldown, bounded staleness; counts what happened.

A question is an operation and a zone; each has its own cache and cooldown. A rate limit holds for the whole source.
Moments are the clock's, which may run in time-lapse or jump back: no wait outlives ``MAX_COOLDOWN_S``.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from lowtide.scheduler.model.errors import GridFailure, GridFailureKind
from lowtide.scheduler.model.series import GridSource, Series

COOLDOWN_S = 30.0
MAX_COOLDOWN_S = 3600.0
STALE_ACTUAL_S = 7200.0
DAY = timedelta(days=1)


_Question = tuple[str, str]


@dataclass(slots=True)
class _Slot:
    """What is known about one question."""

    answer: Series | None = None
    span: timedelta = timedelta(0)
    answered_at: datetime | None = None
    failure: GridFailure | None = None
    not_before: datetime | None = None
    failures: int = 0
    flight: asyncio.Task[Series | None] | None = None


class GridReader:
    """A source behind a cache. ``outcomes`` counts (operation, outcome) for the metrics."""

    def __init__(self, source: GridSource, clock: Callable[[], datetime]) -> None:
        """Take the source and the clock."""
        self.source, self._clock = source, clock
        self._slots: dict[_Question, _Slot] = {}
        self._limit: GridFailure | None = None
        self._limited_until: datetime | None = None
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.up = True

    async def actual(self, zone: str, span: timedelta) -> Series:
        """Actual figures of at least the last ``span``, in whole days so that one answer serves many spans.

        Raises:
            GridFailure: nothing usable, neither fresh nor stale within its bound.

        """
        now = self._clock()
        held = self._slots.setdefault(("actual", zone), _Slot()).span
        span = max(held, timedelta(days=math.ceil(span / DAY)))
        found = await self._ask("actual", zone, span, lambda: self.source.actual(zone, now - span, now, now))
        if found is None:
            raise GridFailure(GridFailureKind.NO_DATA, f"{self.source.name} has no actual figures.")
        return found

    async def forecast(self, zone: str) -> Series | None:
        """The newest forecast; None when the source makes none.

        Raises:
            GridFailure: nothing usable, neither fresh nor one that still covers the time to come.

        """
        now = self._clock()
        return await self._ask("forecast", zone, timedelta(0), lambda: self.source.forecast(zone, now))

    async def _ask(
        self, operation: str, zone: str, span: timedelta, call: Callable[[], Awaitable[Series | None]]
    ) -> Series | None:
        slot = self._slots.setdefault((operation, zone), _Slot())
        now = self._clock()
        if slot.span >= span and self._fresh(slot, now):
            self.outcomes[operation, "cache_hit"] += 1
            return slot.answer
        if slot.flight is None:
            if _waits(self._limited_until, now):
                return self._stale_or_raise(operation, slot, now, self._limit)
            if _waits(slot.not_before, now):
                return self._stale_or_raise(operation, slot, now, slot.failure)
            slot.flight = asyncio.ensure_future(self._fly(operation, slot, span, call))
            slot.flight.add_done_callback(_retrieve)
        try:
            # Shielded: a caller that gives up must not take the answer from the others.
            return await asyncio.shield(slot.flight)
        except GridFailure as failure:
            return self._stale_or_raise(operation, slot, self._clock(), failure)

    def _fresh(self, slot: _Slot, now: datetime) -> bool:
        if slot.answered_at is None or slot.failure is not None:
            return False
        age_s = (now - slot.answered_at).total_seconds()
        return 0 <= age_s < self.source.ttl_s  # a clock that jumped back makes everything old, never fresh for ever

    async def _fly(
        self, operation: str, slot: _Slot, span: timedelta, call: Callable[[], Awaitable[Series | None]]
    ) -> Series | None:
        try:
            answer = await call()
        except GridFailure as failure:
            self._failed(operation, slot, failure)
            raise
        except Exception as error:
            # A source of someone else's with a bug in it must not stop the queue (INV-11).
            message = f"{self.source.name} broke with {type(error).__name__}; this is a bug in that source."
            broken = GridFailure(GridFailureKind.BAD_RESPONSE, message)
            self._failed(operation, slot, broken)
            raise broken from error
        else:
            slot.answer, slot.span, slot.answered_at = answer, span, self._clock()
            slot.failure, slot.not_before, slot.failures = None, None, 0
            self.outcomes[operation, "success"] += 1
            self.up = True
            return answer
        finally:
            slot.flight = None

    def _failed(self, operation: str, slot: _Slot, failure: GridFailure) -> None:
        limited = failure.kind == GridFailureKind.RATE_LIMITED
        self.outcomes[operation, "rate_limited" if limited else "error"] += 1
        self.up = False
        slot.failure = failure
        wait_s = min(MAX_COOLDOWN_S, COOLDOWN_S * 2**slot.failures)
        slot.failures = min(slot.failures + 1, 10)
        now = self._clock()
        slot.not_before = now + timedelta(seconds=MAX_COOLDOWN_S if failure.kind.is_permanent else wait_s)
        if failure.retry_at is not None:
            slot.not_before = max(slot.not_before, failure.retry_at)
        if limited:
            self._limit, self._limited_until = failure, slot.not_before

    def _stale_or_raise(self, operation: str, slot: _Slot, now: datetime, failure: GridFailure | None) -> Series | None:
        answer = slot.answer
        if answer is not None and answer.points:
            last = answer.points[-1].end
            bound_s = min(STALE_ACTUAL_S, 3 * answer.step_s) if operation == "actual" else 0.0
            if now < last + timedelta(seconds=bound_s):
                self.outcomes[operation, "stale"] += 1
                return answer
        if failure is None:
            raise GridFailure(GridFailureKind.UNAVAILABLE, f"{self.source.name} gave nothing.")
        # A new one each time: the same object raised again and again keeps the frames of every raise alive.
        raise GridFailure(failure.kind, failure.message, retry_at=failure.retry_at, fix=failure.fix)

    async def close(self) -> None:
        """Close the source."""
        await self.source.close()


def _waits(until: datetime | None, now: datetime) -> bool:
    """Whether a wait is on; one further away than the longest is left from before the clock jumped back."""
    return until is not None and timedelta(0) < until - now <= timedelta(seconds=MAX_COOLDOWN_S)


def _retrieve(flight: asyncio.Task[Series | None]) -> None:
    """Take note of the failure also when every caller has given up; asyncio would complain otherwise."""
    if not flight.cancelled():
        flight.exception()
