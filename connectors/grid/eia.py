"""US balancing authorities by what they generated: the EIA's hourly fuel mix (form 930), with a key.

For accounting alone: the mix is published about a day late, so that it says nothing of now and ``steers`` is false.
Megawatt-hours by fuel; ``period`` is the END of its hour. The intensity is ours: the mix weighed with a named set
of emission factors (see mix.py), average, of production. The key travels in a header. Public domain.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from lowtide.connectors.grid.fetch import FORBIDDEN, Vendor
from lowtide.connectors.grid.mix import DEFAULT_SET, STORAGE, factor_set, intensities, quantity
from lowtide.connectors.grid.rows import SHOWN, bad, moment, number, rows_of
from lowtide.connectors.grid.secret import Secret
from lowtide.connectors.http import HttpAnswer
from lowtide.scheduler.model.errors import GridFailure, GridFailureKind
from lowtide.scheduler.model.series import Point, PointKind, Rate, Series
from lowtide.scheduler.model.units import ceil_to, floor_to

NAME = "eia"
BASE_URL = "https://api.eia.gov"
PATH = "/v2/electricity/rto/fuel-type-data/data/"
ATTRIBUTION = "Source: U.S. Energy Information Administration, Hourly Electric Grid Monitor (public domain)"
UNIT = "megawatthours"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PAGE = 4000
"""Rows of one request: the API gives 5,000 at most, which comes near the cap on bodies."""
MAX_PAGES = 6
MAX_SPAN = 30 * DAY
USUAL_SPAN = 3 * DAY
"""Asked for at least, so that the usual fuels are known although the last day is missing."""
BAD_KEY = b"api_key_"
"""Error codes that a refused key is answered with begin so."""
FUELS: Mapping[str, str] = MappingProxyType(
    {
        "BAT": STORAGE,
        "COL": "coal",
        "GEO": "geothermal",
        "NG": "gas",
        "NUC": "nuclear",
        "OES": STORAGE,
        "OIL": "oil",
        "OTH": "other",
        "PS": STORAGE,
        "SNB": "solar",
        "SUN": "solar",
        "UES": STORAGE,
        "UNK": "other",
        "WAT": "hydro",
        "WNB": "wind_onshore",
        "WND": "wind_onshore",
    }
)
_REGIONS = {
    "CAL": "BANC CISO IID LDWP TIDC",
    "CAR": "CPLE CPLW DUK SC SCEG YAD",
    "CENT": "SPA SWPP",
    "FLA": "FMPP FPC FPL GVL HST JEA NSB SEC TAL TEC",
    "MIDA": "PJM",
    "MIDW": "AECI LGEE MISO",
    "NE": "ISNE",
    "NW": "AVA AVRN BPAT CHPD DOPD GCPD GRID GWA IPCO NEVP NWMT PACE PACW PGE PSCO PSEI SCL TPWR WACM WAUW WWA",
    "NY": "NYIS",
    "SE": "SEPA SOCO",
    "SW": "AZPS DEAA EPE GRIF HGMA PNM SRP TEPC WALC",
    "TEN": "TVA",
    "TEX": "ERCO",
}
"""Balancing authorities by the EIA's own regions."""
RESPONDENTS: Mapping[str, str] = MappingProxyType(
    {code: code for codes in _REGIONS.values() for code in codes.split()}
    | {f"US-{region}-{code}": code for region, codes in _REGIONS.items() for code in codes.split()}
)
"""Zones to balancing authorities: the EIA's codes, and the names that sources of many countries build on them."""


class Eia:
    """One balancing authority at a time."""

    name = NAME
    ttl_s = 21_600.0
    # About 9,000 requests an hour and fewer than 5 a second; one question takes up to six requests.
    rates: Mapping[str, Rate] = MappingProxyType({"actual": Rate(1, 3.0)})
    steers = False

    def __init__(
        self,
        *,
        api_key_file: str = "",
        api_key_env: str = "",
        base_url: str = BASE_URL,
        factors: str = DEFAULT_SET,
        private_networks: Sequence[str] = (),
    ) -> None:
        """Take where the key lies and the id of a set of emission factors.

        Raises:
            BadInput: the key is not there, or there is no such set.

        """
        self._secret = Secret("the EIA API key", file=api_key_file, env=api_key_env)
        self._factors = factor_set(factors)
        self._api = Vendor(NAME, base_url, headers={"Accept": "application/json"}, private_networks=private_networks)

    def zones(self) -> tuple[str, ...]:
        """Balancing authorities, under both names."""
        return tuple(RESPONDENTS)

    async def actual(self, zone: str, start: datetime, end: datetime, now: datetime) -> Series:
        """Intensity of the complete hours of [start, end); the newest are about a day old."""
        if zone not in RESPONDENTS:
            message = f"{NAME} knows no balancing authority {zone!r}."
            raise GridFailure(GridFailureKind.UNKNOWN_ZONE, message, fix="See: lowtide zones.")
        until = ceil_to(max(end, start + HOUR), HOUR)
        begin = max(floor_to(min(start, until - USUAL_SPAN), HOUR), until - MAX_SPAN)
        mixes = _mixes(await self._rows(RESPONDENTS[zone], begin, until, now), RESPONDENTS[zone])
        figures = intensities(NAME, mixes, FUELS, self._factors)
        points = [Point(at, at + HOUR, g, PointKind.ACTUAL) for at, g in figures]
        return self._series(zone, [p for p in points if p.end > start and p.start < end and p.end <= now], now)

    async def forecast(self, zone: str, now: datetime) -> Series | None:  # noqa: ARG002
        """None: the EIA forecasts demand alone."""
        return None

    async def _rows(self, respondent: str, begin: datetime, until: datetime, now: datetime) -> list[dict[str, Any]]:
        """The rows of all pages, up to the number that the answer promises."""
        rows: list[dict[str, Any]] = []
        for _ in range(MAX_PAGES):
            found, total = _page(await self._page(respondent, begin, until, len(rows), now))
            rows += found
            if len(rows) >= total or not rows:
                return rows
            if not found:
                raise bad(NAME, f"{len(rows)} rows after it promised {total:.0f}")
        raise bad(NAME, f"more than {MAX_PAGES * PAGE} rows for {until - begin}")

    async def _page(self, respondent: str, begin: datetime, until: datetime, offset: int, now: datetime) -> Any:
        # A period is the end of its hour: the first one wanted ends an hour after the beginning.
        asked = {
            "frequency": "hourly",
            "data": ["value"],
            "facets": {"respondent": [respondent]},
            "start": _stamp(begin + HOUR),
            "end": _stamp(until),
            "sort": [{"column": "period", "direction": "asc"}, {"column": "fueltype", "direction": "asc"}],
            "offset": offset,
            "length": PAGE,
        }
        headers = {"X-Api-Key": self._secret.key(), "X-Params": json.dumps(asked)}
        return await self._api.json(PATH, now=now, headers=headers, refusal=_refusal)

    def _series(self, zone: str, points: list[Point], now: datetime) -> Series:
        if not points:
            message = f"{NAME} has no hour of {zone} with all its usual fuels at that time."
            raise GridFailure(GridFailureKind.NO_DATA, message, fix="Its figures come about a day late.")
        return self._factors.series(NAME, zone, points, step=HOUR, now=now, attribution=ATTRIBUTION)

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()


def _refusal(answer: HttpAnswer) -> GridFailureKind | None:
    """A key that is wrong is answered with 403, as is one that may not ask."""
    if answer.status == FORBIDDEN and BAD_KEY in answer.body.lower():
        return GridFailureKind.AUTH
    return None


def _page(body: Any) -> tuple[list[dict[str, Any]], float]:
    """Rows and how many there are in all; some versions write that number as a text."""
    rows = rows_of(NAME, body, "response", "data")
    told = body["response"]
    if told.get("frequency", "hourly") != "hourly":
        raise bad(NAME, f"figures with the frequency {str(told['frequency'])[:SHOWN]!r}, asked for hourly")
    total = number(NAME, told.get("total"), as_text=True)
    if total is None or not 0 <= total < float("inf"):
        raise bad(NAME, "an answer that does not say how many rows there are")
    return rows, total


def _mixes(rows: list[dict[str, Any]], respondent: str) -> dict[datetime, dict[str, float]]:
    """Megawatt-hours by fuel for each hour by its start; a null is not known, which is not zero."""
    mixes: dict[datetime, dict[str, float]] = {}
    for row in rows:
        fuel, made = row.get("fueltype"), quantity(NAME, row.get("value"))
        if row.get("respondent") != respondent:
            raise bad(NAME, f"a row of {str(row.get('respondent'))[:SHOWN]!r}, asked for {respondent}")
        if row.get("value-units", UNIT) != UNIT or not isinstance(fuel, str) or fuel not in FUELS:
            raise bad(NAME, f"{str(row.get('value-units'))[:SHOWN]!r} of the fuel {str(fuel)[:SHOWN]!r}")
        mix = mixes.setdefault(_start(row.get("period")), {})
        if made is not None and mix.setdefault(fuel, made) != made:
            raise bad(NAME, f"two figures of {fuel} for one hour")
    return mixes


def _start(period: Any) -> datetime:
    end = moment(NAME, period, naive_is_utc=True)
    if end != floor_to(end, HOUR):
        raise bad(NAME, f"the period {str(period)[:SHOWN]!r}, expected a whole hour")
    try:
        return end - HOUR
    except OverflowError:
        raise bad(NAME, "a time outside the calendar") from None


def _stamp(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H")
