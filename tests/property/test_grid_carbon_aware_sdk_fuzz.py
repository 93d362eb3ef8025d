"""Whatever a Carbon Aware SDK WebAPI says, or seems to: a sane series or a grid failure (INV-11, INV-12)."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from lowtide.connectors.grid.carbon_aware_sdk import CarbonAwareSdk
from lowtide.scheduler.model.errors import GridFailure
from tests.property.mutation import Canned, hold, mutated, outcome, thorough

NOW = datetime(2026, 3, 10, 12, 10, tzinfo=UTC)
PAST = [
    {"location": "eastus", "time": f"2026-03-10T{hour:02}:00:00.0000001+00:00", "rating": 300.5, "duration": span}
    for hour, span in ((8, "01:00:00"), (9, 60), (10, 30), (11, None))
]
AHEAD = [
    {
        "requestedAt": "2026-03-10T12:10:00+00:00",
        "generatedAt": "2026-03-10T12:05:00+00:00",
        "location": "eastus",
        "dataStartAt": "2026-03-10T12:00:00Z",
        "windowSize": 30,
        "optimalDataPoint": {"location": "PJM", "timestamp": "2026-03-10T13:00:00Z", "duration": 30, "value": 1},
        "forecastData": [
            {"location": "PJM", "timestamp": f"2026-03-10T{hour}:00:00+00:00", "duration": 60, "value": 300 + hour}
            for hour in range(12, 18)
        ],
    }
]
LOCATIONS = {"eastus": {"Latitude": 37.3, "Longitude": -79.8, "Name": "eastus"}}


SOURCE = CarbonAwareSdk("http://vendor", signal="marginal")


def source_with(body: bytes) -> CarbonAwareSdk:
    SOURCE._api._http = Canned(body)
    return SOURCE


@thorough()
@given(past=mutated(PAST), ahead=mutated(AHEAD), hours=st.integers(0, 6))
def test_any_body_is_a_sane_series_or_a_grid_failure(past: bytes, ahead: bytes, hours: int) -> None:
    told = outcome(source_with(past).actual("eastus", NOW - timedelta(hours=hours), NOW, NOW))
    for found in (told, outcome(source_with(ahead).forecast("eastus", NOW))):
        hold(found, "eastus", lambda g_per_kwh: g_per_kwh > 0)


@given(body=mutated(LOCATIONS))
def test_any_list_of_locations_is_one_or_a_grid_failure(body: bytes) -> None:
    source = source_with(body)
    found = outcome(source.probe(NOW))
    assert isinstance(found, GridFailure) or tuple(one.zone for one in found) == source.zones()
