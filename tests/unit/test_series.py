"""Series: what gets in, what is answered, what may be compared (INV-12)."""

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from lowtide.scheduler.model.errors import GridFailure, GridFailureKind
from lowtide.scheduler.model.series import Accounting, Basis, Point, PointKind, Series, Signal

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
HALF_HOUR = timedelta(minutes=30)


def a_point(index: int = 0, g: Any = 100.0, *, start: datetime | None = None, slots: float = 1) -> Point:
    begin = start or NOON + index * HALF_HOUR
    return Point(begin, begin + slots * HALF_HOUR, g, PointKind.ACTUAL)


def a_series(*points: Point, **changes: Any) -> Series:
    values: dict[str, Any] = {
        "source": "test",
        "zone_requested": "GB",
        "zone_returned": "GB",
        "points": points,
        "step_s": 1800.0,
        "signal": Signal.AVERAGE,
        "basis": Basis.DIRECT,
        "accounting": Accounting.CONSUMPTION,
        "fetched_at": NOON,
    }
    return Series(**{**values, **changes})


def refused(*points: Point, **changes: Any) -> str:
    with pytest.raises(GridFailure) as caught:
        a_series(*points, **changes)
    assert caught.value.kind == GridFailureKind.BAD_RESPONSE
    return caught.value.message


@pytest.mark.parametrize(
    "figure",
    [math.nan, math.inf, -math.inf, -0.001, 5000.001, None, "100", True, [], 10**400],
    ids=lambda g: str(g)[:9],
)
def test_a_figure_that_is_not_a_sane_number_never_gets_in(figure: Any) -> None:
    assert "test gives" in refused(a_point(0, figure))


@pytest.mark.parametrize("figure", [0, 0.0, 5000, 5000.0, 1])
def test_the_bounds_themselves_are_sane(figure: float) -> None:
    assert a_series(a_point(0, figure)).points[0].g_per_kwh == figure


def test_times_without_a_zone_never_get_in() -> None:
    naive = NOON.replace(tzinfo=None)
    assert "without a zone" in refused(Point(naive, naive + HALF_HOUR, 1.0, PointKind.ACTUAL))
    assert "without a zone" in refused(Point(NOON, naive + HALF_HOUR, 1.0, PointKind.ACTUAL))
    assert "without a zone" in refused(a_point(), fetched_at=naive)
    assert "without a zone" in refused(a_point(), issued_at=naive)


@pytest.mark.parametrize(
    "points",
    [
        (a_point(0), a_point(0)),
        (a_point(1), a_point(0)),
        (a_point(0, slots=2), a_point(1)),
        (a_point(0, slots=0),),
        (a_point(0, slots=-1),),
    ],
    ids=["doubled", "unsorted", "overlapping", "empty", "backwards"],
)
def test_points_out_of_order_or_overlapping_never_get_in(points: tuple[Point, ...]) -> None:
    assert "empty, unsorted or overlap" in refused(*points)


@pytest.mark.parametrize("step_s", [0.0, -1.0, math.nan, math.inf])
def test_a_step_is_more_than_zero_seconds(step_s: float) -> None:
    assert "step" in refused(a_point(), step_s=step_s)


def test_an_answer_for_another_zone_never_gets_in() -> None:
    assert "'FR'" in refused(a_point(), zone_returned="FR")


def test_a_gap_and_no_points_at_all_are_allowed() -> None:
    assert len(a_series(a_point(0), a_point(5)).points) == 2
    assert a_series().at(NOON) is None
    assert a_series().mean_g_per_kwh(NOON, NOON + HALF_HOUR) is None


def test_a_moment_belongs_to_the_point_that_begins_there_not_to_the_one_that_ends() -> None:
    series = a_series(a_point(0, 1.0), a_point(1, 2.0), a_point(3, 4.0))
    second = timedelta(seconds=1)
    wanted = [(-second, None), (0 * second, 1.0), (HALF_HOUR - second, 1.0), (HALF_HOUR, 2.0)]
    wanted += [(2 * HALF_HOUR, None), (3 * HALF_HOUR, 4.0), (4 * HALF_HOUR, None)]
    for after, g in wanted:
        point = series.at(NOON + after)
        assert (point and point.g_per_kwh) == g


def test_a_moment_in_another_zone_is_the_same_moment() -> None:
    series = a_series(a_point(0, 7.0))
    point = series.at(datetime(2026, 3, 10, 13, 10, tzinfo=timezone(timedelta(hours=1))))
    assert point is not None
    assert point.g_per_kwh == 7.0


def test_the_mean_is_weighted_by_time() -> None:
    series = a_series(a_point(0, 100.0), a_point(1, 200.0), a_point(2, 400.0))
    quarter = HALF_HOUR / 2
    assert series.mean_g_per_kwh(NOON, NOON + 3 * HALF_HOUR) == pytest.approx(700 / 3)
    assert series.mean_g_per_kwh(NOON + quarter, NOON + HALF_HOUR) == 100.0
    assert series.mean_g_per_kwh(NOON + quarter, NOON + 2 * HALF_HOUR) == pytest.approx((100 + 2 * 200) / 3)
    assert series.mean_g_per_kwh(NOON + quarter, NOON + 5 * quarter) == pytest.approx((100 + 2 * 200 + 400) / 4)


def test_there_is_no_mean_where_a_moment_is_not_known() -> None:
    series = a_series(a_point(0), a_point(1), a_point(3))
    second = timedelta(seconds=1)
    for start, end in [
        (-second, HALF_HOUR),
        (0 * second, 2 * HALF_HOUR + second),
        (0 * second, 4 * HALF_HOUR),
        (2 * HALF_HOUR, 3 * HALF_HOUR),
        (3 * HALF_HOUR, 4 * HALF_HOUR + second),
        (HALF_HOUR, HALF_HOUR),
        (HALF_HOUR, 0 * second),
    ]:
        assert series.mean_g_per_kwh(NOON + start, NOON + end) is None
        assert not series.covers(NOON + start, NOON + end)
    assert series.covers(NOON, NOON + 2 * HALF_HOUR)


def test_a_mean_of_zero_is_a_mean() -> None:
    series = a_series(a_point(0, 0.0))
    assert series.mean_g_per_kwh(NOON, NOON + HALF_HOUR) == 0.0
    assert series.covers(NOON, NOON + HALF_HOUR)


def test_clipping_keeps_what_touches_the_time_and_all_provenance() -> None:
    series = a_series(*(a_point(i) for i in range(6)), attribution="CC BY", notes=("n",), issued_at=NOON)
    clipped = series.clip(NOON + HALF_HOUR, NOON + 2 * HALF_HOUR + timedelta(minutes=1))
    assert clipped == replace(series, points=series.points[1:3])


@pytest.mark.parametrize(
    "change",
    [
        {"source": "other"},
        {"zone_requested": "FR", "zone_returned": "FR"},
        {"signal": Signal.MARGINAL},
        {"basis": Basis.LIFECYCLE},
        {"accounting": Accounting.PRODUCTION},
    ],
    ids=str,
)
def test_series_that_differ_in_meaning_may_not_be_compared(change: dict[str, Any]) -> None:
    assert a_series(a_point(), **change).key != a_series(a_point()).key


def test_series_that_differ_in_time_and_kind_only_may_be_compared() -> None:
    other = a_series(a_point(9), fetched_at=NOON + HALF_HOUR, issued_at=NOON, notes=("x",))
    assert other.key == a_series(a_point()).key


def test_json_gives_the_same_series_back() -> None:
    series = a_series(a_point(0, 1), a_point(4, 2.5), issued_at=NOON, attribution="CC BY 4.0", notes=("a", "b"))
    assert Series.from_json(json.loads(json.dumps(series.to_json()))) == series


@pytest.mark.parametrize(
    "damage",
    [
        lambda told: told.pop("points"),
        lambda told: told.update(points=None),
        lambda told: told.update(points=[["2026-03-10T12:00+00:00", 1]]),
        lambda told: told["points"][0].__setitem__(2, "100"),
        lambda told: told["points"][0].__setitem__(3, "guessed"),
        lambda told: told.update(fetched_at="soon"),
        lambda told: told.update(signal="loud"),
        lambda told: told.update(colour="green"),
        lambda told: told["points"][0].__setitem__(0, "2026-03-10T12:00"),
    ],
)
def test_a_stored_series_that_was_damaged_is_a_bad_response(damage: Any) -> None:
    told = a_series(a_point()).to_json()
    damage(told)
    with pytest.raises(GridFailure) as caught:
        Series.from_json(told)
    assert caught.value.kind == GridFailureKind.BAD_RESPONSE
