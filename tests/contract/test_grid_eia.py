"""EIA: its hours, its pages and its texts; figures are made up, shapes are the documented ones."""

import asyncio
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lowtide.connectors.grid.eia import MAX_PAGES, PAGE, RESPONDENTS, Eia
from lowtide.scheduler.model.errors import BadInput, GridFailure, GridFailureKind
from lowtide.scheduler.model.series import Accounting, Basis, Signal
from tests.contract.grid_conformance import Case, GridSourceConformance
from tests.contract.grid_questions import FIXTURES, NOW, ask, failure_of, needs_recordings, told
from tests.contract.grid_server import Reply, Vendor, a_vendor, json_reply
from tests.contract.grid_speakers import KEY_ENV, speaks_http

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
KEY = "k3y-hush"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EIA_KEY", KEY)


def source(url: str, **options: str) -> Eia:
    return Eia(base_url=url, api_key_env="EIA_KEY", **options)


def row(end: datetime, fuel: str, value: object, respondent: str = "CISO") -> dict[str, Any]:
    return {
        "period": end.strftime("%Y-%m-%dT%H"),
        "respondent": respondent,
        "fueltype": fuel,
        "value": value,
        "value-units": "megawatthours",
    }


def body(*rows: dict[str, Any], total: object = None, frequency: str = "hourly") -> dict[str, Any]:
    held = {"total": len(rows) if total is None else total, "frequency": frequency, "data": list(rows)}
    return {"response": held, "apiVersion": "2.1.8"}


@contextmanager
def eia_like(now: datetime, lag: timedelta = HOUR, fuels: tuple[str, ...] = ("NG", "NUC")) -> Iterator[Vendor]:
    """An API of the vendor's shape: the question in a header, texts for numbers, pages of at most 5,000 rows."""

    def answer(_: str) -> Reply:
        headers = vendor.headers[-1]
        asked = json.loads(headers["x-params"])
        if headers["x-api-key"] != KEY:
            return json_reply({"error": {"code": "API_KEY_INVALID"}}, 403)
        start, end = (datetime.fromisoformat(asked[edge]).replace(tzinfo=UTC) for edge in ("start", "end"))
        rows, at = [], start
        while at <= min(end, now - lag) and at > now - 400 * DAY:
            rows += [row(at, fuel, str(100 + at.hour), asked["facets"]["respondent"][0]) for fuel in fuels]
            at += HOUR
        page = rows[asked["offset"] :][: min(asked["length"], 5000)]
        return json_reply(body(*page, total=str(len(rows))))

    with a_vendor(answer) as vendor:
        yield vendor


def figures_of(*rows: dict[str, Any], **options: str) -> dict[datetime, float]:
    found = told(lambda url: source(url, **options), json_reply(body(*rows)), "actual", "CISO")
    return {point.start: point.g_per_kwh for point in found.points}


def kind_of(answer: Reply | dict[str, Any], zone: str = "CISO") -> GridFailureKind:
    reply = answer if isinstance(answer, Reply) else json_reply(answer)
    return failure_of(source, reply, "actual", zone).kind


speaks_http(
    "eia",
    lambda url: Eia(base_url=url, api_key_env=KEY_ENV),
    "CISO",
    NOW,
    lambda _: json_reply(body(*(row(NOON - n * HOUR, fuel, 100) for n in range(8) for fuel in ("NG", "NUC")))),
)


class TestEia(GridSourceConformance):
    """Against a vendor that is an hour late instead of a day, so that there is something to see."""

    @pytest.fixture
    def case(self) -> Iterator[Case]:
        with eia_like(NOW) as vendor:
            yield Case(lambda: source(vendor.url), "US-CAL-CISO", NOW, forecasts=False)


def test_a_period_is_the_end_of_its_hour() -> None:
    assert figures_of(row(NOON, "NG", 400)) == {NOON - HOUR: 490}


def test_the_hours_asked_for_are_those_whose_ends_are_named() -> None:
    with eia_like(NOW) as vendor:
        found = ask(source(vendor.url), "actual", "CISO", hours=80)
        asked = json.loads(vendor.headers[0]["x-params"])
    assert (asked["start"], asked["end"]) == ("2026-03-07T05", "2026-03-10T13")
    assert found.points[0].start == datetime(2026, 3, 7, 4, tzinfo=UTC)


@pytest.mark.parametrize("value", [400, 400.0, "400", "4e2"])
def test_a_value_is_a_number_or_a_text(value: object) -> None:
    assert figures_of(row(NOON, "NG", value), row(NOON, "NUC", "400")) == {NOON - HOUR: 251}


def test_a_null_is_not_zero_and_its_hour_is_left_out() -> None:
    rows = [row(NOON - i * HOUR, fuel, 100) for i in range(1, 5) for fuel in ("NG", "NUC")]
    found = figures_of(*rows, row(NOON, "NG", None), row(NOON, "NUC", 100))
    assert NOON - HOUR not in found
    assert set(found.values()) == {251}


def test_negative_values_and_storage_count_for_nothing() -> None:
    rows = [row(NOON, "NG", 100), row(NOON, "SUN", -3), row(NOON, "BAT", 500), row(NOON, "PS", "-200")]
    assert figures_of(*rows) == {NOON - HOUR: 490}


def test_no_generation_at_all_is_no_data() -> None:
    assert kind_of(body(row(NOON, "NG", 0))) == GridFailureKind.NO_DATA


def test_empty_data_is_no_data_whatever_the_total_says() -> None:
    assert kind_of(body()) == GridFailureKind.NO_DATA
    assert kind_of(body(total=3)) == GridFailureKind.NO_DATA


def test_more_rows_than_one_page_are_read_page_by_page() -> None:
    fuels = ("NG", "NUC", "COL", "OIL", "WAT", "SUN", "WND", "OTH")
    with eia_like(NOW, fuels=fuels) as vendor:
        found = ask(source(vendor.url), "actual", "CISO", hours=27 * 24)
        offsets = [json.loads(headers["x-params"])["offset"] for headers in vendor.headers]
    assert len(found.points) * len(fuels) > 5000
    assert offsets == [0, PAGE]


def test_pages_shorter_than_asked_for_are_followed_up_to_the_total() -> None:
    rows = [row(NOON - i * HOUR, "NG", 100) for i in range(5)]

    def answer(_: str) -> Reply:
        offset = json.loads(vendor.headers[-1]["x-params"])["offset"]
        return json_reply(body(*rows[offset : offset + 2], total=5))

    with a_vendor(answer) as vendor:
        assert len(ask(source(vendor.url), "actual", "CISO").points) == 5
        assert len(vendor.paths) == 3


def test_pages_that_end_before_the_total_or_never_are_refused() -> None:
    first = [body(row(NOON, "NG", 1), total=3)]
    ended = lambda _: json_reply(first.pop() if first else body(total=3))  # noqa: E731 - one answer, then none
    assert failure_of(source, ended, "actual", "CISO").kind == GridFailureKind.BAD_RESPONSE
    with a_vendor(lambda _: json_reply(body(row(NOON, "NG", 1), total=10**9))) as vendor:
        assert failure_of(lambda _: source(vendor.url), Reply(), "actual", "CISO").kind == GridFailureKind.BAD_RESPONSE
        assert len(vendor.paths) == MAX_PAGES


def test_it_is_for_accounting_and_never_steers() -> None:
    assert Eia.steers is False
    with eia_like(NOW, lag=DAY) as vendor:
        found = ask(source(vendor.url), "actual", "CISO", hours=48)
    assert found.points[-1].end <= NOW - DAY
    assert (found.signal, found.accounting) == (Signal.AVERAGE, Accounting.PRODUCTION)
    assert (found.basis, found.notes) == (
        Basis.LIFECYCLE,
        ("emission factors: electricity_maps_defaults_lifecycle",),
    )


@pytest.mark.parametrize("zone", ["PJM", "US-MIDA-PJM"])
def test_an_authority_answers_to_both_of_its_names(zone: str) -> None:
    with eia_like(NOW) as vendor:
        found = ask(source(vendor.url), "actual", zone)
        assert json.loads(vendor.headers[0]["x-params"])["facets"] == {"respondent": ["PJM"]}
    assert found.zone_returned == zone


@pytest.mark.parametrize("zone", ["US", "US-CAL-PJM", "pjm", "DE"])
def test_other_zones_are_refused(zone: str) -> None:
    assert zone not in RESPONDENTS
    assert kind_of(body(), zone) == GridFailureKind.UNKNOWN_ZONE


def test_rows_of_another_authority_are_refused() -> None:
    assert kind_of(body(row(NOON, "NG", 1, "PJM"))) == GridFailureKind.BAD_RESPONSE


@pytest.mark.parametrize(
    "change",
    [
        {"fueltype": "WIND"},
        {"fueltype": ["NG"]},
        {"fueltype": None},
        {"value": "many"},
        {"value": True},
        {"value": 1e9},
        {"value": "NaN"},
        {"value-units": "megawatts"},
        {"period": "2026-03-10"[:7]},
        {"period": "2026-03-10T12:30"},
        {"period": "0001-01-01T00"},
        {"period": 12},
    ],
)
def test_a_row_that_is_not_as_documented_spoils_the_answer(change: dict[str, Any]) -> None:
    assert kind_of(body(row(NOON - HOUR, "NG", 1), row(NOON, "NG", 1) | change)) == GridFailureKind.BAD_RESPONSE


@pytest.mark.parametrize(
    "told_by",
    [{}, [], {"response": {}}, {"response": {"data": [1], "total": 1}}, body(total="many"), body(frequency="daily")],
)
def test_another_shape_is_a_bad_response(told_by: Any) -> None:
    assert kind_of(json_reply(told_by)) == GridFailureKind.BAD_RESPONSE


def test_two_figures_for_one_fuel_and_hour_are_refused() -> None:
    assert kind_of(body(row(NOON, "NG", 1), row(NOON, "NG", 2))) == GridFailureKind.BAD_RESPONSE


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (json_reply({"error": {"code": "API_KEY_INVALID"}}, 403), GridFailureKind.AUTH),
        (json_reply({"error": {"code": "API_KEY_MISSING"}}, 403), GridFailureKind.AUTH),
        (Reply(403), GridFailureKind.NOT_ENTITLED),
        (Reply(401), GridFailureKind.AUTH),
        (Reply(429), GridFailureKind.RATE_LIMITED),
        (Reply(503), GridFailureKind.UNAVAILABLE),
    ],
)
def test_a_status_says_whether_to_ask_again(answer: Reply, kind: GridFailureKind) -> None:
    assert kind_of(answer) == kind


@pytest.mark.parametrize("answer", [Reply(403), Reply(500), Reply(body=b"<html>"), json_reply(body())])
def test_the_key_is_in_a_header_and_in_no_message_no_url_and_no_log(
    answer: Reply, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with a_vendor(lambda _: answer) as vendor:
        failure = failure_of(lambda _: source(vendor.url), answer, "actual", "CISO")
        assert vendor.headers[0]["x-api-key"] == KEY
        assert KEY not in "".join(vendor.paths)
    assert KEY not in f"{failure!r} {failure} {failure.fix} {failure.details}"
    assert KEY not in caplog.text


def test_a_key_that_is_gone_is_a_failure_and_one_that_never_was_bad_input(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with pytest.raises(BadInput):
        Eia(api_key_file=str(path))
    path.write_text(KEY)
    eia = Eia(api_key_file=str(path), base_url="http://127.0.0.1:9")
    path.unlink()
    with pytest.raises(GridFailure) as caught:
        asyncio.run(eia.actual("CISO", NOON - HOUR, NOON, NOW))
    assert caught.value.kind == GridFailureKind.AUTH


THEN = datetime(2022, 10, 31, 14, 0, tzinfo=UTC)


def recorded(name: str) -> Reply:
    return Reply(body=(FIXTURES / "eia" / name).read_bytes())


@needs_recordings
def test_the_recorded_hour_with_a_null_is_left_out_and_the_other_read() -> None:
    found = told(source, recorded("US-NW-PGE-with-nulls.json"), "actual", "PGE", THEN)
    assert [(p.start, p.g_per_kwh) for p in found.points] == [(datetime(2022, 10, 31, 11, tzinfo=UTC), 490)]


@needs_recordings
@pytest.mark.parametrize(
    ("name", "zone", "kind", "why"),
    [
        ("US_CAR_SC-nuclear.json", "US-CAR-SC", GridFailureKind.NO_DATA, "no hour"),
        ("US_NW_AVRN-other.json", "US-NW-AVRN", GridFailureKind.NO_DATA, "no hour"),
        ("US_NW_BPAT-wind.json", "US-NW-BPAT", GridFailureKind.BAD_RESPONSE, "'WIND'"),
        ("US-NW-PGE-with-nulls.json", "BPAT", GridFailureKind.BAD_RESPONSE, "'PGE', asked for BPAT"),
    ],
)
def test_recorded_answers_without_figures_or_with_codes_of_their_own_are_refused(
    name: str, zone: str, kind: GridFailureKind, why: str
) -> None:
    failure = failure_of(source, recorded(name), "actual", zone, THEN)
    assert (failure.kind, why in failure.message) == (kind, True)
