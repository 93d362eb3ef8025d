"""Whatever comes back from NESO's regions, Prometheus or a mapped API: a sane series or a typed failure (INV-12)."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lowtide.connectors.grid.http_json import HttpJson
from lowtide.connectors.grid.neso_regional import NesoRegional
from lowtide.connectors.grid.prometheus import Prometheus
from lowtide.scheduler.model.errors import GridFailure
from lowtide.scheduler.model.series import GridSource, Series
from tests.property.mutation import Canned, answer, hold, mutated, thorough

NOW = datetime(2026, 3, 10, 12, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
OPERATIONS = st.sampled_from(["actual", "forecast"])


def examine(source: GridSource, operation: str, zone: str) -> None:
    """Ask once; anything but a sane series, of the past where that was asked for, or a grid failure is raised."""
    found = answer(source, operation, zone, NOW)
    hold(found, zone)
    if operation == "actual" and isinstance(found, Series):
        assert all(p.end <= NOW for p in found.points)


def slots(ahead: int) -> list[datetime]:
    return [NOW.replace(minute=0) + n * HOUR / 2 for n in range(-6, ahead)]


REGION = {
    "data": {
        "regionid": 13,
        "shortname": "London",
        "data": [
            {
                "from": f"{when:%Y-%m-%dT%H:%MZ}",
                "to": f"{when + HOUR / 2:%Y-%m-%dT%H:%MZ}",
                "intensity": {"forecast": 100, "index": "low"},
            }
            for when in slots(6)
        ],
    }
}
REGIONAL = NesoRegional("http://vendor")


@thorough()
@given(body=mutated(REGION), operation=OPERATIONS)
def test_any_answer_about_a_region_is_a_sane_series_or_a_grid_failure(body: bytes, operation: str) -> None:
    REGIONAL._api._http = Canned(body)
    examine(REGIONAL, operation, "GB-13")


NEWEST = {
    "status": "success",
    "data": {"resultType": "vector", "result": [{"metric": {}, "value": [NOW.timestamp(), f"{NOW.timestamp()}"]}]},
}
MATRIX = {
    "status": "success",
    "data": {
        "resultType": "matrix",
        "result": [
            {
                "metric": {"location": "campus", "units": "gCO2 per kWh", "is_estimated": "false"},
                "values": [[when.timestamp(), "100"] for when in slots(6)],
            }
        ],
    },
}
SERVER = Prometheus(
    "http://vendor", "ci", ["campus"], unit="g/kWh", signal="average", forecast_query="ahead", step_s=1800
)
RIGHT_NEWEST = b'{"status": "success", "data": {"resultType": "vector", "result": [{"value": [0, "1773144000"]}]}}'


@thorough()
@given(body=mutated(MATRIX), operation=OPERATIONS)
def test_any_matrix_is_a_sane_series_or_a_grid_failure(body: bytes, operation: str) -> None:
    SERVER._api._http = Canned(body, {"/query?": RIGHT_NEWEST})
    examine(SERVER, operation, "campus")


@thorough()
@given(body=mutated(NEWEST))
def test_any_time_of_the_newest_sample_is_a_grid_failure_or_a_time(body: bytes) -> None:
    SERVER._api._http = Canned(body)
    try:
        assert asyncio.run(SERVER._newest("campus", NOW)) >= NOW - 2 * HOUR
    except GridFailure:
        return


def a_mapping(**options: Any) -> HttpJson:
    actual = {"path": "/x", "rows": "rows", "time": "t", "value": "v.g", "zone": "zone", "issued": "made", **options}
    return HttpJson("http://vendor", ["campus"], actual, signal="average", forecast={})


ROWS: dict[str, tuple[HttpJson, list[Any]]] = {
    "iso": (a_mapping(), [f"{when:%Y-%m-%dT%H:%MZ}" for when in slots(6)]),
    "unix": (a_mapping(time_format="unix_ms", time_is="end"), [when.timestamp() * 1000 for when in slots(6)]),
    "naive": (
        a_mapping(time_format="naive", timezone="Europe/Berlin", text_numbers=True),
        [f"{when:%Y-%m-%dT%H:%M}" for when in slots(6)],
    ),
}


def body_of(form: str) -> Any:
    times = ROWS[form][1]
    return {"zone": "campus", "made": times[0], "rows": [{"t": time, "v": {"g": 100}} for time in times]}


MAPPED = st.sampled_from(sorted(ROWS)).flatmap(lambda form: st.tuples(st.just(form), mutated(body_of(form))))


@thorough()
@given(told=MAPPED, operation=OPERATIONS)
def test_any_answer_to_a_mapping_is_a_sane_series_or_a_grid_failure(told: tuple[str, bytes], operation: str) -> None:
    form, body = told
    source = ROWS[form][0]
    source._api._http = Canned(body)
    examine(source, operation, "campus")
