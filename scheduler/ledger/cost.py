"""What electricity cost = energy x the tariff's mean price then x PUE: pure, and summed within one currency only."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from lowtide.scheduler.model.tariff import Tariff, mean_per_kwh
from lowtide.scheduler.model.units import kwh_from_j


def cost(tariff: Tariff, start: datetime, end: datetime, energy_mj: int, pue: float) -> float:
    """Money for millijoules of IT energy over [start, end), in the tariff's currency."""
    return kwh_from_j(energy_mj / 1000.0) * mean_per_kwh(tariff, start, end) * pue


def total(rows: Sequence[Mapping[Any, Any]]) -> tuple[float | None, str | None]:
    """What energy rows cost together, and in which currency; None unless all are known in one currency."""
    currencies = {row.get("currency") for row in rows}
    if len(currencies) != 1 or None in currencies:
        return None, None
    return sum(row["cost"] for row in rows), currencies.pop()
