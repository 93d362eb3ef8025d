"""The most urgent part of a snapshot that is too large for one cycle: a number of jobs, as the core has no clock.

In every part are the jobs that live, those that may not be delayed and those whose promised start has come. Who has
never been planned goes next, then who was planned longest ago, each time the least slack first: so repeated parts plan
everybody. The others keep what the plan before said of them, unless something has happened to them since.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from lowtide.scheduler.decide.keep import MOMENT
from lowtide.scheduler.decide.market import LIVE
from lowtide.scheduler.decide.triage import Asker, rush_of
from lowtide.scheduler.decide.workflow import workflow
from lowtide.scheduler.model.job import JobId
from lowtide.scheduler.model.plan import Action, JobDecision, JobView, Snapshot
from lowtide.scheduler.model.reason import Reason, ReasonCode
from lowtide.scheduler.model.site import Queue

OTHERS = 10
"""However many cannot wait, a tenth of what there is time for goes to the others, or their turn would never come."""

NEVER = -1
"""The turn of a job that was never planned."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the plan before was told of a job and said of it, and the number of the plan that last looked at it."""

    view: JobView
    decision: JobDecision
    turn: int


def part(snapshot: Snapshot, known: Mapping[JobId, Known], most: int) -> Snapshot:
    """The same snapshot with the question narrowed to its most urgent jobs.

    Args:
        snapshot: the whole queue.
        known: what is known of its jobs from the plan before.
        most: how many jobs are asked about, unless more than nine tenths of that cannot wait.

    """
    views = _hurried(snapshot)
    first = {view.job_id for view in views if _is_pressing(view, known.get(view.job_id), snapshot)}
    rest = [view for view in views if view.job_id not in first]
    rest.sort(key=lambda view: (_turn(known.get(view.job_id)), _latest_start(view), view.job_id))
    asked = frozenset(first.union(view.job_id for view in rest[: max(1, most // OTHERS, most - len(first))]))
    reachable = {one.site.name for one in snapshot.sites if one.reachable}
    jobs = tuple(
        replace(
            view, decided=None if view.job_id in asked else _kept(view, known.get(view.job_id), snapshot, reachable)
        )
        for view in snapshot.jobs
    )
    return replace(snapshot, jobs=jobs, asked=asked, is_partial=True)


def _hurried(snapshot: Snapshot) -> Iterable[JobView]:
    """The jobs, each as urgent as what waits for it."""
    if not any(view.waits_for for view in snapshot.jobs):
        return snapshot.jobs
    flow = workflow(snapshot)
    return [flow.hurried(view, flow.limits.get(view.job_id)) for view in snapshot.jobs]


def postponed(snapshot: Snapshot, decisions: Collection[str]) -> dict[str, JobDecision]:
    """The decisions for jobs that are not in the part that is planned, and have no earlier one that holds."""
    if snapshot.asked is None or not snapshot.is_partial:
        return {}
    review = snapshot.now + timedelta(seconds=snapshot.slot_s)
    reason = Reason(ReasonCode.NOT_YET_PLANNED)
    left = (view for view in snapshot.jobs if view.job_id not in snapshot.asked and view.job_id not in decisions)
    return {view.job_id: JobDecision(view.job_id, _standing(view), reason, review) for view in left}


def making_way(snapshot: Snapshot, askers: Iterable[Asker], decisions: Mapping[str, JobDecision]) -> Snapshot | None:
    """The same without the kept placements that keep a due job from its start; None where none does.

    Who gives way is looked at by the next plan in a part, else at once; then it is for what nobody goes before alone.
    """
    if snapshot.asked is None:
        return None
    first = (one for one in askers if one.request.is_foremost or (snapshot.is_partial and one.rush is not None))
    hindered = [one for one in first if is_hindered(one, decisions[one.view.job_id])]
    if not hindered:
        return None
    until = snapshot.now + timedelta(seconds=max(one.request.release_s + one.request.length_s for one in hindered))
    jobs = tuple(replace(view, decided=None) if _lies_before(view, until) else view for view in snapshot.jobs)
    return replace(snapshot, jobs=jobs) if jobs != snapshot.jobs else None


def is_hindered(asker: Asker, decision: JobDecision) -> bool:
    """Whether a job that may not be delayed begins later than it might."""
    soonest = asker.latest_start_at + timedelta(seconds=asker.request.release_s - asker.request.latest_start_s)
    return decision.chosen is None or decision.chosen.start > soonest + MOMENT


def _lies_before(view: JobView, until: datetime) -> bool:
    chosen = view.decided.chosen if view.decided is not None else None
    return chosen is not None and view.state not in LIVE and chosen.start < until


def _standing(view: JobView) -> Action:
    return Action.KEEP if view.state in LIVE else Action.WAIT


def _turn(known: Known | None) -> int:
    return NEVER if known is None else known.turn


def _latest_start(view: JobView) -> float:
    """For the order only: when it has to begin at the latest, in seconds of the epoch."""
    return view.latest_finish_at.timestamp() - view.remaining_s


def _is_pressing(view: JobView, known: Known | None, snapshot: Snapshot) -> bool:
    if view.state in LIVE:
        return True
    queue = snapshot.queues.get(view.queue) or Queue(view.queue, policy="asap")
    if not view.held and rush_of(view, queue, snapshot) is not None:
        return True
    chosen = known.decision.chosen if known is not None else None
    return chosen is not None and chosen.start <= snapshot.now


def _kept(view: JobView, known: Known | None, snapshot: Snapshot, reachable: Collection[str]) -> JobDecision | None:
    """What was decided about a job that waits as it did; it is looked at again within a slot (INV-04)."""
    if known is None or known.decision.reason.code is ReasonCode.NOT_YET_PLANNED or _gist(view) != _gist(known.view):
        return None
    decision, chosen = known.decision, known.decision.chosen
    if chosen is not None and chosen.site not in reachable:
        return None
    if decision.next_review_at > snapshot.now:
        return decision
    review = snapshot.now + timedelta(seconds=snapshot.slot_s)
    return replace(decision, next_review_at=review if chosen is None else min(review, chosen.start))


def _gist(view: JobView) -> JobView:
    """All but what plans themselves leave in a view."""
    return replace(view, decided=None, pinned_start_at=None)
