"""Energy-Charts: its shape, its seam and its limits; figures are made up, shapes are the documented ones."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lowtide.connectors.grid.energy_charts import COUNTRIES, LICENCE_NOTE, MAX_SPAN, EnergyCharts
from lowtide.scheduler.forecast.ladder import GridKnowledge, forecast_for
from lowtide.scheduler.model.errors import GridFailureKind
from lowtide.scheduler.model.series import Accounting, Basis, PointKind, Rate
from tests.contract.grid_conformance import Case, GridSourceConformance
from tests.contract.grid_questions import FIXTURES, NOW, ask, asked_in, failure_of, needs_recordings, told
from tests.contract.grid_server import Reply, a_vendor, json_reply
from tests.contract.grid_speakers import speaks_http

QUARTER, DAY = timedelta(minutes=15), timedelta(days=1)
LAG = timedelta(hours=2)
SLOT = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
SEAM = 40
"""What the made-up forecast lies below the made-up measurements."""


def source(url: str) -> EnergyCharts:
    return EnergyCharts(base_url=url)


def measured_g(start: datetime) -> float:
    return 200.0 + start.timestamp() // 900 % 96


def charts_like(now: datetime) -> Callable[[str], Reply]:
    """An API of the vendor's shape: measured to two hours ago, forecast to midnight, null after it."""

    def answer(path: str) -> Reply:
        asked = asked_in(path)
        midnight = now.replace(hour=0, minute=0)
        if asked["country"] not in COUNTRIES.values():
            return Reply(400, b"'xx' is not the code for an available country")
        start = datetime.fromisoformat(asked["start"]) if "start" in asked else midnight
        end = datetime.fromisoformat(asked["end"]) if "end" in asked else midnight + 2 * DAY
        count = 0 if start < now - 365 * DAY else (end - start) // QUARTER
        return json_reply(columns([start + i * QUARTER for i in range(count)], now - LAG, midnight + DAY))

    return answer


def columns(starts: list[datetime], last: datetime, midnight: datetime) -> dict[str, Any]:
    return {
        "unix_seconds": [int(start.timestamp()) for start in starts],
        "co2eq": [measured_g(s) if s + QUARTER <= last else None for s in starts],
        "co2eq_forecast": [measured_g(s) - SEAM if s + QUARTER > last and s < midnight else None for s in starts],
        "deprecated": False,
    }


def few(**changed: object) -> Reply:
    starts = [SLOT + i * QUARTER for i in range(-2, 3)]
    return json_reply({**columns(starts, SLOT, SLOT + DAY), **changed})


speaks_http("energy_charts", source, "DE", NOW, charts_like(NOW))


class TestEnergyCharts(GridSourceConformance):
    @pytest.fixture
    def case(self) -> Iterator[Case]:
        with a_vendor(charts_like(NOW)) as vendor:
            yield Case(lambda: source(vendor.url), "DE", NOW, forecasts=True)


def test_the_answer_of_192_stamps_gives_only_those_with_a_figure() -> None:
    series = told(source, charts_like(NOW), "forecast", "DE")
    assert (series.points[0].start, series.points[-1].end) == (SLOT, datetime(2026, 3, 11, tzinfo=UTC))
    assert series.step_s == 900


def test_neither_zone_nor_country_but_only_a_code_and_times_are_sent() -> None:
    with a_vendor(charts_like(NOW)) as vendor:
        ask(source(vendor.url), "forecast", "GB")
        ask(source(vendor.url), "actual", "GB")
        assert vendor.paths == [
            "/co2eq?country=uk",
            "/co2eq?country=uk&start=2026-03-10T06%3A00Z&end=2026-03-10T12%3A15Z",
        ]


def test_measured_and_forecast_columns_are_never_spliced() -> None:
    measured = told(source, charts_like(NOW), "actual", "DE")
    forecast = told(source, charts_like(NOW), "forecast", "DE")
    assert all(p.kind == PointKind.ACTUAL and p.g_per_kwh == measured_g(p.start) for p in measured.points)
    assert all(p.kind == PointKind.FORECAST and p.g_per_kwh == measured_g(p.start) - SEAM for p in forecast.points)
    assert measured.points[-1].end == NOW - LAG - timedelta(minutes=10)


def test_the_jump_at_the_seam_is_no_saving() -> None:
    level = {"unix_seconds": [int((SLOT + i * QUARTER).timestamp()) for i in range(-8, 8)]}
    body = {**level, "co2eq": [90.0] * 8 + [None] * 8, "co2eq_forecast": [None] * 8 + [50.0] * 8}
    answer = json_reply(body)
    known = GridKnowledge("DE", told(source, answer, "forecast", "DE"), told(source, answer, "actual", "DE"))
    assert set(forecast_for(known, NOW, 900.0).g_per_kwh) == {50.0}


def test_a_forecast_that_is_null_throughout_is_no_data() -> None:
    assert failure_of(source, few(co2eq_forecast=[None] * 5), "forecast", "DE").kind == GridFailureKind.NO_DATA


def test_nulls_at_the_tail_and_between_are_gaps_and_never_zero() -> None:
    series = told(source, few(co2eq_forecast=[None, None, 0, None, 7.5]), "forecast", "DE")
    assert [(p.start, p.end, p.g_per_kwh) for p in series.points] == [
        (SLOT, SLOT + QUARTER, 0),
        (SLOT + 2 * QUARTER, SLOT + 3 * QUARTER, 7.5),
    ]


@pytest.mark.parametrize("column", ["unix_seconds", "co2eq_forecast"])
@pytest.mark.parametrize("change", [lambda v: v[:-1], lambda v: [*v, v[-1]], lambda _: [], lambda _: None])
def test_arrays_of_unequal_length_are_refused(column: str, change: Callable[[Any], Any]) -> None:
    body = json.loads(few().body)
    answer = few(**{column: change(body[column])})
    assert failure_of(source, answer, "forecast", "DE").kind == GridFailureKind.BAD_RESPONSE


def test_the_forecast_ends_where_the_day_ends_however_late_it_is_asked_for() -> None:
    late = datetime(2026, 3, 10, 23, 20, tzinfo=UTC)
    series = told(source, charts_like(late), "forecast", "DE", late)
    assert len(series.points) == 3
    assert forecast_for(GridKnowledge("DE", series), late, 900.0).g_per_kwh == (*(p.g_per_kwh for p in series.points),)


def test_a_country_that_the_vendor_does_not_know_is_an_unknown_zone() -> None:
    refusal = Reply(400, b"'xk' is not the code for an available country. Please refer to the API doc")
    assert failure_of(source, refusal, "forecast", "XK").kind == GridFailureKind.UNKNOWN_ZONE
    assert failure_of(source, Reply(400, b"bad date"), "actual", "DE").kind == GridFailureKind.BAD_RESPONSE


@pytest.mark.parametrize("zone", ["DK-DK1", "de", "US", ""])
def test_a_zone_that_is_no_country_is_refused_without_a_request(zone: str) -> None:
    with a_vendor(charts_like(NOW)) as vendor:
        assert failure_of(lambda _: source(vendor.url), few(), "actual", zone).kind == GridFailureKind.UNKNOWN_ZONE
        assert vendor.paths == []


def test_a_rate_limit_says_when_to_come_back() -> None:
    failure = failure_of(source, Reply(429, headers={"Retry-After": "37"}), "actual", "DE")
    assert (failure.kind, failure.retry_at) == (GridFailureKind.RATE_LIMITED, NOW + timedelta(seconds=37))


def test_both_operations_together_ask_twice_a_minute_and_no_more() -> None:
    assert dict(EnergyCharts.rates) == {"actual": Rate(1, 60.0), "forecast": Rate(1, 60.0)}


def test_what_the_figures_count_is_unknown_and_the_licence_is_told() -> None:
    series = told(source, few(deprecated=True), "forecast", "DE")
    assert (series.basis, series.accounting, series.issued_at) == (Basis.UNKNOWN, Accounting.UNKNOWN, None)
    assert series.notes == (LICENCE_NOTE, "the vendor calls this endpoint deprecated")


def test_a_long_past_is_cut_to_what_one_answer_holds() -> None:
    with a_vendor(charts_like(NOW)) as vendor:
        series = ask(source(vendor.url), "actual", "DE", hours=24 * 200)
    assert series.points[0].start == SLOT + QUARTER - MAX_SPAN


@pytest.mark.parametrize("figure", ["NaN", "Infinity", "-1", "5001", "1e999", '"59.6"', "true", "[1]"])
def test_a_figure_that_is_not_sane_spoils_the_answer(figure: str) -> None:
    text = few(co2eq_forecast=[None, None, "HERE", 1, 2]).body.decode().replace('"HERE"', figure)
    assert failure_of(source, Reply(body=text.encode()), "forecast", "DE").kind == GridFailureKind.BAD_RESPONSE


@pytest.mark.parametrize("stamp", ["1773144000", 1773144000.5, None, True, 10**18, -(10**18), 253402300799])
def test_a_time_that_is_no_whole_second_of_the_calendar_is_refused(stamp: object) -> None:
    answer = few(unix_seconds=[stamp], co2eq=[1], co2eq_forecast=[1])
    assert failure_of(source, answer, "forecast", "DE").kind == GridFailureKind.BAD_RESPONSE


@needs_recordings
def test_the_recorded_french_day_has_24_measured_figures_and_a_forecast_to_local_midnight() -> None:
    answer = Reply(body=(FIXTURES / "energy_charts" / "co2eq_fr.json").read_bytes())
    then = datetime(2026, 10, 4, 4, 5, tzinfo=UTC)
    measured, forecast = (told(source, answer, operation, "FR", then) for operation in ("actual", "forecast"))
    assert (len(measured.points), measured.points[-1].g_per_kwh) == (24, 59.6)
    assert (len(forecast.points), forecast.points[0].g_per_kwh) == (75, 49.4)
    assert forecast.points[-1].end == datetime(2026, 10, 4, 22, 45, tzinfo=UTC)


@needs_recordings
def test_the_recorded_german_sample_is_read() -> None:
    answer = Reply(body=(FIXTURES / "energy_charts" / "co2eq_de_short.json").read_bytes())
    then = datetime.fromtimestamp(1783896300, tz=UTC)
    assert [p.g_per_kwh for p in told(source, answer, "actual", "DE", then).points] == [491.5, 497.4, 502.6]
    assert [p.g_per_kwh for p in told(source, answer, "forecast", "DE", then).points] == [505.0, 508.0]
