"""Plans jobs after those that they wait for, and these early enough for what waits for them.

To a policy a job that waits for others is one with a later release, and what it waits for one that has to end earlier.
Both are worked out here: the release from the planned ends of the jobs before, the latest finish from the deadlines of
the jobs behind, along the longest path. As the ends are planned in the same plan, a plan whose releases turn out wrong
is mended: those that would begin too early, or needlessly late, are asked again, the others keep their placements. So
is one in which a job with a deadline comes out late, as when several have to follow the same one: what it waits for is
then asked to end that much sooner.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from lowtide.policies.problem import EPSILON_S
from lowtide.scheduler.decide.market import LIVE
from lowtide.scheduler.decide.urgency import is_clinical
from lowtide.scheduler.decide.wording import when
from lowtide.scheduler.decide.workflow import Limit, workflow
from lowtide.scheduler.model.job import JobId
from lowtide.scheduler.model.plan import Action, JobDecision, JobView, Plan, Snapshot
from lowtide.scheduler.model.reason import Reason, ReasonCode

MOST_ROUNDS = 8
"""Each mends at least one job of every chain; whatever is left still waits in truth, and the next plan mends it."""

MOST_NAMED = 3
"""So many of the jobs that are waited for are told; more nobody reads."""

MOMENT = timedelta(seconds=EPSILON_S)
UNKNOWN = "not known yet"
NOBODY_LATE = (0.0, 0.0)
OUT_OF_TIME = frozenset({ReasonCode.DEADLINE, ReasonCode.PATIENCE})

PlanOnce = Callable[[Snapshot], Plan]
Ends = dict[JobId, datetime | None]
"""When jobs are expected to have ended; None where that cannot be told."""


def in_order(snapshot: Snapshot, plan_once: PlanOnce, plan_beside: PlanOnce) -> Plan:
    """The plan in which nothing begins before the planned end of what it waits for.

    Args:
        snapshot: its jobs with what they wait for; where none waits, its plan is the one of ``plan_once``.
        plan_once: decides about all jobs, each released at its ``released_at``.
        plan_beside: decides about the asked jobs alone, whatever becomes of them.

    """
    if not any(view.waits_for for view in snapshot.jobs):
        return plan_once(snapshot)
    chain = _Chain(snapshot)
    ends = chain.expected()
    found = _mended(chain, plan_once(chain.released(ends)), ends, plan_beside)
    if found.late_s > NOBODY_LATE and found.rounds and not snapshot.is_partial:
        # beside the others there was too little room; with the releases known, all are planned once more
        again = plan_once(replace(chain.released(found.ends), asked=None))
        other = _mended(chain, again, found.ends, plan_beside)
        found = other if other.late_s < found.late_s else found
    return chain.told(found.plan, found.ends)


class _Mended(NamedTuple):
    """A plan in which what waits goes with the ends that it plans, and those.

    ``late_s`` is of clinical work and of all; ``rounds`` is how often jobs were asked anew.
    """

    plan: Plan
    ends: Ends
    late_s: tuple[float, float]
    rounds: int


def _mended(chain: "_Chain", plan: Plan, ends: Ends, plan_beside: PlanOnce) -> _Mended:
    """Of the plans that follow from one that was made with these ends the least late that holds, else the last."""
    best: _Mended | None = None
    for rounds in range(MOST_ROUNDS + 1):
        used, ends = ends, chain.planned(plan)
        last = _Mended(plan, dict(ends), chain.late_s(plan, ends), rounds)
        asked = chain.misplaced(plan, used, ends)
        if not asked:
            best = last if best is None or last.late_s < best.late_s else best._replace(rounds=rounds)
            asked = chain.pressed(plan, ends)
        if not asked or rounds == MOST_ROUNDS:
            break
        plan = plan_beside(replace(chain.released(ends, plan), asked=asked))
    return last if best is None else best


def bound(view: JobView, end: datetime | None = None) -> Reason:
    """Why a job that depends on others does not begin; ``end`` is when they are expected to have ended."""
    if view.broken_by is not None:
        needed, state = view.broken_by
        facts: dict[str, object] = {"needed": needed, "state": state.value, "job_id": view.job_id}
        return Reason(ReasonCode.DEPENDENCY_NEVER_SATISFIED, facts)
    return Reason(ReasonCode.DEPENDENCY, {"jobs": _named(view), "end": UNKNOWN if end is None else when(end)})


def _named(view: JobView) -> str:
    more = len(view.waits_for) - MOST_NAMED
    return ", ".join(view.waits_for[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


class _Chain:
    """The jobs of a snapshot as policies are to see them."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot, self._flow = snapshot, workflow(snapshot)
        self._views = {view.job_id: view for view in snapshot.jobs}
        self._limits = dict(self._flow.limits)

    def expected(self) -> Ends:
        """Ends by the last plan, but no sooner than can be."""
        ends: Ends = {}
        for job_id in self._flow.order:
            view = self._views[job_id]
            ends[job_id] = self._expected(view, self._release(view, ends))
        return ends

    def _expected(self, view: JobView, release: datetime | None) -> datetime | None:
        begin = self._snapshot.now
        if view.state not in LIVE:
            if view.held or view.broken_by is not None or (view.waits_for and release is None):
                return None
            begin = max(moment for moment in (begin, release, view.not_before) if moment is not None)
        earliest = begin + timedelta(seconds=view.remaining_s)
        chosen = view.decided.chosen if view.decided is not None else None
        promised = view.planned_finish_at if chosen is None else chosen.finish
        return earliest if promised is None else max(earliest, promised)

    def planned(self, plan: Plan) -> Ends:
        """Ends by a plan of this snapshot."""
        decided = {decision.job_id: decision for decision in plan.decisions}
        return {job_id: self._planned(self._views[job_id], decided[job_id]) for job_id in self._flow.order}

    def _planned(self, view: JobView, decision: JobDecision) -> datetime | None:
        if decision.chosen is not None:
            return decision.chosen.finish
        return self._snapshot.now + timedelta(seconds=view.remaining_s) if view.state in LIVE else None

    def _release(self, view: JobView, ends: Ends) -> datetime | None:
        """When all that a job waits for will have ended; None for what waits for nothing, or nobody knows how long."""
        moments = [ends.get(job_id) for job_id in view.waits_for]
        known = [moment for moment in moments if moment is not None]
        return max(known) if known and len(known) == len(moments) else None

    def released(self, ends: Ends, plan: Plan | None = None) -> Snapshot:
        """The snapshot with releases by these ends, and with what a plan has decided."""
        views = [self._bounded(view, ends) for view in self._snapshot.jobs]
        if plan is not None:
            pairs = zip(views, plan.decisions, strict=True)
            views = [replace(view, decided=decision) for view, decision in pairs]
        asked = self._snapshot.asked
        if asked is not None:  # what clinical work waits for may have been planned before that work was there
            asked |= self._flow.clinical.keys()
        return replace(self._snapshot, jobs=tuple(views), asked=asked)

    def _bounded(self, view: JobView, ends: Ends) -> JobView:
        """A job with its release, the time that this and the jobs behind it leave it, and its importance."""
        if view.job_id not in self._flow.importance:
            return view
        release = self._release(view, ends)
        importance = self._flow.importance[view.job_id]
        own = replace(view, released_at=release, latest_finish_at=_latest(view, release), importance=importance)
        return self._flow.hurried(own, self._limits.get(view.job_id))

    def misplaced(self, plan: Plan, used: Ends, ends: Ends) -> frozenset[JobId]:
        """Jobs that a plan has begin before the ends that it plans, or needlessly late as it believed in later ones."""
        slot = timedelta(seconds=self._snapshot.slot_s)
        found = set()
        for view, decision in zip(self._snapshot.jobs, plan.decisions, strict=True):
            if view.waits_for and not view.held and view.broken_by is None:
                before, after = self._release(view, used), self._release(view, ends)
                start = decision.chosen.start if decision.chosen is not None else None
                if _is_misplaced(start, before, after, slot):
                    found.add(view.job_id)
        return frozenset(found)

    def pressed(self, plan: Plan, ends: Ends) -> frozenset[JobId]:
        """Jobs whose deadline a plan misses, and what they wait for: that is limited, and ``ends`` say so."""
        found: set[JobId] = set()
        for view, decision in zip(self._snapshot.jobs, plan.decisions, strict=True):
            release = self._release(view, ends)
            if release is not None and decision.chosen is not None:
                bounded = self._bounded(view, ends)
                late = decision.chosen.finish - bounded.latest_finish_at
                if bounded.has_deadline and late > MOMENT:
                    found |= self._hurried(view, Limit(release - late, view.job_id), ends)
        return frozenset(found)

    def _hurried(self, view: JobView, limit: Limit, ends: Ends) -> set[JobId]:
        """Limit what a job waits for; empty where nothing of it could end any sooner."""
        found: set[JobId] = set()
        for job_id in view.waits_for:
            before, end = self._views[job_id], ends[job_id]
            known = self._limits.get(job_id)
            soonest = self._snapshot.now + timedelta(seconds=before.remaining_s)
            could = end is not None and end > max(limit.finish_at, soonest) + MOMENT
            if could and (known is None or limit.finish_at < known.finish_at):
                self._limits[job_id], ends[job_id] = limit, max(limit.finish_at, soonest)
                found |= {job_id, view.job_id}
        return found

    def late_s(self, plan: Plan, ends: Ends) -> tuple[float, float]:
        """How much later than they have to clinical jobs end by a plan, and all, in seconds over all of them."""
        clinical_s = all_s = 0.0
        for view, decision in zip(self._snapshot.jobs, plan.decisions, strict=True):
            if decision.chosen is not None:
                late = decision.chosen.finish - _latest(view, self._release(view, ends))
                late_s = max(0.0, late.total_seconds())
                all_s += late_s
                clinical_s += late_s if is_clinical(view, self._snapshot.queues.get(view.queue)) else 0.0
        return clinical_s, all_s

    def told(self, plan: Plan, ends: Ends) -> Plan:
        """The plan with reasons that name the other jobs; nothing that waits for another starts."""
        pairs = zip(self._snapshot.jobs, plan.decisions, strict=True)
        return replace(plan, decisions=tuple(self._told(view, decision, ends) for view, decision in pairs))

    def _told(self, view: JobView, decision: JobDecision, ends: Ends) -> JobDecision:
        if view.waits_for and decision.chosen is not None:
            reason = bound(view, self._release(view, ends))
            if decision.action is Action.WAIT and decision.reason == reason:
                return decision
            told = (f"{_named(view)} had ended",)
            return replace(decision, action=Action.WAIT, reason=reason, would_start_now_if=told)
        later = self._hurried_by(view, decision.reason.code)
        return decision if later is None else replace(decision, reason=Reason(ReasonCode.WAITED_FOR, {"job_id": later}))

    def _hurried_by(self, view: JobView, code: ReasonCode) -> JobId | None:
        """The job that waits for one that may not be delayed, if that is why."""
        if code is ReasonCode.CLINICAL and not is_clinical(view, self._snapshot.queues.get(view.queue)):
            return self._flow.clinical.get(view.job_id)
        limit = self._limits.get(view.job_id)
        is_limit = limit is not None and code in OUT_OF_TIME and limit.finish_at < view.latest_finish_at
        return limit.job_id if limit is not None and is_limit else None


def released(view: JobView, plan: Plan) -> JobView:
    """A job as a plan has it: released when what it waits for ends, as far as the plan tells."""
    ends = {one.job_id: one.chosen.finish for one in plan.decisions if one.chosen is not None}
    moments = [ends.get(job_id) for job_id in view.waits_for]
    known = [moment for moment in moments if moment is not None]
    if not known or len(known) < len(moments):
        return view
    return replace(view, released_at=max(known), latest_finish_at=_latest(view, max(known)))


def _latest(view: JobView, release: datetime | None) -> datetime:
    """By when a job itself has to end; until its release its patience has not begun."""
    if release is None or view.has_deadline:
        return view.latest_finish_at
    begin = max(view.submitted_at, view.not_before or view.submitted_at)
    return max(view.latest_finish_at, view.latest_finish_at + (release - begin))


def _is_misplaced(start: datetime | None, before: datetime | None, after: datetime | None, slot: timedelta) -> bool:
    """Whether a start does not go with the release ``after``, having been planned with the release ``before``."""
    if after is None:
        return start is not None
    if start is None:
        return before is None
    if start < after - MOMENT:
        return True
    return before is not None and after < before - slot and start <= before + slot
