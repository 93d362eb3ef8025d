"""WattTime v3, live: the marginal emission rate of the grid's balancing regions, with an account.

Pounds per MWh become grams per kWh. ``co2_moer`` is the marginal rate, with a forecast; ``co2_aoer`` the average,
for the past alone. The percentile index, which needs no plan, is no intensity and is refused. Proprietary terms.
"""

import asyncio
import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from lowtide.connectors.grid.fetch import FORBIDDEN, UNAUTHORIZED, Vendor
from lowtide.connectors.grid.rows import SHOWN, bad, moment, number, points_of, rows_of, scaled, step_of
from lowtide.connectors.grid.secret import Secret
from lowtide.connectors.http import HttpAnswer
from lowtide.scheduler.model.errors import BadInput, GridFailure, GridFailureKind
from lowtide.scheduler.model.series import Accounting, Basis, Coverage, Point, PointKind, Rate, Series, Signal
from lowtide.scheduler.model.units import intensity_factor, utc

NAME = "watttime"
BASE_URL = "https://api.watttime.org"
ATTRIBUTION = "WattTime (watttime.org)"
UNITS = "lbs_co2_per_mwh"
G_PER_KWH = intensity_factor("lb", "MWh")
SIGNALS = {"co2_moer": Signal.MARGINAL, "co2_aoer": Signal.AVERAGE}
STEP = timedelta(minutes=5)
MAX_SPAN = timedelta(days=30)
"""The API takes 32 days at once; its own client asks for 30."""
MONTH_CAP = 4 << 20
"""A month of five-minute rows is a little more than a mebibyte."""
MAX_HORIZON_H = 72
TOKEN_LIFE = timedelta(minutes=29)
"""The vendor says 30; one less, so that none runs out on its way."""
MAX_NOTES = 5
DAY_S = 86_400.0
SCOPE_TEXT = b"Invalid scope"
"""What the API says when the account is right and its plan lacks the region or the signal."""
FIXES = {
    GridFailureKind.AUTH: "Check the name and the password of the account.",
    GridFailureKind.NOT_ENTITLED: "The account is right: ask for a region of its plan (lowtide zones), or change it.",
}


class WattTime:
    """Every region that the account opens."""

    name = NAME
    ttl_s = 300.0
    # 3,000 requests in 5 minutes for an account, whatever is asked; logins and probes have the rest.
    rates: Mapping[str, Rate] = MappingProxyType({"actual": Rate(1200, 300.0), "forecast": Rate(1200, 300.0)})

    def __init__(
        self,
        *,
        username_file: str = "",
        username_env: str = "",
        password_file: str = "",
        password_env: str = "",
        signal_type: str = "co2_moer",
        horizon_hours: int = 24,
        base_url: str = BASE_URL,
        private_networks: Sequence[str] = (),
    ) -> None:
        """Take where the account's name and password lie and what is to be asked for.

        Raises:
            BadInput: one of them is not there, or an option has a value that the API does not know.

        """
        if signal_type not in tuple(SIGNALS):
            message = f"{NAME} gives no intensity as signal_type {signal_type!r}."
            raise BadInput(message, fix=f"Give one of {', '.join(SIGNALS)}.")
        if isinstance(horizon_hours, bool) or horizon_hours not in range(1, MAX_HORIZON_H + 1):
            message = f"{NAME} does not take horizon_hours {horizon_hours!r}."
            raise BadInput(message, fix=f"Give a whole number from 1 to {MAX_HORIZON_H}.")
        self._username = Secret("the WattTime user name", file=username_file, env=username_env)
        self._password = Secret("the WattTime password", file=password_file, env=password_env)
        self._signal_type, self._horizon = signal_type, str(horizon_hours)
        self._api = Vendor(NAME, base_url, headers={"Accept": "application/json"}, private_networks=private_networks)
        self._token = ""
        self._token_at: datetime | None = None
        self._login = asyncio.Lock()
        self._covered: dict[str, Coverage] = {}

    def zones(self) -> tuple[str, ...]:
        """The regions that the account opens for the signal, once it was asked."""
        return tuple(self._covered)

    async def probe(self, now: datetime) -> tuple[Coverage, ...]:
        """Ask what the account opens."""
        body = await self._ask("/v3/my-access", {}, now)
        signals = rows_of(NAME, body, "signal_types")
        mine = [signal for signal in signals if signal.get("signal_type") == self._signal_type]
        found = [_coverage(row) for signal in mine for row in rows_of(NAME, signal, "regions")]
        self._covered = {coverage.zone: coverage for coverage in found}
        return tuple(found)

    async def actual(self, zone: str, start: datetime, end: datetime, now: datetime) -> Series:
        """Figures of [start, end), in chunks of a month; the vendor revises them later."""
        rows, meta = await self._figures("/v3/historical", zone, _span(start, min(start + MAX_SPAN, end)), now)
        begin = start + MAX_SPAN
        while begin < end:
            more, meta = await self._figures("/v3/historical", zone, _span(begin, min(begin + MAX_SPAN, end)), now)
            rows, begin = rows + more, begin + MAX_SPAN
        imputed = {_start(row) for row in rows if row.get("imputed_data_used") is True}
        points = [
            replace(p, kind=PointKind.ESTIMATED) if p.start in imputed else p
            for p in _points(rows, meta, PointKind.ACTUAL)
            if p.end > start and p.start < end and p.end <= now
        ]
        return self._series(zone, points, rows, meta, now)

    async def forecast(self, zone: str, now: datetime) -> Series | None:
        """The newest forecast of the marginal rate; None for the average, of which there is none."""
        if self._signal_type != "co2_moer":
            return None
        rows, meta = await self._figures("/v3/forecast", zone, {"horizon_hours": self._horizon}, now)
        points = [p for p in _points(rows, meta, PointKind.FORECAST) if p.end > now]
        told = meta.get("generated_at")
        series = self._series(zone, points, rows, meta, now)
        return series if told is None else replace(series, issued_at=moment(NAME, told))

    async def _figures(
        self, path: str, zone: str, more: dict[str, str], now: datetime
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Rows and their meta, for the region, the signal and in the unit asked for."""
        try:
            body = await self._ask(path, {"region": zone, "signal_type": self._signal_type, **more}, now)
        except GridFailure as failure:
            if failure.kind in {GridFailureKind.BAD_RESPONSE, GridFailureKind.NO_DATA}:
                await self._explain(zone, now)
            raise
        rows = rows_of(NAME, body, "data")
        return rows, _meta(body, zone, self._signal_type)

    async def _explain(self, zone: str, now: datetime) -> None:
        """After a refused question: raise if the account does not know the region."""
        try:
            await self.probe(now)
        except GridFailure:
            return  # the first failure tells enough
        if zone not in self._covered:
            message = f"{NAME} opens no region {zone!r} for {self._signal_type} to this account."
            raise GridFailure(GridFailureKind.UNKNOWN_ZONE, message, fix="See: lowtide zones.")

    async def _ask(self, path: str, query: dict[str, str], now: datetime) -> Any:
        """One question; a token that was refused is renewed once."""
        token = await self._ticket(now)
        try:
            return await self._get(path, query, f"Bearer {token}", now)
        except GridFailure as failure:
            if failure.kind != GridFailureKind.AUTH:
                raise
        return await self._get(path, query, f"Bearer {await self._ticket(now, refused=token)}", now)

    async def _ticket(self, now: datetime, refused: str = "") -> str:
        """A token that should work; whoever waits meanwhile shares the one login."""
        async with self._login:
            age = None if self._token_at is None else now - self._token_at
            is_fresh = age is not None and timedelta(0) <= age < TOKEN_LIFE
            if not is_fresh or self._token == refused:
                self._token = _token(await self._get("/login", {}, self._basic(), now))
                self._token_at = now
            return self._token

    def _basic(self) -> str:
        account = f"{self._username.key()}:{self._password.key()}"
        return f"Basic {base64.b64encode(account.encode()).decode()}"

    async def _get(self, path: str, query: dict[str, str], authorization: str, now: datetime) -> Any:
        headers = {"Authorization": authorization}
        try:
            return await self._api.json(
                path, now=now, query=query, headers=headers, refusal=_refusal, body_cap=MONTH_CAP
            )
        except GridFailure as failure:
            fix = failure.fix or FIXES.get(failure.kind, "")
            raise GridFailure(failure.kind, failure.message, retry_at=failure.retry_at, fix=fix) from None

    def _series(
        self, zone: str, points: list[Point], rows: list[dict[str, Any]], meta: dict[str, Any], now: datetime
    ) -> Series:
        if not points:
            raise GridFailure(GridFailureKind.NO_DATA, f"{NAME} has no figures for region {zone} at that time.")
        return Series(
            source=NAME,
            zone_requested=zone,
            zone_returned=zone,
            points=tuple(points),
            step_s=step_of([_start(row) for row in rows], _period(meta)).total_seconds(),
            signal=SIGNALS[self._signal_type],
            basis=Basis.DIRECT,
            accounting=Accounting.UNKNOWN,
            fetched_at=now,
            issued_at=None,
            attribution=ATTRIBUTION,
            notes=_notes(meta),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()


def _refusal(answer: HttpAnswer) -> GridFailureKind | None:
    """A login that failed or ran out is told in HTML; JSON tells of the plan."""
    if SCOPE_TEXT in answer.body:
        return GridFailureKind.NOT_ENTITLED
    if answer.status == UNAUTHORIZED or (answer.status == FORBIDDEN and not _is_json(answer.body)):
        return GridFailureKind.AUTH
    return None


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True


def _token(body: Any) -> str:
    token = body.get("token") if isinstance(body, dict) else None
    if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable():
        raise bad(NAME, "no token in answer to a login")
    return token


def _coverage(row: dict[str, Any]) -> Coverage:
    region = row.get("region")
    if not isinstance(region, str):
        raise bad(NAME, "a region without a name")
    has_forecast = any(endpoint.get("endpoint") == "v3/forecast" for endpoint in rows_of(NAME, row, "endpoints"))
    return Coverage(region, str(row.get("region_full_name") or "")[:80], has_forecast)


def _meta(body: Any, zone: str, signal_type: str) -> dict[str, Any]:
    """The meta of an answer, if it is about what was asked for."""
    meta = body.get("meta")
    if not isinstance(meta, dict):
        raise bad(NAME, "an answer without its meta")
    if meta.get("units") == "percentile":
        raise bad(NAME, "its percentile index, which ranks a moment among others and is no intensity")
    for name, wanted in (("region", zone), ("signal_type", signal_type), ("units", UNITS)):
        if meta.get(name) != wanted:
            raise bad(NAME, f"{name} {str(meta.get(name))[:SHOWN]!r}, expected {wanted!r}")
    return meta


def _period(meta: dict[str, Any]) -> timedelta:
    """The length of one row as told, for an answer of a single one."""
    told = meta.get("data_point_period_seconds")
    if not isinstance(told, int | float) or isinstance(told, bool) or not 1 <= told <= DAY_S:
        return STEP
    return timedelta(seconds=told)


def _g_per_kwh(row: dict[str, Any]) -> float | None:
    return scaled(NAME, number(NAME, row.get("value")), G_PER_KWH)


def _start(row: dict[str, Any]) -> datetime:
    return moment(NAME, row.get("point_time"))


def _notes(meta: dict[str, Any]) -> tuple[str, ...]:
    """The vendor's warnings: a list of texts, or of objects with a message."""
    told = meta.get("warnings")
    texts = [one.get("message") if isinstance(one, dict) else one for one in told] if isinstance(told, list) else []
    return tuple(text[:200] for text in texts if isinstance(text, str))[:MAX_NOTES]


def _points(rows: list[dict[str, Any]], meta: dict[str, Any], kind: PointKind) -> list[Point]:
    return points_of(NAME, [(_start(row), _g_per_kwh(row)) for row in rows], kind, _period(meta))


def _span(start: datetime, end: datetime) -> dict[str, str]:
    return {"start": _stamp(start), "end": _stamp(end)}


def _stamp(when: datetime) -> str:
    return utc(when).strftime("%Y-%m-%dT%H:%M:%SZ")
