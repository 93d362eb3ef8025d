"""Jobs whose data has to be brought to some of their sites: longer and dearer there than where it lies.

A request falls into parts, one for the sites where bringing costs the same, and a rule is asked about each as if it was
all: what takes longer is more work, what it emits is added to every placement, and so is what its time is worth where
delay is worth something. Of their answers one is taken. Against the start that ends first, going elsewhere has to pass
the guard like any other shift; what is due has no choice but that.
"""

from collections.abc import Callable
from dataclasses import replace

from lowtide.policies.guard import bar_g, doubt_between_g
from lowtide.policies.problem import EPSILON_S, Choice, Placement, Prices, Request
from lowtide.scheduler.model.units import S_PER_H

ChooseOne = Callable[[Request], Choice]


def among(request: Request, prices: Prices, choose_one: ChooseOne, *, is_soonest: bool = False) -> Choice:
    """The choice for a request; with ``is_soonest`` the one that ends first, else what emits least, guarded."""
    if not request.moves:
        return choose_one(request)
    found = [_dearer(choose_one(part), cost_g + _delay_g(request, part)) for part, cost_g in parts(request)]
    placed = [(choice.baseline, choice.chosen, choice) for choice in found]
    settled = [(base, chosen, choice) for base, chosen, choice in placed if base is not None and chosen is not None]
    if not settled:
        return Choice(None, None)
    if is_soonest or request.is_due:
        return min(settled, key=lambda one: one[1].end_s)[2]
    first = min(settled, key=lambda one: (one[0].end_s, one[0].start_s))
    for _, chosen, choice in sorted(settled, key=lambda one: one[1].cost_g):
        if choice is first[2]:
            return choice
        if _is_comparable(prices, chosen, first[0]) and _may_go(choice, first[0]):
            saving_g = first[0].cost_g - chosen.cost_g
            doubt_g = doubt_between_g(prices, request, chosen, first[0])
            bar = bar_g(request, first[0].cost_g, doubt_g)
            if saving_g > bar:
                return replace(choice, baseline=first[0], best=chosen, saving_g=saving_g, doubt_g=doubt_g, bar_g=bar)
    return first[2]


def parts(request: Request) -> list[tuple[Request, float]]:
    """The request for each group of sites that cost the same to reach, with the grams of reaching them."""
    known = {move.site: (move.takes_s, move.cost_g) for move in request.moves}
    groups: dict[tuple[float, float], list[int]] = {}
    for site in request.sites:
        groups.setdefault(known.get(site, (0.0, 0.0)), []).append(site)
    return [(_part(request, tuple(sites), takes_s), cost_g) for (takes_s, cost_g), sites in groups.items()]


def _part(request: Request, sites: tuple[int, ...], takes_s: float) -> Request:
    """The same work at some of the sites, after so much time for its data; it has to end as early as before."""
    latest_start_s, work_s = request.latest_start_s - takes_s, request.work_s + takes_s
    return replace(request, sites=sites, moves=(), work_s=work_s, latest_start_s=latest_start_s)


def _delay_g(request: Request, part: Request) -> float:
    """What the time for the data is worth: the prices of delay know of the start alone."""
    return request.delay_g_per_h * (part.work_s - request.work_s) / S_PER_H


def _dearer(choice: Choice, cost_g: float) -> Choice:
    """A choice with so many grams more on each of its placements; what was one placement stays one."""
    if not cost_g:
        return choice
    known: dict[int, Placement] = {}

    def more(placed: Placement) -> Placement:
        return known.setdefault(id(placed), replace(placed, cost_g=placed.cost_g + cost_g))

    def more_or_none(placed: Placement | None) -> Placement | None:
        return None if placed is None else more(placed)

    return replace(
        choice,
        baseline=more_or_none(choice.baseline),
        chosen=more_or_none(choice.chosen),
        best=more_or_none(choice.best),
        others=tuple(more(placed) for placed in choice.others),
        latest=more_or_none(choice.latest),
    )


def _is_comparable(prices: Prices, placed: Placement, other: Placement) -> bool:
    """Whether grams at both sites compare, and their forecasts may justify a shift."""
    sites = (placed.site, other.site)
    known = all(prices.may_shift[site] and prices.priced[site] for site in sites)
    return known and prices.groups[placed.site] == prices.groups[other.site]


def _may_go(choice: Choice, first: Placement) -> bool:
    """What a rule shifts may go elsewhere; what it does not, only where that ends no later."""
    if choice.best is not None or choice.chosen is None:
        return True
    return choice.chosen.end_s <= first.end_s + EPSILON_S
