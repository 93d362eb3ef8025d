"""The clock of a daemon: wall time, or wall time stretched (a time-lapse) for demonstrations.

Everything below the shell takes moments as parameters; only this module reads the machine's clock.
"""

import threading
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


JUMP_S = 1.0
"""A smaller lead is no news: time services turn a clock by less all the time."""
CATCH_UP = 0.9
"""How fast this clock passes while it is ahead of the machine's: slower, so that the machine's catches up (ten
hours for one hour), and near enough to real that backoffs, begin times and reviews hardly notice."""


class Clock:
    """Clock time that never runs backwards and never stands still, even when the machine's clock is set back."""

    def __init__(
        self,
        anchor: Anchor | None = None,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the anchor (None: plain wall time), the wall clock and the clock that nobody sets."""
        self.anchor = anchor or Anchor()
        self._wall, self._monotonic = wall, monotonic
        self._lock = threading.Lock()
        self._latest_s, self._latest_monotonic_s = float("-inf"), monotonic()
        self.ahead_s = 0.0
        self.jumped_back_s = 0.0

    @property
    def rate(self) -> float:
        """Clock seconds per wall second; 1 except in a time-lapse."""
        return self.anchor.rate

    def now(self) -> datetime:
        """The present moment, never earlier than one given out before.

        After the machine's clock has jumped back this clock goes on from the latest moment that it gave out,
        by the time that really passes (slowed by ``CATCH_UP``), until the machine's clock has caught up. How
        far it is ahead is kept in ``ahead_s``, the largest lead so far in ``jumped_back_s``, both in clock
        seconds, for the log and doctor.
        """
        with self._lock:
            seconds, monotonic_s = self._seconds(self._wall()), self._monotonic()
            least = self._latest_s + CATCH_UP * self.rate * (monotonic_s - self._latest_monotonic_s)
            self.ahead_s = max(0.0, least - seconds)
            self.jumped_back_s = max(self.jumped_back_s, self.ahead_s)
            self._latest_s, self._latest_monotonic_s = max(seconds, least), monotonic_s
            return from_timestamp(self._latest_s)

    def at_least(self, moment: datetime) -> None:
        """Go on from ``moment`` where the machine's clock is behind it: the newest time found in the store."""
        with self._lock:
            self._latest_s = max(self._latest_s, moment.timestamp())
            self._latest_monotonic_s = self._monotonic()

    def from_wall(self, wall_s: float) -> datetime:
        """Clock time at a wall time that another process on a synchronised machine wrote down."""
        return from_timestamp(self._seconds(wall_s))

    def to_wall(self, moment: datetime) -> float:
        """The wall time at a moment of this clock, in Unix seconds: what ``from_wall`` takes."""
        return self.anchor.wall_s + (moment.timestamp() - self.anchor.clock_s) / self.anchor.rate

    def wall_until(self, moment: datetime) -> float:
        """Wall seconds until ``moment``; zero when it has passed."""
        return max(0.0, (moment - self.now()).total_seconds() / self.rate)

    def _seconds(self, wall_s: float) -> float:
        return self.anchor.clock_s + (wall_s - self.anchor.wall_s) * self.anchor.rate
