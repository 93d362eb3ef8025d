"""WattTime's habits; figures are made up, shapes are the documented ones."""

import asyncio
import base64
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import pytest

from lowtide.connectors.grid.watttime import WattTime
from lowtide.scheduler.model.errors import BadInput, GridFailure, GridFailureKind
from lowtide.scheduler.model.series import Accounting, Basis, PointKind, Series, Signal
from lowtide.scheduler.model.units import intensity_factor
from tests.contract.grid_conformance import Case, GridSourceConformance
from tests.contract.grid_server import Reply, Vendor, a_vendor, json_reply, made_up_g_per_kwh
from tests.contract.grid_speakers import KEY_ENV, speaks_http

NOW = datetime(2026, 3, 10, 12, 10, tzinfo=UTC)
STEP, HOUR, DAY = timedelta(minutes=5), timedelta(hours=1), timedelta(days=1)
FIXTURES = Path(__file__).parents[2] / ".." / "shared" / "fixtures" / "grid" / "watttime"
FORBIDDEN = Reply(403, b"<html><head><title>403 Forbidden</title></head><body>nginx</body></html>")
OUT_OF_PLAN = {"error": "Invalid query parameters", "message": "Invalid scope. You do not have sufficient access."}
PASSWORD = "hush-hush"
T = TypeVar("T")


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WT_USER", "ada")
    monkeypatch.setenv("WT_PASSWORD", PASSWORD)


def stamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M}:00+00:00"


def meta(region: str = "PJM_NJ", **more: Any) -> dict[str, Any]:
    common = {"region": region, "signal_type": "co2_moer", "units": "lbs_co2_per_mwh", "warnings": []}
    return {"data_point_period_seconds": 300, "model": {"date": "2023-03-01"}, **common, **more}


def rows(start: datetime, end: datetime, step: timedelta = STEP) -> list[dict[str, Any]]:
    count = int((end - start) / step) + 1
    starts = [start + n * step for n in range(count)]
    return [{"point_time": stamp(s), "value": 1000.0 + made_up_g_per_kwh(s)} for s in starts]


def access(*regions: str, signal: str = "co2_moer") -> dict[str, Any]:
    paths = [{"endpoint": "v3/forecast", "models": []}, {"endpoint": "v3/historical", "models": []}]
    told = [{"region": r, "region_full_name": f"Region {r}", "endpoints": paths} for r in regions]
    return {"signal_types": [{"signal_type": signal, "regions": told}]}


def ceil_step(moment: datetime) -> datetime:
    return moment - timedelta(minutes=moment.minute % 5, seconds=moment.second)


def like_the_vendor(path: str) -> Reply:
    """An API of the documented shape for one region that knows nothing older than a year."""
    parts = urlsplit(path)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    if parts.path == "/login":
        return json_reply({"token": "ticket"})
    if parts.path == "/v3/my-access":
        return json_reply(access("PJM_NJ"))
    if query["region"] != "PJM_NJ":
        return json_reply({"error": "Invalid query parameters", "message": "region"}, 400)
    if parts.path == "/v3/forecast":
        end = ceil_step(NOW) + int(query["horizon_hours"]) * HOUR
        told = meta(generated_at=stamp(ceil_step(NOW)), generated_at_period_seconds=300)
        return json_reply({"data": rows(ceil_step(NOW), end), "meta": told})
    start, end = (datetime.fromisoformat(query[name]) for name in ("start", "end"))
    assert end - start <= 32 * DAY
    newest = min(end, NOW - STEP)
    found = [] if end < NOW - 365 * DAY else rows(ceil_step(start + STEP * 0.99), newest)
    return json_reply({"data": found, "meta": meta()})


speaks_http(
    "watttime",
    lambda url: WattTime(base_url=url, username_env=KEY_ENV, password_env=KEY_ENV),
    "PJM_NJ",
    NOW,
    like_the_vendor,
)


class TestWattTime(GridSourceConformance):
    @pytest.fixture
    def case(self) -> Iterator[Case]:
        with a_vendor(like_the_vendor) as vendor:
            yield Case(lambda: source_at(vendor), "PJM_NJ", NOW, forecasts=True)


def source_at(vendor: Vendor, **options: Any) -> WattTime:
    return WattTime(base_url=vendor.url, **{"username_env": "WT_USER", "password_env": "WT_PASSWORD", **options})


def use(vendor: Vendor, question: Callable[[WattTime], Coroutine[Any, Any, T]], **options: Any) -> T:
    async def whole() -> T:
        source = source_at(vendor, **options)
        try:
            return await question(source)
        finally:
            await source.close()

    return asyncio.run(whole())


def past(
    vendor: Vendor, span: timedelta = 6 * HOUR, now: datetime = NOW, zone: str = "PJM_NJ", **options: Any
) -> Series:
    return use(vendor, lambda s: s.actual(zone, now - span, now, now), **options)


def future(vendor: Vendor, now: datetime = NOW, zone: str = "PJM_NJ", **options: Any) -> Series | None:
    return use(vendor, lambda s: s.forecast(zone, now), **options)


def replying(told: Any, status: int = 200) -> Callable[[str], Reply]:
    """The usual vendor with another answer to questions for figures."""
    reply = told if isinstance(told, Reply) else json_reply(told, status)
    return lambda path: reply if path.startswith(("/v3/historical", "/v3/forecast")) else like_the_vendor(path)


def failure_of(answer: Callable[[str], Reply], **asked: Any) -> GridFailure:
    with a_vendor(answer) as vendor, pytest.raises(GridFailure) as caught:
        past(vendor, **asked)
    assert PASSWORD not in str(caught.value)
    assert "ticket" not in str(caught.value)
    return caught.value


# ---- units and meaning ----


def test_870_pounds_per_megawatt_hour_are_394_6_grams_per_kilowatt_hour() -> None:
    assert 870 * intensity_factor("lb", "MWh") == pytest.approx(394.6253619)
    told = {"data": [{"point_time": stamp(NOW - HOUR), "value": 870}], "meta": meta()}
    with a_vendor(replying(told)) as vendor:
        found = past(vendor)
    assert found.points[0].g_per_kwh == pytest.approx(394.6253619)
    assert found.points[0].end - found.points[0].start == STEP


def test_the_signal_is_marginal_and_direct() -> None:
    with a_vendor(like_the_vendor) as vendor:
        found = past(vendor)
    assert (found.signal, found.basis, found.accounting) == (Signal.MARGINAL, Basis.DIRECT, Accounting.UNKNOWN)


def test_the_average_signal_is_average_and_has_no_forecast() -> None:
    told = {"data": rows(NOW - 3 * HOUR, NOW, HOUR), "meta": meta(signal_type="co2_aoer")}
    with a_vendor(replying(told)) as vendor:
        assert past(vendor, signal_type="co2_aoer").signal == Signal.AVERAGE
        assert future(vendor, signal_type="co2_aoer") is None


def test_the_percentile_index_is_never_an_intensity() -> None:
    told = {"data": [{"point_time": stamp(NOW - HOUR), "value": 96.0}], "meta": meta(units="percentile")}
    failure = failure_of(replying(told))
    assert failure.kind == GridFailureKind.BAD_RESPONSE
    assert "percentile" in failure.message


@pytest.mark.parametrize(
    "wrong",
    [{"units": "kg_co2_per_mwh"}, {"units": None}, {"region": "PJM_DC"}, {"region": None}, {"signal_type": "co2_aoer"}],
)
def test_another_unit_region_or_signal_than_asked_is_refused(wrong: dict[str, Any]) -> None:
    failure = failure_of(replying({"data": rows(NOW - HOUR, NOW), "meta": meta(**wrong)}))
    assert failure.kind == GridFailureKind.BAD_RESPONSE


def test_an_answer_without_its_meta_is_refused() -> None:
    assert failure_of(replying({"data": rows(NOW - HOUR, NOW)})).kind == GridFailureKind.BAD_RESPONSE


@pytest.mark.parametrize(
    "options",
    [
        {"signal_type": "health_damage"},
        {"signal_type": "percentile"},
        {"horizon_hours": 73},
        {"horizon_hours": 0},
        {"horizon_hours": True},
        {"password_env": "NOT_SET_ANYWHERE"},
        {"username_file": "/nonexistent/user"},
    ],
)
def test_an_option_that_cannot_be_is_refused_at_the_start(options: dict[str, Any]) -> None:
    with pytest.raises(BadInput) as caught:
        WattTime(**{"username_env": "WT_USER", "password_env": "WT_PASSWORD", **options})
    assert PASSWORD not in str(caught.value)


# ---- rows ----


def test_a_time_told_twice_with_equal_figures_is_one_and_with_others_refused() -> None:
    first = rows(NOW - 3 * HOUR, NOW - HOUR, HOUR)
    with a_vendor(replying({"data": [*first, {**first[1], "imputed_data_used": True}], "meta": meta()})) as vendor:
        assert len(past(vendor).points) == 3
    contrary = [*first, {**first[1], "value": 1.0}]
    assert failure_of(replying({"data": contrary, "meta": meta()})).kind == GridFailureKind.BAD_RESPONSE


def test_imputed_rows_are_estimated() -> None:
    told = rows(NOW - 3 * HOUR, NOW - HOUR, HOUR)
    told[0]["imputed_data_used"] = True
    told[1]["imputed_data_used"] = False
    with a_vendor(replying({"data": told, "meta": meta()})) as vendor:
        kinds = [p.kind for p in past(vendor).points]
    assert kinds == [PointKind.ESTIMATED, PointKind.ACTUAL, PointKind.ACTUAL]


def test_naive_times_are_refused() -> None:
    told = [{"point_time": "2026-03-10T11:00:00", "value": 870}]
    assert failure_of(replying({"data": told, "meta": meta()})).kind == GridFailureKind.BAD_RESPONSE


def test_a_missing_figure_is_a_gap_and_never_zero() -> None:
    told = rows(NOW - HOUR, NOW - STEP)
    told[3]["value"] = None
    del told[5]["value"]
    with a_vendor(replying({"data": told, "meta": meta()})) as vendor:
        found = past(vendor)
    assert len(found.points) == len(told) - 2
    assert all(p.g_per_kwh > 400 and p.end - p.start == STEP for p in found.points)


@pytest.mark.parametrize("value", [-1, 20_000, True, "870", [870], 10**400])
def test_a_figure_that_is_not_sane_spoils_the_answer(value: Any) -> None:
    told = [*rows(NOW - HOUR, NOW - STEP), {"point_time": stamp(NOW - 2 * HOUR), "value": value}]
    assert failure_of(replying({"data": told, "meta": meta()})).kind == GridFailureKind.BAD_RESPONSE


@pytest.mark.parametrize(
    ("warnings", "notes"),
    [
        ([{"type": "EXAMPLE", "message": "mind the gap"}], ("mind the gap",)),
        (["mind the gap"], ("mind the gap",)),
        ([], ()),
        (None, ()),
        ([None, 3, {"type": "x"}, {"message": 5}], ()),
        ("mind", ()),
    ],
)
def test_warnings_are_texts_or_objects_and_become_notes(warnings: Any, notes: tuple[str, ...]) -> None:
    with a_vendor(replying({"data": rows(NOW - HOUR, NOW), "meta": meta(warnings=warnings)})) as vendor:
        assert past(vendor).notes == notes


def test_a_forecast_was_issued_when_it_was_generated() -> None:
    with a_vendor(like_the_vendor) as vendor:
        found = future(vendor, horizon_hours=2)
    assert found is not None
    assert found.issued_at == ceil_step(NOW)
    assert len(found.points) == 25
    told = {"data": rows(NOW, NOW + HOUR), "meta": meta()}
    with a_vendor(replying(told)) as vendor:
        undated = future(vendor)
    assert undated is not None
    assert undated.issued_at is None


def test_a_long_past_is_asked_in_chunks_of_thirty_days_with_a_zone_in_every_time() -> None:
    with a_vendor(like_the_vendor) as vendor:
        found = past(vendor, 70 * DAY)
    asked = [path for path in vendor.paths if "historical" in path]
    assert len(asked) == 3
    assert all(path.count("Z&") + path.endswith("Z") == 2 for path in asked)
    assert found.covers(NOW - 70 * DAY + STEP, NOW - STEP)


# ---- the account ----


def test_the_login_shows_name_and_password_once_and_questions_the_token() -> None:
    async def twice(source: WattTime) -> None:
        await asyncio.gather(source.forecast("PJM_NJ", NOW), source.actual("PJM_NJ", NOW - HOUR, NOW, NOW))

    with a_vendor(like_the_vendor) as vendor:
        use(vendor, twice)
    shown = [h["authorization"] for path, h in zip(vendor.paths, vendor.headers, strict=True) if path == "/login"]
    assert shown == ["Basic " + base64.b64encode(f"ada:{PASSWORD}".encode()).decode()]
    assert [h["authorization"] for h in vendor.headers if h["authorization"] not in shown] == ["Bearer ticket"] * 2
    assert not any("ticket" in path or "hush" in path for path in vendor.paths)


@pytest.mark.parametrize(("later", "logins"), [(timedelta(minutes=28), 1), (timedelta(minutes=30), 2), (-HOUR, 2)])
def test_a_token_is_renewed_after_half_an_hour_and_when_the_clock_jumped_back(later: timedelta, logins: int) -> None:
    async def two_questions(source: WattTime) -> None:
        await source.forecast("PJM_NJ", NOW)
        await source.probe(NOW + later)

    with a_vendor(like_the_vendor) as vendor:
        use(vendor, two_questions)
    assert vendor.paths.count("/login") == logins


def test_a_403_in_html_means_one_more_login_and_the_answer() -> None:
    refusals = [FORBIDDEN]

    def answer(path: str) -> Reply:
        return refusals.pop() if refusals and "historical" in path else like_the_vendor(path)

    with a_vendor(answer) as vendor:
        assert past(vendor).points
    assert vendor.paths.count("/login") == 2


def test_a_second_403_in_html_is_permanent_after_exactly_one_more_login() -> None:
    with a_vendor(replying(FORBIDDEN)) as vendor, pytest.raises(GridFailure) as caught:
        past(vendor)
    assert caught.value.kind == GridFailureKind.AUTH
    assert caught.value.kind.is_permanent
    assert "password" in caught.value.fix
    assert vendor.paths.count("/login") == 2
    assert sum("historical" in path for path in vendor.paths) == 2


def test_a_login_that_is_refused_is_not_tried_again() -> None:
    with a_vendor(lambda _: FORBIDDEN) as vendor, pytest.raises(GridFailure) as caught:
        past(vendor)
    assert caught.value.kind == GridFailureKind.AUTH
    assert vendor.paths == ["/login"]


def test_questions_refused_at_the_same_time_share_one_more_login() -> None:
    tickets = iter(("old", "new", "newer"))

    async def three(source: WattTime) -> None:
        await asyncio.gather(*(source.actual("PJM_NJ", NOW - n * HOUR, NOW, NOW) for n in (1, 2, 3)))

    with a_vendor(lambda _: FORBIDDEN) as vendor:

        def answer(path: str) -> Reply:
            if path == "/login":
                return json_reply({"token": next(tickets)})
            is_old = vendor.headers[-1]["authorization"] == "Bearer old"
            return FORBIDDEN if is_old else like_the_vendor(path)

        vendor.answer = answer
        use(vendor, three)
    assert vendor.paths.count("/login") <= 2


@pytest.mark.parametrize("body", [{}, {"token": None}, {"token": ""}, {"token": "a\nb"}, {"token": "é"}, []])
def test_a_login_without_a_token_is_a_bad_response(body: Any) -> None:
    failure = failure_of(lambda path: json_reply(body) if path == "/login" else like_the_vendor(path))
    assert failure.kind == GridFailureKind.BAD_RESPONSE


@pytest.mark.parametrize("status", [400, 403])
def test_a_plan_that_lacks_the_region_is_not_entitled_and_costs_no_login(status: int) -> None:
    with a_vendor(replying(OUT_OF_PLAN, status)) as vendor, pytest.raises(GridFailure) as caught:
        past(vendor)
    assert caught.value.kind == GridFailureKind.NOT_ENTITLED
    assert "plan" in caught.value.fix
    assert vendor.paths.count("/login") == 1


def test_a_password_that_vanishes_is_a_failure_of_the_login(monkeypatch: pytest.MonkeyPatch) -> None:
    async def without(source: WattTime) -> Series | None:
        monkeypatch.delenv("WT_PASSWORD")
        return await source.forecast("PJM_NJ", NOW)

    with a_vendor(like_the_vendor) as vendor, pytest.raises(GridFailure) as caught:
        use(vendor, without)
    assert caught.value.kind == GridFailureKind.AUTH


def test_the_regions_are_those_of_the_account_for_the_signal() -> None:
    async def probed(source: WattTime) -> tuple[tuple[str, ...], bool | None]:
        told = await source.probe(NOW)
        return source.zones(), told[0].forecasts if told else None

    with a_vendor(lambda path: json_reply(access("A", "B")) if "access" in path else like_the_vendor(path)) as vendor:
        assert use(vendor, probed) == (("A", "B"), True)
        assert use(vendor, probed, signal_type="co2_aoer") == ((), None)


# ---- recorded answers ----

recorded = pytest.mark.skipif(not FIXTURES.is_dir(), reason="the recorded answers are not beside this checkout")


def recorded_answer(name: str, status: int = 200) -> Callable[[str], Reply]:
    return replying(Reply(status, (FIXTURES / name).read_bytes()))


@recorded
def test_the_recorded_answers_are_read() -> None:
    then = datetime(2022, 7, 15, tzinfo=UTC)
    asked: dict[str, Any] = {"zone": "CAISO_NORTH"}
    with a_vendor(recorded_answer("historical_emissions_response.json")) as vendor:
        found = past(vendor, HOUR, then + HOUR, **asked)
    assert [p.g_per_kwh for p in found.points] == pytest.approx([394.6253619, 390.0894382])
    assert {p.kind for p in found.points} == {PointKind.ESTIMATED}
    assert found.notes == ("This is just an example",)
    with a_vendor(recorded_answer("v3_forecast.json")) as vendor:
        ahead = future(vendor, then, **asked)
    assert ahead is not None
    assert ahead.issued_at == then
    assert ahead.points[0].g_per_kwh == pytest.approx(475.5522)
    hour = datetime(2023, 10, 26, 14, tzinfo=UTC)
    with a_vendor(recorded_answer("v3_historical_co2_aoer.json")) as vendor:
        doubled = past(vendor, HOUR, hour + HOUR, signal_type="co2_aoer", **asked)
    assert (len(doubled.points), doubled.step_s) == (1, 3600)


@recorded
@pytest.mark.parametrize(
    ("name", "status", "kind"),
    [
        ("403_forbidden_response.html", 403, GridFailureKind.AUTH),
        ("invalid_scope_response.json", 400, GridFailureKind.NOT_ENTITLED),
        ("realtime_emissions_response.json", 200, GridFailureKind.BAD_RESPONSE),
        ("forecasted_emissions_response.json", 200, GridFailureKind.BAD_RESPONSE),
        ("grid_region_response.json", 200, GridFailureKind.BAD_RESPONSE),
        ("coordinates_not_found_response.json", 404, GridFailureKind.NO_DATA),
        ("new_user_fail_response.json", 400, GridFailureKind.BAD_RESPONSE),
        ("password_reset_fail_response.json", 500, GridFailureKind.UNAVAILABLE),
    ],
)
def test_recorded_answers_to_other_questions_are_refused(name: str, status: int, kind: GridFailureKind) -> None:
    assert failure_of(recorded_answer(name, status)).kind == kind


@recorded
def test_the_recorded_access_is_read() -> None:
    async def probed(source: WattTime) -> tuple[str, ...]:
        await source.probe(NOW)
        return source.zones()

    told = Reply(body=(FIXTURES / "v3_my_access.json").read_bytes())
    with a_vendor(lambda path: told if "access" in path else like_the_vendor(path)) as vendor:
        assert use(vendor, probed) == ("PJM_NJ",)
