"""Times and figures as people read them, and the sentences that say what would change a decision."""

from datetime import datetime

from lowtide.policies.holding import ways
from lowtide.policies.problem import Choice, Placement, Prices, Request
from lowtide.scheduler.model.units import kwh_per_s

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
"""Not strftime: its names follow the locale of the machine, and a plan must not."""


G_PER_KG = 1000.0


def when(moment: datetime) -> str:
    """A moment in UTC such as ``Tue 14:30 UTC``; always aware UTC."""
    return f"{DAYS[moment.weekday()]} {moment.hour:02d}:{moment.minute:02d} UTC"


def percent(part_g: float, whole_g: float) -> float:
    """A share in percent; 0 of nothing."""
    return 100.0 * part_g / whole_g if whole_g > 0 else 0.0


def mass(grams: float) -> str:
    """Grams of CO2 equivalent to three digits, such as ``240 g`` or ``1.2 kg``."""
    return f"{grams / G_PER_KG:.3g} kg" if abs(grams) >= G_PER_KG else f"{grams:.3g} g"


def amount(money: float, currency: str) -> str:
    """Money to three digits, such as ``0.42 EUR``."""
    return f"{money:.3g} {currency}"


def break_even_g_per_kwh(prices: Prices, request: Request, choice: Choice, placed: Placement) -> float | None:
    """The mean price of a placement above which it would no longer pass the guard, in g/kWh with PUE."""
    if choice.baseline is None:
        return None
    drawn = zip(placed.spans, ways(request, placed), strict=True)
    energy_kwh = sum(kwh_per_s(way.power_w) * (end - start) for (start, end), way in drawn)
    if energy_kwh <= 0 or not prices.priced[placed.site]:
        return None
    return (choice.baseline.cost_g - choice.bar_g) / energy_kwh


def run_now(job_id: str) -> str:
    """The command that starts a waiting job; it wants a reason for the record."""
    return f"lowtide run-now {job_id} --reason TEXT"


def carbon_conditions(
    job_id: str, start: datetime, latest_useful_deadline: datetime, limit_g_per_kwh: float | None
) -> tuple[str, ...]:
    """What would make a job start now that waits for a low-carbon window."""
    told = [f"its deadline were before {when(latest_useful_deadline)}"]
    if limit_g_per_kwh is not None:
        told.append(f"the forecast for {when(start)[4:9]} rose above {limit_g_per_kwh:.0f} g/kWh")
    told.append(run_now(job_id))
    return tuple(told)
