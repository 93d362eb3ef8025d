"""What one policy makes of a trace: jobs into a world, executed stretches into grams by the ledger's arithmetic."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from lowtide.scheduler.decide.registry import policy_for
from lowtide.scheduler.model.data import USUAL_GBIT_PER_S, USUAL_KWH_PER_GB, transfers
from lowtide.scheduler.model.job import JobId, Resources
from lowtide.scheduler.model.lifecycle import JobState
from lowtide.scheduler.model.plan import JobView
from lowtide.scheduler.model.series import Series
from lowtide.scheduler.model.site import Queue, Site
from lowtide.scheduler.model.spending import Used
from lowtide.scheduler.model.tariff import AnyTariff
from lowtide.scheduler.model.units import S_PER_H
from lowtide.scheduler.simulate.chain import without_strangers
from lowtide.scheduler.simulate.check import check
from lowtide.scheduler.simulate.foretold import Foreseen, Issued
from lowtide.scheduler.simulate.installation import Installation, Queues
from lowtide.scheduler.simulate.projects import Projects
from lowtide.scheduler.simulate.result import Result, grams_of, result_of
from lowtide.scheduler.simulate.trace import TraceJob, resampled
from lowtide.scheduler.simulate.world import World

NO_LIMIT = 1_000_000
"""GPUs of a site without limit."""
QUEUE = "trace"
USUAL = Queue(QUEUE)
"""What a queue does when nobody says otherwise."""
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
        intensity: measured intensity by zone; without an installation each zone is a site of that name.
        policy: name of an installed policy, with its parameters; or of a policy set of the installation.
        start: aware UTC.
        end: what has not ended by then counts as failed.
        gpus: of each site; None for no limit.
        slot_s: length of a slot in seconds.
        power_w: of a GPU at work, where the trace does not say.
        switch_s: run time lost to one suspension.
        is_interruptible: whether jobs may be suspended where the trace does not say.
        is_bound_wanted: whether to work out the least that any schedule could emit.
        estimate: what the scheduler is told of run times; the world and the report go by the true ones.
        min_savings: as of a queue; 0 plays a policy's rule as it is published.
        deadline_margin: the same; with exact run times nothing needs one.
        issued: forecasts as issued; None for perfect foresight.
        is_clairvoyant: whether the scheduler is shown all jobs at the start, each not to begin before its submission.
        transfer_kwh_per_gb: electricity of bringing a gigabyte from one zone to another.
        transfer_gbit_per_s: how fast that is.
        tariffs: what electricity costs by zone; empty where that is not asked about.
        money_g_per_unit: as of a queue.
        installation: where it is played, in place of zones with a number of GPUs; its queues' own limits then count in
            place of ``min_savings``, ``deadline_margin``, ``switch_s`` and ``money_g_per_unit``, its sites' speeds and
            tariffs in place of those given here.
        patience: None for that of each job's queue.
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
    patience: Patience | None = field(default_factory=Patience)
    estimate: Estimate = Estimate.EXACT
    min_savings: float = USUAL.min_savings
    deadline_margin: float = USUAL.deadline_margin
    issued: Issued | None = None
    is_clairvoyant: bool = False
    seed: int | None = None
    transfer_kwh_per_gb: float = USUAL_KWH_PER_GB
    transfer_gbit_per_s: float = USUAL_GBIT_PER_S
    tariffs: Mapping[str, AnyTariff] = field(default_factory=dict)
    money_g_per_unit: float = USUAL.money_g_per_unit
    installation: Installation | None = None

    @property
    def sites(self) -> tuple[Site, ...]:
        """Where it is played."""
        if self.installation is not None:
            return self.installation.sites
        gpus = NO_LIMIT if self.gpus is None else self.gpus
        return tuple(Site(zone, zone, gpus, NO_LIMIT, tariff=self.tariffs.get(zone)) for zone in self.intensity)

    @property
    def queues(self) -> Queues:
        """How it is decided; raises BadInput where the policy is not known."""
        if self.installation is not None:
            found = dict(self.installation.queues(self.policy, self.params))
        else:
            policy_for(self.policy, self.params)
            found = {QUEUE: _queue(self)}
        if self.issued is None or not self.issued.is_raw:
            return found
        return {name: replace(one, min_savings=0.0, confidence=NEVER_SURE) for name, one in found.items()}

    def queue_of(self, job: TraceJob) -> str:
        """The queue of a job."""
        return QUEUE if self.installation is None else job.queue or self.installation.usual_queue

    def patience_s(self, job: TraceJob) -> float:
        """How long a job may slip."""
        return self.queues[self.queue_of(job)].patience_s if self.patience is None else self.patience.of(job)

    @property
    def gbit_per_s(self) -> Mapping[str, float]:
        """How fast each site sends and takes data."""
        if self.installation is not None:
            return self.installation.gbit_per_s
        return dict.fromkeys(self.intensity, self.transfer_gbit_per_s)

    def need_of(self, job: TraceJob) -> Resources:
        """What a job asks of a site."""
        return Resources(gpus=job.gpus, cpus=0, gpu_model=None if self.installation is None else job.gpu_model)

    def submitted_at(self, job: TraceJob) -> datetime:
        """When a job comes."""
        return self.start + timedelta(seconds=job.submit_s)

    def latest_finish(self, job: TraceJob, run_s: float) -> datetime:
        """A job's deadline, or the end of its patience if it runs for ``run_s``."""
        if job.deadline_s is not None:
            return self.start + timedelta(seconds=job.deadline_s)
        return self.submitted_at(job) + timedelta(seconds=self.patience_s(job) + run_s)

    def sites_of(self, job: TraceJob) -> tuple[str, ...]:
        """Where a job may run."""
        return (job.site,) if job.site else tuple(site.name for site in self.sites)

    def power_of(self, job: TraceJob) -> float:
        """What a job draws at work, in W."""
        return (self.power_w if job.power_w is None else job.power_w) * max(job.gpus, 1)


def played(play: Play) -> dict[str, object]:
    """The report of a play; raises as ``result``."""
    return result(play).report


def result(play: Play) -> Result:
    """Play it, and count.

    Raises:
        BadInput: the policy is not known, a job can never run, or the intensity does not cover the time.

    """
    check(play)
    if play.seed is not None:
        play = replace(play, jobs=without_strangers(resampled(play.jobs, play.seed)))
    queues, told_s, projects = play.queues, _told_s(play), _projects(play)
    world = World(
        [_view(job, told_s[job.job_id], play, queues[play.queue_of(job)]) for job in play.jobs],
        play.sites,
        dict(queues),
        play.issued or Foreseen(play.intensity, play.start),
        play.slot_s,
        until=play.end,
        replan_s=_replan_s(play),
        run_s={JobId(job.job_id): job.duration_s for job in play.jobs},
        projects=projects,
        reservations=() if play.installation is None else play.installation.reservations,
    )
    found = result_of(play, world.run(), world.plan_s)
    return replace(found, report={**found.report, "projects": None if projects is None else projects.totals()})


def _projects(play: Play) -> Projects | None:
    """The accounts that an installation keeps; None without one."""
    if play.installation is None:
        return None
    sites = {site.name: site for site in play.sites}

    def emitted(name: str, begin: datetime, end: datetime, power_w: float) -> float:
        return grams_of(play.intensity[sites[name].zone], begin, end, power_w, sites[name].pue)

    is_shared = any(queue.fair_share_weight for queue in play.queues.values())
    declared, half_life = play.installation.projects, play.installation.half_life
    return Projects(declared, half_life, emitted, is_shared=is_shared, had=Used())


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


def _queue(play: Play) -> Queue:
    return Queue(
        QUEUE,
        play.policy,
        play.params,
        max_suspensions=NO_LIMIT,
        min_run_s=play.slot_s,
        switch_cost_s=play.switch_s,
        min_savings=play.min_savings,
        money_g_per_unit=play.money_g_per_unit,
        deadline_margin=play.deadline_margin,
    )


def _replan_s(play: Play) -> float:
    """Everybody is decided anew every hour, and with news of the grid that come more often than that."""
    return REPLAN_S if play.issued is None else min(REPLAN_S, max(play.slot_s, play.issued.step_s))


def _told_s(play: Play) -> dict[str, float]:
    """The run time in seconds that the scheduler is told, by job id."""
    if play.estimate is Estimate.EXACT:
        return {job.job_id: job.duration_s for job in play.jobs}
    by_class: dict[bool, list[float]] = {}
    classes = play.patience or Patience()
    for job in play.jobs:
        by_class.setdefault(classes.is_short(job), []).append(job.duration_s)
    mean_s = {is_short: math.fsum(lengths) / len(lengths) for is_short, lengths in by_class.items()}
    return {job.job_id: mean_s[classes.is_short(job)] for job in play.jobs}


def _view(job: TraceJob, told_s: float, play: Play, queue: Queue) -> JobView:
    submitted = play.submitted_at(job)
    return JobView(
        job_id=JobId(job.job_id),
        queue=queue.name,
        project=job.project,
        urgency=queue.urgency,
        state=JobState.QUEUED,
        submitted_at=play.start if play.is_clairvoyant else submitted,
        not_before=submitted if play.is_clairvoyant else None,
        resources=play.need_of(job),
        remaining_s=told_s,
        power_w=play.power_of(job),
        # the wait that it may be given stays its patience, whatever the scheduler believes of its length
        latest_finish_at=play.latest_finish(job, told_s),
        has_deadline=job.deadline_s is not None,
        allowed_sites=play.sites_of(job),
        suspendable=play.is_interruptible if job.interruptible is None else job.interruptible,
        waits_for=tuple(map(JobId, job.depends_on)),
        transfers=transfers(job.data, play.gbit_per_s, play.transfer_kwh_per_gb),
    )
