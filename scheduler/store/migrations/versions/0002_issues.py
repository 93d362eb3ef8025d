"""Forecasts as issued."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

GUARD = "CREATE TRIGGER issue_no_update BEFORE UPDATE ON issue BEGIN SELECT RAISE(ABORT, 'issue is append-only'); END"


def upgrade() -> None:
    op.create_table(
        "issue",
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("zone", sa.String(), nullable=False),
        sa.Column("signal", sa.String(), nullable=False),
        sa.Column("basis", sa.String(), nullable=False),
        sa.Column("accounting", sa.String(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("issued_at", sa.BigInteger(), nullable=True),
        sa.Column("start_at", sa.BigInteger(), nullable=False),
        sa.Column("step_s", sa.Float(), nullable=False),
        sa.Column("g_per_kwh", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("source", "zone", "signal", "basis", "accounting", "seen_at"),
    )
    if op.get_bind().dialect.name == "sqlite":
        op.get_bind().exec_driver_sql(GUARD)
