"""Whatever Energinet answers: a sane series or a grid failure (INV-11, INV-12)."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given

from lowtide.connectors.grid.energinet import Energinet
from tests.property.mutation import Canned, answer, hold, mutated, thorough

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
GOOD = {
    "total": 6,
    "dataset": "CO2Emis",
    "records": [
        {
            "Minutes5UTC": f"{NOON + i * timedelta(minutes=5):%Y-%m-%dT%H:%M:%S}",
            "Minutes5DK": f"{NOON + i * timedelta(minutes=5):%Y-%m-%dT%H:%M:%S}",
            "PriceArea": "DK1",
            "CO2Emission": 75.5 + i,
        }
        for i in range(2, -4, -1)
    ],
}
SOURCE = Energinet(base_url="http://vendor")


@pytest.mark.parametrize("operation", ["actual", "forecast"])
@thorough()
@given(body=mutated(GOOD))
def test_any_answer_is_a_sane_series_or_a_grid_failure(operation: str, body: bytes) -> None:
    SOURCE._api._http = Canned(body)
    hold(answer(SOURCE, operation, "DK1", NOON), "DK1")
