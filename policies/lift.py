"""Lifts a rule for one job to a queue: capacity is sold job by job, in the order of the requests.

A rule says what one job would do with the capacity that is left. Here its wish is put to the guard,
earlier promises are kept unless moving brings a real gain, and what is chosen is sold before the next job
is asked, so that capacity always holds (INV-07).
"""

from collections.abc import Callable

from lowtide.policies.guard import NOISE, bar_g, doubt_between_g
from lowtide.policies.holding import sell
from lowtide.policies.moves import among
from lowtide.policies.offer import Offer
from lowtide.policies.problem import Choice, Placement, Problem, Request
from lowtide.policies.timeline import Timeline
from lowtide.policies.worth import prices_of

Rule = Callable[[Offer], Placement | None]
"""What one job wants; None when it wants nothing but the baseline."""

SUSPEND_BAR = 1.5
"""How much higher than the guard's bar the gain of interrupting must be: stopping costs work already warm,
going on costs nothing, so the two bars must lie apart (INV-13)."""


MOST_OTHERS = 3
"""How many other sites' cheapest windows are told; all are considered."""


def sell_in_order(problem: Problem, rule: Rule) -> tuple[Choice, ...]:
    """Ask the rule for each request in turn and sell what is chosen."""
    timeline = problem.timeline.copy()
    choices = []
    for request in problem.requests:
        choice = choose(problem, timeline, request, rule)
        settle(timeline, request, choice)
        choices.append(choice)
    return tuple(choices)


def settle(timeline: Timeline, request: Request, choice: Choice) -> None:
    """Sell what was chosen; a running job that is to be suspended keeps its capacity in the current slot."""
    placed, going_on = choice.chosen, choice.baseline
    if placed is None:
        return
    if request.running_at is not None and going_on is not None:
        if placed is going_on:
            return
        timeline.give_back(request.running_at, going_on.spans, *request.need)
        timeline.sell(request.running_at, ((0.0, 0.0),), *request.need)
    sell(timeline, request, placed)


def choose(problem: Problem, timeline: Timeline, request: Request, rule: Rule) -> Choice:
    """The guarded choice for one request, given what is left; sells nothing."""
    if request.moves:
        return among(request, prices_of(problem, request), lambda part: choose(problem, timeline, part, rule))
    return chosen_of(_offer(problem, timeline, request), rule)


def chosen_of(offer: Offer, rule: Rule) -> Choice:
    """The guarded choice of one offer."""
    baseline = offer.baseline
    if baseline is None or not offer.is_open:
        return Choice(baseline, baseline)
    best = rule(offer)
    return Choice(baseline, baseline) if best is None else chosen_as(offer, best, rule)


def chosen_as(offer: Offer, best: Placement, rule: Rule) -> Choice:
    """The guarded choice of one offer of which a rule wants ``best``."""
    request = offer.request
    chosen = _guarded(offer, best, rule)
    if request.pinned_s is not None and request.running_at is None:
        chosen = _steady(offer, chosen, rule)
    return _told(offer, best, chosen)


def _offer(problem: Problem, timeline: Timeline, request: Request) -> Offer:
    """What the request can have; a running job may also use again what it holds itself."""
    if request.running_at is None:
        return Offer(problem, timeline, request)
    held = ((0.0, request.work_s),)
    timeline.give_back(request.running_at, held, *request.need)
    offer = Offer(problem, timeline, request)
    timeline.sell(request.running_at, held, *request.need)
    return offer


def margin_g(offer: Offer, placed: Placement, against: Placement) -> tuple[float, float, float]:
    """Saving, doubt and bar of one placement against another, in grams."""
    request = offer.request
    error_g = doubt_between_g(offer.problem.prices, request, placed, against)
    bar = bar_g(request, against.cost_g, error_g)
    if request.running_at is not None:
        bar *= SUSPEND_BAR
    return against.cost_g - placed.cost_g, error_g, bar


def _guarded(offer: Offer, best: Placement, rule: Rule) -> Placement:
    """The rule's wish when it passes the guard, else the best window that does, else the baseline."""
    baseline = offer.baseline
    if baseline is None or best.course == baseline.course:
        return baseline or best
    saving, _, bar = margin_g(offer, best, baseline)
    if saving > bar:
        return best
    if saving <= offer.request.min_savings * baseline.cost_g or offer.request.running_at is not None:
        return baseline
    second = rule(offer.guarded())
    if second is None:
        return baseline
    saving, _, bar = margin_g(offer, second, baseline)
    return second if saving > bar else baseline


def _steady(offer: Offer, chosen: Placement, rule: Rule) -> Placement:
    """Keep the start that was promised while it saves at all, unless another brings a real gain (INV-13)."""
    promised = _promise(offer, rule)
    baseline = offer.baseline
    if promised is None or baseline is None or promised.start_s == chosen.start_s:
        return chosen
    gain, _, bar = margin_g(offer, chosen, promised)
    if gain > bar:
        return chosen
    if promised.start_s <= baseline.start_s:
        return baseline
    saves = baseline.cost_g - promised.cost_g > NOISE * baseline.cost_g
    return promised if saves else chosen


def _promise(offer: Offer, rule: Rule) -> Placement | None:
    """The rule's placement with the promised start; None when it can no longer be kept."""
    pinned_s, baseline = offer.request.pinned_s, offer.baseline
    if pinned_s is None or baseline is None:
        return None
    if pinned_s <= baseline.start_s:
        return baseline
    slot = offer.problem.grid.slot_at(pinned_s)
    if not offer.first_column <= slot < offer.problem.grid.count:
        return None
    return rule(offer.pinned(slot))


def _told(offer: Offer, best: Placement, chosen: Placement) -> Choice:
    """The choice with the figures that explain it."""
    baseline = offer.baseline
    if baseline is None:
        return Choice(None, None)
    shown = chosen if chosen is not baseline else best
    saving, error_g, bar = margin_g(offer, shown, baseline)
    if offer.problem.is_brief:
        return Choice(baseline, chosen, best, (), None, saving, error_g, bar)
    others = tuple(offer.cheapest_elsewhere(chosen.site, MOST_OTHERS))
    return Choice(baseline, chosen, best, others, offer.latest(), saving, error_g, bar)
