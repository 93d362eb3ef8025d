"""Runs interruptible jobs in the cheapest slots of their window and suspends them between.

Source: Wiesner et al., "Let's Wait Awhile" (Middleware 2021), interrupting strategy. Differs in that every
interruption costs run time, short gaps are bridged when that is cheaper, and both the number of interruptions
and the shortest stretch are bounded.
"""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from lowtide.policies.lift import Rule, sell_in_order
from lowtide.policies.offer import Offer
from lowtide.policies.pieces import cheapest_pieces
from lowtide.policies.problem import Choice, Placement, Problem


class LowestSlots(BaseModel):
    """The cheapest slots when they beat the cheapest window, else that window. No parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    weighs_delay: ClassVar[bool] = True

    def plan(self, problem: Problem) -> tuple[Choice, ...]:
        """Choose slots for every request; a running job may be suspended for cheaper ones."""
        return sell_in_order(problem, cheapest_slots)


def cheapest_slots(offer: Offer) -> Placement | None:
    """The rule for one job, in the way that it declares."""
    request = offer.request
    if request.running_at is not None:
        return stop_now(offer, cheapest_pieces) if request.suspensions_left else None
    if offer.is_guarded or not request.suspensions_left:
        return offer.cheapest()
    return cheapest_pieces(offer)


def stop_now(offer: Offer, best: Rule) -> Placement | None:
    """The best plan that pauses a running job now, unless a later pause, or none, is cheaper."""
    pause = best(offer)
    later = cheaper(offer.baseline, best(offer.going_on()))
    return offer.baseline if pause is None or cheaper(later, pause) is later else pause


def cheaper(first: Placement | None, second: Placement | None) -> Placement | None:
    """The one of less cost; of equals the first."""
    if first is None or (second is not None and second.cost_g < first.cost_g):
        return second
    return first
