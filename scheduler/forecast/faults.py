"""What is wrong with a provider's issue, told from the issues before it and from what came. Pure.

A fault moves the decision down the ladder: to the newest sound issue, else to the own forecast. The checks ask for much
before they speak, because a sound forecast that is set aside costs what a faulty one does.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from lowtide.scheduler.forecast.record import FloatArray, Issue, Record
from lowtide.scheduler.model.units import S_PER_H

FROZEN_OVERLAP_S = 12 * S_PER_H
"""Issues that agree to the last digit over half a day are one issue."""
SHRUNK_SHARE = 0.9
"""A horizon below this share of the usual one: a maker that goes on issues as far ahead as ever."""
USUAL_ISSUES = 3
"""Fewer earlier issues tell nothing of what is usual."""
GLITCH_S = 2 * S_PER_H
GLITCH_LOG = math.log(2.0)
"""A fresh issue that misses its first figures by more than a factor of two ..."""
GLITCH_PAIRS_FACTOR = 1.5
"""... and by half as much again as all but one in twenty of the issues before ..."""
GLITCH_AGAINST_LAST = 2.0
"""... and twice as much as the issue before it does, knows something wrong."""
LEAST_G_PER_KWH = 1.0
"""Ratios of smaller figures say nothing; a grid can come to zero."""
PLAUSIBLE_FACTOR = 2.0
PLAUSIBLE_S = 72 * S_PER_H
BIAS_S = 48 * S_PER_H
BIAS_SHARE = 0.3
BIAS_SAME_SIGN = 0.95
BIAS_KNOWN = 0.75
"""Of the time looked at, as much must be paired."""


class FaultCode(StrEnum):
    """What can be wrong with an issue; a closed list, used as a label of metrics."""

    FROZEN = "frozen"
    SHRINKING = "shrinking"
    GLITCH = "glitch"
    IMPLAUSIBLE = "implausible"
    BIASED = "biased"


@dataclass(frozen=True, slots=True)
class Fault:
    """One finding, with a sentence for people."""

    code: FaultCode
    sentence: str


def faults(known: Record, issue: Issue, at: int) -> tuple[Fault, ...]:
    """What is wrong with an issue, by what is known at the start of slot ``at``; empty when it looks sound."""
    before = tuple(other for other in known.known_at(issue.known) if other is not issue)
    found = (
        _frozen(known, issue, before),
        _shrinking(known, issue, before),
        _glitch(known, issue, before, at),
        _implausible(known, issue),
        _biased(known, at),
    )
    return tuple(fault for fault in found if fault is not None)


def _frozen(known: Record, issue: Issue, before: tuple[Issue, ...]) -> Fault | None:
    first = issue
    for other in reversed(before):
        if not _repeats(known, first, other):
            break
        first = other
    if first is issue:
        return None
    since = known.moment(first.known)
    return Fault(FaultCode.FROZEN, f"the issue repeats that of {since:%Y-%m-%d %H:%M} UTC unchanged.")


def _repeats(known: Record, issue: Issue, other: Issue) -> bool:
    ours, theirs = issue.g_per_kwh, other.over(issue.first, issue.first + len(issue.g_per_kwh))
    both = ~np.isnan(ours) & ~np.isnan(theirs)
    long_enough = np.count_nonzero(both) * known.step_s >= FROZEN_OVERLAP_S
    varies = bool(np.ptp(ours[both]) > 0) if both.any() else False
    same = np.allclose(ours[both], theirs[both], rtol=1e-9, atol=1e-6)  # sampling rounds
    return bool(long_enough and varies and same)


def _shrinking(known: Record, issue: Issue, before: tuple[Issue, ...]) -> Fault | None:
    if len(before) < USUAL_ISSUES:
        return None
    usual, ours = float(np.median([_ahead(other) for other in before])), _ahead(issue)
    if ours >= SHRUNK_SHARE * usual:
        return None
    hours = known.step_s / S_PER_H
    sentence = f"the issue reaches {ours * hours:.0f} h ahead, the ones before it {usual * hours:.0f} h."
    return Fault(FaultCode.SHRINKING, sentence)


def _ahead(issue: Issue) -> int:
    return issue.first + len(issue.g_per_kwh) - issue.known


def _glitch(known: Record, issue: Issue, before: tuple[Issue, ...], at: int) -> Fault | None:
    """Whether the first figures miss what came by more than past pairs allow, and the issue before did not."""
    miss = _first_miss(known, issue, issue, at)
    if math.isnan(miss) or not before:
        return None
    past = [m for other in before if not math.isnan(m := abs(_first_miss(known, other, other, at)))]
    usual = float(np.quantile(past, 0.95)) if len(past) >= USUAL_ISSUES else 0.0
    last = abs(_first_miss(known, before[-1], issue, at))
    if abs(miss) <= max(GLITCH_LOG, GLITCH_PAIRS_FACTOR * usual) or not abs(miss) > GLITCH_AGAINST_LAST * last:
        return None
    sentence = f"its first figures are {math.exp(miss):.2g} times what came; the issue before it was closer."
    return Fault(FaultCode.GLITCH, sentence)


def _first_miss(known: Record, teller: Issue, issue: Issue, at: int) -> float:
    """log(told / came) over the first slots of ``issue`` that are known, as ``teller`` told them; NaN for none."""
    end = min(issue.first + max(1, int(GLITCH_S // known.step_s)), at, len(known.actual))
    if end <= issue.first or issue.first < 0:
        return math.nan
    told, came = teller.over(issue.first, end), known.actual[issue.first : end]
    both = ~np.isnan(told) & ~np.isnan(came)
    if not both.any():
        return math.nan
    return math.log(max(float(told[both].mean()), LEAST_G_PER_KWH) / max(float(came[both].mean()), LEAST_G_PER_KWH))


def _implausible(known: Record, issue: Issue) -> Fault | None:
    """Whether a figure lies outside half the lowest to twice the highest of the days before the issue."""
    past = known.actual[: max(0, issue.known)]
    past = past[~np.isnan(past)]
    told = issue.g_per_kwh[~np.isnan(issue.g_per_kwh)]
    if len(past) * known.step_s < PLAUSIBLE_S or not told.size:
        return None
    low, high = float(past.min()) / PLAUSIBLE_FACTOR, max(LEAST_G_PER_KWH, float(past.max())) * PLAUSIBLE_FACTOR
    wrong = told[(told < low) | (told > high)]
    if not wrong.size:
        return None
    sentence = (
        f"it tells {wrong[0]:.0f} g/kWh where the days before were between {past.min():.0f} and {past.max():.0f}."
    )
    return Fault(FaultCode.IMPLAUSIBLE, sentence)


def _biased(known: Record, at: int) -> Fault | None:
    """Whether the forecasts of two days all missed to one side by much; a level that is wrong is no shape to trust."""
    slots = int(BIAS_S // known.step_s)
    low = at - slots
    if low < 0:
        return None
    told = in_force(known, low, at)
    came = known.actual[low:at]
    both = ~np.isnan(told[: len(came)]) & ~np.isnan(came)
    if np.count_nonzero(both) < BIAS_KNOWN * slots:
        return None
    miss, level = (told[: len(came)] - came)[both], float(came[both].mean())
    one_sided = max(float((miss > 0).mean()), float((miss < 0).mean())) >= BIAS_SAME_SIGN
    if not one_sided or abs(float(miss.mean())) < BIAS_SHARE * max(level, LEAST_G_PER_KWH):
        return None
    return Fault(
        FaultCode.BIASED, f"over two days the forecast lay {miss.mean():+.0f} g/kWh beside a mean of {level:.0f}."
    )


def in_force(known: Record, low: int, high: int) -> FloatArray:
    """For slots [low, high), what the newest issue known when each began had told for it."""
    told = np.full(high - low, np.nan)
    for issue in known.issues:
        if issue.known < high:
            begin = max(issue.known, low)
            told[begin - low :] = issue.over(begin, high)
    return told


def sound(known: Record, at: int) -> tuple[Issue | None, tuple[Fault, ...]]:
    """The issue to steer by at the start of slot ``at``: the newest without a fault; and the faults of the newest.

    A forecast that is biased as such has no sound issue.
    """
    issues = known.known_at(at)
    if not issues:
        return None, ()
    told = faults(known, issues[-1], at)
    if not told:
        return issues[-1], ()
    if any(fault.code is FaultCode.BIASED for fault in told):
        return None, told
    sounds = (issue for issue in reversed(issues[:-1]) if not faults(known, issue, at))
    return next(sounds, None), told
