"""The clock of a daemon: wall time, or wall time stretched (a time-lapse) for demonstrations.

Everything below the shell takes moments as parameters; only this module reads the machine's clock.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from lowtide.scheduler.model.units import from_timestamp


@dataclass(frozen=True, slots=True)
class Anchor:
    """Clock time was ``clock_s`` at wall time ``wall_s`` (both Unix seconds) and passes ``rate`` times as fast."""

    wall_s: float = 0.0
    clock_s: float = 0.0
    rate: float = 1.0


class Clock:
    """Clock time that never runs backwards, even when the machine's clock is set back."""

    def __init__(self, anchor: Anchor | None = None, wall: Callable[[], float] = time.time) -> None:
        """Take the anchor (None: plain wall time) and the wall clock to read."""
        self.anchor = anchor or Anchor()
        self._wall = wall
        self._latest_s = 0.0
        self.jumped_back_s = 0.0

    @property
    def rate(self) -> float:
        """Clock seconds per wall second; 1 except in a time-lapse."""
        return self.anchor.rate

    def now(self) -> datetime:
        """The present moment, never earlier than one given out before.

        A machine clock that jumps back freezes this clock until the machine has caught up; the jump is
        kept in ``jumped_back_s`` for the log and doctor.
        """
        seconds = self._seconds(self._wall())
        if seconds < self._latest_s:
            self.jumped_back_s = max(self.jumped_back_s, self._latest_s - seconds)
            return from_timestamp(self._latest_s)
        self._latest_s = seconds
        return from_timestamp(seconds)

    def at_least(self, moment: datetime) -> None:
        """Start no earlier than ``moment``: the newest time found in the store after a restart."""
        self._latest_s = max(self._latest_s, moment.timestamp())

    def from_wall(self, wall_s: float) -> datetime:
        """Clock time at a wall time that another process on a synchronised machine wrote down."""
        return from_timestamp(self._seconds(wall_s))

    def wall_until(self, moment: datetime) -> float:
        """Wall seconds until ``moment``; zero when it has passed."""
        return max(0.0, (moment - self.now()).total_seconds() / self.rate)

    def _seconds(self, wall_s: float) -> float:
        return self.anchor.clock_s + (wall_s - self.anchor.wall_s) * self.anchor.rate
