"""Whatever the portal of RTE's data answers: a sane series or a grid failure (INV-11, INV-12)."""

from datetime import timedelta

from hypothesis import given, settings

from lowtide.connectors.grid.rte import Rte
from tests.property.grid_mutations import BODIES, NOON, check, outcome, spoilt_json

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


@settings(max_examples=BODIES)
@given(body=spoilt_json(GOOD))
def test_any_answer_is_a_sane_series_or_a_grid_failure(body: bytes) -> None:
    check(outcome(SOURCE, body, "actual", "FR"), "FR", lambda _: True)
