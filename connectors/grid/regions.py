"""Cloud regions and the grid zones that public tables place them in; where those disagree, nobody guesses.

An administrator's own rows come before the tables and hold for every naming.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import MappingProxyType

from lowtide.scheduler.model.errors import BadInput

DATA = Path(__file__).parent / "data" / "cloud_regions.csv"
NAMINGS = ("electricity_maps", "watttime")
"""Vendors with zone names of their own. Those of Electricity Maps begin with the country's code and fit most others."""


@dataclass(frozen=True, slots=True)
class Placement:
    """One zone of one naming that ``source`` places a region in; an empty naming is any."""

    region: str
    naming: str
    zone: str
    source: str
    origin: str = "public tables"


Own = Mapping[str, Placement]
"""An administrator's rows by region, in lower case."""
NO_ROWS: Own = MappingProxyType({})


@cache
def _table() -> dict[str, tuple[Placement, ...]]:
    with DATA.open() as file:
        rows = [Placement(**row) for row in csv.DictReader(file)]
    return {
        region: tuple(row for row in rows if row.region == region) for region in dict.fromkeys(r.region for r in rows)
    }


def placements(region: str, own: Own = NO_ROWS) -> tuple[Placement, ...]:
    """Everything that is told of a region such as ``aws:eu-west-1``, or the administrator's row for it alone.

    Raises:
        BadInput: no table knows it; the message names the nearest ones.

    """
    if region.lower() in own:
        return (own[region.lower()],)
    found = _table().get(region.lower())
    if found is None:
        near = get_close_matches(region.lower(), [*own, *_table()], n=3)
        fix = f"Did you mean {', '.join(near)}?" if near else "Write it as PROVIDER:REGION with aws, azure or gcp."
        raise BadInput(
            f"no public table knows the cloud region {region[:80]!r}.", fix=f"{fix} Or give the grid zone itself."
        )
    return found


def agreed(region: str, own: Own = NO_ROWS) -> tuple[Placement, ...]:
    """The same, where there is one zone at most in each naming.

    Raises:
        BadInput: no table knows it, or tables place it in several zones.

    """
    every = placements(region, own)
    for naming in dict.fromkeys(one.naming for one in every):
        zone_of(region, naming, own)
    return every


def zone_of(region: str, naming: str = NAMINGS[0], own: Own = NO_ROWS) -> str:
    """The zone of a region in one vendor's naming.

    Raises:
        BadInput: no table knows it, or tables place it in several zones; the message lists them.

    """
    found = [one for one in placements(region, own) if one.naming in {naming, ""}]
    if len(found) == 1:
        return found[0].zone
    if not found:
        message = f"no public table gives the cloud region {region!r} a zone as {naming} names them."
        raise BadInput(message, fix="Give the grid zone itself.")
    told = "; ".join(f"{one.zone} ({one.source})" for one in found)
    message = f"public tables place the cloud region {region!r} in {len(found)} zones: {told}."
    raise BadInput(message, fix="Choose one and give it as the zone, or as the region's under 'regions:'.")
