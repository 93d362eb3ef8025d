"""A generation mix becomes an intensity by a named set of factors, or it becomes nothing."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lowtide.connectors.grid.mix import (
    DEFAULT_SET,
    STORAGE,
    factor_set,
    factor_sets,
    intensities,
    quantity,
    usual_fuels,
)
from lowtide.scheduler.model.errors import BadInput, GridFailure, GridFailureKind
from lowtide.scheduler.model.series import Basis

START, HOUR = datetime(2026, 3, 10, tzinfo=UTC), timedelta(hours=1)
FUELS = {"G": "gas", "N": "nuclear", "L": "lignite", "O": "oil", "P": STORAGE, "X": "other"}
FACTORS = factor_set(DEFAULT_SET)


def hours(*mixes: dict[str, float]) -> dict[datetime, dict[str, float]]:
    return {START + i * HOUR: mix for i, mix in enumerate(mixes)}


def figures(*mixes: dict[str, float], factors: str = DEFAULT_SET) -> dict[int, float]:
    """Intensity by the number of the hour."""
    found = intensities("v", hours(*mixes), FUELS, factor_set(factors))
    return {(start - START) // HOUR: figure for start, figure in found}


def test_the_intensity_is_weighted_by_generation() -> None:
    assert figures({"G": 300.0, "N": 100.0}) == {0: (300 * 490 + 100 * 12) / 400}


def test_no_generation_at_all_is_no_figure_and_no_division_by_zero() -> None:
    assert figures({"G": 0.0, "N": 0.0}, {"G": -1.0, "N": -2.0}) == {}


def test_negative_generation_counts_as_none() -> None:
    assert figures({"G": 100.0, "N": -40.0}) == {0: 490}


def test_storage_counts_neither_way() -> None:
    assert figures({"G": 100.0, "P": 900.0}, {"G": 100.0, "P": -900.0}, {"G": 100.0}) == {0: 490, 1: 490, 2: 490}


def test_an_hour_without_a_usual_fuel_is_left_out() -> None:
    both = {"G": 100.0, "N": 100.0}
    assert list(figures(both, both, both, {"N": 100.0})) == [0, 1, 2]


def test_a_fuel_that_is_seldom_told_and_small_is_not_missed() -> None:
    plain = {"G": 100.0, "N": 100.0}
    assert list(figures({**plain, "O": 1.0}, plain, plain)) == [0, 1, 2]


def test_a_fuel_that_is_missing_most_of_the_time_is_missed_when_it_is_large() -> None:
    without = {"N": 100.0, "O": 1.0}
    assert list(figures({**without, "G": 100.0}, without, without, without)) == [0]
    assert usual_fuels(hours({**without, "G": 100.0}, without, without)) == {"N", "O", "G"}


def test_a_fuel_that_the_vendor_does_not_document_is_refused() -> None:
    with pytest.raises(GridFailure) as caught:
        figures({"G": 100.0, "Z": 1.0})
    assert caught.value.kind == GridFailureKind.BAD_RESPONSE
    assert "'Z'" in caught.value.message


def test_a_fuel_without_a_factor_is_refused_when_it_generates_and_only_then() -> None:
    assert figures({"G": 100.0, "O": 0.0}, factors="ipcc_ar5_lifecycle_2014") == {0: 490}
    with pytest.raises(GridFailure) as caught:
        figures({"G": 100.0, "O": 5.0}, factors="ipcc_ar5_lifecycle_2014")
    assert "oil, for which ipcc_ar5_lifecycle_2014 has no factor" in caught.value.message
    assert DEFAULT_SET in caught.value.fix


def test_lignite_counts_as_coal_where_a_set_has_no_figure_of_its_own() -> None:
    assert figures({"L": 1.0}) == {0: 820}
    assert figures({"L": 1.0}, factors="bio_pype") == {0: 1000}


def test_a_set_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(BadInput) as caught:
        factor_set("unece")
    assert "ipcc_ar5_lifecycle_2014" in caught.value.fix


def test_every_set_says_its_basis_and_source_and_has_sane_figures() -> None:
    for name, factors in factor_sets().items():
        assert factors.id == name
        assert factors.source
        assert all(0 <= g <= 1100 for g in factors.g_per_kwh.values())
        assert {"coal", "gas", "nuclear", "hydro", "solar", "wind_onshore"} <= factors.g_per_kwh.keys()
    assert factor_set("electricity_maps_defaults_direct").basis == Basis.DIRECT
    assert factor_set("codecarbon").basis == Basis.UNKNOWN


def test_the_usual_set_has_a_figure_for_every_fuel() -> None:
    every = {fuel for factors in factor_sets().values() for fuel in factors.g_per_kwh}
    assert every == set(FACTORS.g_per_kwh)


@pytest.mark.parametrize("value", [True, "x", "nan", "inf", "1e400", 1e9, -1e9, [], {}, 10**400])
def test_a_quantity_that_no_grid_makes_is_refused(value: Any) -> None:
    with pytest.raises(GridFailure) as caught:
        quantity("v", value)
    assert caught.value.kind == GridFailureKind.BAD_RESPONSE


@pytest.mark.parametrize(("value", "mw"), [("400", 400), (400, 400), ("-3.5", -3.5), (None, None), (0, 0)])
def test_a_quantity_is_a_number_a_text_or_missing(value: Any, mw: float | None) -> None:
    assert quantity("v", value) == mw
