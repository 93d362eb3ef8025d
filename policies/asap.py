"""Runs everything as soon as capacity allows; the baseline of every saving.

Source: none needed; it is first fit with backfilling, because a job takes the first window that earlier
jobs left free.
"""

from pydantic import BaseModel, ConfigDict

from lowtide.policies.lift import sell_in_order
from lowtide.policies.offer import Offer
from lowtide.policies.problem import Choice, Placement, Problem


class Asap(BaseModel):
    """Start as soon as capacity allows; among sites free then, at the greener. No parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def plan(self, problem: Problem) -> tuple[Choice, ...]:
        """Choose the earliest start for every request."""
        return sell_in_order(problem, _nothing_else)


def _nothing_else(_offer: Offer) -> Placement | None:
    return None
