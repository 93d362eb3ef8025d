"""Chooses how to correct a forecast by the saving that it would have captured so far. Pure.

Each candidate plans a short and a longer run within a day's patience at every past moment whose outcome is known; its
regret is what those starts lie above the best ones. The chosen figures are the candidates' mean, the less regret the
more weight, drawn to the default while few days speak. Errors are not the measure: a forecast that is wrong by a
level costs nothing, and one that misses a dip costs all of it.
"""

import math

import numpy as np

from lowtide.scheduler.forecast.correct import DEFAULT_CORRECTION, RAW, Correction
from lowtide.scheduler.forecast.pairs import Pairs
from lowtide.scheduler.forecast.record import DAY_S, FloatArray
from lowtide.scheduler.model.units import S_PER_H

FADING_PER_H = (0.65, 0.75, 0.83, 0.88, 0.93)
USUAL_WEIGHT = (0.0, 0.1, 0.2, 0.3, 0.4)
RUNS_S = (2 * S_PER_H, 4 * S_PER_H)
PATIENCE_S = DAY_S
SHARPNESS = 2.0
"""How much a candidate's weight falls with its regret over that of the best; once for each root of the days seen."""
PRIOR_DAYS = 7.0
"""The default counts as much as what was found in a week."""
LEAST_DAYS = 2.0


def fitted(found: Pairs) -> Correction:
    """The correction to use from now on; the default while less than two days of outcomes are known."""
    grid = [Correction(fading, weight, "fitted") for fading in FADING_PER_H for weight in USUAL_WEIGHT]
    regrets = {how: regret(found, found.told(how)) for how in (*grid, DEFAULT_CORRECTION, RAW)}
    spoke = ~np.isnan(np.stack(list(regrets.values()))).any(axis=0)
    days = float(np.count_nonzero(spoke)) * _every_s(found) / DAY_S
    if days < LEAST_DAYS:
        return DEFAULT_CORRECTION
    total = np.array([float(regrets[how][spoke].sum()) for how in grid])
    least = float(total.min())
    if least <= 0:
        return DEFAULT_CORRECTION
    weight = np.exp(-SHARPNESS * math.sqrt(days) * (total / least - 1))
    share = days / (days + PRIOR_DAYS)
    found_fading = float(np.average([how.fading_per_h for how in grid], weights=weight))
    found_weight = float(np.average([how.usual_weight for how in grid], weights=weight))
    chosen = Correction(
        share * found_fading + (1 - share) * DEFAULT_CORRECTION.fading_per_h,
        share * found_weight + (1 - share) * DEFAULT_CORRECTION.usual_weight,
        "fitted",
    )
    ours = float(regret(found, found.told(chosen))[spoke].sum())
    return RAW if float(regrets[RAW][spoke].sum()) < ours and days >= PRIOR_DAYS else chosen


def _every_s(found: Pairs) -> float:
    return (found.at[1] - found.at[0]) * found.step_s if len(found.at) > 1 else 0.0


def regret(found: Pairs, told: FloatArray) -> FloatArray:
    """[moment], g/kWh above the best start, summed over the runs; NaN where the outcome is not known whole."""
    total = np.zeros(len(told))
    for run_s in RUNS_S:
        run = max(1, round(run_s / found.step_s))
        span = run + round(PATIENCE_S / found.step_s)
        promised, came = windows(told[:, :span], run), windows(found.came[:, :span], run)
        unknown = np.isnan(came).any(axis=1) | np.isnan(promised).all(axis=1)
        best = np.where(np.isnan(promised), np.inf, promised).argmin(axis=1) if promised.shape[1] else 0
        got = np.take_along_axis(came, np.atleast_1d(best)[:, None], axis=1)[:, 0]
        total += np.where(unknown, np.nan, got - np.where(np.isnan(came), np.inf, came).min(axis=1))
    return total


def windows(values: FloatArray, run: int) -> FloatArray:
    """[moment, start], means over ``run`` slots from each start; NaN where a slot of them is."""
    gaps = np.cumsum(np.isnan(values), axis=1)
    sums = np.cumsum(np.nan_to_num(values), axis=1)
    pad = np.zeros((len(values), 1))
    sums, gaps = np.hstack((pad, sums)), np.hstack((pad, gaps))
    whole = (gaps[:, run:] - gaps[:, :-run]) == 0
    means: FloatArray = np.where(whole, (sums[:, run:] - sums[:, :-run]) / run, np.nan)
    return means


def captured(found: Pairs, told: FloatArray) -> float:
    """The share of what perfect foresight would have saved against running at once, had the plans been followed."""
    saved = possible = 0.0
    for run_s in RUNS_S:
        run = max(1, round(run_s / found.step_s))
        span = run + round(PATIENCE_S / found.step_s)
        promised, came = windows(told[:, :span], run), windows(found.came[:, :span], run)
        known = ~np.isnan(came).any(axis=1) & ~np.isnan(promised).all(axis=1) if came.shape[1] else np.zeros(0, bool)
        if known.any():
            best = np.where(np.isnan(promised[known]), np.inf, promised[known]).argmin(axis=1)
            real = came[known]
            saved += float((real[:, 0] - real[np.arange(len(real)), best]).sum())
            possible += float((real[:, 0] - real.min(axis=1)).sum())
    return saved / possible if possible > 0 else math.nan
