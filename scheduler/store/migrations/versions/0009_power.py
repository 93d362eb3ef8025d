"""Which power limits an attempt was to have over time, and why its runner could not set them."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("attempt", sa.Column("power_plan", sa.JSON(), nullable=True))
    op.add_column("attempt", sa.Column("power_refused", sa.Text(), nullable=True))
    where = sa.text("power_refused IS NOT NULL")
    op.create_index("attempt_power_refused", "attempt", ["site"], sqlite_where=where, postgresql_where=where)
