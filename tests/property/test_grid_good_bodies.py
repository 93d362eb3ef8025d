"""The answers that are spoilt at random are series before: else each test of them would pass on failures alone."""

import json
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lowtide.connectors.grid.eia import Eia
from lowtide.connectors.grid.entsoe import Entsoe
from lowtide.scheduler.model.series import Series
from tests.property import test_grid_carbon_aware_sdk_fuzz as carbon_aware_sdk
from tests.property import test_grid_eia_fuzz as eia
from tests.property import test_grid_electricity_maps_fuzz as electricity_maps
from tests.property import test_grid_energinet_fuzz as energinet
from tests.property import test_grid_energy_charts_fuzz as energy_charts
from tests.property import test_grid_entsoe_fuzz as entsoe
from tests.property import test_grid_mapped_fuzz as mapped
from tests.property import test_grid_parsers as parsers
from tests.property import test_grid_rte_fuzz as rte
from tests.property import test_grid_watttime_fuzz as watttime
from tests.property.mutation import Canned, answer, hold


def told(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def canned(source: Any, body: Any, others: dict[str, bytes] | None = None) -> Any:
    source._api._http = Canned(told(body), others)
    return source


def a_watttime(folder: Path, body: Any) -> Any:
    return watttime.source_with(folder, told(body), told(watttime.LOGIN), told(watttime.ACCESS))


def a_mapped(form: str, _folder: Path) -> Any:
    return canned(mapped.ROWS[form][0], mapped.body_of(form))


def key_in(folder: Path) -> str:
    (folder / "key").write_text("hush")
    return str(folder / "key")


BOTH = ("actual", "forecast")
ACTUAL, FORECAST = (("actual",), ("forecast",))
URL, DE, PJM = "http://vendor", "DE", "PJM_NJ"
EM, SDK, WT = electricity_maps, carbon_aware_sdk, watttime
EM_PAST = told({**EM.HISTORY, "data": EM.HISTORY["history"]})
NEWEST = {"/query?": mapped.RIGHT_NEWEST}
Case = tuple[Callable[[Path], Any], tuple[str, ...], str, datetime]
CASES: dict[str, Case] = {
    "neso": (lambda _: canned(parsers.NESO, parsers.HALF_HOURS), BOTH, "GB", parsers.NOON),
    "neso_regional": (lambda _: canned(mapped.REGIONAL, mapped.REGION), BOTH, "GB-13", mapped.NOW),
    "energinet": (lambda _: canned(energinet.SOURCE, energinet.GOOD), BOTH, "DK1", energinet.NOON),
    "energy_charts": (lambda _: canned(energy_charts.SOURCE, energy_charts.GOOD), BOTH, DE, energy_charts.NOON),
    "rte": (lambda _: canned(rte.SOURCE, rte.GOOD), ACTUAL, "FR", rte.NOON),
    "carbon_aware_sdk, past": (lambda _: SDK.source_with(told(SDK.PAST)), ACTUAL, "eastus", SDK.NOW),
    "carbon_aware_sdk, ahead": (lambda _: SDK.source_with(told(SDK.AHEAD)), FORECAST, "eastus", SDK.NOW),
    "electricity_maps, past": (lambda _: EM.source_with(told(EM.HISTORY), EM_PAST), ACTUAL, DE, EM.NOW),
    "electricity_maps, ahead": (lambda _: EM.source_with(told(EM.FORECAST), EM_PAST), FORECAST, DE, EM.NOW),
    "watttime, past": (lambda folder: a_watttime(folder, WT.PAST), ACTUAL, PJM, WT.NOW),
    "watttime, ahead": (lambda folder: a_watttime(folder, WT.AHEAD), FORECAST, PJM, WT.NOW),
    "eia": (lambda folder: canned(Eia(base_url=URL, api_key_file=key_in(folder)), eia.GOOD), ACTUAL, "CISO", eia.NOON),
    "entsoe": (
        lambda folder: canned(Entsoe(base_url=URL, token_file=key_in(folder)), entsoe.GOOD),
        ACTUAL,
        "BE",
        entsoe.NOON,
    ),
    "prometheus": (lambda _: canned(mapped.SERVER, mapped.MATRIX, NEWEST), BOTH, "campus", mapped.NOW),
    **{f"http_json, {form}": (partial(a_mapped, form), BOTH, "campus", mapped.NOW) for form in mapped.ROWS},
}


@pytest.mark.parametrize("name", CASES)
def test_a_body_is_a_series_before_it_is_spoilt(tmp_path: Path, name: str) -> None:
    build, operations, zone, now = CASES[name]
    for operation in operations:
        found = answer(build(tmp_path), operation, zone, now)
        assert isinstance(found, Series), found
        hold(found, zone)
