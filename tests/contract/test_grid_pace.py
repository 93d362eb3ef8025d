"""The vendor's own limits: never exceeded, never a refresh that stands still, and every zone gets its turn."""

import asyncio
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from lowtide.connectors.grid.pace import SHORT_WAIT_S, Pace
from lowtide.connectors.grid.reader import GridReader
from lowtide.scheduler.model.errors import GridFailureKind
from lowtide.scheduler.model.series import Rate
from tests.contract.test_grid_reader import HOUR, NOON, World, kind_of, outage


class Ticks:
    """Real seconds that a test moves."""

    def __init__(self) -> None:
        self.s = 1000.0

    def __call__(self) -> float:
        return self.s


@given(
    rate=st.builds(Rate, st.integers(1, 5), st.sampled_from([0.5, 1.0, 60.0])),
    steps=st.lists(st.floats(0, 90) | st.sampled_from([0.0, 0.5, 1.0]), max_size=60),
)
def test_no_window_ever_holds_more_questions_than_the_vendor_allows(rate: Rate, steps: list[float]) -> None:
    ticks, asked = Ticks(), []
    pace = Pace({"actual": rate}, ticks)
    for number, step in enumerate(steps):
        ticks.s += step
        place = pace.place("actual", f"zone {number % 7}")
        assert place.wait_s >= 0
        if place.granted:
            assert place.wait_s <= SHORT_WAIT_S
            asked.append(ticks.s + place.wait_s)
    assert asked == sorted(asked)
    for first, beyond in zip(asked, asked[rate.calls :], strict=False):
        assert beyond - first >= rate.per_s - 0.002  # times are counted in whole milliseconds


def test_an_operation_without_a_limit_is_never_held_back() -> None:
    pace = Pace({"actual": Rate(1, 60.0)}, Ticks())
    assert all(pace.place("forecast", "GB").granted for _ in range(100))


def test_operations_have_limits_of_their_own() -> None:
    pace = Pace({"actual": Rate(1, 60.0), "forecast": Rate(1, 60.0)}, Ticks())
    assert pace.place("actual", "DK1").granted
    assert pace.place("forecast", "DK1").granted
    assert not pace.place("actual", "DK2").granted


def test_who_was_sent_away_comes_before_who_had_its_turn() -> None:
    ticks = Ticks()
    pace = Pace({"actual": Rate(1, 60.0)}, ticks)
    turns = []
    for _ in range(12):
        turns += [zone for zone in ("a", "b", "c") if pace.place("actual", zone).granted]
        ticks.s += 61
    assert sorted(turns) == sorted("abc" * 4)


def test_who_does_not_come_back_blocks_nobody_for_ever() -> None:
    ticks = Ticks()
    pace = Pace({"actual": Rate(1, 60.0)}, ticks)
    assert pace.place("actual", "a").granted
    assert not pace.place("actual", "gone").granted
    ticks.s += 1000
    assert pace.place("actual", "a").granted


def test_a_long_wait_is_a_typed_refusal_that_says_when_and_leaves_the_others_alone() -> None:
    world, ticks = World(rates={"actual": Rate(1, 60.0)}), Ticks()

    async def script() -> GridReader:
        reader = GridReader(world, world.clock, ticks=ticks)
        assert await reader.actual("GB", HOUR)
        assert await kind_of(reader.actual("DE", HOUR)) == GridFailureKind.RATE_LIMITED
        assert await reader.forecast("DE") is not None
        assert reader.up
        ticks.s += 61
        assert await reader.actual("DE", HOUR)
        return reader

    reader = asyncio.run(script())
    assert world.asked == ["actual GB 1d", "forecast DE", "actual DE 1d"]
    assert reader.outcomes["actual", "held_back"] == 1


def test_who_has_to_wait_is_given_what_is_still_good_enough() -> None:
    world, ticks = World(rates={"forecast": Rate(1, 3600.0)}), Ticks()

    async def script() -> None:
        reader = GridReader(world, world.clock, ticks=ticks)
        first = await reader.forecast("GB")
        world.later(1000)
        assert await reader.forecast("GB") is first

    asyncio.run(script())
    assert world.asked == ["forecast GB"]


def test_a_short_wait_is_waited_for() -> None:
    world = World(rates={"forecast": Rate(1, 0.01)})

    async def script() -> None:
        reader = GridReader(world, world.clock)
        await asyncio.gather(*(reader.forecast(zone) for zone in ("GB", "DE", "FR")))

    asyncio.run(script())
    assert sorted(world.asked) == ["forecast DE", "forecast FR", "forecast GB"]


def test_a_refusal_by_the_vendor_reaches_those_who_are_waiting_for_their_place() -> None:
    world = World(rates={"forecast": Rate(1, 0.01)})

    async def script() -> None:
        reader = GridReader(world, world.clock)
        world.failure = outage(GridFailureKind.RATE_LIMITED, NOON + timedelta(seconds=600))
        found = await asyncio.gather(*(reader.forecast(z) for z in ("GB", "DE", "FR")), return_exceptions=True)
        assert {getattr(failure, "kind", None) for failure in found} == {GridFailureKind.RATE_LIMITED}

    asyncio.run(script())
    assert world.asked == ["forecast GB"]
