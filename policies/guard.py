r"""The rule that a shift must promise more than its own error and overhead.

Let A be the placement that is considered and B the baseline. Where past pairs tell how the errors of one
forecast go together over time, the doubt is the calibrated standard deviation of the difference itself (see
``scheduler/model/difference.py``). Else, and between two sites: an error in a slot that both use at one site
cancels, within what is left of one placement errors are taken as fully correlated
(a forecast that is too low at noon is too low at one), between the two placements as independent:

    error(A \ B) = power · Σ over A outside B of hours · mean absolute error at that lead
    doubt        = √(π/2) · √( error(A \ B)² + error(B \ A)² )

√(π/2) turns a mean absolute error into a standard deviation for normally distributed errors, which is the
scale that the quantile z(confidence) expects. A shift is worth it when

    saving > max( min_savings · baseline, z(confidence) · doubt )
"""

import math
from functools import lru_cache
from statistics import NormalDist

from lowtide.policies.problem import Placement, Prices, Request
from lowtide.policies.timeline import Span
from lowtide.scheduler.model.units import kwh_per_s

STD_PER_MEAN_ABSOLUTE = math.sqrt(math.pi / 2)

NOISE = 1e-9
"""A relative saving below this is rounding of the sums, not carbon."""


@lru_cache(maxsize=256)
def quantile(confidence: float) -> float:
    """The one-sided standard normal quantile of a confidence in (0, 1)."""
    return NormalDist().inv_cdf(confidence)


def overlap(ours: tuple[Span, ...], theirs: tuple[Span, ...]) -> tuple[Span, ...]:
    """The stretches that both sets of spans cover."""
    both = ((max(a, c), min(b, d)) for a, b in ours for c, d in theirs)
    return tuple((start, end) for start, end in both if end > start)


def doubt_g(prices: Prices, placed: Placement, other: Placement, power_w: float) -> float:
    """The calibrated standard error of the difference in grams between two placements."""
    together = prices.differences[placed.site] if placed.site == other.site else None
    if together is not None:
        return together.std_over(placed.spans, other.spans) * kwh_per_s(power_w)
    if prices.is_certain:
        return 0.0
    shared = overlap(placed.spans, other.spans) if placed.site == other.site else ()
    common = prices.error_over(placed.site, shared) if shared else 0.0
    ours = prices.error_over(placed.site, placed.spans) - common
    theirs = prices.error_over(other.site, other.spans) - common
    return STD_PER_MEAN_ABSOLUTE * math.hypot(ours, theirs) * kwh_per_s(power_w)


def bar_g(request: Request, baseline_g: float, error_g: float) -> float:
    """What a saving must exceed before it justifies a shift."""
    return max(request.min_savings * baseline_g, request.z * error_g, NOISE * baseline_g)
