"""What drains and reservations mean for one job: whether one is in its way, and whether it has to move out."""

from dataclasses import replace

from lowtide.policies.offer import Offer
from lowtide.policies.problem import EPSILON_S, Choice, Problem, Request
from lowtide.scheduler.decide.bookings import Hold
from lowtide.scheduler.decide.market import Market


def in_the_way(request: Request, here: Market) -> tuple[int, Hold] | None:
    """The site, and what is kept free there, without which a job would have room now; None where that is not why."""
    for site in request.sites if here.holds else ():
        for hold in here.holds.get(site, ()):
            if hold.span[0] < request.release_s + request.length_s and _would_fit(request, site, hold, here):
                return site, hold
    return None


def _would_fit(request: Request, site: int, hold: Hold, here: Market) -> bool:
    free_gpus, free_cpus = here.at_once(site)
    if hold.span[0] > here.grid.first_s:
        return free_gpus >= request.gpus and free_cpus >= request.cpus
    kept_gpus = here.whole[site][0] if hold.reservation.gpus is None else hold.reservation.gpus
    kept_cpus = here.whole[site][1] if hold.reservation.cpus is None else hold.reservation.cpus
    return free_gpus + kept_gpus >= request.gpus and free_cpus + kept_cpus >= request.cpus


def displacing(request: Request, here: Market) -> Hold | None:
    """What a running job would run into if it went on."""
    holds = () if request.running_at is None else here.holds.get(request.running_at, ())
    return next((hold for hold in holds if hold.span[0] < request.work_s), None)


def moved_out(problem: Problem, request: Request, choice: Choice, here: Market) -> Choice:
    """The choice for a running job that a policy lets go on into what is kept free: a pause just before, if it can be.

    Only for policies that look at one job: a joint one has made room by itself. A job that finds no other time, or
    would be late, goes on.
    """
    hold = displacing(request, here) if here.holds else None
    if hold is None or choice.chosen is not choice.baseline or hold.span[0] > here.grid.first_s + EPSILON_S:
        return choice
    site, held, timeline = request.sites[0], ((0.0, request.work_s),), problem.timeline
    if timeline.fits(site, held, 0, 0):
        return choice  # enough is free besides
    timeline.give_back(site, held, *request.need)
    after = Offer(problem, timeline, request).earliest_window()
    timeline.sell(site, held, *request.need)
    if after is None or after.start_s > request.latest_start_s + request.switch_s + EPSILON_S:
        return choice
    return replace(choice, chosen=after, best=after, gives_way=True)
