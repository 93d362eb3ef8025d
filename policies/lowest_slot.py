"""Starts each job in the cheapest single slot within its patience, whatever comes after that slot.

Source: Lowest-Slot in Hanafy et al., "Going Green for Less Green: Optimizing the Cost of Reducing Cloud Carbon
Emissions" (GAIA, ASPLOS 2024), the rule for jobs of which nothing is known but when they may start. Differs in that
the guard compares whole runs, so that a cheap slot before a dear stretch is not taken.
"""

import math

import numpy as np
from pydantic import BaseModel, ConfigDict

from lowtide.policies.lift import sell_in_order
from lowtide.policies.offer import TIE, Offer
from lowtide.policies.problem import Choice, Placement, Problem


class LowestSlot(BaseModel):
    """Minimise the price of the first slot, over all sites and starts within patience. No parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def plan(self, problem: Problem) -> tuple[Choice, ...]:
        """Choose the cheapest slot to begin in for every request; running jobs go on."""
        return sell_in_order(problem, _cheapest_slot)


def _cheapest_slot(offer: Offer) -> Placement | None:
    cost, low = offer.costs(), offer.first_column
    if offer.request.running_at is not None or not cost.size:
        return None
    first = np.where(np.isfinite(cost), offer.problem.prices.price_g_per_kwh[:, low : low + cost.shape[1]], math.inf)
    return offer.earliest_where(first <= first.min() * (1 + TIE))
