"""What projects have used, as JSON and back, and as far as it counts."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta

from lowtide.scheduler.model.spending import Used, reach, used_from_json, used_to_json

FIRST, SECOND = date(2026, 2, 28), date(2026, 3, 1)
USED = Used(Counter({("scans", FIRST): 7}), Counter({("scans", FIRST): 5, ("cells", SECOND): 9}))


def test_what_was_used_comes_back_as_it_was_within_the_days_that_were_asked_for() -> None:
    assert used_from_json(used_to_json(USED, FIRST, date(2026, 3, 2))) == USED
    assert used_to_json(USED, FIRST, SECOND) == [["scans", "2026-02-28", 7, 5]]
    assert used_from_json(used_to_json(USED, SECOND, SECOND)) == Used()


def test_only_the_days_before_one_are_kept() -> None:
    assert USED.before(SECOND) == Used(Counter({("scans", FIRST): 7}), Counter({("scans", FIRST): 5}))


def test_a_year_counts_whole_and_a_share_as_long_as_it_has_not_faded() -> None:
    spring, new_year = datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    assert reach(spring, timedelta(days=7)) == date(2026, 1, 1)
    assert reach(new_year, timedelta(days=7)) == date(2025, 10, 17)
