"""What the electricity of each priced energy row cost, by the tariff of its site."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("emission", sa.Column("cost", sa.Float(), nullable=True))
    op.add_column("emission", sa.Column("currency", sa.String(), nullable=True))
