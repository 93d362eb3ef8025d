"""Small queues on one site, in whole slots, all known at the start: played to the end, and searched through."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache

from lowtide.scheduler.model.job import JobId, Urgency
from lowtide.scheduler.model.plan import Action, GridForecast, JobView, Plan
from lowtide.scheduler.model.reason import ReasonCode
from lowtide.scheduler.simulate.world import Course, World
from tests.builders import NOON, SLOT_S, a_forecast, a_job_view, a_queue, a_site


@dataclass(frozen=True, slots=True)
class Small:
    """A job in slots: its length, the slot before whose begin it must have ended, its GPUs; ``after`` which others."""

    length: int
    end: int
    gpus: int = 1
    may_pause: bool = True
    urgency: Urgency = Urgency.NORMAL
    after: tuple[int, ...] = ()


def can_all_be_in_time(jobs: tuple[Small, ...], gpus: int) -> bool:
    """Whether any schedule ends every job in time; tries them all."""

    @cache
    def reaches(slot: int, left: tuple[int, ...], running: frozenset[int]) -> bool:
        if not any(left):
            return True
        if any(slot + n > job.end for n, job in zip(left, jobs, strict=True) if n):
            return False
        must = frozenset(i for i in running if left[i] and not jobs[i].may_pause)
        return any(reaches(slot + 1, _after(left, now), now) for now in _sets(jobs, left, gpus) if must <= now)

    return reaches(0, tuple(job.length for job in jobs), frozenset())


def least_cost(jobs: tuple[Small, ...], gpus: int, prices: list[float]) -> float:
    """The least of price times GPUs and slots over all schedules that end every job in time; tries them all."""

    @cache
    def least(slot: int, left: tuple[int, ...], running: frozenset[int]) -> float:
        if not any(left):
            return 0.0
        if any(slot + n > job.end for n, job in zip(left, jobs, strict=True) if n):
            return math.inf
        must = frozenset(i for i in running if left[i] and not jobs[i].may_pause)
        return min(
            prices[slot] * sum(jobs[i].gpus for i in now) + least(slot + 1, _after(left, now), now)
            for now in _sets(jobs, left, gpus)
            if must <= now
        )

    return least(0, tuple(job.length for job in jobs), frozenset())


def _after(left: tuple[int, ...], now: frozenset[int]) -> tuple[int, ...]:
    return tuple(n - (i in now) for i, n in enumerate(left))


def _sets(jobs: tuple[Small, ...], left: tuple[int, ...], gpus: int) -> Iterator[frozenset[int]]:
    """Every set of jobs that has work left and fits."""
    open_jobs = [i for i, n in enumerate(left) if n and not any(left[before] for before in jobs[i].after)]
    for bits in range(2 ** len(open_jobs)):
        found = frozenset(job for k, job in enumerate(open_jobs) if bits >> k & 1)
        if sum(jobs[i].gpus for i in found) <= gpus:
            yield found


def view_of(number: int, job: Small) -> JobView:
    """The job as it is submitted at noon."""
    view = a_job_view(
        f"job-{number}",
        gpus=job.gpus,
        cpus=0,
        hours=job.length * SLOT_S / 3600,
        finish_in_h=job.end * SLOT_S / 3600,
        suspendable=job.may_pause,
        has_deadline=True,
        urgency=job.urgency,
        waits_for=tuple(JobId(f"job-{before}") for before in job.after),
    )
    return replace(view, submitted_at=NOON)


class Noted(World):
    """A world that keeps why each job waited last."""

    why: dict[JobId, ReasonCode]

    def _follow(self, plan: Plan) -> None:
        for decision in plan.decisions:
            if decision.action is Action.WAIT:
                self.why[decision.job_id] = decision.reason.code
        super()._follow(plan)


def played(jobs: tuple[Small, ...], gpus: int, prices: list[float], policy: str) -> dict[JobId, Course]:
    """What becomes of them under a policy that knows all prices; no margin, no cost of a switch, no bar."""
    return noted(jobs, gpus, prices, policy)[0]


def noted(
    jobs: tuple[Small, ...], gpus: int, prices: list[float], policy: str
) -> tuple[dict[JobId, Course], dict[JobId, ReasonCode]]:
    """The same, and why each job waited last."""
    queue = a_queue(
        policy=policy,
        max_suspensions=1000,
        min_run_s=0.0,
        switch_cost_s=0.0,
        min_savings=0.0,
        confidence=0.5,
        deadline_margin=0.0,
    )
    views = [view_of(n, job) for n, job in enumerate(jobs)]
    until = NOON + timedelta(seconds=SLOT_S * 400)
    world = Noted(views, [a_site(gpus=gpus)], {queue.name: queue}, outlook(prices), SLOT_S, until=until)
    world.why = {}
    return world.run(), world.why


def outlook(prices: list[float]) -> Callable[[object], dict[str, GridForecast]]:
    """The same prices, the last for ever, at any moment."""
    told = {"GB": a_forecast([*prices, *prices[-1:] * (400 - len(prices))])}
    return lambda _now: told


def late(courses: dict[JobId, Course]) -> list[JobId]:
    """Who ended later than it should, or not at all."""
    return [i for i, c in courses.items() if c.finished_at is None or c.finished_at > c.view.latest_finish_at]


def starts(courses: dict[JobId, Course]) -> dict[JobId, float]:
    """When each began, in slots after noon."""
    return {i: (c.stretches[0][1] - NOON).total_seconds() / SLOT_S for i, c in courses.items()}
