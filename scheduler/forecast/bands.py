"""How wide the forecast's doubt is: 80 % bands and the error of differences, both calibrated on past pairs. Pure.

**Bands** are split conformal by lead: around the forecast lie the quantiles of what past forecasts at that lead
missed by, as shares of the forecast. The weather of one week is not that of the next, so the nominal levels follow
what happens (adaptive conformal inference, Gibbs and Candès, NeurIPS 2021): each miss at one side widens that side,
each hit narrows it a little, such that in the long run one figure in ten lies below and one in ten above.

**Differences** decide about shifts. Errors of neighbouring slots go together, so a difference is surer than the errors
of its two ends tell, the more so the closer they lie. Two numbers describe that: how far errors lie apart in the end,
and how long it takes:  variance of (error now - error after a gap g) = std² (1 - exp(-g / memory)).
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from lowtide.scheduler.forecast.fit import windows
from lowtide.scheduler.forecast.pairs import Pairs
from lowtide.scheduler.forecast.record import FloatArray, IntArray
from lowtide.scheduler.forecast.skill import LEAD_ERROR_G_PER_KWH, REFERENCE_G_PER_KWH
from lowtide.scheduler.model.difference import Difference
from lowtide.scheduler.model.units import S_PER_H

LEADS_H = tuple(float(hours) for hours, _ in LEAD_ERROR_G_PER_KWH)
"""The last lead of each group, in hours from the decision."""
TAIL = 0.1
"""Nominal share beyond each edge of the 80 % band."""
STEP, STEP_LEAD_H = 0.04, 10.0
"""How fast the levels follow. What a band missed is known a lead later, so that longer leads follow more slowly in
proportion, or they would swing: the step is ``STEP`` up to a lead of ``STEP_LEAD_H`` hours."""
EVERY_MOMENTS = 3
"""Moments three hours apart are enough to calibrate with; those between say nearly the same."""
LEAST_MOMENTS = 16
"""Two days of such moments; with fewer the default stands."""
LEAST_G_PER_KWH = 1.0
WIDEN = 1.25
"""How much wider the default is than the errors that it was found from: they are another grid's."""
P90_PER_MEAN_ABSOLUTE = 1.2816 * math.sqrt(math.pi / 2)
CONFIDENCE = 0.8
LEAST_DIFFERENCES = 36
TINY = 1e-6
RUNS_H = (1.0, 2.0, 4.0, 8.0)
GAPS_H = (1.0, 2.0, 4.0, 8.0, 12.0, 18.0, 24.0)
MEMORIES_H = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 18.0, 24.0)


@dataclass(frozen=True, slots=True)
class Band:
    """One lead group: shares of the forecast to add for the p10 and the p90, and what is known of them.

    ``coverage`` is the share of past figures that the bands of their time held, NaN before there was one;
    ``bias_g`` and ``error_g`` are the mean and the mean absolute miss in g/kWh.
    """

    until_h: float
    low: float
    high: float
    pairs: int = 0
    coverage: float = math.nan
    bias_g: float = math.nan
    error_g: float = math.nan


@dataclass(frozen=True, slots=True)
class Bands:
    """All lead groups, ascending. ``basis`` is ``calibrated``, ``mixed`` or ``default``."""

    groups: tuple[Band, ...]
    basis: str

    def around(self, told: FloatArray, hours_ahead: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The p10 and the p90 of each figure, by the hours from the decision to the end of its slot."""
        edges = np.array([group.until_h for group in self.groups[:-1]])
        at = np.searchsorted(edges, hours_ahead - 1e-9)
        low, high = (np.array([getattr(g, side) for g in self.groups])[at] for side in ("low", "high"))
        return np.maximum(told * (1 + low), 0.0), np.maximum(told * (1 + high), 0.0)

    def errors(self, told: FloatArray, hours_ahead: FloatArray) -> FloatArray:
        """The mean absolute error to expect of each figure, in g/kWh."""
        edges = np.array([group.until_h for group in self.groups[:-1]])
        shares = np.array([(g.high - g.low) / 2 / P90_PER_MEAN_ABSOLUTE for g in self.groups])
        found: FloatArray = shares[np.searchsorted(edges, hours_ahead - 1e-9)] * float(np.mean(told))
        return found


def default_bands(doubt: float = 1.0) -> Bands:
    """Bands for a source without pairs: the documented errors of another grid, widened, times ``doubt``."""
    shares = ((h, doubt * WIDEN * P90_PER_MEAN_ABSOLUTE * e / REFERENCE_G_PER_KWH) for h, e in LEAD_ERROR_G_PER_KWH)
    return Bands(tuple(Band(float(h), -share, share) for h, share in shares), "default")


def calibrated(found: Pairs, told: FloatArray) -> Bands:
    """Bands by lead group from past pairs; a group with too few keeps the default."""
    hours = found.hours_ahead()
    groups, low_h = [], 0.0
    for default in default_bands().groups:
        inside = np.flatnonzero((hours > low_h + 1e-9) & (hours <= default.until_h + 1e-9))
        groups.append(_group(found, told, inside, default))
        low_h = default.until_h
    enough = [group for group in groups if group.pairs]
    basis = "calibrated" if len(enough) == len(groups) else "mixed" if enough else "default"
    return Bands(tuple(groups), basis)


def _group(found: Pairs, told: FloatArray, inside: IntArray, default: Band) -> Band:
    rows = np.arange(len(found.at))[::-1][::EVERY_MOMENTS][::-1]
    if not inside.size or not rows.size:
        return default
    ours, came = told[np.ix_(rows, inside)], found.came[np.ix_(rows, inside)]
    miss = (came - ours) / np.maximum(ours, LEAST_G_PER_KWH)
    known = ~np.isnan(miss)
    if np.count_nonzero(known.any(axis=1)) < LEAST_MOMENTS:
        return default
    slots = np.array(found.at)[rows][:, None] + inside[None, :]
    step = STEP * min(1.0, STEP_LEAD_H / default.until_h)
    low, high, held, judged = _followed(miss, slots, (*(found.at[row] for row in rows), found.until), step)
    grams = (ours - came)[known]
    return Band(
        default.until_h,
        low,
        high,
        int(np.count_nonzero(known)),
        held / judged if judged else math.nan,
        float(grams.mean()),
        float(np.abs(grams).mean()),
    )


def _followed(
    miss: FloatArray, slots: IntArray, moments: tuple[int, ...], step: float
) -> tuple[float, float, int, int]:
    """Play the moments through: the band of each from what was known then, the levels following what came.

    Returns the edges as of now, and of how many past figures how many lay inside.
    """
    level_low = level_high = TAIL
    edges: list[tuple[float, float]] = []
    held = judged = 0
    settled = np.zeros(miss.shape, dtype=np.bool_)
    for moment in moments:
        open_now = (slots < moment) & ~settled & ~np.isnan(miss)
        for row in np.flatnonzero(open_now[: len(edges)].any(axis=1)):
            came, (low, high) = miss[row][open_now[row]], edges[row]
            if math.isnan(low):
                continue
            below, above = float((came < low).mean()), float((came > high).mean())
            level_low, level_high = _follow(level_low, below, step), _follow(level_high, above, step)
            judged += len(came)
            held += int(np.count_nonzero((came >= low) & (came <= high)))
        settled |= open_now
        edges.append(_edges(miss[settled], level_low, level_high))
    return (*edges[-1], held, judged)


def _follow(level: float, missed: float, step: float) -> float:
    return min(0.5, max(0.0, level + step * (TAIL - missed)))


def _edges(known: FloatArray, level_low: float, level_high: float) -> tuple[float, float]:
    if len(known) < LEAST_MOMENTS:
        return math.nan, math.nan
    low, high = np.quantile(known, (level_low, 1 - level_high))
    return float(low), float(high)


DEFAULT_DIFFERENCE_SHARE, DEFAULT_MEMORY_H = 0.22, 8.0
"""Of the mean intensity: found on Great Britain in March 2023 with corrected forecasts (28 of 128 g/kWh)."""


def default_difference(mean_g_per_kwh: float) -> Difference:
    """For a source without pairs: what was found elsewhere, widened, at this grid's level."""
    return Difference(WIDEN * DEFAULT_DIFFERENCE_SHARE * mean_g_per_kwh, DEFAULT_MEMORY_H * S_PER_H)


def difference(found: Pairs, told: FloatArray) -> Difference | None:
    """How far promised and real differences lay apart so far; None while there are too few.

    The form is fitted to the errors of all differences between a run now and one later. The scale is then set such that
    where a later run was promised to be better, the promise was too high by more than the error at 80 %
    confidence in one case in five: what looks best is often what is most wrong.
    """
    cases = _cases(found, told)
    if min((len(promised) for *_, promised, _ in cases), default=0) < LEAST_DIFFERENCES:
        return None
    memory_h, scale = min((_fit(cases, memory_h) for memory_h in MEMORIES_H), key=lambda fit: fit[2])[:2]
    unit = Difference(scale, memory_h)
    over = [(p - c) / _std(unit, run, gap) for run, gap, p, c in cases]
    promised = np.concatenate([o[p > 0] for o, (*_, p, _) in zip(over, cases, strict=True)])
    if len(promised) < LEAST_DIFFERENCES:
        return None
    too_high = float(np.quantile(promised, CONFIDENCE)) / NormalDist().inv_cdf(CONFIDENCE)
    return Difference(scale * min(2.0, max(0.5, too_high)), memory_h * S_PER_H)


def _cases(found: Pairs, told: FloatArray) -> list[tuple[float, float, FloatArray, FloatArray]]:
    """(run h, gap h, promised, came) with the differences of window means at every moment that knows both."""
    cases, per_h = [], S_PER_H / found.step_s
    for run_h in RUNS_H:
        run = max(1, round(run_h * per_h))
        ours, real = windows(told, run), windows(found.came, run)
        for gap_h in GAPS_H:
            gap = round(gap_h * per_h)
            if 0 < gap < ours.shape[1]:
                promised, came = ours[:, 0] - ours[:, gap], real[:, 0] - real[:, gap]
                known = ~np.isnan(promised) & ~np.isnan(came)
                cases.append((run_h, gap_h, promised[known], came[known]))
    return cases


def _std(how: Difference, run_h: float, gap_h: float) -> float:
    """Of the difference of two means over ``run_h`` that begin ``gap_h`` apart; the memory in hours here."""
    return how.std_over(((0.0, run_h),), ((gap_h, gap_h + run_h),)) / run_h


def _fit(cases: list[tuple[float, float, FloatArray, FloatArray]], memory_h: float) -> tuple[float, float, float]:
    """(memory, the scale that fits best, how badly it fits) by relative misses of the standard deviations."""
    unit = Difference(1.0, memory_h)
    logs = np.array(
        [0.5 * math.log(float(np.mean((p - c) ** 2)) + TINY) - math.log(_std(unit, r, g)) for r, g, p, c in cases]
    )
    return memory_h, math.exp(float(logs.mean())), float(logs.std())
