"""Intensity from a file of the user's: CSV or JSON, read again when it changes.

Columns (or keys of JSON objects in a list): ``start_utc`` and ``g_per_kwh``; optionally ``end_utc`` (else
one usual step after the start, so that a missing row stays a gap), ``kind`` (actual, estimated, forecast; else
actual, or forecast where ``issued_utc`` is given) and ``issued_utc``, so that several issues of a forecast may
stand in one file. Rows of one kind and issue stand in time order.
"""

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from lowtide.scheduler.model.errors import GridFailure, GridFailureKind
from lowtide.scheduler.model.series import MAX_G_PER_KWH, NO_RATES, Accounting, Basis, Point, PointKind, Series, Signal
from lowtide.scheduler.model.units import utc

SIZE_CAP = 32 << 20
KINDS = (PointKind.ACTUAL, PointKind.ESTIMATED, PointKind.FORECAST)


LAST_YEAR = 2200
"""Later times are typing errors, and near the end of the calendar there is no room for a step."""


def _in_reach(moment: datetime) -> datetime:
    """The same moment; ValueError where no step can follow it."""
    if moment.year > LAST_YEAR:
        message = f"{moment.year} is no year of a grid"
        raise ValueError(message)
    return moment


@dataclass(frozen=True, slots=True)
class _Row:
    """One row as it stands; ``where`` is its line in a CSV or its number in a JSON list."""

    where: str
    start: datetime
    end: datetime | None
    g_per_kwh: float
    kind: PointKind
    issued_at: datetime | None


@dataclass(frozen=True, slots=True)
class _Content:
    """What one version of the file says; ``issues`` by issue time, oldest first, the undated one before all."""

    past: tuple[Point, ...]
    issues: tuple[tuple[datetime | None, tuple[Point, ...]], ...]


class File:
    """One file for one zone."""

    name = "file"
    ttl_s = 60.0
    rates = NO_RATES

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
        self._seen: tuple[tuple[int, int], _Content] | None = None

    def zones(self) -> tuple[str, ...]:
        """The zone that was named."""
        return (self._zone,)

    async def actual(self, zone: str, start: datetime, end: datetime, now: datetime) -> Series:
        """Rows that touch [start, end), have ended, and are not forecasts."""
        points = [p for p in self._read(zone).past if p.end > start and p.start < end and p.end <= now]
        return self._series(points, now, "no past figure for that time")

    async def forecast(self, zone: str, now: datetime) -> Series | None:
        """The newest issue known at ``now`` without the slots that have ended; None when the file has no forecast."""
        issues = self._read(zone).issues
        if not issues:
            return None
        known = [(issued, points) for issued, points in issues if issued is None or issued <= now]
        issued, points = known[-1] if known else (None, ())
        return self._series([p for p in points if p.end > now], now, "no forecast for the time from now on", issued)

    def _series(self, points: list[Point], now: datetime, missing: str, issued_at: datetime | None = None) -> Series:
        if not points:
            raise GridFailure(GridFailureKind.NO_DATA, f"{self._path} holds {missing}.", fix="Add rows to it.")
        return Series(
            source=self.name,
            zone_requested=self._zone,
            zone_returned=self._zone,
            points=tuple(points),
            step_s=min((p.end - p.start).total_seconds() for p in points),
            signal=self._signal,
            basis=self._basis,
            accounting=self._accounting,
            fetched_at=now,
            issued_at=issued_at,
            attribution=self._attribution,
        )

    def _read(self, zone: str) -> _Content:
        if zone != self._zone:
            message = f"{self._path} describes zone {self._zone!r}, not {zone!r}."
            raise GridFailure(GridFailureKind.UNKNOWN_ZONE, message)
        try:
            facts = self._path.stat()
            version = (facts.st_mtime_ns, facts.st_size)
            if self._seen is None or self._seen[0] != version:
                if facts.st_size > SIZE_CAP:
                    raise self._bad(f"it is larger than {SIZE_CAP >> 20} MiB")
                self._seen = (version, self._parse(self._path.read_text(encoding="utf-8-sig")))
        except OSError as error:
            message = f"{self._path} cannot be read: {error.strerror}."
            raise GridFailure(GridFailureKind.UNAVAILABLE, message) from error
        except UnicodeDecodeError:
            raise self._bad("it is not UTF-8 text") from None
        return self._seen[1]

    def _parse(self, text: str) -> _Content:
        numbered = self._json_rows(text) if self._path.suffix.lower() == ".json" else self._csv_rows(text)
        rows = [self._row(where, row) for where, row in numbered]
        groups: dict[datetime | None, list[_Row]] = {}
        for row in rows:
            if row.kind == PointKind.FORECAST:
                groups.setdefault(row.issued_at, []).append(row)
        dated = sorted(issued for issued in groups if issued is not None)
        order: list[datetime | None] = [None, *dated] if None in groups else [*dated]
        return _Content(
            past=self._points([row for row in rows if row.kind != PointKind.FORECAST]),
            issues=tuple((issued, self._points(groups[issued])) for issued in order),
        )

    def _csv_rows(self, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
        reader = csv.DictReader(io.StringIO(text))
        try:
            missing = {"start_utc", "g_per_kwh"} - set(reader.fieldnames or ())
            if missing:
                raise self._bad(f"its first line names no column {' or '.join(sorted(missing))}")
            for row in reader:
                yield f"line {reader.line_num}", row
        except csv.Error as error:
            raise self._bad(f"line {reader.line_num}: it is not CSV ({error})") from None

    def _json_rows(self, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
        try:
            rows = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise self._bad(f"it is not JSON ({error})") from None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise self._bad("expected a list of objects")
        return ((f"item {number}", row) for number, row in enumerate(rows, start=1))

    def _points(self, rows: list[_Row]) -> tuple[Point, ...]:
        step = self._usual_step(rows)
        points: list[Point] = []
        for index, row in enumerate(rows):
            end = row.end
            if end is None:
                if step is None:
                    raise self._bad(f"{row.where}: a single row needs end_utc")
                after = rows[index + 1].start if index + 1 < len(rows) else row.start + step
                end = min(after, row.start + step) if after > row.start else row.start + step
            if end <= row.start or (points and row.start < points[-1].end):
                raise self._bad(f"{row.where}: its interval is empty, out of order or overlaps the one before")
            points.append(Point(row.start, end, row.g_per_kwh, row.kind))
        return tuple(points)

    @staticmethod
    def _usual_step(rows: list[_Row]) -> timedelta | None:
        """The most frequent distance between neighbours, the shortest of equals; None for a single row."""
        steps = Counter(b.start - a.start for a, b in pairwise(rows) if b.start > a.start)
        return min(steps, key=lambda step: (-steps[step], step)) if steps else None

    def _row(self, where: str, row: dict[str, Any]) -> _Row:
        issued_at = self._moment(where, row, "issued_utc")
        usual = PointKind.ACTUAL if issued_at is None else PointKind.FORECAST
        kind = row.get("kind") or usual
        if kind not in KINDS:
            raise self._bad(f"{where}: kind {kind!r} is not one of {', '.join(KINDS)}")
        start = self._moment(where, row, "start_utc")
        if start is None:
            raise self._bad(f"{where}: start_utc is empty; expected a time such as 2026-03-01T18:00Z")
        value = self._intensity(where, row)
        return _Row(where, start, self._moment(where, row, "end_utc"), value, PointKind(kind), issued_at)

    def _moment(self, where: str, row: dict[str, Any], name: str) -> datetime | None:
        told = row.get(name)
        if told is None or told == "":
            return None
        try:
            return _in_reach(utc(datetime.fromisoformat(told)))
        except (TypeError, ValueError, OverflowError):
            message = f"{where}: {name} is {told!r}; expected a time with its zone, such as 2026-03-01T18:00Z"
            raise self._bad(message) from None

    def _intensity(self, where: str, row: dict[str, Any]) -> float:
        told = row.get("g_per_kwh")
        try:
            value = math.nan if isinstance(told, bool) else float(told)  # type: ignore[arg-type]  # None is refused below
        except (TypeError, ValueError, OverflowError):
            value = math.nan
        if not 0 <= value <= MAX_G_PER_KWH:
            message = (
                f"{where}: g_per_kwh is {told!r}; expected a number from 0 to {MAX_G_PER_KWH:.0f},"
                " and no row where it is not known"
            )
            raise self._bad(message)
        return value

    def _bad(self, what: str) -> GridFailure:
        return GridFailure(GridFailureKind.BAD_RESPONSE, f"{self._path}: {what}.", fix="Mend the file.")

    async def close(self) -> None:
        """Nothing to give back."""
