"""What a play is told of the grid: nothing before its time, and the same whoever asks."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from lowtide.scheduler.model.series import Accounting, Basis, Point, PointKind, Series, Signal
from lowtide.scheduler.simulate.foretold import Foreseen, Issued

START = datetime(2026, 3, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAYS = 8


def measured(change: float = 0.0, since: int = 24 * DAYS) -> Series:
    """Clear nights; from the hour ``since`` on other figures than they were."""
    values = [(100.0 if i % 24 < 6 else 300.0) + (change if i >= since else 0.0) for i in range(24 * DAYS)]
    points = tuple(Point(START + i * HOUR, START + (i + 1) * HOUR, v, PointKind.ACTUAL) for i, v in enumerate(values))
    return Series("t", "GB", "GB", points, 3600.0, Signal.AVERAGE, Basis.DIRECT, Accounting.CONSUMPTION, START)


def issues(actual: Series, wrong: float = 20.0, every: int = 6) -> list[Series]:
    """Every six hours one of two days, too high."""
    found = []
    for first in range(0, 24 * DAYS - every, every):
        told = actual.points[first : first + 48]
        points = tuple(replace(p, g_per_kwh=p.g_per_kwh + wrong, kind=PointKind.FORECAST) for p in told)
        found.append(replace(actual, points=points, fetched_at=told[0].start, issued_at=told[0].start))
    return found


def told(actual: Series, forecasts: list[Series], *, is_raw: bool = False) -> Issued:
    return Issued({"GB": actual}, {"GB": forecasts}, 900.0, is_raw=is_raw)


@pytest.mark.parametrize("is_raw", [False, True])
@pytest.mark.parametrize("hours", [30, 150])
def test_what_comes_later_changes_nothing_that_is_told_before(hours: int, is_raw: bool) -> None:  # noqa: FBT001
    now = START + hours * HOUR + timedelta(minutes=20)
    seen = told(measured(), issues(measured()), is_raw=is_raw)(now)
    known = [issue for issue in issues(measured()) if issue.fetched_at <= now]
    later = [issue for issue in issues(measured(), wrong=-40.0) if issue.fetched_at > now]
    assert told(measured(77.0, since=hours), known + later, is_raw=is_raw)(now) == seen
    assert told(measured(77.0, since=hours - 1), known + later)(now) != seen, "the last whole hour is known"


def test_the_layer_corrects_what_is_raw_as_issued() -> None:
    now = START + 150 * HOUR
    truth = measured().points[150].g_per_kwh
    raw, ours = (told(measured(), issues(measured()), is_raw=is_raw)(now)["GB"] for is_raw in (True, False))
    assert raw.g_per_kwh[0] == pytest.approx(truth + 20.0)
    assert ours.g_per_kwh[0] == pytest.approx(truth, abs=8.0)
    assert (ours.provenance["error_basis"], raw.provenance["error_basis"]) == ("calibrated", "default")


def test_what_is_told_does_not_depend_on_who_asked_before() -> None:
    moments = [START + hours * HOUR for hours in (3, 50, 101, 150)]
    one, other = told(measured(), issues(measured())), told(measured(), issues(measured()))
    forth, back = [one(now) for now in moments], [other(now) for now in reversed(moments)]
    assert forth == back[::-1]


def test_the_same_objects_are_told_until_there_is_news() -> None:
    outlook = told(measured(), issues(measured()))
    looks = [outlook(START + timedelta(minutes=minutes))["GB"] for minutes in (60, 75, 119, 120)]
    assert [before is after for before, after in pairwise(looks)] == [True, True, False]


def test_without_an_issue_yet_nothing_is_delayed() -> None:
    assert not told(measured(), issues(measured())[1:])(START + HOUR)["GB"].may_shift


def test_perfect_foresight_is_told_anew_each_day() -> None:
    outlook = Foreseen({"GB": measured()}, START)
    first = outlook(START)
    assert outlook(START + 23 * HOUR) is first
    assert outlook(START + 25 * HOUR)["GB"].g_per_kwh[0] == 100.0
    assert first["GB"].error_g_per_kwh[0] == 0.0
