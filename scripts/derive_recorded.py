"""Derive the recorded GB days that lowtide ships from the collected snapshots; run once, by hand.

    python scripts/derive_recorded.py FOLDER_WITH_GB_CSVS connectors/grid/data

Our format is one JSON object: half-hourly actuals from ``start``, and forecasts as issued, each known from
``known`` on. All numbers are g CO2/kWh as published; nothing is interpolated.
"""

import csv
import gzip
import json
import sys
from datetime import datetime, timedelta
from pathlib import Path

HALF_HOUR = timedelta(minutes=30)


def moment(text: str) -> datetime:
    """``2023-03-14T00:00Z`` to an aware moment."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def stamp(when: datetime) -> str:
    """The same in the data file."""
    return when.strftime("%Y-%m-%dT%H:%MZ")


def actuals(path: Path) -> tuple[str, list[int]]:
    """Start and values of the gapless half-hourly actuals."""
    with path.open() as file:
        rows = list(csv.DictReader(file))
    times = [moment(row["from_utc"]) for row in rows]
    if any(later - earlier != HALF_HOUR for earlier, later in zip(times, times[1:], strict=False)):
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
    told = []
    for issued in sorted(issues):
        slot = issued.replace(minute=issued.minute // 30 * 30)
        points = sorted(issues[issued])
        told.append(
            {
                "known": stamp(slot + HALF_HOUR),
                "start": stamp(points[0][0]),
                "g_per_kwh": [g for _, g in points],
            }
        )
    return told


def main() -> None:
    """Write the data file with fixed bytes."""
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    start, values = actuals(source / "gb_actual.csv")
    whole = {
        "zone": "GB",
        "step_s": 1800,
        "actual": {"start": start, "g_per_kwh": values},
        "forecasts": forecasts(source / "gb_forecasts.csv"),
    }
    text = json.dumps(whole, separators=(",", ":")).encode()
    (target / "gb_2023-03.json.gz").write_bytes(gzip.compress(text, 9, mtime=0))


if __name__ == "__main__":
    main()
