"""Whom each grid source asks to be named."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

NAMED = {
    "neso": "Contains data from the Carbon Intensity API, National Energy System Operator (NESO), CC BY 4.0",
    "recorded": (
        "Contains data from the Carbon Intensity API, National Energy System Operator (NESO), "
        "carbonintensity.org.uk, CC BY 4.0; selected and reformatted"
    ),
    "static": "Ember (2025), Energy Institute - processed by Our World in Data, CC BY 4.0",
}
"""Those that receipts named before; the others name themselves when they answer next."""


def upgrade() -> None:
    table = op.create_table(
        "attribution",
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("attribution", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("source"),
    )
    used = op.get_bind().execute(sa.text("SELECT DISTINCT grid_source FROM emission")).scalars()
    op.bulk_insert(table, [{"source": one, "attribution": NAMED[one]} for one in used if one in NAMED])
