"""Whatever Electricity Maps says, or seems to: a sane series or a grid failure (INV-11, INV-12)."""

import json
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from lowtide.connectors.grid.electricity_maps import ElectricityMaps
from lowtide.scheduler.model.errors import GridFailure
from lowtide.scheduler.model.series import Coverage, Series
from tests.property.mutation import Canned, hold, mutated, outcome, thorough

NOW = datetime(2026, 3, 10, 12, 10, tzinfo=UTC)
HOURS = [f"2026-03-10T{hour:02}:00:00.000Z" for hour in range(6, 18)]
HISTORY = {
    "zone": "DE",
    "history": [
        {
            "zone": "DE",
            "carbonIntensity": 300 + n,
            "datetime": hour,
            "updatedAt": hour,
            "emissionFactorType": "lifecycle",
            "flowTraced": True,
            "isEstimated": n > 4,
            "estimationMethod": None,
        }
        for n, hour in enumerate(HOURS[:6])
    ],
    "temporalGranularity": "hourly",
}
FORECAST = {
    "zone": "DE",
    "forecast": [{"carbonIntensity": 310 + n, "datetime": hour} for n, hour in enumerate(HOURS[6:])],
    "updatedAt": HOURS[6],
}
ZONE = {"zoneName": "Germany", "countryCode": "DE", "subZoneKeys": [], "access": ["carbon-intensity/history"]}
CATALOGUE = {"DE": ZONE, "DK": {**ZONE, "subZoneKeys": ["DK-DK1"], "access": []}, "DK-DK1": ZONE}


def source_with(body: bytes, past: bytes) -> ElectricityMaps:
    source = ElectricityMaps(base_url="http://vendor/v4")
    source._api._http = Canned(body, {"/past-range": past})
    source._token = lambda **_: {}  # type: ignore[method-assign]
    return source


@thorough()
@given(
    history=mutated(HISTORY),
    forecast=mutated(FORECAST),
    past=mutated({**HISTORY, "data": HISTORY["history"]}),
    hours=st.integers(0, 60),
)
def test_any_body_is_a_sane_series_or_a_grid_failure(history: bytes, forecast: bytes, past: bytes, hours: int) -> None:
    span = timedelta(hours=hours)
    told = outcome(source_with(history, past).actual("DE", NOW - span, NOW, NOW))
    for found in (told, outcome(source_with(forecast, past).forecast("DE", NOW))):
        hold(found, "DE")


@given(body=mutated(CATALOGUE))
def test_any_catalogue_is_one_or_a_grid_failure_and_then_no_zone_is_a_surprise(body: bytes) -> None:
    source = source_with(body, b"")
    found = outcome(source.probe(NOW))
    if not isinstance(found, GridFailure):
        assert all(isinstance(one, Coverage) for one in found)
        assert [one.zone for one in found] == list(source.zones())
    source._api._http = Canned(json.dumps(FORECAST).encode())
    for zone in ("DE", "DK", "ATLANTIS"):
        answer = outcome(source.forecast(zone, NOW))
        assert isinstance(answer, GridFailure) or (isinstance(answer, Series) and zone == "DE")
