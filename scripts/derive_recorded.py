"""Derive the grid data that lowtide ships from the collected tables; run once, by hand.

    python scripts/derive_recorded.py FOLDER_WITH_GB_CSVS STATIC_INTENSITY.csv connectors/grid/data

The recorded days of Great Britain become one JSON object: half-hourly actuals from ``start``, and forecasts as
issued, each known from ``known`` on. The yearly averages become one row per country. All numbers are g CO2/kWh
as published; nothing is interpolated, and the same input gives the same bytes.
"""

import csv
import gzip
import json
import sys
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

HALF_HOUR = timedelta(minutes=30)
OLDEST_YEAR = 2015
"""An average of before it tells nothing of a grid of today; one country's latest is from 2009."""


def moment(text: str) -> datetime:
    """``2023-03-14T00:00Z`` to an aware moment."""
    return datetime.fromisoformat(text)


def stamp(when: datetime) -> str:
    """The same in the data file."""
    return when.strftime("%Y-%m-%dT%H:%MZ")


def actuals(path: Path) -> tuple[str, list[int]]:
    """Start and values of the gapless half-hourly actuals."""
    with path.open() as file:
        rows = list(csv.DictReader(file))
    times = [moment(row["from_utc"]) for row in rows]
    if any(later - earlier != HALF_HOUR for earlier, later in pairwise(times)):
        message = f"{path} has a gap"
        raise SystemExit(message)
    return stamp(times[0]), [int(row["actual_g_per_kwh"]) for row in rows]


def forecasts(path: Path) -> list[dict[str, object]]:
    """The issues in order; one counts as known half an hour after the slot in which it was fetched began."""
    issues: dict[datetime, list[tuple[datetime, int]]] = {}
    with path.open() as file:
        for row in csv.DictReader(file):
            issued = moment(row["issued_utc"])
            issues.setdefault(issued, []).append((moment(row["from_utc"]), int(row["forecast_g_per_kwh"])))
    told: list[dict[str, object]] = []
    for issued in sorted(issues):
        slot = issued.replace(minute=issued.minute // 30 * 30)
        points = sorted(issues[issued])
        if any(later - earlier != HALF_HOUR for (earlier, _), (later, _) in pairwise(points)):
            message = f"{path}: the issue of {issued} has a gap"
            raise SystemExit(message)
        told.append(
            {
                "known": stamp(slot + HALF_HOUR),
                "start": stamp(points[0][0]),
                "g_per_kwh": [g for _, g in points],
            }
        )
    return told


def yearly(path: Path) -> str:
    """The yearly table as shipped."""
    with path.open() as file:
        rows = [row for row in csv.DictReader(file) if int(row["year"]) >= OLDEST_YEAR]
    lines = [f"{row['iso3']},{row['year']},{float(row['g_per_kwh']):g}" for row in rows]
    return "\n".join(["zone,year,g_per_kwh", *lines, ""])


def main() -> None:
    """Write the data files with fixed bytes."""
    source, averages, target = (Path(name) for name in sys.argv[1:4])
    start, values = actuals(source / "gb_actual.csv")
    whole = {
        "zone": "GB",
        "step_s": 1800,
        "actual": {"start": start, "g_per_kwh": values},
        "forecasts": forecasts(source / "gb_forecasts.csv"),
    }
    text = json.dumps(whole, separators=(",", ":")).encode()
    (target / "gb_2023-03.json.gz").write_bytes(gzip.compress(text, 9, mtime=0))
    (target / "yearly.csv").write_text(yearly(averages))


if __name__ == "__main__":
    main()
