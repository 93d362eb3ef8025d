"""Decisions in the store: each cycle that changed something, and what it said about each changed job."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, RowMapping, bindparam, insert, select, update

from lowtide.scheduler.store.tables import decision, job, plan

REVIEWED = (
    "next_review_at",
    "reason_code",
    "reason_facts",
    "planned_start_at",
    "planned_finish_at",
    "planned_g",
    "planned_saving_g",
    "first_reason_code",
    "first_reason_facts",
    "first_feasible_at",
)
"""The columns of a job that a plan refreshes without changing its state."""


def record(connection: Connection, *, plan_id: str, at: datetime, **head: object) -> None:
    """Write one plan: its ``trigger``, how many ``jobs`` it looked at, ``elapsed_ms`` and the ``grid`` data it used."""
    connection.execute(insert(plan).values(id=plan_id, at=at, **head))


def decided(connection: Connection, *, plan_id: str, at: datetime, decisions: Sequence[dict[str, object]]) -> None:
    """Write changed decisions of a plan (``job_id``, ``action``, ``reason_code``, ``data``)."""
    connection.execute(insert(decision), [{"plan_id": plan_id, "at": at, **d} for d in decisions])


def review(connection: Connection, reviews: Sequence[dict[str, object]]) -> None:
    """Refresh reason, next review and plan of jobs that wait or run; the state stays as it is.

    Each review has ``id`` and all of REVIEWED. A job that changed state meanwhile is not touched: its row
    is matched on the state that the plan saw (``seen_state``).
    """
    statement = (
        update(job)
        .where(job.c.id == bindparam("b_id"), job.c.state == bindparam("b_state"))
        .values({name: bindparam(f"b_{name}") for name in REVIEWED})
    )
    rows = [
        {"b_id": r["id"], "b_state": r["seen_state"], **{f"b_{name}": r[name] for name in REVIEWED}} for r in reviews
    ]
    connection.execute(statement, rows)


def history(connection: Connection, job_id: str, limit: int = 50) -> list[RowMapping]:
    """The decisions about a job, newest first, with the grid data of their plans."""
    query = (
        select(decision, plan.c.grid)
        .join(plan, plan.c.id == decision.c.plan_id)
        .where(decision.c.job_id == job_id)
        .order_by(decision.c.at.desc())
        .limit(limit)
    )
    return list(connection.execute(query).mappings())
