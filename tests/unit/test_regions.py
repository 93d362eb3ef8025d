"""Cloud regions become zones only where everybody agrees."""

import csv

import pytest

from lowtide.connectors.grid.regions import DATA, NAMINGS, placements, zone_of
from lowtide.scheduler.model.errors import BadInput

DISPUTED = {
    "aws:eu-north-1": ("SE", "SE-SE3"),
    "aws:us-west-2": ("US-NW-BPAT", "US-NW-PACW"),
    "azure:northcentralus": ("US-MIDW-MISO", "US-MIDA-PJM"),
    "azure:swedencentral": ("SE", "SE-SE3"),
    "azure:westus": ("US-NW-BPAT", "US-CAL-CISO"),
    "gcp:me-central1": ("AE", "QA"),
    "gcp:us-central1": ("US-MIDW-MISO", "US-CENT-SWPP"),
    "gcp:us-east1": ("US-CAR-SC", "US-CAR-SCEG"),
    "gcp:us-west1": ("US-NW-BPAT", "US-NW-PACW"),
    "azure:northeurope": ("IE", "FI"),
}


def rows() -> list[dict[str, str]]:
    with DATA.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(("region", "zones"), DISPUTED.items(), ids=DISPUTED)
def test_a_region_that_tables_place_differently_is_refused_with_the_candidates(
    region: str, zones: tuple[str, ...]
) -> None:
    with pytest.raises(BadInput) as caught:
        zone_of(region)
    assert all(f"{zone} (" in caught.value.message for zone in zones)
    assert "zone" in caught.value.fix


def test_every_other_region_has_one_zone_of_each_naming_at_most() -> None:
    told = [(row["region"], row["naming"]) for row in rows()]
    assert {region for region, naming in told if told.count((region, naming)) > 1} == DISPUTED.keys()


def test_every_row_names_its_source_and_a_known_naming() -> None:
    assert all(row["source"] and row["zone"] and row["naming"] in NAMINGS for row in rows())


def test_the_vendors_name_their_zones_each_in_its_own_way() -> None:
    assert zone_of("gcp:us-west4") == "US-NW-NEVP"
    assert zone_of("gcp:us-west4", "watttime") == "NEVP"
    assert zone_of("AWS:eu-west-2") == "GB"


def test_a_region_without_a_zone_in_a_naming_is_refused() -> None:
    with pytest.raises(BadInput, match="as watttime names them"):
        zone_of("azure:uksouth", "watttime")
    with pytest.raises(BadInput, match="as watttime names them"):
        zone_of("azure:northeurope", "watttime")


@pytest.mark.parametrize("region", ["", "eu-west-1", "aws", "aws:moon-1", "x" * 500])
def test_an_unknown_region_is_refused(region: str) -> None:
    with pytest.raises(BadInput) as caught:
        placements(region)
    assert "zone itself" in caught.value.fix
    assert len(caught.value.message) < 200
