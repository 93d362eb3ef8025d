"""Denmark, live: Energi Data Service of Energinet, without a key; the price areas DK1 (west) and DK2 (east).

Five minutes, average, direct emissions, imports counted. Measured figures stand in the data set CO2Emis, the
forecast to the end of the day or the next in CO2EmisProg. Times are read from the UTC column: the local one has
an hour twice in autumn. CC BY 4.0.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from lowtide.connectors.grid.fetch import Vendor
from lowtide.connectors.grid.rows import SHOWN, bad, moment, number, points_of, rows_of, some, step_of
from lowtide.scheduler.model.errors import GridFailure, GridFailureKind
from lowtide.scheduler.model.series import Accounting, Basis, PointKind, Rate, Series, Signal
from lowtide.scheduler.model.units import ceil_to, floor_to

NAME = "energinet"
BASE_URL = "https://api.energidataservice.dk"
ATTRIBUTION = "Energi Data Service (Energinet), CC BY 4.0"
MEASURED, FORECAST = "CO2Emis", "CO2EmisProg"
STEP = timedelta(minutes=5)
MAX_SPAN = timedelta(days=14)
"""Keeps an answer below the cap on bodies: a day takes about 32 kB."""
AREAS: Mapping[str, str] = MappingProxyType({"DK1": "DK1", "DK2": "DK2", "DK-DK1": "DK1", "DK-DK2": "DK2"})
"""Zones to price areas: the vendor's own names, and those that sources of many countries use, so that a site
keeps its zone when its source changes."""


class Energinet:
    """The two price areas; there is none for Denmark as a whole."""

    name = NAME
    ttl_s = 300.0
    # One request a minute for one address and data set.
    rates: Mapping[str, Rate] = MappingProxyType({"actual": Rate(1, 60.0), "forecast": Rate(1, 60.0)})

    def __init__(self, *, base_url: str = BASE_URL, private_networks: Sequence[str] = ()) -> None:
        """Take the base URL, of a mirror or a proxy of your own if need be, and where that may be private."""
        self._api = Vendor(NAME, base_url, headers={"Accept": "application/json"}, private_networks=private_networks)

    def zones(self) -> tuple[str, ...]:
        """Both areas under both names."""
        return tuple(AREAS)

    async def actual(self, zone: str, start: datetime, end: datetime, now: datetime) -> Series:
        """Measured figures of [start, end)."""
        until = max(ceil_to(end, STEP), floor_to(start, STEP) + STEP)
        begin = max(floor_to(start, STEP), until - MAX_SPAN)
        series = await self._ask(MEASURED, zone, {"start": _stamp(begin), "end": _stamp(until)}, now)
        return some(series, [p for p in series.points if p.end > start and p.start < end and p.end <= now])

    async def forecast(self, zone: str, now: datetime) -> Series | None:
        """The forecast from now on."""
        series = await self._ask(FORECAST, zone, {"start": _stamp(floor_to(now, STEP))}, now)
        return some(series, [p for p in series.points if p.end > now])

    async def _ask(self, dataset: str, zone: str, span: dict[str, str], now: datetime) -> Series:
        if zone not in AREAS:
            message = f"{NAME} knows the zones {', '.join(AREAS)}, not {zone!r}."
            raise GridFailure(GridFailureKind.UNKNOWN_ZONE, message, fix="Set the site's zone to one of them.")
        query = {
            **span,
            # Without these the API reads Danish time and answers with the newest 100 rows of both areas.
            "timezone": "UTC",
            "limit": "0",
            "sort": "Minutes5UTC ASC",
            "filter": json.dumps({"PriceArea": [AREAS[zone]]}, separators=(",", ":")),
        }
        body = await self._api.json(f"/dataset/{dataset}", now=now, query=query)
        return _series(zone, body, PointKind.FORECAST if dataset == FORECAST else PointKind.ACTUAL, now)

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()


def _series(zone: str, body: Any, kind: PointKind, now: datetime) -> Series:
    figures = [_figure(row, AREAS[zone]) for row in _records(body)]
    return Series(
        source=NAME,
        zone_requested=zone,
        zone_returned=zone,
        points=tuple(points_of(NAME, figures, kind, STEP)),
        step_s=step_of([start for start, _ in figures], STEP).total_seconds(),
        signal=Signal.AVERAGE,
        basis=Basis.DIRECT,
        accounting=Accounting.CONSUMPTION,
        fetched_at=now,
        issued_at=None,
        attribution=ATTRIBUTION,
    )


def _records(body: Any) -> list[dict[str, Any]]:
    """The rows; some answers carry a ``total`` and no records, which means that there are none."""
    if isinstance(body, dict) and "total" in body and body.get("records") is None:
        return []
    return rows_of(NAME, body, "records")


def _figure(row: dict[str, Any], area: str) -> tuple[datetime, float | None]:
    if row.get("PriceArea") != area:
        raise bad(NAME, f"a row of area {str(row.get('PriceArea'))[:SHOWN]!r}, asked for {area}")
    return moment(NAME, row.get("Minutes5UTC"), naive_is_utc=True), number(NAME, row.get("CO2Emission"))


def _stamp(when: datetime) -> str:
    """Minutes without an offset; ``timezone=UTC`` says what they are."""
    return when.strftime("%Y-%m-%dT%H:%M")
