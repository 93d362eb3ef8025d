"""Our own forecast by gradient boosting, where scikit-learn is installed. Pure, but slow: for the background.

It learns from lags and the calendar what the usual figures of that time of day miss. It is used only where it would
have captured more of the possible saving than those alone, on days that it had not learned from; with two weeks of
history that is rare.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from lowtide.scheduler.forecast.correct import DEFAULT_CORRECTION, from_history, outlook
from lowtide.scheduler.forecast.fit import captured
from lowtide.scheduler.forecast.pairs import Pairs
from lowtide.scheduler.forecast.record import FloatArray, IntArray, Record
from lowtide.scheduler.model.series import MAX_G_PER_KWH

LEARNED_SHARE = 0.7
"""Moments to learn from; what comes after them judges."""
LEAST_MOMENTS = 7 * 24
LEAST_GAIN = 0.02
"""How much more it must have captured: less is luck."""


@dataclass(frozen=True, slots=True)
class Boosted:
    """Figures by slot of ``step_s`` seconds from ``start`` on, and what the judged moments were told."""

    start: datetime
    step_s: float
    g_per_kwh: FloatArray
    judged: Pairs
    told: FloatArray

    def from_moment(self, moment: datetime) -> FloatArray:
        """The figures from the slot that holds a moment on; none once they have all passed."""
        return self.g_per_kwh[max(0, int((moment - self.start).total_seconds() // self.step_s)) :]


def boosted(known: Record, found: Pairs, usual: FloatArray) -> Boosted | None:
    """The figures from now on, if they are to be trusted more than the usual ones.

    Args:
        known: the actuals.
        found: past moments of the own forecast.
        usual: [moment, slot ahead], what the usual figures told then.

    """
    fit = _learner()
    if fit is None or len(found.at) < LEAST_MOMENTS or not known.slots_per_day:
        return None
    traits = np.stack([_traits(known, found, row, usual[row]) for row in range(len(found.at))])
    cut = int(LEARNED_SHARE * len(found.at))
    lessons = _lessons(found, traits, usual, found.at[cut])
    if not len(lessons[0]):  # figures that ended days ago: nothing usual was known when anything came
        return None
    before = fit(*lessons)
    judged = replace(found, at=found.at[cut:], outlooks=found.outlooks[cut:], came=found.came[cut:])
    told = _told(before, traits[cut:], usual[cut:])
    if not captured(judged, told) > captured(judged, usual[cut:]) + LEAST_GAIN:
        return None
    seen = outlook(known, found.until, None, found.came.shape[1])
    now = from_history(seen, DEFAULT_CORRECTION, known.step_s)
    here = replace(found, at=(found.until,), outlooks=(seen,))
    after = fit(*_lessons(found, traits, usual, found.until))
    figures = _told(after, _traits(known, here, 0, now)[None], now[None])[0]
    return Boosted(known.moment(found.until), known.step_s, figures, judged, told)


Predict = Callable[[FloatArray], FloatArray]


def _learner() -> Callable[[FloatArray, FloatArray], Predict] | None:
    """Lessons and answers to a function that predicts; None without scikit-learn."""
    try:
        from sklearn.ensemble import HistGradientBoostingRegressor  # noqa: PLC0415 - slow, and optional
    except ImportError:
        return None

    def fit(lessons: FloatArray, answers: FloatArray) -> Predict:
        model = HistGradientBoostingRegressor(
            max_iter=60, learning_rate=0.1, max_leaf_nodes=12, min_samples_leaf=100, random_state=0
        )
        predict: Predict = model.fit(lessons, answers).predict
        return predict

    return fit


def _traits(known: Record, found: Pairs, row: int, usual: FloatArray) -> FloatArray:
    """[slot ahead, trait]: the usual figure, its newest error, the same time of the last two days, lead, calendar."""
    at, seen, per_day = found.at[row], found.outlooks[row], known.slots_per_day
    ahead = np.arange(len(usual))
    day = known.start.weekday() + (at + ahead) // per_day
    lags = [_before(known, at, at + ahead, days * per_day) for days in (1, 2, 7)]
    newest = np.full(len(usual), seen.usual_error)
    return np.stack([usual, newest, *lags, ahead, (at + ahead) % per_day, day % 7], axis=1).astype(np.float64)


def _before(known: Record, at: int, slots: IntArray, back: int) -> FloatArray:
    """The actuals ``back`` slots before; NaN where that lies outside what is known at ``at``."""
    then = slots - back
    inside = (then >= 0) & (then < min(at, len(known.actual)))
    return np.where(inside, known.actual[np.clip(then, 0, len(known.actual) - 1)], np.nan)


def _lessons(found: Pairs, traits: FloatArray, usual: FloatArray, until: int) -> tuple[FloatArray, FloatArray]:
    """What was known at slot ``until``: traits, and by how much the usual figure missed."""
    slots = np.array(found.at)[:, None] + np.arange(usual.shape[1])
    miss = found.came - usual
    known = (slots < until) & ~np.isnan(miss)
    return traits[known], miss[known]


def _told(predict: Predict, traits: FloatArray, usual: FloatArray) -> FloatArray:
    flat = predict(traits.reshape(-1, traits.shape[-1])).reshape(usual.shape)
    told: FloatArray = np.clip(usual + flat, 0.0, MAX_G_PER_KWH)
    return told
