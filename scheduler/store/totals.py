"""What all jobs, joules and grams add up to, for the metrics: bounded work however large the store has grown.

Ended jobs and rows of the ledger never change again, so their sums are carried on: each call reads only what
was appended since the last one, by row number. What is still open is summed afresh; an index holds just that.
All sums are whole numbers, so that adding them up in another order after a restart gives the same (INV-17).
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    Select,
    Table,
    and_,
    case,
    cast,
    func,
    literal_column,
    select,
    text,
    type_coerce,
)

from lowtide.scheduler.model.lifecycle import TERMINAL_JOB_STATES, WAITING_JOB_STATES, JobState
from lowtide.scheduler.store.tables import TERMINAL, attempt, baseline, emission, energy, event, from_micros, job, site

MICRO = 1_000_000
WAIT_BUCKETS_S = (60, 300, 900, 1800, 3600, 7200, 14_400, 28_800, 43_200, 86_400, 172_800, 604_800)
SPANS = {
    "wait": (job.c.submitted_at, job.c.started_at),
    "delay": (job.c.first_feasible_at, job.c.started_at),
    "run": (job.c.started_at, job.c.finished_at),
}
"""Stretches of a job's life that are told as histograms; a job counts once it has both ends."""

JobKey = tuple[str, str, str]
"""Queue, state, and what is counted."""
LedgerKey = tuple[str, ...]
"""Queue and zone, and for energy the component."""
Query = Select[Any]


@dataclass(slots=True)
class Totals:
    """Sums up to a point of the event log and the ledger; ``catch_up`` moves the point on."""

    ended: Counter[JobKey] = field(default_factory=Counter)
    open: Counter[JobKey] = field(default_factory=Counter)
    energy_mj: Counter[LedgerKey] = field(default_factory=Counter)
    emissions_ug: Counter[LedgerKey] = field(default_factory=Counter)
    baseline_ug: Counter[LedgerKey] = field(default_factory=Counter)
    compared_ug: Counter[LedgerKey] = field(default_factory=Counter)
    cost_millionths: Counter[LedgerKey] = field(default_factory=Counter)
    """By project, site and currency."""
    oldest_waiting: dict[str, datetime] = field(default_factory=dict)
    _read_to: dict[str, int] = field(default_factory=dict)

    def catch_up(self, connection: Connection) -> None:
        """Add what was appended since the last call; all or, where the store fails, nothing.

        Args:
            connection: one consistent view, so that a job is either still open or ended, never both.

        """
        newest = {table.name: _newest(connection, table) for table in (event, energy, emission, baseline)}
        ended = _by_job(connection, self._fresh(event, newest, _ended_jobs()))
        energy_mj = _sums(connection, self._fresh(energy, newest, _energy()))
        emissions_ug = _sums(connection, self._fresh(emission, newest, _emissions()))
        baseline_ug = _sums(connection, self._fresh(baseline, newest, _baselines()))
        compared_ug = _sums(connection, self._fresh(baseline, newest, _compared()))
        cost_millionths = _sums(connection, self._fresh(emission, newest, _costs()))
        still_open, oldest = _by_job(connection, open_jobs()), _oldest(connection)
        self.ended.update(ended)
        self.energy_mj.update(energy_mj)
        self.emissions_ug.update(emissions_ug)
        self.baseline_ug.update(baseline_ug)
        self.compared_ug.update(compared_ug)
        self.cost_millionths.update(cost_millionths)
        self.open, self.oldest_waiting, self._read_to = still_open, oldest, newest

    def jobs(self, queue: str, what: str, state: str | None = None) -> int:
        """What the jobs of a queue add up to, in one state or in all."""
        states = list(JobState) if state is None else [state]
        return sum(self.ended[queue, s, what] + self.open[queue, s, what] for s in states)

    def queues(self) -> set[str]:
        """Every queue that ever had a job."""
        return {queue for queue, _, _ in (*self.ended, *self.open)}

    def _fresh(self, table: Table, newest: dict[str, int], query: Query) -> Query:
        """The query over those rows of a table that were not read yet."""
        number = _row_number(table)
        return query.where(number > self._read_to.get(table.name, 0), number <= newest[table.name])


def _newest(connection: Connection, table: Table) -> int:
    return connection.execute(select(func.max(_row_number(table))).select_from(table)).scalar() or 0


def _row_number(table: Table) -> ColumnElement[int]:
    """SQLite numbers rows in the order in which they come; rows that are never deleted keep it so."""
    return literal_column(f"{table.name}.rowid", Integer)


def _figures() -> list[ColumnElement[Any]]:
    """What is summed over jobs, by label."""
    late = and_(job.c.state == JobState.SUCCEEDED, job.c.finished_at > job.c.latest_finish_at)
    at_risk = and_(job.c.finished_at.is_(None), job.c.planned_finish_at > job.c.latest_finish_at)
    found: list[ColumnElement[Any]] = [
        func.count().label("count"),
        func.sum(job.c.suspensions).label("suspensions"),
        _how_many(late).label("late"),
        _how_many(at_risk).label("at_risk"),
    ]
    for name, (start, end) in SPANS.items():
        micros = func.max(0, type_coerce(end, BigInteger) - type_coerce(start, BigInteger))
        has_both = and_(start.is_not(None), end.is_not(None))
        found.append(func.coalesce(func.sum(case((has_both, micros))), 0).label(f"{name}_us"))
        found.append(_how_many(has_both).label(f"{name}_count"))
        found += [
            _how_many(and_(has_both, micros <= edge_s * MICRO)).label(f"{name}_{edge_s}") for edge_s in WAIT_BUCKETS_S
        ]
    return found


def _how_many(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)


def _jobs(source: FromClause) -> Query:
    keys = (job.c.queue, job.c.state)
    return select(*keys, *_figures()).select_from(source).group_by(*keys)


def _ended_jobs() -> Query:
    """A job ends once: the log has one event of it for that."""
    ends = [state.value for state in TERMINAL_JOB_STATES]
    source = event.join(job, job.c.id == event.c.job_id)
    return _jobs(source).where(event.c.subject == "job", event.c.target.in_(ends))


def open_jobs() -> Query:
    """The figures of jobs that have not ended; the condition stands as in the index, or SQLite would not use it."""
    return _jobs(job).where(text(f"NOT ({TERMINAL})"))


def _oldest(connection: Connection) -> dict[str, datetime]:
    waiting = [state.value for state in WAITING_JOB_STATES]
    first = func.min(type_coerce(job.c.submitted_at, BigInteger))
    query = select(job.c.queue, first).where(text(f"NOT ({TERMINAL})"), job.c.state.in_(waiting))
    return {queue: from_micros(at) for queue, at in connection.execute(query.group_by(job.c.queue))}


def _energy() -> Query:
    keys = (job.c.queue, site.c.zone, energy.c.component)
    return _ledger(energy, func.sum(energy.c.energy_mj), *keys)


def _emissions() -> Query:
    return _ledger(emission, _millionths(emission.c.emissions_g), job.c.queue, site.c.zone)


def _costs() -> Query:
    keys = (job.c.project, attempt.c.site, emission.c.currency)
    return _ledger(emission, _millionths(emission.c.cost), *keys).where(emission.c.cost.is_not(None))


def _ledger(table: Table, figure: ColumnElement[int], *keys: ColumnElement[str]) -> Query:
    source = (
        table.join(attempt, attempt.c.id == table.c.attempt_id)
        .join(job, job.c.id == attempt.c.job_id)
        .join(site, site.c.name == attempt.c.site)
    )
    columns: list[ColumnElement[Any]] = [*keys, figure]
    return select(*columns).select_from(source).group_by(*keys)


def _baselines() -> Query:
    keys = (job.c.queue, baseline.c.data["zone"].as_string())
    source = baseline.join(job, job.c.id == baseline.c.job_id)
    figure = _millionths(baseline.c.emissions_g)
    return select(*keys, figure).select_from(source).where(baseline.c.emissions_g.is_not(None)).group_by(*keys)


def _compared() -> Query:
    """What the jobs that have a baseline emitted themselves; their rows are complete when the baseline is written."""
    keys = (job.c.queue, baseline.c.data["zone"].as_string())
    source = (
        baseline.join(job, job.c.id == baseline.c.job_id)
        .join(attempt, attempt.c.job_id == job.c.id)
        .join(emission, emission.c.attempt_id == attempt.c.id)
    )
    figure = _millionths(emission.c.emissions_g)
    return select(*keys, figure).select_from(source).where(baseline.c.emissions_g.is_not(None)).group_by(*keys)


def _millionths(amount: ColumnElement[Any]) -> ColumnElement[int]:
    return func.sum(cast(func.round(amount * MICRO), BigInteger))


def _by_job(connection: Connection, query: Query) -> Counter[JobKey]:
    found: Counter[JobKey] = Counter()
    for row in connection.execute(query).mappings():
        figures = {name: value for name, value in row.items() if name not in {"queue", "state"}}
        found.update({(row["queue"], row["state"], name): value for name, value in figures.items()})
    return found


def _sums(connection: Connection, query: Query) -> Counter[LedgerKey]:
    """By all columns but the last, which is the sum."""
    return Counter({tuple(row[:-1]): row[-1] for row in connection.execute(query)})
