"""Which open jobs wait for which, and what follows: who comes first, when each must end, how much waits for it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from lowtide.scheduler.decide.urgency import is_clinical
from lowtide.scheduler.model.job import JobId, Urgency
from lowtide.scheduler.model.plan import JobView, Snapshot


@dataclass(frozen=True, slots=True)
class Limit:
    """By when a job has to end so that ``job_id``, which waits for it, can be in time."""

    finish_at: datetime
    job_id: JobId


@dataclass(frozen=True, slots=True)
class Workflow:
    """The jobs of a snapshot that wait for others or are waited for.

    Attributes:
        order: what is waited for comes before what waits.
        limits: of those behind which there is a deadline.
        clinical: of those behind which there is clinical work, the job that this is, or that waits for it.
        importance: in [0, 1]: run time on the longest path of jobs that wait for it, relative to the workflow's most.

    """

    order: tuple[JobId, ...]
    limits: dict[JobId, Limit]
    clinical: dict[JobId, JobId]
    importance: dict[JobId, float]

    def hurried(self, view: JobView, limit: Limit | None) -> JobView:
        """A job as the jobs behind it have it: as soon as they need it, and as clinical as they are."""
        if limit is not None and limit.finish_at < view.latest_finish_at:
            view = replace(view, latest_finish_at=limit.finish_at, has_deadline=True)
        return replace(view, urgency=Urgency.CLINICAL) if view.job_id in self.clinical else view


def workflow(snapshot: Snapshot) -> Workflow:
    """The workflow of a snapshot; pure. Jobs that wait in a circle, which no store accepts, are in no order."""
    views = {view.job_id: view for view in snapshot.jobs}
    behind: dict[JobId, list[JobId]] = {}
    for view in snapshot.jobs:
        for before in view.waits_for:
            if before in views:
                behind.setdefault(before, []).append(view.job_id)
    order = _ordered(views, behind)
    limits: dict[JobId, Limit] = {}
    clinical: dict[JobId, JobId] = {}
    tail_s: dict[JobId, float] = {}
    for job_id in reversed(order):
        waiting = [views[i] for i in behind.get(job_id, ())]
        tail_s[job_id] = max((view.remaining_s + tail_s.get(view.job_id, 0.0) for view in waiting), default=0.0)
        found = [one for view in waiting if (one := _limit_before(view, limits, snapshot)) is not None]
        if found:
            limits[job_id] = min(found, key=lambda one: (one.finish_at, one.job_id))
        if (first := _clinical_among(waiting, clinical, snapshot)) is not None:
            clinical[job_id] = first
    return Workflow(order, limits, clinical, _importance(order, behind, tail_s))


def _ordered(views: dict[JobId, JobView], behind: dict[JobId, list[JobId]]) -> tuple[JobId, ...]:
    before = dict.fromkeys(behind, 0)
    for waiting in behind.values():
        for job_id in waiting:
            before[job_id] = before.get(job_id, 0) + 1
    ready = [job_id for job_id in views if before.get(job_id) == 0]
    order = []
    while ready:
        job_id = ready.pop()
        order.append(job_id)
        for later in behind.get(job_id, ()):
            before[later] -= 1
            if before[later] == 0:
                ready.append(later)
    return tuple(order)


def _clinical_among(waiting: Iterable[JobView], behind: dict[JobId, JobId], snapshot: Snapshot) -> JobId | None:
    """The first that is clinical, or that clinical work waits for; one that nobody lets run hurries nobody."""
    free = (view for view in waiting if not view.held and view.broken_by is None)
    found = (v.job_id for v in free if v.job_id in behind or is_clinical(v, snapshot.queues.get(v.queue)))
    return next(found, None)


def _limit_before(view: JobView, limits: dict[JobId, Limit], snapshot: Snapshot) -> Limit | None:
    """By when all that a job waits for has to have ended; None where no deadline lies behind it.

    The room for its own run is the one that it is planned with. A job that nobody lets run needs nothing in time.
    """
    if view.held or view.broken_by is not None:
        return None
    own = view.latest_finish_at if view.has_deadline else None
    later = limits.get(view.job_id)
    if own is None and later is None:
        return None
    must = min(moment for moment in (own, later.finish_at if later else None) if moment is not None)
    queue = snapshot.queues.get(view.queue)
    margin, switch_s = (queue.deadline_margin, queue.switch_cost_s) if queue is not None else (0.0, 0.0)
    return Limit(must - timedelta(seconds=view.remaining_s * (1 + margin) + switch_s), view.job_id)


def _importance(
    order: tuple[JobId, ...], behind: dict[JobId, list[JobId]], tail_s: dict[JobId, float]
) -> dict[JobId, float]:
    """Each job's share of the longest tail among all jobs that are joined with it, in whatever direction."""
    joined: dict[JobId, list[JobId]] = {job_id: list(behind.get(job_id, ())) for job_id in order}
    for job_id, waiting in behind.items():
        for later in waiting:
            joined.setdefault(later, []).append(job_id)
    found: dict[JobId, float] = {}
    for first in order:
        if first not in found:
            members = _reached(first, joined)
            most_s = max(tail_s.get(job_id, 0.0) for job_id in members)
            found |= {job_id: tail_s.get(job_id, 0.0) / most_s if most_s > 0 else 0.0 for job_id in members}
    return found


def _reached(first: JobId, joined: dict[JobId, list[JobId]]) -> set[JobId]:
    members, ahead = {first}, [first]
    while ahead:
        for job_id in joined.get(ahead.pop(), ()):
            if job_id not in members:
                members.add(job_id)
                ahead.append(job_id)
    return members
