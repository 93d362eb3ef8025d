"""Emissions = energy x the intensity that was recorded then x PUE: pure, recomputable from the rows (INV-18)."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from lowtide.scheduler.model.series import Point, PointKind, Series
from lowtide.scheduler.model.units import emissions_g

BRIDGE = timedelta(hours=1)
"""The widest hole in a series that its neighbours may fill: two half hours."""


@dataclass(frozen=True, slots=True)
class Price:
    """The intensity of an interval with its provenance."""

    g_per_kwh: float
    kind: str
    source: str
    zone: str
    signal: str
    basis: str
    accounting: str


def price(series: Series | None, start: datetime, end: datetime) -> Price | None:
    """The time-weighted intensity over [start, end); None unless all of it is known."""
    if series is None:
        return None
    mean = series.mean_g_per_kwh(start, end)
    if mean is None:
        return None
    return Price(
        mean,
        _kind(series, start, end).value,
        series.source,
        series.zone_returned,
        series.signal.value,
        series.basis.value,
        series.accounting.value,
    )


def _kind(series: Series, start: datetime, end: datetime) -> PointKind:
    """Of a time that is wholly known: actual, or static, only where all of it is."""
    kinds: set[PointKind] = set()
    while start < end and (point := series.at(start)) is not None:
        kinds.add(point.kind)
        start = point.end
    same = kinds.pop() if len(kinds) == 1 else PointKind.ESTIMATED
    return PointKind.ESTIMATED if same == PointKind.FORECAST else same


def bridged(series: Series) -> Series:
    """The series with its holes of up to an hour filled by the mean of their two neighbours, as estimates."""
    points = list(series.points[:1])
    for before, after in itertools.pairwise(series.points):
        if before.end < after.start <= before.end + BRIDGE:
            mean = (before.g_per_kwh + after.g_per_kwh) / 2
            points.append(Point(before.end, after.start, mean, PointKind.ESTIMATED))
        points.append(after)
    return replace(series, points=tuple(points))


def grams(energy_mj: int, g_per_kwh: float, pue: float) -> float:
    """Grams of CO2e for millijoules of IT energy at an intensity and a PUE."""
    return emissions_g(energy_mj / 1000.0, g_per_kwh) * pue


@dataclass(frozen=True, slots=True)
class Spent:
    """Energy over [start, end), as the baseline needs it."""

    start: datetime
    end: datetime
    energy_mj: int
    pue: float


def shifted(spent: Sequence[Spent], start: datetime) -> list[Spent]:
    """The same energy laid without gaps from ``start`` on: what running at once would have looked like.

    Rows of several components over the same time stay together; the time between attempts falls away.
    """
    moved: list[Spent] = []
    cursor, covered = start, None
    for row in sorted(spent, key=lambda s: (s.start, s.end)):
        if covered is None or row.start >= covered:
            offset = cursor - row.start
        begin, end = row.start + offset, row.end + offset
        cursor = max(cursor, end)
        covered = row.end if covered is None else max(covered, row.end)
        moved.append(Spent(begin, end, row.energy_mj, row.pue))
    return moved


def counterfactual_g(spent: Sequence[Spent], start: datetime, series: Series | None) -> float | None:
    """Grams had the same energy been spent from ``start`` on; None while the intensity then is not known."""
    total = 0.0
    for row in shifted(spent, start):
        found = price(series, row.start, max(row.end, row.start + timedelta(microseconds=1)))
        if found is None:
            return None
        total += grams(row.energy_mj, found.g_per_kwh, row.pue)
    return total
