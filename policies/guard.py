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
from itertools import pairwise
from statistics import NormalDist

import numpy as np

from lowtide.policies.holding import ways
from lowtide.policies.problem import Placement, Prices, Request
from lowtide.policies.timeline import Span
from lowtide.scheduler.model.difference import Difference
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


def doubt_between_g(prices: Prices, request: Request, placed: Placement, other: Placement) -> float:
    """The same for placements in any modes: what both draw at a moment and a site cancels, watt by watt."""
    if not (placed.modes or other.modes):
        return doubt_g(prices, placed, other, request.power_w)
    if placed.site != other.site:
        each = (_drawn(request, placed), _drawn(request, other))
        errors = [_error_of(prices, p.site, drawn) for p, drawn in zip((placed, other), each, strict=True)]
        return STD_PER_MEAN_ABSOLUTE * math.hypot(*errors)
    signed = [*_drawn(request, placed), *((span, -watts) for span, watts in _drawn(request, other))]
    together = prices.differences[placed.site]
    if together is not None:
        return _together(together, signed) * kwh_per_s(1.0)
    apart = _summed(signed)
    more = [(span, watts) for span, watts in apart if watts > 0]
    less = [(span, -watts) for span, watts in apart if watts < 0]
    ours, theirs = _error_of(prices, placed.site, more), _error_of(prices, placed.site, less)
    return STD_PER_MEAN_ABSOLUTE * math.hypot(ours, theirs)


Drawn = list[tuple[Span, float]]
"""Watts by stretch of time."""


def _drawn(request: Request, placed: Placement) -> Drawn:
    return [(span, way.power_w) for span, way in zip(placed.spans, ways(request, placed), strict=True)]


def _error_of(prices: Prices, site: int, drawn: Drawn) -> float:
    return sum(prices.error_over(site, (span,)) * kwh_per_s(watts) for span, watts in drawn)


def _summed(drawn: Drawn) -> Drawn:
    """The same in stretches that do not overlap, without those where nothing is left."""
    edges = sorted({edge for span, _ in drawn for edge in span})
    sums = ((cut, sum(w for (a, b), w in drawn if a <= cut[0] and cut[1] <= b)) for cut in pairwise(edges))
    return [(cut, watts) for cut, watts in sums if watts]


def _together(errors: Difference, drawn: Drawn) -> float:
    """``Difference.std_over`` weighted by watts, in g/kWh·W·s: the same closed form, edge by edge."""
    edges = np.array([edge for span, _ in drawn for edge in span])
    jumps = np.array([jump for _, watts in drawn for jump in (-watts, watts)])
    apart_s = np.abs(edges[:, None] - edges[None, :])
    twice = errors.memory_s * (apart_s + errors.memory_s * np.expm1(-apart_s / errors.memory_s))
    return errors.std_g_per_kwh * math.sqrt(max(0.0, -float(jumps @ twice @ jumps)) / 2)


def bar_g(request: Request, baseline_g: float, error_g: float) -> float:
    """What a saving must exceed before it justifies a shift."""
    return max(request.min_savings * baseline_g, request.z * error_g, NOISE * baseline_g)
