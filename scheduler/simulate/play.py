"""What one policy makes of a trace: jobs into a world, executed stretches into grams by the ledger's arithmetic."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

import numpy as np

from lowtide.scheduler.decide.registry import policy_for
from lowtide.scheduler.forecast.record import sampled
from lowtide.scheduler.ledger.emissions import grams, price
from lowtide.scheduler.model.errors import BadInput
from lowtide.scheduler.model.job import JobId, Resources, Urgency
from lowtide.scheduler.model.lifecycle import JobState
from lowtide.scheduler.model.plan import JobView
from lowtide.scheduler.model.series import Series
from lowtide.scheduler.model.site import Queue, Site
from lowtide.scheduler.model.units import S_PER_H, kwh_from_j
from lowtide.scheduler.simulate.bound import Demand, bound_g
from lowtide.scheduler.simulate.foretold import Foreseen, Issued
from lowtide.scheduler.simulate.trace import TraceJob, resampled
from lowtide.scheduler.simulate.world import Course, World

NO_LIMIT = 1_000_000
"""GPUs of a site without limit."""
LATE_S = 1.0
"""An end that lies less than a second after its time is on time."""
MJ_PER_J = 1000.0
QUEUE = "trace"
REPLAN_S = S_PER_H
NEVER_SURE = 0.5
"""A guard at even odds lets every promise pass."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long jobs may slip, by their run time; all in seconds."""

    short_s: float = 6 * S_PER_H
    long_s: float = 24 * S_PER_H
    split_s: float = 2 * S_PER_H

    def of(self, job: TraceJob) -> float:
        """For one job."""
        return self.short_s if self.is_short(job) else self.long_s

    def is_short(self, job: TraceJob) -> bool:
        """The class of a job, by its true run time."""
        return job.duration_s < self.split_s


class Estimate(StrEnum):
    """What the scheduler is told of a job's run time: the true one, or the mean of the jobs of its class."""

    EXACT = "exact"
    CLASS_MEAN = "class-mean"


@dataclass(frozen=True, slots=True)
class Play:
    """One backtest.

    Attributes:
        jobs: the trace, its times counted from ``start``.
        intensity: measured intensity by zone; each zone is a site of that name.
        policy: name of an installed policy, with its parameters.
        start: aware UTC.
        end: what has not ended by then counts as failed.
        gpus: of each site; None for no limit.
        slot_s: length of a slot in seconds.
        power_w: of a GPU at work, where the trace does not say.
        switch_s: run time lost to one suspension.
        is_interruptible: whether jobs may be suspended where the trace does not say.
        is_bound_wanted: whether to work out the least that any schedule could emit.
        estimate: what the scheduler is told of run times; the world and the report go by the true ones.
        issued: forecasts as issued; None for perfect foresight.
        is_clairvoyant: whether the scheduler is shown all jobs at the start, each not to begin before its submission.
        seed: plays a bootstrap sample of the trace that this number draws; None for the trace itself.

    """

    jobs: tuple[TraceJob, ...]
    intensity: Mapping[str, Series]
    policy: str
    start: datetime
    end: datetime
    params: tuple[tuple[str, float], ...] = ()
    gpus: int | None = None
    slot_s: float = 900.0
    power_w: float = 300.0
    switch_s: float = 0.0
    is_interruptible: bool = True
    is_bound_wanted: bool = False
    patience: Patience = field(default_factory=Patience)
    estimate: Estimate = Estimate.EXACT
    issued: Issued | None = None
    is_clairvoyant: bool = False
    seed: int | None = None


def played(play: Play) -> dict[str, object]:
    """Play it and report.

    Raises:
        BadInput: the policy is not known, a job can never run, or the intensity does not cover the time.

    """
    _check(play)
    if play.seed is not None:
        play = replace(play, jobs=resampled(play.jobs, play.seed))
    sites = [Site(zone, zone, NO_LIMIT if play.gpus is None else play.gpus, NO_LIMIT) for zone in play.intensity]
    queue = _queue(play)
    told_s = _told_s(play)
    views = [_view(job, told_s[job.job_id], play) for job in play.jobs]
    truly = {JobId(job.job_id): job.duration_s for job in play.jobs}
    outlook = play.issued or Foreseen(play.intensity, play.start)
    world = World(
        views,
        sites,
        {QUEUE: queue},
        outlook,
        play.slot_s,
        until=play.end,
        replan_s=_replan_s(play),
        run_s=truly,
    )
    courses = world.run()
    return _report(play, courses, world.plan_s)


def _check(play: Play) -> None:
    policy_for(play.policy, play.params)
    for zone, series in play.intensity.items():
        if not series.covers(play.start, play.end):
            first, last = series.points[0].start, series.points[-1].end
            message = f"the intensity of zone {zone!r} reaches from {first:%Y-%m-%dT%H:%M} to {last:%Y-%m-%dT%H:%M}."
            raise BadInput(message, fix="Choose --start and --hours within it.")
    for job in play.jobs:
        if play.gpus is not None and job.gpus > play.gpus:
            raise BadInput(f"job {job.job_id!r} needs {job.gpus} GPUs of {play.gpus}.", fix="Raise --gpus.")
        if job.site and job.site not in play.intensity:
            known = ", ".join(play.intensity)
            raise BadInput(f"job {job.job_id!r} names site {job.site!r}; the zones are: {known}.", fix="Correct it.")


def _queue(play: Play) -> Queue:
    queue = Queue(
        QUEUE,
        play.policy,
        play.params,
        max_suspensions=NO_LIMIT,
        min_run_s=play.slot_s,
        switch_cost_s=play.switch_s,
    )
    is_naive = play.issued is not None and play.issued.is_raw
    return replace(queue, min_savings=0.0, confidence=NEVER_SURE) if is_naive else queue


def _replan_s(play: Play) -> float:
    """Everybody is decided anew every hour, and with news of the grid that come more often than that."""
    return REPLAN_S if play.issued is None else min(REPLAN_S, max(play.slot_s, play.issued.step_s))


def _told_s(play: Play) -> dict[str, float]:
    """The run time in seconds that the scheduler is told, by job id."""
    if play.estimate is Estimate.EXACT:
        return {job.job_id: job.duration_s for job in play.jobs}
    by_class: dict[bool, list[float]] = {}
    for job in play.jobs:
        by_class.setdefault(play.patience.is_short(job), []).append(job.duration_s)
    mean_s = {is_short: math.fsum(lengths) / len(lengths) for is_short, lengths in by_class.items()}
    return {job.job_id: mean_s[play.patience.is_short(job)] for job in play.jobs}


def _submitted_at(job: TraceJob, play: Play) -> datetime:
    return play.start + timedelta(seconds=job.submit_s)


def _latest_finish(job: TraceJob, run_s: float, play: Play) -> datetime:
    """Its deadline, or the end of its patience if it runs for ``run_s``."""
    if job.deadline_s is not None:
        return play.start + timedelta(seconds=job.deadline_s)
    return play.start + timedelta(seconds=job.submit_s + play.patience.of(job) + run_s)


def _view(job: TraceJob, told_s: float, play: Play) -> JobView:
    submitted = _submitted_at(job, play)
    return JobView(
        job_id=JobId(job.job_id),
        queue=QUEUE,
        urgency=Urgency.NORMAL,
        state=JobState.QUEUED,
        submitted_at=play.start if play.is_clairvoyant else submitted,
        not_before=submitted if play.is_clairvoyant else None,
        resources=Resources(gpus=job.gpus, cpus=0),
        remaining_s=told_s,
        power_w=_power_w(job, play),
        # the wait that it may be given stays its patience, whatever the scheduler believes of its length
        latest_finish_at=_latest_finish(job, told_s, play),
        has_deadline=job.deadline_s is not None,
        allowed_sites=_zones(job, play),
        suspendable=play.is_interruptible if job.interruptible is None else job.interruptible,
    )


def _zones(job: TraceJob, play: Play) -> tuple[str, ...]:
    return (job.site,) if job.site else tuple(play.intensity)


def _power_w(job: TraceJob, play: Play) -> float:
    return (play.power_w if job.power_w is None else job.power_w) * max(job.gpus, 1)


@dataclass(frozen=True, slots=True)
class _Figures:
    """Of one job: grams and kWh as executed, and grams had it run at submission, at its site or in the first zone."""

    emitted_g: float
    baseline_g: float
    energy_kwh: float


def _figures(job: TraceJob, course: Course, play: Play) -> _Figures:
    power_w = _power_w(job, play)
    emitted = sum(_grams(play.intensity[site], begin, end, power_w) for site, begin, end in course.stretches)
    home = job.site or next(iter(play.intensity))
    at_once = _submitted_at(job, play)
    baseline = _grams(play.intensity[home], at_once, at_once + timedelta(seconds=job.duration_s), power_w)
    run_s = math.fsum((end - begin).total_seconds() for _, begin, end in course.stretches)
    return _Figures(emitted, baseline, kwh_from_j(power_w * run_s))


def _grams(series: Series, begin: datetime, end: datetime, power_w: float) -> float:
    if end <= begin:
        return 0.0
    found = price(series, begin, end)
    energy_mj = round(power_w * (end - begin).total_seconds() * MJ_PER_J)
    return math.nan if found is None else grams(energy_mj, found.g_per_kwh, 1.0)


def _report(play: Play, courses: Mapping[JobId, Course], plan_s: Sequence[float]) -> dict[str, object]:
    """The document; its keys are an interface."""
    ended = [(job, courses[JobId(job.job_id)]) for job in play.jobs if courses[JobId(job.job_id)].finished_at]
    figures = [_figures(job, course, play) for job, course in ended]
    emitted, baseline = math.fsum(f.emitted_g for f in figures), math.fsum(f.baseline_g for f in figures)
    waits_h = [_wait_h(job, course, play) for job, course in ended]
    late = [job for job, course in ended if _is_late(job, course, play)]
    return {
        "policy": play.policy,
        "jobs": len(play.jobs),
        "completed": len(ended),
        "failed": len(play.jobs) - len(ended),
        "emissions_g": emitted,
        "baseline_emissions_g": baseline,
        "ratio": emitted / baseline if baseline > 0 else None,
        "energy_kwh": math.fsum(f.energy_kwh for f in figures),
        "mean_wait_h": float(np.mean(waits_h)) if waits_h else None,
        "p95_wait_h": float(np.quantile(waits_h, 0.95)) if waits_h else None,
        "max_wait_h": max(waits_h, default=None),
        "patience_misses": sum(job.deadline_s is None for job in late),
        "deadline_misses": sum(job.deadline_s is not None for job in late),
        "peak_gpus": _peak(ended),
        "suspensions": sum(course.suspensions for course in courses.values()),
        "lost_work_s": math.fsum(course.lost_s for course in courses.values()),
        **_against_bound(play, [job for job, _ in ended], emitted, baseline),
        "forecast": "perfect" if play.issued is None else "issued",
        "as_issued": play.issued is not None and play.issued.is_raw,
        "seed": play.seed,
        "clairvoyant": play.is_clairvoyant,
        "estimate": play.estimate.value,
        "slot_s": play.slot_s,
        "plan_p50_ms": float(np.quantile(plan_s, 0.5)) * 1000 if plan_s else None,
        "plan_p99_ms": float(np.quantile(plan_s, 0.99)) * 1000 if plan_s else None,
    }


def _against_bound(play: Play, jobs: Sequence[TraceJob], emitted: float, baseline: float) -> dict[str, object]:
    """The bound of the same jobs, and how much of its saving was had; null where it is not wanted or there is none."""
    least = _bound_g(play, jobs) if play.is_bound_wanted else math.nan
    if math.isnan(least) or baseline <= 0:
        return {"bound_g": None, "bound_ratio": None, "captured_fraction": None}
    captured = (baseline - emitted) / (baseline - least) if baseline > least else None
    return {"bound_g": least, "bound_ratio": least / baseline, "captured_fraction": captured}


def foresight_fraction(play: Play, found: Mapping[str, object]) -> float | None:
    """The saving of a report as a share of the same policy's with perfect foresight.

    None where it had perfect foresight itself, or where that saves nothing.
    """
    if play.issued is None:
        return None
    ratio, best = found["ratio"], played(replace(play, issued=None, is_bound_wanted=False))["ratio"]
    if not isinstance(ratio, float) or not isinstance(best, float) or best >= 1:
        return None
    return (1 - ratio) / (1 - best)


def _bound_g(play: Play, jobs: Sequence[TraceJob]) -> float:
    zones = list(play.intensity)
    step_s = min(series.step_s for series in play.intensity.values())
    count = round((play.end - play.start).total_seconds() / step_s)
    price = np.array([sampled(play.intensity[zone], play.start, step_s, count) for zone in zones])
    demands = [
        Demand(
            job.submit_s,
            (_latest_finish(job, job.duration_s, play) - play.start).total_seconds(),
            job.duration_s,
            job.gpus,
            _power_w(job, play),
            tuple(map(zones.index, _zones(job, play))),
        )
        for job in jobs
    ]
    return bound_g(demands, price, step_s, play.gpus)


def _wait_h(job: TraceJob, course: Course, play: Play) -> float:
    """How much later than at once it ended."""
    assert course.finished_at is not None  # noqa: S101 - only such are asked about
    passed_s = (course.finished_at - _submitted_at(job, play)).total_seconds()
    return max(0.0, passed_s - job.duration_s) / S_PER_H


def _is_late(job: TraceJob, course: Course, play: Play) -> bool:
    assert course.finished_at is not None  # noqa: S101 - as above
    return (course.finished_at - _latest_finish(job, job.duration_s, play)).total_seconds() > LATE_S


def _peak(ended: Sequence[tuple[TraceJob, Course]]) -> int:
    """The most GPUs at work at once, over all sites; where one stops as another starts they do not count together."""
    changes = sorted(
        change
        for job, course in ended
        for _, begin, end in course.stretches
        for change in ((begin, job.gpus), (end, -job.gpus))
    )
    return max((int(n) for n in np.cumsum([gpus for _, gpus in changes])), default=0)
