"""What binds one job of a plan: which greener placements there are, what forbids each, and what would change the plan.

Worked out when somebody asks, from the snapshot and the plan of one cycle: each bound is taken away in turn, and what
the job could then have is set against what the plan gives it.
"""

import math

from lowtide.policies.lift import margin_g
from lowtide.policies.offer import Offer
from lowtide.policies.problem import EPSILON_S, Placement
from lowtide.scheduler.decide.case import Case, barred, case_of, least
from lowtide.scheduler.decide.rows import read
from lowtide.scheduler.decide.unbinding import suspending, unbinding
from lowtide.scheduler.decide.urgency import is_clinical
from lowtide.scheduler.decide.wording import mass, when
from lowtide.scheduler.model.bind import Bind, BindCode, Insight
from lowtide.scheduler.model.job import JobId
from lowtide.scheduler.model.lifecycle import JobState
from lowtide.scheduler.model.plan import Plan, Snapshot
from lowtide.scheduler.model.reason import ReasonCode

DAY_S = 24 * 3600.0
UNLIMITED = 1000
"""More suspensions than any job has slots worth pausing in."""
WAITS_FOR_ROOM = frozenset({ReasonCode.CAPACITY, ReasonCode.MAKING_ROOM})


def insight(snapshot: Snapshot, plan: Plan, job_id: JobId) -> Insight:
    """What binds a job of a plan, and what would change its decision.

    Args:
        snapshot: what the plan was made of.
        plan: the plan.
        job_id: one of its jobs; of any other nothing is known.

    """
    case = case_of(job_id, snapshot, plan)
    if case is None or case.asker.view.state in {JobState.STARTING, JobState.SUSPENDING}:
        return Insight()
    if case.request.running_at is not None:
        found = () if is_clinical(case.asker.view, case.asker.queue) else _running(case)
        return Insight(_in_order(found), (), suspending(case))
    return Insight(_in_order(_waiting(case)), unbinding(case), ())


def _in_order(binds: tuple[Bind | None, ...]) -> tuple[Bind, ...]:
    """The greatest loss first; those of unknown loss last, as they come."""
    return tuple(sorted((bind for bind in binds if bind is not None), key=lambda bind: -(bind.saving_g or 0.0)))


def _waiting(case: Case) -> tuple[Bind | None, ...]:
    """What binds a job that waits, or starts now."""
    view = case.asker.view
    if not case.request.sites or view.held:
        return (_residency(case),)
    if view.broken_by is not None or (view.waits_for and view.released_at is None):
        return ()
    if case.asker.rush is not None:
        return _room_now(case), _residency(case)
    offer = case.offer(case.left)
    return (
        _room(case) or _room_now(case),
        _patience(case),
        _guard(case, offer),
        _residency(case),
        _suspensions(case),
        _min_run(case),
        _forecast(case, offer),
    )


def _room(case: Case) -> Bind | None:
    """A greener placement that others have taken."""
    placed = least(case.offer(case.empty))
    saving_g = case.saving_g(placed)
    missing = case.missing(placed) if placed is not None and saving_g is not None else ""
    if placed is None or saving_g is None or not missing:
        return None
    facts = {**case.span_of(placed), "missing": missing, "gain": f"; it would save {mass(saving_g)}"}
    return Bind(BindCode.CAPACITY, facts, saving_g)


def _room_now(case: Case) -> Bind | None:
    """The start that others leave no room for."""
    soonest = case.offer(case.empty).baseline
    missing = case.missing(soonest) if soonest is not None else ""
    if soonest is None or not missing or case.decision.reason.code not in WAITS_FOR_ROOM:
        return None
    return Bind(BindCode.CAPACITY, {**case.span_of(soonest), "missing": missing, "gain": ""})


def _patience(case: Case) -> Bind | None:
    """A greener placement that begins, or ends, too late."""
    request, view = case.request, case.asker.view
    later = {"latest_start_s": request.latest_start_s + DAY_S, "must_end_s": request.must_end_s + DAY_S}
    placed = least(case.offer(case.left, **later))
    if placed is None or placed.end_s <= request.must_end_s + EPSILON_S:
        return None
    code = BindCode.DEADLINE if view.has_deadline else BindCode.PATIENCE
    return _bound(case, code, placed, latest=when(case.asker.latest_start_at))


def _guard(case: Case, offer: Offer) -> Bind | None:
    """A greener placement that promises too little, or that the policy has other reasons to leave."""
    placed, baseline = least(offer), offer.baseline
    if placed is None or baseline is None or case.saving_g(placed) is None:
        return None
    is_share = margin_g(offer, placed, baseline)[2] <= case.request.min_savings * baseline.cost_g
    return _guard_of(case, offer, placed, "its queue" if is_share else "the doubt of the forecast")


def _guard_of(case: Case, offer: Offer, placed: Placement, rule: str) -> Bind | None:
    """The guard where it refuses a placement instead of the baseline, else the policy."""
    assert offer.baseline is not None  # noqa: S101 - both that ask have looked
    saving_g, _, bar = margin_g(offer, placed, offer.baseline)
    if saving_g > bar:
        return _bound(case, BindCode.POLICY, placed, policy=case.asker.queue.policy)
    besides_g = case.grams_of(offer.baseline) - case.grams_of(placed) - saving_g  # what delay and money have to save
    return _bound(case, BindCode.GUARD, placed, bar=mass(bar + besides_g), rule=rule)


def _residency(case: Case) -> Bind | None:
    """A greener site that the job may not use."""
    sites, elsewhere = case.snapshot.sites, barred(case)
    if not elsewhere:
        return None
    offer = case.offer(case.left, sites=elsewhere)
    placed = offer.baseline if case.asker.rush is not None else least(offer) or offer.baseline
    if placed is None:
        return None
    site = sites[placed.site].site
    lies = site.jurisdiction or f"{read(site.name)}, which names none"
    return _bound(case, BindCode.RESIDENCY, placed, jurisdiction=lies)


def _suspensions(case: Case) -> Bind | None:
    """A greener placement with more pauses than the job may have."""
    view, queue = case.asker.view, case.asker.queue
    placed = least(case.offer(case.left, suspensions_left=UNLIMITED))
    left = case.request.suspensions_left
    limit = "it may not be suspended" if not view.suspendable else f"{left} of {queue.max_suspensions} are left"
    if placed is None or len(placed.spans) <= left + 1:
        return None
    return _bound(case, BindCode.SUSPENSIONS, placed, limit=limit)


def _min_run(case: Case) -> Bind | None:
    """A greener placement in stretches shorter than the job's least."""
    request = case.request
    if not request.suspensions_left or not request.min_run_s:
        return None
    placed = least(case.offer(case.left, min_run_s=0.0))
    if placed is None or min(end - start for start, end in placed.spans) >= request.min_run_s - EPSILON_S:
        return None
    return _bound(case, BindCode.MIN_RUN, placed, least=f"for {request.min_run_s / 60:.0f} min")


def _forecast(case: Case, offer: Offer) -> Bind | None:
    """Figures that end before the job has to begin, or that delay nobody."""
    prices, request = case.here.prices, case.request
    baseline = offer.baseline
    if baseline is not None and not prices.may_shift[baseline.site]:
        return Bind(BindCode.GRID_DATA, {"rung": case.here.rungs[baseline.site].replace("_", " ")})
    until_s = max(prices.known_until(site) for site in request.sites)
    if until_s >= min(request.latest_start_s + request.length_s, request.must_end_s):
        return None
    end, latest = when(case.here.grid.at(until_s)), when(case.asker.latest_start_at)
    return Bind(BindCode.FORECAST_END, {"end": end, "latest": latest})


def _running(case: Case) -> tuple[Bind | None, ...]:
    """What keeps a running job from a pause that would save."""
    offer = case.offer(case.left, suspensions_left=UNLIMITED)
    placed = least(offer)
    if placed is None or case.saving_g(placed) is None:
        return ()
    binds = _spent(case, placed) or _at_risk(case, placed), _not_yet(case, placed)
    return binds if any(binds) else (_guard_of(case, offer, placed, "a suspension"),)


def _spent(case: Case, placed: Placement) -> Bind | None:
    view, most = case.asker.view, case.asker.queue.max_suspensions
    if view.suspendable and view.suspensions < most:
        return None
    limit = f"its {most} suspensions are spent" if view.suspendable else "it may not be suspended"
    return _bound(case, BindCode.SUSPENSIONS, placed, limit=limit)


def _at_risk(case: Case, placed: Placement) -> Bind | None:
    """A stop may lose all that no checkpoint has proved, and then it would be late."""
    view = case.asker.view
    safe_s = case.request.latest_start_s - view.at_stake_s * (1 + case.asker.queue.deadline_margin)
    if safe_s >= case.snapshot.slot_s:
        return None
    code = BindCode.DEADLINE if view.has_deadline else BindCode.PATIENCE
    return _bound(case, code, placed, latest=when(case.here.grid.at(max(safe_s, 0.0))))


def _not_yet(case: Case, placed: Placement) -> Bind | None:
    if case.request.hold_s <= 0:
        return None
    return _bound(case, BindCode.MIN_RUN, placed, least=f"until {when(case.here.grid.at(case.request.hold_s))}")


def _bound(case: Case, code: BindCode, placed: Placement, **facts: object) -> Bind | None:
    """A bind on a placement; None where that would save next to nothing."""
    saving_g = case.saving_g(placed)
    if saving_g is None or math.isnan(saving_g):
        return None
    return Bind(code, {**case.span_of(placed), "saving": mass(saving_g), **facts}, saving_g)
