"""Follows plans step by step on virtual time: starts, suspends and finishes jobs exactly as decided.

Not the simulator of the product: a reference of a few dozen lines that properties of ``decide`` are held against.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from lowtide.scheduler.decide.decide import decide
from lowtide.scheduler.model.lifecycle import JobState
from lowtide.scheduler.model.plan import Action, GridForecast, JobDecision, JobView, Plan, SiteView, Snapshot
from lowtide.scheduler.model.site import Queue, Site

LIVE = {JobState.RUNNING}
Check = Callable[[Snapshot, Plan], None]


@dataclass
class Course:
    """What happened to one job: stretches of work, its end, how often it was suspended."""

    stretches: list[tuple[str, datetime, datetime]] = field(default_factory=list)
    finished_at: datetime | None = None
    suspensions: int = 0


@dataclass
class World:
    """Jobs on sites under a forecast that may change with every look."""

    now: datetime
    jobs: dict[str, JobView]
    sites: Sequence[Site]
    queues: dict[str, Queue]
    forecasts: Callable[[datetime], dict[str, GridForecast]]
    check: Check = lambda _snapshot, _plan: None
    arrivals: list[JobView] = field(default_factory=list)
    slot_s: float = 900.0
    loses: Callable[[int], bool] = lambda _stop: False
    """Whether the n-th suspension of a job turns out dirty: all work since its last start is lost."""
    courses: dict[str, Course] = field(default_factory=dict)

    def run(self, most_steps: int = 20_000) -> dict[str, Course]:
        """Until every job has finished; fails when that takes too many decisions."""
        for _ in range(most_steps):
            self._arrive()
            if not self.jobs and not self.arrivals:
                return self.courses
            snapshot = self.snapshot()
            plan = decide(snapshot)
            self.check(snapshot, plan)
            for decision in plan.decisions:
                self._apply(decision)
            self._advance(self._next_moment(plan))
        raise AssertionError(f"jobs {sorted(self.jobs)} have not finished after {most_steps} decisions")

    def snapshot(self) -> Snapshot:
        views = tuple(self.jobs[i] for i in sorted(self.jobs))
        sites = []
        for site in self.sites:
            held = [v.resources for v in views if v.state in LIVE and v.site == site.name]
            sites.append(SiteView(site, True, sum(r.gpus for r in held), sum(r.cpus for r in held)))
        return Snapshot(self.now, views, tuple(sites), self.queues, self.forecasts(self.now), self.slot_s)

    def _arrive(self) -> None:
        for view in [v for v in self.arrivals if v.submitted_at <= self.now]:
            self.arrivals.remove(view)
            self.jobs[view.job_id] = view
        for job_id in self.jobs:
            self.courses.setdefault(job_id, Course())

    def _apply(self, decision: JobDecision) -> None:
        view, course = self.jobs[decision.job_id], self.courses[decision.job_id]
        if decision.action is Action.START and decision.chosen is not None:
            switch_s = self.queues[view.queue].switch_cost_s if view.state is JobState.SUSPENDED else 0.0
            view = replace(
                view,
                state=JobState.RUNNING,
                site=decision.chosen.site,
                running_since=self.now,
                pinned_start_at=None,
                remaining_s=view.remaining_s + switch_s,
            )
            course.stretches.append((decision.chosen.site, self.now, self.now))
        elif decision.action is Action.SUSPEND:
            lost = self.loses(course.suspensions)
            course.suspensions += 1
            view = replace(
                view,
                state=JobState.SUSPENDED,
                site=None,
                running_since=None,
                suspensions=view.suspensions + 1,
                remaining_s=view.remaining_s + (view.at_stake_s if lost else 0.0),
                at_stake_s=0.0,
            )
        if decision.action in {Action.WAIT, Action.SUSPEND} and decision.chosen is not None:
            view = replace(view, pinned_start_at=decision.chosen.start)
        self.jobs[decision.job_id] = view

    def _next_moment(self, plan: Plan) -> datetime:
        ends = [self.now + timedelta(seconds=v.remaining_s) for v in self.jobs.values() if v.state in LIVE]
        reviews = [d.next_review_at for d in plan.decisions]
        return min([*ends, *reviews, *(v.submitted_at for v in self.arrivals)])

    def _advance(self, moment: datetime) -> None:
        passed_s = (moment - self.now).total_seconds()
        assert passed_s > 0, "time must go on (INV-04)"
        self.now = moment
        for job_id, view in list(self.jobs.items()):
            if view.state in LIVE:
                course = self.courses[job_id]
                site, begun, _ = course.stretches[-1]
                course.stretches[-1] = (site, begun, moment)
                self.jobs[job_id] = replace(
                    view, remaining_s=view.remaining_s - passed_s, at_stake_s=view.at_stake_s + passed_s
                )
                if view.remaining_s - passed_s <= 1e-3:
                    course.finished_at = moment
                    del self.jobs[job_id]
