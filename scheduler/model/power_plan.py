"""The power limits of one attempt over time: from the stretches of its plan to what its runner is told."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from lowtide.scheduler.model.plan import Segment

PowerPlan = tuple[tuple[datetime, float], ...]
"""From when on which limit holds, as a share of the one found; full power before. Empty for full power throughout."""

TOUCHES = timedelta(seconds=1)


def power_plan(segments: Sequence[Segment]) -> PowerPlan:
    """The limits of the stretches that an attempt begun with the first of them runs through; full power after them.

    An attempt ends with a pause or another width. What runs longer than was thought must not be slow for ever.
    """
    run = [segments[0]]
    for before, after in pairwise(segments):
        if after.start - before.end > TOUCHES or after.gpus != before.gpus or after.site != before.site:
            break
        run.append(after)
    steps = [*((one.start, one.power_fraction) for one in run), (run[-1].end, 1.0)]
    return tuple(step for i, step in enumerate(steps) if step[1] != (steps[i - 1][1] if i else 1.0))


def spans(plan: PowerPlan, begin: datetime, end: datetime) -> Iterator[tuple[timedelta, float]]:
    """How long of [begin, end) is run at which limit, in order."""
    edges = [(begin, 1.0), *plan, (end, 1.0)]
    for (at, fraction), (until, _) in pairwise(edges):
        lasts = min(until, end) - max(at, begin)
        if lasts > timedelta(0):
            yield lasts, fraction


def to_json(plan: PowerPlan) -> list[list[object]] | None:
    """As it is stored; None for full power throughout."""
    return [[at.isoformat(), fraction] for at, fraction in plan] or None


def from_json(plain: Sequence[Sequence[object]] | None) -> PowerPlan:
    """What ``to_json`` wrote down."""
    return tuple((datetime.fromisoformat(str(at)), float(str(fraction))) for at, fraction in plain or ())
