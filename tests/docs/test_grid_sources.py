"""docs/grid-sources.md against the sources: its examples are settings, its table of factors is that of the data."""

import re
from importlib.metadata import EntryPoint, entry_points
from inspect import signature
from typing import Any

import pytest
import yaml

from lowtide.connectors.grid.mapping import RowMapping
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


SECTIONS = {
    "neso": "NESO",
    "neso_regional": "NESO by region",
    "electricity_maps": "Electricity Maps",
    "watttime": "WattTime",
    "carbon_aware_sdk": "Carbon Aware SDK",
    "energy_charts": "Energy-Charts",
    "energinet": "Energinet",
    "rte": "RTE",
    "entsoe": "ENTSO-E",
    "eia": "EIA",
    "prometheus": "Prometheus",
    "http_json": "Any JSON API",
    "file": "Your own file",
    "recorded": "Recorded days and yearly averages",
    "static": "Recorded days and yearly averages",
}


def code_under(title: str) -> set[str]:
    """The words of a section that stand as code."""
    section = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    assert section, title
    prose = re.sub(r"```.*?```", "", section, flags=re.DOTALL)
    return set(
        re.findall(r"\w+", " ".join([*re.findall(r"```.*?```", section, re.DOTALL), *re.findall(r"`[^`]+`", prose)]))
    )


@pytest.mark.parametrize("point", entry_points(group="lowtide.grid_sources"), ids=lambda point: point.name)
def test_every_option_of_a_source_is_told_in_its_section_or_for_all(point: EntryPoint) -> None:
    told = code_under(SECTIONS[point.name]) | code_under("How sources are asked")
    assert set(signature(point.load()).parameters) - told == set()


def test_the_keys_of_a_mapping_are_those_of_the_table() -> None:
    rows = re.findall(r"^\| (`.*`) \| .* \| .* \|$", PAGE.partition("## Any JSON API")[2], re.MULTILINE)
    told = {key for row in rows for key in re.findall(r"`(\w+)`", row)}
    assert told | {"timezone"} == set(RowMapping.model_fields)


def test_every_set_of_factors_is_told_with_its_basis_and_what_it_lacks() -> None:
    told = dict(re.findall(r"^\| `(\w+)`(?: \(the default\))? \| (\w+ \|.*) \|$", PAGE, re.MULTILINE))
    every = {fuel for factors in factor_sets().values() for fuel in factors.g_per_kwh}
    for name, factors in factor_sets().items():
        lacks = ", ".join(sorted(every - factors.g_per_kwh.keys(), key=["oil", "geothermal", "other"].index))
        assert told[name].split("|") == [f"{factors.basis} ", f" {lacks}".rstrip() or ""]
