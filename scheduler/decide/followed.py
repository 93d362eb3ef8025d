"""What a kept plan says once its time has come: why a job waited is no reason for its start, nor for a pause."""

from dataclasses import replace

from lowtide.scheduler.decide.wording import percent
from lowtide.scheduler.model.plan import Action, JobDecision
from lowtide.scheduler.model.reason import Reason, ReasonCode

PAUSES = frozenset({ReasonCode.CARBON_WINDOW, ReasonCode.CHEAP_WINDOW, ReasonCode.GAVE_WAY, ReasonCode.OTHER_WIDTH})


def started(decided: JobDecision) -> JobDecision:
    """The decision of a job whose planned start has come."""
    if decided.action is Action.START:
        return decided
    if decided.reason.code is ReasonCode.CARBON_WINDOW:
        return replace(decided, action=Action.START, reason=Reason(ReasonCode.WINDOW_OPENS, _saving(decided)))
    return replace(decided, action=Action.START, reason=Reason(ReasonCode.AS_PLANNED))


def paused(decided: JobDecision, goes_on: str) -> JobDecision:
    """The decision of a running job whose planned pause has come; ``goes_on`` says when it ends."""
    if decided.reason.code in PAUSES:
        return replace(decided, action=Action.SUSPEND)
    facts = {"start": goes_on, **_saving(decided)}
    return replace(decided, action=Action.SUSPEND, reason=Reason(ReasonCode.CARBON_WINDOW, facts))


def resized(decided: JobDecision, held: int, gpus: int, goes_on: str) -> JobDecision:
    """The decision of a running job that was planned to go on with other GPUs than it holds from now on."""
    facts = {"held": held, "gpus": gpus, "start": goes_on, **_saving(decided)}
    return replace(decided, action=Action.SUSPEND, reason=Reason(ReasonCode.OTHER_WIDTH, facts))


def going_on(decided: JobDecision) -> JobDecision:
    """The decision of a running job that was to pause, and goes on."""
    if decided.reason.code not in PAUSES:
        return replace(decided, action=Action.KEEP)
    return replace(decided, action=Action.KEEP, reason=Reason(ReasonCode.KEEP_RUNNING))


def _saving(decided: JobDecision) -> dict[str, object]:
    return {"saving_g": decided.saving_g, "saving_percent": percent(decided.saving_g, decided.baseline_g)}
