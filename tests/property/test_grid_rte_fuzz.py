"""Whatever the portal of RTE's data answers: a sane series or a grid failure (INV-11, INV-12)."""

from datetime import UTC, datetime, timedelta

from hypothesis import given

from lowtide.connectors.grid.rte import Rte
from tests.property.mutation import Canned, answer, hold, mutated, thorough

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
GOOD = {
    "total_count": 5,
    "results": [
        {
            "perimetre": "France",
            "date_heure": f"{NOON - i * timedelta(minutes=15):%Y-%m-%dT%H:%M:%S}+00:00",
            "taux_co2": None if i < 2 else 15 + i,
        }
        for i in range(5)
    ],
}
SOURCE = Rte(base_url="http://vendor")


@thorough()
@given(body=mutated(GOOD))
def test_any_answer_is_a_sane_series_or_a_grid_failure(body: bytes) -> None:
    SOURCE._api._http = Canned(body)
    hold(answer(SOURCE, "actual", "FR", NOON), "FR")
