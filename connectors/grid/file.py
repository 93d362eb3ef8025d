"""Intensity from a file of the user's: CSV or JSON, read again when it changes.

Columns (or keys of JSON objects in a list): ``start_utc`` and ``g_per_kwh``; optionally ``end_utc`` (else
the next start, and for the last row the step before it) and ``kind`` (actual, estimated, forecast; else actual).
"""

import csv
import io
import json
import math
from datetime import datetime
from pathlib import Path
from typing import Any

from lowtide.scheduler.model.errors import GridFailure, GridFailureKind
from lowtide.scheduler.model.series import Accounting, Basis, Point, PointKind, Series, Signal
from lowtide.scheduler.model.units import utc

SIZE_CAP = 32 << 20


class File:
    """One file for one zone."""

    name = "file"
    ttl_s = 60.0

    def __init__(
        self,
        path: str,
        zone: str,
        *,
        signal: str = "average",
        basis: str = "unknown",
        accounting: str = "unknown",
        attribution: str = "",
    ) -> None:
        """Take the path, the zone that it describes and what its figures mean."""
        self._path, self._zone, self._attribution = Path(path), zone, attribution
        self._signal, self._basis, self._accounting = Signal(signal), Basis(basis), Accounting(accounting)
        self._seen: tuple[float, tuple[Point, ...]] | None = None

    def zones(self) -> tuple[str, ...]:
        """The zone that was named."""
        return (self._zone,)

    async def actual(self, zone: str, start: datetime, end: datetime, now: datetime) -> Series:
        """Rows that touch [start, end), have ended, and are not forecasts."""
        points = [p for p in self._read(zone) if p.kind != PointKind.FORECAST and p.end <= now]
        return self._series([p for p in points if p.end > start and p.start < end], now, "no past figure")

    async def forecast(self, zone: str, now: datetime) -> Series | None:
        """Rows of kind forecast that have not ended; None when the file has none at all."""
        points = [p for p in self._read(zone) if p.kind == PointKind.FORECAST]
        if not points:
            return None
        return self._series([p for p in points if p.end > now], now, "no forecast for the time from now on")

    def _series(self, points: list[Point], now: datetime, missing: str) -> Series:
        if not points:
            raise GridFailure(GridFailureKind.NO_DATA, f"{self._path} holds {missing}.", fix="Add rows to it.")
        return Series(
            source=self.name,
            zone_requested=self._zone,
            zone_returned=self._zone,
            points=tuple(points),
            step_s=(points[0].end - points[0].start).total_seconds(),
            signal=self._signal,
            basis=self._basis,
            accounting=self._accounting,
            fetched_at=now,
            attribution=self._attribution,
        )

    def _read(self, zone: str) -> tuple[Point, ...]:
        if zone != self._zone:
            message = f"{self._path} describes zone {self._zone!r}, not {zone!r}."
            raise GridFailure(GridFailureKind.UNKNOWN_ZONE, message)
        try:
            facts = self._path.stat()
            if self._seen is None or self._seen[0] != facts.st_mtime:
                if facts.st_size > SIZE_CAP:
                    raise self._bad(0, f"it is larger than {SIZE_CAP >> 20} MiB")
                self._seen = (facts.st_mtime, self._parse(self._path.read_text()))
        except OSError as error:
            message = f"{self._path} cannot be read: {error.strerror}."
            raise GridFailure(GridFailureKind.UNAVAILABLE, message) from error
        return self._seen[1]

    def _parse(self, text: str) -> tuple[Point, ...]:
        rows = self._json_rows(text) if self._path.suffix == ".json" else list(csv.DictReader(io.StringIO(text)))
        parsed = [self._row(number, row) for number, row in enumerate(rows, start=2)]
        points: list[Point] = []
        for index, (number, start, end, g, kind) in enumerate(parsed):
            stop = end or self._next_start(parsed, index)
            if stop <= start or (points and start < points[-1].end):
                raise self._bad(number, "its interval is empty, out of order or overlaps the one before")
            points.append(Point(start, stop, g, kind))
        return tuple(points)

    def _json_rows(self, text: str) -> list[dict[str, Any]]:
        try:
            rows = json.loads(text)
        except ValueError as error:
            raise self._bad(0, f"it is not JSON ({error})") from None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise self._bad(0, "expected a list of objects")
        return rows

    def _next_start(
        self, parsed: list[tuple[int, datetime, datetime | None, float, PointKind]], index: int
    ) -> datetime:
        if index + 1 < len(parsed):
            return parsed[index + 1][1]
        if index == 0:
            raise self._bad(parsed[0][0], "a single row needs end_utc")
        return parsed[index][1] + (parsed[index][1] - parsed[index - 1][1])

    def _row(self, number: int, row: dict[str, Any]) -> tuple[int, datetime, datetime | None, float, PointKind]:
        try:
            g = row["g_per_kwh"]
            value = float(g) if not isinstance(g, bool) else math.nan
            start = utc(datetime.fromisoformat(row["start_utc"]))
            end = utc(datetime.fromisoformat(row["end_utc"])) if row.get("end_utc") else None
            kind = PointKind(row.get("kind") or "actual")
        except (KeyError, TypeError, ValueError) as error:
            raise self._bad(number, f"expected start_utc with a zone and a number g_per_kwh ({error})") from None
        if not math.isfinite(value) or value < 0:
            raise self._bad(number, f"{g!r} is no intensity; leave the row out where it is not known")
        return number, start, end, value, kind

    def _bad(self, number: int, what: str) -> GridFailure:
        where = f" line {number}" if number else ""
        return GridFailure(GridFailureKind.BAD_RESPONSE, f"{self._path}{where}: {what}.", fix="Mend the file.")

    async def close(self) -> None:
        """Nothing to give back."""
