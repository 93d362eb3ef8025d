"""What was usual at that time of day, however long ago: only where it is asked for, and only if it proved good."""

import math
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from lowtide.scheduler.forecast.climatology import climatology, told_before
from lowtide.scheduler.forecast.ladder import GridKnowledge, Rung, forecast_for
from lowtide.scheduler.forecast.learn import CLIMATOLOGY, UNLEARNED, Learned, learn
from lowtide.scheduler.forecast.own import HISTORY_MAX_AGE
from lowtide.scheduler.forecast.record import Record, record
from lowtide.scheduler.model.series import PointKind, Series
from tests.recorded_days import recorded_days
from tests.unit.test_ladder import DAY, EVERYTHING, HOUR, NOON, SLOT_S, STATIC, a_history, a_series

OLD = NOON + 5 * DAY
"""Five days after the newest figure."""


def opted(history: Series | None, captured: float = 0.4, static: Series | None = STATIC) -> GridKnowledge:
    skill = replace(CLIMATOLOGY, captured=captured, moments=120)
    return GridKnowledge("GB", history=history, static=static, learned=Learned(climatology=skill), climatology=True)


def history_of(days: int, level_of_day: list[float]) -> Series:
    """Hourly figures up to NOON, the days at levels of their own, every day 50 less at night."""
    return a_series(
        NOON - days * DAY,
        24 * days,
        PointKind.ACTUAL,
        price=lambda i: level_of_day[i // 24] - (50.0 if (12 + i) % 24 < 6 else 0.0),
    )


# ---- the rung ----


def test_it_comes_after_the_own_forecast_and_only_where_it_is_asked_for() -> None:
    known = opted(a_history(8))
    assert forecast_for(known, NOON + HISTORY_MAX_AGE, SLOT_S).rung == Rung.OWN_FORECAST
    assert forecast_for(known, OLD, SLOT_S).rung == Rung.CLIMATOLOGY
    assert forecast_for(replace(known, climatology=False), OLD, SLOT_S).rung == Rung.STATIC_AVERAGE
    assert forecast_for(replace(EVERYTHING, climatology=True), NOON, SLOT_S).rung == Rung.FRESH_FORECAST


def test_without_three_days_within_reach_there_is_none() -> None:
    assert forecast_for(opted(a_history(2.9)), OLD, SLOT_S).rung == Rung.STATIC_AVERAGE
    assert forecast_for(opted(a_history(8)), NOON + 13 * DAY, SLOT_S).rung == Rung.STATIC_AVERAGE
    assert forecast_for(opted(None), OLD, SLOT_S).rung == Rung.STATIC_AVERAGE
    assert forecast_for(opted(replace(a_history(8), points=())), OLD, SLOT_S).rung == Rung.STATIC_AVERAGE
    assert forecast_for(opted(a_history(8, kind=PointKind.STATIC)), OLD, SLOT_S).rung == Rung.STATIC_AVERAGE


@pytest.mark.parametrize("captured", [0.01, 0.0, -0.3, math.nan])
def test_it_delays_a_job_only_where_it_captured_something(captured: float) -> None:
    found = forecast_for(opted(a_history(8), captured), OLD, SLOT_S)
    assert (found.rung, found.may_shift) == (Rung.CLIMATOLOGY, captured == 0.01)
    assert found.provenance["pairs"] == 120
    assert found.provenance["captured"] == (None if math.isnan(captured) else captured)


def test_before_anything_was_learned_it_delays_nothing() -> None:
    found = forecast_for(replace(opted(a_history(8)), learned=UNLEARNED), OLD, SLOT_S)
    assert (found.rung, found.may_shift, found.provenance["captured"]) == (Rung.CLIMATOLOGY, False, None)


def test_it_keeps_the_key_of_the_history_and_tells_its_age() -> None:
    series = climatology(a_history(8), OLD)
    assert series is not None
    assert series.key == a_history(8).key
    assert {p.kind for p in series.points} == {PointKind.FORECAST}
    assert (series.points[0].start, series.points[-1].end) == (OLD, OLD + DAY)
    found = forecast_for(opted(a_history(8)), OLD, SLOT_S)
    assert found.age_s == 5 * 86_400
    assert {name: found.provenance[name] for name in ("source", "signal", "basis", "accounting")} == {
        "source": "test",
        "signal": "average",
        "basis": "direct",
        "accounting": "consumption",
    }


def test_all_days_count_alike() -> None:
    series = climatology(history_of(4, [100.0, 200.0, 300.0, 800.0]), OLD)
    assert series is not None
    assert [p.g_per_kwh for p in series.points] == pytest.approx([350.0] * 12 + [300.0] * 6 + [350.0] * 6)


# ---- its skill ----


def record_of(history: Series) -> Record:
    return record((), history, NOON, 3600.0)


def test_it_is_judged_by_what_was_known_two_days_before() -> None:
    calm, wild = [200.0] * 14, [*[200.0] * 11, 900.0, 900.0, 900.0]
    (before, ours), (_, theirs) = (
        told_before(record_of(history_of(14, levels)), record_of(history_of(14, levels)).slot_of(NOON))
        for levels in (calm, wild)
    )
    slots = np.array(before.at)
    unaware = slots - round(HISTORY_MAX_AGE / HOUR) <= 11 * 24
    assert unaware.any()
    assert (~unaware).any()
    assert np.array_equal(ours[unaware], theirs[unaware])
    assert (ours[~unaware] < theirs[~unaware]).any()


def test_a_day_that_repeats_is_captured_whole_and_one_that_turns_round_costs() -> None:
    same = record_of(a_history(14))
    assert learn(same, same.slot_of(NOON)).climatology.captured == pytest.approx(1.0)

    def turned(i: int) -> float:
        early = (12 + i) % 24 < 12
        return (100.0 if early else 300.0) if i < 9 * 24 else (300.0 if early else 100.0)

    other = record_of(a_series(NOON - 14 * DAY, 14 * 24, PointKind.ACTUAL, price=turned))
    assert learn(other, other.slot_of(NOON)).climatology.captured < 0.2


@pytest.mark.parametrize("history", [a_history(6.5), a_history(14, kind=PointKind.STATIC)], ids=["short", "static"])
def test_with_too_few_moments_nothing_is_told_of_it(history: Series) -> None:
    known = record_of(history)
    assert learn(known, known.slot_of(NOON)).climatology == CLIMATOLOGY


@pytest.mark.parametrize("days_after", [0, 3, 6])
def test_on_the_recorded_days_it_captures_some_of_the_saving(days_after: int) -> None:
    actual = recorded_days().actual
    now = actual.points[-1].end + timedelta(days=days_after)
    known = record((), actual, now, 1800.0)
    skill = learn(known, known.slot_of(now)).climatology
    assert 0.25 < skill.captured < 0.55
    assert skill.moments == 240 - 24 * days_after
    assert skill.bands.basis == "calibrated"
    assert skill.difference is not None


@pytest.mark.parametrize("days_after", [8, 12, 20])
def test_learning_goes_on_when_the_figures_ended_long_ago(days_after: int) -> None:
    actual = recorded_days().actual
    now = actual.points[-1].end + timedelta(days=days_after)
    known = record((), actual, now, 1800.0)
    assert learn(known, known.slot_of(now)).boosted is None
