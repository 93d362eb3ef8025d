"""Policy sets as applied, and what a set in the shadow would have planned."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

GUARDS = [
    "CREATE TRIGGER policy_set_no_update BEFORE UPDATE ON policy_set BEGIN SELECT RAISE(ABORT, 'policy_set is append-only'); END",
    "CREATE TRIGGER policy_set_no_delete BEFORE DELETE ON policy_set BEGIN SELECT RAISE(ABORT, 'policy_set is append-only'); END",
    "CREATE TRIGGER comparison_no_update BEFORE UPDATE ON comparison BEGIN SELECT RAISE(ABORT, 'comparison is append-only'); END",
    "CREATE TRIGGER comparison_no_delete BEFORE DELETE ON comparison BEGIN SELECT RAISE(ABORT, 'comparison is append-only'); END",
]


def upgrade() -> None:
    op.create_table(
        "policy_set",
        sa.Column("revision", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("why", sa.Text(), nullable=True),
        sa.Column("mode", sa.String(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("copy_of", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("revision"),
        sa.CheckConstraint("mode IN ('enforce', 'shadow')", name="policy_set_mode_known"),
    )
    op.create_table(
        "comparison",
        sa.Column("revision", sa.Integer(), sa.ForeignKey("policy_set.revision"), nullable=False),
        sa.Column("job_id", sa.String(), sa.ForeignKey("job.id"), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("active_g", sa.Float(), nullable=False),
        sa.Column("shadow_g", sa.Float(), nullable=False),
        sa.Column("active_start_at", sa.BigInteger(), nullable=False),
        sa.Column("shadow_start_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("revision", "job_id"),
    )
    if op.get_bind().dialect.name == "sqlite":
        for guard in GUARDS:
            op.get_bind().exec_driver_sql(guard)
