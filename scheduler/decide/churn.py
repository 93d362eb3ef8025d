"""How much of a plan flaps: promised starts that a new plan moves though nothing has happened to the job (INV-13)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from lowtide.scheduler.model.plan import Action, JobDecision, Plan
from lowtide.scheduler.model.reason import ReasonCode


@dataclass(frozen=True, slots=True)
class Churn:
    """Of so many promises that both plans speak of, how many were moved."""

    promises: int = 0
    moved: int = 0

    @property
    def share(self) -> float:
        """In [0, 1]; 0 where there was no promise."""
        return self.moved / self.promises if self.promises else 0.0


def churn(before: Mapping[str, JobDecision], after: Plan, slot_s: float) -> Churn:
    """Compare two plans.

    Args:
        before: the decisions of the plan before, by job id.
        after: the plan that follows it.
        slot_s: length of a slot in seconds: a start that moves by less has not moved.

    """
    found = [has_moved(before.get(one.job_id), one, after.made_at, slot_s) for one in after.decisions]
    return Churn(sum(one is not None for one in found), sum(one is True for one in found))


def has_moved(before: JobDecision | None, after: JobDecision, now: datetime, slot_s: float) -> bool | None:
    """Whether a promise was moved: another site, or a start that is more than a slot away from it.

    None where there was none, or the job's start was ordered. A promise whose time has passed is one for now: who still
    makes room for it has not moved it.
    """
    if before is after:  # kept as it was, which is what most are
        return False if before.action is Action.WAIT and before.chosen is not None else None
    if before is None or before.action is not Action.WAIT or after.action not in {Action.WAIT, Action.START}:
        return None
    old, new = before.chosen, after.chosen
    if old is None or new is None or after.reason.code is ReasonCode.RUN_NOW:
        return None
    return old.site != new.site or abs(new.start - max(old.start, now)) > timedelta(seconds=slot_s)
