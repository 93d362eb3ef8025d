"""What an hour of delay and a unit of money are worth in grams: prices by which rules that minimise grams weigh both.

A job whose every hour of later completion must save w grams, and to which a unit of money is worth m grams, finds

    price'(t) = price(t) + m · tariff(t) + w / energy · (t - run / 2)

with the PUE in price and tariff. The last part, summed over an uninterrupted run at its power, is w for every hour by
which it begins later than now, exactly; over several stretches, for every hour by which the middle of its work lies
later. Being sums over slots both enter each rule as carbon does, the guard included: its doubt stays the forecast's, as
a tariff has none. Choices are then told in grams again.

Where money counts, sites compare only if their tariffs are in one currency: next to a site of which none is known,
each other would look dear.

Source: the weighted sum of objectives; for delay, the weight of completion time in linear ordering problems. The form
as a price by slot is ours.
"""

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np

from lowtide.policies.electricity import Electricity
from lowtide.policies.holding import placed_in
from lowtide.policies.problem import Choice, FloatArray, Placement, Prices, Problem, Request
from lowtide.scheduler.model.units import S_PER_H, kwh_per_s


def prices_of(problem: Problem, request: Request) -> Prices:
    """The prices by which a request weighs what delay and money are worth to it."""
    prices, electricity = problem.prices, problem.electricity
    if request.money_g_per_unit and electricity is not None:
        prices = _with_money(prices, electricity, request.money_g_per_unit)
    if not request.delay_g_per_h:
        return prices
    energy_kwh = kwh_per_s(request.power_w) * request.length_s
    if energy_kwh <= 0:
        return prices
    return _rising(prices, request.delay_g_per_h / energy_kwh, request.length_s / 2)


@lru_cache(maxsize=16)
def _with_money(prices: Prices, electricity: Electricity, worth_g_per_unit: float) -> Prices:
    money = np.nan_to_num(electricity.per_kwh)  # what is not known compares with nothing
    groups = tuple(zip(prices.groups, electricity.currencies, strict=True))
    return _more(prices, worth_g_per_unit * money, groups)


@lru_cache(maxsize=64)
def _rising(prices: Prices, rise_g_per_kwh_h: float, middle_s: float) -> Prices:
    """Jobs of the same length and power share them, and one job asks for them several times."""
    edges_s = prices.grid.edges_s
    middles_s = (edges_s[:-1] + edges_s[1:]) / 2
    return _more(prices, rise_g_per_kwh_h * (middles_s - middle_s) / S_PER_H, prices.groups)


def _more(prices: Prices, more_g_per_kwh: FloatArray, groups: tuple[object, ...]) -> Prices:
    grid, count = prices.grid, prices.grid.count
    price = prices.price_g_per_kwh[:, :count] + more_g_per_kwh
    error = prices.error_g_per_kwh[:, :count]
    return Prices(grid, price, error, prices.known_until_s, prices.may_shift, groups, prices.differences)


def is_weighed(request: Request) -> bool:
    """Whether anything besides grams is worth something to a request."""
    return bool(request.delay_g_per_h or request.money_g_per_unit)


def unweighed(problem: Problem) -> Problem:
    """The same problem in which nothing but grams counts."""
    if not any(map(is_weighed, problem.requests)):
        return problem
    plain = (replace(request, delay_g_per_h=0.0, money_g_per_unit=0.0) for request in problem.requests)
    return replace(problem, requests=tuple(plain))


def at_one_worth(problem: Problem) -> Problem:
    """The same for a policy that goes by the problem's own prices: these hold money if it is worth the same to all.

    Delay is worth something else for each job, and counts for nothing here.
    """
    worths = {request.money_g_per_unit for request in problem.requests}
    if problem.electricity is None or len(worths) != 1 or worths == {0.0}:
        return unweighed(problem)
    prices = _with_money(problem.prices, problem.electricity, worths.pop())
    plain = tuple(replace(request, delay_g_per_h=0.0) for request in problem.requests)
    return replace(problem, requests=plain, prices=prices, electricity=None)


def in_grams(prices: Prices, requests: tuple[Request, ...], choices: tuple[Choice, ...]) -> tuple[Choice, ...]:
    """Choices told in grams of these prices; ``bar_g`` then holds what delay and money had to save as well.

    Args:
        prices: nothing but grams.
        requests: as a policy was asked about them.
        choices: by what was worth something to them.

    """
    if not any(map(is_weighed, requests)):
        return choices
    pairs = zip(requests, choices, strict=True)
    return tuple(_in_grams(prices, request, choice) for request, choice in pairs)


def _in_grams(prices: Prices, request: Request, choice: Choice) -> Choice:
    if not is_weighed(request) or choice.baseline is None:
        return choice
    known: dict[int, Placement] = {}  # what was one placement stays one

    def told(placed: Placement) -> Placement:
        if id(placed) not in known:
            known[id(placed)] = as_grams(prices, request, placed)
        return known[id(placed)]

    def told_if(placed: Placement | None) -> Placement | None:
        return None if placed is None else told(placed)

    baseline, chosen, best = told(choice.baseline), told_if(choice.chosen), told_if(choice.best)
    shown = best if chosen is baseline else chosen
    saving_g = 0.0 if shown is None else baseline.cost_g - shown.cost_g
    if math.isnan(saving_g):
        saving_g = choice.saving_g
    return replace(
        choice,
        baseline=baseline,
        chosen=chosen,
        best=best,
        others=tuple(told(placed) for placed in choice.others),
        latest=told_if(choice.latest),
        saving_g=saving_g,
        bar_g=choice.bar_g + saving_g - choice.saving_g,
    )


def as_grams(prices: Prices, request: Request, placed: Placement) -> Placement:
    """A placement told in grams of these prices, with those of bringing the job's data."""
    if placed.modes:
        own_g = placed_in(prices, request, placed.site, placed.spans, placed.modes).cost_g
    else:
        own_g = prices.grams(placed.site, placed.spans, request.power_w)
    return replace(placed, cost_g=own_g + request.brought_g(placed.site))
