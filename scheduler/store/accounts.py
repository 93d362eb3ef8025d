"""The ledger's tables: energy, emission, baseline, the intensities they were priced with and whom to name for these.

Rows are written once: a duplicate or late delivery changes nothing (INV-16), and triggers forbid any
other change (INV-17). An attribution alone is renewed: what a source asks for now is what it is named by.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import Connection, RowMapping, Table, and_, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.elements import ColumnElement

from lowtide.scheduler.model.series import Accounting, Basis, PointKind, Series, SeriesKey, Signal
from lowtide.scheduler.store import jobs
from lowtide.scheduler.store.tables import attempt, attribution, baseline, emission, energy, intensity, job

_PRICED = and_(
    emission.c.attempt_id == energy.c.attempt_id,
    emission.c.component == energy.c.component,
    emission.c.start_at == energy.c.start_at,
)


def insert_once(connection: Connection, table: Table, rows: Sequence[dict[str, object]]) -> None:
    """Insert the rows whose primary key is new; the others change nothing."""
    if rows:
        connection.execute(_insert(connection, table).on_conflict_do_nothing(), list(rows))


def _insert(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def keep_attributions(connection: Connection, series: Iterable[Series]) -> None:
    """Keep whom the sources ask to be named, for receipts that are read when a source has long left the settings."""
    rows = [{"source": one.source, "attribution": one.attribution} for one in series if one.attribution]
    if rows:
        insert = _insert(connection, attribution)
        newest = {"attribution": insert.excluded.attribution}
        connection.execute(insert.on_conflict_do_update(index_elements=["source"], set_=newest), rows)


def booked(connection: Connection, attempt_id: str) -> dict[str, tuple[datetime, int]]:
    """By component: where the attempt's rows end, and the millijoules in all of them."""
    query = (
        select(energy.c.component, func.max(energy.c.end_at), func.sum(energy.c.energy_mj))
        .where(energy.c.attempt_id == attempt_id)
        .group_by(energy.c.component)
    )
    return {component: (end, energy_mj) for component, end, energy_mj in connection.execute(query)}


def energy_by_job(connection: Connection, job_ids: Sequence[str]) -> dict[str, list[RowMapping]]:
    """The jobs' energy rows, with their emissions and whom to name for these where they are known, in time order.

    A job without energy is left out.
    """
    priced = [c for c in emission.c if c.name not in {"attempt_id", "component", "start_at"}]
    query = (
        select(energy, *priced, attribution.c.attribution, attempt.c.site, attempt.c.number, attempt.c.job_id)
        .join(attempt, attempt.c.id == energy.c.attempt_id)
        .outerjoin(emission, _PRICED)
        .outerjoin(attribution, attribution.c.source == emission.c.grid_source)
        .where(attempt.c.job_id.in_(job_ids))
        .order_by(energy.c.start_at, energy.c.attempt_id, energy.c.component)
    )
    return jobs.grouped(connection.execute(query).mappings())


def open_accounts(connection: Connection) -> list[str]:
    """Ids of the jobs that had a process and whose baseline row is not written yet.

    Only these have energy that waits for its price: a baseline row closes the account, with or without a figure.
    """
    settled = select(baseline.c.job_id).where(baseline.c.job_id == attempt.c.job_id)
    query = select(attempt.c.job_id).distinct().where(attempt.c.started_at.is_not(None), ~settled.exists())
    return list(connection.execute(query.order_by(attempt.c.job_id)).scalars())


def unpriced(connection: Connection, job_ids: Sequence[str]) -> list[RowMapping]:
    """Energy rows of the jobs that have no emission yet, with their site, oldest first."""
    query = (
        select(energy, attempt.c.site)
        .join(attempt, attempt.c.id == energy.c.attempt_id)
        .outerjoin(emission, _PRICED)
        .where(attempt.c.job_id.in_(job_ids), emission.c.attempt_id.is_(None))
        .order_by(energy.c.start_at)
    )
    return list(connection.execute(query).mappings())


def ended(connection: Connection, job_ids: Sequence[str]) -> list[RowMapping]:
    """Those of the jobs that have ended and of which no attempt can live: no more energy will come."""
    alive = select(attempt.c.id).where(attempt.c.job_id == job.c.id, attempt.c.ended_at.is_(None))
    query = select(job.c.id, job.c.first_feasible_at, job.c.submitted_at, job.c.finished_at).where(
        job.c.id.in_(job_ids), job.c.finished_at.is_not(None), ~alive.exists()
    )
    return list(connection.execute(query).mappings())


def baseline_by_job(connection: Connection, job_ids: Sequence[str]) -> dict[str, RowMapping]:
    """The counterfactuals of the jobs whose accounts are closed."""
    query = select(baseline).where(baseline.c.job_id.in_(job_ids))
    return {row["job_id"]: row for row in connection.execute(query).mappings()}


def intensities(connection: Connection, key: SeriesKey, start: datetime, end: datetime) -> list[RowMapping]:
    """Stored intensities of one key that touch [start, end), in time order."""
    query = (
        select(intensity)
        .where(*_is_key(key), intensity.c.start_at < end, intensity.c.end_at > start)
        .order_by(intensity.c.start_at)
    )
    return list(connection.execute(query).mappings())


def key_values(key: SeriesKey) -> dict[str, object]:
    """A key as plain column values."""
    return {name: str(value) for name, value in asdict(key).items()}


def _is_key(key: SeriesKey) -> list[ColumnElement[bool]]:
    return [intensity.c[name] == value for name, value in key_values(key).items()]


def latest_key(connection: Connection, zone: str) -> SeriesKey | None:
    """The key of the figures that came in last for a zone; yearly averages do not count."""
    query = (
        select(intensity.c.source, intensity.c.signal, intensity.c.basis, intensity.c.accounting)
        .where(intensity.c.zone == zone, intensity.c.kind != PointKind.STATIC)
        .order_by(intensity.c.seen_at.desc())
        .limit(1)
    )
    row = connection.execute(query).first()
    if row is None:
        return None
    source, signal, basis, accounting = row
    return SeriesKey(source, zone, Signal(signal), Basis(basis), Accounting(accounting))
