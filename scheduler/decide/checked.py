"""Checks what policies choose before it is believed; what is unsound gives way to the earliest start.

Policies may come from other packages, so none is trusted with capacity, releases and latest starts.
"""

import math
from dataclasses import replace

from lowtide.policies.asap import Asap
from lowtide.policies.holding import fits, is_done_in_modes, sell
from lowtide.policies.lift import settle
from lowtide.policies.problem import EPSILON_S, Choice, Placement, Problem, Request
from lowtide.policies.timeline import Timeline
from lowtide.policies.worth import unweighed
from lowtide.scheduler.decide.foremost import Foremost

_ASAP = Asap()


def soonest(problem: Problem) -> tuple[Choice, ...]:
    """Everybody as soon as capacity allows, by nothing but grams."""
    return _ASAP.plan(unweighed(problem))


def hold_sound(problem: Problem, request: Request, choice: Choice) -> Choice:
    """Sell what a running job will hold, none of it being sold yet; a plan that cannot be gives way to going on."""
    sound, timeline = choice, problem.timeline
    placed = choice.chosen
    if not _is_plan_for_running(timeline, request, choice):
        (sound,) = soonest(replace(problem, requests=(request,)))
        placed = sound.chosen
    if placed is not None:
        sell(timeline, request, placed)
    return sound


def _is_plan_for_running(timeline: Timeline, request: Request, choice: Choice) -> bool:
    placed, baseline = choice.chosen, choice.baseline
    if placed is None or baseline is None or not (_is_readable(placed, request) and _is_readable(baseline, request)):
        return False
    if placed is baseline:
        return True
    in_time = placed.start_s <= request.latest_start_s + request.switch_s + EPSILON_S
    return in_time and fits(timeline, request, placed)


def sell_sound(problem: Problem, request: Request, choice: Choice, foremost: Foremost | None = None) -> Choice:
    """Sell a choice; one that breaks capacity, release, latest start or foremost work gives way to the earliest start.

    Policies may come from other packages, so none is trusted with these.
    """
    sound, timeline = choice, problem.timeline
    is_sound = _is_sound(timeline, request, choice)
    if not is_sound or not (foremost is None or foremost.allows(request, choice.chosen)):
        (sound,) = soonest(replace(problem, requests=(request,)))
    settle(timeline, request, sound)
    return sound


def _is_sound(timeline: Timeline, request: Request, choice: Choice) -> bool:
    placed, baseline = choice.chosen, choice.baseline
    if placed is None:
        return baseline is None
    if not (_is_readable(placed, request) and (baseline is None or _is_readable(baseline, request))):
        return False
    if request.running_at is not None and placed is baseline:
        return True
    begins = placed.start_s >= request.release_s - EPSILON_S
    in_time = placed.start_s <= request.latest_start_s + request.switch_s + EPSILON_S
    as_early = baseline is not None and placed.start_s <= baseline.start_s + EPSILON_S
    if not (begins and (in_time or as_early)):
        return False
    if request.running_at is not None:
        return baseline is not None and placed.start_s > 0 and _fits_instead(timeline, request, baseline, placed)
    return fits(timeline, request, placed)


def _fits_instead(timeline: Timeline, request: Request, going_on: Placement, placed: Placement) -> bool:
    """Whether a running job finds room elsewhere in time for what going on holds, and offers no more than that."""
    site, held = going_on.site, ((0.0, request.work_s),)
    if going_on.course != (request.running_at, held, ()):
        return False
    timeline.give_back(site, held, *request.need)
    has_room = fits(timeline, request, placed)
    timeline.sell(site, held, *request.need)
    return has_room


def _is_readable(placed: Placement, request: Request) -> bool:
    """Whether this is a placement at a site that the job may use, with spans in time and in modes that it has."""
    try:
        in_time = all(0 <= start_s <= end_s < math.inf for start_s, end_s in placed.spans) and placed.end_s > 0
        in_time = in_time and is_done_in_modes(request, placed)
    except (AttributeError, IndexError, TypeError, ValueError):
        return False
    return in_time and placed.site in request.sites
