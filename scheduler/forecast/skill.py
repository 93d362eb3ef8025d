"""How wrong a forecast is by lead time: measured on past (issued, actual) pairs, else a documented default. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lowtide.scheduler.model.series import Series
from lowtide.scheduler.model.units import S_PER_H

LEAD_ERROR_G_PER_KWH = ((1, 13.1), (3, 17.1), (6, 22.4), (12, 23.7), (24, 24.0), (36, 25.8), (48, 27.0))
"""Mean absolute error of 49 forecasts as issued for Great Britain in March 2023 against the actuals, by hours
of lead up to the first figure. A default until an installation has pairs of its own; scaled for other
grids by the forecast's own mean over the 128.3 g/kWh of that time."""
REFERENCE_G_PER_KWH = 128.3
MIN_PAIRS = 48
"""A day of half hours: with fewer pairs at a lead the default stands."""


@dataclass(frozen=True, slots=True)
class LeadErrors:
    """Mean absolute error in g/kWh by lead: ``steps`` holds (hours up to which, error), ascending.

    ``reference_g_per_kwh`` is the mean intensity at which it was found. ``basis`` is ``default``, ``measured``,
    or ``mixed`` where only some leads had pairs enough; ``pairs`` is how many there were.
    """

    steps: tuple[tuple[float, float], ...]
    reference_g_per_kwh: float
    basis: str
    pairs: int = 0

    def error_g_per_kwh(self, lead_s: float, mean_g_per_kwh: float) -> float:
        """The error to expect ``lead_s`` after the issue on a grid whose mean is ``mean_g_per_kwh``."""
        scale = mean_g_per_kwh / self.reference_g_per_kwh
        lead_h = lead_s / S_PER_H
        for hours, error in self.steps:
            if lead_h <= hours:
                return error * scale
        return self.steps[-1][1] * scale


DEFAULT = LeadErrors(LEAD_ERROR_G_PER_KWH, REFERENCE_G_PER_KWH, "default")


def measure(issues: Iterable[Series], actual: Series) -> LeadErrors:
    """The errors of past issues against what came, by lead from the issue to the start of the slot.

    Args:
        issues: forecasts as issued; one without ``issued_at`` counts from ``fetched_at``.
        actual: what was measured, of the same source, zone, signal, basis and accounting.

    Returns:
        Errors at the leads of the default table; a lead with fewer than ``MIN_PAIRS`` keeps the default,
        scaled to the mean of the actuals that were met.

    Raises:
        ValueError: an issue may not be compared with the actuals (another key).

    """
    found: dict[float, list[float]] = {}
    met: list[float] = []
    for issue in issues:
        if issue.key != actual.key:
            message = f"a forecast of {issue.key} cannot be judged by actuals of {actual.key}"
            raise ValueError(message)
        for lead_h, forecast, came in _pairs(issue, actual):
            found.setdefault(_step_of(lead_h), []).append(abs(forecast - came))
            met.append(came)
    mean = sum(met) / len(met) if met else 0.0
    return _table(found, mean, len(met)) if mean > 0 else DEFAULT


def _pairs(issue: Series, actual: Series) -> Iterable[tuple[float, float, float]]:
    issued_at = issue.issued_at or issue.fetched_at
    last_h = LEAD_ERROR_G_PER_KWH[-1][0]
    for point in issue.points:
        lead_h = (point.start - issued_at).total_seconds() / S_PER_H
        came = actual.mean_g_per_kwh(point.start, point.end)
        if came is not None and 0 <= lead_h <= last_h:
            yield lead_h, point.g_per_kwh, came


def _step_of(lead_h: float) -> float:
    return next(hours for hours, _ in LEAD_ERROR_G_PER_KWH if lead_h <= hours)


def _table(found: Mapping[float, list[float]], mean: float, pairs: int) -> LeadErrors:
    scale = mean / REFERENCE_G_PER_KWH
    enough = {hours: sum(e) / len(e) for hours, e in found.items() if len(e) >= MIN_PAIRS}
    steps = tuple((hours, enough.get(hours, error * scale)) for hours, error in LEAD_ERROR_G_PER_KWH)
    basis = "measured" if len(enough) == len(steps) else "mixed" if enough else "default"
    return LeadErrors(steps, mean, basis, pairs)
