"""France, live: eCO2mix of RTE through the Open Data Réseaux Énergies portal (ODRE), without a key.

Quarter hours, average of French production, direct emissions. RTE forecasts the load and not the intensity, so
there is no forecast. Rows of the rest of the day are there before their figures: they are null, never zero.
Licence Ouverte 2.0: the source and the date of the figures are named.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from lowtide.connectors.grid.fetch import Vendor
from lowtide.connectors.grid.rows import SHOWN, bad, moment, number, points_of, rows_of, step_of
from lowtide.scheduler.model.errors import GridFailure, GridFailureKind
from lowtide.scheduler.model.series import Accounting, Basis, PointKind, Rate, Series, Signal
from lowtide.scheduler.model.units import ceil_to, floor_to, utc

NAME = "rte"
BASE_URL = "https://odre.opendatasoft.com"
PATH = "/api/explore/v2.1/catalog/datasets/eco2mix-national-tr/records"
ATTRIBUTION = "Source: RTE, éCO2mix, via ODRÉ (Licence Ouverte 2.0)"
ZONE, PERIMETER = "FR", "France"
NOT_AVAILABLE = "ND"
"""What the data set writes for "non disponible" in a column of numbers."""
STEP = timedelta(minutes=15)
PAGE = 100
"""The portal gives no more rows at once."""
MAX_PAGES = 9
MAX_SPAN = MAX_PAGES * PAGE * STEP
"""A bit more than nine days: longer would spend the monthly allowance on history."""


class Rte:
    """The national figures."""

    name = NAME
    ttl_s = 900.0
    # 50,000 requests a month: six times an hour the most pages that one question takes stays below.
    rates: Mapping[str, Rate] = MappingProxyType({"actual": Rate(6, 3600.0)})

    def __init__(self, *, base_url: str = BASE_URL, private_networks: Sequence[str] = ()) -> None:
        """Take the base URL, of a mirror or a proxy of your own if need be, and where that may be private."""
        self._api = Vendor(NAME, base_url, headers={"Accept": "application/json"}, private_networks=private_networks)

    def zones(self) -> tuple[str, ...]:
        """France without Corsica and overseas."""
        return (ZONE,)

    async def actual(self, zone: str, start: datetime, end: datetime, now: datetime) -> Series:
        """Figures of [start, end); the newest are about a quarter of an hour old."""
        if zone != ZONE:
            message = f"{NAME} knows zone {ZONE}, not {zone!r}."
            raise GridFailure(GridFailureKind.UNKNOWN_ZONE, message, fix=f"Set the site's zone to {ZONE}.")
        until = max(ceil_to(end, STEP), floor_to(start, STEP) + STEP)
        begin = max(floor_to(start, STEP), until - MAX_SPAN)
        figures = [_figure(row) for row in await self._rows(begin, until, now)]
        points = points_of(NAME, figures, PointKind.ACTUAL, STEP)
        points = [p for p in points if p.end > start and p.start < end and p.end <= now]
        if not points:
            raise GridFailure(GridFailureKind.NO_DATA, f"{NAME} has no figures for that time.")
        return Series(
            source=NAME,
            zone_requested=ZONE,
            zone_returned=ZONE,
            points=tuple(points),
            step_s=step_of([moment for moment, _ in figures], STEP).total_seconds(),
            signal=Signal.AVERAGE,
            basis=Basis.DIRECT,
            accounting=Accounting.PRODUCTION,
            fetched_at=now,
            issued_at=None,
            attribution=ATTRIBUTION,
            notes=(f"figures up to {points[-1].end:%Y-%m-%d %H:%M} UTC",),
        )

    async def forecast(self, zone: str, now: datetime) -> Series | None:  # noqa: ARG002
        """None: RTE forecasts no intensity."""
        return None

    async def _rows(self, begin: datetime, until: datetime, now: datetime) -> list[dict[str, Any]]:
        """All pages; rows without a figure are left out by the vendor, and by us where it does not."""
        span = f"date_heure >= date'{_stamp(begin)}' and date_heure < date'{_stamp(until)}'"
        query = {
            "select": "perimetre,date_heure,taux_co2",
            "where": f"taux_co2 is not null and {span}",
            "order_by": "date_heure desc",
            "limit": str(PAGE),
        }
        rows: list[dict[str, Any]] = []
        for page in range(MAX_PAGES):
            asked = {**query, "offset": str(page * PAGE)}
            found = rows_of(NAME, await self._api.json(PATH, now=now, query=asked), "results")
            rows += found
            if len(found) < PAGE:
                break
        return rows

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()


def _figure(row: dict[str, Any]) -> tuple[datetime, float | None]:
    """A row's time and figure; some rows name their perimeter, which must be France."""
    told = row.get("perimetre", PERIMETER)
    if told != PERIMETER:
        raise bad(NAME, f"a row of {str(told)[:SHOWN]!r}, asked for {PERIMETER}")
    figure = row.get("taux_co2")
    return moment(NAME, row.get("date_heure")), None if figure == NOT_AVAILABLE else number(NAME, figure)


def _stamp(when: datetime) -> str:
    return utc(when).strftime("%Y-%m-%dT%H:%M:%SZ")
