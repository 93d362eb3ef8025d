"""Electricity Maps' habits; figures are made up, shapes are the documented ones."""

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from lowtide.connectors.grid.electricity_maps import ElectricityMaps
from lowtide.scheduler.model.errors import BadInput, GridFailure, GridFailureKind
from lowtide.scheduler.model.series import Accounting, Basis, Coverage, PointKind, Series, Signal
from tests.contract.grid_conformance import Case, GridSourceConformance
from tests.contract.grid_server import Reply, Vendor, a_vendor, json_reply, made_up_g_per_kwh
from tests.contract.grid_speakers import KEY_ENV, speaks_http

NOW = datetime(2026, 3, 10, 12, 10, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
THIS_HOUR = NOW.replace(minute=0)
FIXTURES = Path(__file__).parents[2] / ".." / "shared" / "fixtures" / "grid"
NOT_IN_PLAN = {
    "error": "Request unauthorized for zoneKey=XX,requestType=past-range,dataType=carbon-intensity.",
    "message": "You do not have access to this specific endpoint for this specific zone.",
}
TOKEN = "hush-hush"


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EM_TOKEN", TOKEN)


def iso(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M}:00.000Z"


def zone_entry(parent: str | None = None, subzones: tuple[str, ...] = (), *, access: bool = True) -> dict[str, Any]:
    opened = ["carbon-intensity/history", "carbon-intensity/forecast", "carbon-intensity/past-range"] if access else []
    return {"zoneName": "Somewhere", "zoneParentKey": parent, "subZoneKeys": list(subzones), "access": opened}


CATALOGUE = {
    "DE": zone_entry(),
    "DK": zone_entry(subzones=("DK-DK1", "DK-DK2"), access=False),
    "DK-DK1": zone_entry("DK"),
    "DK-DK2": zone_entry("DK"),
}


def row(zone: str, start: datetime, value: Any = None, **more: Any) -> dict[str, Any]:
    common = {"updatedAt": iso(start - HOUR / 4), "createdAt": iso(start - DAY), "estimationMethod": None}
    told = {"zone": zone, "carbonIntensity": made_up_g_per_kwh(start) if value is None else value}
    terms = {"emissionFactorType": "lifecycle", "flowTraced": True, "isEstimated": False}
    return {**told, "datetime": iso(start), **common, **terms, **more}


def history(zone: str, now: datetime = NOW, **more: Any) -> dict[str, Any]:
    """24 rows to the current hour; the last two are estimates."""
    last = now.replace(minute=0)
    rows = [row(zone, last - (23 - n) * HOUR, isEstimated=n > 21) for n in range(24)]
    return {"zone": zone, "history": rows, "temporalGranularity": "hourly", **more}


def forecast(zone: str, hours: int = 24, now: datetime = NOW) -> dict[str, Any]:
    starts = [now.replace(minute=0) + n * HOUR for n in range(hours + 1)]
    rows = [{"carbonIntensity": made_up_g_per_kwh(s) + 2, "datetime": iso(s)} for s in starts]
    return {"zone": zone, "forecast": rows, "updatedAt": iso(now), "temporalGranularity": "hourly"}


def past_range(zone: str, start: datetime, end: datetime) -> dict[str, Any]:
    first = start.replace(minute=0, second=0)
    starts = [first + n * HOUR for n in range(int((end - first) / HOUR) + 1)]
    return {"zone": zone, "data": [row(zone, s) for s in starts if start <= s <= end]}


def like_the_vendor(path: str) -> Reply:
    """An API of the documented shape that knows nothing older than a year."""
    parts = urlsplit(path)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    if parts.path.endswith("/zones"):
        return json_reply(CATALOGUE)
    zone, operation = query["zone"], parts.path.rpartition("/")[2]
    if zone not in CATALOGUE or zone == "DK":
        return json_reply({"error": f'No recent data for zone "{zone}"'}, 404)
    if operation == "history":
        return json_reply(history(zone))
    if operation == "forecast":
        return json_reply(forecast(zone, int(query.get("horizonHours", 24))))
    start, end = (datetime.fromisoformat(query[name]) for name in ("start", "end"))
    assert end - start <= 10 * DAY
    if end < NOW - 365 * DAY:
        return json_reply({"error": f'No recent data for zone "{zone}"'}, 404)
    return json_reply(past_range(zone, start, end))


speaks_http(
    "electricity_maps",
    lambda url: ElectricityMaps(base_url=f"{url}/v4", token_env=KEY_ENV),
    "DK-DK2",
    NOW,
    like_the_vendor,
)


class TestElectricityMaps(GridSourceConformance):
    @pytest.fixture
    def case(self) -> Iterator[Case]:
        with a_vendor(like_the_vendor) as vendor:
            yield Case(lambda: source_at(vendor), "DK-DK2", NOW, forecasts=True)


def source_at(vendor: Vendor, version: str = "v4", **options: Any) -> ElectricityMaps:
    return ElectricityMaps(base_url=f"{vendor.url}/{version}", **{"token_env": "EM_TOKEN", **options})


async def _asked(source: ElectricityMaps, operation: str, zone: str, span: timedelta, now: datetime) -> Series:
    try:
        if operation == "actual":
            return await source.actual(zone, now - span, now, now)
        found = await source.forecast(zone, now)
        assert found is not None
        return found
    finally:
        await source.close()


def ask(
    vendor: Vendor,
    operation: str = "actual",
    *,
    zone: str = "DK-DK2",
    span: timedelta = 6 * HOUR,
    now: datetime = NOW,
    **options: Any,
) -> Series:
    return asyncio.run(_asked(source_at(vendor, **options), operation, zone, span, now))


def answer_to(reply: Any, operation: str = "actual", **asked: Any) -> Series:
    """The series out of one answer to every question but that for the zones."""
    told = reply if isinstance(reply, Reply) else json_reply(reply)
    with a_vendor(lambda path: json_reply(CATALOGUE) if "/zones" in path else told) as vendor:
        return ask(vendor, operation, **asked)


def failure_of(reply: Any, operation: str = "actual", **asked: Any) -> GridFailure:
    with pytest.raises(GridFailure) as caught:
        answer_to(reply, operation, **asked)
    assert TOKEN not in str(caught.value)
    return caught.value


def probed(answer: Callable[[str], Reply], **options: Any) -> tuple[tuple[Coverage, ...], tuple[str, ...], Vendor]:
    async def whole(vendor: Vendor) -> tuple[tuple[Coverage, ...], tuple[str, ...]]:
        source = source_at(vendor, **options)
        try:
            return await source.probe(NOW), source.zones()
        finally:
            await source.close()

    with a_vendor(answer) as vendor:
        told, zones = asyncio.run(whole(vendor))
    return told, zones, vendor


# ---- what is asked ----


def test_every_question_switches_the_callers_own_zone_off_and_carries_nothing_else_of_ours() -> None:
    with a_vendor(like_the_vendor) as vendor:
        ask(vendor, "actual", span=3 * DAY)
        ask(vendor, "forecast")
    assert len(vendor.paths) == 3
    for path, headers in zip(vendor.paths, vendor.headers, strict=True):
        query = parse_qs(urlsplit(path).query)
        assert query.pop("disableCallerLookup") == ["true"]
        assert query.keys() <= {"zone", "start", "end", "emissionFactorType", "horizonHours"}
        assert headers["auth-token"] == TOKEN
        assert TOKEN not in path


def test_the_options_decide_basis_and_accounting_and_are_asked_for() -> None:
    told = history("DK-DK2")
    rows = [{**r, "emissionFactorType": "direct", "flowTraced": False} for r in told["history"]]
    with a_vendor(lambda _: json_reply({**told, "history": rows})) as vendor:
        found = ask(vendor, emission_factor_type="direct", flow_traced=False, disable_estimations=True)
    assert (found.signal, found.basis, found.accounting) == (Signal.AVERAGE, Basis.DIRECT, Accounting.PRODUCTION)
    assert "emissionFactorType=direct&flowTraced=false&disableEstimations=true" in vendor.paths[0]


def test_lifecycle_and_traced_flows_are_the_default() -> None:
    found = answer_to(history("DK-DK2"))
    assert (found.basis, found.accounting) == (Basis.LIFECYCLE, Accounting.CONSUMPTION)


@pytest.mark.parametrize(
    "options",
    [
        {"emission_factor_type": "both"},
        {"horizon_hours": 25},
        {"temporal_granularity": "daily"},
        {"flow_traced": False, "base_url": "https://api.electricitymaps.com/v3"},
        {"token_env": "NOT_SET_ANYWHERE"},
        {"token_file": "/nonexistent/token"},
    ],
)
def test_an_option_that_cannot_be_is_refused_at_the_start(options: dict[str, Any]) -> None:
    with pytest.raises(BadInput) as caught:
        ElectricityMaps(**options)
    assert caught.value.fix


def test_a_token_file_that_vanishes_is_a_failure_of_the_login(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(TOKEN)
    source = ElectricityMaps(token_file=str(path))
    path.unlink()
    with pytest.raises(GridFailure) as caught:
        asyncio.run(source.forecast("DE", NOW))
    assert caught.value.kind == GridFailureKind.AUTH


# ---- what is answered ----


@pytest.mark.parametrize(("hours", "rows"), [(24, 25), (72, 73)])
def test_a_forecast_has_its_endpoint_too(hours: int, rows: int) -> None:
    with a_vendor(like_the_vendor) as vendor:
        found = ask(vendor, "forecast", horizon_hours=hours)
    assert len(found.points) == rows
    assert found.points[-1].end - found.points[0].start == rows * HOUR
    assert f"horizonHours={hours}" in vendor.paths[0]


def test_the_update_time_of_a_forecast_is_the_time_of_the_answer_and_no_issue_time() -> None:
    assert answer_to(forecast("DK-DK2"), "forecast").issued_at is None


def test_the_first_forecast_figure_stays_apart_from_the_actual_of_its_hour() -> None:
    with a_vendor(like_the_vendor) as vendor:
        actual, ahead = ask(vendor, now=NOW + HOUR), ask(vendor, "forecast")
    assert actual.at(THIS_HOUR) != ahead.at(THIS_HOUR)
    assert {p.kind for p in ahead.points} == {PointKind.FORECAST}


def test_estimated_rows_are_told_from_measured_ones_whatever_the_method_is_called() -> None:
    told = history("DK-DK2")
    told["history"][-3] |= {"isEstimated": True, "estimationMethod": "SOMETHING_NEW"}
    kinds = [p.kind for p in answer_to(told).points]
    assert kinds == [PointKind.ACTUAL] * 4 + [PointKind.ESTIMATED] * 2


def test_an_update_before_its_hour_is_as_good_as_any() -> None:
    told = history("DK-DK2")
    for one in told["history"]:
        one["updatedAt"] = iso(datetime.fromisoformat(one["datetime"]) - HOUR)
    assert len(answer_to(told).points) == 6


def test_a_body_without_the_keys_of_v4_is_read() -> None:
    told = history("DK-DK2")
    del told["temporalGranularity"]
    for one in told["history"]:
        del one["flowTraced"]
    found = answer_to(told, version="v3")
    assert found.accounting == Accounting.CONSUMPTION
    assert len(found.points) == 6


def test_a_step_that_is_silently_an_hour_is_read_from_the_data() -> None:
    with a_vendor(like_the_vendor) as vendor:
        found = ask(vendor, "forecast", temporal_granularity="5_minutes")
    assert "temporalGranularity=5_minutes" in vendor.paths[0]
    assert found.step_s == 3600
    assert found.points[0].end - found.points[0].start == HOUR
    assert "asked for a step of 0:05:00" in found.notes[0]


def test_quarters_of_an_hour_are_quarters_of_an_hour() -> None:
    rows = [row("DK-DK2", THIS_HOUR - n * HOUR / 4) for n in range(1, 9)]
    found = answer_to({"zone": "DK-DK2", "history": rows}, temporal_granularity="15_minutes", span=HOUR)
    assert found.step_s == 900
    assert found.notes == ()


def test_a_missing_figure_is_a_gap_and_never_zero() -> None:
    told = history("DK-DK2")
    told["history"][-3]["carbonIntensity"] = None
    del told["history"][-4]["carbonIntensity"]
    found = answer_to(told)
    assert [p.start for p in found.points] == [THIS_HOUR - n * HOUR for n in (6, 5, 4, 1)][:4]
    assert all(p.end - p.start == HOUR for p in found.points)


def test_an_answer_of_gaps_alone_is_no_data() -> None:
    told = history("DK-DK2")
    told["history"] = [{**one, "carbonIntensity": None} for one in told["history"]]
    assert failure_of(told).kind == GridFailureKind.NO_DATA


def test_a_time_at_the_end_of_the_calendar_spoils_the_answer() -> None:
    told = forecast("DK-DK2")
    told["forecast"].append({"carbonIntensity": 75, "datetime": "9999-12-31T23:59:59Z"})
    assert failure_of(told, "forecast").kind == GridFailureKind.BAD_RESPONSE


@pytest.mark.parametrize("value", [-1, 5001, True, "75", [75], 10**400])
def test_a_figure_that_is_not_sane_spoils_the_answer(value: Any) -> None:
    told = history("DK-DK2")
    told["history"][-2]["carbonIntensity"] = value
    assert failure_of(told).kind == GridFailureKind.BAD_RESPONSE


@pytest.mark.parametrize("operation", ["actual", "forecast"])
def test_the_zone_that_answers_must_be_the_one_asked(operation: str) -> None:
    told = history("US-CAR-DUK") if operation == "actual" else forecast("US-CAR-DUK")
    failure = failure_of(told, operation)
    assert failure.kind == GridFailureKind.BAD_RESPONSE
    assert "US-CAR-DUK" in failure.message


def test_an_answer_or_a_row_that_does_not_name_the_zone_asked_spoils_the_answer() -> None:
    unnamed = history("DK-DK2")
    del unnamed["zone"]
    assert failure_of(unnamed).kind == GridFailureKind.BAD_RESPONSE
    foreign = history("DK-DK2")
    foreign["history"][3]["zone"] = "SE-SE4"
    assert failure_of(foreign).kind == GridFailureKind.BAD_RESPONSE


@pytest.mark.parametrize("terms", [{"emissionFactorType": "direct"}, {"flowTraced": False}, {"flowTraced": None}])
def test_figures_on_other_terms_than_asked_are_refused(terms: dict[str, Any]) -> None:
    told = history("DK-DK2")
    told["history"][5] |= terms
    assert failure_of(told).kind == GridFailureKind.BAD_RESPONSE


def test_200_without_data_as_the_old_endpoint_says_it_is_no_data() -> None:
    assert failure_of({"status": "no-data", "countryCode": "DE", "data": {}}).kind == GridFailureKind.NO_DATA


# ---- what is refused ----


@pytest.mark.parametrize(
    ("status", "body", "kind", "advice"),
    [
        (401, json.dumps(NOT_IN_PLAN), GridFailureKind.NOT_ENTITLED, "plan"),
        (401, '{"error": "Token is invalid"}', GridFailureKind.AUTH, "Check the token"),
        (401, "Token is invalid", GridFailureKind.AUTH, "Check the token"),
        (403, "Access denied", GridFailureKind.AUTH, "Check the token"),
        (404, '{"error": "No recent data for zone \\"DK-DK2\\""}', GridFailureKind.NO_DATA, ""),
        (400, '{"status": "error", "message": "no"}', GridFailureKind.BAD_RESPONSE, ""),
        (503, "", GridFailureKind.UNAVAILABLE, ""),
    ],
)
def test_a_refusal_is_told_apart_by_its_status_and_text(
    status: int, body: str, kind: GridFailureKind, advice: str
) -> None:
    failure = failure_of(Reply(status, body.encode()), "forecast")
    assert failure.kind == kind
    assert advice in failure.fix


@pytest.mark.parametrize(
    ("body", "times"), [("Token is invalid", 2), (json.dumps(NOT_IN_PLAN), 1)], ids=["token", "plan"]
)
def test_a_wrong_token_is_asked_twice_and_a_plan_once(body: str, times: int) -> None:
    refused = Reply(401, body.encode())
    with (
        a_vendor(lambda path: json_reply(CATALOGUE) if "/zones" in path else refused) as vendor,
        pytest.raises(GridFailure),
    ):
        ask(vendor, "forecast")
    assert sum("/forecast" in path for path in vendor.paths) == times


def test_a_401_in_a_burst_does_not_cost_the_answer() -> None:
    refusals = [Reply(401, b"Token is invalid")]
    with a_vendor(lambda path: refusals.pop() if refusals else like_the_vendor(path)) as vendor:
        assert len(ask(vendor, "forecast").points) == 25


def test_a_parent_zone_is_refused_with_its_sub_zones() -> None:
    with a_vendor(like_the_vendor) as vendor, pytest.raises(GridFailure) as caught:
        ask(vendor, zone="DK")
    assert caught.value.kind == GridFailureKind.UNKNOWN_ZONE
    assert "DK-DK1, DK-DK2" in caught.value.fix


def test_a_parent_zone_is_refused_without_a_question_once_the_catalogue_was_read() -> None:
    async def probed_first(vendor: Vendor) -> None:
        source = source_at(vendor)
        await source.probe(NOW)
        with pytest.raises(GridFailure, match="as a whole"):
            await source.forecast("DK", NOW)
        await source.close()

    with a_vendor(like_the_vendor) as vendor:
        asyncio.run(probed_first(vendor))
    assert len(vendor.paths) == 1


def test_a_zone_with_sub_zones_and_figures_of_its_own_is_no_parent() -> None:
    told = {"ES": zone_entry(subzones=("ES-IB-MA",)), "ES-IB-MA": zone_entry("ES")}
    with a_vendor(lambda path: json_reply(told if "/zones" in path else history("ES"))) as vendor:
        assert ask(vendor, zone="ES").points


def test_a_misspelt_zone_is_refused_with_the_nearest() -> None:
    with a_vendor(like_the_vendor) as vendor, pytest.raises(GridFailure) as caught:
        ask(vendor, zone="DK-2")
    assert "DK-DK2" in caught.value.fix


# ---- the catalogue ----


def test_the_catalogue_says_what_the_token_opens() -> None:
    told, zones, _ = probed(like_the_vendor)
    assert zones == ("DE", "DK-DK1", "DK-DK2")
    assert {one.forecasts for one in told} == {True}


def test_the_catalogue_needs_no_token_and_figures_do() -> None:
    entries = {key: {k: v for k, v in entry.items() if k != "access"} for key, entry in CATALOGUE.items()}
    told, zones, vendor = probed(lambda _: json_reply(entries), token_env="")
    assert "DE" in zones
    assert {one.forecasts for one in told} == {None}
    assert "auth-token" not in vendor.headers[0]
    failure = failure_of(history("DK-DK2"), token_env="")
    assert failure.kind == GridFailureKind.AUTH
    assert "token_file" in failure.fix


def test_a_catalogue_of_a_megabyte_and_more_is_read() -> None:
    long = {f"Z{n}": {**zone_entry(), "access": ["carbon-intensity/history"] * 120} for n in range(400)}
    assert len(json.dumps(long)) > 1 << 20
    assert len(probed(lambda _: json_reply(long))[1]) == 400


@pytest.mark.parametrize("body", [[], {}, {"DE": 1}, "DE", {"status": "no"}])
def test_a_catalogue_of_another_shape_is_refused(body: Any) -> None:
    with pytest.raises(GridFailure) as caught:
        probed(lambda _: json_reply(body))
    assert caught.value.kind == GridFailureKind.BAD_RESPONSE


# ---- a longer past ----


def test_a_longer_past_is_asked_in_chunks_of_ten_days() -> None:
    with a_vendor(like_the_vendor) as vendor:
        found = ask(vendor, span=25 * DAY)
    assert sum("past-range" in path for path in vendor.paths) == 3
    assert found.covers(NOW - 25 * DAY, THIS_HOUR)


def test_a_plan_without_the_past_gives_the_last_day_and_is_not_asked_again() -> None:
    def answer(path: str) -> Reply:
        return json_reply(NOT_IN_PLAN, 401) if "past-range" in path else like_the_vendor(path)

    async def twice(vendor: Vendor) -> list[int]:
        source = source_at(vendor)
        found = [await source.actual("DE", NOW - 8 * DAY, NOW, NOW) for _ in range(2)]
        await source.close()
        return [len(series.points) for series in found]

    with a_vendor(answer) as vendor:
        assert asyncio.run(twice(vendor)) == [23, 23]
    assert sum("past-range" in path for path in vendor.paths) == 1


def test_a_plan_that_does_not_list_the_past_is_not_asked_for_it() -> None:
    told = {"DE": {**zone_entry(), "access": ["carbon-intensity/history"]}}

    async def probed_first(vendor: Vendor) -> Series:
        source = source_at(vendor)
        await source.probe(NOW)
        found = await source.actual("DE", NOW - 8 * DAY, NOW, NOW)
        await source.close()
        return found

    with a_vendor(lambda path: json_reply(told) if "/zones" in path else like_the_vendor(path)) as vendor:
        assert len(asyncio.run(probed_first(vendor)).points) == 23
    assert not any("past-range" in path for path in vendor.paths)


# ---- recorded answers ----

recorded = pytest.mark.skipif(not FIXTURES.is_dir(), reason="the recorded answers are not beside this checkout")


def body_of(folder: str, name: str) -> Reply:
    return Reply(body=(FIXTURES / folder / name).read_bytes())


@recorded
def test_the_recorded_answers_of_v4_are_read() -> None:
    then = datetime(2026, 8, 22, 17, 34, tzinfo=UTC)
    past = answer_to(body_of("electricitymaps_v4", "carbon-intensity__history.json"), now=then, span=23 * HOUR)
    assert (len(past.points), past.points[0].g_per_kwh, past.points[-1].g_per_kwh) == (23, 246, 70)
    assert past.points[-1].kind == PointKind.ESTIMATED
    ahead = answer_to(body_of("electricitymaps_v4", "carbon-intensity__forecast.json"), "forecast", now=then)
    assert (len(ahead.points), ahead.points[0].g_per_kwh, ahead.points[-1].g_per_kwh) == (25, 77, 135)


@recorded
def test_the_recorded_answers_of_v3_are_read() -> None:
    then = datetime(2024, 3, 6, 19, 30, tzinfo=UTC)
    asked: dict[str, Any] = {"zone": "DE", "now": then, "span": 12 * HOUR, "version": "v3"}
    assert len(answer_to(body_of("electricitymaps", "carbon_intensity_history.json"), **asked).points) == 12
    later = datetime(2024, 3, 20, tzinfo=UTC)

    async def older(vendor: Vendor) -> Series:
        source = source_at(vendor, "v3")
        found = await source.actual("DK-DK2", later - 2 * DAY, later - 1.5 * DAY, later)
        await source.close()
        return found

    with a_vendor(lambda _: body_of("electricitymaps", "past-range-response.json")) as vendor:
        assert [p.g_per_kwh for p in asyncio.run(older(vendor)).points] == [161, 167]


@recorded
@pytest.mark.parametrize(
    ("folder", "name", "status", "kind"),
    [
        ("electricitymaps_v4", "error_401_not_in_plan.json", 401, GridFailureKind.NOT_ENTITLED),
        ("electricitymaps_v4", "error_404_no_data.json", 404, GridFailureKind.NO_DATA),
        ("electricitymaps_v4", "carbon-intensity-level__latest.json", 200, GridFailureKind.BAD_RESPONSE),
        ("electricitymaps_v4", "electricity-mix__latest__flow-traced.json", 200, GridFailureKind.BAD_RESPONSE),
        ("electricitymaps_v4", "carbon-intensity__latest.json", 200, GridFailureKind.BAD_RESPONSE),
        ("electricitymaps", "latest_carbon_intensity.json", 200, GridFailureKind.BAD_RESPONSE),
        ("electricitymaps", "latest_power_breakdown.json", 200, GridFailureKind.BAD_RESPONSE),
        ("electricitymaps", "power_breakdown_history.json", 200, GridFailureKind.BAD_RESPONSE),
        ("electricitymaps", "no-data-response.json", 200, GridFailureKind.NO_DATA),
        ("electricitymaps", "unknown-response.json", 200, GridFailureKind.BAD_RESPONSE),
        ("electricitymaps", "response.json", 200, GridFailureKind.BAD_RESPONSE),
    ],
)
def test_recorded_answers_to_other_questions_are_refused(
    folder: str, name: str, status: int, kind: GridFailureKind
) -> None:
    assert failure_of(Reply(status, body_of(folder, name).body)).kind == kind


@recorded
def test_the_recorded_catalogues_are_read() -> None:
    with_token = body_of("electricitymaps_v4", "zones__excerpt_with_token.json")
    told, zones, _ = probed(lambda _: with_token)
    assert zones == ("AE", "DK-DK2")
    assert [one.forecasts for one in told] == [True, False]
    plain = body_of("electricitymaps", "zones.json")
    assert "DK-DK2" in probed(lambda _: plain, version="v3")[1]
    unknown = Reply(404, b'{"error": "No recent data"}')
    with (
        a_vendor(lambda path: plain if "/zones" in path else unknown) as vendor,
        pytest.raises(GridFailure) as caught,
    ):
        ask(vendor, zone="DK", version="v3")
    assert "DK-DK2" in caught.value.fix
