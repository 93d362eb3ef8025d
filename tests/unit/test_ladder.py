"""The fallback ladder: which grid data one decision rests on, and what error it admits (INV-11)."""

import asyncio
import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from lowtide.connectors.grid.recorded import Recorded
from lowtide.scheduler.forecast.bands import Band, Bands
from lowtide.scheduler.forecast.ladder import (
    FRESH_ISSUE_S,
    FRESH_S,
    GridKnowledge,
    Rung,
    forecast_for,
)
from lowtide.scheduler.forecast.learn import Learned, Skill
from lowtide.scheduler.forecast.own import HISTORY_MAX_AGE, own_forecast
from lowtide.scheduler.forecast.skill import LEAD_ERROR_G_PER_KWH
from lowtide.scheduler.model.series import Accounting, Basis, Point, PointKind, Series, Signal

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SLOT_S = 900.0


def a_series(
    start: datetime,
    hours: int,
    kind: PointKind = PointKind.FORECAST,
    *,
    price: Callable[[int], float] = lambda i: 100.0 + i,
    fetched_at: datetime = NOON,
    issued_at: datetime | None = None,
    source: str = "test",
) -> Series:
    """Hourly points; ``price`` takes the number of the hour."""
    points = tuple(Point(start + i * HOUR, start + (i + 1) * HOUR, price(i), kind) for i in range(hours))
    meaning = (Signal.AVERAGE, Basis.DIRECT, Accounting.CONSUMPTION)
    return Series(source, "GB", "GB", points, 3600.0, *meaning, fetched_at, issued_at, "CC BY 4.0")


def a_history(days: float, *, end: datetime = NOON, kind: PointKind = PointKind.ACTUAL) -> Series:
    """A daily wave that repeats exactly."""
    hours = round(days * 24)
    start = end - hours * HOUR
    return a_series(start, hours, kind, price=lambda i: 200 + 50 * math.sin((start.hour + i) * math.tau / 24))


STATIC = a_series(NOON - DAY, 24, PointKind.STATIC, price=lambda _: 217.1, source="static")
EVERYTHING = GridKnowledge("GB", a_series(NOON, 48), a_history(8), STATIC)


def rung_of(known: GridKnowledge, now: datetime = NOON) -> str:
    return forecast_for(known, now, SLOT_S).rung


def test_the_highest_rung_that_is_there_is_used() -> None:
    known = EVERYTHING
    assert rung_of(known) == Rung.FRESH_FORECAST
    assert rung_of(known, NOON + timedelta(seconds=FRESH_S)) == Rung.CACHED_FORECAST
    known = replace(known, forecast=None)
    assert rung_of(known) == Rung.OWN_FORECAST
    known = replace(known, history=None)
    assert rung_of(known) == Rung.STATIC_AVERAGE
    known = replace(known, static=None)
    assert rung_of(known) == Rung.BLIND


def test_an_issue_of_yesterday_is_not_fresh_however_lately_it_was_fetched() -> None:
    old = a_series(NOON - DAY, 72, issued_at=NOON - timedelta(seconds=FRESH_ISSUE_S))
    found = forecast_for(GridKnowledge("GB", old), NOON, SLOT_S)
    assert found.rung == Rung.CACHED_FORECAST
    assert found.age_s == FRESH_ISSUE_S


def test_an_issue_older_than_any_known_error_is_not_used() -> None:
    old = a_series(NOON - 2 * DAY, 96, issued_at=NOON - 2 * DAY - timedelta(seconds=1))
    assert rung_of(replace(EVERYTHING, forecast=old)) == Rung.OWN_FORECAST


@pytest.mark.parametrize(
    "useless",
    [
        a_series(NOON - 5 * HOUR, 5),
        a_series(NOON + HOUR, 24),
        a_series(NOON, 0),
    ],
    ids=["past only", "begins later", "empty"],
)
def test_a_forecast_that_does_not_price_this_moment_falls_to_the_next_rung(useless: Series) -> None:
    assert rung_of(replace(EVERYTHING, forecast=useless)) == Rung.OWN_FORECAST
    assert rung_of(GridKnowledge("GB", useless)) == Rung.BLIND


def test_only_forecasts_may_shift() -> None:
    for known, may in [
        (EVERYTHING, True),
        (replace(EVERYTHING, forecast=None), True),
        (GridKnowledge("GB", static=STATIC), False),
        (GridKnowledge("GB"), False),
    ]:
        assert forecast_for(known, NOON, SLOT_S).may_shift is may


def test_prices_are_means_by_slot_from_the_slot_that_holds_now() -> None:
    found = forecast_for(GridKnowledge("GB", a_series(NOON, 3)), NOON + timedelta(minutes=50), 1800.0)
    assert found.start == NOON + timedelta(minutes=30)
    assert found.g_per_kwh == (100.0, 101.0, 101.0, 102.0, 102.0)
    two_hours = forecast_for(GridKnowledge("GB", a_series(NOON, 4)), NOON + timedelta(minutes=30), 7200.0)
    assert two_hours.g_per_kwh == pytest.approx(((0.5 * 100 + 101) / 1.5, 102.5))


def test_an_issue_that_begins_within_a_slot_prices_it() -> None:
    begun = a_series(NOON + timedelta(minutes=4), 24, fetched_at=NOON + timedelta(minutes=4))
    found = forecast_for(GridKnowledge("GB", begun), NOON + timedelta(minutes=5), SLOT_S)
    assert found.rung == Rung.FRESH_FORECAST
    assert found.g_per_kwh[0] == pytest.approx(100.0)


def test_prices_end_at_the_first_gap() -> None:
    whole = a_series(NOON, 10)
    gap = replace(whole, points=whole.points[:3] + whole.points[4:])
    assert len(forecast_for(GridKnowledge("GB", gap), NOON, SLOT_S).g_per_kwh) == 12


def test_a_single_point_is_a_forecast_of_its_own_length() -> None:
    assert forecast_for(GridKnowledge("GB", a_series(NOON, 1)), NOON, SLOT_S).g_per_kwh == (100.0,) * 4


def test_the_decision_is_told_where_the_figures_come_from() -> None:
    known = replace(EVERYTHING, trouble="neso answered 503.")
    told = forecast_for(known, NOON + HOUR, SLOT_S).provenance
    assert told["source"] == "test"
    assert told["signal"] == "average"
    assert told["basis"] == "direct"
    assert told["accounting"] == "consumption"
    assert told["age_s"] == 3600.0
    assert told["trouble"] == "neso answered 503."
    assert told["attribution"] == "CC BY 4.0"
    assert told["error_basis"] == "default"
    own = forecast_for(replace(known, forecast=None), NOON + HOUR, SLOT_S).provenance
    assert own["source"] == "own forecast from test"
    assert own["error_basis"] == "default"


def test_the_blind_rung_names_no_source() -> None:
    told = forecast_for(GridKnowledge("GB", trouble="no source"), NOON, SLOT_S).provenance
    assert (told["source"], told["rung"], told["trouble"]) == ("", "blind", "no source")


def test_an_older_issue_has_a_larger_error_for_the_same_slot() -> None:
    young = forecast_for(GridKnowledge("GB", a_series(NOON, 24, issued_at=NOON)), NOON, SLOT_S)
    old = forecast_for(GridKnowledge("GB", a_series(NOON, 24, issued_at=NOON - 20 * HOUR)), NOON, SLOT_S)
    assert old.g_per_kwh == young.g_per_kwh
    assert all(o > y for o, y in zip(old.error_g_per_kwh, young.error_g_per_kwh, strict=True))


def test_own_forecast_repeats_the_same_time_of_day() -> None:
    own = own_forecast(a_history(5), NOON)
    assert own is not None
    assert own.points[0].start == NOON
    assert own.points[-1].end == NOON + DAY
    assert [p.g_per_kwh for p in own.points] == pytest.approx(
        [200 + 50 * math.sin((12 + i) * math.tau / 24) for i in range(24)]
    )
    assert {p.kind for p in own.points} == {PointKind.FORECAST}
    assert own.key != a_history(5).key


@pytest.mark.parametrize(
    "history",
    [
        a_history(2.9),
        a_history(8, kind=PointKind.STATIC),
        a_history(8, kind=PointKind.FORECAST),
        replace(a_history(8), points=a_history(8).points[::8]),
        replace(a_history(8), points=()),
        a_history(4, end=NOON + 2 * DAY),
    ],
    ids=["too short", "static", "forecasts", "mostly gaps", "empty", "mostly future"],
)
def test_there_is_no_own_forecast_without_three_measured_days(history: Series) -> None:
    assert own_forecast(history, NOON) is None
    assert rung_of(GridKnowledge("GB", history=history)) == Rung.BLIND


def test_own_forecast_says_how_old_its_newest_figure_is() -> None:
    found = forecast_for(GridKnowledge("GB", history=a_history(5)), NOON + 3 * HOUR, SLOT_S)
    assert found.age_s == 3 * 3600


def test_own_forecast_ends_with_fresh_history() -> None:
    known = GridKnowledge("GB", history=a_history(8), static=STATIC)
    assert rung_of(known, NOON + HISTORY_MAX_AGE) == Rung.OWN_FORECAST
    late = forecast_for(known, NOON + HISTORY_MAX_AGE + timedelta(seconds=1), SLOT_S)
    assert (late.rung, late.may_shift) == (Rung.STATIC_AVERAGE, False)


def test_the_same_knowledge_gives_the_same_forecast() -> None:
    assert forecast_for(EVERYTHING, NOON, SLOT_S) == forecast_for(EVERYTHING, NOON, SLOT_S)


def recorded_issues() -> tuple[list[Series], Series]:
    """All issues as they became known, and the actuals; the last issue reaches to four hours before the end."""
    source = Recorded()

    async def gather() -> tuple[list[Series], Series]:
        found: dict[datetime, Series] = {}
        now = source.first + 4 * HOUR
        while now < source.last - 4 * HOUR:
            issue = await source.forecast("GB", now)
            assert issue is not None
            assert issue.issued_at is not None
            found.setdefault(issue.issued_at, issue)
            now += HOUR / 2
        return list(found.values()), await source.actual("GB", source.first, source.last, source.last)

    return asyncio.run(gather())


def test_what_was_learned_reaches_the_decision() -> None:
    bands = Bands((Band(48.0, -0.1, 0.2),), "calibrated")
    known = GridKnowledge("GB", a_series(NOON, 24, price=lambda _: 50.0), learned=Learned(Skill(bands=bands)))
    found = forecast_for(known, NOON, SLOT_S)
    assert set(found.p10) == {45.0}
    assert set(found.p90) == {60.0}
    assert found.provenance["error_basis"] == "calibrated"


def test_the_default_errors_are_those_of_the_shipped_issues() -> None:
    issues, actual = recorded_issues()
    found: dict[float, list[float]] = {hours: [] for hours, _ in LEAD_ERROR_G_PER_KWH}
    for issue in issues:
        for point in issue.points:
            lead_h = (point.start - issue.fetched_at) / HOUR
            came = actual.at(point.start)
            if came is not None and 0 <= lead_h <= 48:
                step = next(hours for hours in found if lead_h <= hours)
                found[step].append(abs(point.g_per_kwh - came.g_per_kwh))
    for hours, default in LEAD_ERROR_G_PER_KWH:
        # An issue counts from when it was surely known, up to half an hour after the source made it.
        assert sum(found[hours]) / len(found[hours]) == pytest.approx(default, rel=0.2)
