"""Yearly average intensity per country: an honest last resort for accounting that never delays a job.

Data: Ember (2025), Energy Institute, processed by Our World in Data, CC BY 4.0; see data/ATTRIBUTION.txt.
"""

import csv
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from lowtide.scheduler.model.errors import GridFailure, GridFailureKind
from lowtide.scheduler.model.series import Accounting, Basis, Point, PointKind, Series, Signal

DATA = Path(__file__).parent / "data" / "yearly.csv"
ATTRIBUTION = "Data: Ember (2025), Energy Institute - processed by Our World in Data, CC BY 4.0"
ISO2 = {
    "AT": "AUT", "AU": "AUS", "BE": "BEL", "BR": "BRA", "CA": "CAN", "CH": "CHE", "CN": "CHN", "CZ": "CZE",
    "DE": "DEU", "DK": "DNK", "EE": "EST", "ES": "ESP", "FI": "FIN", "FR": "FRA", "GB": "GBR", "GR": "GRC",
    "HR": "HRV", "HU": "HUN", "IE": "IRL", "IL": "ISR", "IN": "IND", "IS": "ISL", "IT": "ITA", "JP": "JPN",
    "KR": "KOR", "LT": "LTU", "LU": "LUX", "LV": "LVA", "MX": "MEX", "NL": "NLD", "NO": "NOR", "NZ": "NZL",
    "PL": "POL", "PT": "PRT", "RO": "ROU", "RS": "SRB", "SE": "SWE", "SG": "SGP", "SI": "SVN", "SK": "SVK",
    "TR": "TUR", "TW": "TWN", "UA": "UKR", "US": "USA", "ZA": "ZAF",
}  # fmt: skip
"""Two-letter codes that grid zones use, to the three-letter ones of the data."""


class Static:
    """One constant figure per country."""

    name = "static"
    ttl_s = 30 * 86_400.0

    @cached_property
    def _table(self) -> dict[str, tuple[int, float]]:
        with DATA.open() as file:
            return {row["zone"]: (int(row["year"]), float(row["g_per_kwh"])) for row in csv.DictReader(file)}

    def zones(self) -> tuple[str, ...]:
        """All countries, by three letters and where common by two."""
        return (*self._table, *(short for short, long in ISO2.items() if long in self._table))

    async def actual(self, zone: str, start: datetime, end: datetime, now: datetime) -> Series:
        """The country's average as one point of kind ``static`` over the time asked for."""
        code = ISO2.get(zone, zone)
        if code not in self._table:
            message = f"no yearly average is known for zone {zone!r}."
            raise GridFailure(GridFailureKind.UNKNOWN_ZONE, message, fix="Use an ISO 3166 country code.")
        year, g_per_kwh = self._table[code]
        return Series(
            source=self.name,
            zone_requested=zone,
            zone_returned=zone,
            points=(Point(start, end, g_per_kwh, PointKind.STATIC),),
            step_s=(end - start).total_seconds(),
            signal=Signal.AVERAGE,
            basis=Basis.LIFECYCLE,
            accounting=Accounting.PRODUCTION,
            fetched_at=now,
            issued_at=datetime(year, 12, 31, tzinfo=UTC),
            attribution=ATTRIBUTION,
            notes=(f"average of {code} in {year}",),
        )

    async def forecast(self, zone: str, now: datetime) -> Series | None:  # noqa: ARG002
        """A yearly average is no forecast."""
        return None

    async def close(self) -> None:
        """Nothing to give back."""
