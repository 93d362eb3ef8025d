"""From cumulative energy samples to ledger rows: pure, exact to the millijoule, the same whenever it is done.

A row covers one component of one attempt between two half-hour boundaries. Boundaries are read off the
cumulative curve (linear between samples) and rounded there, so that rows always add up to the curve's end
(INV-15). A curve goes on where the rows on record end: what was written early is never counted again (INV-16).
"""

import bisect
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from lowtide.scheduler.model.units import floor_to

STEP = timedelta(minutes=30)
TICK = timedelta(milliseconds=1)
"""After the curve's end, for joules whose moment the clock cannot tell."""
MEASURED, MODELLED = "measured", "modelled"


@dataclass(frozen=True, slots=True)
class Reading:
    """Cumulative joules of one component since its attempt began, at a moment of clock time."""

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
    samples: Iterable[CumulativeSample],
    component: str,
    *,
    start: Reading,
    until: datetime,
    from_wall: Callable[[float], datetime],
    scale: float,
) -> list[Reading]:
    """The cumulative curve of one component on the clock, from ``start`` on.

    Cumulative values tell their own order, whatever the node's clock said when they were taken: a clock that
    jumps, a sample that is lost, late or told twice may move energy in time and never changes its sum.

    Args:
        samples: of one attempt, in any order.
        component: gpu, cpu, ...
        start: when the process began, with 0 J; or where the last row on record ends, with all joules up to there.
        until: the latest moment that a sample can have.
        from_wall: wall seconds to clock time.
        scale: what the samples' joules are multiplied by.

    """
    known = [s for s in samples if component in s.energy_j]
    told = {(s.energy_j[component] * scale, min(from_wall(s.wall_s), until)) for s in known}
    news = [Reading(at, energy_j) for energy_j, at in sorted(told) if at > start.at and energy_j >= start.energy_j]
    curve = [start, *_agreeing(news)]
    whole_j = max((energy_j for energy_j, _ in told), default=0.0)
    if whole_j > curve[-1].energy_j:
        curve.append(Reading(curve[-1].at + TICK, whole_j))
    return curve


def _agreeing(ordered: Sequence[Reading]) -> list[Reading]:
    """The most readings whose moments rise as their joules do: those taken while the clock was wrong fall away.

    The longest rising subsequence, by patience sorting.
    """
    tops: list[datetime] = []
    ends: list[int] = []
    before: list[int] = []
    for index, reading in enumerate(ordered):
        pile = bisect.bisect_left(tops, reading.at)
        before.append(ends[pile - 1] if pile else -1)
        tops[pile : pile + 1], ends[pile : pile + 1] = [reading.at], [index]
    chosen: list[Reading] = []
    index = ends[-1] if ends else -1
    while index >= 0:
        chosen.append(ordered[index])
        index = before[index]
    return chosen[::-1]


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
