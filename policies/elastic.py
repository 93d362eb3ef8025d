"""Runs elastic jobs wider where the grid is clean, and harder where their power can be limited.

Source: Hanafy et al., "CarbonScaler: Leveraging Cloud Workload Elasticity for Optimizing Carbon-Efficiency"
(SIGMETRICS 2023): marginal throughput per marginal gram. Corrected in that it climbs the concave hull of the
profile, which makes greedy optimal for one job where the published rule stops short (see ``hull``), and in that
a pause or another width costs run time, pauses are bounded and capacity holds.

Without such costs and bounds the slots come out as the linear program's optimum; with them they are mended (see
``mend``), and ``lowest_slots`` is what has to be beaten. A plan begins while the
declared way would still be in time, so that a job is never left to widths that may be gone by then. What runs at one
width can be given another by a suspension alone, so each change counts as one (see ``resize``).
"""

from pydantic import BaseModel, ConfigDict

from lowtide.policies.lift import sell_in_order
from lowtide.policies.lowest_slots import cheaper, cheapest_slots, stop_now
from lowtide.policies.offer import Offer
from lowtide.policies.pieces import cheapest_pieces
from lowtide.policies.problem import Choice, Placement, Problem
from lowtide.policies.spread import spread


class Elastic(BaseModel):
    """The cheapest modes slot by slot; jobs with one way to run are treated as by ``lowest_slots``. No parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def plan(self, problem: Problem) -> tuple[Choice, ...]:
        """Choose slots and modes for every request; a running job may be suspended, to go on in another mode."""
        return sell_in_order(problem, _widest_where_clean)


def _widest_where_clean(offer: Offer) -> Placement | None:
    request = offer.request
    if not request.modes:
        return cheapest_slots(offer)
    if request.running_at is not None:
        return stop_now(offer, _cheapest) if request.suspensions_left else None
    if offer.is_guarded:
        return offer.cheapest()
    return cheaper(cheapest_slots(offer), spread(offer))


def _cheapest(offer: Offer) -> Placement | None:
    return cheaper(cheapest_pieces(offer), spread(offer))
