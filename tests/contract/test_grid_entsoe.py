"""ENTSO-E: documents, curves and mixes; figures are made up, shapes are the documented ones."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from lowtide.connectors.grid.entsoe import BAN, CHUNK, MAX_SPAN, Entsoe, eic_codes
from lowtide.connectors.grid.mix import factor_set
from lowtide.scheduler.model.errors import BadInput, GridFailure, GridFailureKind
from lowtide.scheduler.model.series import Accounting, Basis, Signal
from tests.contract.grid_conformance import Case, GridSourceConformance
from tests.contract.grid_questions import FIXTURES, NOW, ask, asked_in, failure_of, needs_recordings, told
from tests.contract.grid_server import Reply, a_vendor
from tests.contract.grid_speakers import KEY, KEY_ENV, speaks_http

HOUR, QUARTER = timedelta(hours=1), timedelta(minutes=15)
NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
BE = "10YBE----------2"
TOKEN = "0f1e2d3c-hush"
NOTHING = (
    '<Acknowledgement_MarketDocument xmlns="urn:iec62325.351:tc57wg16:451-1:acknowledgementdocument:7:0">'
    "<Reason><code>999</code><text>{}</text></Reason></Acknowledgement_MarketDocument>"
)
NO_MATCH = NOTHING.format("No matching data found for Data item Aggregated Generation per Type").encode()


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENTSOE_TOKEN", TOKEN)


def source(url: str, **options: str) -> Entsoe:
    return Entsoe(base_url=url, token_env="ENTSOE_TOKEN", **options)


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%MZ")


def period(start: datetime, points: dict[int, object], count: int, resolution: str = "PT60M") -> str:
    step = timedelta(minutes=int(resolution[2:-1]))
    inner = "".join(f"<Point><position>{i}</position><quantity>{mw}</quantity></Point>" for i, mw in points.items())
    span = f"<start>{stamp(start)}</start><end>{stamp(start + count * step)}</end>"
    return f"<Period><timeInterval>{span}</timeInterval><resolution>{resolution}</resolution>{inner}</Period>"


def series(code: str, *periods: str, eic: str = BE, way: str = "in", curve: str = "A01", unit: str = "MAW") -> str:
    return (
        f'<TimeSeries><{way}BiddingZone_Domain.mRID codingScheme="A01">{eic}</{way}BiddingZone_Domain.mRID>'
        f"<quantity_Measure_Unit.name>{unit}</quantity_Measure_Unit.name><curveType>{curve}</curveType>"
        f"<MktPSRType><psrType>{code}</psrType></MktPSRType>{''.join(periods)}</TimeSeries>"
    )


def document(*parts: str) -> bytes:
    head = '<?xml version="1.0" encoding="UTF-8"?>'
    name = 'GL_MarketDocument xmlns="urn:iec62325.351:tc57wg16:451-6:generationloaddocument:3:0"'
    return f"{head}<{name}><type>A75</type>{''.join(parts)}</GL_MarketDocument>".encode()


def hourly(code: str, figures: Iterable[object], start: datetime = NOON - 4 * HOUR, **more: str) -> str:
    listed = list(figures)
    points = {i: mw for i, mw in enumerate(listed, start=1) if mw is not None}
    return series(code, period(start, points, len(listed)), **more)


def platform_like(now: datetime) -> Callable[[str], Reply]:
    """A platform of the vendor's shape whose figures end an hour ago."""

    def answer(path: str) -> Reply:
        asked = asked_in(path)
        if asked["securityToken"] not in {TOKEN, KEY}:
            return Reply(401)
        start, end = (
            datetime.strptime(asked[edge], "%Y%m%d%H%M").replace(tzinfo=UTC) for edge in ("periodStart", "periodEnd")
        )
        count = (min(end, now.replace(minute=0) - HOUR) - start) // HOUR
        if count <= 0 or start < now - timedelta(days=365):
            return Reply(body=NO_MATCH)
        eic = asked["in_Domain"]
        gas = [100 + (start + i * HOUR).hour for i in range(count)]
        return Reply(body=document(hourly("B04", gas, start, eic=eic), hourly("B14", [500] * count, start, eic=eic)))

    return answer


def figures_of(*parts: str, now: datetime = NOW, **options: str) -> dict[datetime, float]:
    answer = Reply(body=document(*parts))
    found = told(lambda url: source(url, **options), answer, "actual", "BE", now)
    return {point.start: point.g_per_kwh for point in found.points}


def kind_of(answer: Reply | bytes) -> GridFailureKind:
    reply = answer if isinstance(answer, Reply) else Reply(body=answer)
    return failure_of(source, reply, "actual", "BE").kind


speaks_http(
    "entsoe",
    lambda url: Entsoe(base_url=url, token_env=KEY_ENV),
    "BE",
    NOW,
    platform_like(NOW),
    ban_s=BAN.total_seconds(),
)


class TestEntsoe(GridSourceConformance):
    @pytest.fixture
    def case(self) -> Iterator[Case]:
        with a_vendor(platform_like(NOW)) as vendor:
            yield Case(lambda: source(vendor.url), "SE-SE3", NOW, forecasts=False)


def test_figures_by_different_factors_are_never_compared() -> None:
    found = [
        told(partial(source, factors=name), platform_like(NOW), "actual", "BE")
        for name in ("electricity_maps_defaults_lifecycle", "ipcc_ar5_lifecycle_2014")
    ]
    assert [series.source for series in found] == [
        "entsoe/electricity_maps_defaults_lifecycle",
        "entsoe/ipcc_ar5_lifecycle_2014",
    ]
    assert found[0].basis == found[1].basis
    assert found[0].key != found[1].key


def test_an_acknowledgement_with_status_200_or_400_is_no_data() -> None:
    assert kind_of(NO_MATCH) == GridFailureKind.NO_DATA
    assert kind_of(Reply(400, NO_MATCH)) == GridFailureKind.NO_DATA


def test_an_acknowledgement_for_another_reason_is_a_bad_response() -> None:
    assert kind_of(NOTHING.format("Invalid processType").encode()) == GridFailureKind.BAD_RESPONSE
    assert kind_of(Reply(400, NOTHING.format("Invalid in_Domain").encode())) == GridFailureKind.BAD_RESPONSE


def test_omitted_positions_of_a_curve_a03_repeat_the_one_before() -> None:
    steady = hourly("B14", [100] * 4)
    gas = series("B04", period(NOON - 4 * HOUR, {1: 100, 3: 300}, 4), curve="A03")
    assert list(figures_of(gas, steady).values()) == [251, 251, 370.5, 370.5]


def test_omitted_positions_of_a_curve_a01_are_missing_and_their_hours_left_out() -> None:
    steady = hourly("B14", [100] * 4)
    gas = series("B04", period(NOON - 4 * HOUR, {1: 100, 3: 300}, 4))
    assert list(figures_of(gas, steady)) == [NOON - 4 * HOUR, NOON - 2 * HOUR]


def test_quarter_hours_and_hours_in_one_answer_meet_at_the_hour() -> None:
    quarters = series("B04", period(NOON - 2 * HOUR, dict(enumerate([0, 0, 200, 200, 50, 50, 50, 50], 1)), 8, "PT15M"))
    found = figures_of(quarters, hourly("B14", [100, 100], NOON - 2 * HOUR))
    assert found == {NOON - 2 * HOUR: (490 + 12) / 2, NOON - HOUR: (50 * 490 + 100 * 12) / 150}


def test_an_hour_with_a_quarter_missing_is_left_out() -> None:
    quarters = series("B04", period(NOON - 2 * HOUR, dict(enumerate([100] * 7, 1)), 8, "PT15M"))
    assert list(figures_of(quarters, hourly("B14", [100, 100], NOON - 2 * HOUR))) == [NOON - 2 * HOUR]


def test_quarter_hours_alone_stay_quarter_hours() -> None:
    quarters = series("B04", period(NOON - HOUR, dict(enumerate([100] * 4, 1)), 4, "PT15M"))
    assert list(figures_of(quarters)) == [NOON - HOUR + i * QUARTER for i in range(4)]


def test_both_series_of_pumped_storage_count_for_nothing() -> None:
    into, out_of = hourly("B10", [200] * 4), hourly("B10", [700] * 4, way="out")
    assert set(figures_of(hourly("B04", [100] * 4), into, out_of).values()) == {490}


def test_what_a_plant_consumes_counts_for_nothing() -> None:
    consumed = hourly("B16", [3] * 4, way="out")
    assert set(figures_of(hourly("B04", [100] * 4), hourly("B16", [-2] * 4), consumed).values()) == {490}


def test_the_last_hour_without_gas_is_not_a_clean_hour() -> None:
    found = figures_of(hourly("B04", [100, 100, 100, None]), hourly("B14", [100] * 4))
    assert list(found) == [NOON - i * HOUR for i in (4, 3, 2)]


def test_no_generation_at_all_is_no_data() -> None:
    assert kind_of(document(hourly("B04", [0] * 4))) == GridFailureKind.NO_DATA
    assert kind_of(document()) == GridFailureKind.NO_DATA


def test_the_set_of_factors_decides_the_basis_and_is_noted() -> None:
    answer = Reply(body=document(hourly("B04", [100] * 4)))
    for name, basis in (("neso_direct", Basis.DIRECT), ("ipcc_ar5_lifecycle_2014", Basis.LIFECYCLE)):
        found = told(lambda url, name=name: source(url, factors=name), answer, "actual", "BE")  # type: ignore[misc]
        assert found.notes == (f"emission factors: {name}",)
        assert (found.basis, found.accounting, found.signal) == (basis, Accounting.PRODUCTION, Signal.AVERAGE)
        assert found.points[0].g_per_kwh == factor_set(name).g_per_kwh["gas"]


def test_a_set_that_is_not_there_is_refused_at_once() -> None:
    with pytest.raises(BadInput):
        source("http://vendor", factors="unece")


def test_figures_of_another_zone_are_refused() -> None:
    for way in ("in", "out"):
        other = hourly("B04", [100] * 4, eic="10YFR-RTE------C", way=way)
        assert kind_of(document(hourly("B14", [1] * 4), other)) == GridFailureKind.BAD_RESPONSE


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("MAW", "MWH"),
        ("<curveType>A01</curveType>", ""),
        ("A01</curveType>", "A02</curveType>"),
        ("PT60M", "P1D"),
        ("PT60M", ""),
        ("<position>1</position>", "<position>0</position>"),
        ("<position>1</position>", "<position>5</position>"),
        ("<position>1</position>", "<position>one</position>"),
        ("<position>1</position>", "<position>2</position>"),
        ("<quantity>1.0</quantity>", "<quantity>NaN</quantity>"),
        ("<quantity>1.0</quantity>", "<quantity>1e9</quantity>"),
        ("<quantity>1.0</quantity>", "<quantity/>"),
        ("B04", "B99"),
        ("<psrType>B04</psrType>", ""),
        ("T08:00Z</start>", "T08:00</start>"),
        ("T08:00Z</start>", "T08:10Z</start>"),
        ("T08:00Z</start>", "T18:00Z</start>"),
        ("2026-03-10T08:00Z</start>", "1026-03-10T08:00Z</start>"),
        (BE, ""),
        ("GL_MarketDocument", "Publication_MarketDocument"),
    ],
)
def test_a_document_that_is_not_as_documented_is_refused(old: str, new: str) -> None:
    body = document(hourly("B04", [1.0, 2.0, 3.0, 4.0]))
    assert figures_of(hourly("B04", [1.0, 2.0, 3.0, 4.0]))
    assert kind_of(body.replace(old.encode(), new.encode())) == GridFailureKind.BAD_RESPONSE


def test_two_figures_for_one_fuel_and_hour_are_refused_and_the_same_one_twice_is_not() -> None:
    one = hourly("B04", [100] * 4)
    assert figures_of(one, one)
    assert kind_of(document(one, hourly("B04", [101] * 4))) == GridFailureKind.BAD_RESPONSE


BOMB = b"""<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "haha"><!ENTITY b "&a;&a;&a;&a;">]><x>&b;</x>"""
OUTSIDE = b"""<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]><x>&e;</x>"""


@pytest.mark.parametrize(
    "body",
    [
        BOMB,
        OUTSIDE,
        b"<x>" * 200_000,
        b"<x>" * 50 + b"</x>" * 50,
        b"<x>&undefined;</x>",
        b"<html><body>Maintenance</body></html>",
        b'{"error": 1}',
        b"",
        b"\xff\xfe<\x00x\x00/\x00>\x00",
        b"<?xml version='1.0' encoding='utf-7'?><x>+",
        document(hourly("B04", [1] * 4))[:-40],
    ],
    ids=["bomb", "outside", "deep", "nested", "entity", "html", "json", "empty", "utf-16", "utf-7", "cut"],
)
def test_xml_that_may_hurt_or_is_none_is_refused(body: bytes) -> None:
    assert kind_of(body) == GridFailureKind.BAD_RESPONSE


def test_a_long_past_is_asked_for_in_pieces_that_meet() -> None:
    with a_vendor(platform_like(NOW)) as vendor:
        found = ask(source(vendor.url), "actual", "BE", hours=8 * 24)
        spans = [(asked_in(path)["periodStart"], asked_in(path)["periodEnd"]) for path in vendor.paths]
    assert spans[0] == ("202603021200", "202603051200")
    assert [end for _, end in spans[:-1]] == [start for start, _ in spans[1:]]
    assert found.covers(NOON - 8 * 24 * HOUR, NOON - HOUR)


def test_a_past_of_a_year_is_cut_and_a_short_one_is_asked_for_with_the_days_that_tell_the_usual_fuels() -> None:
    with a_vendor(platform_like(NOW)) as vendor:
        ask(source(vendor.url), "actual", "BE", hours=365 * 24)
        assert len(vendor.paths) == MAX_SPAN // CHUNK
        vendor.paths.clear()
        ask(source(vendor.url), "actual", "BE", hours=3)
        assert asked_in(vendor.paths[0])["periodStart"] == "202603081300"


def test_a_piece_without_data_leaves_the_others() -> None:
    def answer(path: str) -> Reply:
        return platform_like(NOW)(path) if asked_in(path)["periodEnd"] > "20260306" else Reply(400, NO_MATCH)

    found = told(source, answer, "actual", "BE")
    assert found.points


def test_only_documents_types_times_and_the_zones_code_are_sent() -> None:
    with a_vendor(platform_like(NOW)) as vendor:
        ask(source(vendor.url), "actual", "BE")
        assert set(asked_in(vendor.paths[0])) == {
            *("securityToken", "documentType", "processType", "in_Domain", "periodStart", "periodEnd"),
        }


def test_a_refused_token_and_a_rate_limit_are_told_apart() -> None:
    assert kind_of(Reply(401)) == GridFailureKind.AUTH
    text = b"Max allowed requests per minute from each unique IP is 400"
    failure = failure_of(source, Reply(429, text), "actual", "BE")
    assert (failure.kind, failure.retry_at) == (GridFailureKind.RATE_LIMITED, NOW + BAN)
    failure = failure_of(source, Reply(429, text, {"Retry-After": "20"}), "actual", "BE")
    assert failure.retry_at == NOW + timedelta(seconds=20)


@pytest.mark.parametrize("answer", [Reply(401), Reply(429), Reply(500), Reply(400, b"bad token"), Reply(body=b"<x>")])
def test_the_token_is_in_no_message_and_no_log(answer: Reply, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    failure = failure_of(source, answer, "actual", "BE")
    assert TOKEN not in f"{failure!r} {failure} {failure.fix} {failure.details}"
    assert TOKEN not in caplog.text
    assert TOKEN not in repr(vars(source("http://vendor")))


def test_a_token_that_is_gone_is_a_failure_and_one_that_never_was_bad_input(tmp_path: Path) -> None:
    path = tmp_path / "token"
    with pytest.raises(BadInput):
        Entsoe(token_file=str(path))
    path.write_text(TOKEN)
    entsoe = Entsoe(token_file=str(path), base_url="http://127.0.0.1:9")
    path.unlink()
    with pytest.raises(GridFailure) as caught:
        asyncio.run(entsoe.actual("BE", NOON - HOUR, NOON, NOW))
    assert caught.value.kind == GridFailureKind.AUTH


def test_every_zone_has_a_code_of_its_own_of_sixteen_characters() -> None:
    codes = list(eic_codes().values())
    assert len(set(codes)) == len(codes)
    assert all(len(code) == 16 for code in codes)


@needs_recordings
def test_the_recorded_belgian_hours_are_read() -> None:
    answer = Reply(body=(FIXTURES / "entsoe" / "A75_generation_BE.xml").read_bytes())
    then = datetime(2024, 1, 1, 3, 0, tzinfo=UTC)
    found = told(source, answer, "actual", "BE", then)
    assert [p.start for p in found.points] == [datetime(2024, 1, 1, h, tzinfo=UTC) for h in (0, 1)]
    assert all(60 < p.g_per_kwh < 120 for p in found.points)


@needs_recordings
def test_the_recorded_curve_repeats_its_omitted_positions() -> None:
    fragment = (FIXTURES / "entsoe" / "A03_curve_fragment.xml").read_text()
    then = datetime(2025, 10, 23, 12, 0, tzinfo=UTC)
    with a_vendor(lambda _: Reply(body=document(fragment))) as vendor:
        found = ask(source(vendor.url), "actual", "SE-SE4", then, hours=80)
    # Of 71 hours 19 are omitted and repeat the one before; in three others nothing is generated.
    assert len(found.points) == 71 - 3
    assert {round(p.g_per_kwh, 6) for p in found.points} == {490}
    assert kind_of(document(fragment)) == GridFailureKind.BAD_RESPONSE


@needs_recordings
def test_the_acknowledgement_from_memory_is_no_data() -> None:
    body = (FIXTURES / "entsoe" / "acknowledgement_no_data__from_memory.xml").read_bytes()
    assert kind_of(body) == GridFailureKind.NO_DATA
