"""The Carbon Aware SDK's habits; figures are made up, shapes are the documented ones."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import pytest

from lowtide.connectors.grid.carbon_aware_sdk import CarbonAwareSdk
from lowtide.scheduler.model.errors import BadInput, GridFailure, GridFailureKind
from lowtide.scheduler.model.series import Accounting, Basis, PointKind, Series, Signal
from tests.contract.grid_conformance import Case, GridSourceConformance
from tests.contract.grid_server import Reply, Vendor, a_vendor, json_reply, made_up_g_per_kwh
from tests.contract.grid_speakers import speaks_http

NOW = datetime(2026, 3, 10, 12, 10, tzinfo=UTC)
HALF_HOUR, HOUR, DAY = timedelta(minutes=30), timedelta(hours=1), timedelta(days=1)
SLOT = NOW.replace(minute=0)
FIXTURES = Path(__file__).parents[2] / ".." / "shared" / "fixtures" / "grid" / "carbon_aware_sdk"
UNKNOWN = {"title": "ArgumentException", "status": 400, "detail": "Unknown Location: 'ATLANTIS' not found"}
NO_FORECASTS = {"title": "NotImplementedException", "status": 501}
T = TypeVar("T")


def stamp(moment: datetime) -> str:
    """Seven fractional digits, as .NET writes them."""
    return f"{moment:%Y-%m-%dT%H:%M:%S}.0000001+00:00"


def row(start: datetime, rating: Any = None, **more: Any) -> dict[str, Any]:
    told = made_up_g_per_kwh(start) if rating is None else rating
    return {"location": "eastus", "time": stamp(start), "rating": told, "duration": "00:30:00", **more}


def issue(*values: Any, location: str = "eastus", behind: str = "PJM_DC", **more: Any) -> list[dict[str, Any]]:
    """A forecast of half hours from now on."""
    figures = values or tuple(made_up_g_per_kwh(SLOT + n * HALF_HOUR) for n in range(48))
    data = [
        {"location": behind, "timestamp": stamp(SLOT + n * HALF_HOUR), "duration": 30, "value": figure}
        for n, figure in enumerate(figures)
    ]
    times = {"requestedAt": stamp(NOW), "generatedAt": stamp(NOW - 5 * timedelta(minutes=1))}
    return [{**times, "location": location, "windowSize": 30, "forecastData": data, **more}]


def like_the_webapi(path: str) -> Reply:
    """A WebAPI of the documented shape that knows one location and nothing older than a year."""
    parts = urlsplit(path)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    if parts.path == "/locations":
        return json_reply({"eastus": {"Latitude": 37.3, "Longitude": -79.8, "Name": "eastus"}})
    if query["location"] != "eastus":
        return json_reply(UNKNOWN, 400)
    if parts.path == "/emissions/forecasts/current":
        return json_reply(issue())
    start, end = (datetime.fromisoformat(query[name]) for name in ("time", "toTime"))
    if end < NOW - 365 * DAY:
        return Reply(204)
    first = datetime.fromtimestamp(start.timestamp() // 1800 * 1800, tz=UTC)
    starts = (first + n * HALF_HOUR for n in range(int((end - first) / HALF_HOUR) + 1))
    return json_reply([row(s) for s in starts if s < NOW])


speaks_http("carbon_aware_sdk", lambda url: CarbonAwareSdk(url, signal="average"), "eastus", NOW, like_the_webapi)


class TestCarbonAwareSdk(GridSourceConformance):
    @pytest.fixture
    def case(self) -> Iterator[Case]:
        with a_vendor(like_the_webapi) as vendor:
            yield Case(lambda: CarbonAwareSdk(vendor.url, signal="average"), "eastus", NOW, forecasts=True)


def use(vendor: Vendor, question: Callable[[CarbonAwareSdk], Coroutine[Any, Any, T]], **options: Any) -> T:
    async def whole() -> T:
        source = CarbonAwareSdk(vendor.url, **{"signal": "marginal", **options})
        try:
            return await question(source)
        finally:
            await source.close()

    return asyncio.run(whole())


def past(reply: Any, zone: str = "eastus", span: timedelta = 6 * HOUR, now: datetime = NOW, **options: Any) -> Series:
    told = reply if isinstance(reply, Reply) else json_reply(reply)
    with a_vendor(lambda _: told) as vendor:
        return use(vendor, lambda s: s.actual(zone, now - span, now, now), **options)


def future(reply: Any, zone: str = "eastus", now: datetime = NOW, **options: Any) -> Series | None:
    told = reply if isinstance(reply, Reply) else json_reply(reply)
    with a_vendor(lambda _: told) as vendor:
        return use(vendor, lambda s: s.forecast(zone, now), **options)


def failure_of(ask: Callable[..., Any], reply: Any, **asked: Any) -> GridFailure:
    with pytest.raises(GridFailure) as caught:
        ask(reply, **asked)
    return caught.value


def test_what_the_figures_mean_is_what_the_options_say() -> None:
    rows = [row(SLOT - HOUR), row(SLOT - HALF_HOUR)]
    plain = past(rows)
    assert (plain.signal, plain.basis, plain.accounting) == (Signal.MARGINAL, Basis.UNKNOWN, Accounting.UNKNOWN)
    told = past(rows, signal="average", basis="lifecycle", accounting="consumption", attribution="theirs")
    assert (told.signal, told.basis, told.accounting) == (Signal.AVERAGE, Basis.LIFECYCLE, Accounting.CONSUMPTION)
    assert told.attribution == "theirs"


@pytest.mark.parametrize("options", [{"signal": ""}, {"signal": "both"}, {"basis": "some"}, {"accounting": "some"}])
def test_a_meaning_that_cannot_be_is_refused_at_the_start(options: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        CarbonAwareSdk("http://carbon.example", **{"signal": "average", **options})


@pytest.mark.parametrize("nothing", [0, 0.0, -0.0, None])
def test_a_rating_of_zero_is_a_missing_one(nothing: Any) -> None:
    rows = [row(SLOT - HOUR), {**row(SLOT - HALF_HOUR), "rating": nothing}]
    assert [p.start for p in past(rows).points] == [SLOT - HOUR]
    ahead = future(issue(300, nothing, 310))
    assert ahead is not None
    assert [p.g_per_kwh for p in ahead.points] == [300, 310]
    assert failure_of(past, [{**row(SLOT - HOUR), "rating": nothing}]).kind == GridFailureKind.NO_DATA


def test_seven_digits_of_a_second_are_read() -> None:
    assert past([row(SLOT - HOUR)]).points[0].start == SLOT - HOUR


@pytest.mark.parametrize(
    ("duration", "length"),
    [("00:30:00", HALF_HOUR), (30, HALF_HOUR), (5, timedelta(minutes=5)), ("01:00:00.5000000", HOUR), (0, HOUR)],
)
def test_a_row_holds_as_long_as_it_says_or_to_the_next(duration: Any, length: timedelta) -> None:
    found = past([row(SLOT - n * HOUR, duration=duration) for n in (3, 2, 1)])
    assert {p.end - p.start for p in found.points} == {length}


@pytest.mark.parametrize("duration", [-5, True, "half an hour", 10**9, "99:99:99", [], 1e999])
def test_a_duration_that_cannot_be_is_refused(duration: Any) -> None:
    text = json.dumps([row(SLOT - HOUR, duration=duration)])
    assert failure_of(past, Reply(body=text.encode())).kind == GridFailureKind.BAD_RESPONSE


def test_the_location_that_answers_must_be_the_one_asked() -> None:
    rows = [row(SLOT - HOUR, location="PJM_DC")]
    failure = failure_of(past, rows)
    assert failure.kind == GridFailureKind.BAD_RESPONSE
    assert "answers_as" in failure.fix
    assert past(rows, answers_as={"eastus": "PJM_DC"}).zone_returned == "eastus"
    assert failure_of(future, issue(location="westus")).kind == GridFailureKind.BAD_RESPONSE


def test_a_forecast_of_two_places_is_refused() -> None:
    told = issue(1, 2, 3)
    told[0]["forecastData"][1]["location"] = "IE"
    assert failure_of(future, told).kind == GridFailureKind.BAD_RESPONSE


def test_a_forecast_was_issued_when_it_was_generated_and_says_whose_figures_it_has() -> None:
    found = future(issue())
    assert found is not None
    assert found.issued_at == NOW - timedelta(minutes=5)
    assert found.notes == ("figures of PJM_DC",)
    assert {p.kind for p in found.points} == {PointKind.FORECAST}
    never = future(issue(generatedAt="0001-01-01T00:00:00+00:00"))
    assert never is not None
    assert never.issued_at is None


def test_a_vendor_behind_that_makes_no_forecasts_is_no_failure() -> None:
    assert future(json_reply(NO_FORECASTS, 501)) is None
    assert failure_of(past, json_reply(NO_FORECASTS, 501)).kind == GridFailureKind.UNAVAILABLE


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (204, None, GridFailureKind.NO_DATA),
        (400, UNKNOWN, GridFailureKind.UNKNOWN_ZONE),
        (400, {"title": "Validation", "errors": {"time": ["no"]}}, GridFailureKind.BAD_RESPONSE),
        (401, {"title": "WattTimeClientHttpException", "status": 401}, GridFailureKind.AUTH),
        (403, {"title": "ElectricityMapsClientHttpException", "status": 403}, GridFailureKind.AUTH),
        (429, {"title": "x"}, GridFailureKind.RATE_LIMITED),
        (500, {"title": "InternalServerError", "status": 500}, GridFailureKind.UNAVAILABLE),
    ],
)
@pytest.mark.parametrize("ask", [past, future])
def test_a_problem_document_is_told_by_its_status(
    ask: Callable[..., Any], status: int, body: Any, kind: GridFailureKind
) -> None:
    failure = failure_of(ask, Reply(status) if body is None else json_reply(body, status))
    assert failure.kind == kind
    assert (kind == GridFailureKind.AUTH) == ("WebAPI's own vendor" in failure.fix)


@pytest.mark.parametrize("value", [-1, 5001, True, "70", [70]])
def test_a_figure_that_is_not_sane_spoils_the_answer(value: Any) -> None:
    assert failure_of(past, [row(SLOT - HOUR, value)]).kind == GridFailureKind.BAD_RESPONSE
    assert failure_of(future, issue(300, value)).kind == GridFailureKind.BAD_RESPONSE


@pytest.mark.parametrize("body", [[], {}, {"eastus": None}, None, "x"])
def test_forecasts_in_another_shape_are_refused(body: Any) -> None:
    assert failure_of(future, Reply(body=json.dumps(body).encode())).kind == GridFailureKind.BAD_RESPONSE


recorded = pytest.mark.skipif(not FIXTURES.is_dir(), reason="the recorded answers are not beside this checkout")


@recorded
def test_the_recorded_forecast_holds_ten_minutes_for_each_of_its_rows() -> None:
    told = Reply(body=(FIXTURES / "emissions_forecasts_current.json").read_bytes())
    found = future(told, zone="northeurope", now=datetime(2022, 7, 19, 13, 40, tzinfo=UTC))
    assert found is not None
    assert [p.g_per_kwh for p in found.points] == [532.02293146, 535.7318741001667]
    assert {p.end - p.start for p in found.points} == {timedelta(minutes=10)}
    assert found.issued_at == datetime(2022, 7, 19, 13, 35, tzinfo=UTC)


@recorded
def test_a_single_recorded_row_without_a_duration_says_too_little() -> None:
    told = Reply(body=(FIXTURES / "emissions_bylocation.json").read_bytes())
    failure = failure_of(past, told, now=datetime(2022, 5, 17, 21, tzinfo=UTC))
    assert failure.kind == GridFailureKind.NO_DATA
    assert "how long" in failure.message


@recorded
def test_the_recorded_average_of_a_time_is_no_series() -> None:
    told = Reply(body=(FIXTURES / "average-carbon-intensity.json").read_bytes())
    assert failure_of(past, told).kind == GridFailureKind.BAD_RESPONSE
