"""What electricity costs by the sites' tariffs, slot by slot, and what a placement or its alternative would cost."""

import numpy as np

from lowtide.policies.electricity import Electricity
from lowtide.policies.holding import ways
from lowtide.policies.problem import Choice, Placement, Request, SlotGrid
from lowtide.scheduler.decide.wording import amount, mass
from lowtide.scheduler.model.plan import Snapshot
from lowtide.scheduler.model.reason import Reason, ReasonCode
from lowtide.scheduler.model.tariff import means_per_kwh


def electricity(snapshot: Snapshot, grid: SlotGrid) -> Electricity | None:
    """What it costs by site and slot; None where no site has a tariff."""
    tariffs = [view.site.tariff for view in snapshot.sites]
    if not any(tariffs):
        return None
    per_kwh = np.full((len(tariffs), grid.count), np.nan)
    for i, (tariff, view) in enumerate(zip(tariffs, snapshot.sites, strict=True)):
        if tariff is not None:
            per_kwh[i] = means_per_kwh(tariff, snapshot.now, grid.edges_s) * view.site.pue
    return Electricity(grid.edges_s, per_kwh, tuple("" if t is None else t.currency for t in tariffs))


def cost_of(request: Request, placed: Placement, bills: Electricity | None) -> tuple[float | None, str]:
    """What a placement costs, and in which currency; None where its site has no tariff."""
    if bills is None or not bills.currencies[placed.site]:
        return None, ""
    drawn = zip(placed.spans, ways(request, placed), strict=True)
    return sum(bills.money(placed.site, (span,), way.power_w) for span, way in drawn), bills.currencies[placed.site]


def gain_of(request: Request, choice: Choice, placed: Placement | None, bills: Electricity | None) -> float:
    """How much cheaper than the baseline a placement is; 0 where money counts for nothing or they do not compare."""
    if not request.money_g_per_unit or choice.baseline is None or placed is None:
        return 0.0
    (before, currency), (after, other) = (cost_of(request, p, bills) for p in (choice.baseline, placed))
    return 0.0 if before is None or after is None or currency != other else before - after


def cheap_window(
    request: Request, choice: Choice, placed: Placement, bills: Electricity | None, start: str
) -> Reason | None:
    """Why a job is shifted, where what it saves in money counts for more than what it saves in grams; else None."""
    gain = gain_of(request, choice, placed, bills)
    if bills is None or gain * request.money_g_per_unit <= max(choice.saving_g, 0.0):
        return None
    saves = choice.saving_g >= 0
    carbon = f"{mass(choice.saving_g)}" if saves else f"emits {mass(-choice.saving_g)} more"
    money = amount(gain, bills.currencies[placed.site])
    return Reason(ReasonCode.CHEAP_WINDOW, {"start": start, "money": money, "carbon": carbon})


def too_dear(request: Request, choice: Choice, bills: Electricity | None) -> Reason | None:
    """Why a placement that saves grams is not taken, where it would cost more; else None."""
    gain = gain_of(request, choice, choice.best, bills)
    if bills is None or choice.best is None or gain >= 0:
        return None
    currency = bills.currencies[choice.best.site]
    facts: dict[str, object] = {"saving_g": choice.saving_g, "bar_g": choice.bar_g, "currency": currency}
    facts |= {"money": amount(-gain, currency), "money_g_per_unit": request.money_g_per_unit}
    return Reason(ReasonCode.MONEY_WEIGHT, facts)
