"""A forecast corrected with what is known by now, and what that is worth on recorded days."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from lowtide.scheduler.forecast.correct import DEFAULT_CORRECTION, RAW, Correction, corrected, from_history, outlook
from lowtide.scheduler.forecast.fit import captured, fitted
from lowtide.scheduler.forecast.pairs import pairs
from lowtide.scheduler.forecast.record import Record, record, sampled
from lowtide.scheduler.model.series import PointKind, Series
from tests.recorded_days import recorded_days
from tests.unit.test_ladder import HOUR, NOON, a_series

HOURLY_S = 3600.0
LAST = datetime(2023, 3, 30, 0, 0, tzinfo=UTC)


def wave(hour: int) -> float:
    return 200 + 50 * math.sin(hour * math.tau / 24)


def known(*, forecast_off: float = 0.0, days: int = 4) -> tuple[Record, int]:
    """Days of a wave that repeats, and one issue of it made three hours ago that is off by a constant."""
    start = NOON - days * 24 * HOUR
    actual = a_series(start, days * 24, PointKind.ACTUAL, price=lambda i: wave(12 + i))
    made = NOON - 3 * HOUR
    issue = a_series(made, 48, price=lambda i: wave(9 + i) + forecast_off, fetched_at=made, issued_at=made)
    found = record((issue,), actual, NOON, HOURLY_S)
    return found, found.slot_of(NOON)


def told(found: Record, at: int, how: Correction, count: int = 24) -> list[float]:
    values: list[float] = corrected(outlook(found, at, found.issues[-1], count), how, found.step_s).tolist()
    return values


def test_the_newest_error_is_carried_on_and_fades_by_the_hour() -> None:
    found, at = known(forecast_off=30.0)
    prices = told(found, at, Correction(0.5, 0.0, "fitted"))
    assert [p - wave(12 + i) for i, p in enumerate(prices[:4])] == pytest.approx([0.0, 15.0, 22.5, 26.25])


def test_what_is_usual_at_that_time_is_blended_in() -> None:
    found, at = known(forecast_off=30.0, days=9)
    prices = told(found, at, Correction(0.0, 0.25, "fitted"))
    assert [p - wave(12 + i) for i, p in enumerate(prices)] == pytest.approx([22.5] * 24, abs=0.6)


def test_without_actuals_the_provider_has_the_only_word() -> None:
    found, at = known(forecast_off=30.0)
    blank = replace(found, actual=np.full(len(found.actual), np.nan))
    assert told(blank, at, DEFAULT_CORRECTION) == pytest.approx([wave(12 + i) + 30 for i in range(24)])


def test_an_error_of_this_morning_says_nothing_of_tonight() -> None:
    found, at = known(forecast_off=30.0)
    late = found.actual.copy()
    late[at - 7 :] = np.nan
    assert outlook(replace(found, actual=late), at, found.issues[-1], 4).error == 0.0


def test_an_issue_that_has_shown_no_error_yet_gets_none_of_another() -> None:
    found, at = known(forecast_off=30.0)
    young = replace(found.issues[0], first=at, g_per_kwh=found.issues[0].g_per_kwh[at - found.issues[0].first :])
    assert outlook(replace(found, issues=(*found.issues, young)), at, young, 4).error == 0.0


def test_the_last_days_alone_make_a_forecast() -> None:
    found, at = known()
    prices = from_history(outlook(found, at, None, 24), DEFAULT_CORRECTION, found.step_s)
    assert prices.tolist() == pytest.approx([wave(12 + i) for i in range(24)])


def test_a_forecast_never_falls_below_zero() -> None:
    found, at = known(forecast_off=200.0)
    low = replace(found, actual=found.actual * 0.0)
    assert min(told(low, at, Correction(0.99, 0.0, "fitted"))) >= 0.0


def test_slots_that_points_do_not_cover_are_unknown() -> None:
    series = a_series(NOON, 3)
    gap = replace(series, points=(series.points[0], series.points[2]))
    values = sampled(gap, NOON, 1800.0, 8)
    assert values[:2].tolist() == [100.0, 100.0]
    assert np.isnan(values[2:4]).all()
    assert values[4:6].tolist() == [102.0, 102.0]
    assert np.isnan(values[6:]).all()


def test_an_issue_of_another_key_is_refused() -> None:
    other: Series = replace(a_series(NOON, 3), source="other")
    with pytest.raises(ValueError, match="cannot be judged"):
        record((other,), a_series(NOON - 3 * HOUR, 3, PointKind.ACTUAL), NOON, HOURLY_S)


def test_few_pairs_leave_the_default() -> None:
    found, at = known()
    assert fitted(pairs(found, at)) == DEFAULT_CORRECTION


def test_on_recorded_days_the_fitted_correction_captures_more_than_the_raw_forecast() -> None:
    found = recorded_days().record_at(LAST)
    past = pairs(found, found.slot_of(LAST))
    how = fitted(past)
    assert how.basis == "fitted"
    assert captured(past, past.told(how)) > captured(past, past.told(RAW)) + 0.04


def test_the_default_correction_lies_on_a_plateau() -> None:
    found = recorded_days().record_at(LAST)
    past = pairs(found, found.slot_of(LAST))
    shares = [captured(past, past.told(Correction(f, w, ""))) for f in (0.8, 0.86, 0.9) for w in (0.2, 0.25, 0.3)]
    assert max(shares) - min(shares) < 0.04
    assert captured(past, past.told(DEFAULT_CORRECTION)) > max(shares) - 0.03


def test_what_came_late_is_not_known_early_in_the_past_either() -> None:
    found, at = known(days=6)
    late = found.actual.copy()
    late[at - 2 :] = np.nan
    past = pairs(replace(found, actual=late), at, own=True)
    assert {seen.behind_h for seen in past.outlooks} == {3.0}


def test_times_of_day_are_told_apart_only_where_a_day_is_whole_slots() -> None:
    found, _ = known()
    assert found.slots_per_day == 24
    assert replace(found, step_s=7000.0).slots_per_day == 0
    assert timedelta(seconds=found.step_s) == HOUR
