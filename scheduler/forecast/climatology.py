"""What the same time of day was like on all days that are kept, for sites that ask for it. Pure.

It serves when the newest figure is too old for the own forecast (``HISTORY_MAX_AGE``). So it is judged as it will be
used: at every past moment it is told from figures of at least that age, and held against what came.
"""

from datetime import datetime

import numpy as np

from lowtide.scheduler.forecast.own import HISTORY_MAX_AGE, HORIZON, MIN_HISTORY, as_series
from lowtide.scheduler.forecast.pairs import AHEAD_S, Pairs, came_after, moments
from lowtide.scheduler.forecast.record import FloatArray, Record, record
from lowtide.scheduler.model.series import Series

LEAST_MOMENTS = 48
"""Two days of moments an hour apart whose outcome is known; by fewer nothing is told of its skill."""


def climatology(history: Series, now: datetime) -> Series | None:
    """The forecast of a day: the mean of the same time over all days of the history, all days counting alike.

    It keeps the key of the history: its source, zone, signal, basis and accounting. None with less than three days of
    measured figures within the reach of a record.

    Args:
        history: what was measured, however long ago.
        now: aware UTC.

    """
    known = record((), history, now, history.step_s)
    at, count = known.slot_of(now), round(HORIZON.total_seconds() / history.step_s)
    return as_series(same_time(known, at, at, at + count), history, known, at, now)


def same_time(known: Record, before: int, low: int, high: int) -> FloatArray:
    """The mean of the same time of day for slots [low, high), by the actuals of slots before ``before`` alone.

    NaN where none is known, and everywhere while they cover less than three days.
    """
    past, per_day = known.actual[: max(0, before)], known.slots_per_day
    if not per_day or np.count_nonzero(~np.isnan(past)) < MIN_HISTORY.total_seconds() / known.step_s:
        return np.full(high - low, np.nan)
    days = np.pad(past, (0, -len(past) % per_day), constant_values=np.nan).reshape(-1, per_day)
    spoke = np.count_nonzero(~np.isnan(days), axis=0)
    means = np.where(spoke > 0, np.nansum(days, axis=0) / np.maximum(spoke, 1), np.nan)
    found: FloatArray = means[np.arange(low, high) % per_day]
    return found


def told_before(known: Record, until: int) -> tuple[Pairs, FloatArray]:
    """Past moments with what came, and [moment, slot ahead], what a climatology of then-old figures told."""
    age, count = round(HISTORY_MAX_AGE.total_seconds() / known.step_s), max(1, round(AHEAD_S / known.step_s))
    first = age + round(MIN_HISTORY.total_seconds() / known.step_s)
    rows = {at: same_time(known, at - age, at, at + count) for at in moments(known, first, until)}
    at = tuple(slot for slot, told in rows.items() if not np.isnan(told).all())
    told = np.array([rows[slot] for slot in at]).reshape(-1, count)
    return Pairs(known.step_s, at, (), came_after(known, at, count, until), until), told
