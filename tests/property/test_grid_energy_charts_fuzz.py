"""Whatever Energy-Charts answers: a sane series or a grid failure (INV-11, INV-12)."""

from datetime import UTC, datetime

import pytest
from hypothesis import given

from lowtide.connectors.grid.energy_charts import EnergyCharts
from tests.property.mutation import Canned, answer, hold, mutated, thorough

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
FIRST = int(NOON.timestamp()) - 4 * 900
GOOD = {
    "unix_seconds": [FIRST + i * 900 for i in range(8)],
    "co2eq": [60.5, 61.5, 62.5, 63.5, None, None, None, None],
    "co2eq_forecast": [None, None, None, None, 50.5, 51.5, 52.5, None],
    "deprecated": False,
}
SOURCE = EnergyCharts(base_url="http://vendor")


@pytest.mark.parametrize("operation", ["actual", "forecast"])
@thorough()
@given(body=mutated(GOOD))
def test_any_answer_is_a_sane_series_or_a_grid_failure(operation: str, body: bytes) -> None:
    SOURCE._api._http = Canned(body)
    hold(answer(SOURCE, operation, "DE", NOON), "DE")
