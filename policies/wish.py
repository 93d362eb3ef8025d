"""What one job of a queue wants of what is left: to emit least, to go on or pause, or to end first."""

from lowtide.policies.guard import NOISE
from lowtide.policies.offer import Offer
from lowtide.policies.pieces import cheapest_pieces, earliest_pieces
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
    if offer.is_guarded:
        return offer.cheapest()
    plain = cheapest_pieces(offer) if offer.request.suspensions_left else offer.cheapest()
    return _less(offer, plain, _mixed(offer, scarce), scarce)


def least_running(offer: Offer, scarce: Scarcity | None = None) -> Placement | None:
    """Going on, pausing now, or going on and pausing later; of equals the one that comes first here.

    After a pause a job with modes may go on in another one.
    """
    if not offer.request.suspensions_left:
        return None
    kept = offer.baseline if offer.is_free(offer.baseline) else None
    later = _less(offer, kept, _pausing(offer.going_on(), scarce), scarce)
    return later if offer.request.hold_s > 0 else _less(offer, later, _pausing(offer, scarce), scarce)


def _pausing(offer: Offer, scarce: Scarcity | None) -> Placement | None:
    return _less(offer, cheapest_pieces(offer), _mixed(offer, scarce), scarce)


def _mixed(offer: Offer, scarce: Scarcity | None) -> Placement | None:
    return spread(offer, scarce) if offer.request.modes else None


def _less(offer: Offer, first: Placement | None, second: Placement | None, scarce: Scarcity | None) -> Placement | None:
    """The one that costs less in all; of equals, and where nothing is known, the first."""
    if first is None or second is None:
        return first or second
    return second if total_g(offer, second, scarce) < total_g(offer, first, scarce) * (1 - NOISE) else first


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
