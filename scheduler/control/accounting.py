"""Keeps the ledger: energy rows when an attempt reports, prices when the intensity is known, baselines at the end."""

from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import Connection, RowMapping

from lowtide.connectors.jobside.record import Report
from lowtide.scheduler.ledger import emissions, energy
from lowtide.scheduler.model.series import Accounting, Basis, Point, PointKind, Series, Signal
from lowtide.scheduler.model.site import Site
from lowtide.scheduler.store import accounts, attempts, jobs
from lowtide.scheduler.store import tables as t

NO_DELAY = timedelta(minutes=15)
SETTLE = timedelta(hours=6)
"""How long an unpriced row waits for the actual intensity before an estimate is taken."""


class Accountant:
    """Writes energy, emission and baseline rows; every call may be repeated without effect."""

    def __init__(
        self,
        sites: dict[str, Site],
        *,
        from_wall: Callable[[float], datetime],
        scale: float,
        power_w: Callable[[Connection, str], float],
    ) -> None:
        """Take the sites, the clock's mapping, its rate as the scale, and the planning power of a job."""
        self._sites, self._from_wall, self._scale, self._power_w = sites, from_wall, scale, power_w

    def attempt(self, connection: Connection, row: RowMapping, report: Report | None) -> None:
        """Write the energy of an attempt as far as it is known."""
        ended = row["ended_at"] is not None
        found = self._reported(row, report, ended=ended)
        if not found and ended and row["started_at"] is not None:
            power_w = self._power_w(connection, row["job_id"])
            found = energy.modelled_rows(row["id"], row["started_at"], row["ended_at"], power_w)
        accounts.insert_once(connection, t.energy, [_energy_values(r) for r in found])

    def _reported(self, row: RowMapping, report: Report | None, *, ended: bool) -> list[energy.EnergyRow]:
        if report is None or report.started is None or not report.samples:
            return []
        start = self._from_wall(report.started.wall_s)
        samples = [energy.CumulativeSample(s.wall_s, s.energy_j) for s in report.samples]
        found: list[energy.EnergyRow] = []
        for component, (source, quality) in report.samples[-1].sources.items():
            curve = energy.readings(samples, component, start=start, from_wall=self._from_wall, scale=self._scale)
            found += energy.rows(
                curve,
                attempt_id=row["id"],
                component=component,
                source=source,
                quality=quality,
                scale=self._scale,
                closed_only=not ended,
            )
        return found

    def settle(
        self, connection: Connection, now: datetime, known: dict[str, Series], fallback: dict[str, Series]
    ) -> None:
        """Price what can be priced, then settle the baselines of jobs whose every row has its price.

        Args:
            connection: an open transaction.
            now: aware UTC.
            known: recorded actual intensity by zone, reaching back far enough.
            fallback: an estimate by zone for rows that have waited too long (forecast or yearly average).

        """
        for row in accounts.unpriced(connection):
            site = self._sites.get(row["site"])
            if site is None:
                continue
            found = emissions.price(known.get(site.zone), row["start_at"], row["end_at"])
            if found is None and now - row["end_at"] > SETTLE:
                found = emissions.price(fallback.get(site.zone), row["start_at"], row["end_at"])
            if found is not None:
                accounts.insert_once(connection, t.emission, [_emission_values(row, found, site.pue)])
        for job in accounts.without_baseline(connection):
            self._baseline(connection, job, known, fallback, now)

    def _baseline(
        self,
        connection: Connection,
        job: RowMapping,
        known: dict[str, Series],
        fallback: dict[str, Series],
        now: datetime,
    ) -> None:
        rows = accounts.energy_of(connection, job["id"])
        if not rows or any(row["emissions_g"] is None for row in rows) or attempts.live_of(connection, job["id"]):
            return
        start = baseline_start(connection, job)
        spent = [emissions.Spent(r["start_at"], r["end_at"], r["energy_mj"], r["pue"]) for r in rows]
        zone = rows[0]["zone"]
        result = emissions.counterfactual_g(spent, start, known.get(zone))
        if result is None and now - job["finished_at"] <= SETTLE:
            return
        if result is None:
            result = emissions.counterfactual_g(spent, start, fallback.get(zone))
        values: dict[str, object] = {
            "job_id": job["id"],
            "start_at": start,
            "emissions_g": result,
            "data": {"zone": zone},
        }
        accounts.insert_once(connection, t.baseline, [values])


def baseline_start(connection: Connection, job: RowMapping) -> datetime:
    """When the job's process would have begun had it started as soon as it could.

    A job that started within the slot in which it could first start was not delayed: it is its own baseline.
    For the others the same time from decision to running process is added that their first attempt took.
    """
    first = next((a for a in attempts.of_job(connection, job["id"]) if a["started_at"] is not None), None)
    feasible: datetime = job["first_feasible_at"] or job["submitted_at"]
    if first is None or first["created_at"] - feasible < NO_DELAY:
        return job["started_at"]  # type: ignore[no-any-return]
    return min(feasible + (first["started_at"] - first["created_at"]), job["started_at"])  # type: ignore[no-any-return]


def stored_series(connection: Connection, zone: str, start: datetime, end: datetime) -> Series | None:
    """The recorded intensity of a zone out of the store: one key only, the one seen last."""
    rows = [r for r in accounts.intensities(connection, zone, start, end) if r["kind"] != PointKind.STATIC]
    if not rows:
        return None
    last = max(rows, key=lambda r: r["seen_at"])
    key = ("source", "signal", "basis", "accounting")
    same = [r for r in rows if all(r[name] == last[name] for name in key)]
    points = tuple(
        Point(r["start_at"], r["end_at"], r["g_per_kwh"], PointKind(r["kind"]))
        for r in same
        if r["kind"] == last["kind"]
    )
    return Series(
        source=last["source"],
        zone_requested=zone,
        zone_returned=zone,
        points=points,
        step_s=(points[0].end - points[0].start).total_seconds(),
        signal=Signal(last["signal"]),
        basis=Basis(last["basis"]),
        accounting=Accounting(last["accounting"]),
        fetched_at=last["seen_at"],
    )


def store_series(connection: Connection, series: Series, now: datetime) -> None:
    """Keep actual figures, so that the ledger can be recomputed; the first figure for an interval stays."""
    rows: list[dict[str, object]] = [
        {
            "source": series.source,
            "zone": series.zone_returned,
            "signal": series.signal.value,
            "basis": series.basis.value,
            "accounting": series.accounting.value,
            "kind": p.kind.value,
            "start_at": p.start,
            "end_at": p.end,
            "g_per_kwh": p.g_per_kwh,
            "seen_at": now,
        }
        for p in series.points
    ]
    accounts.insert_once(connection, t.intensity, rows)


def _energy_values(row: energy.EnergyRow) -> dict[str, object]:
    return {
        "attempt_id": row.attempt_id,
        "component": row.component,
        "start_at": row.start,
        "end_at": row.end,
        "energy_mj": row.energy_mj,
        "source": row.source,
        "quality": row.quality,
        "scale": row.scale,
    }


def _emission_values(row: RowMapping, price: emissions.Price, pue: float) -> dict[str, object]:
    return {
        "attempt_id": row["attempt_id"],
        "component": row["component"],
        "start_at": row["start_at"],
        "emissions_g": emissions.grams(row["energy_mj"], price.g_per_kwh, pue),
        "g_per_kwh": price.g_per_kwh,
        "pue": pue,
        "kind": price.kind,
        "grid_source": price.source,
        "zone": price.zone,
        "signal": price.signal,
        "basis": price.basis,
        "accounting": price.accounting,
    }


def planned_power_w(connection: Connection, job_id: str, gpu_power_w: float, cpu_power_w: float) -> float:
    """The power that is planned with: what the job declares, else defaults for its resources."""
    spec = jobs.spec_of(connection, job_id)
    if spec.power_w is not None:
        return spec.power_w
    return spec.resources.gpus * gpu_power_w + spec.resources.cpus * cpu_power_w
