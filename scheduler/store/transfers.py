"""What attempts had brought to their sites, as it was estimated when they were planned; append-only."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, RowMapping, insert, select

from lowtide.scheduler.model.data import Transfer
from lowtide.scheduler.model.units import j_from_kwh
from lowtide.scheduler.store import jobs
from lowtide.scheduler.store.tables import attempt, transfer


def keep(connection: Connection, attempt_id: str, told: Transfer, *, emissions_g: float | None, at: datetime) -> None:
    """Write what an attempt has brought; ``emissions_g`` by the plan's forecast, None where there was none."""
    energy_j = j_from_kwh(sum(part.energy_kwh for part in told.parts))
    connection.execute(
        insert(transfer).values(
            attempt_id=attempt_id,
            at=at,
            sources=[part.source for part in told.parts],
            size_bytes=sum(part.size_bytes for part in told.parts),
            lasts_s=told.lasts_s,
            energy_mj=round(energy_j * 1000),
            emissions_g=emissions_g,
        )
    )


def of_jobs(connection: Connection, job_ids: Iterable[str]) -> dict[str, list[RowMapping]]:
    """What the attempts of jobs had brought, in order, with their site, width and start; jobs without any are left out.

    As many ids as one query takes.
    """
    columns = (*transfer.c, attempt.c.job_id, attempt.c.site, attempt.c.gpus, attempt.c.started_at)
    query = select(*columns).join(attempt, attempt.c.id == transfer.c.attempt_id)
    query = query.where(attempt.c.job_id.in_(list(job_ids))).order_by(attempt.c.job_id, attempt.c.number)
    return jobs.grouped(connection.execute(query).mappings())
