"""Prices and baselines: what can be known is settled, what cannot is closed with its reason, and neither waits."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from lowtide.scheduler.control import settling
from lowtide.scheduler.ledger import emissions
from lowtide.scheduler.model.series import Basis, PointKind
from lowtide.scheduler.model.tariff import Rate, Tariff
from lowtide.scheduler.report import receipt as receipts
from lowtide.scheduler.store import accounts
from tests.books import HALF_HOUR, NOON, SITES, Books, a_series, a_yearly_average
from tests.fake_service import a_job

HOUR = timedelta(hours=1)
KWH_G = 1.25
"""Grams of one kilowatt-hour at 1 g/kWh and the lab's PUE."""


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    made = Books(tmp_path)
    yield made
    made.database.close()


def test_jobs_that_can_never_be_priced_hold_up_nobody(books: Books) -> None:
    for n in range(250):
        books.ran(f"blind-{n}", site="cellar")
    books.ran("mri-1", at=NOON + HALF_HOUR)
    books.settle(NOON + HOUR, actual=(a_series(100, 100),))
    assert books.baseline("mri-1") == ("settled", pytest.approx(100 * KWH_G))
    assert books.baseline("blind-0") == ("no_zone", None)
    assert books.settle(NOON + HOUR) == 0


def test_a_job_that_left_no_energy_is_closed(books: Books) -> None:
    books.ends(books.starts("mri-1"), NOON + HOUR)
    books.settle(NOON + HOUR)
    assert books.baseline("mri-1") == ("no_energy", None)


@pytest.mark.parametrize("site", ["attic", "gone"])
def test_a_job_whose_intensity_never_comes_is_given_up_when_no_source_reaches_back_any_more(
    books: Books, site: str
) -> None:
    books.ran("mri-1", site=site)
    books.settle(NOON + timedelta(days=7))
    assert books.baseline("mri-1") is None
    books.settle(NOON + timedelta(days=9))
    assert books.baseline("mri-1") == ("no_intensity", None)


def test_a_running_job_is_priced_and_keeps_its_account_open(books: Books) -> None:
    books.uses(books.starts("mri-1"), NOON, 1)
    books.settle(NOON + HOUR, actual=(a_series(100),))
    assert [row["emissions_g"] for row in books.rows("mri-1")] == [pytest.approx(100 * KWH_G)]
    assert books.baseline("mri-1") is None


def test_a_job_that_started_when_it_could_is_its_own_baseline(books: Books) -> None:
    books.ran("mri-1", 3)
    books.settle(NOON + 2 * HOUR, actual=(a_series(100, 200, 300),))
    assert books.baseline("mri-1") == ("settled", pytest.approx(600 * KWH_G))


def test_a_saving_is_told_on_the_figures_of_the_source_that_priced_the_energy(books: Books) -> None:
    books.ran("mri-1", at=NOON + HOUR)
    books.settle(NOON + 2 * HOUR, actual=(a_series(300, 300, 100),), estimate=(a_yearly_average(500),))
    assert books.baseline("mri-1") == ("settled", pytest.approx(300 * KWH_G))


def test_a_hole_never_turns_a_flat_grid_into_a_saving(books: Books) -> None:
    """The source was silent for longer than its neighbours can tell, just when the job could first have run."""
    books.ran("mri-1", at=NOON + 3 * HOUR)
    flat = a_series(*[None] * 4, 80, 80, 80, 80)
    books.settle(NOON + 12 * HOUR, actual=(flat,), estimate=(a_yearly_average(217),))
    assert books.baseline("mri-1") == ("gap", None)


def test_a_small_hole_is_bridged_late_and_marked(books: Books) -> None:
    books.ran("mri-1", at=NOON + 2 * HOUR, feasible=NOON + HALF_HOUR)
    holed = (a_series(80, None, 120, 120, 50),)
    books.settle(NOON + 3 * HOUR, actual=holed)
    assert books.baseline("mri-1") is None
    books.settle(NOON + 9 * HOUR, actual=holed)
    assert books.baseline("mri-1") == ("estimated", pytest.approx(100 * KWH_G))


def test_energy_in_a_small_hole_is_priced_by_its_neighbours_as_an_estimate(books: Books) -> None:
    books.ran("mri-1", 3)
    holed = (a_series(80, None, 120),)
    books.settle(NOON + 12 * HOUR, actual=holed, estimate=(a_yearly_average(500),))
    told = [(row["g_per_kwh"], row["kind"], row["grid_source"]) for row in books.rows("mri-1")]
    assert told == [(80, "actual", "neso"), (100, "estimated", "neso"), (120, "actual", "neso")]


def test_energy_of_two_signals_is_not_compared(books: Books) -> None:
    books.ran("mri-1", 4)
    books.settle(NOON + 12 * HOUR, actual=(a_series(80),), estimate=(a_yearly_average(500),))
    assert [row["grid_source"] for row in books.rows("mri-1")] == ["neso", *["static"] * 3]
    assert books.baseline("mri-1") == ("signal_changed", None)


def test_whoever_priced_the_energy_is_named_also_when_the_source_has_left_the_settings(books: Books) -> None:
    campus, average = a_series(80, source="campus"), a_yearly_average(500)
    books.ran("mri-1", 2)
    books.settle(NOON + HOUR, actual=(replace(campus, attribution="The campus plant"),))
    books.settle(NOON + 12 * HOUR, estimate=(replace(average, attribution="Ember, CC BY 4.0"),))
    assert [row["attribution"] for row in books.rows("mri-1")] == ["The campus plant", "Ember, CC BY 4.0"]


def test_a_source_is_named_as_it_asked_last(books: Books) -> None:
    books.ran("mri-1")
    books.settle(NOON + HOUR, actual=(replace(a_series(80), attribution="NESO"),))
    books.records(replace(a_series(80), attribution="NESO, CC BY 4.0"), a_series(80))
    assert [row["attribution"] for row in books.rows("mri-1")] == ["NESO, CC BY 4.0"]


def test_a_yearly_average_saves_nothing(books: Books) -> None:
    books.ran("mri-1", at=NOON + HOUR)
    average = a_yearly_average(217)
    books.settle(NOON + 2 * HOUR, actual=(average,), estimate=(average,))
    with books.database.read() as connection:
        told = receipts.totals(books.rows("mri-1"), accounts.baseline_by_job(connection, ["mri-1"])["mri-1"])
    assert told["avoided_g"] == pytest.approx(0)


def test_figures_of_another_source_are_never_taken_for_the_one_that_priced(books: Books) -> None:
    """A new source took over between the job's end and its comparison: the old one's figures are still read."""
    books.records(a_series(300, 300, 100))
    books.ran("mri-1", at=NOON + HOUR)
    books.settle(NOON + 2 * HOUR)
    books.ran("mri-2", at=NOON + 3 * HOUR)
    books.settle(NOON + 12 * HOUR, actual=(a_series(*[40] * 7, source="file", basis=Basis.LIFECYCLE),))
    assert books.baseline("mri-1") == ("settled", pytest.approx(300 * KWH_G))
    assert books.baseline("mri-2") == ("settled", pytest.approx(40 * KWH_G))


def test_an_actual_figure_is_taken_before_an_estimate_and_overlaps_are_left_out(books: Books) -> None:
    books.records(a_series(90, 90, kind=PointKind.ESTIMATED), a_series(100))
    books.records(a_series(70, start=NOON + timedelta(minutes=15)))
    books.ran("mri-1", 2)
    books.settle(NOON + HOUR)
    assert [row["g_per_kwh"] for row in books.rows("mri-1")] == [100, 90]


def test_inv18_emissions_computed_again_from_the_rows_are_those_on_record(books: Books) -> None:
    books.ran("mri-1", 3, at=NOON + HOUR)
    books.settle(NOON + 3 * HOUR, actual=(a_series(310, 290, 100, 120.5, 99.25),))
    recorded = {NOON + i * HALF_HOUR: g for i, g in enumerate((310, 290, 100, 120.5, 99.25))}
    rows = books.rows("mri-1")
    for row in rows:
        assert row["g_per_kwh"] == recorded[row["start_at"]]  # type: ignore[index]
        again = emissions.grams(row["energy_mj"], row["g_per_kwh"], row["pue"])  # type: ignore[arg-type]
        assert row["emissions_g"] == again
    with books.database.read() as connection:
        told = receipts.totals(rows, accounts.baseline_by_job(connection, ["mri-1"])["mri-1"])
    assert told["emissions_g"] == sum(row["emissions_g"] for row in rows)  # type: ignore[misc]
    assert told["baseline_emissions_g"] == pytest.approx((310 + 290 + 100) * KWH_G)


def test_inv16_settling_again_changes_nothing(books: Books) -> None:
    books.ran("mri-1", 2)
    books.settle(NOON + HOUR, actual=(a_series(100, 200),))
    before = books.emissions(), books.baseline("mri-1")
    books.settle(NOON + 12 * HOUR, actual=(a_series(1, 2),), estimate=(a_yearly_average(500),))
    assert (books.emissions(), books.baseline("mri-1")) == before


def test_what_electricity_cost_is_settled_with_the_grams_by_the_tariff_of_the_time(books: Books) -> None:
    """Half an hour at each of two prices, a kilowatt-hour in each."""
    rates = Rate(0, 12 * 60 + 30, tuple(range(7)), 0.4), Rate(12 * 60 + 30, 0, tuple(range(7)), 0.2)
    lab = replace(SITES["lab"], tariff=Tariff("GBP", "UTC", rates))
    books.settlement = settling.Settlement({"lab": lab})
    books.ran("mri-1", 2)
    books.settle(NOON + 2 * HOUR, actual=(a_series(100, 100),))
    assert [row["cost"] for row in books.rows("mri-1")] == [pytest.approx(0.4 * 1.25), pytest.approx(0.2 * 1.25)]
    told = receipts.receipt(a_job(), books.rows("mri-1"), None, [])
    assert (told["cost"], told["currency"]) == (pytest.approx(0.6 * 1.25), "GBP")


def test_without_a_tariff_what_electricity_cost_is_not_known(books: Books) -> None:
    books.ran("mri-1")
    books.settle(NOON + 2 * HOUR, actual=(a_series(100, 100),))
    told = receipts.receipt(a_job(), books.rows("mri-1"), None, [])
    assert (told["cost"], told["currency"]) == (None, None)
