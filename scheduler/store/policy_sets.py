"""Policy sets as applied, one revision after the other, and what those in the shadow planned; none is ever changed."""

from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, RowMapping, func, insert, select

from lowtide.scheduler.store.accounts import insert_once
from lowtide.scheduler.store.tables import comparison, policy_set

Mode = Literal["enforce", "shadow"]


def append(
    connection: Connection,
    *,
    at: datetime,
    actor: str,
    why: str | None,
    text: str,
    mode: Mode = "enforce",
    copy_of: int | None = None,
) -> RowMapping:
    """Write the next revision; an empty text is the settings alone, or the end of a shadow."""
    revision = (connection.execute(select(func.max(policy_set.c.revision))).scalar() or 0) + 1
    values = {"at": at, "actor": actor, "why": why, "mode": mode, "text": text, "copy_of": copy_of}
    connection.execute(insert(policy_set).values(revision=revision, **values))
    return connection.execute(select(policy_set).where(policy_set.c.revision == revision)).mappings().one()


def newest(connection: Connection, mode: Mode = "enforce", *, limit: int = 1) -> list[RowMapping]:
    """The last revisions of a mode, newest first."""
    query = select(policy_set).where(policy_set.c.mode == mode).order_by(policy_set.c.revision.desc()).limit(limit)
    return list(connection.execute(query).mappings())


def history(connection: Connection, *, limit: int = 200) -> list[RowMapping]:
    """The last revisions of both modes, newest first."""
    query = select(policy_set).order_by(policy_set.c.revision.desc()).limit(limit)
    return list(connection.execute(query).mappings())


def enforced(connection: Connection, revision: int) -> RowMapping | None:
    """A revision that was in force; None where there is none of that number."""
    query = select(policy_set).where(policy_set.c.revision == revision, policy_set.c.mode == "enforce")
    return connection.execute(query).mappings().first()


def compare(connection: Connection, rows: list[dict[str, object]]) -> None:
    """Write comparisons with the active plan; of each job the first one stays."""
    insert_once(connection, comparison, rows)


def summed(connection: Connection, revision: int) -> RowMapping:
    """How many ``jobs`` were compared with a revision in the shadow, and the grams of both plans."""
    sums = [func.coalesce(func.sum(comparison.c[name]), 0.0).label(name) for name in ("active_g", "shadow_g")]
    query = select(func.count().label("jobs"), *sums).where(comparison.c.revision == revision)
    return connection.execute(query).mappings().one()


def compared(connection: Connection, revision: int, *, limit: int = 100) -> list[RowMapping]:
    """The last comparisons with a revision in the shadow, newest first."""
    query = select(comparison).where(comparison.c.revision == revision)
    return list(connection.execute(query.order_by(comparison.c.at.desc(), comparison.c.job_id).limit(limit)).mappings())


def last_shadow(connection: Connection) -> RowMapping | None:
    """The set that is, or was last, in the shadow."""
    query = select(policy_set).where(policy_set.c.mode == "shadow", policy_set.c.text != "")
    return connection.execute(query.order_by(policy_set.c.revision.desc()).limit(1)).mappings().first()
