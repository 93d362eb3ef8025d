"""Runs interruptible jobs in the cheapest slots of their window and suspends them between.

Source: Wiesner et al., "Let's Wait Awhile" (Middleware 2021), interrupting strategy. Differs in that every
interruption costs run time, short gaps are bridged when that is cheaper, and both the number of interruptions
and the shortest stretch are bounded.
"""

from pydantic import BaseModel, ConfigDict

from lowtide.policies.lift import sell_in_order
from lowtide.policies.offer import Offer
from lowtide.policies.problem import Choice, Placement, Problem
from lowtide.policies.slots import interrupted


class LowestSlots(BaseModel):
    """The cheapest slots when they beat the cheapest window, else that window. No parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def plan(self, problem: Problem) -> tuple[Choice, ...]:
        """Choose slots for every request; a running job may be suspended for cheaper ones."""
        return sell_in_order(problem, _cheapest_pieces)


def _cheapest_pieces(offer: Offer) -> Placement | None:
    request = offer.request
    if request.running_at is not None and not request.suspensions_left:
        return None
    whole = offer.cheapest()
    if offer.is_guarded or not request.suspensions_left:
        return whole
    pieces = interrupted(offer)
    if pieces is None or (whole is not None and whole.cost_g <= pieces.cost_g):
        return whole
    return pieces
