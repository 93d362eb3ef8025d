"""Europe's zones by what they generate: the ENTSO-E Transparency Platform, with a token, as generation per type.

Document A75, process A16: megawatts by fuel over 15, 30 or 60 minutes, published about an hour later. The intensity
is ours: the mix weighed with a named set of emission factors (see mix.py), average, of production, imports not
traced. Steps whose usual fuels are not all there yet are left out. CC BY 4.0 for the items of its list of data
that may be used again. The token stands in the query: no message and no log may show one.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from types import MappingProxyType
from xml.etree.ElementTree import Element

from lowtide.connectors.grid.fetch import BAD_REQUEST, Vendor
from lowtide.connectors.grid.mix import DEFAULT_SET, STORAGE, factor_set, intensities, quantity
from lowtide.connectors.grid.rows import SHOWN, bad, moment
from lowtide.connectors.grid.secret import Secret
from lowtide.connectors.grid.xmltree import children, text_of, tree_of
from lowtide.connectors.http import HttpAnswer
from lowtide.scheduler.model.errors import GridFailure, GridFailureKind
from lowtide.scheduler.model.series import Point, PointKind, Rate, Series
from lowtide.scheduler.model.units import ceil_to, floor_to, utc

NAME = "entsoe"
BASE_URL = "https://web-api.tp.entsoe.eu"
ATTRIBUTION = "ENTSO-E Transparency Platform (CC BY 4.0 for the items on its re-use list)"
ZONES = Path(__file__).parent / "data" / "eic_zones.csv"
"""Zones as other sources name them, beside the EIC codes of the platform's guide (as entsoe-py, MIT, lists them)."""
TICK, HOUR, DAY = timedelta(minutes=15), timedelta(hours=1), timedelta(days=1)
RESOLUTIONS = MappingProxyType({"PT15M": TICK, "PT30M": 2 * TICK, "PT60M": HOUR})
CHUNK = 3 * DAY
"""Of one request: a large zone's quarter hours come to some 150 kB of XML a day, and bodies are capped."""
MAX_SPAN = 30 * DAY
USUAL_SPAN = 2 * DAY
"""Asked for at least, so that the usual fuels are known."""
MAX_POSITIONS = 3000
"""A month of quarter hours: more in one period is not what was asked for."""
BAN = timedelta(minutes=10)
"""How long a token is refused after more than 400 requests in a minute."""
NO_MATCH = "no matching data"
FUELS: Mapping[str, str] = MappingProxyType(
    {
        "B01": "biomass",
        "B02": "lignite",
        "B03": "gas",  # made from coal
        "B04": "gas",
        "B05": "coal",
        "B06": "oil",
        "B07": "coal",  # oil shale
        "B08": "coal",  # peat
        "B09": "geothermal",
        "B10": STORAGE,
        "B11": "hydro",
        "B12": "hydro",
        "B13": "other",  # marine
        "B14": "nuclear",
        "B15": "other",  # other renewable: unknown means dirty rather than clean
        "B16": "solar",
        "B17": "biomass",  # waste
        "B18": "wind_offshore",
        "B19": "wind_onshore",
        "B20": "other",
        "B25": STORAGE,
    }
)
"""The platform's types of production; the groups are those that Electricity Maps makes of them."""

Told = dict[str, dict[datetime, float]]
"""Megawatts by type of production, for each quarter hour."""


@cache
def eic_codes() -> Mapping[str, str]:
    """EIC codes by zone."""
    with ZONES.open(encoding="utf-8") as file:
        return MappingProxyType({row["zone"]: row["eic"] for row in csv.DictReader(file)})


class Entsoe:
    """Bidding zones and countries of Europe."""

    name = NAME
    ttl_s = 1800.0
    # 400 requests a minute for a token, else it is refused for ten; one question takes up to ten requests.
    rates: Mapping[str, Rate] = MappingProxyType({"actual": Rate(40, 60.0)})

    def __init__(
        self,
        *,
        token_file: str = "",
        token_env: str = "",
        base_url: str = BASE_URL,
        factors: str = DEFAULT_SET,
        private_networks: Sequence[str] = (),
    ) -> None:
        """Take where the security token lies and the id of a set of emission factors.

        Raises:
            BadInput: the token is not there, or there is no such set.

        """
        self._secret = Secret("the ENTSO-E security token", file=token_file, env=token_env)
        self._factors = factor_set(factors)
        self._api = Vendor(NAME, base_url, private_networks=private_networks)

    def zones(self) -> tuple[str, ...]:
        """Those with a known EIC code; not every one of them publishes generation."""
        return tuple(eic_codes())

    async def actual(self, zone: str, start: datetime, end: datetime, now: datetime) -> Series:
        """Intensity of the complete steps of [start, end); the newest are one to two hours old."""
        if zone not in eic_codes():
            message = f"{NAME} has no EIC code for zone {zone!r}."
            raise GridFailure(GridFailureKind.UNKNOWN_ZONE, message, fix="See: lowtide zones.")
        until = ceil_to(max(end, start + TICK), HOUR)
        begin = max(floor_to(min(start, until - USUAL_SPAN), HOUR), until - MAX_SPAN)
        told, step = await self._told(eic_codes()[zone], begin, until, now)
        figures = intensities(NAME, _mixes(told, step), FUELS, self._factors)
        points = [Point(at, at + step, g, PointKind.ACTUAL) for at, g in figures]
        return self._series(zone, [p for p in points if p.end > start and p.start < end and p.end <= now], step, now)

    async def forecast(self, zone: str, now: datetime) -> Series | None:  # noqa: ARG002
        """None: the platform forecasts wind, sun and the sum of generation, which is no mix."""
        return None

    async def _told(self, eic: str, begin: datetime, until: datetime, now: datetime) -> tuple[Told, timedelta]:
        """What the documents of the span tell, and the coarsest resolution among their series."""
        told: Told = {}
        steps: set[timedelta] = set()
        while begin < until:
            stop = min(begin + CHUNK, until)
            for code, step, ticks in _series_of(await self._document(eic, begin, stop, now), eic):
                steps.add(step)
                _merge(told.setdefault(code, {}), ticks)
            begin = stop
        return told, max(steps, default=HOUR)

    async def _document(self, eic: str, begin: datetime, until: datetime, now: datetime) -> Element | None:
        """The document, or None where there is nothing for the time."""
        query = {
            "securityToken": self._secret.key(),
            "documentType": "A75",
            "processType": "A16",
            "in_Domain": eic,
            "periodStart": _stamp(begin),
            "periodEnd": _stamp(until),
        }
        try:
            body = await self._api.body("/api", now=now, query=query, refusal=_refusal)
            return _document_of(body)
        except GridFailure as failure:
            if failure.kind == GridFailureKind.NO_DATA:
                return None
            if failure.kind == GridFailureKind.RATE_LIMITED:
                again = failure.retry_at or now + BAN
                raise GridFailure(failure.kind, failure.message, retry_at=again) from None
            raise

    def _series(self, zone: str, points: list[Point], step: timedelta, now: datetime) -> Series:
        if not points:
            message = f"{NAME} has no hour of zone {zone} with all its usual fuels at that time."
            raise GridFailure(GridFailureKind.NO_DATA, message)
        return self._factors.series(NAME, zone, points, step=step, now=now, attribution=ATTRIBUTION)

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()


def _refusal(answer: HttpAnswer) -> GridFailureKind | None:
    if answer.status == BAD_REQUEST and NO_MATCH.encode() in answer.body.lower():
        return GridFailureKind.NO_DATA
    return None


def _document_of(body: bytes) -> Element:
    """The generation document; an acknowledgement comes in its place, with status 200, when there is none."""
    root = tree_of(NAME, body)
    if root.tag == "Acknowledgement_MarketDocument":
        if NO_MATCH in "".join(text_of(reason, "text") for reason in children(root, "Reason")).lower():
            raise GridFailure(GridFailureKind.NO_DATA, f"{NAME} has no figures for that time.")
        raise bad(NAME, "an acknowledgement in place of figures, for another reason than that there are none")
    if root.tag != "GL_MarketDocument":
        raise bad(NAME, f"a document {root.tag[:SHOWN]!r} in place of generation")
    return root


def _series_of(document: Element | None, eic: str) -> Iterator[tuple[str, timedelta, dict[datetime, float]]]:
    """Type of production, resolution and megawatts by quarter hour of each period of generation."""
    for series in children(document, "TimeSeries") if document is not None else ():
        if _is_generation(series, eic):
            code, curve = text_of(series, "MktPSRType", "psrType"), text_of(series, "curveType")
            for period in children(series, "Period"):
                yield code, _step(period), _ticks(period, curve)


def _is_generation(series: Element, eic: str) -> bool:
    """Whether power goes into the zone; what goes out of it is consumed by storage or by the plants."""
    into, out_of = (text_of(series, f"{way}BiddingZone_Domain.mRID") for way in ("in", "out"))
    if {into, out_of} - {"", eic} or not (into or out_of):
        raise bad(NAME, f"figures of the zone {(into or out_of)[:SHOWN]!r}, asked for {eic}")
    unit = text_of(series, "quantity_Measure_Unit.name")
    if unit != "MAW":
        raise bad(NAME, f"the unit {unit[:SHOWN]!r}, expected MAW (megawatts)")
    return not out_of


def _step(period: Element) -> timedelta:
    told = text_of(period, "resolution")
    if told not in RESOLUTIONS:
        raise bad(NAME, f"the resolution {told[:SHOWN]!r}, expected one of {', '.join(RESOLUTIONS)}")
    return RESOLUTIONS[told]


def _ticks(period: Element, curve: str) -> dict[datetime, float]:
    """Megawatts by quarter hour. In a curve A03 an omitted position repeats the one before, in A01 it is missing."""
    if curve not in {"A01", "A03"}:
        raise bad(NAME, f"the curve type {curve[:SHOWN]!r}, expected A01 or A03")
    step = _step(period)
    start, end = (moment(NAME, text_of(period, "timeInterval", edge)) for edge in ("start", "end"))
    last = (end - start) // step
    if start != floor_to(start, TICK) or (end - start) % step or not 0 < last <= MAX_POSITIONS:
        raise bad(NAME, "a period that is no whole number of its steps")
    told, ticks, made = _positions(period, last), {}, None
    for position in range(1, last + 1):
        made = told.get(position, made if curve == "A03" else None)
        if made is not None:
            begin = start + (position - 1) * step
            ticks.update({begin + i * TICK: made for i in range(step // TICK)})
    return ticks


def _positions(period: Element, last: int) -> dict[int, float]:
    told: dict[int, float] = {}
    for point in children(period, "Point"):
        text, made = text_of(point, "position"), quantity(NAME, text_of(point, "quantity"))
        position = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(MAX_POSITIONS)) else 0
        if not 1 <= position <= last or made is None or told.setdefault(position, made) != made:
            raise bad(NAME, f"a position {text[:SHOWN]!r} outside its period or told twice")
    return told


def _merge(known: dict[datetime, float], ticks: dict[datetime, float]) -> None:
    for tick, made in ticks.items():
        if known.setdefault(tick, made) != made:
            raise bad(NAME, f"two figures of one fuel for {tick:%Y-%m-%d %H:%M} UTC")


def _mixes(told: Told, step: timedelta) -> dict[datetime, dict[str, float]]:
    """Means over the steps; a fuel that lacks a quarter of one is not known there."""
    width = step // TICK
    sums: dict[datetime, dict[str, list[float]]] = {}
    for code, ticks in told.items():
        for tick, made in ticks.items():
            sums.setdefault(floor_to(tick, step), {}).setdefault(code, []).append(made)
    return {
        start: {code: sum(made) / width for code, made in mix.items() if len(made) == width}
        for start, mix in sums.items()
    }


def _stamp(when: datetime) -> str:
    return utc(when).strftime("%Y%m%d%H%M")
