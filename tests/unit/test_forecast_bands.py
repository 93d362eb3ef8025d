"""Bands and errors of differences, calibrated on what came."""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from lowtide.scheduler.forecast.bands import LEADS_H, default_bands, difference
from lowtide.scheduler.forecast.correct import DEFAULT_CORRECTION
from lowtide.scheduler.forecast.ladder import GridKnowledge, forecast_for
from lowtide.scheduler.forecast.learn import UNLEARNED, learn
from lowtide.scheduler.forecast.pairs import pairs
from lowtide.scheduler.model.difference import Difference
from tests.recorded_days import recorded_days

WEEK = datetime(2023, 3, 21, 12, 0, tzinfo=UTC)
LAST = datetime(2023, 3, 30, 0, 0, tzinfo=UTC)
HOUR_S = 3600.0


def test_without_pairs_the_documented_errors_stand_widened() -> None:
    bands = default_bands()
    assert bands.basis == "default"
    assert [group.until_h for group in bands.groups] == list(LEADS_H)
    low, high = bands.around(np.array([128.3]), np.array([1.0]))
    # 13.1 g/kWh is the mean absolute error up to an hour; a normal error's p90 lies at 1.6 times that.
    assert high[0] - 128.3 == pytest.approx(1.25 * 1.606 * 13.1, rel=0.01)
    assert low[0] < 128.3


def test_bands_hold_what_they_say_on_the_recorded_days() -> None:
    days = recorded_days()
    known = days.record_at(LAST)
    learned = learn(known, known.slot_of(LAST))
    assert learned.provided.bands.basis == "calibrated"
    for group in learned.provided.bands.groups:
        assert 0.70 < group.coverage < 0.88, group
        assert group.low < 0 < group.high


def test_a_day_of_pairs_is_too_few_to_calibrate() -> None:
    known = recorded_days().record_at(datetime(2023, 3, 15, 6, 0, tzinfo=UTC))
    learned = learn(known, len(known.actual))
    assert learned.provided.bands == UNLEARNED.provided.bands
    assert learned.provided.difference is None


def test_errors_of_neighbouring_slots_go_together() -> None:
    known = recorded_days().record_at(LAST)
    past = pairs(known, known.slot_of(LAST))
    found = difference(past, past.told(DEFAULT_CORRECTION))
    assert found is not None
    near = found.std_over(((0, HOUR_S),), ((HOUR_S, 2 * HOUR_S),))
    far = found.std_over(((0, HOUR_S),), ((24 * HOUR_S, 25 * HOUR_S),))
    assert near < 0.5 * far


def test_calibrated_promises_hold_at_their_confidence() -> None:
    known = recorded_days().record_at(LAST)
    past = pairs(known, known.slot_of(LAST))
    told = past.told(DEFAULT_CORRECTION)
    found = difference(past, told)
    assert found is not None
    gap, z = 16, 0.8416
    promised, came = told[:, 0] - told[:, gap], past.came[:, 0] - past.came[:, gap]
    judged = promised[~np.isnan(came) & (promised > 0)] - came[~np.isnan(came) & (promised > 0)]
    error = found.std_over(((0, 1800),), ((gap * 1800, (gap + 1) * 1800),)) / 1800
    assert 0.7 < float((judged <= z * error).mean()) < 0.9


def test_the_same_time_twice_has_no_error_and_far_apart_all_of_it() -> None:
    errors = Difference(10.0, 8 * HOUR_S)
    assert errors.std_over(((0, 60),), ((0, 60),)) == pytest.approx(0.0, abs=1e-6)
    assert errors.std_over(((0, 60),), ((1e7, 1e7 + 60),)) == pytest.approx(10.0 * 60, rel=1e-3)
    gap_s = 4 * HOUR_S
    expected = 10.0 * math.sqrt(1 - math.exp(-0.5)) * 60
    assert errors.std_over(((0, 60),), ((gap_s, gap_s + 60),)) == pytest.approx(expected, rel=1e-2)


def test_the_decision_gets_bands_and_errors_of_what_was_learned() -> None:
    days = recorded_days()
    past = days.record_at(WEEK)
    learned = learn(past, past.slot_of(WEEK))
    issue = [i for i in days.issues if i.fetched_at <= WEEK][-1]
    history = days.actual.clip(WEEK - timedelta(days=8), WEEK)
    found = forecast_for(GridKnowledge("GB", issue, history, past=past, learned=learned), WEEK, 900.0)
    assert len(found.p10) == len(found.g_per_kwh) == len(found.p90)
    assert all(low <= price <= high for low, price, high in zip(found.p10, found.g_per_kwh, found.p90, strict=True))
    assert found.difference == learned.provided.difference
    assert found.provenance["correction"] == "fitted"
