"""Whatever ENTSO-E answers: a sane series or a grid failure (INV-11, INV-12)."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given

from lowtide.connectors.grid.entsoe import Entsoe
from tests.property.mutation import Canned, answer, hold, mutated_xml, thorough

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
BE = "10YBE----------2"


def series(code: str, resolution: str, count: int, way: str = "in", curve: str = "A01") -> str:
    start = NOON - timedelta(hours=4)
    points = "".join(f"<Point><position>{i + 1}</position><quantity>{100 + i}</quantity></Point>" for i in range(count))
    return (
        f'<TimeSeries><{way}BiddingZone_Domain.mRID codingScheme="A01">{BE}</{way}BiddingZone_Domain.mRID>'
        f"<quantity_Measure_Unit.name>MAW</quantity_Measure_Unit.name><curveType>{curve}</curveType>"
        f"<MktPSRType><psrType>{code}</psrType></MktPSRType><Period><timeInterval><start>{start:%Y-%m-%dT%H:%MZ}"
        f"</start><end>{NOON:%Y-%m-%dT%H:%MZ}</end></timeInterval><resolution>{resolution}</resolution>{points}"
        "</Period></TimeSeries>"
    )


GOOD = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<GL_MarketDocument xmlns="urn:iec62325.351:tc57wg16:451-6:generationloaddocument:3:0"><type>A75</type>'
    + series("B04", "PT60M", 4)
    + series("B14", "PT60M", 2, curve="A03")
    + series("B10", "PT60M", 4, way="out")
    + series("B16", "PT30M", 8)
    + "</GL_MarketDocument>"
).encode()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Entsoe:
    token: Path = tmp_path_factory.mktemp("entsoe") / "token"
    token.write_text("hush")
    return Entsoe(base_url="http://vendor", token_file=str(token))


@thorough()
@given(body=mutated_xml(GOOD))
def test_any_answer_is_a_sane_series_or_a_grid_failure(source: Entsoe, body: bytes) -> None:
    # A mean of factors: between those of the cleanest and the dirtiest fuel, whatever was generated.
    source._api._http = Canned(body)
    hold(answer(source, "actual", "BE", NOON), "BE", lambda g: 11 <= g <= 821)
