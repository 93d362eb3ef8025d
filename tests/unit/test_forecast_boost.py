"""Gradient boosting as our own forecast: taken where it does better, and only there."""

from datetime import timedelta

import numpy as np
import pytest

from lowtide.scheduler.forecast.ladder import GridKnowledge, Rung, forecast_for
from lowtide.scheduler.forecast.learn import learn
from lowtide.scheduler.forecast.record import record
from lowtide.scheduler.model.series import PointKind, Series
from tests.recorded_days import recorded_days
from tests.unit.test_ladder import DAY, NOON, SLOT_S, a_series

pytest.importorskip("sklearn")


def alternating(hour: int) -> float:
    """Even days are clean in the morning, odd days in the evening: the mean of the days is flat."""
    early = (hour // 24) % 2 == 0
    return 100.0 if (hour % 24 < 12) == early else 300.0


def history(days: int = 14) -> Series:
    return a_series(NOON - days * DAY, days * 24, PointKind.ACTUAL, price=lambda i: alternating(12 + i))


@pytest.mark.slow
def test_what_the_usual_figures_cannot_tell_is_boosted() -> None:
    known = record((), history(), NOON, 3600.0)
    learned = learn(known, known.slot_of(NOON))
    assert learned.boosted is not None
    found = forecast_for(GridKnowledge("GB", history=history(), learned=learned), NOON, SLOT_S)
    assert found.rung == Rung.OWN_FORECAST
    came = np.array([alternating(12 + 14 * 24 + i // 4) for i in range(96)])
    assert float(np.abs(np.array(found.g_per_kwh) - came).mean()) < 40.0
    later = forecast_for(GridKnowledge("GB", history=history(), learned=learned), NOON + timedelta(minutes=70), SLOT_S)
    assert later.g_per_kwh[0] == found.g_per_kwh[4]


@pytest.mark.slow
def test_where_it_does_no_better_the_usual_figures_stay() -> None:
    days = recorded_days()
    end = days.actual.points[-1].end
    known = record((), days.actual, end, 1800.0)
    assert learn(known, known.slot_of(end)).boosted is None


def test_a_source_with_a_forecast_of_its_own_needs_none() -> None:
    days = recorded_days()
    known = days.record_at(days.issues[30].fetched_at)
    assert learn(known, len(known.actual)).boosted is None
