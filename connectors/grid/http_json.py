"""Intensity out of any JSON API, by a mapping that the settings declare: no code for one more vendor.

``actual`` and ``forecast`` each say where to ask and where in the answer the rows, their time and their figure
stand. ``{zone}``, ``{start}`` and ``{end}`` in the address stand for the question, encoded; they may not be in the
host. What does not fit the mapping is refused, and a local time that the clocks show twice is only taken where
both hours are there to tell them apart.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

from pydantic import ValidationError

from lowtide.connectors.grid.fetch import Vendor
from lowtide.connectors.grid.mapping import RowMapping, begun, figures_of, found_at, readable, written
from lowtide.connectors.grid.meaning import meaning_of, zone_table
from lowtide.connectors.grid.rows import SHOWN, bad, points_of, step_of
from lowtide.connectors.grid.secret import Secret
from lowtide.scheduler.model.errors import BadInput, GridFailure, GridFailureKind
from lowtide.scheduler.model.series import NO_RATES, Point, PointKind, Rate, Series
from lowtide.scheduler.model.units import floor_to

_HOLE = re.compile(r"\{(\w*)\}")
HOLES = frozenset({"zone", "start", "end"})


class HttpJson:
    """One API for the zones of the settings."""

    def __init__(
        self,
        url: str,
        zones: object,
        actual: Mapping[str, Any],
        *,
        signal: str,
        name: str = "http_json",
        basis: str = "unknown",
        accounting: str = "unknown",
        attribution: str = "operator's own",
        forecast: Mapping[str, Any] | None = None,
        headers: Mapping[str, Any] | None = None,
        ttl_s: float = 300.0,
        calls: int = 0,
        per_s: float = 60.0,
        private_networks: Sequence[str] = (),
    ) -> None:
        """Take where to ask, how to read the answer, and what it means.

        Args:
            url: scheme and host, and the beginning of the path where all addresses share one.
            zones: names as a list, or our names with those of the API.
            actual: how past figures are asked for and read; see ``RowMapping``.
            signal: average or marginal.
            name: what the source is called, where there are several of this kind.
            basis: lifecycle, direct or unknown.
            accounting: consumption, production or unknown.
            attribution: shown in receipts.
            forecast: the same for the forecast; what it leaves out is as in ``actual``. Without it there is none.
            headers: names with a text, or with ``file`` or ``env`` where a secret lies, and a ``prefix`` before it.
            ttl_s: seconds for which an answer counts as fresh.
            calls: how many requests the API allows for each of the two in ``per_s`` seconds; 0 for no limit.
            per_s: see ``calls``.
            private_networks: where the API is inside your network and is not written as an address.

        Raises:
            BadInput: an option cannot be taken.

        """
        self.name, self.ttl_s = name, float(ttl_s)
        self.rates = (
            {key: Rate(calls, per_s) for key in ("actual", "forecast")} if calls > 0 and per_s > 0 else NO_RATES
        )
        self._meaning = meaning_of(name, signal=signal, basis=basis, accounting=accounting, attribution=attribution)
        self._zones = zone_table(name, zones)
        self._actual = _mapping(name, "actual", actual)
        self._forecast = None if forecast is None else _mapping(name, "forecast", {**actual, **forecast})
        self._fixed, self._secrets = _headers(name, headers or {})
        self._check(url)
        self._api = Vendor(name, url, headers={"Accept": "application/json"}, private_networks=private_networks)

    def _check(self, url: str) -> None:
        if _HOLE.search(urlsplit(url).netloc):
            raise BadInput(f"{self.name}: the host is fixed; {{zone}} may only be in a path or a query.")
        for mapping in filter(None, (self._actual, self._forecast)):
            unknown = set(_HOLE.findall(mapping.path)) - HOLES
            if unknown:
                message = f"{self.name}: the path names {{{', '.join(sorted(unknown))}}};"
                raise BadInput(f"{message} expected {{zone}}, {{start}} and {{end}} alone.")
            if len(self._zones) > 1 and "{zone}" not in mapping.path and not mapping.zone:
                message = f"{self.name}: one address cannot answer for {len(self._zones)} zones."
                raise BadInput(message, fix="Put {zone} into the path.")

    def zones(self) -> tuple[str, ...]:
        """Those of the settings."""
        return tuple(self._zones)

    async def actual(self, zone: str, start: datetime, end: datetime, now: datetime) -> Series:
        """Figures that touch [start, end) and have ended, as far back as one answer may reach."""
        mapping = self._actual
        begin = max(start, end - timedelta(days=mapping.max_days))
        points, step, _ = await self._ask(zone, mapping, (begin, max(end, begin)), PointKind(mapping.kind), now)
        past = [p for p in points if p.end > start and p.start < end and p.end <= now]
        return self._series(zone, past, step, now)

    async def forecast(self, zone: str, now: datetime) -> Series | None:
        """Figures from now on; None when no forecast is mapped."""
        mapping = self._forecast
        if mapping is None:
            return None
        begin = floor_to(now, timedelta(seconds=mapping.step_s))
        until = begin + timedelta(days=mapping.max_days)
        points, step, issued_at = await self._ask(zone, mapping, (begin, until), PointKind.FORECAST, now)
        return self._series(zone, [p for p in points if p.end > now], step, now, issued_at)

    async def _ask(
        self, zone: str, mapping: RowMapping, span: tuple[datetime, datetime], kind: PointKind, now: datetime
    ) -> tuple[list[Point], timedelta, datetime | None]:
        if zone not in self._zones:
            message = f"{self.name} is set up for {', '.join(self._zones)}, not for {zone!r}."
            raise GridFailure(GridFailureKind.UNKNOWN_ZONE, message, fix="Add it to the source's zones.")
        theirs = self._zones[zone]
        asked = {"zone": theirs, "start": written(span[0], mapping), "end": written(span[1], mapping)}
        path = _HOLE.sub(lambda hole: quote(asked[hole[1]], safe=""), mapping.path)
        body = await self._api.json(path, now=now, headers=self._headers())
        self._check_zone(found_at(body, mapping.zone) if mapping.zone else None, theirs)
        issued = found_at(body, mapping.issued) if mapping.issued else None
        issued_at = None if issued is None else readable(self.name, issued, mapping)
        figures, step = self._figures(body, mapping, theirs)
        return points_of(self.name, figures, kind, step), step, _past(issued_at, now)

    def _figures(
        self, body: Any, mapping: RowMapping, theirs: str
    ) -> tuple[list[tuple[datetime, float | None]], timedelta]:
        rows = found_at(body, mapping.rows)
        if rows is None and isinstance(body, dict | list) and not body:
            rows = []
        rows = [rows] if isinstance(rows, dict) else rows
        if not isinstance(rows, list):
            raise bad(self.name, f"no rows under {mapping.rows or 'its answer'}")
        if mapping.row_zone:
            for row in rows:
                self._check_zone(found_at(row, mapping.row_zone), theirs)
        figures = figures_of(self.name, rows, mapping)
        step = step_of([start for start, _ in figures], timedelta(seconds=mapping.step_s))
        if mapping.time_is == "end":
            return begun(self.name, figures, step), step
        return figures, step

    def _check_zone(self, told: Any, theirs: str) -> None:
        if told is not None and told != theirs:
            raise bad(self.name, f"zone {str(told)[:SHOWN]!r} where {theirs!r} was asked for")

    def _headers(self) -> dict[str, str]:
        return self._fixed | {name: f"{prefix}{secret.key()}" for name, (prefix, secret) in self._secrets.items()}

    def _series(
        self, zone: str, points: list[Point], step: timedelta, now: datetime, issued_at: datetime | None = None
    ) -> Series:
        if not points:
            raise GridFailure(GridFailureKind.NO_DATA, f"{self.name} has no figures of {zone} for that time.")
        return self._meaning.series(zone, points, step.total_seconds(), now, issued_at)

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()


def _past(issued_at: datetime | None, now: datetime) -> datetime | None:
    """An issue time, unless it lies ahead: then it is something else."""
    return issued_at if issued_at is not None and issued_at <= now else None


def _mapping(source: str, which: str, told: Mapping[str, Any]) -> RowMapping:
    try:
        return RowMapping.model_validate(told)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or which}: {e['msg']}" for e in error.errors())
        raise BadInput(f"{source}: the mapping {which!r} cannot be taken: {wrong}.") from None


def _headers(source: str, told: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, tuple[str, Secret]]]:
    """Headers with their text, and those with a secret: its prefix and where it lies."""
    fixed: dict[str, str] = {}
    secret: dict[str, tuple[str, Secret]] = {}
    for header, value in told.items():
        if isinstance(value, str):
            fixed[header] = value
        elif isinstance(value, Mapping) and set(value) <= {"file", "env", "prefix"} and {"file", "env"} & set(value):
            key = Secret(f"the header {header} of {source}", file=value.get("file", ""), env=value.get("env", ""))
            secret[header] = (str(value.get("prefix", "")), key)
        else:
            message = f"{source}: the header {header} is neither a text nor names a file or env for its secret."
            raise BadInput(message)
    return fixed, secret
