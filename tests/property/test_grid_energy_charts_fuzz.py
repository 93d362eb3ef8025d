"""Whatever Energy-Charts answers: a sane series or a grid failure (INV-11, INV-12)."""

import pytest
from hypothesis import given, settings

from lowtide.connectors.grid.energy_charts import EnergyCharts
from tests.property.grid_mutations import BODIES, NOON, check, outcome, spoilt_json

FIRST = int(NOON.timestamp()) - 4 * 900
GOOD = {
    "unix_seconds": [FIRST + i * 900 for i in range(8)],
    "co2eq": [60.5, 61.5, 62.5, 63.5, None, None, None, None],
    "co2eq_forecast": [None, None, None, None, 50.5, 51.5, 52.5, None],
    "deprecated": False,
}
SOURCE = EnergyCharts(base_url="http://vendor")


@pytest.mark.parametrize("operation", ["actual", "forecast"])
@settings(max_examples=BODIES)
@given(body=spoilt_json(GOOD))
def test_any_answer_is_a_sane_series_or_a_grid_failure(operation: str, body: bytes) -> None:
    check(outcome(SOURCE, body, operation, "DE"), "DE", lambda _: True)
