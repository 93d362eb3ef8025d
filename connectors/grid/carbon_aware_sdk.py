"""A WebAPI of the Green Software Foundation's Carbon Aware SDK that a site runs itself; zones are its locations.

It gives g/kWh of whatever vendor stands behind it and loses what they mean: signal, basis and accounting are told
in the options. A rating of 0 stands for a missing figure as well as for zero, so that it is read as missing.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from lowtide.connectors.grid.fetch import FORBIDDEN, UNAUTHORIZED, Refusal, Vendor
from lowtide.connectors.grid.rows import SHOWN, bad, moment, number, points_of, rows_of, step_of
from lowtide.connectors.http import HttpAnswer
from lowtide.scheduler.model.errors import BadInput, GridFailure, GridFailureKind
from lowtide.scheduler.model.series import NO_RATES, Accounting, Basis, Coverage, Point, PointKind, Series, Signal
from lowtide.scheduler.model.units import utc

NAME = "carbon_aware_sdk"
NO_CONTENT, NOT_IMPLEMENTED = 204, 501
DAY = timedelta(days=1)
SPAN = re.compile(r"(\d{1,3}):([0-5]\d):([0-5]\d)(?:\.\d{1,7})?")
"""A .NET time span below a day."""
UNKNOWN_TEXTS = (b"LocationConversionException", b"Unknown Location")
KEYS = "The WebAPI's own vendor refuses it: check the key and the plan in the WebAPI's configuration."


class _NoForecast(Exception):
    """The vendor behind the WebAPI makes no forecasts."""


class CarbonAwareSdk:
    """The locations of one WebAPI."""

    name = NAME
    ttl_s = 900.0
    rates = NO_RATES

    def __init__(
        self,
        base_url: str,
        *,
        signal: str,
        basis: str = "unknown",
        accounting: str = "unknown",
        answers_as: Mapping[str, str] | None = None,
        attribution: str = "",
        private_networks: Sequence[str] = (),
    ) -> None:
        """Take the base URL and what the figures of the vendor behind it mean.

        Args:
            base_url: for example http://carbon.example:8080.
            signal: average or marginal.
            basis: lifecycle, direct or unknown.
            accounting: consumption, production or unknown.
            answers_as: the vendor's name of a location where the WebAPI answers with that one.
            attribution: what the vendor behind it asks to be shown.
            private_networks: where the WebAPI is inside your network and is not written as an address.

        Raises:
            BadInput: an option has an unknown value.

        """
        try:
            self._signal, self._basis, self._accounting = Signal(signal), Basis(basis), Accounting(accounting)
        except ValueError as error:
            message = f"{NAME} does not take an option: {error}."
            raise BadInput(
                message, fix="Say what the WebAPI's own source gives, or leave it out for unknown."
            ) from None
        self._answers_as = dict(answers_as or {})
        self._attribution = attribution or "Through a Carbon Aware SDK WebAPI"
        self._api = Vendor(NAME, base_url, headers={"Accept": "application/json"}, private_networks=private_networks)
        self._locations: tuple[str, ...] = ()

    def zones(self) -> tuple[str, ...]:
        """The locations that the WebAPI knows, once it was asked."""
        return self._locations

    async def probe(self, now: datetime) -> tuple[Coverage, ...]:
        """Ask for the locations; whether its vendor covers them only asking for figures tells."""
        body = await self._ask("/locations", {}, now)
        if not isinstance(body, dict):
            raise bad(NAME, "locations in an unknown shape")
        self._locations = tuple(body)
        return tuple(Coverage(name) for name in self._locations)

    async def actual(self, zone: str, start: datetime, end: datetime, now: datetime) -> Series:
        """Figures of [start, end)."""
        query = {"location": zone, "time": _stamp(start), "toTime": _stamp(end)}
        rows = rows_of(NAME, await self._ask("/emissions/bylocation", query, now))
        wanted = (zone, self._answers_as.get(zone, zone))
        for row in rows:
            if row.get("location") not in wanted:
                fix = "If that is the vendor's name of it, say so in answers_as."
                message = f"{NAME} answered for {str(row.get('location'))[:SHOWN]!r}, asked for {zone!r}."
                raise GridFailure(GridFailureKind.BAD_RESPONSE, message, fix=fix)
        points = _points(rows, "time", "rating", PointKind.ACTUAL)
        return self._series(zone, [p for p in points if p.end > start and p.start < end and p.end <= now], now)

    async def forecast(self, zone: str, now: datetime) -> Series | None:
        """The forecast as issued; None where the vendor behind the WebAPI makes none."""
        try:
            body = await self._ask("/emissions/forecasts/current", {"location": zone}, now, _forecast_refusal)
        except _NoForecast:
            return None
        issues = rows_of(NAME, body)
        if [issue.get("location") for issue in issues] != [zone]:
            raise bad(NAME, f"a forecast for another location than {zone!r}")
        rows = rows_of(NAME, issues[0], "forecastData")
        behind = {str(row.get("location"))[:SHOWN] for row in rows}
        if len(behind) > 1:
            raise bad(NAME, f"rows of several places in one forecast: {', '.join(sorted(behind)[:5])}")
        points = [p for p in _points(rows, "timestamp", "value", PointKind.FORECAST) if p.end > now]
        series = self._series(zone, points, now)
        notes = tuple(f"figures of {name}" for name in behind if name != zone)
        return replace(series, issued_at=_issue(issues[0].get("generatedAt")), notes=notes)

    async def _ask(self, path: str, query: dict[str, str], now: datetime, refusal: Refusal | None = None) -> Any:
        try:
            return await self._api.json(path, now=now, query=query, refusal=refusal or _refusal)
        except GridFailure as failure:
            if failure.kind == GridFailureKind.UNKNOWN_ZONE:
                message = f"{NAME} knows no location {query.get('location')!r}."
                raise GridFailure(failure.kind, message, fix="See: lowtide zones.") from None
            fix = KEYS if failure.kind == GridFailureKind.AUTH else failure.fix
            raise GridFailure(failure.kind, failure.message, retry_at=failure.retry_at, fix=fix) from None

    def _series(self, zone: str, points: list[Point], now: datetime) -> Series:
        if not points:
            raise GridFailure(GridFailureKind.NO_DATA, f"{NAME} has no figures for location {zone} at that time.")
        return Series(
            source=NAME,
            zone_requested=zone,
            zone_returned=zone,
            points=tuple(points),
            step_s=step_of([p.start for p in points], points[0].end - points[0].start).total_seconds(),
            signal=self._signal,
            basis=self._basis,
            accounting=self._accounting,
            fetched_at=now,
            issued_at=None,
            attribution=self._attribution,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()


def _refusal(answer: HttpAnswer) -> GridFailureKind | None:
    """Problem documents (RFC 7807); what the vendor behind answered is passed on with its status."""
    if answer.status == NO_CONTENT:
        return GridFailureKind.NO_DATA
    if any(text in answer.body for text in UNKNOWN_TEXTS):
        return GridFailureKind.UNKNOWN_ZONE
    return GridFailureKind.AUTH if answer.status in {UNAUTHORIZED, FORBIDDEN} else None


def _forecast_refusal(answer: HttpAnswer) -> GridFailureKind | None:
    if answer.status == NOT_IMPLEMENTED:
        raise _NoForecast
    return _refusal(answer)


def _points(rows: list[dict[str, Any]], time: str, figure: str, kind: PointKind) -> list[Point]:
    """Points no longer than their rows say; 0 is left out, since the WebAPI also writes it for what is missing."""
    spans = {moment(NAME, row.get(time)): _duration(row.get("duration")) for row in rows}
    usual = min((span for span in spans.values() if span), default=None)
    if len(spans) == 1 and usual is None:
        raise GridFailure(GridFailureKind.NO_DATA, f"{NAME} gave a single figure without saying how long it holds.")
    figures = [(moment(NAME, row.get(time)), number(NAME, row.get(figure)) or None) for row in rows]
    points = points_of(NAME, figures, kind, usual or DAY)
    return [replace(p, end=p.start + min(p.end - p.start, spans[p.start] or DAY)) for p in points]


def _duration(told: Any) -> timedelta | None:
    """Minutes, or hours:minutes:seconds; None where it is not told or 0."""
    if isinstance(told, str) and (parts := SPAN.fullmatch(told)):
        hours, minutes, seconds = (int(part) for part in parts.groups())
        return timedelta(hours=hours, minutes=minutes, seconds=seconds) or None
    if told is None or told == 0:
        return None
    if isinstance(told, bool) or not isinstance(told, int | float) or not 0 < told <= DAY / timedelta(minutes=1):
        raise bad(NAME, f"a duration of {str(told)[:SHOWN]!r}, expected minutes")
    return timedelta(minutes=told)


def _issue(told: Any) -> datetime | None:
    """The time of issue; the first year of the calendar stands for none."""
    issued_at = None if told is None else moment(NAME, told)
    return None if issued_at is None or issued_at.year == 1 else issued_at


def _stamp(when: datetime) -> str:
    return utc(when).strftime("%Y-%m-%dT%H:%M:%SZ")
