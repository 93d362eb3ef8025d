"""Puts back what the store holds of a zone's past where its source does not answer, as after a restart.

Only figures of the key that the source has answered with under its present options: nothing changes its meaning.
"""

from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection

from lowtide.scheduler.control import settling
from lowtide.scheduler.control.gridwatch import KEPT, GridWatch
from lowtide.scheduler.control.writer import Writer
from lowtide.scheduler.model.series import Series


async def recall(grid: GridWatch, writer: Writer, now: datetime) -> bool:
    """Look once for each zone of which nothing is known; whether anything was found."""
    answers = grid.forgotten()
    if not answers:
        return False
    found = await writer.read(lambda connection: _stored(connection, answers, now))
    for zone, series in found.items():
        grid.zones[zone].actual = series
    return bool(found)


def _stored(connection: Connection, answers: dict[str, Series], now: datetime) -> dict[str, Series]:
    """All that is kept of the answers' keys, with the rest of their provenance."""
    found: dict[str, Series] = {}
    for zone, answer in answers.items():
        stored = settling.stored_series(connection, answer.key, now - KEPT, now)
        if stored is not None:
            found[zone] = replace(answer, points=stored.points)
    return found
