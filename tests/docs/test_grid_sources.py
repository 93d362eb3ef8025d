"""docs/grid-sources.md against the sources: its examples are settings, its table of factors is that of the data."""

import re
from importlib.metadata import entry_points
from typing import Any

import pytest
import yaml

from lowtide.connectors.grid.mix import factor_sets
from lowtide.scheduler.control.gridwatch import build_source
from lowtide.scheduler.settings import GridSettings
from tests.docs.tree import ROOT

PAGE = (ROOT / "docs" / "grid-sources.md").read_text()
EXAMPLES = [
    grid for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) for grid in yaml.safe_load(block)["grids"]
]


@pytest.mark.parametrize("grid", EXAMPLES, ids=[grid["name"] for grid in EXAMPLES])
def test_every_example_builds_a_source(grid: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lowtide.connectors.grid.secret.Secret.value", lambda _: "hush")
    assert build_source(GridSettings.model_validate(grid)).name == grid.get("options", {}).get("name", grid["name"])


def test_every_source_has_its_row_in_the_table() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", PAGE.partition("## ")[0], re.MULTILINE)
    assert sorted(rows) == sorted(point.name for point in entry_points(group="lowtide.grid_sources"))


def test_every_set_of_factors_is_told_with_its_basis_and_what_it_lacks() -> None:
    told = dict(re.findall(r"^\| `(\w+)`(?: \(the default\))? \| (\w+ \|.*) \|$", PAGE, re.MULTILINE))
    every = {fuel for factors in factor_sets().values() for fuel in factors.g_per_kwh}
    for name, factors in factor_sets().items():
        lacks = ", ".join(sorted(every - factors.g_per_kwh.keys(), key=["oil", "geothermal", "other"].index))
        assert told[name].split("|") == [f"{factors.basis} ", f" {lacks}".rstrip() or ""]
