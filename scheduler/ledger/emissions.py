"""Emissions = energy x the intensity that was recorded then x PUE: pure, recomputable from the rows (INV-18)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from lowtide.scheduler.model.series import PointKind, Series
from lowtide.scheduler.model.units import emissions_g


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
    point = series.at(start)
    if mean is None or point is None:
        return None
    kind = point.kind if point.kind != PointKind.FORECAST else PointKind.ESTIMATED
    return Price(
        mean,
        kind.value,
        series.source,
        series.zone_returned,
        series.signal.value,
        series.basis.value,
        series.accounting.value,
    )


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
