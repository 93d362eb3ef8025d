"""Sorts jobs into those whose answer needs no planning and those that ask for capacity, with their order."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from lowtide.policies.guard import quantile
from lowtide.policies.problem import EPSILON_S, Request
from lowtide.scheduler.decide.market import LIVE, Market
from lowtide.scheduler.decide.precedence import bound
from lowtide.scheduler.decide.transfer import moves
from lowtide.scheduler.decide.urgency import is_clinical
from lowtide.scheduler.decide.wording import when
from lowtide.scheduler.model.lifecycle import JobState
from lowtide.scheduler.model.plan import Action, JobDecision, JobView, Snapshot
from lowtide.scheduler.model.project import Overdraft
from lowtide.scheduler.model.reason import Reason, ReasonCode
from lowtide.scheduler.model.site import Queue

IDLE_REVIEW = timedelta(hours=1)
"""When to look again at a job that only a person, a site or the configuration can set free."""

LEAST_WORK_S = 1.0
"""A job that has not ended still needs some time, whatever its estimate says."""

FOREMOST = frozenset({ReasonCode.CLINICAL, ReasonCode.RUN_NOW})

SOMEONE, NO_REASON = "a user", "no reason was given"
"""Stand-ins where the view does not carry who acted and why; the event log does."""


PolicyName = tuple[str, tuple[tuple[str, float], ...]]
"""A policy's name and parameters: what tells one run of jobs from the next."""


@dataclass(frozen=True, slots=True)
class Asker:
    """A job that asks for capacity.

    ``rush`` is why it may not be delayed for carbon, if so; ``over`` the spent budget that it stands before.
    """

    view: JobView
    queue: Queue
    request: Request
    rush: ReasonCode | None
    latest_start_at: datetime
    over: Overdraft | None = None

    @property
    def order(self) -> tuple[object, ...]:
        """Who is served first: clinical, ordered to run now, least slack, priority, age, id.

        Running jobs come last: they hold their capacity anyway and may only swap it for what is left over. A joint
        policy sees to its running jobs itself.
        """
        return self.order_by(self.request.latest_start_s)

    def order_by(self, slack_s: float) -> tuple[object, ...]:
        """The same for a job with so much slack; what is due comes before all that is not."""
        return (
            self.request.running_at is not None,
            self.rush is not ReasonCode.CLINICAL,
            self.rush is not ReasonCode.RUN_NOW,
            self.rush is None,
            slack_s,
            -self.queue.priority,
            self.view.submitted_at,
            self.view.job_id,
        )


def triage(
    snapshot: Snapshot, market: Market, views: list[JobView], joint: frozenset[PolicyName] = frozenset()
) -> tuple[dict[str, JobDecision], list[Asker]]:
    """Decisions that need no plan by job id, and the askers in the order in which they are served.

    ``joint`` are the policies that are also asked about jobs that may only be interrupted later.
    """
    decided: dict[str, JobDecision] = {}
    askers: list[Asker] = []
    for view in views:
        queue = snapshot.queues.get(view.queue) or Queue(view.queue, policy="asap")
        is_joint = (queue.policy, queue.policy_params) in joint
        known = (
            _live(view, queue, snapshot, market, is_joint=is_joint)
            if view.state in LIVE
            else _idle(view, snapshot, market)
        )
        if known is None:
            askers.append(asker_of(view, queue, snapshot, market))
        else:
            decided[view.job_id] = known
    askers.sort(key=lambda asker: asker.order)
    return decided, askers


def _plain(
    view: JobView,
    snapshot: Snapshot,
    action: Action,
    code: ReasonCode,
    review: datetime | None = None,
    **facts: object,
) -> JobDecision:
    review_at = snapshot.now + IDLE_REVIEW if review is None else review
    return JobDecision(view.job_id, action, Reason(code, facts), max(review_at, snapshot.now + timedelta(seconds=1)))


def _live(view: JobView, queue: Queue, snapshot: Snapshot, market: Market, *, is_joint: bool) -> JobDecision | None:
    """The decision for a job with a live attempt, or None when its suspension is to be weighed."""
    soon = market.grid.at(market.grid.first_s)
    if view.site is not None and view.site not in market.index:
        return _plain(view, snapshot, Action.KEEP, ReasonCode.SITE_REMOVED, soon, site=view.site)
    if view.state is not JobState.RUNNING:
        state = view.state.value
        return _plain(view, snapshot, Action.KEEP, ReasonCode.IN_TRANSITION, soon, state=state)
    if is_clinical(view, queue):
        return _plain(view, snapshot, Action.KEEP, ReasonCode.CLINICAL, soon)
    if not _may_suspend(view, queue, snapshot, market):
        return _plain(view, snapshot, Action.KEEP, ReasonCode.PROCESS_STARTED, soon, site=view.site or "its site")
    free_at = _free_at(view, queue, snapshot)
    if free_at > snapshot.now and not is_joint:
        return _plain(view, snapshot, Action.KEEP, ReasonCode.MIN_RUN, min(free_at, soon), start=when(free_at))
    return None


def _free_at(view: JobView, queue: Queue, snapshot: Snapshot) -> datetime:
    """When a running job has run long enough to be interrupted."""
    return (view.running_since or snapshot.now) + timedelta(seconds=queue.min_run_s)


def _may_suspend(view: JobView, queue: Queue, snapshot: Snapshot, market: Market) -> bool:
    """Whether a running job could be suspended at all and still come back in time (INV-10).

    In time even when the stop loses all that no checkpoint has proved: what saves on request may fail to.
    """
    able = view.suspendable and view.suspensions < queue.max_suspensions and view.running_since is not None
    if not able or view.forced or view.held or view.site not in market.index:
        return False
    reachable = snapshot.sites[market.index[str(view.site)]].reachable
    return reachable and _can_wait(_latest_start_s(view, queue, snapshot, lost_s=view.at_stake_s), snapshot.slot_s)


def _idle(view: JobView, snapshot: Snapshot, market: Market) -> JobDecision | None:
    """The decision for a waiting job that no capacity could help, or None."""
    if view.held:
        code = ReasonCode.SUSPENDED_BY_USER if view.state is JobState.SUSPENDED else ReasonCode.HELD
        return _plain(view, snapshot, Action.WAIT, code, actor=SOMEONE, job_id=view.job_id)
    if view.broken_by is not None or (view.waits_for and view.released_at is None):
        reason = bound(view)
        return _plain(view, snapshot, Action.WAIT, reason.code, None, **reason.facts)
    if _sites(view, snapshot, market, None):
        return None
    if not view.allowed_sites:
        allowed = "its allowed jurisdictions"
        return _plain(view, snapshot, Action.WAIT, ReasonCode.RESIDENCY, allowed=allowed)
    able = [v for v in snapshot.sites if v.site.name in view.allowed_sites and v.site.can_ever_run(view.resources)]
    if not able:
        need = f"{view.resources.gpus} GPU(s) and {view.resources.cpus} CPU(s)"
        if view.resources.gpu_model is not None:
            need += f" of model {view.resources.gpu_model}"
        return _plain(view, snapshot, Action.WAIT, ReasonCode.NO_SITE, need=need, offer=_largest(view, snapshot))
    names = ", ".join(v.site.name for v in able)
    soon = snapshot.now + timedelta(seconds=min(snapshot.slot_s, IDLE_REVIEW.total_seconds()))
    return _plain(view, snapshot, Action.WAIT, ReasonCode.SITE_UNREACHABLE, soon, site=names)


def _largest(view: JobView, snapshot: Snapshot) -> str:
    """What the largest allowed site has, for the sentence."""
    allowed = [v.site for v in snapshot.sites if v.site.name in view.allowed_sites]
    if not allowed:
        return "nothing that the job may use"
    site = max(allowed, key=lambda s: (s.gpus, s.cpus))
    model = f" of model {site.gpu_model}" if site.gpu_model else ""
    return f"{site.gpus} GPU(s) and {site.cpus} CPU(s){model}"


def _can_wait(latest_start_s: float, slot_s: float) -> bool:
    """Whether a start in the next slot is in time, be it to the second: plans begin work as late as that."""
    return latest_start_s >= slot_s - EPSILON_S


def _latest_start_s(view: JobView, queue: Queue, snapshot: Snapshot, lost_s: float = 0.0) -> float:
    """Latest finish less the remaining run time with its margin and one switch, in seconds after now."""
    left_s = (view.latest_finish_at - snapshot.now).total_seconds()
    return left_s - (view.slower_s + lost_s) * (1 + queue.deadline_margin) - queue.switch_cost_s


def asker_of(view: JobView, queue: Queue, snapshot: Snapshot, market: Market) -> Asker:
    """A job as it asks for capacity, whether or not it needs to."""
    latest_start_s = _latest_start_s(view, queue, snapshot)
    is_running = view.state is JobState.RUNNING
    rush = None if is_running else _rush(view, queue, latest_start_s, snapshot.slot_s)
    request = _request(view, queue, snapshot, market, latest_start_s, rush)
    return Asker(view, queue, request, rush, snapshot.now + timedelta(seconds=latest_start_s))


def rush_of(view: JobView, queue: Queue, snapshot: Snapshot) -> ReasonCode | None:
    """Why a waiting job may not be delayed for carbon; None when it may."""
    return _rush(view, queue, _latest_start_s(view, queue, snapshot), snapshot.slot_s)


def _rush(view: JobView, queue: Queue, latest_start_s: float, slot_s: float) -> ReasonCode | None:
    """Why the job may not be delayed for carbon; None when it may."""
    if is_clinical(view, queue):
        return ReasonCode.CLINICAL
    if view.forced:
        return ReasonCode.RUN_NOW
    if not _can_wait(latest_start_s, slot_s):
        return ReasonCode.DEADLINE if view.has_deadline else ReasonCode.PATIENCE
    return None


def _request(
    view: JobView, queue: Queue, snapshot: Snapshot, market: Market, latest_start_s: float, rush: ReasonCode | None
) -> Request:
    now, need = snapshot.now, view.resources
    running_at = market.index[str(view.site)] if view.state is JobState.RUNNING else None
    resumes = running_at is not None or view.state is JobState.SUSPENDED
    left = max(0, queue.max_suspensions - view.suspensions) if view.suspendable else 0
    pinned_s = None if view.pinned_start_at is None else (view.pinned_start_at - now).total_seconds()
    return Request(
        job_id=view.job_id,
        gpus=need.gpus,
        cpus=need.cpus,
        sites=_sites(view, snapshot, market, running_at),
        work_s=max(view.remaining_s, LEAST_WORK_S),
        resume_s=queue.switch_cost_s if resumes else 0.0,
        switch_s=queue.switch_cost_s,
        power_w=view.power_w,
        release_s=_release_s(view, now),
        latest_start_s=latest_start_s,
        must_end_s=latest_start_s + view.slower_s + queue.switch_cost_s,
        suspensions_left=left,
        min_run_s=queue.min_run_s,
        min_savings=queue.min_savings,
        z=quantile(queue.confidence),
        running_at=running_at,
        pinned_s=pinned_s,
        hold_s=0.0 if running_at is None else max(0.0, (_free_at(view, queue, snapshot) - now).total_seconds()),
        is_due=rush is not None,
        is_foremost=rush in FOREMOST,
        modes=() if is_clinical(view, queue) else view.modes,
        delay_g_per_h=queue.delay_g_per_h,
        money_g_per_unit=queue.money_g_per_unit,
        importance=view.importance,
        moves=moves(view, market) if view.transfers and running_at is None else (),
    )


def _sites(view: JobView, snapshot: Snapshot, market: Market, running_at: int | None) -> tuple[int, ...]:
    """The sites that may run it, by index, in the job's order; a running job stays where it is."""
    if running_at is not None:
        return (running_at,)
    key = view.allowed_sites, view.resources
    if key not in market.able:
        known = (market.index[name] for name in view.allowed_sites if name in market.index)
        market.able[key] = tuple(
            i for i in known if snapshot.sites[i].reachable and snapshot.sites[i].site.can_ever_run(view.resources)
        )
    return market.able[key]


def _release_s(view: JobView, now: datetime) -> float:
    """When it may begin: run-now overrides a begin time, but neither a failure's backoff nor what it waits for."""
    moment = None if view.forced and not view.retrying else view.not_before
    if view.released_at is not None:
        moment = view.released_at if moment is None else max(moment, view.released_at)
    return 0.0 if moment is None else max(0.0, (moment - now).total_seconds())
