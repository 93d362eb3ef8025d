"""European countries, live: Energy-Charts of Fraunhofer ISE, without a key; opt-in because of its licence.

Quarter hours, average; what the figures count is not documented, so basis and accounting are unknown. Measured
and forecast figures stand in two columns that differ where they meet (59.6 against 49.4 g/kWh in one recorded
answer): a series is made of one of them and never of both, so that the seam is no saving. The forecast reaches to
about local midnight and shrinks during the day; the rest of the 192 stamps is null. CC BY 4.0 by the API's own
description, no commercial use by its publishing notes.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from lowtide.connectors.grid.fetch import BAD_REQUEST, Vendor
from lowtide.connectors.grid.rows import bad, number, points_of, some, step_of
from lowtide.connectors.http import HttpAnswer
from lowtide.scheduler.model.errors import GridFailure, GridFailureKind
from lowtide.scheduler.model.series import Accounting, Basis, PointKind, Rate, Series, Signal
from lowtide.scheduler.model.units import ceil_to, floor_to, from_timestamp

NAME = "energy_charts"
BASE_URL = "https://api.energy-charts.info"
ATTRIBUTION = "Energy-Charts.info (Fraunhofer ISE), CC BY 4.0"
LICENCE_NOTE = "commercial use unclear: the publishing notes of Energy-Charts.info exclude it"
STEP, HOUR = timedelta(minutes=15), timedelta(hours=1)
MAX_SPAN = timedelta(days=60)
"""Keeps an answer far below the cap on bodies: a day takes about 3 kB."""
UNKNOWN_COUNTRY = b"not the code for an available country"
_CODES = (
    "al am at az ba be bg by ch cy cz de dk ee es fi fr ge gr hr hu ie it"
    " lt lu lv md me mk mt nl no pl pt ro rs ru se si sk tr ua xk"
)
COUNTRIES: Mapping[str, str] = MappingProxyType({code.upper(): code for code in _CODES.split()} | {"GB": "uk"})
"""Zones (ISO 3166 codes) to the vendor's country codes; one that it has dropped is answered with 400."""


class EnergyCharts:
    """One country at a time; no bidding zones."""

    name = NAME
    ttl_s = 900.0
    # Two requests a minute (burst 4) for one address and endpoint; both operations ask the same endpoint.
    rates: Mapping[str, Rate] = MappingProxyType({"actual": Rate(1, 60.0), "forecast": Rate(1, 60.0)})

    def __init__(self, *, base_url: str = BASE_URL, private_networks: Sequence[str] = ()) -> None:
        """Take the base URL, of a mirror or a proxy of your own if need be, and where that may be private."""
        self._api = Vendor(NAME, base_url, headers={"Accept": "application/json"}, private_networks=private_networks)

    def zones(self) -> tuple[str, ...]:
        """Countries by their two letters."""
        return tuple(COUNTRIES)

    async def actual(self, zone: str, start: datetime, end: datetime, now: datetime) -> Series:
        """Measured figures of [start, end); the newest are about two hours old."""
        until = max(ceil_to(end, STEP), floor_to(start, STEP) + STEP)
        begin = max(floor_to(start, STEP), until - MAX_SPAN)
        body = await self._ask(zone, {"start": _stamp(begin), "end": _stamp(until)}, now)
        series = _series(zone, body, "co2eq", PointKind.ACTUAL, now)
        return some(series, [p for p in series.points if p.end > start and p.start < end and p.end <= now])

    async def forecast(self, zone: str, now: datetime) -> Series | None:
        """The forecast column from now on, as far as it reaches today."""
        series = _series(zone, await self._ask(zone, {}, now), "co2eq_forecast", PointKind.FORECAST, now)
        return some(series, [p for p in series.points if p.end > now])

    async def _ask(self, zone: str, more: dict[str, str], now: datetime) -> Any:
        if zone not in COUNTRIES:
            message = f"{NAME} knows countries by two letters, and no {zone!r}."
            raise GridFailure(GridFailureKind.UNKNOWN_ZONE, message, fix="See: lowtide zones.")
        query = {"country": COUNTRIES[zone], **more}
        return await self._api.json("/co2eq", now=now, query=query, refusal=_refusal)

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()


def _series(zone: str, body: Any, column: str, kind: PointKind, now: datetime) -> Series:
    figures = _figures(body, column)
    return Series(
        source=NAME,
        zone_requested=zone,
        zone_returned=zone,
        points=tuple(points_of(NAME, figures, kind, STEP)),
        step_s=step_of([start for start, _ in figures], STEP).total_seconds(),
        signal=Signal.AVERAGE,
        basis=Basis.UNKNOWN,
        accounting=Accounting.UNKNOWN,
        fetched_at=now,
        issued_at=None,
        attribution=ATTRIBUTION,
        notes=(LICENCE_NOTE, *(("the vendor calls this endpoint deprecated",) if body.get("deprecated") else ())),
    )


def _figures(body: Any, column: str) -> list[tuple[datetime, float | None]]:
    """A column beside its stamps; arrays of other lengths cannot be told apart and are refused."""
    stamps, figures = (_column(body, name) for name in ("unix_seconds", column))
    if len(stamps) != len(figures):
        raise bad(NAME, f"{len(stamps)} times beside {len(figures)} figures of {column}")
    return [(_moment(stamp), number(NAME, figure)) for stamp, figure in zip(stamps, figures, strict=True)]


def _column(body: Any, name: str) -> list[Any]:
    column = body.get(name) if isinstance(body, dict) else None
    if not isinstance(column, list):
        raise bad(NAME, f"no list {name}")
    return column


def _moment(stamp: Any) -> datetime:
    if isinstance(stamp, bool) or not isinstance(stamp, int):
        raise bad(NAME, "a time that is no whole number of seconds")
    try:
        return from_timestamp(stamp)
    except (OverflowError, OSError, ValueError):
        raise bad(NAME, "a time outside the calendar") from None


def _refusal(answer: HttpAnswer) -> GridFailureKind | None:
    if answer.status == BAD_REQUEST and UNKNOWN_COUNTRY in answer.body:
        return GridFailureKind.UNKNOWN_ZONE
    return None


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%MZ")
