"""How much work comes in: what was submitted of late, as GPUs that it keeps busy on average."""

import math
from collections import deque
from datetime import datetime, timedelta

LONGEST = timedelta(days=7)
"""A week has all its days in it; what was before says little of what will be."""
SHORTEST = timedelta(days=1)
"""What came in less than a day is spread over a whole one: a burst at the start is no rate."""


class Inflow:
    """Work by when it was submitted, forgotten after a week."""

    def __init__(self) -> None:
        """Know of nothing."""
        self._came: deque[tuple[datetime, float]] = deque()
        self._first: datetime | None = None
        self._gpu_s: float | None = 0.0

    def add(self, submitted_at: datetime, gpu_s: float) -> None:
        """Count a job that needs ``gpu_s`` GPU-seconds; jobs come in order of submission."""
        self._first = submitted_at if self._first is None else self._first
        self._came.append((submitted_at, gpu_s))
        self._gpu_s = None

    def gpus(self, now: datetime) -> float:
        """GPUs that such an inflow keeps busy on average."""
        while self._came and now - self._came[0][0] > LONGEST:
            self._came.popleft()
            self._gpu_s = None
        if self._first is None:
            return 0.0
        passed = min(LONGEST, max(SHORTEST, now - self._first))
        if self._gpu_s is None:
            self._gpu_s = math.fsum(gpu_s for _, gpu_s in self._came)
        return self._gpu_s / passed.total_seconds()
