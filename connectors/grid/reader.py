"""Reads a grid source politely: cache, single flight, the vendor's limits, cooldown, bounded staleness; counts it all.

A question is an operation and a zone; each has its own cache and cooldown, kept across restarts where there is a
shelf. A rate limit and a refused key hold for the whole source. Moments are the clock's, which may run in time-lapse
or jump back: no wait outlives ``MAX_COOLDOWN_S``.
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta

from lowtide.connectors.grid.pace import Pace
from lowtide.connectors.grid.shelf import MAX_FAILURES, Memory, Question, Shelf
from lowtide.scheduler.model.errors import GridFailure, GridFailureKind
from lowtide.scheduler.model.series import GridSource, Series

COOLDOWN_S = 30.0
MAX_COOLDOWN_S = 3600.0
STALE_ACTUAL_S = 7200.0
DAY = timedelta(days=1)
OF_THE_SOURCE = (GridFailureKind.RATE_LIMITED, GridFailureKind.AUTH)
"""What one question tells about all others: they would go with the same key from the same address."""

Call = Callable[[], Awaitable[Series | None]]


class GridReader:
    """A source behind a cache. ``outcomes`` counts (operation, outcome) for the metrics."""

    def __init__(
        self,
        source: GridSource,
        clock: Callable[[], datetime],
        *,
        shelf: Shelf | None = None,
        ticks: Callable[[], float] = time.monotonic,
        keys: Callable[[], str] = str,
    ) -> None:
        """Take the source, the clock and what stands around them.

        Args:
            source: whom to ask.
            clock: the moment, aware UTC.
            shelf: where answers are kept across restarts.
            ticks: the real seconds in which a vendor counts.
            keys: a text that changes when a key is replaced; a vendor's lasting refusals hold for the keys of then.

        """
        self.source, self.keys, self._clock, self._shelf = source, keys, clock, shelf
        self._keys_then = keys()
        self._pace = Pace(source.rates, ticks)
        self._known: dict[Question, Memory] = shelf.load(source.name) if shelf else {}
        self._flights: dict[Question, asyncio.Task[Series | None]] = {}
        self._hold = Memory()
        for memory in self._known.values():
            self._hold_all(memory)
        self._unwritten: dict[Question, Memory] = {}
        self._writing: asyncio.Task[None] | None = None
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.up = True

    async def actual(self, zone: str, span: timedelta) -> Series:
        """Actual figures of at least the last ``span``, in whole days so that one answer serves many spans.

        Raises:
            GridFailure: nothing usable, neither fresh nor stale within its bound.

        """
        span = self._whole(zone, span)
        return self._some(await self._ask(("actual", zone), span, self._past(zone, span)))

    async def forecast(self, zone: str) -> Series | None:
        """The newest forecast; None when the source makes none.

        Raises:
            GridFailure: nothing usable, neither fresh nor one that still covers the time to come.

        """
        return await self._ask(("forecast", zone), timedelta(0), self._ahead(zone))

    async def try_now(self, zone: str, span: timedelta) -> Series:
        """One question now, whatever is remembered: for the forecast, or for the past where there is none.

        The vendor's limits and its word when to come back are kept.

        Raises:
            GridFailure: what came of it.

        """
        held = self._hold.failure
        if held and held.kind == GridFailureKind.RATE_LIMITED and _waits(self._hold.not_before, self._clock()):
            raise _again(held)
        found = await asyncio.shield(self._flight(("forecast", zone), timedelta(0), self._ahead(zone)))
        if found is None:
            span = self._whole(zone, span)
            found = await asyncio.shield(self._flight(("actual", zone), span, self._past(zone, span)))
        return self._some(found)

    def known(self, zone: str) -> tuple[Series | None, GridFailure | None]:
        """The newest answer about a zone, the forecast before the past, and the failure that came after it."""
        ahead, past = self._memory(("forecast", zone)), self._memory(("actual", zone))
        return ahead.answer or past.answer, ahead.failure or past.failure

    def past(self, zone: str) -> Series | None:
        """The newest answer about the past, however old."""
        return self._memory(("actual", zone)).answer

    def _whole(self, zone: str, span: timedelta) -> timedelta:
        """Whole days, and no fewer than were ever asked for."""
        return max(self._memory(("actual", zone)).span, timedelta(days=math.ceil(span / DAY)))

    def _past(self, zone: str, span: timedelta) -> Call:
        now = self._clock()
        return lambda: self.source.actual(zone, now - span, now, now)

    def _ahead(self, zone: str) -> Call:
        now = self._clock()
        return lambda: self.source.forecast(zone, now)

    def _some(self, found: Series | None) -> Series:
        if found is None:
            raise GridFailure(GridFailureKind.NO_DATA, f"{self.source.name} has no actual figures.")
        return found

    def _memory(self, question: Question) -> Memory:
        return self._known.get(question, Memory())

    async def _ask(self, question: Question, span: timedelta, call: Call) -> Series | None:
        memory, now = self._memory(question), self._clock()
        if memory.span >= span and self._fresh(memory, now):
            self.outcomes[question[0], "cache_hit"] += 1
            return memory.answer
        if question not in self._flights:
            refusal = self._may_not(question, now)
            if refusal is not None:
                return self._stale_or_raise(question, now, refusal)
        try:
            # Shielded: a caller that gives up must not take the answer from the others.
            return await asyncio.shield(self._flight(question, span, call))
        except GridFailure as failure:
            return self._stale_or_raise(question, self._clock(), failure)

    def _fresh(self, memory: Memory, now: datetime) -> bool:
        if memory.answered_at is None or memory.failure is not None:
            return False
        age_s = (now - memory.answered_at).total_seconds()
        return 0 <= age_s < self.source.ttl_s  # a clock that jumped back makes everything old, never fresh for ever

    def _may_not(self, question: Question, now: datetime) -> GridFailure | None:
        """Why the source is not asked now, if so."""
        waiting = [memory for memory in (self._hold, self._memory(question)) if _waits(memory.not_before, now)]
        if not waiting or (_is_lasting(waiting[0]) and self._has_new_keys()):
            return None
        return waiting[0].failure or GridFailure(GridFailureKind.UNAVAILABLE, f"{self.source.name} gave nothing.")

    def _has_new_keys(self) -> bool:
        """Whether a key was replaced since; then all lasting refusals are forgotten: the answer may be another."""
        found = self.keys()
        if found == self._keys_then:
            return False
        self._keys_then = found
        self._hold = Memory() if _is_lasting(self._hold) else self._hold
        self._known = {q: replace(m, not_before=None) if _is_lasting(m) else m for q, m in self._known.items()}
        return True

    def _flight(self, question: Question, span: timedelta, call: Call) -> asyncio.Task[Series | None]:
        if question not in self._flights:
            flight = asyncio.ensure_future(self._fly(question, span, call))
            flight.add_done_callback(_retrieve)
            self._flights[question] = flight
        return self._flights[question]

    async def _fly(self, question: Question, span: timedelta, call: Call) -> Series | None:
        try:
            await self._take_place(question)
            answer = await self._called(question, call)
        finally:
            del self._flights[question]
        self._keep(question, Memory(answer=answer, span=span, answered_at=self._clock()))
        self.outcomes[question[0], "success"] += 1
        self.up = True
        return answer

    async def _take_place(self, question: Question) -> None:
        """Wait a moment for the vendor's limit, or give up for now; that is no failure of the vendor.

        Raises:
            GridFailure: (rate_limited) the wait would be long, or the source said no meanwhile.

        """
        operation, zone = question
        place = self._pace.place(operation, zone)
        if not place.granted:
            self.outcomes[operation, "held_back"] += 1
            rate = self.source.rates[operation]
            message = f"{self.source.name} allows {rate.calls} request(s) in {rate.per_s:g} s; {zone} has to wait."
            retry_at = self._clock() + timedelta(seconds=place.wait_s)
            raise GridFailure(GridFailureKind.RATE_LIMITED, message, retry_at=retry_at)
        if place.wait_s > 0:
            await asyncio.sleep(place.wait_s)
            if self._hold.failure and _waits(self._hold.not_before, self._clock()):
                raise _again(self._hold.failure)

    async def _called(self, question: Question, call: Call) -> Series | None:
        try:
            return self._told(await call())
        except GridFailure as failure:
            self._failed(question, failure)
            raise
        except Exception as error:
            # A source of someone else's with a bug in it must not stop the queue (INV-11).
            message = f"{self.source.name} broke with {type(error).__name__}; this is a bug in that source."
            broken = GridFailure(GridFailureKind.BAD_RESPONSE, message)
            self._failed(question, broken)
            raise broken from error

    def _told(self, answer: Series | None) -> Series | None:
        """The answer; one without a figure is none, and would hide the figures that are known already."""
        if answer is not None and not answer.points:
            raise GridFailure(GridFailureKind.NO_DATA, f"{self.source.name} gave no figures.")
        return answer

    def _failed(self, question: Question, failure: GridFailure) -> None:
        limited = failure.kind == GridFailureKind.RATE_LIMITED
        self.outcomes[question[0], "rate_limited" if limited else "error"] += 1
        self.up = False
        memory = self._memory(question)
        wait_s = MAX_COOLDOWN_S if failure.kind.is_permanent else min(MAX_COOLDOWN_S, COOLDOWN_S * 2**memory.failures)
        not_before = self._clock() + timedelta(seconds=wait_s)
        if failure.retry_at is not None:
            not_before = max(not_before, failure.retry_at)
        memory = replace(
            memory, failure=failure, not_before=not_before, failures=min(memory.failures + 1, MAX_FAILURES)
        )
        self._hold_all(memory)
        self._keep(question, memory)

    def _hold_all(self, memory: Memory) -> None:
        """Let a failure hold for every question, where it is one of the whole source and the longest so far."""
        until, held = memory.not_before, self._hold.not_before
        if memory.failure is None or until is None or memory.failure.kind not in OF_THE_SOURCE:
            return
        if held is None or not _waits(held, self._clock()) or until > held:
            self._hold = memory

    def _stale_or_raise(self, question: Question, now: datetime, failure: GridFailure) -> Series | None:
        answer = self._memory(question).answer
        if answer is not None and answer.points:
            last = answer.points[-1].end
            bound_s = min(STALE_ACTUAL_S, 3 * answer.step_s) if question[0] == "actual" else 0.0
            if now < last + timedelta(seconds=bound_s):
                self.outcomes[question[0], "stale"] += 1
                return answer
        raise _again(failure)

    def _keep(self, question: Question, memory: Memory) -> None:
        """Remember it now and write it down behind the caller's back: no answer waits for the disk."""
        self._known[question] = memory
        if self._shelf is not None:
            self._unwritten[question] = memory
            if self._writing is None or self._writing.done():
                self._writing = asyncio.ensure_future(self._write(self._shelf))

    async def _write(self, shelf: Shelf) -> None:
        while self._unwritten:
            question = next(iter(self._unwritten))
            await asyncio.to_thread(shelf.save, question, self._unwritten.pop(question))

    async def close(self) -> None:
        """Stop asking, write down what is known, close the source."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)
        if self._writing is not None:
            await self._writing
        await self.source.close()


def _is_lasting(memory: Memory) -> bool:
    return memory.failure is not None and memory.failure.kind.is_permanent


def _waits(until: datetime | None, now: datetime) -> bool:
    """Whether a wait is on; one further away than the longest is left from before the clock jumped back."""
    return until is not None and timedelta(0) < until - now <= timedelta(seconds=MAX_COOLDOWN_S)


def _again(failure: GridFailure) -> GridFailure:
    """A new one each time: the same object raised again and again keeps the frames of every raise alive."""
    return GridFailure(failure.kind, failure.message, retry_at=failure.retry_at, fix=failure.fix)


def _retrieve(flight: asyncio.Task[Series | None]) -> None:
    """Take note of the failure also when every caller has given up; asyncio would complain otherwise."""
    if not flight.cancelled():
        flight.exception()
