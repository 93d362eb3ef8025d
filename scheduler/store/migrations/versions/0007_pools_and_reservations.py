"""The pools of a site and in which of them an attempt runs; drains and reservations, and their ends."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

GUARDS = [
    """CREATE TRIGGER inv07_pool_capacity BEFORE INSERT ON attempt
WHEN (SELECT COALESCE(SUM(gpus), 0) FROM attempt WHERE site = NEW.site AND pool = NEW.pool AND state IN ('running', 'starting', 'stopping', 'unknown')) + NEW.gpus > (SELECT gpus FROM pool WHERE site = NEW.site AND name = NEW.pool) OR (SELECT COALESCE(SUM(cpus), 0) FROM attempt WHERE site = NEW.site AND pool = NEW.pool AND state IN ('running', 'starting', 'stopping', 'unknown')) + NEW.cpus > (SELECT cpus FROM pool WHERE site = NEW.site AND name = NEW.pool)
BEGIN SELECT RAISE(ABORT, 'INV-07 pool is full'); END""",
    "CREATE TRIGGER reservation_no_update BEFORE UPDATE ON reservation BEGIN SELECT RAISE(ABORT, 'reservation is append-only'); END",
    "CREATE TRIGGER reservation_no_delete BEFORE DELETE ON reservation BEGIN SELECT RAISE(ABORT, 'reservation is append-only'); END",
    "CREATE TRIGGER reservation_end_no_update BEFORE UPDATE ON reservation_end BEGIN SELECT RAISE(ABORT, 'reservation_end is append-only'); END",
    "CREATE TRIGGER reservation_end_no_delete BEFORE DELETE ON reservation_end BEGIN SELECT RAISE(ABORT, 'reservation_end is append-only'); END",
]


def upgrade() -> None:
    op.create_table(
        "pool",
        sa.Column("site", sa.String(), sa.ForeignKey("site.name"), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("gpus", sa.Integer(), nullable=False),
        sa.Column("cpus", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("site", "name"),
    )
    op.add_column("attempt", sa.Column("pool", sa.String(), nullable=False, server_default=""))
    op.create_table(
        "reservation",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("why", sa.Text(), nullable=True),
        sa.Column("site", sa.String(), nullable=False),
        sa.Column("pool", sa.String(), nullable=False),
        sa.Column("start_at", sa.BigInteger(), nullable=False),
        sa.Column("end_at", sa.BigInteger(), nullable=True),
        sa.Column("gpus", sa.Integer(), nullable=True),
        sa.Column("cpus", sa.Integer(), nullable=True),
        sa.Column("project", sa.String(), nullable=True),
        sa.Column("queue", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.CheckConstraint("end_at IS NULL OR end_at > start_at", name="reservation_ends_after_start"),
        sa.CheckConstraint("(gpus IS NULL) = (cpus IS NULL)", name="reservation_of_all_or_of_both"),
    )
    op.create_table(
        "reservation_end",
        sa.Column("reservation_id", sa.Integer(), sa.ForeignKey("reservation.id"), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("why", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("reservation_id"),
    )
    if op.get_bind().dialect.name == "sqlite":
        for guard in GUARDS:
            op.get_bind().exec_driver_sql(guard)
