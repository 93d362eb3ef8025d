"""Which grid data one decision rests on: the fallback ladder, pure.

fresh_forecast, cached_forecast, own_forecast, climatology, static_average, blind: the first that is there and sound is
used, corrected with what is known by then, and recorded with the data's age and what was wrong with better data. A
climatology is used only where it was asked for, and justifies a delay only by its recorded skill; the last two never
do.
"""

import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

import numpy as np

from lowtide.scheduler.forecast.bands import Bands, default_difference
from lowtide.scheduler.forecast.climatology import climatology
from lowtide.scheduler.forecast.correct import RAW, Outlook, corrected, outlook
from lowtide.scheduler.forecast.faults import Fault, sound
from lowtide.scheduler.forecast.learn import UNLEARNED, Learned, Skill
from lowtide.scheduler.forecast.own import HORIZON, as_series, behind_s, own_forecast
from lowtide.scheduler.forecast.record import FloatArray, Issue, Record, record
from lowtide.scheduler.model.plan import GridForecast
from lowtide.scheduler.model.series import Series
from lowtide.scheduler.model.units import S_PER_H, floor_to

FRESH_S = 7200.0
"""A source that answered within this time is up; later the answer comes from the cache."""
FRESH_ISSUE_S = 86_400.0
"""Every source issues at least daily; an older issue is a frozen one, even when it was just fetched."""
MAX_AGE_S = 172_800.0
"""Beyond the longest lead whose error is known. Until then even an old issue, corrected, beats our own."""
BLIND_G_PER_KWH = 0.0


class Rung(StrEnum):
    """The ladder, best first."""

    FRESH_FORECAST = "fresh_forecast"
    CACHED_FORECAST = "cached_forecast"
    OWN_FORECAST = "own_forecast"
    CLIMATOLOGY = "climatology"
    STATIC_AVERAGE = "static_average"
    BLIND = "blind"


@dataclass(frozen=True, slots=True)
class GridKnowledge:
    """What is known about a zone when a decision is made; any of it may be missing.

    ``past`` is the record of issues (this forecast among them) and actuals, where it has been prepared; ``learned`` is
    what it teaches. ``climatology`` says whether the zone's sites ask for one where nothing better is left.
    """

    zone: str
    forecast: Series | None = None
    history: Series | None = None
    static: Series | None = None
    trouble: str = ""
    past: Record | None = None
    learned: Learned = UNLEARNED
    climatology: bool = False


def forecast_for(known: GridKnowledge, now: datetime, slot_s: float) -> GridForecast:
    """The prices by slot from the slot that holds ``now``, from the highest rung that can price that slot.

    Args:
        known: what there is; a series that does not reach to ``now`` counts as missing.
        now: aware UTC.
        slot_s: length of a slot in seconds.

    """
    found, faults = _provided(known, now, slot_s)
    found = found or _own(known, now, slot_s) or _climatology(known, now, slot_s)
    if found is None and known.static is not None and known.static.points:
        found = _flat(known, known.static.points[0].g_per_kwh, Rung.STATIC_AVERAGE, now, slot_s)
    found = found or _flat(known, BLIND_G_PER_KWH, Rung.BLIND, now, slot_s)
    told = [{"code": fault.code.value, "sentence": fault.sentence} for fault in faults]
    return replace(found, provenance={**found.provenance, "faults": told})


def _provided(known: GridKnowledge, now: datetime, slot_s: float) -> tuple[GridForecast | None, tuple[Fault, ...]]:
    """The provider's newest sound issue, corrected; and what is wrong with its newest."""
    if known.forecast is None or not known.forecast.points:
        return None, ()
    past = known.past or _past(known.forecast, known.history, now)
    at = past.slot_of(now)
    issue, faults = sound(past, at)
    if issue is None:
        return None, faults
    series = issue.series
    age_s = max(0.0, (now - (series.issued_at or series.fetched_at)).total_seconds())
    count = issue.first + len(issue.g_per_kwh) - at
    if age_s > MAX_AGE_S or count <= 0:
        return None, faults
    fetched_s = (now - max(series.fetched_at, known.forecast.fetched_at)).total_seconds()
    fresh = fetched_s < FRESH_S and age_s < FRESH_ISSUE_S and not faults
    rung = Rung.FRESH_FORECAST if fresh else Rung.CACHED_FORECAST
    seen = outlook(past, at, issue, count)
    return _told(known, rung, seen, issue, past, now, slot_s, age_s), faults


def _past(forecast: Series, history: Series | None, now: datetime) -> Record:
    """A record of this one issue, known from now on; without actuals that compare with it, of nothing else."""
    empty = replace(forecast, points=())
    comparable = history if history is not None and history.key == forecast.key else empty
    known = record((forecast,), comparable, now, forecast.step_s)
    return replace(known, issues=tuple(replace(issue, known=known.slot_of(now)) for issue in known.issues))


def _told(
    known: GridKnowledge,
    rung: Rung,
    seen: Outlook,
    issue: Issue,
    past: Record,
    now: datetime,
    slot_s: float,
    age_s: float,
) -> GridForecast | None:
    skill, at = known.learned.provided, past.slot_of(now)
    how = skill.correction if seen.behind_h > 0 else RAW
    series = as_series(corrected(seen, how, past.step_s), issue.series, past, at, now)
    told = _slots(known, series, skill, rung, now, slot_s, age_s=age_s)
    if told is None:
        return None
    facts = {"correction": how.basis, "fading_per_h": how.fading_per_h, "usual_weight": how.usual_weight}
    return replace(told, provenance={**told.provenance, **facts})


def _own(known: GridKnowledge, now: datetime, slot_s: float) -> GridForecast | None:
    if known.history is None:
        return None
    skill = known.learned.own
    better = known.learned.boosted
    same_steps = better is not None and better.step_s == known.history.step_s
    told = better.from_moment(now) if better is not None and same_steps else None
    series = own_forecast(known.history, now, skill.correction, told)
    if series is None:
        return None
    return _slots(known, series, skill, Rung.OWN_FORECAST, now, slot_s, age_s=behind_s(known.history, now))


def _climatology(known: GridKnowledge, now: datetime, slot_s: float) -> GridForecast | None:
    if not known.climatology or known.history is None:
        return None
    series, skill = climatology(known.history, now), known.learned.climatology
    told = _slots(known, series, skill, Rung.CLIMATOLOGY, now, slot_s, age_s=behind_s(known.history, now))
    return None if told is None else replace(told, may_shift=skill.captured > 0)  # false for NaN: not known


def _prices(series: Series, now: datetime, slot_s: float) -> list[float]:
    """Prices by slot, up to the first slot that the series does not cover."""
    step = timedelta(seconds=slot_s)
    start = floor_to(now, step)
    prices: list[float] = []
    while True:
        begin = start + len(prices) * step
        price = series.mean_g_per_kwh(max(begin, now), begin + step)
        if price is None:
            return prices
        prices.append(price)


def _slots(
    known: GridKnowledge,
    series: Series | None,
    skill: Skill,
    rung: Rung,
    now: datetime,
    slot_s: float,
    *,
    age_s: float,
) -> GridForecast | None:
    prices = [] if series is None else _prices(series, now, slot_s)
    if series is None or not prices:
        return None
    start = floor_to(now, timedelta(seconds=slot_s))
    told = np.array(prices)
    hours = ((start - now).total_seconds() + np.arange(1, len(told) + 1, dtype=np.float64) * slot_s) / S_PER_H
    low, high = skill.bands.around(told, _leads(skill.bands, hours, age_s))
    return GridForecast(
        zone=known.zone,
        rung=rung,
        may_shift=True,
        age_s=age_s,
        start=start,
        step_s=slot_s,
        g_per_kwh=tuple(prices),
        error_g_per_kwh=tuple(skill.bands.errors(told, _leads(skill.bands, hours, age_s)).tolist()),
        provenance={
            **_provenance(known, series, rung, age_s),
            "error_basis": skill.bands.basis,
            "pairs": skill.moments,
            "captured": None if math.isnan(skill.captured) else skill.captured,
        },
        difference=skill.difference or default_difference(skill.doubt * float(told.mean())),
        p10=tuple(low.tolist()),
        p90=tuple(high.tolist()),
    )


def _leads(bands: Bands, hours: FloatArray, age_s: float) -> FloatArray:
    """Leads to look errors up by: since now where they are calibrated so, else since the issue."""
    return hours if bands.basis != "default" else hours + age_s / S_PER_H


def _flat(known: GridKnowledge, g_per_kwh: float, rung: Rung, now: datetime, slot_s: float) -> GridForecast:
    slots = int(HORIZON.total_seconds() // slot_s)
    series = known.static if rung == Rung.STATIC_AVERAGE else None
    return GridForecast(
        zone=known.zone,
        rung=rung,
        may_shift=False,
        age_s=0.0,
        start=floor_to(now, timedelta(seconds=slot_s)),
        step_s=slot_s,
        g_per_kwh=(g_per_kwh,) * slots,
        error_g_per_kwh=(0.0,) * slots,
        provenance=_provenance(known, series, rung, 0.0),
    )


def _provenance(known: GridKnowledge, series: Series | None, rung: Rung, age_s: float) -> dict[str, object]:
    told: dict[str, object] = {"zone": known.zone, "rung": rung.value, "age_s": age_s, "trouble": known.trouble}
    if series is None:
        return {**told, "source": "", "signal": "", "basis": "", "accounting": "", "issued_at": None}
    return {
        **told,
        "source": series.source,
        "signal": series.signal.value,
        "basis": series.basis.value,
        "accounting": series.accounting.value,
        "issued_at": series.issued_at.isoformat() if series.issued_at else None,
        "fetched_at": series.fetched_at.isoformat(),
        "from": series.points[0].start.isoformat(),
        "to": series.points[-1].end.isoformat(),
        "attribution": series.attribution,
    }
