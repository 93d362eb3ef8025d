"""The tables, and the guards that make the database itself refuse what must never be.

job        one row per submission: the frozen spec and the current state
attempt    one execution each; the partial unique index holds INV-02, a trigger holds INV-07
dependency which jobs must have ended before a job begins; a trigger holds INV-24
transfer   what an attempt had brought to its site, as it was estimated; append-only
event      one row per transition (INV-03); append-only
plan, decision   what was considered, chosen and why, on which grid data
energy, emission, baseline   the ledger; append-only
intensity  the grid figures that the ledger was priced with
attribution   whom each source of such figures asks to be named
issue      forecasts as they were issued, for two weeks
site, pool, meta what the configuration said at the last start; facts about the data directory
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeDecorator

from lowtide.scheduler.model.dependency import After
from lowtide.scheduler.model.lifecycle import (
    LIVE_ATTEMPT_STATES,
    TERMINAL_JOB_STATES,
    AttemptState,
    JobState,
)

metadata = MetaData()


class Moment(TypeDecorator[datetime]):
    """An aware UTC moment as integer microseconds: sorts, compares and indexes alike in every database."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        """Microseconds since the Unix epoch."""
        return None if value is None else micros(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Aware UTC."""
        return None if value is None else from_micros(value)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(moment: datetime) -> int:
    """Microseconds since the Unix epoch, exactly (no float in between)."""
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def from_micros(value: int) -> datetime:
    """The moment that ``micros`` wrote."""
    return datetime.fromtimestamp(value // 1_000_000, tz=UTC).replace(microsecond=value % 1_000_000)


def quoted(values: Iterable[StrEnum]) -> str:
    """Values as a list in SQL."""
    return ", ".join(f"'{value.value}'" for value in sorted(values))


LIVE = f"state IN ({quoted(LIVE_ATTEMPT_STATES)})"
TERMINAL = f"state IN ({quoted(TERMINAL_JOB_STATES)})"

meta = Table("meta", metadata, Column("key", String, primary_key=True), Column("value", JSON, nullable=False))

site = Table(
    "site",
    metadata,
    Column("name", String, primary_key=True),
    Column("zone", String, nullable=False),
    Column("gpus", Integer, nullable=False),
    Column("cpus", Integer, nullable=False),
    Column("jurisdiction", String, nullable=False),
)

pool = Table(
    "pool",
    metadata,
    Column("site", String, ForeignKey("site.name"), nullable=False),
    Column("name", String, nullable=False),
    Column("gpus", Integer, nullable=False),
    Column("cpus", Integer, nullable=False),
    PrimaryKeyConstraint("site", "name"),
)

job = Table(
    "job",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("project", String, nullable=False),
    Column("queue", String, nullable=False),
    Column("urgency", String, nullable=False),
    Column("actor", String, nullable=False),
    Column("state", String, nullable=False),
    Column("state_since", Moment, nullable=False),
    Column("held_by", String),
    Column("forced_by", String),
    Column("forced_why", Text),
    Column("spec", JSON, nullable=False),
    Column("spec_digest", String, nullable=False),
    Column("fingerprint", String),
    Column("package", String),
    Column("idempotency_key", String, unique=True),
    Column("submitted_at", Moment, nullable=False),
    Column("latest_finish_at", Moment, nullable=False),
    Column("not_before", Moment),
    Column("next_review_at", Moment),
    Column("reason_code", String, nullable=False),
    Column("reason_facts", JSON, nullable=False),
    Column("first_reason_code", String),
    Column("first_reason_facts", JSON),
    Column("first_feasible_at", Moment),
    Column("planned_start_at", Moment),
    Column("planned_finish_at", Moment),
    Column("planned_g", Float),
    Column("planned_saving_g", Float),
    Column("started_at", Moment),
    Column("finished_at", Moment),
    Column("done_s", Float, nullable=False, default=0.0),
    Column("attempts", Integer, nullable=False, default=0),
    Column("suspensions", Integer, nullable=False, default=0),
    Column("failures", Integer, nullable=False, default=0),
    Column("dirty_stops", Integer, nullable=False, default=0),
    Column("results", JSON, nullable=False, default=dict),
    Column("exit_code", Integer),
    CheckConstraint(f"state IN ({quoted(JobState)})", name="job_state_known"),
    CheckConstraint(f"{TERMINAL} OR next_review_at IS NOT NULL", name="inv04_next_review"),
    CheckConstraint(f"NOT ({TERMINAL}) OR finished_at IS NOT NULL", name="terminal_has_end"),
    Index(
        "job_open",
        "next_review_at",
        sqlite_where=text(f"NOT ({TERMINAL})"),
        postgresql_where=text(f"NOT ({TERMINAL})"),
    ),
    Index("job_submitted", "submitted_at"),
    Index("job_name", "name"),
    Index("job_fingerprint", "fingerprint", "submitted_at"),
)

dependency = Table(
    "dependency",
    metadata,
    Column("job_id", String, ForeignKey("job.id"), nullable=False),
    Column("on_job_id", String, ForeignKey("job.id"), nullable=False),
    Column("after", String, nullable=False),
    Column("waived_by", String),
    PrimaryKeyConstraint("job_id", "on_job_id"),
    CheckConstraint(f"after IN ({quoted(After)})", name="dependency_after_known"),
    CheckConstraint("job_id <> on_job_id", name="dependency_on_another"),
    Index("dependency_on", "on_job_id"),
)

attempt = Table(
    "attempt",
    metadata,
    Column("id", String, primary_key=True),
    Column("job_id", String, ForeignKey("job.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("site", String, ForeignKey("site.name"), nullable=False),
    Column("state", String, nullable=False),
    Column("fence", String, nullable=False),
    Column("gpus", Integer, nullable=False),
    Column("cpus", Integer, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("cluster_id", String),
    Column("submitted_at", Moment),
    Column("started_at", Moment),
    Column("stop_intent", String),
    Column("stop_asked_at", Moment),
    Column("stop_sent_at", Moment),
    Column("ended_at", Moment),
    Column("exit_code", Integer),
    Column("checkpoint_seq", Integer),
    Column("note", Text),
    Column("pool", String, nullable=False, server_default=""),
    Column("power_plan", JSON),
    Column("power_refused", Text),
    UniqueConstraint("job_id", "number"),
    CheckConstraint(f"state IN ({quoted(AttemptState)})", name="attempt_state_known"),
    CheckConstraint(f"{LIVE} OR ended_at IS NOT NULL", name="ended_has_end"),
    Index("inv02_one_live_attempt", "job_id", unique=True, sqlite_where=text(LIVE), postgresql_where=text(LIVE)),
    Index(
        "attempt_power_refused",
        "site",
        sqlite_where=text("power_refused IS NOT NULL"),
        postgresql_where=text("power_refused IS NOT NULL"),
    ),
    Index("attempt_live", "site", sqlite_where=text(LIVE), postgresql_where=text(LIVE)),
)

transfer = Table(
    "transfer",
    metadata,
    Column("attempt_id", String, ForeignKey("attempt.id"), primary_key=True),
    Column("at", Moment, nullable=False),
    Column("sources", JSON, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("lasts_s", Float, nullable=False),
    Column("energy_mj", BigInteger, nullable=False),
    Column("emissions_g", Float),
    CheckConstraint("energy_mj >= 0 AND size_bytes >= 0", name="transfer_not_negative"),
)

event = Table(
    "event",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("at", Moment, nullable=False),
    Column("job_id", String, ForeignKey("job.id"), nullable=False),
    Column("attempt_id", String),
    Column("subject", String, nullable=False),
    Column("source", String),
    Column("target", String),
    Column("actor", String, nullable=False),
    Column("reason_code", String, nullable=False),
    Column("reason_facts", JSON, nullable=False),
    Column("plan_id", String),
    Index("event_job", "job_id", "seq"),
)

plan = Table(
    "plan",
    metadata,
    Column("id", String, primary_key=True),
    Column("at", Moment, nullable=False),
    Column("trigger", String, nullable=False),
    Column("jobs", Integer, nullable=False),
    Column("elapsed_ms", Float, nullable=False),
    Column("grid", JSON, nullable=False),
)

decision = Table(
    "decision",
    metadata,
    Column("plan_id", String, ForeignKey("plan.id"), nullable=False),
    Column("job_id", String, ForeignKey("job.id"), nullable=False),
    Column("at", Moment, nullable=False),
    Column("action", String, nullable=False),
    Column("reason_code", String, nullable=False),
    Column("data", JSON, nullable=False),
    PrimaryKeyConstraint("plan_id", "job_id"),
    Index("decision_job", "job_id", "at"),
)

energy = Table(
    "energy",
    metadata,
    Column("attempt_id", String, ForeignKey("attempt.id"), nullable=False),
    Column("component", String, nullable=False),
    Column("start_at", Moment, nullable=False),
    Column("end_at", Moment, nullable=False),
    Column("energy_mj", BigInteger, nullable=False),
    Column("source", String, nullable=False),
    Column("quality", String, nullable=False),
    Column("scale", Float, nullable=False),
    PrimaryKeyConstraint("attempt_id", "component", "start_at"),
    CheckConstraint("energy_mj >= 0", name="energy_not_negative"),
    CheckConstraint("quality IN ('measured', 'modelled')", name="energy_quality_known"),
)

emission = Table(
    "emission",
    metadata,
    Column("attempt_id", String, nullable=False),
    Column("component", String, nullable=False),
    Column("start_at", Moment, nullable=False),
    Column("emissions_g", Float, nullable=False),
    Column("g_per_kwh", Float, nullable=False),
    Column("pue", Float, nullable=False),
    Column("kind", String, nullable=False),
    Column("grid_source", String, nullable=False),
    Column("zone", String, nullable=False),
    Column("signal", String, nullable=False),
    Column("basis", String, nullable=False),
    Column("accounting", String, nullable=False),
    Column("cost", Float),
    Column("currency", String),
    PrimaryKeyConstraint("attempt_id", "component", "start_at"),
    CheckConstraint("emissions_g >= 0", name="emission_not_negative"),
)

baseline = Table(
    "baseline",
    metadata,
    Column("job_id", String, ForeignKey("job.id"), primary_key=True),
    Column("start_at", Moment, nullable=False),
    Column("emissions_g", Float),
    Column("data", JSON, nullable=False),
)

intensity = Table(
    "intensity",
    metadata,
    Column("source", String, nullable=False),
    Column("zone", String, nullable=False),
    Column("signal", String, nullable=False),
    Column("basis", String, nullable=False),
    Column("accounting", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("start_at", Moment, nullable=False),
    Column("end_at", Moment, nullable=False),
    Column("g_per_kwh", Float, nullable=False),
    Column("seen_at", Moment, nullable=False),
    PrimaryKeyConstraint("source", "zone", "signal", "basis", "accounting", "kind", "start_at"),
    CheckConstraint("g_per_kwh >= 0 AND g_per_kwh <= 5000", name="inv12_sane_intensity"),
)

attribution = Table(
    "attribution",
    metadata,
    Column("source", String, primary_key=True),
    Column("attribution", Text, nullable=False),
)

issue = Table(
    "issue",
    metadata,
    Column("source", String, nullable=False),
    Column("zone", String, nullable=False),
    Column("signal", String, nullable=False),
    Column("basis", String, nullable=False),
    Column("accounting", String, nullable=False),
    Column("seen_at", Moment, nullable=False),
    Column("issued_at", Moment),
    Column("start_at", Moment, nullable=False),
    Column("step_s", Float, nullable=False),
    Column("g_per_kwh", JSON, nullable=False),
    PrimaryKeyConstraint("source", "zone", "signal", "basis", "accounting", "seen_at"),
)

policy_set = Table(
    "policy_set",
    metadata,
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("at", Moment, nullable=False),
    Column("actor", String, nullable=False),
    Column("why", Text),
    Column("mode", String, nullable=False),
    Column("text", Text, nullable=False),
    Column("copy_of", Integer),
    CheckConstraint("mode IN ('enforce', 'shadow')", name="policy_set_mode_known"),
)

comparison = Table(
    "comparison",
    metadata,
    Column("revision", Integer, ForeignKey("policy_set.revision"), nullable=False),
    Column("job_id", String, ForeignKey("job.id"), nullable=False),
    Column("at", Moment, nullable=False),
    Column("active_g", Float, nullable=False),
    Column("shadow_g", Float, nullable=False),
    Column("active_start_at", Moment, nullable=False),
    Column("shadow_start_at", Moment, nullable=False),
    PrimaryKeyConstraint("revision", "job_id"),
)

reservation = Table(
    "reservation",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("at", Moment, nullable=False),
    Column("actor", String, nullable=False),
    Column("why", Text),
    Column("site", String, nullable=False),
    Column("pool", String, nullable=False),
    Column("start_at", Moment, nullable=False),
    Column("end_at", Moment),
    Column("gpus", Integer),
    Column("cpus", Integer),
    Column("project", String),
    Column("queue", String),
    CheckConstraint("end_at IS NULL OR end_at > start_at", name="reservation_ends_after_start"),
    CheckConstraint("(gpus IS NULL) = (cpus IS NULL)", name="reservation_of_all_or_of_both"),
)

reservation_end = Table(
    "reservation_end",
    metadata,
    Column("reservation_id", Integer, ForeignKey("reservation.id"), primary_key=True, autoincrement=False),
    Column("at", Moment, nullable=False),
    Column("actor", String, nullable=False),
    Column("why", Text),
)
