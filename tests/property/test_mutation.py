"""What the parsers are fed is never the good answer itself, and mostly unlike what they were fed before."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.mutation import mutated, mutated_csv, mutated_xml
from tests.property.test_grid_entsoe_fuzz import GOOD as XML
from tests.property.test_grid_file_fuzz import CSV
from tests.property.test_grid_rte_fuzz import GOOD as JSON

EXAMPLES = 1000
LEAST_SHARE = 0.4
"""Of 30,000 bodies in the long profile more than ten thousand are then different."""


@pytest.mark.parametrize(
    ("bodies", "good"),
    [(mutated(JSON), json.dumps(JSON).encode()), (mutated_xml(XML), XML), (mutated_csv(CSV), CSV)],
    ids=["JSON", "XML", "CSV"],
)
def test_bodies_are_spoilt_and_mostly_new(bodies: st.SearchStrategy[bytes], good: bytes) -> None:
    seen: set[bytes] = set()

    @settings(max_examples=EXAMPLES, database=None, derandomize=True)
    @given(body=bodies)
    def feed(body: bytes) -> None:
        assert body != good
        seen.add(body)

    feed()
    assert len(seen) >= LEAST_SHARE * EXAMPLES
