"""The polite reader: cache, single flight, cooldown, bounded staleness, on a clock that tests move."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from lowtide.connectors.grid.reader import COOLDOWN_S, MAX_COOLDOWN_S, GridReader
from lowtide.scheduler.model.errors import GridFailure, GridFailureKind
from lowtide.scheduler.model.series import Accounting, Basis, Point, PointKind, Rate, Series, Signal

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def a_series(start: datetime, hours: int, kind: PointKind, zone: str, at: datetime) -> Series:
    points = tuple(Point(start + i * HOUR, start + (i + 1) * HOUR, 100.0 + i, kind) for i in range(hours))
    return Series(
        "fake", zone, zone, points, 3600.0, Signal.AVERAGE, Basis.DIRECT, Accounting.CONSUMPTION, fetched_at=at
    )


@dataclass
class World:
    """A clock and a source in one: counts the questions, fails or waits as told."""

    now: datetime = NOON
    name: str = "fake"
    ttl_s: float = 900.0
    rates: Mapping[str, Rate] = field(default_factory=dict)
    failure: Exception | None = None
    gate: asyncio.Event | None = None
    makes_forecasts: bool = True
    empty: bool = False
    asked: list[str] = field(default_factory=list)

    def clock(self) -> datetime:
        return self.now

    def zones(self) -> tuple[str, ...]:
        return ("GB", "DE")

    async def _answer(self, told: str) -> None:
        self.asked.append(told)
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure

    async def actual(self, zone: str, start: datetime, end: datetime, now: datetime) -> Series:
        await self._answer(f"actual {zone} {(end - start) / DAY:g}d")
        return a_series(end - 3 * HOUR, 0 if self.empty else 3, PointKind.ACTUAL, zone, now)

    async def forecast(self, zone: str, now: datetime) -> Series | None:
        await self._answer(f"forecast {zone}")
        count = 0 if self.empty else 6
        return a_series(now, count, PointKind.FORECAST, zone, now) if self.makes_forecasts else None

    async def close(self) -> None:
        self.asked.append("close")

    def later(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def play(world: World, script: Callable[[GridReader], Awaitable[None]]) -> GridReader:
    reader = GridReader(world, world.clock)
    asyncio.run(script(reader))  # type: ignore[arg-type]  # every script is a coroutine function
    return reader


async def until(happened: Callable[[], bool]) -> None:
    """Let the other tasks of the loop run until it happened; no real time passes."""
    for _ in range(1000):
        if happened():
            return
        await asyncio.sleep(0)
    pytest.fail("it did not happen")


async def kind_of(question: Awaitable[Series | None]) -> GridFailureKind:
    with pytest.raises(GridFailure) as caught:
        await question
    return caught.value.kind


def outage(kind: GridFailureKind = GridFailureKind.UNAVAILABLE, retry_at: datetime | None = None) -> GridFailure:
    return GridFailure(kind, "fake is down.", retry_at=retry_at)


def test_an_answer_is_kept_for_its_time_to_live_and_no_longer() -> None:
    world = World()

    async def script(reader: GridReader) -> None:
        first = await reader.forecast("GB")
        world.later(899)
        assert await reader.forecast("GB") is first
        world.later(1)
        assert await reader.forecast("GB") is not first

    reader = play(world, script)
    assert world.asked == ["forecast GB", "forecast GB"]
    assert reader.outcomes == {("forecast", "success"): 2, ("forecast", "cache_hit"): 1}


def test_that_a_source_makes_no_forecast_is_kept_as_well() -> None:
    world = World(makes_forecasts=False)

    async def script(reader: GridReader) -> None:
        assert await reader.forecast("GB") is None
        assert await reader.forecast("GB") is None

    play(world, script)
    assert world.asked == ["forecast GB"]


def test_an_answer_without_a_figure_is_none_and_hides_nothing() -> None:
    world = World()

    async def script(reader: GridReader) -> None:
        first = await reader.forecast("GB")
        world.later(901)
        world.empty = True
        assert await reader.forecast("GB") is first
        with pytest.raises(GridFailure) as caught:
            await reader.actual("DE", DAY)
        assert caught.value.kind == GridFailureKind.NO_DATA

    play(world, script)


def test_one_answer_serves_shorter_spans_and_a_longer_one_asks_anew() -> None:
    world = World()

    async def script(reader: GridReader) -> None:
        for hours in (30, 2, 48, 49, 1):
            await reader.actual("GB", hours * HOUR)

    play(world, script)
    assert world.asked == ["actual GB 2d", "actual GB 3d"]


def test_zones_and_operations_do_not_share_answers() -> None:
    world = World()

    async def script(reader: GridReader) -> None:
        for zone in ("GB", "DE", "GB"):
            await reader.forecast(zone)
            series = await reader.actual(zone, HOUR)
            assert series.zone_returned == zone

    play(world, script)
    assert sorted(world.asked) == ["actual DE 1d", "actual GB 1d", "forecast DE", "forecast GB"]


def test_a_hundred_callers_make_one_request() -> None:
    world = World()

    async def script(reader: GridReader) -> None:
        world.gate = asyncio.Event()
        callers = [asyncio.create_task(reader.forecast("GB")) for _ in range(100)]
        await until(lambda: bool(world.asked))
        world.gate.set()
        answers = await asyncio.gather(*callers)
        assert all(answer is answers[0] for answer in answers)

    play(world, script)
    assert world.asked == ["forecast GB"]


def test_a_caller_that_gives_up_does_not_take_the_answer_from_the_others() -> None:
    world = World()

    async def script(reader: GridReader) -> None:
        world.gate = asyncio.Event()
        hasty, patient = (asyncio.create_task(reader.forecast("GB")) for _ in range(2))
        await until(lambda: bool(world.asked))
        hasty.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hasty
        world.gate.set()
        assert await patient is not None

    play(world, script)
    assert world.asked == ["forecast GB"]


def test_a_failure_that_nobody_waits_for_any_more_makes_no_noise() -> None:
    world = World(failure=outage())
    noises: list[object] = []

    async def script(reader: GridReader) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: noises.append(context))
        world.gate = asyncio.Event()
        hasty = asyncio.create_task(reader.forecast("GB"))
        await until(lambda: bool(world.asked))
        hasty.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hasty
        world.gate.set()
        await until(lambda: bool(reader.outcomes))
        await asyncio.sleep(0)

    play(world, script)
    assert noises == []


def test_a_failing_source_is_asked_ever_more_rarely_up_to_an_hour() -> None:
    world = World(failure=outage())
    waits: list[int] = []

    async def script(reader: GridReader) -> None:
        since = 0
        for _ in range(4 * 3600):
            before = len(world.asked)
            await kind_of(reader.forecast("GB"))
            if len(world.asked) > before:
                waits.append(since)
                since = 0
            since += 10
            world.later(10)

    play(world, script)
    assert waits[:9] == [0, 30, 60, 120, 240, 480, 960, 1920, 3600]
    assert set(waits[9:]) == {3600}


def test_a_success_ends_the_cooldown() -> None:
    world = World(failure=outage())

    async def script(reader: GridReader) -> None:
        for wait_s in (30, 60, 120):
            await kind_of(reader.forecast("GB"))
            assert not reader.up
            world.later(wait_s)
        world.failure = None
        assert await reader.forecast("GB") is not None
        assert reader.up
        world.failure = outage()
        world.later(8 * 3600)
        await kind_of(reader.forecast("GB"))
        world.later(COOLDOWN_S)
        before = len(world.asked)
        await kind_of(reader.forecast("GB"))
        assert len(world.asked) == before + 1

    play(world, script)


@pytest.mark.parametrize("kind", [kind for kind in GridFailureKind if kind.is_permanent])
def test_a_permanent_failure_is_not_asked_about_for_an_hour(kind: GridFailureKind) -> None:
    world = World(failure=outage(kind))

    async def script(reader: GridReader) -> None:
        assert await kind_of(reader.forecast("GB")) == kind
        world.later(MAX_COOLDOWN_S - 1)
        assert await kind_of(reader.forecast("GB")) == kind
        assert len(world.asked) == 1
        world.later(1)
        assert await kind_of(reader.forecast("GB")) == kind
        assert len(world.asked) == 2

    play(world, script)


def test_retry_after_is_waited_for_by_all_questions_to_the_source() -> None:
    world = World(failure=outage(GridFailureKind.RATE_LIMITED, NOON + timedelta(seconds=600)))

    async def script(reader: GridReader) -> None:
        assert await kind_of(reader.forecast("GB")) == GridFailureKind.RATE_LIMITED
        world.failure = None
        assert await kind_of(reader.forecast("DE")) == GridFailureKind.RATE_LIMITED
        assert await kind_of(reader.actual("GB", HOUR)) == GridFailureKind.RATE_LIMITED
        world.later(599)
        assert await kind_of(reader.forecast("GB")) == GridFailureKind.RATE_LIMITED
        world.later(1)
        assert await reader.forecast("GB") is not None
        assert await reader.forecast("DE") is not None

    reader = play(world, script)
    assert world.asked == ["forecast GB", "forecast GB", "forecast DE"]
    assert reader.outcomes["forecast", "rate_limited"] == 1


def test_a_zone_in_trouble_leaves_the_others_alone() -> None:
    world = World(failure=outage(GridFailureKind.NO_DATA))

    async def script(reader: GridReader) -> None:
        assert await kind_of(reader.forecast("GB")) == GridFailureKind.NO_DATA
        world.failure = None
        assert await reader.forecast("DE") is not None
        assert await reader.actual("GB", HOUR) is not None

    play(world, script)


def test_a_forecast_is_served_stale_while_it_still_reaches_ahead() -> None:
    world = World()

    async def script(reader: GridReader) -> None:
        first = await reader.forecast("GB")
        world.failure = outage()
        world.later(6 * 3600 - 1)
        assert await reader.forecast("GB") is first
        world.later(1)
        assert await kind_of(reader.forecast("GB")) == GridFailureKind.UNAVAILABLE

    reader = play(world, script)
    assert reader.outcomes["forecast", "stale"] == 1


def test_actuals_are_served_stale_for_two_hours_at_most() -> None:
    world = World()

    async def script(reader: GridReader) -> None:
        first = await reader.actual("GB", HOUR)
        world.failure = outage()
        world.later(7199)
        assert await reader.actual("GB", HOUR) is first
        world.later(1)
        assert await kind_of(reader.actual("GB", HOUR)) == GridFailureKind.UNAVAILABLE

    play(world, script)


def test_a_clock_that_jumps_back_makes_nothing_fresh_for_ever() -> None:
    world = World()

    async def script(reader: GridReader) -> None:
        await reader.forecast("GB")
        world.later(-86_400)
        await reader.forecast("GB")
        assert len(world.asked) == 2

    play(world, script)


def test_a_clock_that_jumps_back_prolongs_no_cooldown_beyond_an_hour() -> None:
    world = World(failure=outage())

    async def script(reader: GridReader) -> None:
        await kind_of(reader.forecast("GB"))
        world.failure = None
        world.later(-86_400)
        assert await reader.forecast("GB") is not None

    play(world, script)


def test_a_source_with_a_bug_is_a_failure_like_any_other() -> None:
    world = World(failure=ZeroDivisionError("division by zero"))

    async def script(reader: GridReader) -> None:
        with pytest.raises(GridFailure, match=r"fake broke with ZeroDivisionError") as caught:
            await reader.forecast("GB")
        assert caught.value.kind == GridFailureKind.BAD_RESPONSE
        assert await kind_of(reader.forecast("GB")) == GridFailureKind.BAD_RESPONSE

    reader = play(world, script)
    assert world.asked == ["forecast GB"]
    assert reader.outcomes["forecast", "error"] == 1


def test_a_failure_told_a_thousand_times_does_not_grow() -> None:
    world = World(failure=outage())

    async def script(reader: GridReader) -> None:
        depths = []
        for _ in range(50):
            try:
                await reader.forecast("GB")
            except GridFailure as failure:
                depth, trace = 0, failure.__traceback__
                while trace is not None:
                    depth, trace = depth + 1, trace.tb_next
                depths.append(depth)
        assert len(depths) == 50
        assert max(depths[1:]) == depths[1]

    play(world, script)


def test_closing_the_reader_closes_the_source() -> None:
    world = World()
    play(world, lambda reader: reader.close())
    assert world.asked == ["close"]


def test_a_thousand_callers_make_one_request_also_when_most_of_them_give_up() -> None:
    world = World()

    async def script(reader: GridReader) -> None:
        world.gate = asyncio.Event()
        callers = [asyncio.create_task(reader.forecast("GB")) for _ in range(1000)]
        await until(lambda: bool(world.asked))
        for hasty in callers[:-1]:
            hasty.cancel()
        world.gate.set()
        answers = await asyncio.gather(*callers, return_exceptions=True)
        assert {type(answer) for answer in answers[:-1]} == {asyncio.CancelledError}
        assert isinstance(answers[-1], Series)

    play(world, script)
    assert world.asked == ["forecast GB"]


def test_a_refused_key_is_told_to_no_other_zone_again() -> None:
    world = World(failure=outage(GridFailureKind.AUTH))

    async def script(reader: GridReader) -> None:
        await kind_of(reader.forecast("GB"))
        assert await kind_of(reader.forecast("DE")) == GridFailureKind.AUTH
        world.failure = None
        world.later(MAX_COOLDOWN_S)
        assert await reader.forecast("DE") is not None

    play(world, script)
    assert world.asked == ["forecast GB", "forecast DE"]


def test_closing_the_reader_ends_what_hangs() -> None:
    world = World()

    async def script(reader: GridReader) -> None:
        world.gate = asyncio.Event()
        caller = asyncio.create_task(reader.forecast("GB"))
        await until(lambda: bool(world.asked))
        await reader.close()
        with pytest.raises(asyncio.CancelledError):
            await caller

    play(world, script)
    assert world.asked == ["forecast GB", "close"]


def test_a_key_that_replaces_a_refused_one_is_tried_at_the_next_question() -> None:
    world, keys = World(failure=outage(GridFailureKind.AUTH)), ["old"]

    async def script() -> None:
        reader = GridReader(world, world.clock, keys=lambda: keys[0])
        assert await kind_of(reader.forecast("GB")) == GridFailureKind.AUTH
        world.later(60)
        assert await kind_of(reader.forecast("DE")) == GridFailureKind.AUTH
        assert world.asked == ["forecast GB"]
        keys[0], world.failure = "new", None
        assert await reader.forecast("DE") is not None
        assert await reader.forecast("GB") is not None
        assert world.asked == ["forecast GB", "forecast DE", "forecast GB"]

    asyncio.run(script())


def test_a_new_key_ends_no_wait_that_is_not_about_keys() -> None:
    world, keys = World(failure=outage(GridFailureKind.RATE_LIMITED)), ["old"]

    async def script() -> None:
        reader = GridReader(world, world.clock, keys=lambda: keys[0])
        assert await kind_of(reader.forecast("GB")) == GridFailureKind.RATE_LIMITED
        keys[0] = "new"
        assert await kind_of(reader.forecast("GB")) == GridFailureKind.RATE_LIMITED
        assert world.asked == ["forecast GB"]

    asyncio.run(script())
