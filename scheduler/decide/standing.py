"""A plan that stands, with the capacity that it leaves: one more job costs one more decision, however long the queue.

Good for a question on the side and at the plan's own moment; what nobody but the whole queue can answer is left to
``decide``: a job that waits for others, one with a budget, and one that comes in time only where others make room.
"""

from dataclasses import replace

from lowtide.scheduler.decide.asking import FindPolicy, ask_all, decision_of, joint_policies
from lowtide.scheduler.decide.decide import is_late
from lowtide.scheduler.decide.foremost import Foremost, is_any_kept
from lowtide.scheduler.decide.keep import kept
from lowtide.scheduler.decide.market import Market, market
from lowtide.scheduler.decide.part import is_hindered
from lowtide.scheduler.decide.registry import policy_for
from lowtide.scheduler.decide.rows import in_rows
from lowtide.scheduler.decide.triage import triage
from lowtide.scheduler.model.plan import JobDecision, JobView, Plan, Snapshot


class Standing:
    """Answers for one more job at a time; no answer changes what the next one finds."""

    def __init__(self, snapshot: Snapshot, plan: Plan, find_policy: FindPolicy = policy_for) -> None:
        """Take a plan and the snapshot that it was made of; the queue is gone through once.

        Args:
            snapshot: the jobs, in the order of the plan's decisions.
            plan: what was decided about them.
            find_policy: name and parameters to policy; the installed ones unless told otherwise.

        """
        pairs = zip(snapshot.jobs, plan.decisions, strict=True)
        decided = tuple(replace(view, decided=decision) for view, decision in pairs)
        self._snapshot = replace(snapshot, jobs=decided, asked=frozenset(), is_partial=False)
        self._find_policy, self._plan = find_policy, plan
        self._stands = not any(project.spendings for project in snapshot.projects.values())
        in_rows(self._snapshot, self._sell)

    def one_more(self, view: JobView) -> JobDecision | None:
        """What ``decide`` says of one more job beside the plan, asked about alone; None where it has to be asked.

        Args:
            view: a job that waits and is not among the plan's.

        """
        if not self._stands or view.waits_for:
            return None
        told = in_rows(replace(self._snapshot, jobs=(view,)), self._asked).decisions
        return told[0] if told else None

    def _asked(self, rows: Snapshot) -> Plan:
        decision = self._decide(rows.jobs[0])
        return replace(self._plan, decisions=() if decision is None else (decision,))

    def _sell(self, rows: Snapshot) -> Plan:
        """Sell all placements of the plan."""
        self._rows, self._here = rows, market(rows)
        decisions = kept(rows, self._here)
        self._stands &= len(decisions) == len(rows.jobs)
        self._joint = joint_policies(rows, self._find_policy)
        self._has_foremost = is_any_kept(rows, decisions)
        return replace(self._plan, decisions=())

    def _decide(self, view: JobView) -> JobDecision | None:
        here, rows = self._left(), self._rows
        settled, askers = triage(rows, here, [view], self._joint)
        if not askers:
            return settled[view.job_id]
        foremost = Foremost(here.timeline, is_kept=self._has_foremost)
        (answer,) = ask_all(askers, here, self._find_policy, self._joint, foremost)
        decision, _ = decision_of(answer, here, rows)
        # else others may be able to make room, and then it is another decision
        is_moved = answer.asker.request.is_foremost and is_hindered(answer.asker, decision)
        return None if is_moved or (self._joint and is_late(answer.asker, decision)) else decision

    def _left(self) -> Market:
        """What the plan leaves, to be sold independently."""
        here = self._here
        common = None if here.common_now is None else here.common_now.copy()
        return replace(
            here, timeline=here.timeline.copy(), free_now=[[*free] for free in here.free_now], common_now=common
        )
