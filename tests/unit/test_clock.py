"""The daemon's clock: real, stretched, and steady when the machine's clock is not."""

from datetime import UTC, datetime

from lowtide.scheduler.control.clock import Anchor, Clock


class Wall:
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


def test_a_clock_that_jumps_back_stands_still_and_says_so() -> None:
    wall = Wall(1000.0)
    clock = Clock(wall=wall)
    before = clock.now()
    wall.seconds = 400.0
    assert clock.now() == before
    assert clock.jumped_back_s == 600.0
    wall.seconds = 1001.0
    assert clock.now() > before


def test_a_restart_never_goes_behind_what_is_written_down() -> None:
    clock = Clock(wall=Wall(1000.0))
    latest = datetime(2026, 1, 1, tzinfo=UTC)
    clock.at_least(latest)
    assert clock.now() == latest


def test_a_time_lapse_passes_ten_minutes_a_second() -> None:
    wall = Wall(5000.0)
    start = datetime(2023, 3, 22, 16, tzinfo=UTC)
    clock = Clock(Anchor(5000.0, start.timestamp(), 600.0), wall)
    assert clock.now() == start
    wall.seconds += 6
    assert (clock.now() - start).total_seconds() == 3600
    assert clock.wall_until(clock.from_wall(5010.0)) == 4.0
