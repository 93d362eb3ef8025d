"""What one job of a queue wants of what is left: to emit least, to go on or pause, or to end first."""

from lowtide.policies.guard import NOISE
from lowtide.policies.offer import Offer
from lowtide.policies.pieces import cheapest_pieces, earliest_pieces, less
from lowtide.policies.problem import EPSILON_S, Placement
from lowtide.policies.scarcity import Scarcity
from lowtide.policies.spread import soonest_spread, spread, total_g


def nothing(_offer: Offer) -> Placement | None:
    """No wish but the baseline."""
    return None


def least(offer: Offer, scarce: Scarcity | None = None) -> Placement | None:
    """The placement that emits least: a window, pieces where the job may be interrupted, or a mixture of its modes.

    With ``scarce`` a job with modes pays for the capacity that it holds as well.
    """
    request = offer.request
    is_whole = not request.suspensions_left or offer.is_guarded
    plain = offer.cheapest() if is_whole else cheapest_pieces(offer)
    mixed = spread(offer, scarce) if request.modes and not offer.is_guarded else None
    if plain is None or mixed is None:
        return plain or mixed
    return mixed if total_g(offer, mixed, scarce) < total_g(offer, plain, scarce) * (1 - NOISE) else plain


def least_running(offer: Offer) -> Placement | None:
    """Going on, pausing now, or going on and pausing later; of equals the one that comes first here."""
    if not offer.request.suspensions_left:
        return None
    kept = offer.baseline if offer.is_free(offer.baseline) else None
    later = cheapest_pieces(offer.going_on())
    if offer.request.hold_s > 0:
        return less(kept, later)
    return less(less(kept, later), cheapest_pieces(offer))


def soonest(offer: Offer) -> Placement | None:
    """The placement that ends first: for what nobody goes before a window, else also pieces.

    Where that is late as declared, the modes that get the work done soonest, if they do so in time.
    """
    window, request = offer.baseline, offer.request
    if request.is_foremost:
        return window
    pieces = earliest_pieces(offer) if request.suspensions_left else None
    plain = window if pieces is None or (window is not None and window.end_s <= pieces.end_s) else pieces
    if not request.modes or (plain is not None and plain.end_s <= request.must_end_s + EPSILON_S):
        return plain
    return soonest_spread(offer) or plain
