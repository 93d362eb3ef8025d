"""Starts each job where the carbon saved per hour until it ends is most, without interrupting it.

Source: Carbon-Time in Hanafy et al., "Going Green for Less Green: Optimizing the Cost of Reducing Cloud Carbon
Emissions" (GAIA, ASPLOS 2024). A start i hours from now is worth

    (C_now - C_i) / (i + run)

with C the price integral over the expected run in g/kWh·h, and C_now that of the earliest start that capacity
allows. It is decided once: seen from later, the wait so far is spent and later starts look ever better. So a start
that was promised stands while it passes the guard.
"""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from lowtide.policies.lift import sell_in_order
from lowtide.policies.offer import TIE, Offer
from lowtide.policies.problem import Choice, FloatArray, Placement, Problem


class CarbonTime(BaseModel):
    """Maximise saving per completion time, over all sites and starts within patience. No parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    weighs_delay: ClassVar[bool] = True

    def plan(self, problem: Problem) -> tuple[Choice, ...]:
        """Choose the start of most saving per hour for every request; running jobs go on."""
        return sell_in_order(problem, _most_per_hour)


def _most_per_hour(offer: Offer) -> Placement | None:
    if offer.request.running_at is not None or offer.baseline is None or not offer.costs().size:
        return None
    if not offer.is_guarded and offer.request.pinned_s is not None:
        if -offer.problem.grid.slot_s < offer.request.pinned_s <= offer.baseline.start_s:
            return None  # the moment has come
        promised = _promised(offer, offer.request.pinned_s)
        if promised is not None:
            return promised
    worth = _worth(offer, offer.baseline)
    most = float(worth.max())
    return offer.earliest_where(worth >= most * (1 - TIE)) if most > 0 else None


def _promised(offer: Offer, pinned_s: float) -> Placement | None:
    """The window at a promised start; None where it is not allowed any more."""
    slot = offer.problem.grid.slot_at(pinned_s)
    return offer.pinned(slot).cheapest() if 0 <= slot - offer.first_column < offer.costs().shape[1] else None


def _worth(offer: Offer, baseline: Placement) -> FloatArray:
    """[site, start], g/kWh saved on average from now until the job would end; -inf where it may not start."""
    cost, low, request = offer.costs(), offer.first_column, offer.request
    starts_s = offer.problem.grid.edges_s[low : low + cost.shape[1]].copy()
    starts_s[0] = offer.start_s(low)
    now = offer.problem.prices.price_over(baseline.site, baseline.spans)
    worth: FloatArray = (now - cost) / (starts_s + request.length_s)
    return worth
