"""Starts everything as soon as capacity allows, and limits its GPUs' power where the grid is dirty.

Source: You et al., "Zeus: Understanding and Optimizing GPU Energy Consumption of DNN Training" (NSDI 2023), which
trades energy against time by the power limit; here the limit follows the grid slot by slot. Within what a job may be
slowed down, each slot gets the limit with which the whole run emits least: a linear program for each number of slots
that the run may take, solved along the hull of the power curve (see ``fill``).
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from lowtide.policies import fill
from lowtide.policies.holding import placed_in
from lowtide.policies.lift import sell_in_order
from lowtide.policies.mend import settled
from lowtide.policies.offer import Offer
from lowtide.policies.problem import EPSILON_S, Choice, Placement, Problem, Request


class PowerCap(BaseModel):
    """Full power where the grid is clean, less where it is dirty; nothing waits for carbon.

    Attributes:
        max_slowdown: how much longer than at full power a run may take, as a share of it, in [0, 1]. Enough by default
            for a V100 to run at 60 % throughout, which takes 1 / 0.90 of the time.
        min_fraction: the lowest power limit, as a share of the full one, in [0.5, 1]; below about half a GPU needs more
            energy for the same work, not less.

    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_slowdown: float = Field(default=0.12, ge=0.0, le=1.0)
    min_fraction: float = Field(default=0.5, ge=0.5, le=1.0)

    def plan(self, problem: Problem) -> tuple[Choice, ...]:
        """Choose power limits for every request that has some; running jobs keep theirs."""
        return sell_in_order(problem, self._limited)

    def _limited(self, offer: Offer) -> Placement | None:
        baseline, request = offer.baseline, offer.request
        if baseline is None or offer.is_guarded or request.running_at is not None:
            return None
        field = self._field(offer, baseline)
        if field is None:
            return None
        prices, found = offer.problem.prices, []
        for slots in _lengths(request, field):
            must = np.arange(slots.count) < slots.count - 1
            if pieces := settled(request, slots, must):
                spans, modes = tuple((a, b) for a, b, _ in pieces), tuple(mode for _, _, mode in pieces)
                found.append(placed_in(prices, request, baseline.site, spans, modes))
        return min(found, key=lambda p: p.cost_g, default=None)

    def _field(self, offer: Offer, baseline: Placement) -> fill.Field | None:
        """The slots from the start on until the run must have ended, with room for the declared width; None if few."""
        request, grid, site = offer.request, offer.problem.grid, baseline.site
        usable = np.array([self._may_use(request, mode) for mode in range(len(request.modes))], dtype=np.bool_)
        low = grid.slot_at(baseline.start_s)
        if low >= grid.count or not usable.any():
            return None
        end_s = min(
            baseline.start_s + (1 + self.max_slowdown) * request.length_s,
            max(request.must_end_s, baseline.end_s),
            float(offer.problem.prices.known_until_s[site]),
        )
        taken = np.flatnonzero(~offer.room[site, low:])
        high = min(grid.slots_until(end_s), low + int(taken[0]) if taken.size else grid.count)
        begin_s, until_s = grid.edges_s[low:high].copy(), grid.edges_s[low + 1 : high + 1].copy()
        begin_s[0], until_s[-1] = baseline.start_s, min(until_s[-1], end_s)
        room = usable[:, None] & np.array([room[site, low:high] for room in offer.mode_room])
        price = offer.problem.prices.price_g_per_kwh[site, low:high]
        return fill.Field.priced(request.modes, begin_s, until_s - begin_s, price, room)

    def _may_use(self, request: Request, number: int) -> bool:
        """Whether a mode is as wide as declared, and its limit high enough."""
        mode = request.modes[number]
        return (mode.gpus, mode.cpus) == (request.gpus, request.cpus) and mode.power_fraction >= self.min_fraction


def _lengths(request: Request, field: fill.Field) -> Iterator[fill.Field]:
    """The first slots of a field, as many as the fastest run may need, and one more each time."""
    speeds = [mode.speed for mode, room in zip(field.modes, field.room, strict=True) if room.any()]
    ends_s = np.cumsum(field.width_s)
    fastest_s, slowest_s = request.work_s / max(speeds), request.work_s / min(speeds) + request.resume_s
    for count in range(1, field.count + 1):
        if ends_s[count - 1] >= fastest_s - EPSILON_S:
            yield replace(
                field,
                begin_s=field.begin_s[:count],
                width_s=field.width_s[:count],
                cost=field.cost[:, :count],
                room=field.room[:, :count],
            )
        if ends_s[count - 1] >= slowest_s:
            return
