"""The first schema."""

import sqlalchemy as sa
from alembic import op

from lowtide.scheduler.store.guards_0001 import SQLITE_GUARDS

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "emission",
        sa.Column("attempt_id", sa.String(), nullable=False),
        sa.Column("component", sa.String(), nullable=False),
        sa.Column("start_at", sa.BigInteger(), nullable=False),
        sa.Column("emissions_g", sa.Float(), nullable=False),
        sa.Column("g_per_kwh", sa.Float(), nullable=False),
        sa.Column("pue", sa.Float(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("grid_source", sa.String(), nullable=False),
        sa.Column("zone", sa.String(), nullable=False),
        sa.Column("signal", sa.String(), nullable=False),
        sa.Column("basis", sa.String(), nullable=False),
        sa.Column("accounting", sa.String(), nullable=False),
        sa.CheckConstraint("emissions_g >= 0", name="emission_not_negative"),
        sa.PrimaryKeyConstraint("attempt_id", "component", "start_at"),
    )
    op.create_table(
        "intensity",
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("zone", sa.String(), nullable=False),
        sa.Column("signal", sa.String(), nullable=False),
        sa.Column("basis", sa.String(), nullable=False),
        sa.Column("accounting", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("start_at", sa.BigInteger(), nullable=False),
        sa.Column("end_at", sa.BigInteger(), nullable=False),
        sa.Column("g_per_kwh", sa.Float(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("g_per_kwh >= 0 AND g_per_kwh <= 5000", name="inv12_sane_intensity"),
        sa.PrimaryKeyConstraint("source", "zone", "signal", "basis", "accounting", "kind", "start_at"),
    )
    op.create_table(
        "job",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("queue", sa.String(), nullable=False),
        sa.Column("urgency", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("state_since", sa.BigInteger(), nullable=False),
        sa.Column("held_by", sa.String(), nullable=True),
        sa.Column("forced_by", sa.String(), nullable=True),
        sa.Column("forced_why", sa.Text(), nullable=True),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("spec_digest", sa.String(), nullable=False),
        sa.Column("package", sa.String(), nullable=True),
        sa.Column("idempotency_key", sa.String(), nullable=True),
        sa.Column("submitted_at", sa.BigInteger(), nullable=False),
        sa.Column("latest_finish_at", sa.BigInteger(), nullable=False),
        sa.Column("not_before", sa.BigInteger(), nullable=True),
        sa.Column("next_review_at", sa.BigInteger(), nullable=True),
        sa.Column("reason_code", sa.String(), nullable=False),
        sa.Column("reason_facts", sa.JSON(), nullable=False),
        sa.Column("first_reason_code", sa.String(), nullable=True),
        sa.Column("first_reason_facts", sa.JSON(), nullable=True),
        sa.Column("first_feasible_at", sa.BigInteger(), nullable=True),
        sa.Column("planned_start_at", sa.BigInteger(), nullable=True),
        sa.Column("planned_finish_at", sa.BigInteger(), nullable=True),
        sa.Column("planned_g", sa.Float(), nullable=True),
        sa.Column("planned_saving_g", sa.Float(), nullable=True),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.Column("done_s", sa.Float(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("suspensions", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("dirty_stops", sa.Integer(), nullable=False),
        sa.Column("results", sa.JSON(), nullable=False),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.CheckConstraint(
            "NOT (state IN ('cancelled', 'failed', 'succeeded')) OR finished_at IS NOT NULL", name="terminal_has_end"
        ),
        sa.CheckConstraint(
            "state IN ('cancelled', 'failed', 'queued', 'running', 'starting', 'succeeded', 'suspended', 'suspending')",
            name="job_state_known",
        ),
        sa.CheckConstraint(
            "state IN ('cancelled', 'failed', 'succeeded') OR next_review_at IS NOT NULL", name="inv04_next_review"
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("idempotency_key"),
    )
    op.create_index("job_name", "job", ["name"], unique=False)
    op.create_index(
        "job_open",
        "job",
        ["next_review_at"],
        unique=False,
        sqlite_where=sa.text("NOT (state IN ('cancelled', 'failed', 'succeeded'))"),
        postgresql_where=sa.text("NOT (state IN ('cancelled', 'failed', 'succeeded'))"),
    )
    op.create_index("job_submitted", "job", ["submitted_at"], unique=False)
    op.create_table(
        "meta",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_table(
        "plan",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("trigger", sa.String(), nullable=False),
        sa.Column("jobs", sa.Integer(), nullable=False),
        sa.Column("elapsed_ms", sa.Float(), nullable=False),
        sa.Column("grid", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "site",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("zone", sa.String(), nullable=False),
        sa.Column("gpus", sa.Integer(), nullable=False),
        sa.Column("cpus", sa.Integer(), nullable=False),
        sa.Column("jurisdiction", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "attempt",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("site", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("fence", sa.String(), nullable=False),
        sa.Column("gpus", sa.Integer(), nullable=False),
        sa.Column("cpus", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("cluster_id", sa.String(), nullable=True),
        sa.Column("submitted_at", sa.BigInteger(), nullable=True),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("stop_intent", sa.String(), nullable=True),
        sa.Column("stop_asked_at", sa.BigInteger(), nullable=True),
        sa.Column("stop_sent_at", sa.BigInteger(), nullable=True),
        sa.Column("unknown_since", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("checkpoint_seq", sa.Integer(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state IN ('failed', 'lost', 'running', 'starting', 'stopped', 'stopping', 'succeeded', 'unknown')",
            name="attempt_state_known",
        ),
        sa.CheckConstraint(
            "state IN ('running', 'starting', 'stopping', 'unknown') OR ended_at IS NOT NULL", name="ended_has_end"
        ),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["job.id"],
        ),
        sa.ForeignKeyConstraint(
            ["site"],
            ["site.name"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("job_id", "number"),
    )
    op.create_index(
        "attempt_live",
        "attempt",
        ["site"],
        unique=False,
        sqlite_where=sa.text("state IN ('running', 'starting', 'stopping', 'unknown')"),
        postgresql_where=sa.text("state IN ('running', 'starting', 'stopping', 'unknown')"),
    )
    op.create_index(
        "inv02_one_live_attempt",
        "attempt",
        ["job_id"],
        unique=True,
        sqlite_where=sa.text("state IN ('running', 'starting', 'stopping', 'unknown')"),
        postgresql_where=sa.text("state IN ('running', 'starting', 'stopping', 'unknown')"),
    )
    op.create_table(
        "baseline",
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("start_at", sa.BigInteger(), nullable=False),
        sa.Column("emissions_g", sa.Float(), nullable=True),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["job.id"],
        ),
        sa.PrimaryKeyConstraint("job_id"),
    )
    op.create_table(
        "decision",
        sa.Column("plan_id", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("reason_code", sa.String(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["job.id"],
        ),
        sa.ForeignKeyConstraint(
            ["plan_id"],
            ["plan.id"],
        ),
        sa.PrimaryKeyConstraint("plan_id", "job_id"),
    )
    op.create_index("decision_job", "decision", ["job_id", "at"], unique=False)
    op.create_table(
        "event",
        sa.Column("seq", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("attempt_id", sa.String(), nullable=True),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=True),
        sa.Column("target", sa.String(), nullable=True),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("reason_code", sa.String(), nullable=False),
        sa.Column("reason_facts", sa.JSON(), nullable=False),
        sa.Column("plan_id", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["job.id"],
        ),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_index("event_job", "event", ["job_id", "seq"], unique=False)
    op.create_table(
        "energy",
        sa.Column("attempt_id", sa.String(), nullable=False),
        sa.Column("component", sa.String(), nullable=False),
        sa.Column("start_at", sa.BigInteger(), nullable=False),
        sa.Column("end_at", sa.BigInteger(), nullable=False),
        sa.Column("energy_mj", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("quality", sa.String(), nullable=False),
        sa.Column("scale", sa.Float(), nullable=False),
        sa.CheckConstraint("quality IN ('measured', 'modelled')", name="energy_quality_known"),
        sa.CheckConstraint("energy_mj >= 0", name="energy_not_negative"),
        sa.ForeignKeyConstraint(
            ["attempt_id"],
            ["attempt.id"],
        ),
        sa.PrimaryKeyConstraint("attempt_id", "component", "start_at"),
    )
    if op.get_bind().dialect.name == "sqlite":
        for guard in SQLITE_GUARDS:
            op.get_bind().exec_driver_sql(guard)
