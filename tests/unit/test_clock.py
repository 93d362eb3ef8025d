"""The daemon's clock: real, stretched, and steady when the machine's clock is not."""

from datetime import UTC, datetime, timedelta

import pytest

from lowtide.scheduler.control.clock import CATCH_UP, Anchor, Clock

DAY_S = 86_400.0


class Machine:
    """A machine whose wall clock can be set; the other one only passes."""

    def __init__(self, wall_s: float) -> None:
        self.wall_s, self.monotonic_s = wall_s, 77.0

    def passes(self, seconds: float) -> None:
        self.wall_s += seconds
        self.monotonic_s += seconds

    def clock(self, anchor: Anchor | None = None) -> Clock:
        return Clock(anchor, wall=lambda: self.wall_s, monotonic=lambda: self.monotonic_s)


def test_while_nothing_jumps_it_is_the_machines_clock() -> None:
    machine = Machine(1000.0)
    clock = machine.clock()
    for step_s in (0.0, 0.25, 3600.0):
        machine.passes(step_s)
        assert clock.now().timestamp() == machine.wall_s
    assert (clock.ahead_s, clock.jumped_back_s) == (0.0, 0.0)


def test_after_a_jump_back_it_goes_on_and_never_backwards() -> None:
    machine = Machine(10 * DAY_S)
    clock = machine.clock()
    before = clock.now()
    machine.wall_s -= DAY_S
    assert clock.now() == before
    machine.passes(100.0)
    assert clock.now() == before + timedelta(seconds=100 * CATCH_UP)
    assert clock.jumped_back_s == DAY_S
    assert clock.ahead_s == pytest.approx(DAY_S - 100 * (1 - CATCH_UP))


def test_the_machines_clock_catches_up_and_is_followed_again() -> None:
    machine = Machine(10 * DAY_S)
    clock = machine.clock()
    latest = clock.now()
    machine.wall_s -= 60.0
    assert clock.now() == latest
    for _ in range(20):
        machine.passes(40.0)
        assert clock.now() > latest
        latest = clock.now()
    assert clock.now().timestamp() == machine.wall_s
    assert (clock.ahead_s, clock.jumped_back_s) == (0.0, 60.0)


def test_a_restart_goes_on_from_what_is_written_down_and_does_not_stand_there() -> None:
    machine = Machine(1000.0)
    clock = machine.clock()
    latest = datetime(2026, 1, 1, tzinfo=UTC)
    clock.at_least(latest)
    assert clock.now() == latest
    machine.passes(50.0)
    assert clock.now() == latest + timedelta(seconds=50 * CATCH_UP)
    assert clock.jumped_back_s > DAY_S


def test_a_restart_with_an_older_store_changes_nothing() -> None:
    machine = Machine(10 * DAY_S)
    clock = machine.clock()
    clock.at_least(datetime(1970, 1, 2, tzinfo=UTC))
    machine.passes(5.0)
    assert clock.now().timestamp() == machine.wall_s


def test_a_time_lapse_passes_ten_minutes_a_second() -> None:
    machine = Machine(5000.0)
    start = datetime(2023, 3, 22, 16, tzinfo=UTC)
    clock = machine.clock(Anchor(5000.0, start.timestamp(), 600.0))
    assert clock.now() == start
    machine.passes(6)
    assert (clock.now() - start).total_seconds() == 3600
    assert clock.wall_until(clock.from_wall(5010.0)) == 4.0


def test_a_time_lapse_survives_a_jump_at_its_own_pace() -> None:
    machine = Machine(5000.0)
    start = datetime(2023, 3, 22, 16, tzinfo=UTC)
    clock = machine.clock(Anchor(5000.0, start.timestamp(), 600.0))
    machine.passes(6)
    before = clock.now()
    machine.wall_s -= 1000.0
    machine.passes(1)
    assert clock.now() == before + timedelta(seconds=600 * CATCH_UP)
