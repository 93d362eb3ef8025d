"""How long a job is expected to run where it does not say: as its own earlier runs did, else as its queue has it.

The median counts for carbon, as what is planned is then right on the whole; against a deadline counts what nine of ten
runs kept to, so that a long run is begun in time.
"""

import math
from collections.abc import Sequence
from enum import StrEnum
from statistics import median
from typing import NamedTuple

LEAST_RUNS = 3
"""Fewer tell less than the queue's default does."""

MOST_RUNS = 50
"""The newest of them; what ran long ago ran on other data."""

KEPT_TO = 0.9
"""The share of earlier runs that kept to the high figure; of fewer than ten runs the longest."""


class Told(StrEnum):
    """Who says how long a job runs."""

    DECLARED = "declared"
    HISTORY = "history"
    LIMIT = "limit"
    QUEUE = "queue"


class RunTime(NamedTuple):
    """What to expect, in seconds at the declared width: half of all runs are shorter, and hardly any is longer."""

    expected_s: float
    high_s: float
    told: Told


def expected(runs_s: Sequence[float], limit_s: float | None, default_s: float) -> RunTime:
    """What to expect of a job that declares no run time.

    Args:
        runs_s: how long its earlier runs took that came to their end.
        limit_s: after which it would be ended, if it has a limit.
        default_s: what its queue expects of jobs.

    """
    most_s = math.inf if limit_s is None else limit_s
    if len(runs_s) >= LEAST_RUNS:
        high_s = sorted(runs_s)[math.ceil(KEPT_TO * len(runs_s)) - 1]
        return RunTime(min(median(runs_s), most_s), min(high_s, most_s), Told.HISTORY)
    if limit_s is not None:
        return RunTime(limit_s, limit_s, Told.LIMIT)
    return RunTime(default_s, default_s, Told.QUEUE)
