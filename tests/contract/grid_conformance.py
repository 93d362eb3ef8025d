"""What every grid source must do; a source joins by one class with a ``case`` fixture."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.metadata import entry_points
from typing import TypeVar

import pytest

from lowtide.scheduler.model.errors import GridFailure, GridFailureKind
from lowtide.scheduler.model.series import GridSource, PointKind, ProbingSource, Series

DAY = timedelta(days=1)
T = TypeVar("T")


@dataclass(frozen=True)
class Case:
    """A source with data around ``now`` for ``zone``; ``has_beginning`` where it knows nothing before some time."""

    build: Callable[[], GridSource]
    zone: str
    now: datetime
    forecasts: bool
    has_beginning: bool = True


def run(case: Case, use: Callable[[GridSource], Awaitable[T]]) -> T:
    """Use a fresh source in a loop of its own and give its connections back."""

    async def whole() -> T:
        source = case.build()
        try:
            return await use(source)
        finally:
            await source.close()

    return asyncio.run(whole())


def past(case: Case, span: timedelta = DAY, zone: str = "") -> Series:
    return run(case, lambda s: s.actual(zone or case.zone, case.now - span, case.now, case.now))


def future(case: Case) -> Series | None:
    return run(case, lambda s: s.forecast(case.zone, case.now))


class GridSourceConformance:
    """Inherit and give a ``case`` fixture."""

    def test_it_has_a_name_and_a_time_to_live_and_lists_its_zone(self, case: Case) -> None:
        async def listed(source: GridSource) -> tuple[str, ...]:
            if isinstance(source, ProbingSource):
                assert case.zone in {one.zone for one in await source.probe(case.now)}
            return source.zones()

        source = case.build()
        assert source.name
        assert source.ttl_s > 0
        assert case.zone in run(case, listed)

    def test_it_is_found_by_its_entry_point(self, case: Case) -> None:
        points = {point.name: point for point in entry_points(group="lowtide.grid_sources")}
        source = case.build()
        assert points[source.name].load() is type(source)

    def test_actuals_touch_the_time_asked_for_and_had_ended(self, case: Case) -> None:
        start, end = case.now - timedelta(hours=7, minutes=10), case.now - timedelta(hours=1)
        series = run(case, lambda s: s.actual(case.zone, start, end, case.now))
        assert series.points
        assert all(p.end > start and p.start < end for p in series.points)
        assert all(p.end <= case.now for p in series.points)
        assert all(p.kind != PointKind.FORECAST for p in series.points)

    def test_what_has_not_ended_is_not_an_actual(self, case: Case) -> None:
        series = run(case, lambda s: s.actual(case.zone, case.now - DAY, case.now + DAY, case.now))
        assert all(p.end <= case.now or p.kind == PointKind.STATIC for p in series.points)

    def test_an_answer_says_where_it_comes_from(self, case: Case) -> None:
        series = past(case)
        assert series.zone_requested == series.zone_returned == case.zone
        assert series.fetched_at == case.now
        assert series.attribution
        assert not series.attribution.startswith("Data")  # people read it after "Grid data:"
        assert series.source.partition("/")[0] == case.build().name
        assert all(p.start.utcoffset() == timedelta(0) for p in series.points)

    def test_a_forecast_covers_now_and_was_issued_before(self, case: Case) -> None:
        series = future(case)
        assert (series is not None) == case.forecasts
        if series is not None:
            assert series.at(case.now) is not None
            assert {p.kind for p in series.points} == {PointKind.FORECAST}
            assert series.issued_at is None or series.issued_at <= case.now
            assert series.fetched_at == case.now

    def test_forecast_and_actual_of_one_source_may_be_compared(self, case: Case) -> None:
        series = future(case)
        assert series is None or series.key == past(case).key

    def test_an_unknown_zone_is_a_permanent_failure(self, case: Case) -> None:
        with pytest.raises(GridFailure) as caught:
            past(case, zone="ATLANTIS")
        assert caught.value.kind == GridFailureKind.UNKNOWN_ZONE
        assert caught.value.kind.is_permanent
        assert "ATLANTIS" in caught.value.message

    def test_a_time_without_figures_is_no_data_and_never_zero(self, case: Case) -> None:
        if not case.has_beginning:
            assert past(case, timedelta(days=3650)).points
            return
        early = case.now - timedelta(days=3650)
        with pytest.raises(GridFailure) as caught:
            run(case, lambda s: s.actual(case.zone, early - DAY, early, case.now))
        assert caught.value.kind == GridFailureKind.NO_DATA

    def test_an_empty_time_answers_its_slot_or_no_data(self, case: Case) -> None:
        moment = case.now - timedelta(hours=3)

        async def outcome(source: GridSource) -> int | GridFailureKind:
            try:
                return len((await source.actual(case.zone, moment, moment, case.now)).points)
            except GridFailure as failure:
                return failure.kind

        assert run(case, outcome) in {1, GridFailureKind.NO_DATA}

    def test_the_same_question_has_the_same_answer(self, case: Case) -> None:
        async def twice(source: GridSource) -> tuple[Series, Series]:
            first = await source.actual(case.zone, case.now - DAY, case.now, case.now)
            return first, await source.actual(case.zone, case.now - DAY, case.now, case.now)

        one, other = run(case, twice)
        assert one == other

    def test_a_series_survives_json(self, case: Case) -> None:
        for series in (past(case), future(case)):
            if series is not None:
                assert Series.from_json(json.loads(json.dumps(series.to_json()))) == series
