"""Lets work wait the more readily the less of its workflow depends on it, and less of a site run the dirtier it is.

Source: Lechowicz et al., "Carbon- and Precedence-Aware Scheduling for Data Processing Clusters" (arXiv:2502.09717,
2025). PCAPS starts a task of relative importance r when the intensity is at most

    Ψ(r) = c + (U - c) · (exp(gamma · r) - 1) / (exp(gamma) - 1)     with c = gamma · L + (1 - gamma) · U,

so that the most important task of a workflow always starts. CAP lets a site use only so many machines: beyond a share
that is always there, the i-th further one at a price of at most the i-th bar of k-min search (see ``online``). Both
hold here. As there, what runs is not stopped. L and U are the bounds of the coming hours; otherwise only the present
intensity counts.
"""

import math
from functools import partial

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from lowtide.policies.lift import choose, settle
from lowtide.policies.offer import Offer
from lowtide.policies.online import Bounds, as_of_now, bar, bounds, waiting
from lowtide.policies.problem import Choice, Placement, Problem, Request
from lowtide.policies.timeline import IntArray, Timeline
from lowtide.scheduler.model.units import S_PER_H


class Importance(BaseModel):
    """Start work when the intensity suits its importance and the site's quota has room; out of patience: run.

    Attributes:
        gamma: how much carbon counts, in (0, 1]; the nearer to 0, the less waits.
        least_share: of a site's GPUs that may always work, in (0, 1]; 1 for no quota. CAP's prototype keeps 2 of 10.
        lookahead_h: the bounds are those of so many coming hours, in (0, 168]; PCAPS takes 48.

    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    gamma: float = Field(default=0.5, gt=0.0, le=1.0)
    least_share: float = Field(default=0.2, gt=0.0, le=1.0)
    lookahead_h: float = Field(default=48.0, gt=0.0, le=168.0)

    def plan(self, problem: Problem) -> tuple[Choice, ...]:
        """Choose to start now or to wait for every request; running jobs go on."""
        known = bounds(problem, self.lookahead_h * S_PER_H)
        now, timeline, choices = as_of_now(problem), problem.timeline.copy(), []
        whole: IntArray = problem.timeline.free_gpus.max(axis=1)  # once everything that runs has ended
        for request in problem.requests:
            limits = self._limits(request, known, whole, timeline)
            choice = choose(now, timeline, request, partial(_below, limits))
            settle(timeline, request, choice)
            choices.append(choice)
        return tuple(choices)

    def _limits(self, request: Request, known: list[Bounds], whole: IntArray, timeline: Timeline) -> list[float]:
        """By site, up to which price in g/kWh the job may start."""
        used = whole - timeline.free_gpus[:, 0] + request.gpus
        return [
            self._limit(request.importance, found, int(n), int(most))
            for found, n, most in zip(known, used, np.maximum(whole, 0), strict=True)
        ]

    def _limit(self, importance: float, known: Bounds, used: int, most: int) -> float:
        low, high = known
        if high <= 0:
            return math.inf
        return high * min(self._by_importance(importance, low / high), self._by_quota(used, most, low / high))

    def _by_importance(self, importance: float, low: float) -> float:
        """Ψ(r) as a share of U, with L given as one."""
        least = self.gamma * low + 1 - self.gamma
        return least + (1 - least) * math.expm1(self.gamma * importance) / math.expm1(self.gamma)

    def _by_quota(self, used: int, most: int, low: float) -> float:
        """The bar, as a share of U, below which ``used`` GPUs of ``most`` may work."""
        always = math.ceil(self.least_share * most)
        if used <= always or always == most:
            return 1.0
        return bar(min(used, most) - always, most - always, low)


def _below(limits: list[float], offer: Offer) -> Placement | None:
    return None if offer.request.running_at is not None else waiting(offer, limits, limits)
