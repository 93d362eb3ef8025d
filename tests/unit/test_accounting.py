"""Energy goes on record while an attempt runs, whatever its log still shows, and adds up when it has ended."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowtide.connectors.jobside.record import Ended, Report, Sample, Started
from lowtide.scheduler.control.accounting import Accountant
from lowtide.scheduler.model.units import from_timestamp
from lowtide.scheduler.store import attempts
from tests.books import HALF_HOUR, NOON, Books

START_S = NOON.timestamp()
SOURCES = {"cpu": ("rapl", "measured"), "gpu": ("nvml", "measured")}
MINUTE = timedelta(minutes=1)
NUMBERS = count(1)


def a_sample(minute: float, watts: float = 100.0) -> Sample:
    return Sample(START_S + 60 * minute, {"cpu": 60 * minute * watts, "gpu": 120 * minute * watts}, SOURCES)


def a_report(*minutes: float, is_whole: bool = True) -> Report:
    started = Started(START_S, "node", 1) if is_whole else None
    return Report(started, samples=tuple(a_sample(m) for m in minutes))


def an_end(minute: float) -> Report:
    """All that is left of a log that was flooded: its last line."""
    sample = a_sample(minute)
    end = Ended(START_S, sample.wall_s, 0, None, False, False, None, {}, sample.energy_j, SOURCES)
    return Report(Started(START_S, "", 0), end)


class Meter:
    """An accountant on a database; ``hears`` is what the driver does at each look."""

    def __init__(self, path: Path) -> None:
        self.books = Books(path)
        self.now = NOON
        self.accountant = self.anew()

    def anew(self) -> Accountant:
        """As after a restart of the daemon."""
        return Accountant(now=lambda: self.now, from_wall=from_timestamp, scale=1.0, power_w=lambda _c, _j: 50.0)

    def hears(self, attempt: str, report: Report | None, minute: float) -> None:
        self.now = NOON + minute * MINUTE
        with self.books.database.write() as connection:
            self.accountant.attempt(connection, attempts.get(connection, attempt), report)

    def ends(self, attempt: str, report: Report | None, minute: float) -> None:
        self.books.ends(attempt, NOON + minute * MINUTE)
        self.hears(attempt, report, minute)

    def told(self, job_id: str = "mri-1") -> dict[str, int]:
        sums: dict[str, int] = {}
        for row in self.books.rows(job_id):
            sums[str(row["component"])] = sums.get(str(row["component"]), 0) + int(str(row["energy_mj"]))
        return sums


@pytest.fixture
def meter(tmp_path: Path) -> Iterator[Meter]:
    made = Meter(tmp_path)
    yield made
    made.books.database.close()


def mj(minute: float, watts: float = 100.0) -> dict[str, int]:
    return {"cpu": round(60_000 * minute * watts), "gpu": round(120_000 * minute * watts)}


def test_a_running_attempt_shows_its_whole_half_hours(meter: Meter) -> None:
    attempt = meter.books.starts("mri-1")
    meter.hears(attempt, a_report(20), 20)
    assert meter.told() == {}
    meter.hears(attempt, a_report(20, 40, 65), 65)
    assert meter.told() == mj(60)
    assert max(row["end_at"] for row in meter.books.rows("mri-1")) == NOON + 2 * HALF_HOUR  # type: ignore[type-var]


def test_what_was_reported_stays_when_the_node_is_lost(meter: Meter) -> None:
    attempt = meter.books.starts("mri-1")
    meter.hears(attempt, a_report(40, 65, 80), 81)
    meter.ends(attempt, None, 200)
    assert meter.told() == mj(80)


def test_a_daemon_that_was_killed_meanwhile_loses_no_half_hour_on_record(meter: Meter) -> None:
    attempt = meter.books.starts("mri-1")
    meter.hears(attempt, a_report(40, 65), 66)
    meter.accountant = meter.anew()
    meter.ends(attempt, None, 200)
    assert meter.told() == mj(60)


def test_a_log_in_which_every_report_line_has_scrolled_away_loses_no_energy(meter: Meter) -> None:
    attempt = meter.books.starts("mri-1")
    meter.hears(attempt, a_report(10), 11)
    for minute in (20, 50, 95):
        meter.hears(attempt, Report(), minute)
    meter.hears(attempt, a_report(100, is_whole=False), 101)
    meter.ends(attempt, an_end(123), 123)
    assert meter.told() == mj(123)


def test_the_exit_record_alone_holds_all_energy(meter: Meter) -> None:
    attempt = meter.books.starts("mri-1")
    meter.ends(attempt, an_end(45), 45)
    assert meter.told() == mj(45)


def test_an_attempt_that_reported_nothing_is_modelled_once(meter: Meter) -> None:
    attempt = meter.books.starts("mri-1")
    meter.ends(attempt, None, 60)
    meter.hears(attempt, None, 61)
    assert meter.told() == {"job": 60 * 60 * 50_000}


def test_a_late_second_delivery_of_the_end_changes_nothing(meter: Meter) -> None:
    attempt = meter.books.starts("mri-1")
    meter.ends(attempt, a_report(20, 45), 45)
    before = meter.books.rows("mri-1")
    meter.hears(attempt, a_report(10, 20, 45), 46)
    meter.hears(attempt, None, 47)
    assert meter.books.rows("mri-1") == before


def test_an_idle_component_is_not_remembered_for_ever(meter: Meter) -> None:
    attempt = meter.books.starts("mri-1")
    for minute in range(0, 600, 10):
        idle = Report(Started(START_S, "n", 1), samples=(Sample(START_S + 60 * minute, {"gpu": 0.0}, SOURCES),))
        meter.hears(attempt, idle, minute)
    assert meter.accountant._heard[attempt].by_value == {}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Meter]:
    """One database for all examples, each of which has a job of its own: a database takes longer than an example."""
    made = Meter(tmp_path_factory.mktemp("books"))
    yield made
    made.books.database.close()


@given(deliveries=st.lists(st.lists(st.integers(1, 240), max_size=20), max_size=12), order=st.randoms())
def test_inv16_each_sample_delivered_never_or_often_in_any_order_counts_once(
    shared: Meter, deliveries: list[list[int]], order: object
) -> None:
    shared.accountant = shared.anew()
    job_id = f"mri-{next(NUMBERS)}"
    attempt = shared.books.starts(job_id)
    seen_minute = 0
    for minutes in deliveries:
        again = [m for m in minutes for _ in range(m % 4)]  # 0 to 3 times each
        order.shuffle(again)  # type: ignore[attr-defined]
        seen_minute = max([seen_minute, *again])
        shared.hears(attempt, a_report(*again), seen_minute + 1)
    shared.ends(attempt, a_report(250), 250)
    assert shared.told(job_id) == mj(250)
