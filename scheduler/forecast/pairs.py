"""Past forecasts beside what came: each moment of the last two weeks told anew with what was known then. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lowtide.scheduler.forecast.correct import Correction, Outlook, corrected, from_history, outlook
from lowtide.scheduler.forecast.faults import sound
from lowtide.scheduler.forecast.record import FloatArray, Record
from lowtide.scheduler.model.units import S_PER_H

EVERY_S = S_PER_H
"""Moments an hour apart: closer ones repeat each other."""
AHEAD_S = 48 * S_PER_H


@dataclass(frozen=True, slots=True)
class Pairs:
    """Moments with what could be told then, and what came: ``came`` is [moment, slot ahead], NaN where unknown.

    ``at`` holds the slot of each moment, ``until`` is the slot that the record reaches to.
    """

    step_s: float
    at: tuple[int, ...]
    outlooks: tuple[Outlook, ...]
    came: FloatArray
    until: int

    def told(self, how: Correction, *, own: bool = False) -> FloatArray:
        """[moment, slot ahead], the corrected forecast, or the one of the last days alone."""
        tell = from_history if own else corrected
        if not self.outlooks:
            return np.empty(self.came.shape)
        return np.stack([tell(seen, how, self.step_s) for seen in self.outlooks])

    def hours_ahead(self) -> FloatArray:
        """[slot ahead], hours from the moment to the end of the slot."""
        return np.arange(1, self.came.shape[1] + 1, dtype=np.float64) * (self.step_s / S_PER_H)


def pairs(known: Record, until: int, *, own: bool = False) -> Pairs:
    """All moments before slot ``until`` at which something could be told; ``own``: by the last days alone."""
    count = max(1, round(AHEAD_S / known.step_s))
    delay = max(0, until - 1 - known.newest_known(until))
    first = known.slots_per_day if own else min((i.known for i in known.issues), default=until)
    at, found = [], []
    for slot in moments(known, first, until):
        issue = None if own else sound(known, slot)[0]
        if own or issue is not None:
            at.append(slot)
            found.append(outlook(known, slot, issue, count, delay))
    return Pairs(known.step_s, tuple(at), tuple(found), came_after(known, at, count, until), until)


def moments(known: Record, first: int, until: int) -> range:
    """Slots from about ``first`` on to judge at, ending an hour or less before ``until``."""
    every, first = max(1, round(EVERY_S / known.step_s)), max(1, first)
    return range(first + (until - first) % every, until, every)


def came_after(known: Record, at: Sequence[int], count: int, until: int) -> FloatArray:
    """[moment, slot ahead], the actuals from each moment on that are known before slot ``until``; else NaN."""
    came = np.full((len(at), count), np.nan)
    for row, slot in enumerate(at):
        values = known.actual[slot : min(slot + count, until)]
        came[row, : len(values)] = values
    return came
