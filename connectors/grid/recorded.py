"""Seventeen recorded days of Great Britain (March 2023), shipped with the package: actuals and forecasts as issued.

Nothing is revealed before it was known: an actual once its slot has ended, a forecast once it had been
issued. Data of the National Energy System Operator, CC BY 4.0; see data/ATTRIBUTION.txt.
"""

import gzip
import json
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from lowtide.scheduler.model.errors import GridFailure, GridFailureKind
from lowtide.scheduler.model.series import NO_RATES, Accounting, Basis, Point, PointKind, Series, Signal

DATA = Path(__file__).parent / "data" / "gb_2023-03.json.gz"
ZONE = "GB"
ATTRIBUTION = (
    "Contains data from the Carbon Intensity API, National Energy System Operator (NESO),"
    " carbonintensity.org.uk, CC BY 4.0; selected and reformatted"
)


class Recorded:
    """The shipped days as a grid source."""

    name = "recorded"
    ttl_s = 60.0
    rates = NO_RATES

    @cached_property
    def _data(self) -> dict[str, Any]:
        values: dict[str, Any] = json.loads(gzip.decompress(DATA.read_bytes()))
        return values

    @cached_property
    def _actual(self) -> tuple[Point, ...]:
        return self._points(self._data["actual"], PointKind.ACTUAL)

    @cached_property
    def _issues(self) -> tuple[tuple[datetime, tuple[Point, ...]], ...]:
        return tuple(
            (datetime.fromisoformat(issue["known"]), self._points(issue, PointKind.FORECAST))
            for issue in self._data["forecasts"]
        )

    def _points(self, told: dict[str, Any], kind: PointKind) -> tuple[Point, ...]:
        step = timedelta(seconds=self._data["step_s"])
        start = datetime.fromisoformat(told["start"])
        return tuple(
            Point(start + i * step, start + (i + 1) * step, float(g), kind) for i, g in enumerate(told["g_per_kwh"])
        )

    @property
    def first(self) -> datetime:
        """When the recording begins."""
        return self._actual[0].start

    @property
    def last(self) -> datetime:
        """When the recording ends."""
        return self._actual[-1].end

    def zones(self) -> tuple[str, ...]:
        """Great Britain only."""
        return (ZONE,)

    async def actual(self, zone: str, start: datetime, end: datetime, now: datetime) -> Series:
        """The recorded half hours that touch [start, end) and had ended by ``now``."""
        self._check(zone)
        known = tuple(p for p in self._actual if p.end > start and p.start < end and p.end <= now)
        if not known:
            message = f"the recording holds nothing for {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC."
            raise GridFailure(GridFailureKind.NO_DATA, message, fix=self._where())
        return self._series(known, now, None)

    async def forecast(self, zone: str, now: datetime) -> Series | None:
        """The newest issue that was known at ``now``, whole: what it said of slots that have ended tells its error."""
        self._check(zone)
        issued = [issue for issue in self._issues if issue[0] <= now]
        if not issued or issued[-1][1][-1].end <= now:
            message = f"the recording holds no forecast for {now:%Y-%m-%d %H:%M} UTC."
            first, last = self._issues[0][0], self._issues[-1][1][-1].end
            fix = f"The first was known at {first:%Y-%m-%d %H:%M}, the last reaches to {last:%Y-%m-%d %H:%M} UTC."
            raise GridFailure(GridFailureKind.NO_DATA, message, fix=fix)
        known, points = issued[-1]
        return self._series(points, now, known)

    def _check(self, zone: str) -> None:
        if zone != ZONE:
            message = f"the recording knows zone GB, not {zone!r}."
            raise GridFailure(GridFailureKind.UNKNOWN_ZONE, message, fix="Set the site's zone to GB.")

    def _where(self) -> str:
        return f"It covers {self.first:%Y-%m-%d %H:%M} to {self.last:%Y-%m-%d %H:%M} UTC."

    def _series(self, points: tuple[Point, ...], now: datetime, issued_at: datetime | None) -> Series:
        return Series(
            source=self.name,
            zone_requested=ZONE,
            zone_returned=ZONE,
            points=points,
            step_s=float(self._data["step_s"]),
            signal=Signal.AVERAGE,
            basis=Basis.DIRECT,
            accounting=Accounting.CONSUMPTION,
            fetched_at=now,
            issued_at=issued_at,
            attribution=ATTRIBUTION,
        )

    async def close(self) -> None:
        """Nothing to give back."""
