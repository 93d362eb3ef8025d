"""Whatever the EIA answers: a sane series or a grid failure (INV-11, INV-12)."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given

from lowtide.connectors.grid.eia import Eia
from tests.property.mutation import Canned, answer, hold, mutated, thorough

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
FUELS = ("NG", "NUC", "SUN")
GOOD = {
    "response": {
        "total": 15,
        "frequency": "hourly",
        "data": [
            {
                "period": f"{NOON - i * timedelta(hours=1):%Y-%m-%dT%H}",
                "respondent": "CISO",
                "fueltype": fuel,
                "value": str(100 + i) if fuel == "NG" else 100 + i,
                "value-units": "megawatthours",
            }
            for i in range(5)
            for fuel in FUELS
        ],
    },
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Eia:
    key: Path = tmp_path_factory.mktemp("eia") / "key"
    key.write_text("hush")
    return Eia(base_url="http://vendor", api_key_file=str(key))


@thorough()
@given(body=mutated(GOOD))
def test_any_answer_is_a_sane_series_or_a_grid_failure(source: Eia, body: bytes) -> None:
    # A mean of factors: between those of the cleanest and the dirtiest fuel, whatever was generated.
    source._api._http = Canned(body)
    hold(answer(source, "actual", "CISO", NOON), "CISO", lambda g: 11 <= g <= 821)
