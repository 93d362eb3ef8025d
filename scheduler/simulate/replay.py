"""An installation's own past, played again under other queues, beside what happened.

Jobs come when they came, need the time that they took, and find the sites as they are declared now; the grid is told
by forecasts as they were issued, and where there are none by perfect foresight of what was measured. All columns are
counted alike, planned power times measured intensity times PUE, so that only the schedules differ.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np

from lowtide.scheduler.ledger.cost import cost, total
from lowtide.scheduler.ledger.emissions import bridged, grams, price
from lowtide.scheduler.model.errors import BadInput
from lowtide.scheduler.model.job import JobId
from lowtide.scheduler.model.plan import GridForecast, JobView
from lowtide.scheduler.model.project import Project
from lowtide.scheduler.model.series import Series
from lowtide.scheduler.model.site import Queue, Site
from lowtide.scheduler.model.spending import Used
from lowtide.scheduler.model.units import S_PER_H, kwh_from_j
from lowtide.scheduler.simulate.foretold import Foreseen, Issued
from lowtide.scheduler.simulate.installation import Booked
from lowtide.scheduler.simulate.projects import Projects
from lowtide.scheduler.simulate.world import World

Stretch = tuple[str, datetime, datetime]
MJ_PER_J = 1000.0
LATE_S = 1.0
"""An end that lies less than a second after the deadline is on time."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job: where it ran and when, and when it ended; None where it did not within the time."""

    stretches: tuple[Stretch, ...]
    finished_at: datetime | None
    suspensions: int


@dataclass(frozen=True, slots=True)
class PastJob:
    """A job that has ended: as it was submitted, how long it really ran, and what became of it.

    ``patience_s`` is the job's own, None where the queue's held; ``urgency`` of the view is the job's own too where
    ``is_urgency_own``.
    """

    view: JobView
    run_s: float
    patience_s: float | None
    is_urgency_own: bool
    happened: Outcome


@dataclass(frozen=True, slots=True)
class Past:
    """What a replay needs: jobs submitted in [start, end), sites, and by zone measured intensity and issued forecasts.

    ``used`` is what projects used before, by day. Zones without a forecast that was known at the start are foreseen
    perfectly.
    """

    jobs: tuple[PastJob, ...]
    sites: tuple[Site, ...]
    intensity: Mapping[str, Series]
    start: datetime
    end: datetime
    slot_s: float
    issues: Mapping[str, Sequence[Series]] = field(default_factory=dict)
    projects: tuple[Project, ...] = ()
    half_life: timedelta = timedelta(hours=168)
    used: Used = field(default_factory=Used)
    reservations: tuple[Booked, ...] = ()


def usable(past: Past) -> Past:
    """The part of a past in which every zone's intensity is known without a gap; holes of an hour are bridged.

    Raises:
        BadInput: there is none with a job in it.

    """
    whole = {zone: _unbroken(bridged(series)) for zone, series in past.intensity.items()}
    start = max([past.start, *(series.points[0].start for series in whole.values())])
    end = min([past.end, *(series.points[-1].end for series in whole.values())])
    jobs = tuple(job for job in past.jobs if start <= job.view.submitted_at < end)
    if not whole or not jobs:
        told = f"{len(past.jobs)} jobs have ended, {len(jobs)} of them while the grid's intensity is on record"
        raise BadInput(f"there is nothing to play: {told}.", fix="Ask for more days, or wait until jobs have ended.")
    return replace(past, jobs=jobs, intensity=whole, start=start, end=end, used=past.used.before(start.date()))


def _unbroken(series: Series) -> Series:
    """The newest part of a series without a gap or a change of step."""
    first = 0
    for number, (before, after) in enumerate(pairwise(series.points), start=1):
        if before.end != after.start or before.end - before.start != after.end - after.start:
            first = number
    points = series.points[first:]
    return replace(series, points=points, step_s=(points[0].end - points[0].start).total_seconds())


class Told:
    """What is told of the grid in a replay: forecasts as issued where there are any, else what was to be measured.

    Attributes:
        issued: the zones of which forecasts are told, in order.

    """

    def __init__(self, past: Past) -> None:
        """Take a usable past; what was told once is kept, so replays of the same past share one."""
        known = {zone: _comparable(past.issues.get(zone, ()), series) for zone, series in past.intensity.items()}
        self.issued = tuple(sorted(z for z, found in known.items() if any(i.fetched_at <= past.start for i in found)))
        of, others = {z: past.intensity[z] for z in self.issued}, set(past.intensity) - set(self.issued)
        self._foreseen = Foreseen({z: past.intensity[z] for z in sorted(others)}, past.start)
        self._issued = Issued(of, known, past.slot_s, is_raw=False)

    def __call__(self, now: datetime) -> dict[str, GridForecast]:
        """What is known by then, by zone."""
        return self._foreseen(now) | self._issued(now)

    @property
    def word(self) -> str:
        """For the report: ``issued``, ``perfect``, or ``mixed`` where it depends on the zone."""
        if not self.issued:
            return "perfect"
        return "mixed" if self._foreseen.zones else "issued"


def _comparable(issues: Sequence[Series], actual: Series) -> tuple[Series, ...]:
    """The issues that tell what was measured: of the same signal, basis and accounting."""
    return tuple(issue for issue in issues if replace(issue, source=actual.source).key == actual.key)


def replayed(past: Past, queues: Mapping[str, Queue], outlook: Told | None = None) -> dict[JobId, Outcome]:
    """Play a usable past under these queues; a job whose queue is not among them runs at once.

    Args:
        past: what to play.
        queues: by name.
        outlook: what is told of the grid, shared by replays of one past.

    Raises:
        BadInput: a policy failed.

    """
    fallback = {job.view.queue: Queue(job.view.queue, policy="asap") for job in past.jobs}
    known = {**fallback, **queues}
    views = [_submitted(job, known[job.view.queue]) for job in past.jobs]
    run_s = {job.view.job_id: job.run_s for job in past.jobs}
    outlook = outlook or Told(past)
    world = World(
        views,
        past.sites,
        known,
        outlook,
        past.slot_s,
        until=past.end,
        run_s=run_s,
        projects=_projects(past, known),
        reservations=past.reservations,
    )
    try:
        courses = world.run()
    except RuntimeError as error:  # a policy of somebody else's
        raise BadInput(f"{str(error).splitlines()[0]}.", fix="Mend the policy, or choose another.") from error
    return {i: Outcome(tuple(c.stretches), c.finished_at, c.suspensions) for i, c in courses.items()}


def _projects(past: Past, queues: Mapping[str, Queue]) -> Projects:
    """The accounts of one replay: what it does itself comes on top of what was used before."""
    sites = {site.name: site for site in past.sites}

    def emitted(name: str, begin: datetime, end: datetime, power_w: float) -> float:
        return _stretch_g(power_w, (name, begin, end), past, sites)

    is_shared = any(queue.fair_share_weight for queue in queues.values())
    return Projects(past.projects, past.half_life, emitted, is_shared=is_shared, had=past.used)


def _submitted(job: PastJob, queue: Queue) -> JobView:
    """A job as it would have been taken in under a queue: its patience and urgency are the queue's, if not its own."""
    view = job.view
    urgency = view.urgency if job.is_urgency_own else queue.urgency
    if view.has_deadline:
        return replace(view, urgency=urgency)
    patience_s = queue.patience_s if job.patience_s is None else job.patience_s
    begin = max(view.submitted_at, view.not_before or view.submitted_at)
    finish = begin + timedelta(seconds=patience_s + view.remaining_s)
    return replace(view, urgency=urgency, latest_finish_at=finish)


def side_by_side(
    past: Past, columns: Mapping[str, Mapping[JobId, Outcome]], outlook: Told | None = None
) -> dict[str, object]:
    """Figures of each column over the jobs that ended, and can be priced, in all of them; and what they were told."""
    outlook = outlook or Told(past)
    sites = {site.name: site for site in past.sites}
    emitted = {
        name: {job.view.job_id: _grams(job, outcomes[job.view.job_id], past, sites) for job in past.jobs}
        for name, outcomes in columns.items()
    }
    same = [job for job in past.jobs if all(not math.isnan(found[job.view.job_id]) for found in emitted.values())]
    return {
        "jobs": len(past.jobs),
        "compared": len(same),
        "forecast": outlook.word,
        "issued_zones": list(outlook.issued),
        "columns": [_column(name, same, outcomes, emitted[name], sites) for name, outcomes in columns.items()],
    }


def _column(
    name: str,
    jobs: Sequence[PastJob],
    outcomes: Mapping[JobId, Outcome],
    emitted: Mapping[JobId, float],
    sites: Mapping[str, Site],
) -> dict[str, object]:
    waits_h = [_wait_h(job, outcomes[job.view.job_id]) for job in jobs]
    ended = [outcomes[job.view.job_id] for job in jobs]
    energy_j = math.fsum(
        job.view.power_w * _length_s(outcome.stretches) for job, outcome in zip(jobs, ended, strict=True)
    )
    bills = [bill for job, one in zip(jobs, ended, strict=True) for bill in _bills(job.view.power_w, one, sites)]
    cost_of_all, currency = total(bills)
    return {
        "name": name,
        "emissions_g": math.fsum(emitted[job.view.job_id] for job in jobs),
        "energy_kwh": kwh_from_j(energy_j),
        "cost": cost_of_all,
        "currency": currency,
        "mean_wait_h": float(np.mean(waits_h)) if waits_h else None,
        "p95_wait_h": float(np.quantile(waits_h, 0.95)) if waits_h else None,
        "max_wait_h": max(waits_h, default=None),
        "deadline_misses": sum(_is_late(job, outcome) for job, outcome in zip(jobs, ended, strict=True)),
        "suspensions": sum(outcome.suspensions for outcome in ended),
        "not_ended": sum(outcome.finished_at is None for outcome in outcomes.values()),
    }


def _grams(job: PastJob, outcome: Outcome, past: Past, sites: Mapping[str, Site]) -> float:
    """Of one job; NaN where it did not end, or ran where or when no intensity is known."""
    if outcome.finished_at is None:
        return math.nan
    return math.fsum(_stretch_g(job.view.power_w, stretch, past, sites) for stretch in outcome.stretches)


def _stretch_g(power_w: float, stretch: Stretch, past: Past, sites: Mapping[str, Site]) -> float:
    name, begin, end = stretch
    site = sites.get(name)
    if end <= begin:
        return 0.0
    found = price(past.intensity.get(site.zone), begin, end) if site is not None else None
    if site is None or found is None:
        return math.nan
    return grams(_energy_mj(power_w, begin, end), found.g_per_kwh, site.pue)


def _bills(power_w: float, outcome: Outcome, sites: Mapping[str, Site]) -> Iterator[dict[str, object]]:
    """What each stretch cost by the tariff that its site has now; nothing known where it has none."""
    for name, begin, end in outcome.stretches:
        site = sites.get(name)
        tariff = None if site is None else site.tariff
        if site is None or tariff is None:
            yield {"cost": None, "currency": None}
        elif end > begin:
            paid = cost(tariff, begin, end, _energy_mj(power_w, begin, end), site.pue)
            yield {"cost": paid, "currency": tariff.currency}


def _energy_mj(power_w: float, begin: datetime, end: datetime) -> int:
    return round(power_w * (end - begin).total_seconds() * MJ_PER_J)


def _length_s(stretches: Iterable[Stretch]) -> float:
    return math.fsum((end - begin).total_seconds() for _, begin, end in stretches)


def _wait_h(job: PastJob, outcome: Outcome) -> float:
    """How much later than at once it ended."""
    assert outcome.finished_at is not None  # noqa: S101 - only jobs that ended are compared
    return max(0.0, (outcome.finished_at - job.view.submitted_at).total_seconds() - job.run_s) / S_PER_H


def _is_late(job: PastJob, outcome: Outcome) -> bool:
    assert outcome.finished_at is not None  # noqa: S101 - as above
    return job.view.has_deadline and outcome.finished_at > job.view.latest_finish_at + timedelta(seconds=LATE_S)
