"""Starts each job where the carbon over its whole expected run is least, without interrupting it.

Source: Wiesner et al., "Let's Wait Awhile: How Temporal Workload Shifting Can Reduce Carbon Emissions in the
Cloud" (Middleware 2021), non-interrupting strategy; the same rule is Lowest-Window in Hanafy et al., "Going
Green for Less Green: Optimizing the Cost of Reducing Cloud Carbon Emissions" (GAIA, ASPLOS 2024).
"""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from lowtide.policies.lift import sell_in_order
from lowtide.policies.offer import Offer
from lowtide.policies.problem import Choice, Placement, Problem


class LowestWindow(BaseModel):
    """Minimise the price integral over the run, over all sites and starts within patience. No parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    weighs_delay: ClassVar[bool] = True

    def plan(self, problem: Problem) -> tuple[Choice, ...]:
        """Choose the cheapest window for every request; running jobs go on."""
        return sell_in_order(problem, _cheapest)


def _cheapest(offer: Offer) -> Placement | None:
    return None if offer.request.running_at is not None else offer.cheapest()
