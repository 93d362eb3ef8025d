"""A forecast corrected with the actuals that are known so far. Pure.

    corrected(j) = (1 - w) F(j) + w C(j) + p^h e

F is the provider's figure for slot j; C what is usual at that time of day: the mean of the same slot of the last days,
each day counting ``RECENCY`` of the one after it; e the provider's error at the newest slot that is known, and h the
hours from that slot to j, so that what is wrong now fades by the factor p an hour. Where a source makes no forecast
w is one, and e the error of C. Where no actual figure is known, the provider's figures stay as they are.
"""

from dataclasses import dataclass

import numpy as np

from lowtide.scheduler.forecast.record import FloatArray, Issue, Record
from lowtide.scheduler.model.series import MAX_G_PER_KWH
from lowtide.scheduler.model.units import S_PER_H

RECENCY = 0.6
USUAL_DAYS = 9
FULL_DAYS_WEIGHT = sum(RECENCY**day for day in range(USUAL_DAYS))
NEWEST_MAX_AGE_S = 6 * S_PER_H
"""An error older than this tells nothing of now: at the default fading a third of it would be left."""


@dataclass(frozen=True, slots=True)
class Correction:
    """How a forecast is corrected.

    Attributes:
        fading_per_h: p, the share of the newest error that is left after an hour, in [0, 1).
        usual_weight: w, the weight of what is usual at that time of day, in [0, 1].
        basis: ``default``, ``fitted``, or ``none`` where correcting did not pay.

    """

    fading_per_h: float
    usual_weight: float
    basis: str


DEFAULT_CORRECTION = Correction(0.86, 0.25, "default")
"""Until an installation has pairs of its own. The optimum is flat: on Great Britain in March 2023 any fading from
0.7 to 0.9 with a weight from 0.2 to 0.4 captured within three percentage points of the same saving."""
RAW = Correction(0.0, 0.0, "none")


@dataclass(frozen=True, slots=True)
class Outlook:
    """What can be told at one moment, by slot ahead.

    Attributes:
        given: the provider's figures; NaN where there are none.
        usual: the mean of the same time of the last days; NaN where none is known.
        usual_share: how much of the days that could speak did, in [0, 1].
        error: the provider's error at the newest known slot, 0 where there is none.
        usual_error: the same of what is usual.
        behind_h: hours from the newest known slot to the first slot ahead.

    """

    given: FloatArray
    usual: FloatArray
    usual_share: FloatArray
    error: float
    usual_error: float
    behind_h: float


def outlook(known: Record, at: int, issue: Issue | None, count: int, delay: int = 0) -> Outlook:
    """What is known at the start of slot ``at`` for it and the ``count - 1`` slots after it.

    ``delay`` is how many slots the actuals come late: of the past more is known now than was then.
    """
    given = np.full(count, np.nan) if issue is None else issue.over(at, at + count)
    usual, share = usual_at(known, at - delay, at, at + count)
    newest = known.newest_known(at - delay)
    behind_h = (at - newest) * known.step_s / S_PER_H
    if newest < 0 or behind_h * S_PER_H > NEWEST_MAX_AGE_S + known.step_s:
        return Outlook(given, usual, share, 0.0, 0.0, 0.0)
    came = float(known.actual[newest])
    # an issue that begins after the newest known slot has shown no error yet, and those of others are not its own
    told = np.nan if issue is None else float(issue.over(newest, newest + 1)[0])
    before, _ = usual_at(known, newest, newest, newest + 1)
    return Outlook(given, usual, share, _or_zero(came - told), _or_zero(came - float(before[0])), behind_h)


def _or_zero(value: float) -> float:
    return 0.0 if np.isnan(value) else value


def usual_at(known: Record, before: int, low: int, high: int) -> tuple[FloatArray, FloatArray]:
    """The recency-weighted mean of the same time of the last days for slots [low, high), and how many days spoke.

    Only actuals of slots before ``before`` count.
    """
    total, weight = np.zeros(high - low), np.zeros(high - low)
    per_day = known.slots_per_day if len(known.actual) else 0
    slots = np.arange(low, high)
    for day in range(1, USUAL_DAYS + 1 + (high - before) // per_day) if per_day else ():
        then = slots - day * per_day
        inside = (then >= 0) & (then < min(before, len(known.actual)))
        value = np.where(inside, known.actual[np.clip(then, 0, len(known.actual) - 1)], np.nan)
        spoke = ~np.isnan(value)
        # the first day that can speak counts fully, however far ahead the slot lies
        share = np.where(spoke, RECENCY ** (day - 1), 0.0)
        total += np.where(spoke, value, 0.0) * share
        weight += share
    with np.errstate(invalid="ignore", divide="ignore"):
        usual = np.where(weight > 0, total / weight, np.nan)
    return usual, np.minimum(1.0, weight / FULL_DAYS_WEIGHT)


def corrected(seen: Outlook, how: Correction, step_s: float) -> FloatArray:
    """The forecast by slot ahead; NaN where neither the provider nor the last days tell anything."""
    hours = seen.behind_h + np.arange(len(seen.given)) * step_s / S_PER_H
    # the newest known slot's successor still has all of the error
    fading = how.fading_per_h ** np.maximum(hours - step_s / S_PER_H, 0.0) if how.fading_per_h > 0 else 0.0 * hours
    weight = how.usual_weight * seen.usual_share
    blend = (1 - weight) * seen.given + np.where(weight > 0, weight * np.nan_to_num(seen.usual), 0.0)
    told: FloatArray = np.clip(blend + seen.error * fading, 0.0, MAX_G_PER_KWH)
    return told


def from_history(seen: Outlook, how: Correction, step_s: float) -> FloatArray:
    """The forecast of the last days alone, its newest error fading."""
    hours = seen.behind_h + np.arange(len(seen.usual)) * step_s / S_PER_H
    fading = how.fading_per_h ** np.maximum(hours - step_s / S_PER_H, 0.0)
    told: FloatArray = np.clip(seen.usual + seen.usual_error * fading, 0.0, MAX_G_PER_KWH)
    return told
