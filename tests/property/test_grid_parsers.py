"""Whatever a vendor or a file says: a sane series or a typed failure, and nothing from the future (INV-11, INV-12)."""

import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lowtide.connectors.grid import fetch, neso
from lowtide.connectors.grid.file import File
from lowtide.connectors.grid.recorded import Recorded
from lowtide.scheduler.model.errors import GridFailure
from lowtide.scheduler.model.series import Accounting, Basis, Point, PointKind, Series, Signal
from tests.contract.grid_server import neso_row
from tests.property.mutation import Canned, answer, hold, mutated, outcome, thorough

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
RECORDED = Recorded()
NESO = neso.Neso("http://vendor")
HALF_HOURS = {"data": [neso_row(NOON + i * 30 * MINUTE, forecast=100 + i, actual=95 + i) for i in range(-6, 6)]}

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def is_sane(series: Series) -> bool:
    ends = [NOON - timedelta(days=36_500), *(p.end for p in series.points)]
    return all(
        math.isfinite(p.g_per_kwh) and 0 <= p.g_per_kwh <= 5000 and earlier <= p.start < p.end
        for earlier, p in zip(ends, series.points, strict=False)
    )


@given(body=st.binary(max_size=200) | ANY_JSON.map(lambda v: json.dumps(v).encode()))
def test_any_body_is_json_or_a_grid_failure(body: bytes) -> None:
    vendor = fetch.Vendor("v", "http://vendor")
    vendor._http = Canned(body)
    found = outcome(vendor.json("/x", now=NOON, query={"token": "hush"}))
    if isinstance(found, GridFailure):
        assert "http://vendor" not in found.message
        assert "hush" not in found.message
    else:
        assert found == json.loads(body)


@given(header=st.text(max_size=40))
def test_any_retry_after_is_a_moment_within_an_hour_or_nothing(header: str) -> None:
    found = fetch.retry_at(header, NOON)
    assert found is None or NOON <= found <= NOON + fetch.MAX_RETRY_AFTER


@thorough()
@given(
    body=mutated(HALF_HOURS),
    operation=st.sampled_from(["actual", "forecast"]),
)
def test_any_answer_of_neso_is_a_sane_series_or_a_grid_failure(body: bytes, operation: str) -> None:
    NESO._api._http = Canned(body)
    hold(answer(NESO, operation, "GB", NOON), "GB")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(
        st.tuples(
            st.sampled_from(
                ["2026-03-10T10:00Z", "2026-03-10T11:00Z", "2026-03-10T12:00Z", "2026-03-10T11:00", "", "x"]
            ),
            st.sampled_from(["100", "0", "-1", "nan", "inf", "5001", "", "null", "1e3"]),
            st.sampled_from(["", "2026-03-10T12:00Z", "2026-03-10T10:30Z"]),
            st.sampled_from(["", "actual", "forecast", "static", "guess"]),
        ),
        max_size=4,
    )
)
def test_any_rows_of_a_file_are_a_sane_series_or_a_failure_that_names_the_file(
    tmp_path: Path, lines: list[tuple[str, ...]]
) -> None:
    path = tmp_path / "grid.csv"
    path.write_text("\n".join(["start_utc,g_per_kwh,end_utc,kind", *(",".join(line) for line in lines)]))
    source = File(str(path), "campus")
    later = NOON + timedelta(days=1)
    found = outcome(source.actual("campus", NOON - timedelta(days=1), later, later))
    assert str(path) in found.message if isinstance(found, GridFailure) else is_sane(found)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300), suffix=st.sampled_from([".csv", ".json"]))
def test_any_bytes_in_a_file_are_a_grid_failure_or_no_forecast(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"grid{suffix}"
    path.write_bytes(content)
    found = outcome(File(str(path), "campus").forecast("campus", NOON))
    assert found is None or str(path) in found.message


@given(minutes=st.integers(-2000, 17 * 1440 + 2000), before=st.integers(0, 5000), after=st.integers(0, 5000))
def test_the_recording_never_tells_what_was_not_known(minutes: int, before: int, after: int) -> None:
    now = RECORDED.first + minutes * MINUTE
    past = outcome(RECORDED.actual("GB", now - before * MINUTE, now + after * MINUTE, now))
    if isinstance(past, GridFailure):
        assert minutes < 30 or before < 60 or now - before * MINUTE >= RECORDED.last
    else:
        assert all(p.end <= now for p in past.points)
    issue = outcome(RECORDED.forecast("GB", now))
    if isinstance(issue, GridFailure):
        assert minutes < 4 * 60 or now >= RECORDED.last - timedelta(hours=4)
        return
    assert issue.issued_at <= now
    assert issue.at(now) is not None
    # As issued: what was told of the same issue when it became known is the same.
    first_told = outcome(RECORDED.forecast("GB", issue.issued_at))
    assert first_told.points == issue.points


@st.composite
def a_series(draw: st.DrawFn) -> Series:
    points, start = [], NOON
    for _ in range(draw(st.integers(0, 8))):
        start += draw(st.integers(0, 2)) * MINUTE
        end = start + draw(st.integers(1, 5)) * MINUTE
        points.append(Point(start, end, draw(st.floats(0, 5000)), draw(st.sampled_from(PointKind))))
        start = end
    meaning = (Signal.AVERAGE, Basis.UNKNOWN, Accounting.UNKNOWN)
    return Series("test", "GB", "GB", tuple(points), 60.0, *meaning, fetched_at=NOON)


@given(series=a_series(), begin=st.integers(-3, 50), length=st.integers(0, 50))
def test_the_mean_is_that_of_its_minutes_or_unknown_with_one_of_them(series: Series, begin: int, length: int) -> None:
    start = NOON + begin * MINUTE
    minutes = [series.at(start + i * MINUTE) for i in range(length)]
    known = [p.g_per_kwh for p in minutes if p is not None]
    mean = series.mean_g_per_kwh(start, start + length * MINUTE)
    if length == 0 or len(known) < length:
        assert mean is None
    else:
        assert mean is not None
        assert math.isclose(mean, sum(known) / length, rel_tol=1e-9, abs_tol=1e-9)


@given(series=a_series())
def test_json_gives_any_series_back(series: Series) -> None:
    assert Series.from_json(json.loads(json.dumps(series.to_json()))) == series
