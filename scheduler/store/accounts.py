"""The ledger's tables: energy, emission, baseline and the intensities they were priced with.

Rows are written once: a duplicate or late delivery changes nothing (INV-16), and triggers forbid any
other change (INV-17).
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, RowMapping, Table, and_, func, select
from sqlalchemy.dialects import postgresql, sqlite

from lowtide.scheduler.store.tables import attempt, baseline, emission, energy, intensity, job, site

_PRICED = and_(
    emission.c.attempt_id == energy.c.attempt_id,
    emission.c.component == energy.c.component,
    emission.c.start_at == energy.c.start_at,
)


def insert_once(connection: Connection, table: Table, rows: Sequence[dict[str, object]]) -> None:
    """Insert the rows whose primary key is new; the others change nothing."""
    if not rows:
        return
    if connection.dialect.name == "postgresql":
        connection.execute(postgresql.insert(table).on_conflict_do_nothing(), list(rows))
    else:
        connection.execute(sqlite.insert(table).on_conflict_do_nothing(), list(rows))


def energy_of(connection: Connection, job_id: str) -> list[RowMapping]:
    """A job's energy rows joined with their emissions where they are known, in time order."""
    priced = [c for c in emission.c if c.name not in {"attempt_id", "component", "start_at"}]
    query = (
        select(energy, *priced, attempt.c.site, attempt.c.number)
        .join(attempt, attempt.c.id == energy.c.attempt_id)
        .outerjoin(emission, _PRICED)
        .where(attempt.c.job_id == job_id)
        .order_by(energy.c.start_at, energy.c.attempt_id, energy.c.component)
    )
    return list(connection.execute(query).mappings())


def unpriced(connection: Connection, limit: int = 5000) -> list[RowMapping]:
    """Energy rows that have no emission yet, with their site, oldest first."""
    query = (
        select(energy, attempt.c.site)
        .join(attempt, attempt.c.id == energy.c.attempt_id)
        .outerjoin(emission, _PRICED)
        .where(emission.c.attempt_id.is_(None))
        .order_by(energy.c.start_at)
        .limit(limit)
    )
    return list(connection.execute(query).mappings())


def baseline_of(connection: Connection, job_id: str) -> RowMapping | None:
    """The job's counterfactual, once it is settled."""
    return connection.execute(select(baseline).where(baseline.c.job_id == job_id)).mappings().first()


def without_baseline(connection: Connection, limit: int = 200) -> list[RowMapping]:
    """Ended jobs that ran and have no baseline yet."""
    query = (
        select(job.c.id, job.c.first_feasible_at, job.c.submitted_at, job.c.finished_at, job.c.started_at)
        .outerjoin(baseline, baseline.c.job_id == job.c.id)
        .where(job.c.finished_at.is_not(None), job.c.started_at.is_not(None), baseline.c.job_id.is_(None))
        .order_by(job.c.finished_at)
        .limit(limit)
    )
    return list(connection.execute(query).mappings())


def intensities(connection: Connection, zone: str, start: datetime, end: datetime) -> list[RowMapping]:
    """Stored intensities of a zone that touch [start, end), in time order."""
    query = (
        select(intensity)
        .where(intensity.c.zone == zone, intensity.c.start_at < end, intensity.c.end_at > start)
        .order_by(intensity.c.start_at)
    )
    return list(connection.execute(query).mappings())


def totals(connection: Connection) -> list[RowMapping]:
    """Energy in millijoules and emissions in grams by queue, zone of the site and component."""
    query = (
        select(
            job.c.queue,
            site.c.zone,
            energy.c.component,
            func.sum(energy.c.energy_mj).label("energy_mj"),
            func.coalesce(func.sum(emission.c.emissions_g), 0.0).label("emissions_g"),
        )
        .join(attempt, attempt.c.id == energy.c.attempt_id)
        .join(job, job.c.id == attempt.c.job_id)
        .join(site, site.c.name == attempt.c.site)
        .outerjoin(emission, _PRICED)
        .group_by(job.c.queue, site.c.zone, energy.c.component)
    )
    return list(connection.execute(query).mappings())


def baseline_totals(connection: Connection) -> list[RowMapping]:
    """Settled baselines in grams by queue and zone."""
    zone = baseline.c.data["zone"].as_string()
    query = (
        select(
            job.c.queue, zone.label("zone"), func.coalesce(func.sum(baseline.c.emissions_g), 0.0).label("emissions_g")
        )
        .join(job, job.c.id == baseline.c.job_id)
        .group_by(job.c.queue, zone)
    )
    return list(connection.execute(query).mappings())
