"""Plays a trace through the scheduler on virtual time: the same decisions, followed to the letter.

Nothing here decides. What happens (a submission, an end, new grid data) makes a snapshot, ``decide`` makes a plan of
it, and the plan is followed until something else happens, on sites that never fail. Jobs that nothing has happened to
keep their placements.
"""

import heapq
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from lowtide.scheduler.decide.churn import has_moved
from lowtide.scheduler.decide.decide import decide
from lowtide.scheduler.model.data import Transfer
from lowtide.scheduler.model.inflow import Inflow
from lowtide.scheduler.model.job import JobId
from lowtide.scheduler.model.lifecycle import JobState
from lowtide.scheduler.model.plan import (
    OVERRUN_SHARE,
    Action,
    GridForecast,
    JobDecision,
    JobView,
    Plan,
    SiteView,
    Snapshot,
)
from lowtide.scheduler.model.reason import ReasonCode
from lowtide.scheduler.model.site import Queue, Site
from lowtide.scheduler.model.units import floor_to
from lowtide.scheduler.simulate.installation import Booked
from lowtide.scheduler.simulate.projects import Projects

DONE_S = 1e-3
"""A job with a millisecond left has ended."""
WAITS = frozenset({ReasonCode.CAPACITY, ReasonCode.MAKING_ROOM})
"""Reasons of those who have to hear when capacity becomes free."""
Outlook = Callable[[datetime], dict[str, GridForecast]]
"""What is told of the grid at a moment, by zone; the same objects as long as nothing new is told."""


@dataclass(slots=True)
class Course:
    """What happened to one job: ``view`` as it was submitted, and ``rest_s``, the run time that it truly needs still.

    What the scheduler believes of the rest is in its view of the job alone. ``moves`` counts how often the start that
    was promised to it was moved, ``blocked_s`` is for how long it could not begin after its submission because of jobs
    that it waited for, ``brought`` what data was brought, and when.
    """

    view: JobView
    rest_s: float
    stretches: list[tuple[str, datetime, datetime]] = field(default_factory=list)
    finished_at: datetime | None = None
    suspensions: int = 0
    moves: int = 0
    lost_s: float = 0.0
    blocked_s: float = 0.0
    brought: list[tuple[datetime, Transfer]] = field(default_factory=list)


class World:
    """Jobs that arrive at sites, under what is told of the grid as time goes by."""

    def __init__(
        self,
        arrivals: Sequence[JobView],
        sites: Sequence[Site],
        queues: dict[str, Queue],
        outlook: Outlook,
        slot_s: float,
        *,
        until: datetime,
        replan_s: float = 3600.0,
        run_s: Mapping[JobId, float] | None = None,
        projects: Projects | None = None,
        reservations: Sequence[Booked] = (),
    ) -> None:
        """Take the jobs in order of submission; the play ends ``until`` at the latest.

        Every ``replan_s`` all jobs are decided anew. ``run_s`` tells how long jobs truly run; without it, as long as
        their views tell. ``projects`` keep count of what is spent; without them there are neither budgets nor shares.
        """
        self._arrivals = deque(sorted(arrivals, key=lambda view: (view.submitted_at, view.job_id)))
        self._sites, self._queues, self._outlook = tuple(sites), queues, outlook
        self._slot_s, self._until, self._replan = slot_s, until, timedelta(seconds=replan_s)
        truly = run_s or {}
        self.courses = {v.job_id: Course(v, truly.get(v.job_id, v.remaining_s)) for v in self._arrivals}
        self._behind: dict[JobId, list[JobId]] = {}
        for waiting in self._arrivals:
            for before in waiting.waits_for:
                self._behind.setdefault(before, []).append(waiting.job_id)
        self._open: dict[JobId, JobView] = {}
        self._ends: list[tuple[datetime, JobId]] = []
        self._turns: list[tuple[datetime, JobId]] = []
        self._asked: set[JobId] = set()
        self._told: dict[str, GridForecast] = {}
        self._since: dict[JobId, datetime] = {}
        self._inflow = Inflow()
        self._projects, self._reservations = projects, tuple(reservations)
        self._bookings = deque(sorted(at for booked in reservations for at in booked.turns()))
        self.plan_s: list[float] = []
        self.now = self._arrivals[0].submitted_at if self._arrivals else until
        self._planned_at = self.now

    def run(self) -> dict[JobId, Course]:
        """Play until every job has ended, or the time is over."""
        while self.now < self._until and (self._open or self._arrivals):
            self._arrive()
            self._look()
            while self._asked or self._due():
                self._decide()
            self._advance(min(self._next(), self._until))
        return self.courses

    def _arrive(self) -> None:
        while self._arrivals and self._arrivals[0].submitted_at <= self.now:
            view = self._arrivals.popleft()
            if view.waits_for:
                view = replace(view, waits_for=tuple(i for i in view.waits_for if self._may_end(i)))
            self._open[view.job_id] = view
            self._asked.add(view.job_id)
            if view.not_before is None:  # what is known in advance is planned, not expected
                self._inflow.add(self.now, view.remaining_s * view.resources.gpus)

    def _may_end(self, job_id: JobId) -> bool:
        """Whether a job that is waited for is still to end; one that is not played is as if it had."""
        course = self.courses.get(job_id)
        return course is not None and course.finished_at is None

    def _let_go(self, ended: JobId) -> None:
        """A job has ended: who waited for it last may begin, and its patience does."""
        for job_id in self._behind.get(ended, ()):
            view = self._open.get(job_id)
            if view is None:
                continue
            left = tuple(before for before in view.waits_for if before != ended)
            if not left:
                since = max(view.submitted_at, view.not_before or view.submitted_at)
                blocked = max(timedelta(0), self.now - since)
                self.courses[job_id].blocked_s = blocked.total_seconds()
                latest = view.latest_finish_at + (timedelta(0) if view.has_deadline else blocked)
                view = replace(view, latest_finish_at=latest)
                self._asked.add(job_id)
            self._open[job_id] = replace(view, waits_for=left)

    def _look(self) -> None:
        """Ask about everybody when something new is told of the grid or of reservations, and when it is time."""
        told = self._outlook(self.now)
        news = any(told[zone] is not self._told.get(zone) for zone in told)
        while self._bookings and self._bookings[0] <= self.now:
            self._bookings.popleft()
            news = True
        if news or self.now - self._planned_at >= self._replan:
            self._told = told
            self._asked.update(self._open)

    def _due(self) -> bool:
        while self._turns and self._turns[0][0] <= self.now:
            _, job_id = self._turns[0]
            if job_id in self._open and self._turns_at(job_id) == self._turns[0][0]:
                return True
            heapq.heappop(self._turns)
        return False

    def _turns_at(self, job_id: JobId) -> datetime | None:
        """When the placement of a job has it start or pause next."""
        view = self._open[job_id]
        if view.decided is None or view.waits_for:  # an end lets go of those that wait for it
            return None
        if view.decided.chosen is None:
            return view.decided.next_review_at
        ahead = [segment for segment in view.decided.chosen.segments if segment.end > self.now]
        if view.state is not JobState.RUNNING:
            return ahead[0].start if ahead else None
        return ahead[0].end if len(ahead) > 1 else None

    def _decide(self) -> None:
        """One snapshot, one plan, followed at once."""
        snapshot = self._snapshot()
        if len(self._asked) == len(self._open):
            self._planned_at = floor_to(self.now, self._replan)
        self._asked.clear()
        begun = time.perf_counter()
        plan = decide(snapshot)
        self.plan_s.append(time.perf_counter() - begun)
        if plan.failures:
            failure = plan.failures[0]
            raise RuntimeError(f"the policy {failure.policy} failed:\n{failure.detail}")
        self._follow(plan)

    def _snapshot(self) -> Snapshot:
        for job_id, since in self._since.items():
            self._run_on(job_id, since)
        views = tuple(self._open[i] for i in sorted(self._open))
        used = dict.fromkeys((site.name for site in self._sites), (0, 0))
        for job_id in self._since:
            view = self._open[job_id]
            gpus, cpus = used[str(view.site)]
            used[str(view.site)] = (gpus + view.resources.gpus, cpus + view.resources.cpus)
        sites = tuple(SiteView(site, True, *used[site.name]) for site in self._sites)
        asked = frozenset(self._asked)
        return Snapshot(
            self.now,
            views,
            sites,
            self._queues,
            self._told,
            self._slot_s,
            asked,
            self._inflow.gpus(self.now),
            is_brief=True,
            projects={} if self._projects is None else self._projects.views(views, self.now),
            reservations=tuple(b.reservation for b in self._reservations if b.is_ahead(self.now)),
        )

    def _run_on(self, job_id: JobId, since: datetime) -> None:
        """Count what a running job has done since it was last looked at."""
        passed_s = (self.now - since).total_seconds()
        if passed_s > 0:
            view, course = self._open[job_id], self.courses[job_id]
            site, begun, _ = course.stretches[-1]
            course.stretches[-1] = (site, begun, self.now)
            if self._projects is not None:
                self._projects.ran(view, since, self.now)
            self._open[job_id] = replace(view, remaining_s=view.remaining_s - passed_s)
            course.rest_s -= passed_s
            self._since[job_id] = self.now

    def _follow(self, plan: Plan) -> None:
        new = [decision for decision in plan.decisions if self._open[decision.job_id].decided is not decision]
        for decision in new:
            before = self._open[decision.job_id].decided
            self.courses[decision.job_id].moves += has_moved(before, decision, self.now, self._slot_s) is True
            promised = None if decision.chosen is None else decision.chosen.start
            view = replace(self._open[decision.job_id], decided=decision, pinned_start_at=promised)
            self._open[decision.job_id] = view
        for decision in new:
            if decision.action is Action.SUSPEND:
                self._suspend(decision)  # what is freed is free at once
        for decision in new:
            if decision.action is Action.START:
                self._start(decision)
            turn = self._turns_at(decision.job_id)
            if turn is not None:
                heapq.heappush(self._turns, (max(turn, self.now), decision.job_id))

    def _start(self, decision: JobDecision) -> None:
        view, chosen = self._open[decision.job_id], decision.chosen
        assert chosen is not None  # noqa: S101 - what is started is somewhere
        again_s = self._queues[view.queue].switch_cost_s if view.state is JobState.SUSPENDED else 0.0
        brings_s = self._bring(view, chosen.site) if view.transfers else 0.0
        self._open[decision.job_id] = view = replace(
            view,
            state=JobState.RUNNING,
            site=chosen.site,
            pool=chosen.pool,
            running_since=self.now,
            remaining_s=view.remaining_s + again_s + brings_s,
            transfers=tuple(one for one in view.transfers if one.site != chosen.site),
            decided=replace(decision, action=Action.KEEP, next_review_at=chosen.finish),
        )
        course = self.courses[decision.job_id]
        course.lost_s += again_s
        course.rest_s += again_s + brings_s
        course.stretches.append((chosen.site, self.now, self.now))
        self._since[decision.job_id] = self.now
        self._expect_end(decision.job_id)

    def _bring(self, view: JobView, site: str) -> float:
        """Have a job's data brought to a site, from now on; how many seconds that takes."""
        lacking = [one for one in view.transfers if one.site == site]
        self.courses[view.job_id].brought += [(self.now, one) for one in lacking]
        return sum(one.lasts_s for one in lacking)

    def _expect_end(self, job_id: JobId) -> None:
        """Look at a running job when it ends, or when it ought to have."""
        left_s = min(self._open[job_id].remaining_s, self.courses[job_id].rest_s)
        heapq.heappush(self._ends, (self.now + timedelta(seconds=left_s), job_id))

    def _suspend(self, decision: JobDecision) -> None:
        view, course = self._open[decision.job_id], self.courses[decision.job_id]
        course.suspensions += 1
        del self._since[decision.job_id]
        self._open[decision.job_id] = replace(
            view, state=JobState.SUSPENDED, site=None, pool="", running_since=None, suspensions=view.suspensions + 1
        )
        self._ask_the_waiting()

    def _ask_the_waiting(self) -> None:
        """Capacity has become free: whoever waits for it is decided anew."""
        for job_id, view in self._open.items():
            decided = view.decided
            if view.site is None and decided is not None and decided.reason.code in WAITS:
                self._asked.add(job_id)

    def _next(self) -> datetime:
        moments = [self._planned_at + self._replan, *list(self._bookings)[:1]] if self._open else []
        if self._arrivals:
            moments.append(self._arrivals[0].submitted_at)
        if self._ends:
            moments.append(self._ends[0][0])
        if self._turns:
            moments.append(self._turns[0][0])
        return max(min(moments), self.now + timedelta(microseconds=1))

    def _advance(self, moment: datetime) -> None:
        self.now = moment
        while self._ends and self._ends[0][0] <= moment:
            _, job_id = heapq.heappop(self._ends)
            if job_id in self._since:
                self._run_on(job_id, self._since[job_id])
                if self.courses[job_id].rest_s <= DONE_S:
                    self.courses[job_id].finished_at = moment
                    del self._since[job_id], self._open[job_id]
                    self._let_go(job_id)
                    self._ask_the_waiting()
                elif self._open[job_id].remaining_s <= DONE_S:
                    self._overrun(job_id)

    def _overrun(self, job_id: JobId) -> None:
        """The estimate is used up and the job runs on: it is believed to need a little more, and decided anew."""
        view, told_s = self._open[job_id], self.courses[job_id].view.remaining_s
        self._open[job_id] = replace(view, remaining_s=OVERRUN_SHARE * told_s)
        self._asked.add(job_id)
        self._expect_end(job_id)
