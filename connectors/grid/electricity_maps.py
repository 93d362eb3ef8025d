"""Electricity Maps, live: some 350 zones of the world, with a token; v4, or v3 by its base URL.

Average intensity by the hour, imports traced, lifecycle emissions unless asked otherwise. An unresolved zone
would be answered with the caller's own: the fallback is switched off and the zone that answers is compared.
``updatedAt`` of a forecast is the time of the answer, so that no issue time is known. Proprietary terms.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from lowtide.connectors.grid.fetch import FORBIDDEN, UNAUTHORIZED, Vendor
from lowtide.connectors.grid.rows import SHOWN, bad, moment, number, points_of, rows_of, step_of
from lowtide.connectors.grid.secret import Secret
from lowtide.connectors.http import HttpAnswer
from lowtide.scheduler.model.errors import BadInput, GridFailure, GridFailureKind
from lowtide.scheduler.model.series import Accounting, Basis, Coverage, Point, PointKind, Rate, Series, Signal
from lowtide.scheduler.model.units import floor_to, utc

NAME = "electricity_maps"
BASE_URL = "https://api.electricitymaps.com/v4"
ATTRIBUTION = "Source: ElectricityMaps.com"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MAX_SPAN = timedelta(days=10)
"""The longest past-range by the hour."""
HORIZONS_H = (6, 24, 48, 72)
STEPS = {"5_minutes": timedelta(minutes=5), "15_minutes": timedelta(minutes=15), "hourly": HOUR}
CATALOGUE_CAP = 4 << 20
"""The list of zones with everything that a token opens in each comes near a mebibyte."""
PLAN_TEXTS = ("do not have access", "request unauthorized for zone")
"""What a 401 says when the token is right and the plan lacks the zone or the question."""
FIXES = {
    GridFailureKind.AUTH: "Check the token; a new one takes some minutes to work.",
    GridFailureKind.NOT_ENTITLED: "The token is right: ask for a zone of its plan (lowtide zones), or change the plan.",
}
LATEST, FORECAST, PAST = "carbon-intensity/history", "carbon-intensity/forecast", "carbon-intensity/past-range"


@dataclass(frozen=True, slots=True)
class _Zone:
    """An entry of the catalogue; ``access`` is None where it was read without a token."""

    name: str
    subzones: tuple[str, ...]
    access: frozenset[str] | None


class ElectricityMaps:
    """Every zone that the token opens."""

    name = NAME
    ttl_s = 900.0
    # The vendor's usual limit is 150 requests a minute for a token; "actual" may take two of them.
    rates: Mapping[str, Rate] = MappingProxyType({"actual": Rate(50, 60.0), "forecast": Rate(50, 60.0)})

    def __init__(
        self,
        *,
        token_file: str = "",
        token_env: str = "",
        base_url: str = BASE_URL,
        emission_factor_type: str = "lifecycle",
        flow_traced: bool = True,
        horizon_hours: int = 24,
        temporal_granularity: str = "hourly",
        disable_estimations: bool = False,
        private_networks: Sequence[str] = (),
    ) -> None:
        """Take where the token lies (without one only the catalogue answers) and what is to be asked for.

        Raises:
            BadInput: the token is not there, or an option has a value that the API does not know.

        """
        _check_option("emission_factor_type", emission_factor_type, ("lifecycle", "direct"))
        _check_option("horizon_hours", horizon_hours, HORIZONS_H)
        _check_option("temporal_granularity", temporal_granularity, tuple(STEPS))
        if not flow_traced and base_url.rstrip("/").endswith("/v3"):
            message = f"{NAME} v3 always traces flows, and does not say so in its answers."
            raise BadInput(message, fix="Leave flow_traced out, or use the base URL of v4.")
        named = token_file or token_env
        self._secret = Secret("the Electricity Maps token", file=token_file, env=token_env) if named else None
        self._basis, self._is_flow_traced = Basis(emission_factor_type), bool(flow_traced)
        self._asked_step = STEPS[temporal_granularity]
        self._query = {"disableCallerLookup": "true", "emissionFactorType": emission_factor_type}
        self._query |= {} if self._asked_step == HOUR else {"temporalGranularity": temporal_granularity}
        self._query |= {} if flow_traced else {"flowTraced": "false"}
        self._query |= {"disableEstimations": "true"} if disable_estimations else {}
        self._horizon = {"horizonHours": str(horizon_hours)}
        self._api = Vendor(NAME, base_url, headers={"Accept": "application/json"}, private_networks=private_networks)
        self._catalogue: dict[str, _Zone] = {}
        self._without_past: set[str] = set()

    def zones(self) -> tuple[str, ...]:
        """The zones with live figures, once the catalogue was read."""
        return tuple(key for key, zone in self._catalogue.items() if _is_live(zone))

    async def probe(self, now: datetime) -> tuple[Coverage, ...]:
        """Read the catalogue: with a token it says what the plan opens, and sometimes more than that."""
        body = await self._ask("/zones", {"disableCallerLookup": "true"}, now, must_have_token=False)
        self._catalogue = _catalogue(body)
        return tuple(
            Coverage(key, zone.name, None if zone.access is None else FORECAST in zone.access)
            for key, zone in self._catalogue.items()
            if _is_live(zone)
        )

    async def actual(self, zone: str, start: datetime, end: datetime, now: datetime) -> Series:
        """Figures of [start, end): the last 24 hours, and what lies before where the plan has it."""
        self._check(zone)
        rows = await self._recent(zone, now) if end > now - DAY else []
        seam = min((_start(row) for row in rows), default=end)
        if start < seam:
            rows += [row for row in await self._older(zone, floor_to(start, HOUR), seam, now) if _start(row) < seam]
        points = [p for p in self._points(rows) if p.end > start and p.start < end and p.end <= now]
        return self._series(zone, points, rows, now)

    async def forecast(self, zone: str, now: datetime) -> Series | None:
        """The forecast as it is told now, from the current hour to the horizon."""
        self._check(zone)
        body = await self._figures(FORECAST, zone, self._horizon, now)
        rows = self._rows(body, "forecast", zone)
        points = [p for p in points_of(NAME, _figures_of(rows), PointKind.FORECAST, HOUR) if p.end > now]
        return self._series(zone, points, rows, now)

    async def _recent(self, zone: str, now: datetime) -> list[dict[str, Any]]:
        body = await self._figures(LATEST, zone, {}, now)
        return self._rows(body, "history", zone)

    async def _older(self, zone: str, start: datetime, end: datetime, now: datetime) -> list[dict[str, Any]]:
        """Rows of a longer past, in chunks; none where the plan lacks it, which is asked once."""
        known = self._catalogue.get(zone)
        if zone in self._without_past or (known and known.access is not None and PAST not in known.access):
            return []
        rows: list[dict[str, Any]] = []
        while start < end:
            stop = min(start + MAX_SPAN, end)
            try:
                body = await self._figures(PAST, zone, {"start": _stamp(start), "end": _stamp(stop)}, now)
                rows += self._rows(body, "data", zone)
            except GridFailure as failure:
                if failure.kind == GridFailureKind.NOT_ENTITLED:
                    self._without_past.add(zone)
                    return rows
                if failure.kind != GridFailureKind.NO_DATA:
                    raise
            start = stop
        return rows

    async def _figures(self, path: str, zone: str, more: dict[str, str], now: datetime) -> Any:
        try:
            return await self._ask(f"/{path}", {"zone": zone, **self._query, **more}, now)
        except GridFailure as failure:
            if path != PAST and failure.kind in {GridFailureKind.NO_DATA, GridFailureKind.NOT_ENTITLED}:
                await self._explain(zone, now, has_no_data=failure.kind == GridFailureKind.NO_DATA)
            raise

    async def _explain(self, zone: str, now: datetime, *, has_no_data: bool) -> None:
        """After an answer without figures: raise what the catalogue says of the zone, if it says anything."""
        if not self._catalogue:
            try:
                await self.probe(now)
            except GridFailure:
                return  # the first failure tells enough
        self._check(zone, has_no_data=has_no_data)

    def _check(self, zone: str, *, has_no_data: bool = False) -> None:
        """Refuse what the catalogue, where it was read, knows to have no figures of its own."""
        if not self._catalogue:
            return
        known = self._catalogue.get(zone)
        if known is None:
            near = get_close_matches(zone, self._catalogue, n=5, cutoff=0.5)
            fix = f"Did you mean {', '.join(near)}?" if near else "See: lowtide zones."
            raise GridFailure(GridFailureKind.UNKNOWN_ZONE, f"{NAME} knows no zone {zone!r}.", fix=fix)
        # Some zones with sub-zones have figures all the same (Spain without its islands): asking tells.
        if known.subzones and (not _is_live(known) or (has_no_data and known.access is None)):
            message = f"{NAME} has no live figures for {zone} as a whole."
            raise GridFailure(GridFailureKind.UNKNOWN_ZONE, message, fix=f"Choose one of {', '.join(known.subzones)}.")

    async def _ask(self, path: str, query: dict[str, str], now: datetime, *, must_have_token: bool = True) -> Any:
        headers = self._token(must_have_token=must_have_token)
        asked: dict[str, Any] = {"now": now, "query": query, "headers": headers, "refusal": _refusal}
        asked["body_cap"] = CATALOGUE_CAP
        try:
            return await self._api.json(path, **asked)
        except GridFailure as failure:
            if failure.kind != GridFailureKind.AUTH:
                raise _explained(failure) from None
        try:
            # Once more: of several requests at once some are told 401 although the token is right.
            return await self._api.json(path, **asked)
        except GridFailure as failure:
            raise _explained(failure) from None

    def _token(self, *, must_have_token: bool) -> dict[str, str]:
        if self._secret is not None:
            return {"auth-token": self._secret.key()}
        if must_have_token:
            message = f"{NAME} has no token, and gives figures to nobody without one."
            raise GridFailure(GridFailureKind.AUTH, message, fix="Name its file in token_file, or set token_env.")
        return {}

    def _rows(self, body: Any, key: str, zone: str) -> list[dict[str, Any]]:
        """The rows of an answer for the zone asked, on the terms asked."""
        if isinstance(body, dict) and body.get("status") == "no-data":
            raise GridFailure(GridFailureKind.NO_DATA, f"{NAME} has no figures for that time.")
        rows = rows_of(NAME, body, key)
        for part in ({"zone": None, **body}, *rows):
            told = part.get("zone", zone)
            if told != zone:
                raise bad(NAME, f"an answer for zone {str(told)[:SHOWN]!r}, asked for {zone!r}")
            self._check_terms(part)
        return rows

    def _check_terms(self, part: dict[str, Any]) -> None:
        """Refuse figures on another basis or accounting than asked for; v3 does not always say."""
        if part.get("emissionFactorType", self._basis) != self._basis:
            raise bad(NAME, f"figures that are {str(part['emissionFactorType'])[:SHOWN]}, asked for {self._basis}")
        if part.get("flowTraced", self._is_flow_traced) is not self._is_flow_traced:
            raise bad(NAME, f"figures with flowTraced {str(part['flowTraced'])[:SHOWN]}")

    @staticmethod
    def _points(rows: list[dict[str, Any]]) -> list[Point]:
        measured = {_start(row) for row in rows if row.get("isEstimated") is False}
        points = points_of(NAME, _figures_of(rows), PointKind.ESTIMATED, HOUR)
        return [replace(p, kind=PointKind.ACTUAL) if p.start in measured else p for p in points]

    def _series(self, zone: str, points: list[Point], rows: list[dict[str, Any]], now: datetime) -> Series:
        if not points:
            raise GridFailure(GridFailureKind.NO_DATA, f"{NAME} has no figures for zone {zone} at that time.")
        step = step_of([_start(row) for row in rows], HOUR)
        coarser = (f"asked for a step of {self._asked_step}, got {step}",) if step > self._asked_step else ()
        return Series(
            source=NAME,
            zone_requested=zone,
            zone_returned=zone,
            points=tuple(points),
            step_s=step.total_seconds(),
            signal=Signal.AVERAGE,
            basis=self._basis,
            accounting=Accounting.CONSUMPTION if self._is_flow_traced else Accounting.PRODUCTION,
            fetched_at=now,
            issued_at=None,
            attribution=ATTRIBUTION,
            notes=coarser,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()


def _start(row: dict[str, Any]) -> datetime:
    return moment(NAME, row.get("datetime"))


def _figures_of(rows: list[dict[str, Any]]) -> list[tuple[datetime, float | None]]:
    return [(_start(row), number(NAME, row.get("carbonIntensity"))) for row in rows]


def _check_option(name: str, value: object, known: Collection[object]) -> None:
    if value not in known:
        message = f"{NAME} does not take {name} {value!r}."
        raise BadInput(message, fix=f"Give one of {', '.join(str(one) for one in known)}.")


def _refusal(answer: HttpAnswer) -> GridFailureKind | None:
    """A 401 means the plan or the token, by its text; a 403 is a wrong token."""
    if answer.status == UNAUTHORIZED:
        text = answer.body[:2000].decode("utf-8", "replace").lower()
        return GridFailureKind.NOT_ENTITLED if any(told in text for told in PLAN_TEXTS) else GridFailureKind.AUTH
    return GridFailureKind.AUTH if answer.status == FORBIDDEN else None


def _explained(failure: GridFailure) -> GridFailure:
    fix = failure.fix or FIXES.get(failure.kind, "")
    return GridFailure(failure.kind, failure.message, retry_at=failure.retry_at, fix=fix)


def _catalogue(body: Any) -> dict[str, _Zone]:
    """Zones by key. v3 names no sub-zones: there they are told by the beginning of their keys."""
    if not isinstance(body, dict) or not body or not all(isinstance(entry, dict) for entry in body.values()):
        raise bad(NAME, "a list of zones in an unknown shape")
    return {key: _zone(key, entry, body) for key, entry in body.items()}


def _zone(key: str, entry: dict[str, Any], every: dict[str, Any]) -> _Zone:
    access, subzones = entry.get("access"), entry.get("subZoneKeys")
    if not isinstance(subzones, list):
        subzones = [other for other in every if other.startswith(f"{key}-")]
    return _Zone(
        name=str(entry.get("zoneName") or "")[:80],
        subzones=tuple(str(one)[:SHOWN] for one in subzones),
        access=frozenset(str(one) for one in access) if isinstance(access, list) else None,
    )


def _is_live(zone: _Zone) -> bool:
    """Whether the zone has figures of its own, as far as the catalogue tells."""
    if zone.access is not None:
        return any(one.startswith("carbon-intensity/") for one in zone.access)
    return True


def _stamp(when: datetime) -> str:
    return utc(when).strftime("%Y-%m-%dT%H:%M:%SZ")
