"""Energinet: its data sets, its times and its limits; figures are made up, shapes are the documented ones."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import pytest

from lowtide.connectors.grid.energinet import MAX_SPAN, Energinet
from lowtide.scheduler.model.errors import GridFailureKind
from lowtide.scheduler.model.series import Accounting, Basis, Rate, Signal
from tests.contract.grid_conformance import Case, GridSourceConformance
from tests.contract.grid_questions import FIXTURES, NOW, ask, asked_in, failure_of, needs_recordings, told
from tests.contract.grid_server import Reply, a_vendor, json_reply
from tests.contract.grid_speakers import speaks_http

STEP, DAY = timedelta(minutes=5), timedelta(days=1)
SLOT = datetime(2026, 3, 10, 12, 10, tzinfo=UTC)
DENMARK = ZoneInfo("Europe/Copenhagen")


def source(url: str) -> Energinet:
    return Energinet(base_url=url)


def row(start: datetime, figure: object, area: str = "DK1") -> dict[str, Any]:
    return {
        "Minutes5UTC": start.strftime("%Y-%m-%dT%H:%M:%S"),
        "Minutes5DK": start.astimezone(DENMARK).strftime("%Y-%m-%dT%H:%M:%S"),
        "PriceArea": area,
        "CO2Emission": figure,
    }


def records(*rows: dict[str, Any]) -> Reply:
    return json_reply({"total": len(rows), "sort": "Minutes5UTC DESC", "dataset": "CO2Emis", "records": list(rows)})


def figure_g(start: datetime, area: str) -> float:
    return (50.0 if area == "DK1" else 150.0) + start.timestamp() // 300 % 288 / 10


def danish_like(now: datetime) -> Callable[[str], Reply]:
    """An API of the vendor's shape, newest first, that reads Danish time and gives 100 rows unless told otherwise."""

    def answer(path: str) -> Reply:
        asked = asked_in(path)
        zone = UTC if asked.get("timezone") == "UTC" else DENMARK
        is_forecast = urlsplit(path).path.endswith("CO2EmisProg")
        last = now.replace(hour=0, minute=0) + DAY if is_forecast else now
        start = datetime.fromisoformat(asked["start"]).replace(tzinfo=zone)
        end = datetime.fromisoformat(asked["end"]).replace(tzinfo=zone) if "end" in asked else last
        areas = json.loads(asked.get("filter", '{"PriceArea":["DK1","DK2"]}'))["PriceArea"]
        found, at = [], start
        while at < min(end, last) and at > now - 365 * DAY:
            found += [row(at, figure_g(at, area), area) for area in areas]
            at += STEP
        found.reverse()
        return records(*(found if asked.get("limit") == "0" else found[:100]))

    return answer


speaks_http("energinet", source, "DK1", NOW, danish_like(NOW))


class TestEnerginet(GridSourceConformance):
    @pytest.fixture
    def case(self) -> Iterator[Case]:
        with a_vendor(danish_like(NOW)) as vendor:
            yield Case(lambda: source(vendor.url), "DK-DK2", NOW, forecasts=True)


def test_zone_limit_order_and_time_zone_are_always_sent() -> None:
    with a_vendor(danish_like(NOW)) as vendor:
        ask(source(vendor.url), "forecast", "DK2")
        ask(source(vendor.url), "actual", "DK-DK1")
        assert [urlsplit(path).path for path in vendor.paths] == ["/dataset/CO2EmisProg", "/dataset/CO2Emis"]
        forecast, actual = (asked_in(path) for path in vendor.paths)
    same = {"timezone": "UTC", "limit": "0", "sort": "Minutes5UTC ASC"}
    assert forecast == {**same, "start": "2026-03-10T12:10", "filter": '{"PriceArea":["DK2"]}'}
    assert actual == {
        **same,
        "start": "2026-03-10T06:10",
        "end": "2026-03-10T12:10",
        "filter": '{"PriceArea":["DK1"]}',
    }


def test_the_forecast_is_not_cut_to_the_vendors_hundred_newest_rows() -> None:
    series = told(source, danish_like(NOW), "forecast", "DK1")
    assert (series.points[0].start, series.points[-1].end) == (SLOT, datetime(2026, 3, 11, tzinfo=UTC))
    assert len(series.points) == 142


@pytest.mark.parametrize(("zone", "area"), [("DK1", "DK1"), ("DK-DK1", "DK1"), ("DK2", "DK2"), ("DK-DK2", "DK2")])
def test_an_area_answers_to_both_of_its_names(zone: str, area: str) -> None:
    series = told(source, danish_like(NOW), "actual", zone)
    assert (series.zone_requested, series.zone_returned) == (zone, zone)
    assert series.points[0].g_per_kwh == figure_g(series.points[0].start, area)


@pytest.mark.parametrize("zone", ["DK", "DK3", "DE"])
def test_denmark_as_a_whole_and_other_zones_are_refused(zone: str) -> None:
    assert failure_of(source, danish_like(NOW), "actual", zone).kind == GridFailureKind.UNKNOWN_ZONE


def test_rows_of_the_other_area_spoil_the_answer() -> None:
    answer = records(row(SLOT, 75.0), row(SLOT, 44.0, "DK2"))
    assert failure_of(source, answer, "forecast", "DK1").kind == GridFailureKind.BAD_RESPONSE


def test_the_newest_first_order_of_the_vendor_is_put_right() -> None:
    answer = records(*(row(SLOT + i * STEP, 10.0 + i) for i in (2, 1, 0)))
    series = told(source, answer, "forecast", "DK1")
    assert [p.g_per_kwh for p in series.points] == [10, 11, 12]


def test_the_naive_utc_column_is_utc_and_the_danish_one_is_not_read() -> None:
    confusing = {**row(SLOT, 75.0), "Minutes5DK": "2019-01-01T00:00:00"}
    assert told(source, records(confusing), "forecast", "DK1").points[0].start == SLOT


def test_the_hour_that_denmark_has_twice_in_autumn_is_two_hours() -> None:
    first = datetime(2026, 10, 25, 0, 0, tzinfo=UTC)
    rows = [row(first + i * STEP, 100.0 + i) for i in range(24)]
    assert rows[0]["Minutes5DK"] == rows[12]["Minutes5DK"] == "2026-10-25T02:00:00"
    series = told(source, records(*reversed(rows)), "forecast", "DK1", first)
    assert [p.g_per_kwh for p in series.points] == [100.0 + i for i in range(24)]
    assert (series.points[0].start, series.points[-1].end) == (first, first + timedelta(hours=2))


@pytest.mark.parametrize("body", [{"total": 0}, {"total": 144, "dataset": "CO2Emis"}, {"total": 0, "records": []}])
def test_a_total_without_records_is_no_data(body: dict[str, Any]) -> None:
    assert failure_of(source, json_reply(body), "actual", "DK1").kind == GridFailureKind.NO_DATA


@pytest.mark.parametrize("body", [{}, [], None, {"records": {}}, {"records": [1]}, {"total": 1, "records": "x"}])
def test_another_shape_is_a_bad_response(body: object) -> None:
    assert failure_of(source, json_reply(body), "actual", "DK1").kind == GridFailureKind.BAD_RESPONSE


def test_a_null_is_left_out_and_never_zero() -> None:
    series = told(source, records(row(SLOT, None), row(SLOT + STEP, 0)), "forecast", "DK1")
    assert [(p.start, p.g_per_kwh) for p in series.points] == [(SLOT + STEP, 0)]


def test_a_rate_limit_is_told_with_and_without_a_time() -> None:
    text = b"Max allowed requests per minute is 1"
    assert failure_of(source, Reply(429, text), "actual", "DK1").kind == GridFailureKind.RATE_LIMITED
    failure = failure_of(source, Reply(429, text, {"Retry-After": "60"}), "actual", "DK1")
    assert failure.retry_at == NOW + timedelta(minutes=1)
    assert dict(Energinet.rates) == {"actual": Rate(1, 60.0), "forecast": Rate(1, 60.0)}


@pytest.mark.parametrize("figure", ["NaN", "Infinity", "-1", "5001", '"75.0"', "true", "{}"])
def test_a_figure_that_is_not_sane_spoils_the_answer(figure: str) -> None:
    text = records(row(SLOT, "HERE")).body.decode().replace('"HERE"', figure)
    assert failure_of(source, Reply(body=text.encode()), "forecast", "DK1").kind == GridFailureKind.BAD_RESPONSE


@pytest.mark.parametrize("at", [None, 1, "", "yesterday", "9999-12-31T23:59:00"])
def test_a_time_that_is_none_spoils_the_answer(at: object) -> None:
    answer = records({**row(SLOT, 75.0), "Minutes5UTC": at})
    assert failure_of(source, answer, "forecast", "DK1").kind == GridFailureKind.BAD_RESPONSE


def test_a_long_past_is_cut_to_what_one_answer_holds() -> None:
    with a_vendor(danish_like(NOW)) as vendor:
        series = ask(source(vendor.url), "actual", "DK1", hours=24 * 40)
    assert series.points[0].start == SLOT - MAX_SPAN


def test_the_figures_are_direct_average_and_of_consumption() -> None:
    key = told(source, danish_like(NOW), "actual", "DK1").key
    assert (key.signal, key.basis, key.accounting) == (Signal.AVERAGE, Basis.DIRECT, Accounting.CONSUMPTION)


@needs_recordings
def test_the_published_forecast_shape_is_read_and_the_measured_one_holds_two_areas() -> None:
    then = datetime(2025, 2, 21, 22, 52, tzinfo=UTC)
    prognosis = Reply(body=(FIXTURES / "energinet" / "CO2EmisProg__assembled.json").read_bytes())
    assert [p.g_per_kwh for p in told(source, prognosis, "forecast", "DK1", then).points] == [90, 91]
    both = Reply(body=(FIXTURES / "energinet" / "CO2Emis__assembled.json").read_bytes())
    failure = failure_of(source, both, "actual", "DK1", then)
    assert failure.kind == GridFailureKind.BAD_RESPONSE
    assert "'DK2', asked for DK1" in failure.message
