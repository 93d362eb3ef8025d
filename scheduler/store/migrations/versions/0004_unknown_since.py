"""The event log says since when an attempt is unknown; the column that said it as well is dropped."""

import sqlite3

from alembic import op

revision = "0004"
down_revision = "0003"

CAN_DROP = (3, 35)
"""SQLite before that drops no column; there it stays, empty, and is in nobody's way."""


def upgrade() -> None:
    if op.get_bind().dialect.name != "sqlite" or sqlite3.sqlite_version_info >= CAN_DROP:
        op.drop_column("attempt", "unknown_since")
