"""What bringing a job's data to a site would emit, by the forecasts of both ends."""

from lowtide.policies.problem import Move, Placement, Request
from lowtide.scheduler.decide.market import Market
from lowtide.scheduler.model.plan import JobView

NOTHING = (0.0, 0.0)


def moves(view: JobView, here: Market) -> tuple[Move, ...]:
    """What it takes to have the job's data at each site that lacks some.

    The way is priced at the mean of both ends, each by the mean of its forecast, PUE included: when exactly the data
    travels does not matter much beside where the job runs. An end without a forecast counts like the other one.
    """
    found = []
    for transfer in view.transfers:
        site = here.index.get(transfer.site)
        if site is not None:
            cost_g = sum(part.energy_kwh * _mean(here, site, here.index.get(part.source)) for part in transfer.parts)
            found.append(Move(site, transfer.lasts_s, cost_g))
    return tuple(found)


def brought(request: Request, placed: Placement) -> tuple[float, float]:
    """Seconds and grams of bringing the data to where a placement lies."""
    return next(((m.takes_s, m.cost_g) for m in request.moves if m.site == placed.site), NOTHING)


def _mean(here: Market, *sites: int | None) -> float:
    """The mean price of those sites that have a forecast, in g/kWh."""
    known = [site for site in sites if site is not None and here.prices.priced[site]]
    means = [here.prices.price_over(s, ((0.0, u),)) / u for s in known if (u := here.prices.known_until(s)) > 0]
    return sum(means) / len(means) if means else 0.0
