"""A zone's intensity for people: what was, what is expected, and the best windows for a duration; pure."""

from datetime import datetime, timedelta

from lowtide.scheduler.model.plan import GridForecast
from lowtide.scheduler.model.series import Series
from lowtide.scheduler.report.shape import Json, stamp

BEST_WINDOWS = 3


def outlook(
    price: GridForecast, actual: Series | None, *, now: datetime, hours: float, duration_s: float | None
) -> Json:
    """The forecast command's JSON.

    Args:
        price: the slots as a decision would see them now.
        actual: recorded figures before now, or None.
        now: aware UTC.
        hours: how far ahead.
        duration_s: length of the windows to look for; None looks for none.

    """
    until = now + timedelta(hours=hours)
    step = timedelta(seconds=price.step_s)
    slots = [(price.start + i * step, g) for i, g in enumerate(price.g_per_kwh)]
    bands = price.p10 or price.g_per_kwh, price.p90 or price.g_per_kwh
    blind = price.rung == "blind"
    banded = zip(slots, *bands, strict=True)
    ahead = [] if blind else [_slot(s, step, (low, g, high)) for (s, g), low, high in banded if s < until]
    told = dict(price.provenance)
    return {
        "zone": price.zone,
        "now": stamp(now),
        "source": told.get("source") or None,
        "rung": price.rung,
        "signal": told.get("signal") or None,
        "basis": told.get("basis") or None,
        "issued_at": told.get("issued_at"),
        "age_s": price.age_s,
        "attribution": told.get("attribution") or None,
        "trouble": told.get("trouble") or None,
        "faults": told.get("faults") or [],
        "correction": told.get("correction"),
        "calibration": {
            "basis": told.get("error_basis"),
            "moments": told.get("pairs"),
            "captured": told.get("captured"),
        },
        "actual": [
            {"start": stamp(p.start), "end": stamp(p.end), "g_per_kwh": p.g_per_kwh}
            for p in (actual.points if actual else ())
        ],
        "forecast": ahead,
        "windows": _windows([(s, g) for s, g in slots if s < until], step, duration_s) if price.may_shift else [],
    }


def _slot(start: datetime, step: timedelta, figures: tuple[float, float, float]) -> Json:
    p10, g, p90 = (round(figure, 1) for figure in figures)
    return {
        "start": stamp(start),
        "end": stamp(start + step),
        "g_per_kwh": g,
        "p10": p10,
        "p50": g,
        "p90": p90,
    }


def _windows(slots: list[tuple[datetime, float]], step: timedelta, duration_s: float | None) -> list[Json]:
    """The cheapest windows that do not overlap, cheapest first."""
    if duration_s is None:
        return []
    width = max(1, round(duration_s / step.total_seconds()))
    means = [(sum(g for _, g in slots[i : i + width]) / width, i) for i in range(len(slots) - width + 1)]
    chosen: list[tuple[float, int]] = []
    for mean, i in sorted(means):
        if len(chosen) < BEST_WINDOWS and all(abs(i - j) >= width for _, j in chosen):
            chosen.append((mean, i))
    return [
        {
            "start": stamp(slots[i][0]),
            "end": stamp(slots[i][0] + width * step),
            "mean_g_per_kwh": round(mean, 1),
            "note": "best" if rank == 0 else "",
        }
        for rank, (mean, i) in enumerate(chosen)
    ]
