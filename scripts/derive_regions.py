"""Derive the cloud regions that lowtide ships from the collected table; run once, by hand.

    python scripts/derive_regions.py CLOUD_REGIONS.csv connectors/grid/data/cloud_regions.csv

One row says that one or more public tables place a region into a zone of one vendor's naming; where they disagree,
a region has several rows, and lowtide asks instead of choosing.
"""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

GSF = "Green Software Foundation, real-time-cloud, Cloud_Region_Metadata.csv, 2026-03-12"
EM = "Electricity Maps, list of data centers"
MORE = {"azure:northeurope": ("electricity_maps", "FI", GSF)}
"""A second row for the same region, which the collected table, one row to a region, could not keep.

Its WattTime region is not known, so that the first row's is not taken either."""


def claims(row: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    """Naming, zone and source of everything that one collected row says."""
    told = {GSF: row["zone_gsf"], EM: row["zone_em_datacenters"]}
    for zone in dict.fromkeys(filter(None, told.values())):
        yield "electricity_maps", zone, "; ".join(source for source, said in told.items() if said == zone)
    if row["watttime_region"] and f"{row['provider']}:{row['region']}" not in MORE:
        yield "watttime", row["watttime_region"], GSF


def main(table: Path, out: Path) -> None:
    """Write the rows in the order of the regions."""
    with table.open() as file, out.open("w", newline="") as sink:
        writer = csv.writer(sink, lineterminator="\n")
        writer.writerow(["region", "naming", "zone", "source"])
        for row in sorted(csv.DictReader(file), key=lambda row: (row["provider"], row["region"])):
            region = f"{row['provider']}:{row['region']}"
            more = [MORE[region]] if region in MORE else []
            writer.writerows([region, *claim] for claim in [*claims(row), *more])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
