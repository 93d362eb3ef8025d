"""What a zone's source forecast and what then came, on one grid of slots: what all calibration rests on. Pure.

Slots are counted from ``start``; NaN stands where nothing is known. An issue counts from when it was first seen, never
from when its maker says that it was made: what was not here yet could steer nobody.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from lowtide.scheduler.model.series import Point, PointKind, Series
from lowtide.scheduler.model.units import floor_to

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

DAY_S = 86_400.0
REACH = timedelta(days=15)
"""How far back pairs count: grids change with the season, and two weeks hold some hundreds of pairs at each lead."""
MEASURED = frozenset({PointKind.ACTUAL, PointKind.ESTIMATED})
WHOLE = 1 - 1e-9
"""A slot is measured when points cover all of it; less is rounding of the sums."""
PARTLY = 1e-6
"""A slot is foretold when any of it is: issues of some makers begin within a slot, with the minute of asking."""


@dataclass(frozen=True, slots=True)
class Issue:
    """One forecast as issued: ``g_per_kwh[i]`` is for slot ``first + i``; known from the start of slot ``known``."""

    known: int
    first: int
    g_per_kwh: FloatArray
    series: Series

    def over(self, low: int, high: int) -> FloatArray:
        """The figures for slots [low, high); NaN where the issue does not reach."""
        found = np.full(max(0, high - low), np.nan)
        a, b = max(low, self.first), min(high, self.first + len(self.g_per_kwh))
        if b > a:
            found[a - low : b - low] = self.g_per_kwh[a - self.first : b - self.first]
        return found


@dataclass(frozen=True, slots=True)
class Record:
    """Actuals and issues of one (source, zone, signal, basis, accounting), the issues in order of when they came."""

    start: datetime
    step_s: float
    actual: FloatArray
    issues: tuple[Issue, ...]

    @property
    def slots_per_day(self) -> int:
        """Slots in a day; 0 where a day is no whole number of them, so that no two slots are of the same time."""
        whole = round(DAY_S / self.step_s)
        return whole if math.isclose(whole * self.step_s, DAY_S) else 0

    def slot_of(self, moment: datetime) -> int:
        """The slot that holds a moment; may lie outside what is known."""
        return math.floor((moment - self.start).total_seconds() / self.step_s)

    def moment(self, slot: int) -> datetime:
        """When a slot begins."""
        return self.start + timedelta(seconds=slot * self.step_s)

    def newest_known(self, before: int) -> int:
        """The last slot before ``before`` whose actual figure is known; -1 when there is none."""
        known = np.flatnonzero(~np.isnan(self.actual[: max(0, before)]))
        return int(known[-1]) if known.size else -1

    def known_at(self, slot: int) -> tuple[Issue, ...]:
        """The issues that were there when a slot began, the newest last."""
        return tuple(issue for issue in self.issues if issue.known <= slot)


def record(issues: Iterable[Series], actual: Series, now: datetime, step_s: float) -> Record:
    """Lay issues and actuals on slots of ``step_s`` seconds; only what was measured before ``now`` counts.

    Raises:
        ValueError: an issue may not be compared with the actuals (another key).

    """
    begin = now - REACH
    measured = [p for p in actual.points if p.kind in MEASURED and p.end <= now and p.end > begin]
    kept = sorted((i for i in issues if i.points and i.points[-1].end > begin), key=lambda i: i.fetched_at)
    for issue in kept:
        if issue.key != actual.key:
            message = f"a forecast of {issue.key} cannot be judged by actuals of {actual.key}"
            raise ValueError(message)
    first = min([*(p.start for p in measured[:1]), *(i.points[0].start for i in kept), now])
    start = floor_to(max(first, begin), timedelta(seconds=step_s))
    count = math.ceil((now - start).total_seconds() / step_s)
    values = sampled(replace(actual, points=tuple(measured)), start, step_s, count)
    return Record(start, step_s, values, tuple(_issue(series, start, step_s) for series in kept))


def _issue(series: Series, start: datetime, step_s: float) -> Issue:
    first = math.floor((series.points[0].start - start).total_seconds() / step_s)
    end = math.ceil((series.points[-1].end - start).total_seconds() / step_s)
    known = math.ceil((series.fetched_at - start).total_seconds() / step_s)
    begin = start + timedelta(seconds=first * step_s)
    return Issue(known, first, sampled(series, begin, step_s, end - first, PARTLY), series)


def sampled(series: Series, start: datetime, step_s: float, count: int, least: float = WHOLE) -> FloatArray:
    """Time-weighted means over ``count`` slots from ``start``; NaN where points cover less than a share of a slot."""
    if not series.points or count <= 0:
        return np.full(max(0, count), np.nan)
    edges = _edges(series.points, start)
    value = np.array([p.g_per_kwh for p in series.points], dtype=np.float64)
    widths = np.diff(edges)
    inside = np.zeros(len(widths))
    inside[::2] = 1.0
    weight = np.zeros(len(widths))
    weight[::2] = value
    slots = np.arange(count + 1) * step_s
    covered = np.diff(np.interp(slots, edges, np.concatenate(([0.0], np.cumsum(inside * widths)))))
    total = np.diff(np.interp(slots, edges, np.concatenate(([0.0], np.cumsum(weight * widths)))))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(covered >= least * step_s, total / covered, np.nan)


def _edges(points: Sequence[Point], start: datetime) -> FloatArray:
    """Start and end of every point in seconds after ``start``, in order."""
    at = [(m - start).total_seconds() for p in points for m in (p.start, p.end)]
    return np.array(at, dtype=np.float64)
