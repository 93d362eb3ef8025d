"""A Prometheus server as a grid source: texts for numbers, labels that contradict, samples that are old."""

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from lowtide.connectors.grid.prometheus import Prometheus
from lowtide.scheduler.model.errors import BadInput, GridFailure, GridFailureKind
from lowtide.scheduler.model.series import PointKind, Series
from tests.contract.grid_conformance import Case, GridSourceConformance
from tests.contract.grid_server import Reply, a_vendor, json_reply, made_up_g_per_kwh
from tests.contract.grid_speakers import KEY, KEY_ENV, speaks_http

NOW = datetime(2026, 3, 10, 12, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
METRICS = Path(__file__).parents[2] / ".." / "shared" / "fixtures" / "grid" / "grid_intensity_go" / "metrics.txt"


@dataclass
class Server:
    """What a Prometheus server holds about one metric; samples every minute until ``newest``."""

    newest: datetime = NOW - timedelta(seconds=30)
    first: datetime = NOW - timedelta(days=30)
    labels: dict[str, str] = field(default_factory=dict)
    figure: Callable[[datetime], str] = lambda when: str(made_up_g_per_kwh(when))
    copies: int = 1
    asked: list[dict[str, str]] = field(default_factory=list)

    def __call__(self, path: str) -> Reply:
        parts = urlsplit(path)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.asked.append(asked)
        if parts.path == "/api/v1/query":
            value = [float(asked["time"]), f"{self.newest.timestamp()}"]
            return self._told("vector", [{"metric": {}, "value": value}] if asked["query"] else [])
        assert parts.path == "/api/v1/query_range"
        ahead = "forecast" in asked["query"]
        values = [[when.timestamp(), self.figure(when)] for when in self._steps(asked, ahead=ahead)]
        series = {"metric": {"__name__": "ci", **self.labels}, "values": values}
        return self._told("matrix", [series] * self.copies if values else [])

    def _steps(self, asked: dict[str, str], *, ahead: bool) -> Iterator[datetime]:
        when, end = (datetime.fromtimestamp(float(asked[name]), UTC) for name in ("start", "end"))
        while when <= end:
            if self.first <= when and (ahead or when <= self.newest):
                yield when
            when += timedelta(seconds=float(asked["step"]))

    @staticmethod
    def _told(kind: str, result: list[Any]) -> Reply:
        return json_reply({"status": "success", "data": {"resultType": kind, "result": result}})


def a_prometheus(url: str, **options: Any) -> Prometheus:
    told: dict[str, Any] = {"query": "ci", "zones": ["campus"], "unit": "g/kWh", "signal": "average", **options}
    return Prometheus(url, **told)


class TestPrometheus(GridSourceConformance):
    @pytest.fixture
    def case(self) -> Iterator[Case]:
        with a_vendor(Server()) as vendor:
            yield Case(lambda: a_prometheus(vendor.url, forecast_query="forecast"), "campus", NOW, forecasts=True)


class TestPrometheusWithoutForecast(GridSourceConformance):
    @pytest.fixture
    def case(self) -> Iterator[Case]:
        with a_vendor(Server()) as vendor:
            yield Case(lambda: a_prometheus(vendor.url), "campus", NOW, forecasts=False)


speaks_http(
    "prometheus",
    lambda url: a_prometheus(url, forecast_query="forecast", token_env=KEY_ENV),
    "campus",
    NOW,
    Server(),
)


def ask(answer: Callable[[str], Reply], operation: str = "actual", zone: str = "campus", **options: Any) -> Series:
    async def whole(url: str) -> Series:
        source = a_prometheus(url, **options)
        try:
            if operation == "actual":
                return await source.actual(zone, NOW - 6 * HOUR, NOW, NOW)
            found = await source.forecast(zone, NOW)
            assert found is not None
            return found
        finally:
            await source.close()

    with a_vendor(answer) as vendor:
        return asyncio.run(whole(vendor.url))


def failure_of(answer: Callable[[str], Reply], operation: str = "actual", **options: Any) -> GridFailure:
    with pytest.raises(GridFailure) as caught:
        ask(answer, operation, **options)
    return caught.value


def test_figures_come_at_every_step_and_only_those_whose_step_has_ended() -> None:
    series = ask(Server(), step_s=900)
    assert series.points[-1].end == datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
    assert {p.end - p.start for p in series.points} == {timedelta(minutes=15)}
    assert len(series.points) == 24


@pytest.mark.parametrize(
    ("unit", "g_per_kwh"),
    [("g/kWh", 870), ("kg/MWh", 870), ("kg per kWh", None), ("lb/MWh", 394.6253619), ("lbCO2e per MWh", 394.6253619)],
)
def test_the_unit_of_the_settings_is_turned_into_g_per_kwh(unit: str, g_per_kwh: float | None) -> None:
    server = Server(figure=lambda _: "870")
    if g_per_kwh is None:
        assert failure_of(server, unit=unit).kind == GridFailureKind.BAD_RESPONSE
        return
    assert ask(server, unit=unit).points[0].g_per_kwh == pytest.approx(g_per_kwh)


@pytest.mark.parametrize("label", ["lbCO2e per MWh", "percent", "kgCO2 per kWh", "%", "whatever"])
def test_a_units_label_that_says_something_else_is_refused(label: str) -> None:
    assert failure_of(Server(labels={"units": label})).kind == GridFailureKind.BAD_RESPONSE


@pytest.mark.parametrize("label", ["gCO2 per kWh", "gCO2e per kWh", "gCO2eq/kWh", "g/kWh"])
def test_a_units_label_that_agrees_is_fine(label: str) -> None:
    assert ask(Server(labels={"units": label})).points


def test_several_series_are_refused() -> None:
    failure = failure_of(Server(copies=2))
    assert failure.kind == GridFailureKind.BAD_RESPONSE
    assert "2 series" in failure.message


@pytest.mark.parametrize("operation", ["actual", "forecast"])
def test_nan_is_a_gap_and_nothing_but_nan_is_no_data(operation: str) -> None:
    gap = datetime(2026, 3, 10, 9, 0, tzinfo=UTC) if operation == "actual" else NOW + 3 * HOUR

    def figure(when: datetime) -> str:
        return "NaN" if abs(when - gap) < HOUR else "100"

    series = ask(Server(figure=figure), operation, forecast_query="forecast")
    assert all(abs(p.start - gap) >= HOUR for p in series.points)
    assert {p.g_per_kwh for p in series.points} == {100}
    nothing = failure_of(Server(figure=lambda _: "NaN"), operation, forecast_query="forecast")
    assert nothing.kind == GridFailureKind.NO_DATA


@pytest.mark.parametrize("figure", ["+Inf", "-Inf", "-1", "5001", "x", "", "1e999"])
def test_what_is_no_intensity_spoils_the_answer(figure: str) -> None:
    assert failure_of(Server(figure=lambda _: figure)).kind == GridFailureKind.BAD_RESPONSE


def test_an_old_sample_is_refused_although_the_query_was_evaluated_now() -> None:
    failure = failure_of(Server(newest=NOW - 3 * HOUR))
    assert failure.kind == GridFailureKind.NO_DATA
    assert "from 2026-03-10 09:10 UTC, older than 7200 s" in failure.message


def test_steps_after_the_newest_sample_are_not_figures() -> None:
    """A server repeats the last sample for minutes; another exporter repeats it for ever."""
    server = Server(newest=NOW - HOUR)

    def repeating(path: str) -> Reply:
        real, server.newest = server.newest, NOW if "query_range" in path else server.newest
        reply = server(path)
        server.newest = real
        return reply

    assert ask(repeating).points[-1].start <= NOW - HOUR


def test_the_query_for_the_samples_time_is_the_settings_or_made_from_the_query() -> None:
    for options, expected in (({}, "timestamp(ci)"), ({"timestamp_query": "ci_updated"}, "ci_updated")):
        server = Server()
        ask(server, **options)
        assert [asked["query"] for asked in server.asked if "time" in asked] == [expected]


def test_a_server_without_a_sample_now_is_no_data() -> None:
    def answer(path: str) -> Reply:
        kind = "matrix" if "query_range" in path else "vector"
        return json_reply({"status": "success", "data": {"resultType": kind, "result": []}})

    assert failure_of(answer).kind == GridFailureKind.NO_DATA


def test_the_zone_goes_into_the_query_under_the_servers_name() -> None:
    server = Server(labels={"location": "FR"})
    series = ask(server, zone="France", query='ci{location="$zone",x="$y"}', zones={"France": "FR", "Spain": "ES"})
    assert server.asked[-1]["query"] == 'ci{location="FR",x="$y"}'
    assert series.zone_returned == "France"


def test_a_zone_with_quotes_stays_inside_its_quotes() -> None:
    server = Server()
    ask(server, zone='a"b', query='ci{location="$zone"}', zones=['a"b'])
    assert server.asked[-1]["query"] == 'ci{location="a\\"b"}'


def test_another_zones_series_is_refused() -> None:
    assert failure_of(Server(labels={"location": "FR"})).kind == GridFailureKind.BAD_RESPONSE
    assert ask(Server(labels={"location": "FR"}), zone_label="region").points


def test_an_estimate_is_marked_as_one() -> None:
    assert {p.kind for p in ask(Server(labels={"is_estimated": "true"})).points} == {PointKind.ESTIMATED}


def test_a_wrong_query_is_a_bad_response_and_not_an_outage() -> None:
    reply = json_reply({"status": "error", "errorType": "bad_data", "error": "parse error"}, 422)
    assert failure_of(lambda _: reply).kind == GridFailureKind.BAD_RESPONSE


def test_a_token_goes_into_a_header_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)
    with a_vendor(Server()) as vendor:

        async def whole() -> None:
            source = a_prometheus(vendor.url, token_env=KEY_ENV)
            await source.actual("campus", NOW - HOUR, NOW, NOW)
            monkeypatch.delenv(KEY_ENV)
            with pytest.raises(GridFailure) as caught:
                await source.actual("campus", NOW - HOUR, NOW, NOW)
            assert caught.value.kind == GridFailureKind.AUTH
            await source.close()

        asyncio.run(whole())
        assert {told["authorization"] for told in vendor.headers} == {f"Bearer {KEY}"}
        assert KEY not in str(vendor.paths)


@pytest.mark.parametrize(
    "options",
    [
        {"unit": "percent"}, {"unit": ""}, {"unit": "g"}, {"signal": "mean"}, {"basis": "x"}, {"accounting": "x"},
        {"query": " "}, {"zones": []}, {"zones": "campus"}, {"zones": [True]}, {"zones": ["a", "b"]}, {"step_s": 0},
        {"zones": ["a", "b"], "query": "ci{l='$zone'}", "forecast_query": "f"}, {"token_env": "LOWTIDE_NOT_SET"},
        {"max_age_s": -1}, {"private_networks": ["x"]},
    ],
)  # fmt: skip
def test_options_that_cannot_be_meant_are_refused_at_the_start(options: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        a_prometheus("http://127.0.0.1:9090", **options)


def test_a_server_in_the_own_network_needs_to_be_listed_or_written_as_an_address() -> None:
    async def whole() -> None:
        source = a_prometheus("http://localhost.localdomain:9090")
        with pytest.raises(GridFailure):
            await source.actual("campus", NOW - HOUR, NOW, NOW)
        await source.close()

    asyncio.run(whole())


@pytest.mark.skipif(not METRICS.is_file(), reason="the published samples are not beside this checkout")
def test_the_published_exposition_has_a_unit_and_a_label_that_are_understood() -> None:
    line = next(text for text in METRICS.read_text().splitlines() if text and not text.startswith("#"))
    told, figure, at_ms = line.rpartition("}")[0].partition("{")[2], *line.rpartition("}")[2].split()
    labels = json.loads("{" + ",".join(f'"{p.partition("=")[0]}":{p.partition("=")[2]}' for p in told.split(",")) + "}")
    assert labels["location"] == "FR"
    server = Server(labels=labels, figure=lambda _: figure)
    assert ask(server, zone="FR", zones=["FR"]).points[0].g_per_kwh == float(figure)
    assert int(at_ms) > 1_600_000_000_000
