from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from lowtide.scheduler.model.quantity import MAX_DURATION_S, duration_s, duration_text, memory_bytes, moment

NOW = datetime(2026, 3, 28, 17, 30, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3h", 10_800),
        ("90m", 5_400),
        ("1d2h", 93_600),
        ("1d 2h 3m 4s", 93_784),
        ("1.5h", 5_400),
        ("2 hours", 7_200),
        ("1hour", 3_600),
        ("10min", 600),
        ("2w", 1_209_600),
        ("02:30:00", 9_000),
        ("1-12:00:00", 129_600),
        ("2-6", 194_400),
        ("2-6:30", 196_200),
        ("0s", 0),
        (90, 90),
        (0.5, 0.5),
    ],
)
def test_a_duration_is_read_as_people_write_it(text: object, seconds: float) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize(
    "text", ["", " ", "3", "1.5", "h", "3x", "3h!", "-3h", "02:30", "1:2:3:4", "3 h h", "9" * 70 + "h"]
)
def test_a_duration_that_is_not_understood_says_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match="write for example 90m"):
        duration_s(text)


@pytest.mark.parametrize(
    "value", [True, None, [], float("nan"), float("inf"), -1, MAX_DURATION_S + 1, "400d", "1e9h", 10**400]
)
def test_a_duration_that_is_no_sensible_number_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"duration|between 0 and a year"):
        duration_s(value)


def test_a_bare_number_as_text_is_refused_for_its_missing_unit() -> None:
    with pytest.raises(ValueError, match="'30' has no unit"):
        duration_s("30")


@pytest.mark.parametrize("seconds", [1, 59, 60, 3_600, 5_400, 86_400, 93_784, 604_800])
def test_a_written_duration_reads_back(seconds: int) -> None:
    assert duration_s(duration_text(seconds)) == seconds


def test_nothing_is_written_as_zero_seconds() -> None:
    assert duration_text(0.2) == "0s"


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-04-01T10:00Z", datetime(2026, 4, 1, 10, tzinfo=UTC)),
        ("2026-04-01T10:00:00+02:00", datetime(2026, 4, 1, 8, tzinfo=UTC)),
        ("now", NOW),
        ("now+6h", NOW + timedelta(hours=6)),
        ("now + 1day", NOW + timedelta(days=1)),
        ("18:00", datetime(2026, 3, 28, 18, 0, tzinfo=UTC)),
        ("16:00", datetime(2026, 3, 29, 16, 0, tzinfo=UTC)),
        ("17:30", NOW),
        ("today16:00", datetime(2026, 3, 28, 16, 0, tzinfo=UTC)),
        ("tomorrow18:00", datetime(2026, 3, 29, 18, 0, tzinfo=UTC)),
        ("tomorrow 18:00:30", datetime(2026, 3, 29, 18, 0, 30, tzinfo=UTC)),
    ],
)
def test_a_moment_is_read_as_people_write_it(text: str, at: datetime) -> None:
    assert moment(text, now=NOW) == at


def test_a_clock_time_is_meant_in_the_given_zone_across_the_change_to_summer_time() -> None:
    # 18:30 in Berlin; the clocks go forward in the coming night.
    assert moment("tomorrow18:00", now=NOW, zone=BERLIN) == datetime(2026, 3, 29, 16, 0, tzinfo=UTC)
    assert moment("20:00", now=NOW, zone=BERLIN) == datetime(2026, 3, 28, 19, 0, tzinfo=UTC)


def test_an_iso_time_without_a_zone_is_refused_unless_a_zone_is_given() -> None:
    with pytest.raises(ValueError, match="has no time zone"):
        moment("2026-04-01T10:00", now=NOW)
    assert moment("2026-04-01T10:00", now=NOW, zone=BERLIN) == datetime(2026, 4, 1, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["", "soon", "now-1h", "now+", "now+3", "25:00", "12:60", "yesterday12:00", "2026-13-01T00:00Z", "x" * 99]
)
def test_a_moment_that_is_not_understood_says_why(text: str) -> None:
    with pytest.raises(ValueError, match="write for example"):
        moment(text, now=NOW)


def test_a_moment_beyond_the_calendar_is_refused() -> None:
    with pytest.raises(ValueError, match="outside the calendar"):
        moment("0001-01-01T00:00+14:00", now=NOW)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("8GiB", 8 << 30),
        ("8G", 8 << 30),
        ("8Gi", 8 << 30),
        ("8GB", 8_000_000_000),
        ("512M", 512 << 20),
        ("1.5g", 3 << 29),
        ("64k", 65_536),
        ("2TiB", 2 << 40),
        (1024, 1024),
    ],
)
def test_a_memory_size_is_read_as_people_write_it(text: object, size: int) -> None:
    assert memory_bytes(text) == size


@pytest.mark.parametrize(
    "value", ["", "8", "8X", "GiB", "-8G", 0, -1, True, 1.5, None, "9999999T", float("nan"), "9" * 400 + "G", 10**400]
)
def test_a_memory_size_that_is_not_understood_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is no memory size"):
        memory_bytes(value)
