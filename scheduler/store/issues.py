"""Forecasts as they were issued: beside the actuals they tell how good a source's forecasts are."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.engine import RowMapping

from lowtide.scheduler.model.series import Accounting, Basis, Point, PointKind, Series, SeriesKey, Signal
from lowtide.scheduler.store.accounts import key_values
from lowtide.scheduler.store.tables import issue

KEPT = timedelta(days=16)
"""A little more than the calibration looks back."""


def keep(connection: Connection, series: Series, now: datetime) -> bool:
    """Store a forecast that is regular in time, seen now for the first time; one with gaps is left out."""
    if not series.points or any(a.end != b.start for a, b in pairwise(series.points)):
        return False
    values = {
        **key_values(series.key),
        "seen_at": now,
        "issued_at": series.issued_at,
        "start_at": series.points[0].start,
        "step_s": series.step_s,
        "g_per_kwh": [point.g_per_kwh for point in series.points],
    }
    connection.execute(insert(issue).prefix_with("OR IGNORE", dialect="sqlite").values(**values))
    return True


def prune(connection: Connection, now: datetime) -> None:
    """Drop what no calibration looks at any more."""
    connection.execute(delete(issue).where(issue.c.seen_at < now - KEPT))


def known(connection: Connection, key: SeriesKey) -> list[Series]:
    """All stored issues of one key, oldest first."""
    query = select(issue).where(*(issue.c[name] == value for name, value in key_values(key).items()))
    return [_series(row) for row in connection.execute(query.order_by(issue.c.seen_at)).mappings()]


def _series(row: RowMapping) -> Series:
    return Series(
        source=row["source"],
        zone_requested=row["zone"],
        zone_returned=row["zone"],
        points=_points(row["start_at"], timedelta(seconds=row["step_s"]), row["g_per_kwh"]),
        step_s=row["step_s"],
        signal=Signal(row["signal"]),
        basis=Basis(row["basis"]),
        accounting=Accounting(row["accounting"]),
        fetched_at=row["seen_at"],
        issued_at=row["issued_at"],
    )


def _points(start: datetime, step: timedelta, values: Sequence[float]) -> tuple[Point, ...]:
    return tuple(
        Point(start + i * step, start + (i + 1) * step, value, PointKind.FORECAST) for i, value in enumerate(values)
    )
