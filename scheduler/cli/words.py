"""Values as people read them: local times with their zone, durations, grams, kilowatt-hours.

Unknown is shown as '-', never as zero.
"""

from datetime import datetime, tzinfo
from typing import Any

from lowtide.scheduler.model.quantity import duration_text

NONE = "-"
MINUTE_S = 60.0
HOUR_S = 3600.0
KILO = 1000.0


def moment_of(text: str | None) -> datetime | None:
    """An aware moment from the API's text."""
    return datetime.fromisoformat(text) if text else None


def local(text: str | None, zone: tzinfo | None = None) -> str:
    """Weekday, date, time and zone: ``Tue 03 Mar 02:00 GMT``."""
    at = moment_of(text)
    return at.astimezone(zone).strftime("%a %d %b %H:%M %Z") if at else NONE


def short(text: str | None, header_zone: str, zone: tzinfo | None = None) -> str:
    """Date and time under a heading that names the zone; another zone (summer time) is added."""
    at = moment_of(text)
    if at is None:
        return NONE
    there = at.astimezone(zone)
    name = there.tzname() or ""
    return there.strftime("%d %b %H:%M") + ("" if name == header_zone else f" {name}")


def zone_name(zone: tzinfo | None = None, at: str | None = None) -> str:
    """The name of the local zone, for headings; at a moment of the listing, not of this machine's clock."""
    moment = moment_of(at) or datetime.now().astimezone()
    return moment.astimezone(zone).tzname() or "local"


def span(seconds: float | None) -> str:
    """A duration to the minute; a negative one says by how much something is late."""
    if seconds is None:
        return NONE
    sign = "-" if seconds < 0 else ""
    size = abs(seconds)
    if size >= HOUR_S:
        size = round(size / MINUTE_S) * MINUTE_S
    return sign + duration_text(size)


def grams(value: float | None) -> str:
    """Grams without a unit, for columns headed gCO2e."""
    if value is None:
        return NONE
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 1 else f"{value:.3f}"  # noqa: PLR2004


def mass(value: float | None) -> str:
    """Grams or kilograms of CO2e with the unit."""
    if value is None:
        return NONE
    return f"{value / KILO:.2f} kgCO2e" if abs(value) >= KILO else f"{grams(value)} gCO2e"


def money(value: float | None, currency: str | None) -> str:
    """What electricity costs, to three digits."""
    return NONE if value is None else f"{value:.3g} {currency}"


def energy(value_kwh: float | None) -> str:
    """Energy with its unit, in Wh below one kWh."""
    if value_kwh is None:
        return NONE
    if abs(value_kwh) >= 1:
        return f"{value_kwh:.2f} kWh"
    return f"{value_kwh * KILO:.3g} Wh"


def kwh(value_kwh: float | None) -> str:
    """Energy without a unit, for columns headed kWh; small figures keep two digits."""
    if value_kwh is None:
        return NONE
    return f"{value_kwh:.3f}" if abs(value_kwh) >= 0.01 or not value_kwh else f"{value_kwh:.2g}"  # noqa: PLR2004


def percent(fraction: float | None) -> str:
    """A fraction as a whole percentage."""
    return NONE if fraction is None else f"{fraction:+.0%}"


def change_from_now(value: float | None, reference: float | None) -> str:
    """How a figure compares with a reference, in percent."""
    if value is None or not reference:
        return NONE
    return f"{value / reference - 1:+.0%}"


CLIMATOLOGY = "climatology"
RUNGS = {
    CLIMATOLOGY: "what was usual at that time of day, for want of newer figures",
    "static_average": "a yearly average, which never delays a job",
    "blind": "no data, so jobs run at once",
}


def rung_words(rung: str | None) -> str:
    """How good the grid data is, as the forecast ladder has it."""
    return RUNGS.get(str(rung), str(rung or "unknown").replace("_", " "))


def skill_words(rung: str | None, captured: float | None, moments: int | None) -> str:
    """How much of the possible saving plans by such figures would have had; empty where that matters to nobody."""
    if captured is None or not moments:
        return "not known yet, so no job is delayed" if rung == CLIMATOLOGY else ""
    found = f"{captured:.0%} of the possible saving on {count(moments, 'past moment')}"
    return f"{found}, so no job is delayed" if rung == CLIMATOLOGY and captured <= 0 else found


def count(number: int, noun: str) -> str:
    """A number with its noun: ``1 job``, ``2 jobs``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def text_of(value: Any) -> str:
    """Anything for a fact line."""
    return NONE if value is None else str(value)
