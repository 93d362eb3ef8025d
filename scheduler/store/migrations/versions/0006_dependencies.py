"""Which jobs must have ended before a job begins, with a guard that none does; what attempts had brought to them."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

BEFORE = """\
CREATE TRIGGER inv24_after_what_it_depends_on BEFORE INSERT ON attempt
WHEN EXISTS (SELECT 1 FROM dependency JOIN job ON job.id = dependency.on_job_id
  WHERE dependency.job_id = NEW.job_id AND dependency.waived_by IS NULL
  AND NOT (job.state = 'succeeded' OR (dependency.after = 'afterany' AND job.state IN ('cancelled', 'failed', 'succeeded'))))
BEGIN SELECT RAISE(ABORT, 'INV-24 a job that it depends on has not ended as it must'); END"""
GUARDS = [
    BEFORE,
    "CREATE TRIGGER transfer_no_update BEFORE UPDATE ON transfer BEGIN SELECT RAISE(ABORT, 'transfer is append-only'); END",
    "CREATE TRIGGER transfer_no_delete BEFORE DELETE ON transfer BEGIN SELECT RAISE(ABORT, 'transfer is append-only'); END",
]


def upgrade() -> None:
    op.create_table(
        "dependency",
        sa.Column("job_id", sa.String(), sa.ForeignKey("job.id"), nullable=False),
        sa.Column("on_job_id", sa.String(), sa.ForeignKey("job.id"), nullable=False),
        sa.Column("after", sa.String(), nullable=False),
        sa.Column("waived_by", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("job_id", "on_job_id"),
        sa.CheckConstraint("after IN ('afterok', 'afterany')", name="dependency_after_known"),
        sa.CheckConstraint("job_id <> on_job_id", name="dependency_on_another"),
    )
    op.create_index("dependency_on", "dependency", ["on_job_id"])
    op.create_table(
        "transfer",
        sa.Column("attempt_id", sa.String(), sa.ForeignKey("attempt.id"), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("sources", sa.JSON(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("lasts_s", sa.Float(), nullable=False),
        sa.Column("energy_mj", sa.BigInteger(), nullable=False),
        sa.Column("emissions_g", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("attempt_id"),
        sa.CheckConstraint("energy_mj >= 0 AND size_bytes >= 0", name="transfer_not_negative"),
    )
    if op.get_bind().dialect.name == "sqlite":
        for guard in GUARDS:
            op.get_bind().exec_driver_sql(guard)
