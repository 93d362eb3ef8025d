"""Changes the plan for some jobs beside what stands for all others: each passes the guard, and nobody ends later."""

import math

from lowtide.policies.guard import NOISE
from lowtide.policies.holding import give_back, sell
from lowtide.policies.lift import chosen_as
from lowtide.policies.offer import Offer
from lowtide.policies.pieces import cheapest_pieces
from lowtide.policies.problem import EPSILON_S, Choice, Placement, Problem, Request
from lowtide.policies.timeline import Timeline

Plan = tuple[Choice, ...]


class Beside:
    """A plan from which some members have been taken out.

    Attributes:
        timeline: what is left beside all others, and beside the members that were put back.

    """

    def __init__(self, problem: Problem, plan: Plan, members: set[int]) -> None:
        """Sell what everybody but the members has in the plan."""
        self._problem, self._plan = problem, plan
        self.timeline = problem.timeline.copy()
        for i in range(len(plan)):
            if i not in members:
                self.keep(i)

    def keep(self, i: int) -> None:
        """Leave a job where it is in the plan."""
        self._sell(self.timeline, i, self._plan[i].chosen)

    def offer(self, i: int) -> Offer:
        """What a member can have."""
        return Offer(self._problem, self.timeline, self._problem.requests[i])

    def settled(self, placements: dict[int, Placement]) -> Plan | None:
        """The plan with the members placed so, each where it passes the guard; None where that does not fit."""
        timeline, plan = self.timeline.copy(), list(self._plan)
        for i, placed in placements.items():
            request = self._problem.requests[i]
            if not timeline.fits(placed.site, placed.spans, *request.need):
                return None
            self._sell(timeline, i, placed)
        for i, placed in placements.items():
            give_back(timeline, self._problem.requests[i], placed)
            plan[i] = _choice(Offer(self._problem, timeline, self._problem.requests[i]), placed)
            self._sell(timeline, i, plan[i].chosen)
        return tuple(plan)

    def _sell(self, timeline: Timeline, i: int, placed: Placement | None) -> None:
        if placed is not None:
            sell(timeline, self._problem.requests[i], placed)


def _choice(offer: Offer, placed: Placement) -> Choice:
    """A job's choice where a program wants ``placed``; beside all others, so that each part of it has room."""
    request, baseline = offer.request, offer.baseline
    if baseline is None:
        return Choice(placed, placed)
    if request.running_at is not None and not offer.is_free(baseline):
        return Choice(baseline, placed, placed, gives_way=True)
    is_known = placed.end_s <= offer.problem.prices.known_until(placed.site) + EPSILON_S
    if request.is_due or not (is_known and offer.open_sites[placed.site]):
        chosen = baseline if baseline.end_s <= placed.end_s + EPSILON_S else placed
        return Choice(baseline, chosen, chosen)
    choice = chosen_as(offer, _earliest_of_equals(offer, placed), least)
    if choice.chosen is None or choice.chosen.end_s <= max(request.must_end_s, placed.end_s) + EPSILON_S:
        return choice
    return Choice(baseline, placed, placed)  # its time goes before the guard


def least(offer: Offer) -> Placement | None:
    """The rule for one job: the placement that emits least."""
    return cheapest_pieces(offer) if offer.request.suspensions_left and not offer.is_guarded else offer.cheapest()


def _earliest_of_equals(offer: Offer, placed: Placement) -> Placement:
    """What a waiting job could have for no more; the rules of one job take the earliest of equals."""
    other = None if offer.request.running_at is not None else least(offer)
    if other is None or other.cost_g > placed.cost_g * (1 + NOISE):
        return placed
    return other


def less_of(problem: Problem, usual: Plan, found: Plan) -> Plan:
    """The plan that is less late; where both are as late the one that emits less, and of equals the usual one."""
    late_s = [late_in_all_s(problem, plan) for plan in (usual, found)]
    if abs(late_s[0] - late_s[1]) > EPSILON_S * len(usual):
        return found if late_s[1] < late_s[0] else usual
    return found if _grams(found) < _grams(usual) * (1 - NOISE) else usual


def late_in_all_s(problem: Problem, plan: Plan) -> float:
    """By how much jobs end later than they should, weighted by GPUs; what has no place by its whole length."""
    pairs = zip(problem.requests, plan, strict=True)
    return math.fsum(_late_s(request, choice) * max(1, request.gpus) for request, choice in pairs)


def _late_s(request: Request, choice: Choice) -> float:
    if choice.chosen is None:
        return request.length_s
    late_s = choice.chosen.end_s - request.must_end_s
    return late_s if late_s > EPSILON_S else 0.0


def _grams(plan: Plan) -> float:
    """What is known of it."""
    costs = (choice.chosen.cost_g for choice in plan if choice.chosen is not None)
    return math.fsum(cost_g for cost_g in costs if not math.isnan(cost_g))
