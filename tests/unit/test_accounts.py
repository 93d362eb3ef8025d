"""The ledger's arithmetic: exact, repeatable, and honest about what is not known."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowtide.scheduler.ledger import emissions, energy
from lowtide.scheduler.model.series import Accounting, Basis, Point, PointKind, Series, Signal
from lowtide.scheduler.model.units import from_timestamp

START = datetime(2026, 3, 1, 12, 10, tzinfo=UTC)
FOREVER = START + timedelta(days=365)


def a_series(*values: float, start: datetime = datetime(2026, 3, 1, 12, tzinfo=UTC)) -> Series:
    half = timedelta(minutes=30)
    points = tuple(Point(start + i * half, start + (i + 1) * half, g, PointKind.ACTUAL) for i, g in enumerate(values))
    return Series(
        source="test",
        zone_requested="GB",
        zone_returned="GB",
        points=points,
        step_s=1800,
        signal=Signal.AVERAGE,
        basis=Basis.DIRECT,
        accounting=Accounting.CONSUMPTION,
        fetched_at=start,
    )


def rows_of(
    samples: list[tuple[float, float]], *, closed_only: bool = False, scale: float = 1.0
) -> list[energy.EnergyRow]:
    taken = [energy.CumulativeSample(START.timestamp() + s, {"cpu": j}) for s, j in samples]
    start = energy.Reading(START, 0.0)
    curve = energy.readings(taken, "cpu", start=start, until=FOREVER, from_wall=from_timestamp, scale=scale)
    return energy.rows(
        curve, attempt_id="a", component="cpu", source="rapl", quality="measured", scale=scale, closed_only=closed_only
    )


def test_rows_end_at_the_half_hours() -> None:
    rows = rows_of([(3600.0, 3600.0)])
    assert [(r.start.strftime("%H:%M"), r.end.strftime("%H:%M"), r.energy_mj) for r in rows] == [
        ("12:10", "12:30", 1_200_000),
        ("12:30", "13:00", 1_800_000),
        ("13:00", "13:10", 600_000),
    ]


@given(st.lists(st.tuples(st.floats(1, 20_000), st.floats(0, 1e6)), min_size=1, max_size=30, unique_by=lambda s: s[0]))
def test_inv15_rows_add_up_to_the_counter_within_a_millijoule(samples: list[tuple[float, float]]) -> None:
    ordered = sorted(samples)
    rising = [(s, max(j for _, j in ordered[: i + 1])) for i, (s, _) in enumerate(ordered)]
    assert abs(sum(r.energy_mj for r in rows_of(rising)) - rising[-1][1] * 1000) <= 1


@given(
    st.lists(st.tuples(st.floats(1, 20_000), st.floats(0, 1e6)), min_size=1, max_size=20, unique_by=lambda s: s[0]),
    st.randoms(use_true_random=False),
)
def test_inv16_duplicates_and_disorder_change_nothing(samples: list[tuple[float, float]], draws: object) -> None:
    repeated = samples * 2
    draws.shuffle(repeated)  # type: ignore[attr-defined]
    assert rows_of(repeated) == rows_of(samples)


def test_inv16_a_row_that_was_written_early_equals_the_one_written_later() -> None:
    early = rows_of([(600.0, 100.0), (3000.0, 900.0)], closed_only=True)
    late = rows_of([(600.0, 100.0), (3000.0, 900.0), (4000.0, 1500.0)])
    assert early == late[: len(early)]
    assert len(early) == 2


def test_inv17_a_counter_that_falls_back_adds_nothing_negative() -> None:
    rows = rows_of([(60.0, 500.0), (120.0, 20.0), (180.0, 50.0)])
    assert sum(r.energy_mj for r in rows) == 500_000


def test_inv15_a_clock_that_is_set_back_adds_no_energy() -> None:
    """Two hours at 100 W, sampled each half minute; the node's clock is set back by half an hour on the way."""
    samples = [(30.0 * i - (1800.0 if i > 120 else 0.0), 3000.0 * i) for i in range(1, 241)]
    assert sum(r.energy_mj for r in rows_of(samples)) == 720_000_000


def test_samples_that_were_taken_while_the_clock_was_wrong_move_no_other() -> None:
    steady = [(60.0 * i, 600.0 * i) for i in range(1, 121)]
    glitch = [(s + 86_400.0 if 20 < i < 23 else s, j) for i, (s, j) in enumerate(steady)]
    told = [(r.start, r.end, r.energy_mj) for r in rows_of(steady)]
    assert [(r.start, r.end, r.energy_mj) for r in rows_of(glitch)] == told


def test_inv16_a_curve_goes_on_where_the_rows_on_record_end() -> None:
    """The half hour on record was read off samples that are lost by now: what it lacks or has is made up for."""
    taken = [energy.CumulativeSample(START.timestamp() + 3600.0, {"cpu": 3600.0})]
    booked = energy.Reading(START + timedelta(minutes=20), 900.0)
    curve = energy.readings(taken, "cpu", start=booked, until=FOREVER, from_wall=from_timestamp, scale=1.0)
    rows = energy.rows(curve, attempt_id="a", component="cpu", source="rapl", quality="measured")
    assert [(r.start.strftime("%H:%M"), r.energy_mj) for r in rows] == [("12:30", 2_025_000), ("13:00", 675_000)]


def test_energy_that_came_while_the_clock_stood_behind_the_record_is_not_lost() -> None:
    taken = [energy.CumulativeSample(START.timestamp() + 60.0, {"cpu": 1000.0})]
    booked = energy.Reading(START + timedelta(minutes=20), 900.0)
    curve = energy.readings(taken, "cpu", start=booked, until=FOREVER, from_wall=from_timestamp, scale=1.0)
    (row,) = energy.rows(curve, attempt_id="a", component="cpu", source="rapl", quality="measured")
    assert (row.start, row.energy_mj) == (booked.at, 100_000)


def test_a_time_lapse_multiplies_energy_and_says_by_how_much() -> None:
    (row,) = rows_of([(60.0, 10.0)], scale=600.0)
    assert (row.energy_mj, row.scale) == (6_000_000, 600.0)


def test_inv18_emissions_are_energy_times_the_intensity_of_that_time() -> None:
    found = emissions.price(a_series(100, 200), START, START + timedelta(minutes=30))
    assert found is not None
    assert found.g_per_kwh == pytest.approx((20 * 100 + 10 * 200) / 30)
    assert emissions.grams(3_600_000_000, found.g_per_kwh, 1.5) == pytest.approx(found.g_per_kwh * 1.5)


def test_an_interval_that_is_not_fully_known_has_no_price() -> None:
    assert emissions.price(a_series(100), START, START + timedelta(hours=1)) is None
    assert emissions.price(None, START, START + timedelta(minutes=1)) is None


def spent(start_min: float, minutes: float, energy_mj: int) -> emissions.Spent:
    start = START + timedelta(minutes=start_min)
    return emissions.Spent(start, start + timedelta(minutes=minutes), energy_mj, 1.0)


def test_the_counterfactual_closes_the_gap_of_a_suspension() -> None:
    moved = emissions.shifted([spent(100, 10, 5), spent(200, 20, 7)], START)
    assert [(m.start - START, m.end - START) for m in moved] == [
        (timedelta(0), timedelta(minutes=10)),
        (timedelta(minutes=10), timedelta(minutes=30)),
    ]


def test_components_of_the_same_time_stay_together() -> None:
    moved = emissions.shifted([spent(60, 10, 5), spent(60, 10, 9), spent(70, 10, 1)], START)
    assert [(m.start - START).total_seconds() / 60 for m in moved] == [0, 0, 10]


def test_a_job_that_ran_at_once_is_its_own_baseline() -> None:
    series = a_series(100, 200, 300)
    rows = [spent(0, 20, 1_000_000_000), spent(20, 30, 2_000_000_000)]
    own = 0.0
    for row in rows:
        found = emissions.price(series, row.start, row.end)
        assert found is not None
        own += emissions.grams(row.energy_mj, found.g_per_kwh, row.pue)
    assert emissions.counterfactual_g(rows, START, series) == pytest.approx(own)


def test_the_counterfactual_is_unknown_where_the_intensity_is() -> None:
    assert emissions.counterfactual_g([spent(0, 20, 1)], START - timedelta(days=2), a_series(100)) is None


def a_series_with_a_hole(half_hours: int) -> Series:
    whole = a_series(100, *[0.0] * half_hours, 200)
    return replace(whole, points=(whole.points[0], whole.points[-1]))


def test_a_hole_of_an_hour_is_filled_by_the_mean_of_its_neighbours_as_an_estimate() -> None:
    found = emissions.price(emissions.bridged(a_series_with_a_hole(2)), START, START + timedelta(minutes=50))
    assert found is not None
    assert found.g_per_kwh == pytest.approx((20 * 100 + 30 * 150) / 50)
    assert found.kind == "estimated"


def test_a_wider_hole_stays_a_hole() -> None:
    assert emissions.bridged(a_series_with_a_hole(3)) == a_series_with_a_hole(3)


def test_an_interval_is_actual_only_where_all_of_it_is() -> None:
    series = a_series(100, 100)
    mixed = replace(series, points=(series.points[0], replace(series.points[1], kind=PointKind.ESTIMATED)))
    half = timedelta(minutes=30)
    kinds = [found.kind for found in (emissions.price(mixed, START, START + n * half) for n in (0.5, 1)) if found]
    assert kinds == ["actual", "estimated"]
