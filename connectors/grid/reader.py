"""Reads a grid source politely: cache, single flight, cooldown, bounded staleness; counts what happened."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from lowtide.scheduler.model.errors import GridFailure, GridFailureKind
from lowtide.scheduler.model.series import GridSource, Series

COOLDOWN_S = 30.0
MAX_COOLDOWN_S = 3600.0
STALE_ACTUAL_S = 7200.0


@dataclass(slots=True)
class _Slot:
    """What is known about one question."""

    answer: Series | None = None
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
        self._slots: dict[tuple[str, str], _Slot] = {}
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.up = True

    async def actual(self, zone: str, span: timedelta) -> Series:
        """The last ``span`` of actual figures.

        Raises:
            GridFailure: nothing usable, neither fresh nor stale within its bound.

        """
        now = self._clock()
        found = await self._ask("actual", zone, lambda: self.source.actual(zone, now - span, now, now))
        if found is None:
            raise GridFailure(GridFailureKind.NO_DATA, f"{self.source.name} has no actual figures.")
        return found

    async def forecast(self, zone: str) -> Series | None:
        """The newest forecast; None when the source makes none."""
        now = self._clock()
        return await self._ask("forecast", zone, lambda: self.source.forecast(zone, now))

    async def _ask(self, operation: str, zone: str, call: Callable[[], Awaitable[Series | None]]) -> Series | None:
        slot = self._slots.setdefault((operation, zone), _Slot())
        now = self._clock()
        if self._fresh(slot, now):
            self.outcomes[operation, "cache_hit"] += 1
            return slot.answer
        if slot.flight is None and slot.not_before is not None and now < slot.not_before:
            return self._stale_or_raise(operation, slot, now)
        if slot.flight is None:
            slot.flight = asyncio.ensure_future(self._fly(operation, slot, call))
        try:
            # Shielded: a caller that gives up must not take the answer from the others.
            return await asyncio.shield(slot.flight)
        except GridFailure:
            return self._stale_or_raise(operation, slot, self._clock())

    def _fresh(self, slot: _Slot, now: datetime) -> bool:
        if slot.answered_at is None or slot.failure is not None:
            return False
        age_s = (now - slot.answered_at).total_seconds()
        return 0 <= age_s < self.source.ttl_s  # a clock that jumped back makes everything old, never fresh for ever

    async def _fly(self, operation: str, slot: _Slot, call: Callable[[], Awaitable[Series | None]]) -> Series | None:
        try:
            answer = await call()
        except GridFailure as failure:
            self._failed(operation, slot, failure)
            raise
        else:
            slot.answer, slot.answered_at = answer, self._clock()
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

    def _stale_or_raise(self, operation: str, slot: _Slot, now: datetime) -> Series | None:
        answer = slot.answer
        if answer is not None and answer.points:
            last = answer.points[-1].end
            bound_s = min(STALE_ACTUAL_S, 3 * answer.step_s) if operation == "actual" else 0.0
            if now < last + timedelta(seconds=bound_s):
                self.outcomes[operation, "stale"] += 1
                return answer
        if slot.failure is None:
            raise GridFailure(GridFailureKind.UNAVAILABLE, f"{self.source.name} gave nothing.")
        raise slot.failure

    async def close(self) -> None:
        """Close the source."""
        await self.source.close()
