"""Grid carbon intensity over time with its whole provenance; nothing that is not sane gets in (INV-12)."""

import bisect
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

from lowtide.scheduler.model.errors import GridFailure, GridFailureKind

MAX_G_PER_KWH = 5000.0
"""No grid has ever been near it; more means a wrong unit."""


class PointKind(StrEnum):
    """How a figure came about."""

    ACTUAL = "actual"
    ESTIMATED = "estimated"
    FORECAST = "forecast"
    STATIC = "static"


class Signal(StrEnum):
    """Average of all generation, or the marginal plant; never mixed in one number."""

    AVERAGE = "average"
    MARGINAL = "marginal"


class Basis(StrEnum):
    """Lifecycle emissions of the plants, or direct (stack) emissions only."""

    LIFECYCLE = "lifecycle"
    DIRECT = "direct"
    UNKNOWN = "unknown"


class Accounting(StrEnum):
    """Whether imports and exports are traced."""

    CONSUMPTION = "consumption"
    PRODUCTION = "production"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class SeriesKey:
    """Figures may be compared, and savings computed, only within one key."""

    source: str
    zone: str
    signal: Signal
    basis: Basis
    accounting: Accounting


@dataclass(frozen=True, slots=True)
class Point:
    """Intensity in g CO2e/kWh over [start, end), both aware UTC."""

    start: datetime
    end: datetime
    g_per_kwh: float
    kind: PointKind


def _bad(message: str) -> GridFailure:
    return GridFailure(GridFailureKind.BAD_RESPONSE, message)


@dataclass(frozen=True, slots=True)
class Series:
    """Points in time order, not overlapping, with where they came from.

    ``source`` is the source's name; where it makes the figures itself, what with is part of it, after a slash
    (``entsoe/ipcc_ar5_lifecycle_2014``), so that figures made otherwise are never compared.

    Raises:
        GridFailure: (bad_response) a figure is not finite or outside [0, 5000], a time is naive, an
            interval is empty, two overlap, or the zone that answered is not the one asked for.

    """

    source: str
    zone_requested: str
    zone_returned: str
    points: tuple[Point, ...]
    step_s: float
    signal: Signal
    basis: Basis
    accounting: Accounting
    fetched_at: datetime
    issued_at: datetime | None = None
    attribution: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what is not sane."""
        if not (math.isfinite(self.step_s) and self.step_s > 0):
            raise _bad(f"{self.source} gives a step of {self.step_s} s: expected more than zero.")
        if self.fetched_at.tzinfo is None or (self.issued_at is not None and self.issued_at.tzinfo is None):
            raise _bad(f"{self.source} was fetched or issued at a time without a zone.")
        if self.zone_returned != self.zone_requested:
            message = f"{self.source} answered for zone {self.zone_returned!r}, asked for {self.zone_requested!r}."
            raise _bad(message)
        last: datetime | None = None
        for point in self.points:
            _check_point(point, last, self.source)
            last = point.end

    @property
    def key(self) -> SeriesKey:
        """What this series may be compared with."""
        return SeriesKey(self.source, self.zone_returned, self.signal, self.basis, self.accounting)

    def at(self, moment: datetime) -> Point | None:
        """The point whose interval holds ``moment``, or None."""
        index = bisect.bisect_right(self.points, moment, key=lambda p: p.start) - 1
        if index < 0 or moment >= self.points[index].end:
            return None
        return self.points[index]

    def mean_g_per_kwh(self, start: datetime, end: datetime) -> float | None:
        """Time-weighted mean over [start, end); None unless every moment of it is known."""
        points, index = self.points, bisect.bisect_right(self.points, start, key=lambda p: p.start) - 1
        if index < 0 or end <= start:
            return None
        total, reached = 0.0, start
        while reached < end:
            if index == len(points) or not points[index].start <= reached < points[index].end:
                return None
            until = min(end, points[index].end)
            total += points[index].g_per_kwh * (until - reached).total_seconds()
            reached, index = until, index + 1
        return total / (end - start).total_seconds()

    def covers(self, start: datetime, end: datetime) -> bool:
        """Whether every moment of [start, end) is known; false for an empty interval."""
        return self.mean_g_per_kwh(start, end) is not None

    def clip(self, start: datetime, end: datetime) -> "Series":
        """Only the points that touch [start, end)."""
        return replace(self, points=tuple(p for p in self.points if p.end > start and p.start < end))

    def to_json(self) -> dict[str, Any]:
        """JSON-able values; ``from_json`` gives the same series back."""
        plain: dict[str, Any] = {name: getattr(self, name) for name in Series.__slots__}
        plain["points"] = [[p.start.isoformat(), p.end.isoformat(), p.g_per_kwh, p.kind] for p in self.points]
        plain["fetched_at"] = self.fetched_at.isoformat()
        plain["issued_at"] = self.issued_at.isoformat() if self.issued_at else None
        plain["notes"] = list(self.notes)
        return plain

    @staticmethod
    def from_json(plain: dict[str, Any]) -> "Series":
        """Read what ``to_json`` wrote, checked again.

        Raises:
            GridFailure: (bad_response) it is not what ``to_json`` writes.

        """
        try:
            return Series._from_plain(plain)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise _bad(f"a stored series cannot be read ({type(error).__name__}: {error}).") from None

    @staticmethod
    def _from_plain(plain: dict[str, Any]) -> "Series":
        moment = datetime.fromisoformat
        values = dict(plain)
        values["points"] = tuple(
            Point(moment(start), moment(end), g, PointKind(kind)) for start, end, g, kind in plain["points"]
        )
        values["fetched_at"] = moment(plain["fetched_at"])
        values["issued_at"] = moment(plain["issued_at"]) if plain["issued_at"] else None
        values["signal"], values["basis"] = Signal(plain["signal"]), Basis(plain["basis"])
        values["accounting"], values["notes"] = Accounting(plain["accounting"]), tuple(plain["notes"])
        return Series(**values)


def _check_point(point: Point, last: datetime | None, source: str) -> None:
    value = point.g_per_kwh
    # The comparison also refuses NaN, both infinities and integers too large for a float.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_G_PER_KWH:
        told = repr(value)[:40]
        raise _bad(f"{source} gives {told} at {point.start}: expected 0 to {MAX_G_PER_KWH:.0f} g/kWh.")
    if point.start.tzinfo is None or point.end.tzinfo is None:
        message = f"{source} gives a time without a zone: {point.start}."
        raise _bad(message)
    if point.end <= point.start or (last is not None and point.start < last):
        message = f"{source} gives intervals that are empty, unsorted or overlap at {point.start}."
        raise _bad(message)


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``calls`` requests in any ``per_s`` seconds, as the vendor allows one client."""

    calls: int
    per_s: float


NO_RATES: Mapping[str, Rate] = MappingProxyType({})
"""Of sources whose vendor names no limit."""


class GridSource(Protocol):
    """One vendor. Asked for a zone and a time and nothing else; answers a sane series or raises GridFailure.

    ``ttl_s`` is how long an answer counts as fresh. ``rates`` is the vendor's limit for each operation
    (``actual``, ``forecast``); one that is not named has none. A source whose figures come so late that they serve
    the accounts alone has ``steers = False`` as well: no forecast is then made from its history.
    """

    name: str
    ttl_s: float
    rates: Mapping[str, Rate]

    def zones(self) -> tuple[str, ...]:
        """The zones that it can answer for; empty when only asking tells."""

    async def actual(self, zone: str, start: datetime, end: datetime, now: datetime) -> Series:
        """What was measured or estimated over [start, end), as known at ``now``."""

    async def forecast(self, zone: str, now: datetime) -> Series | None:
        """The newest forecast known at ``now``; None when this source makes none."""

    async def close(self) -> None:
        """Give connections back."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """A zone that a source says it answers for; ``forecasts`` is None where it does not say."""

    zone: str
    name: str = ""
    forecasts: bool | None = None


@runtime_checkable
class ProbingSource(GridSource, Protocol):
    """A source that only the vendor can tell the zones of; ``zones()`` is empty until it was asked."""

    async def probe(self, now: datetime) -> tuple[Coverage, ...]:
        """Ask the vendor what it answers for and keep that for ``zones()``; raises GridFailure."""
