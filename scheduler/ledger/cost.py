"""What electricity cost = energy x the tariff's mean price then x PUE: pure, and summed within one currency only."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from lowtide.scheduler.model.tariff import AnyTariff, mean_per_kwh
from lowtide.scheduler.model.units import kwh_from_j


def cost(tariff: AnyTariff, start: datetime, end: datetime, energy_mj: int, pue: float) -> float:
    """Money for millijoules of IT energy over [start, end), in the tariff's currency."""
    return kwh_from_j(energy_mj / 1000.0) * mean_per_kwh(tariff, start, end) * pue


def total(rows: Sequence[Mapping[Any, Any]]) -> tuple[float | None, str | None]:
    """What energy rows cost together, and in which currency; None unless all are known in one currency."""
    currencies = {row.get("currency") for row in rows}
    if len(currencies) != 1 or None in currencies:
        return None, None
    return sum(row["cost"] for row in rows), currencies.pop()


def by_currency(rows: Sequence[Mapping[Any, Any]]) -> dict[str, tuple[float, int]]:
    """What rows cost together and how many those are, by currency; those whose cost is not known count nowhere."""
    known = [row for row in rows if row["cost"] is not None]
    currencies = sorted({row["currency"] for row in known})
    of = {currency: [row["cost"] for row in known if row["currency"] == currency] for currency in currencies}
    return {currency: (math.fsum(costs), len(costs)) for currency, costs in of.items()}
