"""What the daemon notes of forecasts, and what it learns from them beside everything else."""

import asyncio
from dataclasses import replace
from datetime import timedelta

from lowtide.scheduler.control.foresight import Foresight
from lowtide.scheduler.forecast.learn import UNLEARNED
from tests.recorded_days import recorded_days
from tests.unit.test_ladder import HOUR, NOON, a_series

LAST = recorded_days().issues[-1].fetched_at


def test_an_issue_is_noted_once_however_often_it_is_fetched() -> None:
    watch = Foresight(lambda: NOON)
    issue = a_series(NOON, 24, issued_at=NOON)
    assert watch.saw("GB", issue) == issue
    assert watch.saw("GB", replace(issue, fetched_at=NOON + HOUR)) is None
    later = replace(issue, fetched_at=NOON + HOUR, issued_at=NOON + HOUR)
    assert watch.saw("GB", later) == later
    assert watch.of("GB").issues == [issue, later]


def test_where_no_moment_of_issue_is_told_new_figures_make_a_new_issue() -> None:
    watch = Foresight(lambda: NOON)
    issue = a_series(NOON, 24)
    watch.saw("GB", issue)
    assert watch.saw("GB", replace(issue, points=issue.points[1:], fetched_at=NOON + HOUR)) is None
    assert watch.saw("GB", a_series(NOON + HOUR, 24, fetched_at=NOON + HOUR)) is not None


def test_issues_that_follow_each_other_by_minutes_are_not_all_kept() -> None:
    watch = Foresight(lambda: NOON)
    kept = []
    for minutes in range(0, 120, 5):
        at = NOON + timedelta(minutes=minutes)
        issue = a_series(NOON, 24, price=lambda i, m=minutes: 100.0 + i + m, fetched_at=at, issued_at=at)  # type: ignore[misc]
        kept.append(watch.saw("GB", issue))
        assert watch.of("GB").issues[-1] == issue
    assert len([issue for issue in kept if issue is not None]) <= 6
    assert len(watch.of("GB").issues) <= 6


def test_another_source_begins_anew() -> None:
    watch = Foresight(lambda: NOON)
    watch.saw("GB", a_series(NOON, 24, issued_at=NOON))
    other = a_series(NOON, 24, issued_at=NOON, source="other")
    watch.saw("GB", other)
    assert watch.of("GB").issues == [other]


def test_what_was_learned_serves_until_an_hour_has_passed() -> None:
    days, moment = recorded_days(), [LAST]
    watch = Foresight(lambda: moment[0])
    watch.remember("GB", days.actual.key, list(days.issues))

    async def look() -> tuple[object, object, object]:
        await watch.lay("GB", days.actual)
        before = watch.of("GB").learned
        await watch.learn("GB")
        first = watch.of("GB").learned
        moment[0] = LAST + timedelta(minutes=50)
        await watch.learn("GB")
        return before, first, watch.of("GB").learned

    before, first, again = asyncio.run(look())
    assert before == UNLEARNED
    assert first != UNLEARNED
    assert again is first


def test_what_other_figures_taught_is_forgotten() -> None:
    days, watch = recorded_days(), Foresight(lambda: LAST)

    async def look() -> None:
        await watch.lay("GB", days.actual)
        await watch.learn("GB")
        assert watch.of("GB").learned != UNLEARNED
        await watch.lay("GB", replace(days.actual, source="other"))

    asyncio.run(look())
    assert watch.of("GB").learned == UNLEARNED
    assert watch.of("GB").learned_at is None


def test_without_actuals_there_is_nothing_to_learn_from() -> None:
    watch = Foresight(lambda: NOON)
    watch.saw("GB", a_series(NOON, 24, issued_at=NOON))

    async def look() -> None:
        await watch.lay("GB", None)
        await watch.learn("GB")

    asyncio.run(look())
    assert watch.of("GB").past is None
    assert watch.of("GB").learned == UNLEARNED
