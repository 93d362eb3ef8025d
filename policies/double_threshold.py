"""Runs work while the grid is clean within known bounds, without a forecast; a higher bar to pause than to go on.

Source: Lechowicz et al., "The Online Pause and Resume Problem: Optimal Algorithms and An Application to Carbon-Aware
Load Shifting" (SIGMETRICS 2024), algorithm DTPR-min; its bars are in ``online``. Only the price of the current slot,
the bounds and the cost of a switch decide. Differs in that the bars are those of the work that is left, worked out anew
each time: what was done before is not known. A job that may not be interrupted is one unit, with √(LU) as its bar.
"""

import math
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lowtide.policies.lift import sell_in_order
from lowtide.policies.offer import Offer
from lowtide.policies.online import Bounds, as_of_now, bar, bounds, waiting
from lowtide.policies.problem import Choice, Placement, Problem, Request


class DoubleThreshold(BaseModel):
    """Run while the price is below a bar between its bounds; out of patience: run.

    Attributes:
        low_g_per_kwh: the least intensity to reckon with, times PUE; the least of all that the forecast holds when
            left out.
        high_g_per_kwh: the most, likewise.

    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    low_g_per_kwh: float | None = Field(default=None, ge=0.0, allow_inf_nan=False)
    high_g_per_kwh: float | None = Field(default=None, gt=0.0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        low, high = self.low_g_per_kwh, self.high_g_per_kwh
        if low is not None and high is not None and low > high:
            message = f"low_g_per_kwh ({low:g}) is above high_g_per_kwh ({high:g}); give the lesser first"
            raise ValueError(message)
        return self

    def plan(self, problem: Problem) -> tuple[Choice, ...]:
        """Choose to run now or to wait for every request; a running job may be paused."""
        known = [self._within(found) for found in bounds(problem, math.inf)]
        slot_s = problem.grid.slot_s
        return sell_in_order(as_of_now(problem), lambda offer: _below_bar(offer, known, slot_s))

    def _within(self, found: Bounds) -> Bounds:
        low = found[0] if self.low_g_per_kwh is None else self.low_g_per_kwh
        high = found[1] if self.high_g_per_kwh is None else self.high_g_per_kwh
        return min(low, high), high


def _below_bar(offer: Offer, known: list[Bounds], slot_s: float) -> Placement | None:
    request = offer.request
    if request.running_at is not None and not request.suspensions_left:
        return None
    units, switch = _units(request, slot_s)
    go_on = [high * bar(1, units, low / high, switch) if high > 0 else math.inf for low, high in known]
    resume = [limit - switch * high for limit, (_, high) in zip(go_on, known, strict=True)]
    return waiting(offer, resume if request.running_at is None else go_on, resume)


def _units(request: Request, slot_s: float) -> tuple[int, float]:
    """How many slots of work are left, and what a pause costs as a share of one slot's work at the highest price."""
    if not request.suspensions_left:
        return 1, 0.0
    return max(1, math.ceil(request.work_s / slot_s)), request.switch_s / slot_s
