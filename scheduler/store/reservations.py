"""Drains and reservations as they were made, and how they were ended; neither is ever changed."""

from datetime import datetime

from sqlalchemy import Connection, RowMapping, Select, func, insert, or_, select

from lowtide.scheduler.model.errors import Conflict, NotFound
from lowtide.scheduler.model.reservation import Reservation
from lowtide.scheduler.store.tables import reservation, reservation_end


def add(connection: Connection, new: Reservation, *, at: datetime, actor: str, why: str | None) -> int:
    """Write one down under the next number, whatever its own, and return that."""
    number: int = (connection.execute(select(func.max(reservation.c.id))).scalar() or 0) + 1
    values = {name: getattr(new, name) for name in ("site", "pool", "start_at", "end_at", *OF_WHAT)}
    connection.execute(insert(reservation).values(id=number, at=at, actor=actor, why=why, **values))
    return number


OF_WHAT = ("gpus", "cpus", "project", "queue")


def end(connection: Connection, number: int, *, at: datetime, actor: str, why: str | None) -> None:
    """Write down that one is over before its time.

    Raises:
        NotFound: there is no such reservation.
        Conflict: it is over.

    """
    row = next((row for row in listed(connection) if row["id"] == number), None)
    if row is None:
        raise NotFound(f"there is no reservation {number}.", fix="lowtide admin reservation list shows them.")
    if row["ended_at"] is not None or (row["end_at"] is not None and row["end_at"] <= at):
        raise Conflict(f"reservation {number} is over.", fix="Nothing to do.")
    connection.execute(insert(reservation_end).values(reservation_id=number, at=at, actor=actor, why=why))


def ahead(connection: Connection, now: datetime) -> tuple[Reservation, ...]:
    """Those that are not over, by number."""
    open_ended = or_(reservation.c.end_at.is_(None), reservation.c.end_at > now)
    query = _with_ends().where(reservation_end.c.at.is_(None), open_ended).order_by(reservation.c.id)
    return tuple(of_row(row) for row in connection.execute(query).mappings())


def listed(connection: Connection, *, limit: int = 200) -> list[RowMapping]:
    """The last ones with how they were ended, newest first."""
    return list(connection.execute(_with_ends().order_by(reservation.c.id.desc()).limit(limit)).mappings())


def of_row(row: RowMapping) -> Reservation:
    """A row as the core sees it."""
    where = row["site"], row["pool"], row["start_at"], row["end_at"]
    return Reservation(row["id"], *where, **{name: row[name] for name in OF_WHAT})


def check_open(connection: Connection, site: str, pool: str, now: datetime) -> None:
    """Raise Conflict where a place is drained: a plan may be older than the order."""
    for one in ahead(connection, now):
        if one.is_drain and one.covers(site, pool) and one.start_at <= now:
            raise Conflict(f"{site} is drained, by reservation {one.number}.", fix="Wait until it is over.")


def _with_ends() -> Select[tuple[object, ...]]:
    ends = reservation_end.c
    told = ends.at.label("ended_at"), ends.actor.label("ended_by"), ends.why.label("ended_why")
    return select(reservation, *told).outerjoin(reservation_end, ends.reservation_id == reservation.c.id)
