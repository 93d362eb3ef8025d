"""From cumulative energy samples to ledger rows: pure, exact to the millijoule, the same whenever it is done.

A row covers one component of one attempt between two half-hour boundaries. Boundaries are read off the
cumulative curve (linear between samples) and rounded there, so that rows always add up to the curve's end
(INV-15), and a row that was written early equals the row written later (INV-16).
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from lowtide.scheduler.model.units import floor_to

STEP = timedelta(minutes=30)
MEASURED, MODELLED = "measured", "modelled"


@dataclass(frozen=True, slots=True)
class Reading:
    """Cumulative joules of one component at a moment of clock time; sorted, the first at the attempt's start."""

    at: datetime
    energy_j: float


@dataclass(frozen=True, slots=True)
class EnergyRow:
    """Energy of one component over [start, end) in integer millijoules.

    ``scale`` is what the energy was multiplied by: 1, or the rate of a time-lapse clock.
    """

    attempt_id: str
    component: str
    start: datetime
    end: datetime
    energy_mj: int
    source: str
    quality: str
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class CumulativeSample:
    """One sample as the job side took it: wall seconds, joules per component."""

    wall_s: float
    energy_j: dict[str, float]


def readings(
    samples: Sequence[CumulativeSample],
    component: str,
    *,
    start: datetime,
    from_wall: Callable[[float], datetime],
    scale: float,
) -> list[Reading]:
    """The cumulative curve of one component on the clock; a counter that falls back adds nothing.

    Duplicates and disorder change nothing: samples are sorted by time and value first.
    """
    curve = [Reading(start, 0.0)]
    last_raw_j = total_j = 0.0
    for sample in sorted(samples, key=lambda s: (s.wall_s, sorted(s.energy_j.items()))):
        raw_j = sample.energy_j.get(component)
        moment = from_wall(sample.wall_s)
        if raw_j is None or moment <= curve[-1].at:
            continue
        total_j += max(0.0, raw_j - last_raw_j) * scale
        last_raw_j = raw_j
        curve.append(Reading(moment, total_j))
    return curve


def rows(
    curve: Sequence[Reading],
    *,
    attempt_id: str,
    component: str,
    source: str,
    quality: str,
    scale: float = 1.0,
    closed_only: bool = False,
) -> list[EnergyRow]:
    """Cut a cumulative curve at the half hours.

    Args:
        curve: at least one reading.
        attempt_id: whose energy it is.
        component: gpu, cpu, ...
        source: what measured or modelled it.
        quality: ``measured`` or ``modelled``.
        scale: recorded on each row.
        closed_only: leave out the last, unfinished half hour (the attempt still runs).

    """
    if len(curve) < 2:  # noqa: PLR2004 - one reading spans no time
        return []
    edges = _edges(curve[0].at, curve[-1].at)
    totals = [round(_at(curve, edge) * 1000) for edge in edges]
    spans = list(zip(edges, edges[1:], totals, totals[1:], strict=False))
    if closed_only and edges[-1] != floor_to(edges[-1], STEP):
        spans = spans[:-1]
    return [
        EnergyRow(attempt_id, component, begin, end, after - before, source, quality, scale)
        for begin, end, before, after in spans
    ]


def modelled_rows(attempt_id: str, start: datetime, end: datetime, power_w: float) -> list[EnergyRow]:
    """Rows for an attempt that left no sample: its declared or default power over its time."""
    curve = [Reading(start, 0.0), Reading(end, power_w * (end - start).total_seconds())]
    if end <= start:
        return []
    return rows(curve, attempt_id=attempt_id, component="job", source="declared_power", quality=MODELLED)


def _edges(start: datetime, end: datetime) -> list[datetime]:
    edges = [start]
    boundary = floor_to(start, STEP) + STEP
    while boundary < end:
        edges.append(boundary)
        boundary += STEP
    edges.append(end)
    return edges


def _at(curve: Sequence[Reading], moment: datetime) -> float:
    for earlier, later in itertools.pairwise(curve):
        if earlier.at <= moment <= later.at:
            share = (moment - earlier.at) / (later.at - earlier.at)
            return earlier.energy_j + share * (later.energy_j - earlier.energy_j)
    return curve[-1].energy_j
