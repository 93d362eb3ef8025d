"""Settles the ledger: prices for energy, then one baseline row for each job that has ended.

An account is open from a job's first process until its baseline row is written. That row always comes: where
nothing can be compared its grams are NULL and its code says why. So what is open stays few enough to be walked
whole each time, and what can never be priced holds up nobody else.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, RowMapping

from lowtide.scheduler.ledger import emissions
from lowtide.scheduler.ledger.baseline import BaselineCode
from lowtide.scheduler.ledger.cost import cost
from lowtide.scheduler.model.series import Accounting, Basis, Point, PointKind, Series, SeriesKey, Signal
from lowtide.scheduler.model.site import Site
from lowtide.scheduler.store import accounts, attempts
from lowtide.scheduler.store import tables as t

NO_DELAY = timedelta(minutes=15)
SETTLE = timedelta(hours=6)
"""How long an unpriced row waits for the actual intensity before an estimate is taken."""
GIVE_UP = timedelta(days=8)
"""Sources are asked no further back: what is not known by then never will be."""
REACH = timedelta(days=32)
"""How far back recorded figures are read to price energy."""
PAGE = 100
"""Accounts in one transaction: some tens of milliseconds, so that no submission waits long behind it."""


@dataclass(frozen=True, slots=True)
class PriceBook:
    """What is known of the grid's past: recorded actuals by zone, and yearly averages that stand in for them."""

    actual: dict[str, Series]
    estimate: dict[str, Series]

    def price(self, zone: str, start: datetime, end: datetime, waited: timedelta) -> emissions.Price | None:
        """The intensity over [start, end); an estimate only once the actual figure has been ``waited`` for."""
        actual, estimate = self.actual.get(zone), self.estimate.get(zone)
        if actual is not None and estimate is not None and actual.key == estimate.key:
            return emissions.price(estimate, start, end)  # a yearly average gets no better by waiting
        found = emissions.price(actual, start, end)
        if found is None and waited > SETTLE:
            bridged = None if actual is None else emissions.bridged(actual)
            found = emissions.price(bridged, start, end) or emissions.price(estimate, start, end)
        return found


class Settlement:
    """Writes emission and baseline rows; every call may be repeated without effect."""

    def __init__(self, sites: dict[str, Site]) -> None:
        """Take the sites as they are configured."""
        self._sites = sites

    def settle(self, connection: Connection, job_ids: list[str], now: datetime, book: PriceBook) -> None:
        """Price what can be priced of these open accounts, then close those that will not change any more."""
        accounts.keep_attributions(connection, book.estimate.values())
        priced = [self._priced(row, now, book) for row in accounts.unpriced(connection, job_ids)]
        accounts.insert_once(connection, t.emission, [values for values in priced if values is not None])
        ended = accounts.ended(connection, job_ids)
        energy = accounts.energy_by_job(connection, [job["id"] for job in ended])
        for job in ended:
            self._close(connection, job, energy.get(job["id"], []), now, book)

    def _priced(self, row: RowMapping, now: datetime, book: PriceBook) -> dict[str, object] | None:
        site = self._sites.get(row["site"])
        if site is None or not site.zone:
            return None
        found = book.price(site.zone, row["start_at"], row["end_at"], now - row["end_at"])
        return None if found is None else _emission_values(row, found, site)

    def _close(
        self, connection: Connection, job: RowMapping, rows: list[RowMapping], now: datetime, book: PriceBook
    ) -> None:
        start, grams = baseline_start(connection, job), None
        code, data = self._obstacle(rows, now), dict[str, object]()
        if code == BaselineCode.SETTLED:
            key = _key_of(rows[0])
            data = accounts.key_values(key)
            series = _series(connection, key, start, _spent(rows), book)
            code, grams = _compare(series, rows, start, is_late=now - job["finished_at"] > SETTLE)
        if code is None:
            return
        data |= {"code": code.value}
        values = {"job_id": job["id"], "start_at": start, "emissions_g": grams, "data": data}
        accounts.insert_once(connection, t.baseline, [values])

    def _obstacle(self, rows: list[RowMapping], now: datetime) -> BaselineCode | None:
        """Why the energy cannot be compared, ``settled`` if it can, None while its prices may still come."""
        if not rows:
            return BaselineCode.NO_ENERGY
        missing = [row for row in rows if row["emissions_g"] is None]
        blind = [row for row in missing if (site := self._sites.get(row["site"])) is not None and not site.zone]
        if any(now - row["end_at"] <= GIVE_UP for row in missing if row not in blind):
            return None
        if missing:
            return BaselineCode.NO_ZONE if blind else BaselineCode.NO_INTENSITY
        return BaselineCode.SETTLED if len({_key_of(row) for row in rows}) == 1 else BaselineCode.SIGNAL_CHANGED


def _compare(
    series: Series | None, rows: list[RowMapping], start: datetime, *, is_late: bool
) -> tuple[BaselineCode | None, float | None]:
    """The counterfactual within one key; no other key stands in where it has a hole."""
    grams = emissions.counterfactual_g(_spent(rows), start, series)
    if grams is not None:
        return BaselineCode.SETTLED, grams
    if not is_late:
        return None, None
    grams = None if series is None else emissions.counterfactual_g(_spent(rows), start, emissions.bridged(series))
    return (BaselineCode.GAP if grams is None else BaselineCode.ESTIMATED), grams


def _spent(rows: list[RowMapping]) -> list[emissions.Spent]:
    return [emissions.Spent(r["start_at"], r["end_at"], r["energy_mj"], r["pue"]) for r in rows]


def _key_of(row: RowMapping) -> SeriesKey:
    return SeriesKey(
        row["grid_source"],
        row["zone"],
        Signal(row["signal"]),
        Basis(row["basis"]),
        Accounting(row["accounting"]),
    )


def _series(
    connection: Connection, key: SeriesKey, start: datetime, spent: list[emissions.Spent], book: PriceBook
) -> Series | None:
    estimate = book.estimate.get(key.zone)
    if estimate is not None and estimate.key == key:
        return estimate
    end = max(row.end for row in emissions.shifted(spent, start))
    return stored_series(connection, key, start - emissions.BRIDGE, end + emissions.BRIDGE)


def baseline_start(connection: Connection, job: RowMapping) -> datetime:
    """When the job's process would have begun had it started as soon as it could.

    A job that started within the slot in which it could first start was not delayed: it is its own baseline.
    For the others the same time from decision to running process is added that their first attempt took.
    """
    first = next(a for a in attempts.of_job(connection, job["id"]) if a["started_at"] is not None)
    began: datetime = first["started_at"]
    feasible: datetime = job["first_feasible_at"] or job["submitted_at"]
    if first["created_at"] - feasible < NO_DELAY:
        return began
    undelayed: datetime = feasible + (began - first["created_at"])
    return min(undelayed, began)


def stored_series(connection: Connection, key: SeriesKey, start: datetime, end: datetime) -> Series | None:
    """The recorded intensity of one key out of the store; None when nothing of it touches [start, end)."""
    rows = accounts.intensities(connection, key, start, end)
    points = _without_overlap(rows)
    if not points:
        return None
    return Series(
        source=key.source,
        zone_requested=key.zone,
        zone_returned=key.zone,
        points=points,
        step_s=(points[0].end - points[0].start).total_seconds(),
        signal=key.signal,
        basis=key.basis,
        accounting=key.accounting,
        fetched_at=max(r["seen_at"] for r in rows),
    )


def _without_overlap(rows: list[RowMapping]) -> tuple[Point, ...]:
    """Points in time order: an actual figure before an estimate, and the earlier before one that overlaps it."""
    points: list[Point] = []
    for row in sorted(rows, key=lambda r: (r["start_at"], r["kind"] != PointKind.ACTUAL)):
        if not points or row["start_at"] >= points[-1].end:
            points.append(Point(row["start_at"], row["end_at"], row["g_per_kwh"], PointKind(row["kind"])))
    return tuple(points)


def store_series(connection: Connection, series: Series, now: datetime) -> None:
    """Keep actual figures, so that the ledger can be recomputed, and whom to name for them.

    The first figure for an interval stays.
    """
    accounts.keep_attributions(connection, [series])
    rows: list[dict[str, object]] = [
        {
            **accounts.key_values(series.key),
            "kind": p.kind.value,
            "start_at": p.start,
            "end_at": p.end,
            "g_per_kwh": p.g_per_kwh,
            "seen_at": now,
        }
        for p in series.points
    ]
    accounts.insert_once(connection, t.intensity, rows)


def recorded(
    connection: Connection, zones: Iterable[str], actual: dict[str, Series], now: datetime
) -> dict[str, Series]:
    """The series to price with by zone: all that the store has of the key in use, else what is in memory."""
    found = dict(actual)
    for zone in zones:
        key = actual[zone].key if zone in actual else accounts.latest_key(connection, zone)
        stored = None if key is None else stored_series(connection, key, now - REACH, now)
        if stored is not None:
            found[zone] = stored
    return found


def _emission_values(row: RowMapping, price: emissions.Price, site: Site) -> dict[str, object]:
    tariff = site.tariff
    return {
        "attempt_id": row["attempt_id"],
        "component": row["component"],
        "start_at": row["start_at"],
        "emissions_g": emissions.grams(row["energy_mj"], price.g_per_kwh, site.pue),
        "g_per_kwh": price.g_per_kwh,
        "pue": site.pue,
        "kind": price.kind,
        "grid_source": price.source,
        "zone": price.zone,
        "signal": price.signal,
        "basis": price.basis,
        "accounting": price.accounting,
        "cost": None if tariff is None else cost(tariff, row["start_at"], row["end_at"], row["energy_mj"], site.pue),
        "currency": None if tariff is None else tariff.currency,
    }
