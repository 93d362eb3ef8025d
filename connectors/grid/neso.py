"""Great Britain, live: the Carbon Intensity API of the National Energy System Operator (NESO), without a key.

Half-hour slots, average, direct emissions, imports included. ``null`` actuals of open slots are left out, never
read as zero; an empty answer in any of the API's four shapes means no data. CC BY 4.0.
"""

from datetime import datetime, timedelta
from typing import Any

from lowtide.connectors.grid.fetch import get_json
from lowtide.connectors.http import HttpClient
from lowtide.scheduler.model.errors import GridFailure, GridFailureKind
from lowtide.scheduler.model.series import Accounting, Basis, Point, PointKind, Series, Signal
from lowtide.scheduler.model.units import floor_to

BASE_URL = "https://api.carbonintensity.org.uk"
ATTRIBUTION = "Contains data from the Carbon Intensity API, National Energy System Operator (NESO), CC BY 4.0"
ZONE = "GB"
STEP = timedelta(minutes=30)
MAX_SPAN = timedelta(days=13)
"""The API takes up to 14 days at once."""


class Neso:
    """The national figures."""

    name = "neso"
    ttl_s = 900.0

    def __init__(self, base_url: str = BASE_URL) -> None:
        """Take the base URL (another one in tests)."""
        self._base = base_url.rstrip("/")
        self._http = HttpClient(headers={"Accept": "application/json"})

    def zones(self) -> tuple[str, ...]:
        """Great Britain as a whole."""
        return (ZONE,)

    async def actual(self, zone: str, start: datetime, end: datetime, now: datetime) -> Series:
        """Actuals of the slots that touch [start, end); slots still open have none and are left out."""
        self._check(zone)
        begin = max(floor_to(start, STEP), end - MAX_SPAN)
        # One minute past the boundary: at :00 sharp the API answers with the slot that ends there.
        url = f"{self._base}/intensity/{_stamp(begin + timedelta(minutes=1))}/{_stamp(end)}"
        points = _points(
            await get_json(self._http, url, source=self.name, now=now), "actual", PointKind.ACTUAL
        )
        return self._series([p for p in points if p.end > start and p.start < end and p.end <= now], now)

    async def forecast(self, zone: str, now: datetime) -> Series | None:
        """The forecast for the next 48 h as the API gives it now; sometimes it ends at midnight."""
        self._check(zone)
        begin = floor_to(now, STEP) + timedelta(minutes=1)
        url = f"{self._base}/intensity/{_stamp(begin)}/fw48h"
        points = _points(
            await get_json(self._http, url, source=self.name, now=now), "forecast", PointKind.FORECAST
        )
        return self._series([p for p in points if p.end > now], now)

    def _check(self, zone: str) -> None:
        if zone != ZONE:
            message = f"neso knows zone GB, not {zone!r}."
            raise GridFailure(GridFailureKind.UNKNOWN_ZONE, message, fix="Set the site's zone to GB.")

    def _series(self, points: list[Point], now: datetime) -> Series:
        if not points:
            raise GridFailure(GridFailureKind.NO_DATA, "neso has no figures for that time.")
        return Series(
            source=self.name,
            zone_requested=ZONE,
            zone_returned=ZONE,
            points=tuple(points),
            step_s=STEP.total_seconds(),
            signal=Signal.AVERAGE,
            basis=Basis.DIRECT,
            accounting=Accounting.CONSUMPTION,
            fetched_at=now,
            issued_at=None,
            attribution=ATTRIBUTION,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()


def _stamp(moment: datetime) -> str:
    """Minutes and Z, no seconds: the only form that the API takes."""
    return moment.strftime("%Y-%m-%dT%H:%MZ")


def _points(body: Any, field: str, kind: PointKind) -> list[Point]:
    """Points out of the answer: ``{}``, null, [] and a missing ``data`` all mean that there are none."""
    rows = body.get("data") if isinstance(body, dict) else None
    if not isinstance(rows, list):
        return []
    points: dict[datetime, Point] = {}
    for row in rows:
        try:
            start, end = datetime.fromisoformat(row["from"]), datetime.fromisoformat(row["to"])
            value = row["intensity"][field]
        except (KeyError, TypeError, ValueError):
            raise GridFailure(GridFailureKind.BAD_RESPONSE, "neso sent a row in an unknown shape.") from None
        if start.tzinfo is None or end.tzinfo is None:
            raise GridFailure(GridFailureKind.BAD_RESPONSE, "neso sent a time without a zone.")
        if value is not None:
            points[start] = Point(start, end, value, kind)
    return [points[start] for start in sorted(points)]
