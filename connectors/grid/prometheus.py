"""Intensity out of a Prometheus server (or one that speaks its API): any query that gives exactly one series.

Past figures are the query at every step; a forecast is another query at the steps to come (a series written ahead,
or an expression such as ``... offset 1w``). What the figures mean, and in which unit they are, the settings say; a
label that says something else is believed before them. NaN is how Prometheus writes that there is no value: it
leaves a gap. The newest sample's own time is asked for as well, since a query tells only when it was evaluated.
"""

import json
import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from string import Template
from typing import Any

from lowtide.connectors.grid.fetch import Vendor
from lowtide.connectors.grid.meaning import factor_of, meaning_of, unit_factor, zone_table
from lowtide.connectors.grid.rows import SHOWN, bad, number, scaled, unix_moment
from lowtide.connectors.grid.secret import Secret
from lowtide.connectors.http import HttpAnswer
from lowtide.scheduler.model.errors import BadInput, GridFailure, GridFailureKind
from lowtide.scheduler.model.series import NO_RATES, Point, PointKind, Series
from lowtide.scheduler.model.units import floor_to

MAX_STEPS = 11_000
"""A Prometheus server gives no more for one series."""
UNIT_LABELS = ("units", "unit")
BAD_QUERY = 422
NAN, TRUE = "NaN", "true"


class Prometheus:
    """One server and one query, for one zone or, with ``$zone`` in the query, for several."""

    ttl_s = 60.0
    rates = NO_RATES

    def __init__(
        self,
        base_url: str,
        query: str,
        zones: object,
        *,
        unit: str,
        signal: str,
        name: str = "prometheus",
        basis: str = "unknown",
        accounting: str = "unknown",
        attribution: str = "operator's own",
        forecast_query: str = "",
        forecast_hours: int = 24,
        timestamp_query: str = "",
        zone_label: str = "location",
        step_s: int = 300,
        max_age_s: int = 7200,
        token_file: str = "",
        token_env: str = "",
        private_networks: Sequence[str] = (),
    ) -> None:
        """Take the server, the query and what its figures mean.

        Args:
            base_url: for example http://prometheus.example:9090.
            query: PromQL for the intensity; ``$zone`` stands for what the server calls the zone.
            zones: names as a list, or our names with those of the server.
            unit: g, kg or lb per kWh or MWh.
            signal: average or marginal.
            basis: lifecycle, direct or unknown.
            accounting: consumption, production or unknown.
            name: what the source is called, where there are several of this kind.
            attribution: shown in receipts.
            forecast_query: PromQL for the forecast, asked for the time to come; without it there is none.
            forecast_hours: how far the forecast reaches.
            timestamp_query: PromQL for the Unix time of the newest sample; without it ``timestamp(query)``, which
                knows it when the query is a plain selector.
            zone_label: the label that names the zone, where the answer has it.
            step_s: seconds from one figure to the next.
            max_age_s: seconds; an older sample is refused.
            token_file: where a bearer token lies, if the server wants one.
            token_env: or the variable that holds it.
            private_networks: where the server is inside your network and is not written as an address.

        Raises:
            BadInput: an option cannot be taken.

        """
        self.name = name
        self._meaning = meaning_of(name, signal=signal, basis=basis, accounting=accounting, attribution=attribution)
        self._factor, self._zones = unit_factor(name, unit), zone_table(name, zones)
        self._step, self._max_age = timedelta(seconds=step_s), timedelta(seconds=max_age_s)
        self._ahead = timedelta(hours=forecast_hours)
        self._zone_label = zone_label
        self._query, self._forecast_query = Template(query), Template(forecast_query)
        self._timestamp_query = Template(timestamp_query or f"timestamp({query})")
        self._secret = (
            Secret(f"the token of {name}", file=token_file, env=token_env) if token_file or token_env else None
        )
        self._check(query, forecast_query)
        self._api = Vendor(name, base_url, private_networks=private_networks)

    def _check(self, query: str, forecast_query: str) -> None:
        if min(self._step, self._max_age, self._ahead) <= timedelta(0):
            raise BadInput(f"{self.name}: step_s, max_age_s and forecast_hours must be more than zero.")
        if not query.strip():
            raise BadInput(f"{self.name}: the query is empty; expected PromQL that gives one series.")
        several = len(self._zones) > 1
        if several and not all("$zone" in told or "${zone}" in told for told in (query, forecast_query or query)):
            message = f"{self.name}: one query cannot answer for {len(self._zones)} zones."
            raise BadInput(message, fix='Put $zone into it, as in carbon_intensity{location="$zone"}.')

    def zones(self) -> tuple[str, ...]:
        """Those of the settings."""
        return tuple(self._zones)

    async def actual(self, zone: str, start: datetime, end: datetime, now: datetime) -> Series:
        """Figures of the steps that touch [start, end), have ended, and begin no later than the newest sample."""
        self._known(zone)
        last = min(end, now)
        begin = max(floor_to(start, self._step), floor_to(last, self._step) - (MAX_STEPS - 1) * self._step)
        newest = await self._newest(zone, now) if now - last < self._max_age else now
        points = await self._range(zone, self._query, begin, max(begin, last), PointKind.ACTUAL, now)
        past = [p for p in points if p.end > start and p.start < end and p.end <= now and p.start <= newest]
        return self._series(zone, past, now)

    async def forecast(self, zone: str, now: datetime) -> Series | None:
        """What the forecast query says of the time to come; None when there is no such query."""
        if not self._forecast_query.template:
            return None
        self._known(zone)
        begin = floor_to(now, self._step)
        until = begin + min(self._ahead, (MAX_STEPS - 1) * self._step)
        points = await self._range(zone, self._forecast_query, begin, until, PointKind.FORECAST, now)
        return self._series(zone, [p for p in points if p.end > now], now)

    def _known(self, zone: str) -> None:
        if zone not in self._zones:
            message = f"{self.name} is set up for {', '.join(self._zones)}, not for {zone!r}."
            raise GridFailure(GridFailureKind.UNKNOWN_ZONE, message, fix="Add it to the source's zones.")

    def _series(self, zone: str, points: list[Point], now: datetime) -> Series:
        if not points:
            raise GridFailure(GridFailureKind.NO_DATA, f"{self.name} has no figures of {zone} for that time.")
        return self._meaning.series(zone, points, self._step.total_seconds(), now)

    async def _newest(self, zone: str, now: datetime) -> datetime:
        """When the newest sample was taken.

        Raises:
            GridFailure: (no_data) it is too old.

        """
        asked = {"query": self._told(self._timestamp_query, zone), "time": f"{now.timestamp():.3f}"}
        series = self._only(await self._ask("/api/v1/query", asked, now), "vector")
        told = None if series is None else _pair(self.name, series.get("value"))[1]
        if told is None or told == NAN:
            raise GridFailure(GridFailureKind.NO_DATA, f"{self.name} has no sample of {zone} now.")
        newest = unix_moment(self.name, told, as_text=True)
        if now - newest > self._max_age:
            message = f"{self.name}: the newest sample of {zone} is from {newest:%Y-%m-%d %H:%M} UTC,"
            message += f" older than {self._max_age.total_seconds():.0f} s."
            raise GridFailure(GridFailureKind.NO_DATA, message, fix="Look at the exporter, or raise max_age_s.")
        return newest

    async def _range(
        self, zone: str, query: Template, begin: datetime, until: datetime, kind: PointKind, now: datetime
    ) -> list[Point]:
        asked = {
            "query": self._told(query, zone),
            "start": f"{begin.timestamp():.0f}",
            "end": f"{until.timestamp():.0f}",
            "step": f"{self._step.total_seconds():.0f}",
        }
        series = self._only(await self._ask("/api/v1/query_range", asked, now), "matrix")
        if series is None:
            return []
        labels = series.get("metric")
        if not isinstance(labels, dict):
            raise bad(self.name, "a series without labels")
        self._check_labels(zone, labels)
        if kind == PointKind.ACTUAL and str(labels.get("is_estimated", "")).lower() == TRUE:
            kind = PointKind.ESTIMATED
        values = series.get("values")
        if not isinstance(values, list):
            raise bad(self.name, "a series without values")
        return [point for value in values if (point := self._point(value, kind)) is not None]

    def _told(self, query: Template, zone: str) -> str:
        """The query with the zone in it; what else looks like a variable is left as it stands."""
        return query.safe_substitute(zone=json.dumps(self._zones[zone])[1:-1])

    async def _ask(self, path: str, asked: dict[str, str], now: datetime) -> Any:
        headers = {"Authorization": f"Bearer {self._secret.key()}"} if self._secret else None
        return await self._api.json(path, now=now, query=asked, headers=headers, refusal=_refusal)

    def _only(self, body: Any, expected: str) -> dict[str, Any] | None:
        """The one series; None where there is none."""
        data = body.get("data") if isinstance(body, dict) and body.get("status") == "success" else None
        if not isinstance(data, dict) or data.get("resultType") != expected:
            raise bad(self.name, f"no {expected} where one was asked for")
        found = data.get("result")
        if not isinstance(found, list) or not all(isinstance(series, dict) for series in found):
            raise bad(self.name, "a result in an unknown shape")
        if len(found) > 1:
            message = f"{self.name}: the query gives {len(found)} series, expected exactly one."
            raise GridFailure(GridFailureKind.BAD_RESPONSE, message, fix="Select by labels, or aggregate.")
        return found[0] if found else None

    def _check_labels(self, zone: str, labels: dict[str, Any]) -> None:
        for label in UNIT_LABELS:
            told = str(labels.get(label, ""))
            if told and factor_of(told) != self._factor:
                message = f"{self.name}: the label {label} says {told[:SHOWN]!r}, the settings say another unit."
                raise GridFailure(
                    GridFailureKind.BAD_RESPONSE, message, fix="Correct 'unit', or select another series."
                )
        there = labels.get(self._zone_label)
        if there is not None and there != self._zones[zone]:
            raise bad(self.name, f"zone {str(there)[:SHOWN]!r} where {self._zones[zone]!r} was asked for")

    def _point(self, value: Any, kind: PointKind) -> Point | None:
        """One step; None for NaN."""
        seconds, told = _pair(self.name, value)
        figure = scaled(self.name, number(self.name, told, as_text=True), self._factor)
        if figure is None:
            raise bad(self.name, "a sample without a value")
        start = unix_moment(self.name, seconds)
        try:
            return None if math.isnan(figure) else Point(start, start + self._step, figure, kind)
        except OverflowError:
            raise bad(self.name, "a time at the end of the calendar") from None

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()


def _pair(source: str, value: Any) -> tuple[Any, Any]:
    if not isinstance(value, list) or len(value) != 2:  # noqa: PLR2004 - a time and a value
        raise bad(source, "a sample that is not a time and a value")
    return value[0], value[1]


def _refusal(answer: HttpAnswer) -> GridFailureKind | None:
    return GridFailureKind.BAD_RESPONSE if answer.status == BAD_QUERY else None
