"""Holds a source to its vendor's limits: so many questions of one kind in any window, on this machine's own ticks.

A question may wait a moment for its place; one that would wait longer gets none and comes back later. Those that
were sent away come first: otherwise the zones that happen to be asked about first would use up every place.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pyrate_limiter import InMemoryBucket, RateItem
from pyrate_limiter import Rate as Window

from lowtide.scheduler.model.series import Rate

SHORT_WAIT_S = 2.0
"""A refresh may last this much longer; the next one is several times as far away."""
PATIENCE_S = 900.0
"""Who was sent away and did not come back for so long is no longer counted as waiting."""


@dataclass(frozen=True, slots=True)
class Place:
    """Whether a question may be asked, and in how many seconds (it, or the next attempt)."""

    granted: bool
    wait_s: float


@dataclass(slots=True)
class _Lane:
    """One operation. Times are whole milliseconds, since that is what the bucket counts in."""

    rate: Rate
    bucket: InMemoryBucket
    last_ms: int = 0
    line: dict[str, int] = field(default_factory=dict)

    def place(self, zone: str, now_ms: int) -> Place:
        self.bucket.leak(now_ms)
        self.line = {name: since for name, since in self.line.items() if now_ms - since < PATIENCE_S * 1000}
        ahead = list(self.line).index(zone) if zone in self.line else len(self.line)
        free = max(1, self.rate.calls - self.bucket.count())
        at_ms = max(now_ms, self.last_ms)
        if ahead < free:
            at_ms = max(at_ms, self._room_ms())
            if at_ms - now_ms <= SHORT_WAIT_S * 1000 and self.bucket.put(RateItem(zone, at_ms)):
                self.last_ms = at_ms
                self.line.pop(zone, None)
                return Place(granted=True, wait_s=(at_ms - now_ms) / 1000)
        self.line.setdefault(zone, now_ms)
        behind_s = (ahead + 1) * self.rate.per_s / self.rate.calls
        return Place(granted=False, wait_s=max((at_ms - now_ms) / 1000, behind_s))

    def _room_ms(self) -> int:
        """When the newest ``calls`` questions no longer all lie in one window."""
        blocking = self.bucket.peek(self.rate.calls - 1)
        return 0 if blocking is None else blocking.timestamp + int(self.rate.per_s * 1000) + 1


class Pace:
    """The limits of one source; an operation without one is never held back."""

    def __init__(self, rates: Mapping[str, Rate], ticks: Callable[[], float]) -> None:
        """Take the limits and a clock in seconds that never jumps: a vendor counts in real time, whatever ours says."""
        self._ticks = ticks
        self._lanes = {
            operation: _Lane(rate, InMemoryBucket([Window(rate.calls, max(1, int(rate.per_s * 1000)))]))
            for operation, rate in rates.items()
        }

    def place(self, operation: str, zone: str) -> Place:
        """Ask for a place for one question now; a granted one is taken."""
        lane = self._lanes.get(operation)
        return lane.place(zone, int(self._ticks() * 1000)) if lane else Place(granted=True, wait_s=0.0)
