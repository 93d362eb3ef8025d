"""By what a job's earlier runs are found: what it runs, and its project with its name."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("job", sa.Column("fingerprint", sa.String(), nullable=True))
    op.create_index("job_fingerprint", "job", ["fingerprint", "submitted_at"])
