"""NESO's habits and what a network can do to an answer; figures are made up, shapes are the documented ones."""

import asyncio
import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from lowtide.connectors.grid import neso as module
from lowtide.connectors.grid.fetch import MAX_RETRY_AFTER, retry_at
from lowtide.connectors.grid.neso import Neso
from lowtide.connectors.http import HttpClient
from lowtide.scheduler.model.errors import GridFailure, GridFailureKind
from lowtide.scheduler.model.series import Series
from tests.contract.grid_server import Reply, a_vendor, json_reply, made_up_g_per_kwh, neso_like, neso_row

NOW = datetime(2026, 3, 10, 12, 10, tzinfo=UTC)
SLOT = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
HALF_HOUR = timedelta(minutes=30)
FIXTURES = Path(__file__).parents[2] / ".." / "shared" / "fixtures" / "grid" / "uk_carbon_intensity"


async def _closing(source: Neso, operation: str, now: datetime, hours: float) -> Series:
    try:
        if operation == "actual":
            return await source.actual("GB", now - timedelta(hours=hours), now, now)
        found = await source.forecast("GB", now)
        assert found is not None
        return found
    finally:
        await source.close()


def ask(url: str, operation: str = "forecast", now: datetime = NOW, hours: float = 6) -> Series:
    return asyncio.run(_closing(Neso(url), operation, now, hours))


def failure_of(answer: Callable[[str], Reply] | Reply, operation: str = "forecast") -> GridFailure:
    with a_vendor(answer if callable(answer) else lambda _: answer) as vendor:
        with pytest.raises(GridFailure) as caught:
            ask(vendor.url, operation)
        return caught.value


def rows_from(start: datetime, count: int, **figures: object) -> dict[str, Any]:
    told = {"forecast": 100, "actual": None, **figures}
    return {"data": [neso_row(start + i * HALF_HOUR, **told) for i in range(count)]}


def test_the_forecast_is_asked_for_in_minutes_and_one_past_the_boundary() -> None:
    with a_vendor(neso_like(NOW)) as vendor:
        series = ask(vendor.url)
        assert vendor.paths == ["/intensity/2026-03-10T12:01Z/fw48h"]
        assert vendor.headers[0]["user-agent"].startswith("lowtide/")
    assert series.points[0].start == SLOT
    assert series.points[0].g_per_kwh == made_up_g_per_kwh(SLOT) + 5
    assert len(series.points) == 97


def test_a_slot_on_the_boundary_is_the_one_that_begins_there() -> None:
    with a_vendor(neso_like(SLOT)) as vendor:
        assert ask(vendor.url, now=SLOT).points[0].start == SLOT
        past = ask(vendor.url, "actual", now=SLOT)
    assert (past.points[0].start, past.points[-1].end) == (SLOT - timedelta(hours=6), SLOT)


def test_null_actuals_are_left_out_and_never_zero() -> None:
    body = {"data": [neso_row(SLOT - HALF_HOUR, forecast=1, actual=0), neso_row(SLOT, forecast=1, actual=None)]}
    with a_vendor(lambda _: json_reply(body)) as vendor:
        series = ask(vendor.url, "actual", now=SLOT + HALF_HOUR)
    assert [(p.start, p.g_per_kwh) for p in series.points] == [(SLOT - HALF_HOUR, 0)]


def test_a_row_without_an_actual_is_like_a_null_one() -> None:
    rows = rows_from(SLOT - 2 * HALF_HOUR, 2)["data"]
    del rows[0]["intensity"]["actual"]
    rows[1]["intensity"]["actual"] = 77
    with a_vendor(lambda _: json_reply({"data": rows})) as vendor:
        assert [p.g_per_kwh for p in ask(vendor.url, "actual").points] == [77]


def test_a_long_past_is_cut_to_what_the_api_takes() -> None:
    with a_vendor(neso_like(NOW)) as vendor:
        series = ask(vendor.url, "actual", hours=24 * 40)
    assert series.points[-1].end == SLOT
    assert series.points[0].start == SLOT + HALF_HOUR - module.MAX_SPAN


def test_a_forecast_that_ends_early_is_taken_as_it_is() -> None:
    with a_vendor(lambda _: json_reply(rows_from(SLOT, 31))) as vendor:
        assert len(ask(vendor.url).points) == 31


def test_unsorted_and_doubled_rows_are_put_in_order() -> None:
    rows = rows_from(SLOT, 4)["data"]
    with a_vendor(lambda _: json_reply({"data": [*reversed(rows), rows[0]]})) as vendor:
        assert [p.start for p in ask(vendor.url).points] == [SLOT + i * HALF_HOUR for i in range(4)]


@pytest.mark.parametrize("body", [b"{}", b"null", b"[]", b'{"data": []}', b'{"data": null}'])
@pytest.mark.parametrize("operation", ["actual", "forecast"])
def test_every_shape_of_nothing_is_no_data(body: bytes, operation: str) -> None:
    assert failure_of(Reply(body=body), operation).kind == GridFailureKind.NO_DATA


def test_500_with_not_found_is_no_data_and_any_other_500_an_outage() -> None:
    told = {"error": {"code": "500 Internal Server Error", "message": "Requested resource not found."}}
    assert failure_of(json_reply(told, 500)).kind == GridFailureKind.NO_DATA
    assert failure_of(Reply(500, b"<html>oops</html>")).kind == GridFailureKind.UNAVAILABLE


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, GridFailureKind.BAD_RESPONSE),
        (401, GridFailureKind.AUTH),
        (403, GridFailureKind.NOT_ENTITLED),
        (404, GridFailureKind.NO_DATA),
        (410, GridFailureKind.GONE),
        (429, GridFailureKind.RATE_LIMITED),
        (502, GridFailureKind.UNAVAILABLE),
        (204, GridFailureKind.UNAVAILABLE),
    ],
)
def test_a_status_says_whether_to_ask_again(status: int, kind: GridFailureKind) -> None:
    assert failure_of(Reply(status)).kind == kind


@pytest.mark.parametrize(
    "figure",
    ["NaN", "Infinity", "-Infinity", "-1", "5001", "1e999", '"266"', "true", "[1]", "{}"],
)
def test_a_figure_that_is_not_sane_spoils_the_answer(figure: str) -> None:
    text = json.dumps(rows_from(SLOT, 3, forecast="HERE")).replace('"HERE"', figure, 1)
    assert failure_of(Reply(body=text.encode())).kind == GridFailureKind.BAD_RESPONSE


@pytest.mark.parametrize(
    "row",
    [
        {"from": "2026-03-10T12:00", "to": "2026-03-10T12:30", "intensity": {"forecast": 1}},
        {"from": "yesterday", "to": "2026-03-10T12:30Z", "intensity": {"forecast": 1}},
        {"from": 1, "to": 2, "intensity": {"forecast": 1}},
        {"from": "2026-03-10T12:00Z", "to": "2026-03-11T12:00Z", "intensity": {"forecast": 1}},
        {"from": "2026-03-10T12:30Z", "to": "2026-03-10T12:00Z", "intensity": {"forecast": 1}},
        {"from": "0001-01-01T00:00+14:00", "to": "0001-01-01T00:30+14:00", "intensity": {"forecast": 1}},
        {"from": "2026-03-10T12:00Z", "to": "2026-03-10T12:30Z", "intensity": 266},
        {"from": "2026-03-10T12:00Z", "to": "2026-03-10T12:30Z"},
        {"regionid": 3, "data": []},
        None,
        "row",
    ],
)
def test_a_row_of_another_shape_or_with_a_naive_time_spoils_the_answer(row: object) -> None:
    good = rows_from(SLOT, 1)["data"]
    assert failure_of(json_reply({"data": [*good, row]})).kind == GridFailureKind.BAD_RESPONSE


def test_two_figures_for_one_slot_spoil_the_answer() -> None:
    rows = [neso_row(SLOT, forecast=100, actual=None), neso_row(SLOT, forecast=101, actual=None)]
    assert failure_of(json_reply({"data": rows})).kind == GridFailureKind.BAD_RESPONSE


@pytest.mark.parametrize(
    "body",
    [
        b"<!doctype html><title>Maintenance</title>",
        b'{"data": [{"from": "2026-03-10T12:00Z", "to"',
        b"\xff\xfe\x00",
        b"[" * 200_000,
        b'{"data": {"regionid": 13, "data": []}}',
        b"",
    ],
    ids=["html", "cut json", "binary", "deep", "dict envelope", "empty"],
)
def test_200_with_something_else_is_a_bad_response(body: bytes) -> None:
    assert failure_of(Reply(body=body)).kind == GridFailureKind.BAD_RESPONSE


def test_a_body_that_breaks_off_is_an_outage() -> None:
    body = json.dumps(rows_from(SLOT, 4)).encode()
    assert failure_of(Reply(body=body[:100], promised=len(body))).kind == GridFailureKind.UNAVAILABLE


def test_ten_megabytes_are_refused() -> None:
    failure = failure_of(Reply(body=b" " * (10 << 20)))
    assert failure.kind == GridFailureKind.UNAVAILABLE
    assert "1048576 bytes" in failure.message


def test_a_gzip_bomb_is_refused() -> None:
    bomb = gzip.compress(b" " * (32 << 20), 9)
    failure = failure_of(Reply(body=bomb, headers={"Content-Encoding": "gzip"}))
    assert "1048576 bytes" in failure.message


def test_a_redirect_is_not_followed() -> None:
    with a_vendor(neso_like(NOW)) as elsewhere:
        away = Reply(301, headers={"Location": f"{elsewhere.url}/intensity/2026-03-10T12:01Z/fw48h"})
        assert failure_of(away).kind == GridFailureKind.UNAVAILABLE
        assert elsewhere.paths == []


def test_a_vendor_that_hangs_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    request = HttpClient.request

    async def impatient(self: HttpClient, method: str, url: str, **rest: Any) -> Any:
        return await request(self, method, url, **{**rest, "read_timeout_s": 0.2})

    monkeypatch.setattr(HttpClient, "request", impatient)
    failure = failure_of(Reply(hang=True))
    assert failure.kind == GridFailureKind.UNAVAILABLE
    assert "in time" in failure.message


def test_nobody_listening_is_an_outage() -> None:
    with a_vendor(neso_like(NOW)) as vendor:
        url = vendor.url
    with pytest.raises(GridFailure) as caught:
        ask(url)
    assert caught.value.kind == GridFailureKind.UNAVAILABLE


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("120", timedelta(seconds=120)),
        (" 5 ", timedelta(seconds=5)),
        (format_datetime(NOW + timedelta(minutes=7), usegmt=True), timedelta(minutes=7)),
        (format_datetime(NOW - timedelta(days=7), usegmt=True), timedelta(0)),
        ("999999999999", MAX_RETRY_AFTER),
        ("9" * 400, MAX_RETRY_AFTER),
        (format_datetime(NOW + timedelta(days=700), usegmt=True), MAX_RETRY_AFTER),
        ("soon", None),
        ("-3", None),
        ("²", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_read_in_both_forms_and_capped(header: str | None, wait: timedelta | None) -> None:
    found = retry_at(header, NOW)
    assert (None if found is None else found - NOW) == wait


def test_a_rate_limit_says_when_to_come_back() -> None:
    failure = failure_of(Reply(429, headers={"Retry-After": "90"}))
    assert failure.retry_at == NOW + timedelta(seconds=90)


@pytest.mark.skipif(not FIXTURES.is_dir(), reason="the published samples are not beside this checkout")
@pytest.mark.parametrize(
    ("name", "status", "kind"),
    [
        ("ok_200_empty_object.json", 200, GridFailureKind.NO_DATA),
        ("ok_200_null.json", 200, GridFailureKind.NO_DATA),
        ("ok_200_empty_data.json", 200, GridFailureKind.NO_DATA),
        ("error_500_no_data.json", 500, GridFailureKind.NO_DATA),
        ("error_400.json", 400, GridFailureKind.BAD_RESPONSE),
        ("regional.json", 200, GridFailureKind.BAD_RESPONSE),
        ("regional_intensity_fw48h_regionid__dict_envelope.json", 200, GridFailureKind.BAD_RESPONSE),
    ],
)
def test_published_samples_without_national_figures_are_refused(name: str, status: int, kind: GridFailureKind) -> None:
    assert failure_of(Reply(status, (FIXTURES / name).read_bytes())).kind == kind


@pytest.mark.skipif(not FIXTURES.is_dir(), reason="the published samples are not beside this checkout")
def test_the_published_forward_window_gives_its_two_forecasts_and_one_actual() -> None:
    body = (FIXTURES / "intensity_fw48h__future_actual_null.json").read_bytes()
    then = datetime(2018, 1, 20, 12, 0, tzinfo=UTC)
    with a_vendor(lambda _: Reply(body=body)) as vendor:
        assert [p.g_per_kwh for p in ask(vendor.url, now=then).points] == [266, 270]
        later = ask(vendor.url, "actual", now=then + 2 * HALF_HOUR)
    assert [(p.start, p.g_per_kwh) for p in later.points] == [(then, 263)]
