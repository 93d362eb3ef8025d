"""What projects have spent, by day: grams out of the ledger, GPU time out of attempts that have ended.

Whole-number sums that are moved on, as in ``totals.py``: rows are never deleted, so what was read is not read again.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Integer,
    RowMapping,
    cast,
    func,
    literal_column,
    select,
    type_coerce,
)

from lowtide.scheduler.model.lifecycle import LIVE_ATTEMPT_STATES
from lowtide.scheduler.model.spending import DAY, MICRO, Days, Used, by_day
from lowtide.scheduler.store.tables import attempt, emission, event, job

DAY_US = 86_400 * MICRO
EPOCH = date(1970, 1, 1)


@dataclass(slots=True)
class Spent:
    """Sums up to a point of the ledger and the event log; ``catch_up`` moves the point on."""

    emissions_ug: Days = field(default_factory=Counter)
    gpu_us: Days = field(default_factory=Counter)
    _read_to: tuple[int, int] = (0, 0)

    def catch_up(self, connection: Connection) -> None:
        """Add what was appended since the last call; all or, where the store fails, nothing."""
        newest = _newest(connection)
        emitted = _emitted(connection, self._read_to[0], newest[0])
        ran = _ran(connection, self._read_to[1], newest[1])
        self.emissions_ug.update(emitted)
        self.gpu_us.update(ran)
        self._read_to = newest

    def used(self, running_us: Days | None = None) -> Used:
        """The sums, with what attempts that still run have used."""
        return Used(self.emissions_ug, self.gpu_us, Counter() if running_us is None else running_us)


def gpu_days(attempts: Iterable[tuple[str, RowMapping, datetime]]) -> Days:
    """GPU microseconds of attempts by project and day, from their start to the moment that is given with each."""
    found: Days = Counter()
    for project, row, end in attempts:
        for day, ran_us in by_day(row["started_at"], end) if row["started_at"] is not None else ():
            found[project, day] += row["gpus"] * ran_us
    return found


def _newest(connection: Connection) -> tuple[int, int]:
    """The last rows of the ledger and of the event log."""
    emitted = select(func.max(_row_number())).select_from(emission)
    return connection.execute(emitted).scalar() or 0, connection.execute(select(func.max(event.c.seq))).scalar() or 0


def _row_number() -> ColumnElement[int]:
    return literal_column("emission.rowid", Integer)


def _emitted(connection: Connection, after: int, until: int) -> Days:
    day = type_coerce(emission.c.start_at, BigInteger) // DAY_US
    grams_ug = func.sum(cast(func.round(emission.c.emissions_g * MICRO), BigInteger))
    source = emission.join(attempt, attempt.c.id == emission.c.attempt_id).join(job, job.c.id == attempt.c.job_id)
    query = (
        select(job.c.project, day, grams_ug)
        .select_from(source)
        .where(_row_number() > after, _row_number() <= until)
        .group_by(job.c.project, day)
    )
    return Counter({(name, EPOCH + int(number) * DAY): ug for name, number, ug in connection.execute(query)})


def _ran(connection: Connection, after: int, until: int) -> Days:
    """An attempt ends once: the log has one event of it for that."""
    source = event.join(attempt, attempt.c.id == event.c.attempt_id).join(job, job.c.id == attempt.c.job_id)
    query = (
        select(job.c.project, attempt.c.gpus, attempt.c.started_at, attempt.c.ended_at)
        .select_from(source)
        .where(
            event.c.seq > after,
            event.c.seq <= until,
            event.c.subject == "attempt",
            event.c.target.not_in([state.value for state in LIVE_ATTEMPT_STATES]),
            attempt.c.started_at.is_not(None),
            attempt.c.gpus > 0,
        )
    )
    rows = connection.execute(query).mappings()
    return gpu_days((row["project"], row, row["ended_at"]) for row in rows)
