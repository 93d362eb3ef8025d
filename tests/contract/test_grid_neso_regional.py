"""NESO's regions: two envelopes, no measured figures, and a region that must be the one that was asked for."""

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lowtide.connectors.grid.neso_regional import NOTE, ZONES, NesoRegional
from lowtide.scheduler.model.errors import GridFailure, GridFailureKind
from lowtide.scheduler.model.series import PointKind, Series
from tests.contract.grid_conformance import Case, GridSourceConformance
from tests.contract.grid_server import HALF_HOUR, Reply, a_vendor, json_reply, made_up_g_per_kwh, stamp
from tests.contract.grid_speakers import speaks_http

NOW = datetime(2026, 3, 10, 12, 10, tzinfo=UTC)
SLOT = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
FIXTURES = Path(__file__).parents[2] / ".." / "shared" / "fixtures" / "grid" / "uk_carbon_intensity"


def regional_row(start: datetime, forecast: object = 100) -> dict[str, Any]:
    figures = {"forecast": forecast, "index": "moderate"}
    return {"from": stamp(start), "to": stamp(start + HALF_HOUR), "intensity": figures, "generationmix": []}


def region(number: int, rows: list[Any]) -> dict[str, Any]:
    return {"regionid": number, "dnoregion": "x", "shortname": "x", "data": rows}


def regional_like(now: datetime) -> Callable[[str], Reply]:
    """An API of the documented shape; odd regions come alone, even ones in a list."""

    def answer(path: str) -> Reply:
        _, _, what, begin, end, _, number = path.split("/")
        assert what == "intensity"
        start = datetime.fromisoformat(begin)
        stop = start + timedelta(hours=48) if end == "fw48h" else datetime.fromisoformat(end)
        if stop < now - timedelta(days=365):
            told = {"code": "500 Internal Server Error", "message": "Requested resource not found."}
            return json_reply({"error": told}, 500)
        slot, rows = start - timedelta(seconds=start.timestamp() % 1800 or 1800), []
        while slot < stop:
            rows.append(regional_row(slot, made_up_g_per_kwh(slot) + int(number)))
            slot += HALF_HOUR
        found = region(int(number), rows)
        return json_reply({"data": found if int(number) % 2 else [found]})

    return answer


class TestNesoRegional(GridSourceConformance):
    @pytest.fixture(params=["GB-13", "GB-london", "GB-2"])
    def case(self, request: pytest.FixtureRequest) -> Iterator[Case]:
        with a_vendor(regional_like(NOW)) as vendor:
            yield Case(lambda: NesoRegional(vendor.url), request.param, NOW, forecasts=True)


speaks_http("neso_regional", NesoRegional, "GB-13", NOW, regional_like(NOW))


def ask(url: str, zone: str = "GB-13", operation: str = "forecast") -> Series:
    async def whole() -> Series:
        source = NesoRegional(url)
        try:
            if operation == "actual":
                return await source.actual(zone, NOW - timedelta(hours=6), NOW, NOW)
            found = await source.forecast(zone, NOW)
            assert found is not None
            return found
        finally:
            await source.close()

    return asyncio.run(whole())


def failure_of(reply: Reply, zone: str = "GB-13", operation: str = "forecast") -> GridFailure:
    with a_vendor(lambda _: reply) as vendor, pytest.raises(GridFailure) as caught:
        ask(vendor.url, zone, operation)
    return caught.value


def test_a_region_goes_by_its_number_and_by_its_name() -> None:
    with a_vendor(regional_like(NOW)) as vendor:
        assert ask(vendor.url, "GB-london").points == ask(vendor.url, "GB-13").points
        assert vendor.paths == ["/regional/intensity/2026-03-10T12:01Z/fw48h/regionid/13"] * 2
    assert len(set(ZONES.values())) == 17


def test_what_has_passed_is_marked_as_the_vendors_own_estimate() -> None:
    with a_vendor(regional_like(NOW)) as vendor:
        series = ask(vendor.url, operation="actual")
    assert {point.kind for point in series.points} == {PointKind.ESTIMATED}
    assert series.notes == (NOTE,)
    assert series.points[-1].end == SLOT


@pytest.mark.parametrize("envelope", [region(13, [regional_row(SLOT)]), [region(13, [regional_row(SLOT)])]])
def test_the_region_may_stand_alone_or_in_a_list(envelope: object) -> None:
    with a_vendor(lambda _: json_reply({"data": envelope})) as vendor:
        assert [point.g_per_kwh for point in ask(vendor.url).points] == [100]


@pytest.mark.parametrize("told", [14, "13", 13.5, None, True, [13]])
def test_another_region_is_never_taken_for_the_one_that_was_asked_for(told: Any) -> None:
    assert failure_of(json_reply({"data": region(told, [regional_row(SLOT)])})).kind == GridFailureKind.BAD_RESPONSE


def test_true_is_not_region_one() -> None:
    body = {"data": region(True, [regional_row(SLOT)])}
    assert failure_of(json_reply(body), "GB-1").kind == GridFailureKind.BAD_RESPONSE


@pytest.mark.parametrize(
    "body",
    ["null", "{}", "[]", '{"data": []}', '{"data": null}', '{"data": {"regionid": 13, "data": []}}'],
)
@pytest.mark.parametrize("operation", ["actual", "forecast"])
def test_every_shape_of_nothing_is_no_data(body: str, operation: str) -> None:
    assert failure_of(Reply(body=body.encode()), operation=operation).kind == GridFailureKind.NO_DATA


@pytest.mark.parametrize(
    "rows",
    [
        [regional_row(SLOT), regional_row(SLOT, 101)],
        [{**regional_row(SLOT), "to": "2026-03-10T13:00Z"}],
        [{**regional_row(SLOT), "from": "2026-03-10T12:00"}],
        [{**regional_row(SLOT), "intensity": None}],
        [regional_row(SLOT, "266")],
        [regional_row(SLOT, -1)],
        [regional_row(SLOT, True)],
        ["row"],
        "rows",
        7,
    ],
)
def test_rows_that_are_not_as_documented_spoil_the_answer(rows: Any) -> None:
    assert failure_of(json_reply({"data": region(13, rows)})).kind == GridFailureKind.BAD_RESPONSE


def test_a_null_is_left_out_and_never_zero() -> None:
    rows = [regional_row(SLOT, None), regional_row(SLOT + HALF_HOUR, 0)]
    with a_vendor(lambda _: json_reply({"data": region(13, rows)})) as vendor:
        assert [(p.start, p.g_per_kwh) for p in ask(vendor.url).points] == [(SLOT + HALF_HOUR, 0)]


def test_two_regions_at_once_spoil_the_answer() -> None:
    body = {"data": [region(13, [regional_row(SLOT)]), region(14, [regional_row(SLOT)])]}
    assert failure_of(json_reply(body)).kind == GridFailureKind.BAD_RESPONSE


@pytest.mark.skipif(not FIXTURES.is_dir(), reason="the published samples are not beside this checkout")
@pytest.mark.parametrize(
    ("name", "number"),
    [("regional_intensity_fw48h_regionid__dict_envelope.json", 13), ("regional_postcode__list_envelope.json", 3)],
)
def test_both_published_envelopes_are_read(name: str, number: int) -> None:
    then = datetime(2018, 1, 20, 12, 0, tzinfo=UTC)
    body = (FIXTURES / name).read_bytes()

    async def whole(url: str) -> Series | None:
        source = NesoRegional(url)
        found = await source.forecast(f"GB-{number}", then)
        await source.close()
        return found

    with a_vendor(lambda _: Reply(body=body)) as vendor:
        series = asyncio.run(whole(vendor.url))
    assert series is not None
    assert [(p.start, p.g_per_kwh) for p in series.points] == [(then, 266)]


@pytest.mark.skipif(not FIXTURES.is_dir(), reason="the published samples are not beside this checkout")
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ok_200_empty_object.json", GridFailureKind.NO_DATA),
        ("ok_200_null.json", GridFailureKind.NO_DATA),
        ("ok_200_empty_data.json", GridFailureKind.NO_DATA),
        ("regional.json", GridFailureKind.BAD_RESPONSE),
        ("intensity.json", GridFailureKind.BAD_RESPONSE),
    ],
)
def test_published_samples_of_other_things_are_refused(name: str, kind: GridFailureKind) -> None:
    body = json.loads((FIXTURES / name).read_bytes())
    assert failure_of(json_reply(body)).kind == kind
