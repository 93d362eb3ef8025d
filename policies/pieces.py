"""The cheapest or the soonest stretches of slots for a job, all sites at once."""

import numpy as np

from lowtide.policies.guard import NOISE
from lowtide.policies.offer import Offer
from lowtide.policies.problem import FloatArray, IntArray, Placement, as_array
from lowtide.policies.stretches import Asked, cheapest_stretches, soonest_stretches


def earliest_pieces(offer: Offer) -> Placement | None:
    """The placement in one or more stretches that ends first over its sites; None when none ends in time."""
    grid, low = offer.problem.grid, _low(offer)
    high = min(grid.slot_at(offer.must_end_s), grid.count)
    sites = as_array(offer.request.sites)
    return _placed(
        offer, soonest_stretches(offer.room, grid.edges_s, sites, low, high, offer.start_s(low), _asked(offer))
    )


def cheapest_pieces(offer: Offer) -> Placement | None:
    """The cheapest placement in one or more stretches over the open sites; None when none holds the work."""
    prices = offer.problem.prices
    return first_pieces(offer, prices.price_g_per_kwh, prices.order)


def first_pieces(offer: Offer, merit: FloatArray, order: IntArray) -> Placement | None:
    """The placement in the slots of least merit.

    Args:
        offer: what the job can have.
        merit: [site, slot], any figure in place of the price.
        order: [site, slot], the numbers of a site's slots from the least on.

    """
    problem, low = offer.problem, _low(offer)
    prices, grid = problem.prices, problem.grid
    if not offer.is_open:
        return None
    found = cheapest_stretches(
        merit,
        order,
        offer.room,
        grid.edges_s,
        as_array(offer.request.sites),
        offer.open_sites,
        np.minimum(prices.known_slots, grid.slot_at(offer.must_end_s)),
        low,
        offer.start_s(low),
        _asked(offer),
    )
    return _placed(offer, found)


def less(first: Placement | None, second: Placement | None) -> Placement | None:
    """The one of less cost; of equals, and where nothing is known, the first."""
    if first is None or (second is not None and second.cost_g < first.cost_g * (1 - NOISE)):
        return second
    return first


def _low(offer: Offer) -> int:
    return offer.first_column if offer.first is None else offer.first


def _asked(offer: Offer) -> Asked:
    request = offer.request
    most = request.suspensions_left + (1 if request.running_at is None else 0)
    first_run_s = request.hold_s if offer.goes_on else request.min_run_s  # a stretch that goes on began before
    return Asked(request.length_s, request.switch_s, hold_slots(offer), first_run_s, request.min_run_s, most)


def hold_slots(offer: Offer) -> int:
    """How many slots from the first on have to be taken."""
    if offer.first is None:
        return 0
    return max(1, offer.problem.grid.slots_until(offer.request.hold_s)) if offer.request.hold_s > 0 else 1


def _placed(offer: Offer, found: tuple[int, FloatArray, FloatArray]) -> Placement | None:
    site, starts_s, ends_s = found
    if site < 0:
        return None
    return offer.placed(site, tuple(zip(starts_s.tolist(), ends_s.tolist(), strict=True)))
