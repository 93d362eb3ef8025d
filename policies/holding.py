"""What a placement holds, draws and gets done, span by span, when it may run in several modes."""

import math
from itertools import pairwise
from operator import index

from lowtide.policies.problem import EPSILON_S, Placement, Prices, Request
from lowtide.policies.timeline import Need, Span, Timeline
from lowtide.scheduler.model.mode import Mode

DONE_S = 1e-3
"""Work short of its end by less than a millisecond is done: sums over many spans are rounded."""

SAME = 1e-6
"""Powers that differ by less, relatively, are the same."""


def ways(request: Request, placed: Placement) -> tuple[Mode, ...]:
    """The mode of each span."""
    if not placed.modes:
        return (request.declared,) * len(placed.spans)
    return tuple(request.modes[i] for i in placed.modes)


def is_declared(mode: Mode, request: Request) -> bool:
    """Whether a mode is the way that the job declares, and runs in while it runs."""
    is_as_wide = (mode.gpus, mode.cpus, mode.speed) == (request.gpus, request.cpus, 1.0)
    return is_as_wide and math.isclose(mode.power_w, request.power_w, rel_tol=SAME)


def needs(request: Request, placed: Placement) -> tuple[Need, ...]:
    """What each span holds."""
    return tuple((way.gpus, way.cpus, way.power_w) for way in ways(request, placed))


def sell(timeline: Timeline, request: Request, placed: Placement) -> None:
    """Take what a placement holds."""
    if placed.modes:
        timeline.sell_each(placed.site, placed.spans, needs(request, placed))
    else:
        timeline.sell(placed.site, placed.spans, *request.need)


def give_back(timeline: Timeline, request: Request, placed: Placement) -> None:
    """Undo ``sell`` with the same arguments."""
    if placed.modes:
        timeline.give_back_each(placed.site, placed.spans, needs(request, placed))
    else:
        timeline.give_back(placed.site, placed.spans, *request.need)


def fits(timeline: Timeline, request: Request, placed: Placement) -> bool:
    """Whether there is room for all that a placement holds."""
    if placed.modes:
        return timeline.fits_each(placed.site, placed.spans, needs(request, placed))
    return timeline.fits(placed.site, placed.spans, *request.need)


def placed_in(
    prices: Prices, request: Request, site: int, spans: tuple[Span, ...], modes: tuple[int, ...]
) -> Placement:
    """A placement in these modes with its forecast cost."""
    watts = (request.modes[i].power_w for i in modes)
    cost_g = sum(prices.grams(site, (span,), power_w) for span, power_w in zip(spans, watts, strict=True))
    return Placement(site, spans, cost_g, modes)


def is_done_in_modes(request: Request, placed: Placement) -> bool:
    """Whether a placement in modes names modes of the request, one span after the other, and does the work in time.

    One without modes is a run as declared, which is checked as such.

    Raises:
        TypeError: modes that are not indexes.

    """
    if not placed.modes:
        return True
    known = all(0 <= index(i) < len(request.modes) for i in placed.modes) and len(placed.modes) == len(placed.spans)
    if not known or any(after[0] < before[1] - EPSILON_S for before, after in pairwise(placed.spans)):
        return False
    done_s = worked_s(request, placed.spans, ways(request, placed))
    return done_s >= request.work_s - DONE_S and placed.end_s <= request.must_end_s + EPSILON_S


def worked_s(request: Request, spans: tuple[Span, ...], modes: tuple[Mode, ...]) -> float:
    """The work that spans get done, in seconds at speed 1.

    At its beginning the first span loses ``resume_s`` of run time, unless the job simply runs on; one after a pause or
    another width loses ``switch_s``; another power limit is set while the work goes on, and loses none.
    """
    runs_on = request.running_at is not None and spans[0][0] <= EPSILON_S and is_declared(modes[0], request)
    lost_s = [0.0 if runs_on else request.resume_s]
    for (before, after), (old, new) in zip(pairwise(spans), pairwise(modes), strict=True):
        goes_on = abs(after[0] - before[1]) <= EPSILON_S and (old.gpus, old.cpus) == (new.gpus, new.cpus)
        lost_s.append(0.0 if goes_on else request.switch_s)
    return sum(
        mode.speed * max(0.0, end_s - start_s - lost)
        for (start_s, end_s), mode, lost in zip(spans, modes, lost_s, strict=True)
    )
