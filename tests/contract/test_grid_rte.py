"""RTE: rows before their figures, its pages and its words; figures are made up, shapes are the documented ones."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from lowtide.connectors.grid.rte import MAX_PAGES, MAX_SPAN, PAGE, Rte
from lowtide.scheduler.model.errors import GridFailureKind
from lowtide.scheduler.model.series import Accounting, Basis, Signal
from tests.contract.grid_conformance import Case, GridSourceConformance
from tests.contract.grid_questions import FIXTURES, NOW, ask, asked_in, failure_of, needs_recordings, told
from tests.contract.grid_server import Reply, a_vendor, json_reply
from tests.contract.grid_speakers import speaks_http

QUARTER, DAY = timedelta(minutes=15), timedelta(days=1)
SLOT = datetime(2026, 3, 10, 11, 45, tzinfo=UTC)
FRANCE = ZoneInfo("Europe/Paris")


def source(url: str) -> Rte:
    return Rte(base_url=url)


def row(start: datetime, figure: object, **more: object) -> dict[str, Any]:
    return {"perimetre": "France", "date_heure": start.isoformat(), "taux_co2": figure, **more}


def results(*rows: dict[str, Any]) -> Reply:
    return json_reply({"total_count": len(rows), "results": list(rows)})


def portal_like(now: datetime) -> Callable[[str], Reply]:
    """A portal of ODRE's shape: newest first, at most a hundred rows a page, times with the French offset."""

    def answer(path: str) -> Reply:
        asked = asked_in(path)
        start, end = (datetime.fromisoformat(told) for told in re.findall(r"date'([^']+)'", asked["where"]))
        assert asked["where"].startswith("taux_co2 is not null and ")
        last = min(end, now - timedelta(minutes=10))
        count = max(0, (last - start) // QUARTER) if start > now - 365 * DAY else 0
        rows = [row((start + i * QUARTER).astimezone(FRANCE), 20 + i % 30) for i in reversed(range(count))]
        offset, limit = int(asked["offset"]), min(int(asked["limit"]), 100)
        return json_reply({"total_count": count, "results": rows[offset : offset + limit]})

    return answer


speaks_http("rte", source, "FR", NOW, portal_like(NOW))


class TestRte(GridSourceConformance):
    @pytest.fixture
    def case(self) -> Iterator[Case]:
        with a_vendor(portal_like(NOW)) as vendor:
            yield Case(lambda: source(vendor.url), "FR", NOW, forecasts=False)


def test_rows_of_the_future_are_null_and_never_zero() -> None:
    answer = results(row(SLOT + QUARTER, None), row(SLOT, 0), row(SLOT - QUARTER, 15))
    assert [p.g_per_kwh for p in told(source, answer, "actual", "FR").points] == [15, 0]


def test_a_row_whose_time_is_not_over_is_no_actual() -> None:
    answer = results(row(SLOT + QUARTER, 17), row(SLOT, 16))
    assert [p.g_per_kwh for p in told(source, answer, "actual", "FR").points] == [16]


def test_the_word_nd_is_a_gap_and_any_other_word_is_refused() -> None:
    answer = results(row(SLOT, 15), row(SLOT - QUARTER, "ND"), row(SLOT - 2 * QUARTER, 14))
    series = told(source, answer, "actual", "FR")
    assert [(p.start, p.end) for p in series.points] == [
        (SLOT - 2 * QUARTER, SLOT - QUARTER),
        (SLOT, SLOT + QUARTER),
    ]
    assert failure_of(source, results(row(SLOT, "15")), "actual", "FR").kind == GridFailureKind.BAD_RESPONSE


def test_empty_results_are_no_data() -> None:
    assert failure_of(source, results(), "actual", "FR").kind == GridFailureKind.NO_DATA
    assert failure_of(source, results(row(SLOT, None)), "actual", "FR").kind == GridFailureKind.NO_DATA


def test_times_with_an_offset_are_read_as_what_they_are() -> None:
    rows = [row(SLOT, 15), row(SLOT - QUARTER, 14)]
    rows[0]["date_heure"] = "2026-03-10T13:45:00+02:00"
    series = told(source, results(*rows), "actual", "FR")
    assert series.points[-1].start == SLOT
    assert series.points[-1].start.utcoffset() == timedelta(0)


def test_a_time_without_an_offset_is_refused() -> None:
    answer = results({**row(SLOT, 15), "date_heure": "2026-03-10T11:45:00"})
    assert failure_of(source, answer, "actual", "FR").kind == GridFailureKind.BAD_RESPONSE


def test_figures_of_a_region_spoil_the_answer_and_a_row_without_a_perimeter_does_not() -> None:
    region = results({**row(SLOT, 15), "perimetre": "Bretagne"})
    assert failure_of(source, region, "actual", "FR").kind == GridFailureKind.BAD_RESPONSE
    unnamed = row(SLOT, 15)
    del unnamed["perimetre"]
    assert told(source, results(unnamed), "actual", "FR").points


def test_eight_days_are_read_page_by_page() -> None:
    with a_vendor(portal_like(NOW)) as vendor:
        series = ask(source(vendor.url), "actual", "FR", hours=8 * 24)
        assert len(vendor.paths) == 8
    assert len(series.points) == 8 * 96
    assert series.covers(series.points[0].start, series.points[-1].end)


def test_a_long_past_is_cut_to_the_pages_of_one_question() -> None:
    with a_vendor(portal_like(NOW)) as vendor:
        series = ask(source(vendor.url), "actual", "FR", hours=40 * 24)
        assert len(vendor.paths) == MAX_PAGES
        assert all(asked_in(path)["limit"] == str(PAGE) for path in vendor.paths)
    assert NOW - series.points[0].start <= MAX_SPAN


def test_the_most_that_may_be_asked_stays_below_the_monthly_allowance() -> None:
    rate = Rte.rates["actual"]
    assert rate.calls * MAX_PAGES * 31 * 86_400 / rate.per_s <= 50_000


def test_there_is_no_forecast_and_the_figures_are_direct_and_of_production() -> None:
    key = told(source, results(row(SLOT, 15)), "actual", "FR").key
    assert (key.signal, key.basis, key.accounting) == (Signal.AVERAGE, Basis.DIRECT, Accounting.PRODUCTION)


def test_the_licence_wants_the_date_of_the_figures() -> None:
    series = told(source, results(row(SLOT, 15)), "actual", "FR")
    assert "Licence Ouverte 2.0" in series.attribution
    assert series.notes == ("figures up to 2026-03-10 12:00 UTC",)


@pytest.mark.parametrize("body", [b"<html>maintenance</html>", b"{}", b"[]", b'{"results": {}}', b'{"results": [1]}'])
def test_another_shape_is_a_bad_response(body: bytes) -> None:
    assert failure_of(source, Reply(body=body), "actual", "FR").kind == GridFailureKind.BAD_RESPONSE


@needs_recordings
@pytest.mark.parametrize("name", ["eco2mix-national-tr_records.json", "records_with_null_taux_co2__assembled.json"])
def test_the_recorded_answers_give_their_one_figure(name: str) -> None:
    then = datetime(2026, 6, 14, 19, 40, tzinfo=UTC)
    series = told(source, Reply(body=(FIXTURES / "rte_odre" / name).read_bytes()), "actual", "FR", then)
    assert [(p.start, p.g_per_kwh) for p in series.points] == [(datetime(2026, 6, 14, 19, 0, tzinfo=UTC), 15)]
