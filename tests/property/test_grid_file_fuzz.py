"""Whatever stands in a file that was once right: a sane series or a failure that names the file (INV-11, INV-12)."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given

from lowtide.connectors.grid.file import File
from lowtide.scheduler.model.errors import GridFailure
from tests.property.mutation import answer, hold, mutated, mutated_csv, thorough

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
ROWS = [
    {"start_utc": f"{NOON + i * HOUR:%Y-%m-%dT%H:%MZ}", "g_per_kwh": 100 + i, "kind": "actual" if i < 0 else "forecast"}
    for i in range(-6, 6)
]
CSV = "\n".join(["start_utc,g_per_kwh,kind", *(",".join(map(str, row.values())) for row in ROWS)]).encode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("file")


def examine(path: Path, body: bytes) -> None:
    """Both questions to one content."""
    path.write_bytes(body)
    source = File(str(path), "campus")
    for operation in ("actual", "forecast"):
        found = answer(source, operation, "campus", NOON)
        if isinstance(found, GridFailure):
            assert str(path) in found.message
        elif found is not None:  # no forecast in it
            hold(found, "campus")


@thorough()
@given(body=mutated(ROWS))
def test_any_json_file_is_a_sane_series_or_a_failure_that_names_it(folder: Path, body: bytes) -> None:
    examine(folder / "grid.json", body)


@thorough()
@given(body=mutated_csv(CSV))
def test_any_csv_file_is_a_sane_series_or_a_failure_that_names_it(folder: Path, body: bytes) -> None:
    examine(folder / "grid.csv", body)
