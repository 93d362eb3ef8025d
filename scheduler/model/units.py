"""Conversions between units; the only place where a factor such as 3.6 million is written down."""

from datetime import UTC, datetime, timedelta

J_PER_KWH = 3_600_000.0
S_PER_H = 3600.0
G_PER = {"g": 1.0, "kg": 1000.0, "lb": 453.59237}
KWH_PER = {"kwh": 1.0, "mwh": 1000.0}


def kwh_from_j(energy_j: float) -> float:
    """Joules to kilowatt-hours."""
    return energy_j / J_PER_KWH


def j_from_kwh(energy_kwh: float) -> float:
    """Kilowatt-hours to joules."""
    return energy_kwh * J_PER_KWH


def emissions_g(energy_j: float, intensity_g_per_kwh: float) -> float:
    """Grams of CO2e for an energy in joules at an intensity in g/kWh."""
    return kwh_from_j(energy_j) * intensity_g_per_kwh


def intensity_factor(mass: str, energy: str) -> float:
    """What an intensity in g, kg or lb per kWh or MWh is multiplied by to give g/kWh; capitals do not count.

    Raises:
        KeyError: another unit.

    """
    return G_PER[mass.lower()] / KWH_PER[energy.lower()]


def utc(moment: datetime) -> datetime:
    """The same moment in UTC.

    Raises:
        ValueError: when the moment is naive; a time without a zone is a guess.

    """
    if moment.tzinfo is None:
        message = f"{moment.isoformat()} has no time zone; write it with Z or an offset"
        raise ValueError(message)
    return moment.astimezone(UTC)


def from_timestamp(seconds: float) -> datetime:
    """Unix seconds to an aware UTC moment."""
    return datetime.fromtimestamp(seconds, tz=UTC)


def floor_to(moment: datetime, step: timedelta) -> datetime:
    """The latest multiple of ``step`` since the Unix epoch that is not after ``moment``."""
    step_s = step.total_seconds()
    return from_timestamp(moment.timestamp() // step_s * step_s)


def ceil_to(moment: datetime, step: timedelta) -> datetime:
    """The earliest multiple of ``step`` since the Unix epoch that is not before ``moment``."""
    floored = floor_to(moment, step)
    return floored if floored == moment else floored + step


def kwh_per_s(power_w: float) -> float:
    """Kilowatt-hours drawn in one second at a power in watts."""
    return kwh_from_j(power_w)
