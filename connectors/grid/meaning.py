"""What the figures of a source that people declare themselves mean, and in which unit they come.

Used by sources that know no vendor (a Prometheus query, a mapped JSON API): all of it is told by the administrator,
and what is not told is unknown.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from lowtide.scheduler.model.errors import BadInput
from lowtide.scheduler.model.series import Accounting, Basis, Point, Series, Signal
from lowtide.scheduler.model.units import intensity_factor

_UNIT = re.compile(r"\s*(kg|g|lb)s?\s*(?:co2\s*(?:eq|e)?)?\s*(?:/|\bper\b)\s*(kwh|mwh)\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Meaning:
    """Under which name, and as what, figures go into a series."""

    source: str
    signal: Signal
    basis: Basis
    accounting: Accounting
    attribution: str

    def series(
        self, zone: str, points: list[Point], step_s: float, now: datetime, issued_at: datetime | None = None
    ) -> Series:
        """The points with what they mean; the zone was checked where the answer names one."""
        return Series(
            source=self.source,
            zone_requested=zone,
            zone_returned=zone,
            points=tuple(points),
            step_s=step_s,
            signal=self.signal,
            basis=self.basis,
            accounting=self.accounting,
            fetched_at=now,
            issued_at=issued_at,
            attribution=self.attribution,
        )


def meaning_of(source: str, *, signal: str, basis: str, accounting: str, attribution: str) -> Meaning:
    """Read the four options.

    Raises:
        BadInput: a word that is none of the allowed ones.

    """
    try:
        return Meaning(source, Signal(signal), Basis(basis), Accounting(accounting), attribution)
    except ValueError as error:
        message = f"{source}: {error}; signal is one of {', '.join(Signal)}, basis of {', '.join(Basis)},"
        raise BadInput(f"{message} accounting of {', '.join(Accounting)}.") from None


def factor_of(text: str) -> float | None:
    """What a figure in this unit is multiplied by to give g/kWh; None for a text that names no such unit.

    ``g``, ``kg`` or ``lb`` (with or without CO2, CO2e or CO2eq) per ``kWh`` or ``MWh``.
    """
    found = _UNIT.fullmatch(text)
    return intensity_factor(found[1], found[2]) if found else None


def unit_factor(source: str, text: str) -> float:
    """The factor of the option ``unit``.

    Raises:
        BadInput: it is not understood.

    """
    factor = factor_of(text) if isinstance(text, str) else None
    if factor is None:
        message = f"{source}: the unit {text!r} is not understood; expected g, kg or lb per kWh or MWh."
        raise BadInput(message, fix="Write for example: unit: g/kWh.")
    return factor


def zone_table(source: str, zones: object) -> dict[str, str]:
    """Zones as we call them to what the other side calls them, from a list or a mapping.

    Raises:
        BadInput: neither, empty, or with something in it that is no text.

    """
    table = zones if isinstance(zones, Mapping) else {zone: zone for zone in zones} if isinstance(zones, list) else {}
    if not table or not all(isinstance(text, str) and text for pair in table.items() for text in pair):
        message = f"{source}: expected zones as a list of names, or as a mapping from our names to those of the API."
        raise BadInput(message, fix="Quote a zone that YAML takes for something else: 'NO'.")
    return dict(table)
