"""A policy set that decides beside the active one: what it would plan for the same jobs, and the grams of both.

Nothing of it is carried out, so the jobs go the way of the active set. A job's two plans are therefore set side by side
once, when both first plan it: from then on the snapshot shows what the active set has made of it.
"""

import math
from dataclasses import dataclass, replace
from datetime import datetime

from lowtide.scheduler.decide.asking import FindPolicy
from lowtide.scheduler.decide.decide import decide
from lowtide.scheduler.decide.registry import policy_for
from lowtide.scheduler.model.job import JobId
from lowtide.scheduler.model.lifecycle import JobState
from lowtide.scheduler.model.plan import Action, Candidate, JobDecision, JobView, Plan, Snapshot
from lowtide.scheduler.model.site import Queue


@dataclass(frozen=True, slots=True)
class Comparison:
    """One job as both sets plan it: grams by the same forecast, and when it would begin (aware UTC)."""

    job_id: JobId
    active_g: float
    shadow_g: float
    active_start_at: datetime
    shadow_start_at: datetime


@dataclass(frozen=True, slots=True)
class Shade:
    """What a shadow says of one snapshot.

    ``would_start`` of ``waiting`` jobs it would start now; ``failed`` names its policies that gave nothing to go by,
    for whose jobs there is no comparison.
    """

    comparisons: tuple[Comparison, ...]
    would_start: int
    waiting: int
    failed: tuple[str, ...]


def shade(snapshot: Snapshot, active: Plan, queues: dict[str, Queue], find_policy: FindPolicy = policy_for) -> Shade:
    """Decide about a snapshot by other queues, and compare with the plan that is carried out.

    Args:
        snapshot: what the active plan was made of.
        active: that plan.
        queues: the queues of the shadow by name; one that is not among them decides as it does.
        find_policy: name and parameters to policy; the installed ones unless told otherwise.

    """
    other = {**snapshot.queues, **queues}
    free = tuple(replace(view, pinned_start_at=None) for view in snapshot.jobs)  # pins are the active set's
    plan = decide(replace(snapshot, jobs=free, queues=other, asked=None, is_brief=True), find_policy)
    failed = {failure.policy for failure in plan.failures}
    planned = {decision.job_id: decision for decision in plan.decisions}
    waiting = [view for view in snapshot.jobs if view.state is JobState.QUEUED]
    sound = [view for view in waiting if view.queue not in other or other[view.queue].policy not in failed]
    known = {decision.job_id: decision for decision in active.decisions}
    pairs = (_compared(view, known.get(view.job_id), planned[view.job_id]) for view in sound)
    starts = sum(planned[view.job_id].action is Action.START for view in waiting)
    return Shade(tuple(pair for pair in pairs if pair is not None), starts, len(waiting), tuple(sorted(failed)))


def _compared(view: JobView, active: JobDecision | None, shadow: JobDecision) -> Comparison | None:
    """Both plans of a job; None where one has no placement, or grams that nobody can tell."""
    ours, other = _priced(active), _priced(shadow)
    if ours is None or other is None:
        return None
    return Comparison(view.job_id, ours.emissions_g, other.emissions_g, ours.start, other.start)


def _priced(decision: JobDecision | None) -> Candidate | None:
    chosen = decision.chosen if decision is not None else None
    return chosen if chosen is not None and math.isfinite(chosen.emissions_g) else None
