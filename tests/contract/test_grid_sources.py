"""One class per grid source, all against the same sentences."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lowtide.connectors.grid.file import File
from lowtide.connectors.grid.neso import Neso
from lowtide.connectors.grid.recorded import Recorded
from lowtide.connectors.grid.static import Static
from tests.contract.grid_conformance import Case, GridSourceConformance
from tests.contract.grid_server import a_vendor, neso_like
from tests.contract.grid_speakers import speaks_http

NOW = datetime(2026, 3, 10, 12, 10, tzinfo=UTC)


speaks_http("neso", Neso, "GB", NOW, neso_like(NOW))


class TestRecorded(GridSourceConformance):
    @pytest.fixture
    def case(self) -> Case:
        return Case(Recorded, "GB", datetime(2023, 3, 20, 12, 10, tzinfo=UTC), forecasts=True)


class TestNeso(GridSourceConformance):
    @pytest.fixture
    def case(self) -> Iterator[Case]:
        with a_vendor(neso_like(NOW)) as vendor:
            yield Case(lambda: Neso(vendor.url), "GB", NOW, forecasts=True)


class TestStatic(GridSourceConformance):
    @pytest.fixture
    def case(self) -> Case:
        return Case(Static, "DE", NOW, forecasts=False, has_beginning=False)


class TestFile(GridSourceConformance):
    @pytest.fixture
    def case(self, tmp_path: Path) -> Case:
        path = tmp_path / "grid.csv"
        first = NOW.replace(hour=0, minute=0) - timedelta(days=1)
        lines = ["start_utc,g_per_kwh,kind"]
        lines += [f"{first + timedelta(hours=h):%Y-%m-%dT%H:%MZ},{100 + h},actual" for h in range(36)]
        lines += [f"{first + timedelta(hours=h):%Y-%m-%dT%H:%MZ},{150 + h},forecast" for h in range(30, 60)]
        path.write_text("\n".join(lines) + "\n")
        return Case(lambda: File(str(path), "campus", attribution="ours"), "campus", NOW, forecasts=True)


class TestFileWithIssues(GridSourceConformance):
    """The same as JSON with two dated issues, the second of which is not yet known."""

    @pytest.fixture
    def case(self, tmp_path: Path) -> Case:
        path = tmp_path / "grid.json"
        first = NOW.replace(minute=0) - timedelta(days=1)
        rows = [{"start_utc": str(first + timedelta(hours=h)), "g_per_kwh": 100 + h} for h in range(24)]
        for issued, add in ((NOW - timedelta(hours=2), 0), (NOW + timedelta(hours=1), 1000)):
            rows += [
                {"issued_utc": str(issued), "start_utc": str(first + timedelta(hours=h)), "g_per_kwh": 150 + h + add}
                for h in range(22, 60)
            ]
        path.write_text(json.dumps(rows))
        return Case(lambda: File(str(path), "campus", attribution="ours"), "campus", NOW, forecasts=True)
