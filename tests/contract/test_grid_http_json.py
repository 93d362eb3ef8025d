"""Any JSON API by a declared mapping: what fits is read, what does not is refused, and nothing is guessed."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from lowtide.connectors.grid.http_json import HttpJson
from lowtide.scheduler.model.errors import BadInput, GridFailure, GridFailureKind
from lowtide.scheduler.model.series import PointKind, Series
from tests.contract.grid_conformance import Case, GridSourceConformance
from tests.contract.grid_server import Reply, a_vendor, json_reply, made_up_g_per_kwh
from tests.contract.grid_speakers import KEY, KEY_ENV, speaks_http

NOW = datetime(2026, 3, 10, 12, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
ACTUAL = {"path": "/v1/{zone}/past?from={start}&to={end}", "rows": "data.items", "time": "at", "value": "co2.g"}
FORECAST = {"path": "/v1/{zone}/ahead?from={start}&to={end}", "issued": "data.made"}


def json_like(now: datetime) -> Callable[[str], Reply]:
    """An API of our own invention: hourly rows, the open hour null, a year of past, two days ahead."""

    def answer(path: str) -> Reply:
        parts = urlsplit(path)
        asked = {name: datetime.fromisoformat(values[0]) for name, values in parse_qs(parts.query).items()}
        _, _, zone, what = parts.path.split("/")
        when, rows = asked["from"].replace(minute=0, second=0, microsecond=0), []
        while when < asked["to"] and now - timedelta(days=365) < when < now + timedelta(days=2):
            is_open = what == "past" and when + HOUR > now
            rows.append({"at": when.isoformat(), "co2": {"g": None if is_open else made_up_g_per_kwh(when)}})
            when += HOUR
        return json_reply({"zone": zone, "data": {"items": rows, "made": (now - HOUR).isoformat()}})

    return answer


def a_source(url: str, **options: Any) -> HttpJson:
    told: dict[str, Any] = {"zones": ["campus"], "signal": "average", "actual": ACTUAL, **options}
    return HttpJson(url, **told)


class TestHttpJson(GridSourceConformance):
    @pytest.fixture
    def case(self) -> Iterator[Case]:
        with a_vendor(json_like(NOW)) as vendor:
            yield Case(lambda: a_source(vendor.url, forecast=FORECAST), "campus", NOW, forecasts=True)


class TestHttpJsonWithoutForecast(GridSourceConformance):
    @pytest.fixture
    def case(self) -> Iterator[Case]:
        with a_vendor(json_like(NOW)) as vendor:
            yield Case(lambda: a_source(vendor.url), "campus", NOW, forecasts=False)


HEADERS = {"X-Key": {"env": KEY_ENV, "prefix": "Token "}, "X-Plain": "yes"}
speaks_http(
    "http_json",
    lambda url: a_source(url, forecast=FORECAST, headers=HEADERS),
    "campus",
    NOW,
    json_like(NOW),
)


def ask(body: Any, operation: str = "actual", *, now: datetime = NOW, **mapping: Any) -> Series:
    """One answer, read with the mapping that the arguments change; rows stand in a list of [time, figure]."""
    actual = {"path": "/x", "rows": "", "time": "0", "value": "1", **mapping}

    async def whole(url: str) -> Series:
        source = a_source(url, actual=actual, forecast={} if operation == "forecast" else None)
        try:
            if operation == "actual":
                return await source.actual("campus", now - 24 * HOUR, now, now)
            found = await source.forecast("campus", now)
            assert found is not None
            return found
        finally:
            await source.close()

    with a_vendor(lambda _: body if isinstance(body, Reply) else json_reply(body)) as vendor:
        return asyncio.run(whole(vendor.url))


def kind_of(body: Any, **rest: Any) -> GridFailureKind:
    with pytest.raises(GridFailure) as caught:
        ask(body, **rest)
    return caught.value.kind


def starts(series: Series) -> list[str]:
    return [f"{p.start:%d %H:%M} {p.g_per_kwh:g}" for p in series.points]


def test_zone_and_times_are_encoded_into_the_address() -> None:
    with a_vendor(json_like(NOW)) as vendor:

        async def whole() -> None:
            source = a_source(vendor.url, zones={"campus": "a/b c?&x=1"})
            with pytest.raises(GridFailure):
                await source.actual("campus", NOW - HOUR, NOW, NOW)
            await source.close()

        vendor.answer = lambda _: json_reply({})
        asyncio.run(whole())
        expected = "/v1/a%2Fb%20c%3F%26x%3D1/past?from=2026-03-10T11%3A10%3A00Z&to=2026-03-10T12%3A10%3A00Z"
        assert vendor.paths == [expected]


@pytest.mark.parametrize(
    ("times", "mapping"),
    [
        (["2026-03-10T09:00Z", "2026-03-10T11:00+01:00"], {}),
        ([1773133200, 1773136800.0], {"time_format": "unix_s"}),
        ([1773133200000, 1773136800000], {"time_format": "unix_ms"}),
        (["1773133200", "1773136800"], {"time_format": "unix_s", "text_numbers": True}),
        (["2026-03-10T10:00", "2026-03-10 11:00:00"], {"time_format": "naive", "timezone": "Europe/Berlin"}),
        (["2026-03-10T10:00Z", "2026-03-10T11:00Z"], {"time_is": "end"}),
    ],
)
def test_every_declared_form_of_a_time_is_read(times: list[Any], mapping: dict[str, Any]) -> None:
    series = ask([[time, "100" if "text_numbers" in mapping else 100] for time in times], **mapping)
    assert starts(series) == ["10 09:00 100", "10 10:00 100"]
    assert series.step_s == 3600


@pytest.mark.parametrize(
    ("time", "mapping"),
    [
        ("2026-03-10T09:00", {}),
        (1773133200, {}),
        ("2026-03-10T09:00Z", {"time_format": "unix_s"}),
        (1e300, {"time_format": "unix_s"}),
        (None, {"time_format": "unix_ms"}),
        (True, {"time_format": "unix_s"}),
        ("2026-03-10T09:00Z", {"time_format": "naive", "timezone": "Europe/Berlin"}),
        ("0001-01-01T00:00", {"time_format": "naive", "timezone": "Asia/Tokyo"}),
        ("0001-01-01T00:00Z", {"time_is": "end"}),
        ("9999-12-31T23:30Z", {}),
    ],
)
def test_a_time_in_another_form_spoils_the_answer(time: Any, mapping: dict[str, Any]) -> None:
    assert kind_of([[time, 100]], **mapping) == GridFailureKind.BAD_RESPONSE


def test_the_hour_that_comes_twice_is_taken_where_both_are_there() -> None:
    berlin = {"time_format": "naive", "timezone": "Europe/Berlin"}
    now = datetime(2026, 10, 25, 12, 0, tzinfo=UTC)
    rows = [["2026-10-25T01:00", 1], ["2026-10-25T02:00", 2], ["2026-10-25T02:00", 3], ["2026-10-25T03:00", 4]]
    expected = ["24 23:00 1", "25 00:00 2", "25 01:00 3", "25 02:00 4"]
    assert starts(ask(rows, now=now, **berlin)) == expected
    assert starts(ask(rows[::-1], now=now, **berlin)) == expected
    once = [rows[0], rows[1], rows[3]]
    assert starts(ask(once, now=now, **berlin)) == ["24 23:00 1", "25 02:00 4"]


def test_an_hour_that_no_clock_shows_spoils_the_answer() -> None:
    rows = [["2026-03-29T01:00", 1], ["2026-03-29T02:30", 2]]
    found = kind_of(rows, now=datetime(2026, 3, 29, 12, tzinfo=UTC), time_format="naive", timezone="Europe/Berlin")
    assert found == GridFailureKind.BAD_RESPONSE


@pytest.mark.parametrize(
    ("unit", "figure", "g_per_kwh"), [("kg/kWh", 0.4, 400), ("lb/MWh", 870, 394.6253619), ("g/kWh", 400, 400)]
)
def test_the_declared_unit_is_turned_into_g_per_kwh(unit: str, figure: float, g_per_kwh: float) -> None:
    series = ask([["2026-03-10T09:00Z", figure], ["2026-03-10T10:00Z", figure]], unit=unit)
    assert series.points[0].g_per_kwh == pytest.approx(g_per_kwh)


def test_null_and_missing_figures_are_gaps_and_never_zero() -> None:
    rows = [["2026-03-10T08:00Z", 0], ["2026-03-10T09:00Z", None], ["2026-03-10T10:00Z"], ["2026-03-10T11:00Z", 7]]
    assert starts(ask(rows)) == ["10 08:00 0", "10 11:00 7"]


@pytest.mark.parametrize("figure", ["100", True, -1, 5001, [1], {}, 10**400])
def test_what_is_no_intensity_spoils_the_answer(figure: object) -> None:
    assert kind_of([["2026-03-10T09:00Z", figure]]) == GridFailureKind.BAD_RESPONSE


@pytest.mark.parametrize("body", [[], {}])
def test_an_empty_answer_is_no_data(body: object) -> None:
    assert kind_of(body, rows="data") == GridFailureKind.NO_DATA


@pytest.mark.parametrize("body", [None, 7, "x", {"other": []}, {"data": 7}, {"data": ["row"]}, {"data": [None]}])
def test_an_answer_of_another_shape_spoils_it(body: object) -> None:
    assert kind_of(body, rows="data") == GridFailureKind.BAD_RESPONSE


def test_a_single_object_is_one_row_with_the_declared_step() -> None:
    series = ask({"now": {"t": "2026-03-10T11:30Z", "g": 7}}, rows="now", time="t", value="g", step_s=1800)
    assert [(p.start, p.end) for p in series.points] == [(NOW - HOUR * 2 / 3, NOW - HOUR / 6)]


def test_another_zones_answer_is_refused() -> None:
    rows = [["2026-03-10T09:00Z", 100, "FR"]]
    assert kind_of({"zone": "FR", "rows": rows}, rows="rows", zone="zone") == GridFailureKind.BAD_RESPONSE
    assert kind_of(rows, row_zone="2") == GridFailureKind.BAD_RESPONSE
    assert ask({"zone": "campus", "rows": rows}, rows="rows", zone="zone").zone_returned == "campus"


def test_an_estimate_is_marked_as_declared() -> None:
    series = ask([["2026-03-10T09:00Z", 100]], kind="estimated")
    assert {p.kind for p in series.points} == {PointKind.ESTIMATED}


def test_an_issue_time_is_taken_and_one_that_lies_ahead_is_not() -> None:
    for issued, expected in (("2026-03-10T11:00Z", NOW.replace(hour=11, minute=0)), ("2026-03-10T13:00Z", None)):
        body = {"made": issued, "rows": [["2026-03-10T12:00Z", 100], ["2026-03-10T13:00Z", 100]]}
        assert ask(body, "forecast", rows="rows", issued="made").issued_at == expected


def test_secrets_go_into_headers_and_a_lost_one_is_a_refused_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)
    with a_vendor(json_like(NOW)) as vendor:

        async def whole() -> None:
            source = a_source(vendor.url, headers=HEADERS)
            await source.actual("campus", NOW - HOUR * 3, NOW, NOW)
            monkeypatch.delenv(KEY_ENV)
            with pytest.raises(GridFailure) as caught:
                await source.actual("campus", NOW - HOUR, NOW, NOW)
            assert caught.value.kind == GridFailureKind.AUTH
            await source.close()

        asyncio.run(whole())
        assert [(told["x-key"], told["x-plain"]) for told in vendor.headers] == [(f"Token {KEY}", "yes")]


@pytest.mark.parametrize(
    "options",
    [
        {"zones": []}, {"signal": "x"}, {"actual": {}}, {"actual": {**ACTUAL, "tiem": "x"}},
        {"private_networks": ["x"]},
        {"actual": {**ACTUAL, "path": "no-slash"}}, {"actual": {**ACTUAL, "path": "//other.host/x"}},
        {"actual": {**ACTUAL, "path": "/{region}"}}, {"actual": {**ACTUAL, "unit": "percent"}},
        {"actual": {**ACTUAL, "time_format": "naive"}}, {"forecast": {"step_s": 0}}, {"headers": {"X": 7}},
        {"actual": {**ACTUAL, "time_format": "naive", "timezone": "Atlantis/Deep"}}, {"headers": {"X": {"env": ""}}},
        {"headers": {"X": {"value": "secret"}}}, {"zones": ["a", "b"], "actual": {**ACTUAL, "path": "/x"}},
    ],
)  # fmt: skip
def test_options_that_cannot_be_meant_are_refused_at_the_start(options: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        a_source("https://api.example.org", **options)


@pytest.mark.parametrize("url", ["https://{zone}.example.org", "file:///etc/passwd", "https://u:p@example.org"])
def test_the_host_is_fixed(url: str) -> None:
    with pytest.raises(BadInput):
        a_source(url)
