"""Regions of Great Britain, live: the regional part of NESO's Carbon Intensity API, without a key.

Half-hour slots, average, direct emissions. The API publishes no measured figures for regions: what it says about a slot
that has passed is its own last estimate, and is marked as one. CC BY 4.0.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from lowtide.connectors.grid import neso
from lowtide.connectors.grid.fetch import Vendor
from lowtide.connectors.grid.rows import bad, moment, number
from lowtide.scheduler.model.errors import GridFailure, GridFailureKind
from lowtide.scheduler.model.series import NO_RATES, Accounting, Basis, Point, PointKind, Series, Signal
from lowtide.scheduler.model.units import ceil_to, floor_to

NAME = "neso_regional"
REGIONS = (
    "north-scotland", "south-scotland", "north-west-england", "north-east-england", "yorkshire",
    "north-wales-and-merseyside", "south-wales", "west-midlands", "east-midlands", "east-england",
    "south-west-england", "south-england", "london", "south-east-england", "england", "scotland", "wales",
)  # fmt: skip
"""In the order of the API's numbers, from 1."""
ZONES = MappingProxyType(
    {f"GB-{number}": number for number in range(1, len(REGIONS) + 1)}
    | {f"GB-{name}": number for number, name in enumerate(REGIONS, start=1)}
)
NOTE = "the vendor publishes no measured regional figures; these are its own estimates"


class NesoRegional:
    """One region, by its number (GB-13) or its name (GB-london)."""

    name = NAME
    ttl_s = 900.0
    rates = NO_RATES

    def __init__(self, base_url: str = neso.BASE_URL, *, private_networks: Sequence[str] = ()) -> None:
        """Take the base URL, of a mirror or a proxy of your own if need be, and where that may be private."""
        self._api = Vendor(NAME, base_url, headers={"Accept": "application/json"}, private_networks=private_networks)

    def zones(self) -> tuple[str, ...]:
        """All regions under both names."""
        return tuple(ZONES)

    async def actual(self, zone: str, start: datetime, end: datetime, now: datetime) -> Series:
        """The vendor's estimates for slots that touch [start, end) and have passed; nothing here is measured."""
        begin = max(floor_to(start, neso.STEP), ceil_to(end, neso.STEP) - neso.MAX_SPAN)
        until = max(ceil_to(end, neso.STEP), begin + neso.STEP)
        points = await self._ask(zone, f"{_stamp(begin + neso.MINUTE)}/{_stamp(until)}", PointKind.ESTIMATED, now)
        past = [p for p in points if p.end > start and p.start < end and p.end <= now]
        return _series(zone, past, now, notes=(NOTE,))

    async def forecast(self, zone: str, now: datetime) -> Series | None:
        """The next 48 h as the API gives them now; sometimes fewer."""
        begin = floor_to(now, neso.STEP) + neso.MINUTE
        points = await self._ask(zone, f"{_stamp(begin)}/fw48h", PointKind.FORECAST, now)
        return _series(zone, [p for p in points if p.end > now], now)

    async def _ask(self, zone: str, span: str, kind: PointKind, now: datetime) -> list[Point]:
        region = ZONES.get(zone)
        if region is None:
            message = f"{NAME} knows GB-1 to GB-17 and names such as GB-london, not {zone!r}."
            raise GridFailure(GridFailureKind.UNKNOWN_ZONE, message, fix="Correct the site's zone.")
        path = f"/regional/intensity/{span}/regionid/{region}"
        return _points(await self._api.json(path, now=now, refusal=neso.refusal), region, kind)

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()


def _stamp(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%MZ")


def _points(body: Any, region: int, kind: PointKind) -> list[Point]:
    """Points out of the answer, whose region stands alone or in a list of one; any empty shape means none."""
    found = body.get("data") if isinstance(body, dict) else body
    if not found:
        return []
    regions = found if isinstance(found, list) else [found]
    if len(regions) != 1 or not isinstance(regions[0], dict):
        raise bad(NAME, "an answer that is not about one region")
    told = regions[0].get("regionid")
    if told != region or isinstance(told, bool):
        raise bad(NAME, f"region {str(told)[:20]!r} where {region} was asked for")
    rows = regions[0].get("data") or []
    if not isinstance(rows, list):
        raise bad(NAME, "rows in an unknown shape")
    points: dict[datetime, Point] = {}
    for point in filter(None, (_point(row, kind) for row in rows)):
        if points.setdefault(point.start, point) != point:
            raise bad(NAME, f"two figures for {_stamp(point.start)}")
    return [points[start] for start in sorted(points)]


def _point(row: Any, kind: PointKind) -> Point | None:
    """One slot; None while its figure is null or missing."""
    intensity = row.get("intensity") if isinstance(row, dict) else None
    if not isinstance(intensity, dict):
        raise bad(NAME, "a row without an intensity")
    start, end = moment(NAME, row.get("from")), moment(NAME, row.get("to"))
    if end - start != neso.STEP:
        raise bad(NAME, f"a slot of {end - start} at {_stamp(start)}, expected half an hour")
    value = number(NAME, intensity.get("forecast"))
    return None if value is None else Point(start, end, value, kind)


def _series(zone: str, points: list[Point], now: datetime, notes: tuple[str, ...] = ()) -> Series:
    if not points:
        raise GridFailure(GridFailureKind.NO_DATA, f"{NAME} has no figures of {zone} for that time.")
    return Series(
        source=NAME,
        zone_requested=zone,
        zone_returned=zone,
        points=tuple(points),
        step_s=neso.STEP / timedelta(seconds=1),
        signal=Signal.AVERAGE,
        basis=Basis.DIRECT,
        accounting=Accounting.CONSUMPTION,
        fetched_at=now,
        issued_at=None,
        attribution=neso.ATTRIBUTION,
        notes=notes,
    )
