"""Forecasts as they were issued, as compact JSON: a fortnight of half-hourly issues is a few megabytes of it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from lowtide.scheduler.model.series import Point, PointKind, Series

Json = dict[str, Any]


def issues_json(issues: Sequence[Series]) -> Json:
    """Issues of one key: what they have in common, and of each when it was seen and issued, its start, step and g/kWh.

    Each has to be regular in time, as those in the store are.
    """
    if not issues:
        return {"like": None, "rows": []}
    rows = [
        [
            one.fetched_at.isoformat(),
            one.issued_at.isoformat() if one.issued_at else None,
            one.points[0].start.isoformat(),
            one.step_s,
            [point.g_per_kwh for point in one.points],
        ]
        for one in issues
    ]
    return {"like": replace(issues[-1], points=()).to_json(), "rows": rows}


def issues_of(plain: Json) -> tuple[Series, ...]:
    """What ``issues_json`` wrote; raises as ``Series.from_json``."""
    if plain["like"] is None:
        return ()
    like = Series.from_json(plain["like"])
    return tuple(_issue(like, *row) for row in plain["rows"])


def _issue(like: Series, seen: str, issued: str | None, start: str, step_s: float, values: Sequence[float]) -> Series:
    first, step = datetime.fromisoformat(start), timedelta(seconds=step_s)
    points = tuple(
        Point(first + i * step, first + (i + 1) * step, value, PointKind.FORECAST) for i, value in enumerate(values)
    )
    issued_at = datetime.fromisoformat(issued) if issued else None
    return replace(like, points=points, step_s=step_s, fetched_at=datetime.fromisoformat(seen), issued_at=issued_at)
