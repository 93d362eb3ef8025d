r"""For rules that look at the present price alone: how they see the problem, what they hope for, and how they wait.

Such a rule knows that prices lie between L and U, and nothing of their order. It acts now where the price lies at or
below a bar, and else promises the latest start, because sooner it can promise nothing. What it hopes to pay until then
is its bar; so savings are told against the present price, and compare hope with persistence.

The bars come from k-min search with a switching cost (Lechowicz et al., "The Online Pause and Resume Problem: Optimal
Algorithms and An Application to Carbon-Aware Load Shifting", SIGMETRICS 2024, arXiv:2303.17551, algorithm DTPR-min).
For k units of work, a price of 2β for one pause and resume, and x the inverse of the competitive ratio, the i-th unit
is bought at a price of at most

    U · (1 - (1 - x) · (1 + x/k)^(i-1)) + 2β · (1 - 1/k + x/k) · (1 + x/k)^(i-1)

when the unit before was bought, and at 2β less when not; x is such that the bar to resume comes to L after unit k.
With β = 0 this is plain k-min search (Lorenz, Panagiotou and Steger, "Optimal Algorithms for k-Search with Application
in Option Pricing", Algorithmica 2009), and with k = 1 besides the bar is √(LU).
"""

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np

from lowtide.policies.offer import TIE, Offer
from lowtide.policies.problem import Placement, Prices, Problem
from lowtide.scheduler.model.units import kwh_per_s

Bounds = tuple[float, float]
"""The lowest and the highest price that is reckoned with, in g/kWh times PUE."""
HALVINGS = 60
"""More than a float has bits."""


def as_of_now(problem: Problem) -> Problem:
    """The problem without its forecast: at each site the price of the current slot for ever, and no error known."""
    prices, count = problem.prices, problem.grid.count
    flat = np.repeat(prices.price_g_per_kwh[:, :1], count, axis=1)
    blind = Prices(problem.grid, flat, np.zeros_like(flat), prices.known_until_s, prices.may_shift, prices.groups)
    return replace(problem, prices=blind)


def bounds(problem: Problem, until_s: float) -> list[Bounds]:
    """By site the lowest and highest price of the slots that are known and begin before ``until_s``.

    Of a forecast this takes two figures and not when they come. Where nothing is known both are 0.
    """
    prices, found = problem.prices, []
    for site, known_until_s in enumerate(prices.known_until_s):
        count = problem.grid.slots_until(min(float(known_until_s), until_s)) if known_until_s > 0 else 0
        known = prices.price_rows[site][:count] or [0.0]
        found.append((min(known), max(known)))
    return found


@lru_cache(maxsize=4096)
def inverse_ratio(units: int, low: float, switch: float) -> float:
    """The inverse competitive ratio for so many units, with L and 2β given as shares of U; in [0, 1].

    Where a switch costs as much as the prices can differ, 1: waiting can gain nothing.
    """
    if 1.0 - low - switch <= 0:
        return 1.0
    least, most = 0.0, 1.0
    for _ in range(HALVINGS):
        x = (least + most) / 2
        last = (1 - x - switch * (1 - 1 / units + x / units)) * _growth(x, units, units)
        least, most = (x, most) if 1.0 - low - switch < last else (least, x)
    return (least + most) / 2


def bar(unit: int, units: int, low: float, switch: float = 0.0) -> float:
    """The price at most to go on at for unit ``unit`` of ``units``, counted from 1; all prices as shares of U."""
    x = inverse_ratio(units, low, switch)
    growth = _growth(x, units, unit - 1)
    return 1 - (1 - x) * growth + switch * (1 - 1 / units + x / units) * growth


def _growth(x: float, units: int, times: int) -> float:
    return math.exp(times * math.log1p(x / units))


def waiting(offer: Offer, bar_g_per_kwh: list[float], hope_g_per_kwh: list[float]) -> Placement | None:
    """The latest start at the price that is hoped for; None where the work begins, or goes on, below its bar now.

    Args:
        offer: what a job can have of a problem ``as_of_now``.
        bar_g_per_kwh: by site, up to which price it runs.
        hope_g_per_kwh: by site, what it hopes to pay when it waits.

    """
    baseline = offer.baseline
    if baseline is None or offer.problem.grid.slot_at(baseline.start_s) > 0:
        return None
    if offer.problem.prices.price_rows[baseline.site][0] <= bar_g_per_kwh[baseline.site] * (1 + TIE):
        return None
    latest = offer.latest()
    if latest is None:
        return None
    per_g_per_kwh = offer.request.length_s * kwh_per_s(offer.request.power_w)
    return replace(latest, cost_g=hope_g_per_kwh[latest.site] * per_g_per_kwh)
