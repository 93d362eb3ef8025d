"""Yearly average intensity per country: an honest last resort for accounting that never delays a job.

Data: Ember (2025), Energy Institute, processed by Our World in Data, CC BY 4.0; see data/ATTRIBUTION.txt.
"""

import csv
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from lowtide.scheduler.model.errors import GridFailure, GridFailureKind
from lowtide.scheduler.model.series import NO_RATES, Accounting, Basis, Point, PointKind, Series, Signal

DATA = Path(__file__).parent / "data" / "yearly.csv"
COUNTRIES = Path(__file__).parent / "data" / "countries.csv"
ATTRIBUTION = "Ember (2025), Energy Institute - processed by Our World in Data, CC BY 4.0"


class Static:
    """One constant figure per country."""

    name = "static"
    ttl_s = 30 * 86_400.0
    rates = NO_RATES

    @cached_property
    def _table(self) -> dict[str, tuple[int, float]]:
        with DATA.open() as file:
            return {row["zone"]: (int(row["year"]), float(row["g_per_kwh"])) for row in csv.DictReader(file)}

    @cached_property
    def _iso2(self) -> dict[str, str]:
        """Two-letter codes, as grid zones use them, to the three-letter ones of the data."""
        with COUNTRIES.open() as file:
            return {row["iso2"]: row["iso3"] for row in csv.DictReader(file)}

    def zones(self) -> tuple[str, ...]:
        """All countries, by three letters and by two."""
        return (*self._table, *self._iso2)

    async def actual(self, zone: str, start: datetime, end: datetime, now: datetime) -> Series:
        """The country's average as one point of kind ``static`` over the time asked for."""
        code = self._iso2.get(zone, zone)
        if code not in self._table:
            message = f"no yearly average is known for zone {zone!r}."
            raise GridFailure(GridFailureKind.UNKNOWN_ZONE, message, fix="Use an ISO 3166 country code.")
        if end <= start:
            raise GridFailure(GridFailureKind.NO_DATA, f"the time from {start} to {end} is empty.")
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
