"""What a zone's past teaches about its forecasts. Pure, but too slow for a decision: it is called in the background."""

import math
from dataclasses import dataclass

import numpy as np

from lowtide.scheduler.forecast.bands import Bands, calibrated, default_bands, difference
from lowtide.scheduler.forecast.boost import Boosted, boosted
from lowtide.scheduler.forecast.climatology import LEAST_MOMENTS, told_before
from lowtide.scheduler.forecast.correct import DEFAULT_CORRECTION, RAW, Correction
from lowtide.scheduler.forecast.fit import captured, fitted
from lowtide.scheduler.forecast.pairs import Pairs, pairs
from lowtide.scheduler.forecast.record import FloatArray, Record
from lowtide.scheduler.model.difference import Difference

DEFAULT_BANDS = default_bands()
OWN_DOUBT = 2.0
"""Means of the same time missed by about twice what a provider did on the days of the default table."""


@dataclass(frozen=True, slots=True)
class Skill:
    """How well one way of telling the future did so far, and how it is best done.

    Attributes:
        correction: how its figures are corrected.
        bands: by lead, with coverage and bias.
        difference: the error of differences; None until there are pairs enough.
        captured: share of the saving of perfect foresight that its plans would have had, NaN where unknown.
        captured_raw: the same for figures as they were given.
        moments: past moments that this rests on.
        doubt: how much more than a provider's forecast it is to be doubted while nothing has been measured.

    """

    correction: Correction = DEFAULT_CORRECTION
    bands: Bands = DEFAULT_BANDS
    difference: Difference | None = None
    captured: float = math.nan
    captured_raw: float = math.nan
    moments: int = 0
    doubt: float = 1.0


PROVIDED = Skill()
OWN = Skill(bands=default_bands(OWN_DOUBT), doubt=OWN_DOUBT)
CLIMATOLOGY = Skill(RAW, bands=default_bands(OWN_DOUBT), doubt=OWN_DOUBT)


@dataclass(frozen=True, slots=True)
class Learned:
    """The skill of each way of telling the future, and what boosting tells where that is better than the usual figures.

    The skill of climatology is known for every zone, so that it can be looked at before anybody opts in.
    """

    provided: Skill = PROVIDED
    own: Skill = OWN
    boosted: Boosted | None = None
    climatology: Skill = CLIMATOLOGY


UNLEARNED = Learned()


def learn(known: Record, until: int) -> Learned:
    """All that the pairs before slot ``until`` tell."""
    own, better = _own(known, until)
    return Learned(_provided(known, until), own, better, _climatology(known, until))


def _provided(known: Record, until: int) -> Skill:
    given = pairs(known, until) if known.issues else None
    if given is None or not given.at:
        return PROVIDED
    how = fitted(given)
    return _skill(given, given.told(how), how, given.told(RAW))


def _own(known: Record, until: int) -> tuple[Skill, Boosted | None]:
    alone = pairs(known, until, own=True)
    if not alone.at:
        return OWN, None
    told = alone.told(DEFAULT_CORRECTION, own=True)
    better = None if known.issues else boosted(known, alone, told)
    if better is None:
        return _skill(alone, told, DEFAULT_CORRECTION, told), None
    usual = told[-len(better.judged.at) :]
    return _skill(better.judged, better.told, DEFAULT_CORRECTION, usual), better


def _climatology(known: Record, until: int) -> Skill:
    found, told = told_before(known, until)
    skill = _skill(found, told, RAW, told)
    return skill if skill.moments >= LEAST_MOMENTS else CLIMATOLOGY


def _skill(found: Pairs, told: FloatArray, how: Correction, raw: FloatArray) -> Skill:
    return Skill(
        how,
        calibrated(found, told),
        difference(found, told),
        captured(found, told),
        captured(found, raw),
        int(np.count_nonzero(~np.isnan(found.came).all(axis=1))),
    )
