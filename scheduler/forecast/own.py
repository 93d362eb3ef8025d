"""Our own forecast, where a source makes none or none that can be trusted: what is usual at that time of day. Pure."""

import math
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np

from lowtide.scheduler.forecast.correct import DEFAULT_CORRECTION, Correction, from_history, outlook
from lowtide.scheduler.forecast.record import MEASURED, FloatArray, Record, record
from lowtide.scheduler.model.series import Point, PointKind, Series

DAY = timedelta(days=1)
MIN_HISTORY = 3 * DAY
HISTORY_MAX_AGE = 2 * DAY
"""Of its newest figure. Past forecasts are judged up to 48 h ahead: how wrong one is that starts from an older figure
is not known, and by then the weather is another."""
HORIZON = DAY


def own_forecast(
    history: Series, now: datetime, how: Correction = DEFAULT_CORRECTION, told: FloatArray | None = None
) -> Series | None:
    """The forecast of a day from the history alone.

    None with less than three days of measured figures, or with none of the last ``HISTORY_MAX_AGE``.

    Args:
        history: what was measured; other kinds and what lies after ``now`` do not count.
        now: aware UTC.
        how: how fast the newest error fades.
        told: figures by slot ahead from a model that does better than the usual ones; those are used instead.

    """
    length = sum((p.end - p.start for p in measured(history, now)), timedelta(0))
    if length < MIN_HISTORY or behind_s(history, now) > HISTORY_MAX_AGE.total_seconds():
        return None
    known = record((), history, now, history.step_s)
    at, count = known.slot_of(now), round(HORIZON.total_seconds() / history.step_s)
    values = from_history(outlook(known, at, None, count), how, known.step_s) if told is None else told[:count]
    return as_series(values, history, known, at, now, source=f"own forecast from {history.source}")


def measured(history: Series, now: datetime) -> list[Point]:
    """What was measured before ``now``, in order of time."""
    return [p for p in history.points if p.kind in MEASURED and p.end <= now]


def behind_s(history: Series, now: datetime) -> float:
    """Seconds since the newest measured figure ended; infinite where there is none."""
    known = measured(history, now)
    return (now - known[-1].end).total_seconds() if known else math.inf


def as_series(
    values: FloatArray, like: Series, known: Record, at: int, now: datetime, *, source: str | None = None
) -> Series | None:
    """Figures by slot from ``at`` on, up to the first that is not known, as a series like another one."""
    gaps = np.flatnonzero(np.isnan(values))
    reach = int(gaps[0]) if gaps.size else len(values)
    points = tuple(
        Point(known.moment(at + i), known.moment(at + i + 1), float(values[i]), PointKind.FORECAST)
        for i in range(reach)
    )
    if not points:
        return None
    if source is None:
        return replace(like, points=points, step_s=known.step_s)
    return replace(like, points=points, step_s=known.step_s, source=source, fetched_at=now, issued_at=now)
