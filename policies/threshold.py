"""Runs work while the grid is clean by its own standard of the next day, and when patience ends.

Source: Souza et al., "Ecovisor: A Virtual Energy System for Carbon-Efficient Applications" (ASPLOS 2023),
suspend-resume against a carbon threshold; the threshold as a percentile of the coming day follows Hanafy et
al. (GAIA, ASPLOS 2024).
"""

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from lowtide.policies.lift import sell_in_order
from lowtide.policies.offer import TIE, Offer
from lowtide.policies.pieces import first_pieces
from lowtide.policies.problem import Choice, FloatArray, IntArray, Placement, Prices, Problem
from lowtide.scheduler.model.units import S_PER_H


class Threshold(BaseModel):
    """Run while the price is below a percentile of the coming hours; out of patience: run.

    Attributes:
        percentile: of the prices ahead, in percent, in [0, 100].
        lookahead_h: how many hours ahead the percentile is taken over, in (0, 168].

    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    percentile: float = Field(default=30.0, ge=0.0, le=100.0)
    lookahead_h: float = Field(default=24.0, gt=0.0, le=168.0)

    def plan(self, problem: Problem) -> tuple[Choice, ...]:
        """Choose runs below the threshold for every request."""
        limits = np.array(self._limits_g_per_kwh(problem))
        merit = _merit(problem.prices, limits)
        order = merit.argsort(axis=1, kind="stable")
        return sell_in_order(problem, lambda offer: _below(offer, limits, merit, order))

    def _limits_g_per_kwh(self, problem: Problem) -> list[float]:
        """One threshold per site; infinite where nothing is known, so that nothing waits there."""
        prices, grid = problem.prices, problem.grid
        limits = []
        for site, known_until_s in enumerate(prices.known_until_s):
            count = grid.slots_until(min(float(known_until_s), self.lookahead_h * S_PER_H))
            ahead = prices.price_g_per_kwh[site, :count]
            # Strictly below the percentile, yet the lowest price always qualifies: on a flat stretch both
            # are the same number, and then there is nothing to wait for.
            limit = max(np.percentile(ahead, self.percentile) * (1 - TIE), ahead.min() * (1 + TIE))
            limits.append(float(limit) if known_until_s > 0 else np.inf)
        return limits


def _merit(prices: Prices, limits: FloatArray) -> FloatArray:
    """[site, slot], who goes first: slots below the limit as they come; as patience ends, the others from the last."""
    slots = np.arange(prices.grid.count, dtype=np.float64)
    below = prices.price_g_per_kwh[:, :-1] <= limits[:, None]
    return np.where(below, slots, 2 * len(slots) - slots)


def _below(offer: Offer, limits: FloatArray, merit: FloatArray, order: IntArray) -> Placement | None:
    """The earliest run below the threshold; with suspensions left, only the slots below it."""
    site = offer.request.running_at
    if site is not None and offer.problem.prices.price_rows[site][0] <= limits[site]:
        return None
    if offer.request.suspensions_left and not offer.is_guarded:
        pieces = first_pieces(offer, merit, order)
        if pieces is not None:
            return pieces
    if site is not None:
        return None
    low = offer.first_column
    prices = offer.problem.prices.price_g_per_kwh[:, low : low + offer.costs().shape[1]]
    return offer.earliest_where(prices <= limits[:, None]) or offer.latest()
