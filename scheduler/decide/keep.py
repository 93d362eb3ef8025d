"""Keeps what was decided about jobs that nothing has happened to, so that one more job costs one more decision."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from lowtide.policies.problem import EPSILON_S
from lowtide.policies.timeline import Need, Span
from lowtide.scheduler.decide.followed import going_on, paused, resized, started
from lowtide.scheduler.decide.market import Market
from lowtide.scheduler.decide.wording import when
from lowtide.scheduler.model.lifecycle import JobState
from lowtide.scheduler.model.plan import Action, JobDecision, JobView, Segment, Snapshot
from lowtide.scheduler.model.reason import Reason, ReasonCode

MOMENT = timedelta(seconds=EPSILON_S)
WAITING = frozenset({JobState.QUEUED, JobState.SUSPENDED})


def kept(snapshot: Snapshot, here: Market) -> dict[str, JobDecision]:
    """Decisions by job id that still hold, their placements sold; jobs that are not in it have to be asked about."""
    if snapshot.asked is None:
        return {}
    found: dict[str, JobDecision] = {}
    for view in sorted(snapshot.jobs, key=lambda view: view.state in WAITING):  # running jobs may make room
        if view.job_id not in snapshot.asked and view.decided is not None:
            still = _still(view, view.decided, snapshot, here)
            if still is not None:
                found[view.job_id] = still
    return found


def _still(view: JobView, decided: JobDecision, snapshot: Snapshot, here: Market) -> JobDecision | None:
    chosen = decided.chosen
    if chosen is None:
        return decided if decided.next_review_at > snapshot.now else None
    coming = chosen.after(snapshot.now)
    if not coming or chosen.site not in here.index:
        return None
    if view.state in WAITING:
        if coming[0].start < snapshot.now - MOMENT:
            return None  # its start was missed, so its end would be
        spans, needs = ahead(coming, snapshot.now), needs_ahead(view, coming)
        return _still_waiting(decided, spans, needs, here.index[chosen.site], here)
    if view.state is JobState.RUNNING and view.site == chosen.site:
        return _still_running(view, decided, ahead(coming, snapshot.now), needs_ahead(view, coming), here)
    return None


def making_room(gpus: int, cpus: int) -> Reason:
    """Why a job that should start now waits for others to stop."""
    return Reason(ReasonCode.MAKING_ROOM, {"gpus": gpus, "cpus": cpus})


def ahead(coming: Sequence[Segment], now: datetime) -> tuple[Span, ...]:
    """The stretches that lie ahead, in seconds after now."""
    return tuple([(max(0.0, (s.start - now).total_seconds()), (s.end - now).total_seconds()) for s in coming])


def needs_ahead(view: JobView, coming: Sequence[Segment]) -> tuple[Need, ...]:
    """What each stretch ahead holds; CPUs as a mode of that width has them."""
    if not view.modes:
        cpus, power_w = view.resources.cpus, view.power_w
        return tuple([(s.gpus, cpus, power_w) for s in coming])
    return tuple((s.gpus, *_drawn(view, s)) for s in coming)


def _drawn(view: JobView, segment: Segment) -> tuple[int, float]:
    """CPUs and watts as a mode of that width and power limit has them."""
    alike = [mode for mode in view.modes if mode.gpus == segment.gpus]
    cpus = max((mode.cpus for mode in alike), default=view.resources.cpus)
    limited = (mode.power_w for mode in alike if mode.power_fraction == segment.power_fraction)
    return cpus, max(limited, default=view.power_w)


def _still_waiting(
    decided: JobDecision, spans: tuple[Span, ...], needs: tuple[Need, ...], index: int, here: Market
) -> JobDecision | None:
    if not here.timeline.sell_where_free(index, spans, needs):
        return None
    if spans[0][0] <= EPSILON_S:
        soon = here.grid.at(here.grid.first_s)
        if here.takes_now(index, *needs[0]):
            return replace(started(decided), next_review_at=soon)
        return replace(decided, action=Action.WAIT, reason=making_room(needs[0][0], needs[0][1]), next_review_at=soon)
    return decided if decided.action is Action.WAIT else replace(decided, action=Action.WAIT)


def _still_running(
    view: JobView, decided: JobDecision, spans: tuple[Span, ...], needs: tuple[Need, ...], here: Market
) -> JobDecision | None:
    """Going on, pausing, or stopping for another width, as planned; what it holds is narrowed to what it will use."""
    if not _is_narrowed(view, spans, needs, here):
        return None
    need, pauses = view.resources, spans[0][0] > EPSILON_S
    is_other_width = needs[0][:2] != (need.gpus, need.cpus)
    action = Action.SUSPEND if pauses or is_other_width else Action.KEEP
    if decided.action is action and decided.next_review_at > here.grid.now:
        return decided
    review, goes_on = here.grid.at(min(spans[0][1], here.grid.first_s)), when(here.grid.at(spans[0][0]))
    if is_other_width:
        now = resized(decided, need.gpus, needs[0][0], goes_on)
    else:
        now = paused(decided, goes_on) if pauses else going_on(decided)
    return replace(now, next_review_at=max(review, here.grid.now + timedelta(seconds=1)))


def _is_narrowed(view: JobView, spans: tuple[Span, ...], needs: tuple[Need, ...], here: Market) -> bool:
    """Sell what a running job will use in place of what it holds; False, and nothing sold, where that is not free."""
    index, need = here.index[str(view.site)], (view.resources.gpus, view.resources.cpus, view.power_w)
    held = ((0.0, view.remaining_s),)
    until = here.grid.slots_until
    goes_on = len(spans) == 1 and spans[0][0] <= EPSILON_S and until(spans[0][1]) == until(view.remaining_s)
    if goes_on and needs[0] == need:
        return here.timeline.fits(index, held, 0, 0)
    here.timeline.give_back(index, held, *need)
    is_free = here.timeline.sell_where_free(index, spans, needs)
    if not is_free:
        here.timeline.sell(index, held, *need)
    return is_free
