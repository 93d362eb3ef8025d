"""What an hour of delay is worth: a price that rises with time, so that rules which minimise grams weigh time too.

A job whose every hour of later completion must save w grams finds prices that rise by w per kWh of its run and hour:

    price'(t) = price(t) + w / energy · (t - run / 2)

Summed over an uninterrupted run at its power that is its grams plus w for every hour by which it begins later than now,
exactly; over several stretches, plus w for every hour by which the middle of its work lies later. Being a sum over
slots it enters each rule as carbon does, the guard included. Choices are then told in grams again.

Source: the weight of completion time in linear ordering problems; the form as a rising price is ours.
"""

import math
from dataclasses import replace
from functools import lru_cache

from lowtide.policies.holding import placed_in
from lowtide.policies.problem import Choice, Placement, Prices, Problem, Request
from lowtide.scheduler.model.units import S_PER_H, kwh_per_s


def prices_of(problem: Problem, request: Request) -> Prices:
    """The prices that rise as the request's delay is worth."""
    energy_kwh = kwh_per_s(request.power_w) * request.length_s
    if energy_kwh <= 0:
        return problem.prices
    return _rising(problem.prices, request.delay_g_per_h / energy_kwh, request.length_s / 2)


@lru_cache(maxsize=64)
def _rising(prices: Prices, rise_g_per_kwh_h: float, middle_s: float) -> Prices:
    """Jobs of the same length and power share them, and one job asks for them several times."""
    grid, count = prices.grid, prices.grid.count
    middles_s = (grid.edges_s[:-1] + grid.edges_s[1:]) / 2
    risen = prices.price_g_per_kwh[:, :count] + rise_g_per_kwh_h * (middles_s - middle_s) / S_PER_H
    error = prices.error_g_per_kwh[:, :count]
    return Prices(grid, risen, error, prices.known_until_s, prices.may_shift, prices.groups, prices.differences)


def undelayed(problem: Problem) -> Problem:
    """The same problem in which delay costs nobody anything."""
    if not any(request.delay_g_per_h for request in problem.requests):
        return problem
    return replace(problem, requests=tuple(replace(request, delay_g_per_h=0.0) for request in problem.requests))


def in_grams(problem: Problem, choices: tuple[Choice, ...]) -> tuple[Choice, ...]:
    """Choices made by rising prices, told in grams; ``bar_g`` then holds what the delay had to save as well."""
    if not any(request.delay_g_per_h for request in problem.requests):
        return choices
    pairs = zip(problem.requests, choices, strict=True)
    return tuple(_in_grams(problem.prices, request, choice) for request, choice in pairs)


def _in_grams(prices: Prices, request: Request, choice: Choice) -> Choice:
    if not request.delay_g_per_h or choice.baseline is None:
        return choice
    known: dict[int, Placement] = {}  # what was one placement stays one

    def told(placed: Placement) -> Placement:
        if id(placed) not in known:
            known[id(placed)] = _priced(prices, request, placed)
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


def _priced(prices: Prices, request: Request, placed: Placement) -> Placement:
    if placed.modes:
        own_g = placed_in(prices, request, placed.site, placed.spans, placed.modes).cost_g
    else:
        own_g = prices.grams(placed.site, placed.spans, request.power_w)
    return replace(placed, cost_g=own_g + request.brought_g(placed.site))
