"""Keeps a cycle's planning within its time: from what earlier plans took follows how many jobs one may look at."""

import structlog

from lowtide.scheduler.decide.part import NEVER, Known, part
from lowtide.scheduler.model.job import JobId
from lowtide.scheduler.model.plan import Plan, Snapshot
from lowtide.scheduler.model.reason import ReasonCode
from lowtide.scheduler.report.shape import Json

log = structlog.get_logger()
FIRST_JOB_S = 150e-6
"""Before anything was measured: 100,000 jobs in 15 s, which a full plan is held to on two cores."""
LEAST_JOBS = 500
"""So many are always looked at; and of fewer the time for one says nothing, because a plan costs something itself."""


class PlanBudget:
    """How long plans took, and what the last one said; used by the loop alone."""

    def __init__(self, budget_s: float) -> None:
        """Take the wall seconds that one plan may take."""
        self._budget_s, self._per_job_s = budget_s, FIRST_JOB_S
        self._turn = 0
        self._turns: dict[JobId, int] = {}
        self._last: tuple[Snapshot, Plan] | None = None
        self.asked = self.jobs = self.postponed = 0

    @property
    def most(self) -> int:
        """How many jobs a plan may look at."""
        return max(LEAST_JOBS, int(self._budget_s / self._per_job_s))

    @property
    def is_partial(self) -> bool:
        """Whether the last plan looked at a part of the queue."""
        return self.asked < self.jobs

    def within(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot, or its most urgent part where the whole would take too long."""
        return snapshot if len(snapshot.jobs) <= self.most else part(snapshot, self._known(), self.most)

    def planned(self, snapshot: Snapshot, plan: Plan, took_s: float) -> None:
        """Learn from a plan: what it was asked, what it said, and how many wall seconds it took."""
        was_partial, self.jobs = self.is_partial, len(snapshot.jobs)
        asked = frozenset(view.job_id for view in snapshot.jobs) if snapshot.asked is None else snapshot.asked
        self.asked = len(asked)
        self.postponed = sum(one.reason.code is ReasonCode.NOT_YET_PLANNED for one in plan.decisions)
        if self.asked >= LEAST_JOBS:
            self._per_job_s = (self._per_job_s + took_s / self.asked) / 2
        self._turn += 1
        before = self._turns
        self._turns = {
            view.job_id: self._turn if view.job_id in asked else before.get(view.job_id, NEVER)
            for view in snapshot.jobs
        }
        self._last = (snapshot, plan)
        if self.is_partial != was_partial:
            told = {"asked": self.asked, "jobs": self.jobs, "took_s": round(took_s, 3), "budget_s": self._budget_s}
            log.warning("plan_partial", **told) if self.is_partial else log.info("plan_whole_again", **told)

    def _known(self) -> dict[JobId, Known]:
        if self._last is None:
            return {}
        snapshot, plan = self._last
        return {
            view.job_id: Known(view, decision, self._turns.get(view.job_id, NEVER))
            for view, decision in zip(snapshot.jobs, plan.decisions, strict=True)
        }

    def finding(self) -> Json:
        """What doctor says of it."""
        told = {"check": "planning", "status": "ok", "fix": ""}
        if not self.is_partial:
            return {**told, "detail": f"a plan looks at the whole queue, within {self._budget_s:g} s"}
        detail = (
            f"a plan looks at {self.asked} of {self.jobs} jobs to keep within {self._budget_s:g} s;"
            f" {self.postponed} have no placement yet"
        )
        fix = "What is due is always among them. Raise plan_budget_s, or give the queue a policy that plans faster."
        return {**told, "status": "warn", "detail": detail, "fix": fix}
