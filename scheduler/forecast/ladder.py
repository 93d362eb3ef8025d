"""Which grid data one decision rests on: the fallback ladder, pure.

fresh_forecast, cached_forecast, own_forecast, static_average, blind: the first that is there is used, and
recorded with the data's age. The last two never justify a delay.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from lowtide.scheduler.model.plan import GridForecast
from lowtide.scheduler.model.series import Point, PointKind, Series
from lowtide.scheduler.model.units import floor_to

FRESH_S = 7200.0
MIN_HISTORY = timedelta(days=3)
OWN_HORIZON = timedelta(hours=24)
BLIND_G_PER_KWH = 0.0

LEAD_ERROR_G_PER_KWH = ((1, 13.1), (3, 17.1), (6, 22.4), (12, 23.7), (24, 24.0), (36, 25.8), (48, 27.0))
"""Mean absolute error of 49 forecasts as issued for Great Britain in March 2023 against the actuals, by hours
of lead up to the first figure. A default until an installation has pairs of its own; scaled for other
grids by the forecast's own mean over the 128.3 g/kWh of that time."""
REFERENCE_G_PER_KWH = 128.3
OWN_ERROR_FACTOR = 1.5
"""A seasonal mean is no better than a provider's forecast; it must promise more before it moves a job."""


class Rung(StrEnum):
    """The ladder, best first."""

    FRESH_FORECAST = "fresh_forecast"
    CACHED_FORECAST = "cached_forecast"
    OWN_FORECAST = "own_forecast"
    STATIC_AVERAGE = "static_average"
    BLIND = "blind"


@dataclass(frozen=True, slots=True)
class GridKnowledge:
    """What is known about a zone when a decision is made; any of it may be missing."""

    zone: str
    forecast: Series | None = None
    history: Series | None = None
    static: Series | None = None
    trouble: str = ""


def forecast_for(known: GridKnowledge, now: datetime, slot_s: float) -> GridForecast:
    """The prices by slot from the slot that holds ``now``, from the highest rung that is there."""
    if known.forecast is not None and known.forecast.points and known.forecast.points[-1].end > now:
        age_s = (now - (known.forecast.issued_at or known.forecast.fetched_at)).total_seconds()
        fetched_s = (now - known.forecast.fetched_at).total_seconds()
        rung = Rung.FRESH_FORECAST if fetched_s < FRESH_S else Rung.CACHED_FORECAST
        return _slots(known, known.forecast, rung, now, slot_s, age_s=age_s, factor=1.0)
    own = own_forecast(known.history, now) if known.history is not None else None
    if own is not None:
        return _slots(known, own, Rung.OWN_FORECAST, now, slot_s, age_s=0.0, factor=OWN_ERROR_FACTOR)
    if known.static is not None and known.static.points:
        return _flat(known, known.static.points[0].g_per_kwh, Rung.STATIC_AVERAGE, now, slot_s)
    return _flat(known, BLIND_G_PER_KWH, Rung.BLIND, now, slot_s)


def own_forecast(history: Series, now: datetime) -> Series | None:
    """Means of the same time of day over the history; None with less than three days of it."""
    if not history.points or now - history.points[0].start < MIN_HISTORY:
        return None
    step = timedelta(seconds=history.step_s)
    by_time: dict[float, list[float]] = {}
    for point in history.points:
        by_time.setdefault(point.start.timestamp() % 86_400, []).append(point.g_per_kwh)
    points: list[Point] = []
    start = floor_to(now, step)
    while start < now + OWN_HORIZON:
        same = by_time.get(start.timestamp() % 86_400)
        if not same:
            break
        points.append(Point(start, start + step, sum(same) / len(same), PointKind.FORECAST))
        start += step
    if not points:
        return None
    return Series(
        source=f"own forecast from {history.source}",
        zone_requested=history.zone_requested,
        zone_returned=history.zone_returned,
        points=tuple(points),
        step_s=history.step_s,
        signal=history.signal,
        basis=history.basis,
        accounting=history.accounting,
        fetched_at=now,
        issued_at=now,
        attribution=history.attribution,
        notes=("mean of the same time of day",),
    )


def lead_error_g_per_kwh(lead_h: float, mean_g_per_kwh: float) -> float:
    """Mean absolute error to expect of a forecast ``lead_h`` hours ahead, from the default table."""
    scale = mean_g_per_kwh / REFERENCE_G_PER_KWH
    for hours, error in LEAD_ERROR_G_PER_KWH:
        if lead_h <= hours:
            return error * scale
    return LEAD_ERROR_G_PER_KWH[-1][1] * scale


def _slots(
    known: GridKnowledge, series: Series, rung: Rung, now: datetime, slot_s: float, *, age_s: float, factor: float
) -> GridForecast:
    step = timedelta(seconds=slot_s)
    start = floor_to(now, step)
    prices: list[float] = []
    while True:
        begin = start + len(prices) * step
        price = series.mean_g_per_kwh(max(begin, now), begin + step)
        if price is None:
            break
        prices.append(price)
    if not prices:
        return _flat(known, BLIND_G_PER_KWH, Rung.BLIND, now, slot_s)
    mean = sum(prices) / len(prices)
    errors = [factor * lead_error_g_per_kwh(i * slot_s / 3600, mean) for i in range(len(prices))]
    return GridForecast(
        zone=known.zone,
        rung=rung,
        may_shift=True,
        age_s=age_s,
        start=start,
        step_s=slot_s,
        g_per_kwh=tuple(prices),
        error_g_per_kwh=tuple(errors),
        provenance=_provenance(known, series, rung, age_s),
    )


def _flat(known: GridKnowledge, g_per_kwh: float, rung: Rung, now: datetime, slot_s: float) -> GridForecast:
    slots = int(OWN_HORIZON.total_seconds() // slot_s)
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
