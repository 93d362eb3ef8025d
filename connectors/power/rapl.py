"""Whether the CPU packages' energy counters (RAPL) can be read here; they are root's alone on most machines."""

from dataclasses import dataclass
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True, slots=True)
class Rapl:
    """How many packages there are, and whether all of them can be read."""

    packages: int
    readable: bool


def look(root: Path = POWERCAP) -> Rapl:
    """Read every package's counter once."""
    counters = [zone / "energy_uj" for zone in sorted(root.glob("intel-rapl:*")) if zone.name.count(":") == 1]
    counters = [counter for counter in counters if counter.exists()]
    try:
        for counter in counters:
            int(counter.read_text())
    except (OSError, ValueError):
        return Rapl(len(counters), readable=False)
    return Rapl(len(counters), readable=bool(counters))
