"""Great Britain, live: the Carbon Intensity API of the National Energy System Operator (NESO), without a key.

Half-hour slots, average, direct emissions, imports included. ``null`` actuals of open slots are left out, never
read as zero; an empty answer in any of the API's five shapes means no data. CC BY 4.0.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from lowtide.connectors.grid.fetch import Vendor
from lowtide.connectors.http import HttpAnswer
from lowtide.scheduler.model.errors import GridFailure, GridFailureKind
from lowtide.scheduler.model.series import NO_RATES, Accounting, Basis, Point, PointKind, Series, Signal
from lowtide.scheduler.model.units import ceil_to, floor_to, utc

BASE_URL = "https://api.carbonintensity.org.uk"
ATTRIBUTION = "Contains data from the Carbon Intensity API, National Energy System Operator (NESO), CC BY 4.0"
ZONE = "GB"
STEP, MINUTE = timedelta(minutes=30), timedelta(minutes=1)
MAX_SPAN = timedelta(days=13)
"""The API takes up to 14 days at once."""
NO_DATA_STATUS = 500
NO_DATA_TEXT = b"resource not found"
"""What the API says, with status 500, when it has nothing for the time asked for."""


class Neso:
    """The national figures."""

    name = "neso"
    ttl_s = 900.0
    rates = NO_RATES

    def __init__(self, base_url: str = BASE_URL, *, private_networks: Sequence[str] = ()) -> None:
        """Take the base URL, of a mirror or a proxy of your own if need be, and where that may be private."""
        self._api = Vendor(
            self.name, base_url, headers={"Accept": "application/json"}, private_networks=private_networks
        )

    def zones(self) -> tuple[str, ...]:
        """Great Britain as a whole."""
        return (ZONE,)

    async def actual(self, zone: str, start: datetime, end: datetime, now: datetime) -> Series:
        """Actuals of the slots that touch [start, end); slots still open have none and are left out."""
        self._check(zone)
        begin = max(floor_to(start, STEP), ceil_to(end, STEP) - MAX_SPAN)
        # One minute past the boundary: at :00 sharp the API answers with the slot that ends there.
        until = max(ceil_to(end, STEP), begin + STEP)
        points = await self._ask(f"{_stamp(begin + MINUTE)}/{_stamp(until)}", "actual", PointKind.ACTUAL, now)
        return self._series([p for p in points if p.end > start and p.start < end and p.end <= now], now)

    async def forecast(self, zone: str, now: datetime) -> Series | None:
        """The forecast for the next 48 h as the API gives it now; sometimes it ends at midnight."""
        self._check(zone)
        begin = floor_to(now, STEP) + MINUTE
        points = await self._ask(f"{_stamp(begin)}/fw48h", "forecast", PointKind.FORECAST, now)
        return self._series([p for p in points if p.end > now], now)

    async def _ask(self, path: str, field: str, kind: PointKind, now: datetime) -> list[Point]:
        body = await self._api.json(f"/intensity/{path}", now=now, refusal=refusal)
        return _points(body, field, kind)

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
        await self._api.close()


def _stamp(moment: datetime) -> str:
    """Minutes and Z, no seconds: the only form that the API takes."""
    return moment.strftime("%Y-%m-%dT%H:%MZ")


def refusal(answer: HttpAnswer) -> GridFailureKind | None:
    """What this API's own way to say "nothing" means: 500 with a certain text is no outage."""
    if answer.status == NO_DATA_STATUS and NO_DATA_TEXT in answer.body:
        return GridFailureKind.NO_DATA
    return None


def _points(body: Any, field: str, kind: PointKind) -> list[Point]:
    """Points out of the answer: null, ``{}``, ``[]`` and an empty or missing ``data`` all mean that there are none."""
    rows = body.get("data") if isinstance(body, dict) else body
    if not rows:
        return []
    if not isinstance(rows, list):
        raise _bad("an answer in an unknown shape")
    points: dict[datetime, Point] = {}
    for point in filter(None, (_point(row, field, kind) for row in rows)):
        if points.setdefault(point.start, point) != point:
            raise _bad(f"two figures for {_stamp(point.start)}")
    return [points[start] for start in sorted(points)]


def _point(row: Any, field: str, kind: PointKind) -> Point | None:
    """One slot; None while its figure is null or missing."""
    try:
        start, end = utc(datetime.fromisoformat(row["from"])), utc(datetime.fromisoformat(row["to"]))
        value = row["intensity"].get(field)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise _bad(
            f"a row in an unknown shape ({type(error).__name__}: a time without a zone, or a key missing)"
        ) from None
    if end - start != STEP:
        raise _bad(f"a slot of {end - start} at {_stamp(start)}, expected half an hour")
    return None if value is None else Point(start, end, value, kind)


def _bad(what: str) -> GridFailure:
    return GridFailure(GridFailureKind.BAD_RESPONSE, f"neso sent {what}.")
