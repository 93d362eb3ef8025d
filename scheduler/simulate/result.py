"""What came of a play: executed stretches into grams by the ledger's arithmetic, waits, GPUs at work."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from lowtide.scheduler.forecast.record import sampled
from lowtide.scheduler.ledger.cost import cost, total
from lowtide.scheduler.ledger.emissions import grams, price
from lowtide.scheduler.model.data import TransferPart
from lowtide.scheduler.model.job import JobId
from lowtide.scheduler.model.series import Series
from lowtide.scheduler.model.site import Site
from lowtide.scheduler.model.units import S_PER_H, kwh_from_j
from lowtide.scheduler.simulate.bound import Demand, bound_g
from lowtide.scheduler.simulate.chain import earliest_s, latest_s
from lowtide.scheduler.simulate.trace import TraceJob
from lowtide.scheduler.simulate.world import Course

if TYPE_CHECKING:
    from lowtide.scheduler.simulate.play import Play

LATE_S = 1.0
"""An end that lies less than a second after its time is on time."""
MJ_PER_J = 1000.0
Bill = Mapping[str, object]
"""``cost`` and ``currency``, as a row of the ledger has them."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a play.

    Attributes:
        report: the document; its keys are an interface.
        running: the GPUs at work from each moment on, in order of time.
        waits_h: of each job that ended, how much later than at once it did, in hours.

    """

    report: dict[str, object]
    running: tuple[tuple[datetime, int], ...]
    waits_h: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class _Spent:
    """Grams and money of some stretches of one job."""

    emitted_g: float
    bills: Sequence[Bill]


@dataclass(frozen=True, slots=True)
class _Figures:
    """Of one job: what it spent as executed, and had it run at once, at its site or the first one.

    At once is at submission, for one that waits for others when they would have ended had they run at once.
    """

    ran: _Spent
    at_once: _Spent
    energy_kwh: float


def _figures(job: TraceJob, course: Course, play: "Play", begin_s: float, sites: Mapping[str, Site]) -> _Figures:
    power_w, home = play.power_of(job), sites[play.sites_of(job)[0]]
    begin = play.start + timedelta(seconds=begin_s)
    ran = [(sites[name], first, last) for name, first, last in course.stretches if last > first]
    at_once = [(home, begin, begin + timedelta(seconds=job.duration_s))]
    run_s = math.fsum((last - first).total_seconds() for _, first, last in ran)
    return _Figures(_spent(ran, power_w, play), _spent(at_once, power_w, play), kwh_from_j(power_w * run_s))


def _spent(stretches: Sequence[tuple[Site, datetime, datetime]], power_w: float, play: "Play") -> _Spent:
    emitted = (grams_of(play.intensity[site.zone], first, last, power_w, site.pue) for site, first, last in stretches)
    return _Spent(math.fsum(emitted), [_bill(site, first, last, power_w) for site, first, last in stretches])


def grams_of(series: Series, begin: datetime, end: datetime, power_w: float, pue: float) -> float:
    """What a power in W emits over [begin, end) by the ledger's arithmetic; NaN where no intensity is known."""
    found = price(series, begin, end)
    return math.nan if found is None else grams(_energy_mj(power_w, begin, end), found.g_per_kwh, pue)


def _bill(site: Site, begin: datetime, end: datetime, power_w: float) -> Bill:
    """What it costs; nothing known where there is no tariff."""
    tariff = site.tariff
    paid = None if tariff is None else cost(tariff, begin, end, _energy_mj(power_w, begin, end), site.pue)
    return {"cost": paid, "currency": None if tariff is None else tariff.currency}


def result_of(play: "Play", courses: Mapping[JobId, Course], plan_s: Sequence[float]) -> Result:
    """Count what happened to the jobs of a play; ``plan_s`` tells how long each plan took."""
    ended = [(job, courses[JobId(job.job_id)]) for job in play.jobs if courses[JobId(job.job_id)].finished_at]
    begins = earliest_s(play.jobs)
    sites = {site.name: site for site in play.sites}
    figures = [_figures(job, course, play, begins[job.job_id], sites) for job, course in ended]
    emitted, baseline = math.fsum(f.ran.emitted_g for f in figures), math.fsum(f.at_once.emitted_g for f in figures)
    waits_h = [_wait_h(job, course, play) for job, course in ended]
    lateness_s = [(job, _late_s(job, course, play)) for job, course in ended]
    late = [job for job, late_s in lateness_s if late_s > LATE_S]
    running = _running(ended)
    report = {
        "policy": play.policy,
        "params": dict(play.params),
        "zones": list(play.intensity),
        "gpus": play.gpus,
        "sites": None if play.installation is None else {site.name: site.gpus for site in play.sites},
        "jobs": len(play.jobs),
        "completed": len(ended),
        "failed": len(play.jobs) - len(ended),
        "emissions_g": emitted,
        "baseline_emissions_g": baseline,
        "ratio": emitted / baseline if baseline > 0 else None,
        "transfer_g": math.fsum(_transfer_g(course, play, sites) for _, course in ended),
        "transfer_kwh": math.fsum(part.energy_kwh for part in _brought(ended)),
        "energy_kwh": math.fsum(f.energy_kwh for f in figures),
        **_costs(figures),
        "mean_wait_h": float(np.mean(waits_h)) if waits_h else None,
        "p95_wait_h": float(np.quantile(waits_h, 0.95)) if waits_h else None,
        "max_wait_h": max(waits_h, default=None),
        "patience_misses": sum(job.deadline_s is None for job in late),
        "deadline_misses": sum(job.deadline_s is not None for job in late),
        "longest_miss_h": max((late_s for _, late_s in lateness_s if late_s > LATE_S), default=0.0) / S_PER_H,
        "peak_gpus": max((gpus for _, gpus in running), default=0),
        "suspensions": sum(course.suspensions for course in courses.values()),
        "churn": sum(course.moves for course in courses.values()) / len(courses) if courses else None,
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
    return Result(report, running, tuple(waits_h))


def _costs(figures: Sequence[_Figures]) -> dict[str, object]:
    """What the electricity cost, and had everything run at once; null unless all is known in one currency."""
    paid, currency = total([bill for one in figures for bill in one.ran.bills])
    before, same = total([bill for one in figures for bill in one.at_once.bills])
    return {"cost": paid, "currency": currency, "baseline_cost": before if same == currency else None}


def _energy_mj(power_w: float, begin: datetime, end: datetime) -> int:
    return round(power_w * (end - begin).total_seconds() * MJ_PER_J)


def _brought(ended: Sequence[tuple[TraceJob, Course]]) -> list[TransferPart]:
    return [part for _, course in ended for _, transfer in course.brought for part in transfer.parts]


def _transfer_g(course: Course, play: "Play", sites: Mapping[str, Site]) -> float:
    """Grams of bringing data, at the mean of both ends' intensity while it travels."""
    emitted_g = 0.0
    for begin, transfer in course.brought:
        end = begin + timedelta(seconds=transfer.lasts_s)
        for part in transfer.parts:
            found = [price(play.intensity[sites[name].zone], begin, end) for name in (part.source, transfer.site)]
            known = [one.g_per_kwh for one in found if one is not None]
            emitted_g += part.energy_kwh * (math.fsum(known) / len(known) if known else math.nan)
    return emitted_g


def _against_bound(play: "Play", jobs: Sequence[TraceJob], emitted: float, baseline: float) -> dict[str, object]:
    """The bound of the same jobs, how far above it this is, and its saving's share; null where there is no bound."""
    least = _bound_g(play, jobs) if play.is_bound_wanted else math.nan
    if math.isnan(least) or baseline <= 0:
        return {"bound_g": None, "bound_ratio": None, "over_bound_fraction": None, "captured_fraction": None}
    captured = (baseline - emitted) / (baseline - least) if baseline > least else None
    over = emitted / least - 1 if least > 0 else None
    return {
        "bound_g": least,
        "bound_ratio": least / baseline,
        "over_bound_fraction": over,
        "captured_fraction": captured,
    }


def _bound_g(play: "Play", jobs: Sequence[TraceJob]) -> float:
    sites, names = play.sites, [site.name for site in play.sites]
    step_s = min(play.intensity[site.zone].step_s for site in sites)
    count = round((play.end - play.start).total_seconds() / step_s)
    price = np.array([sampled(play.intensity[site.zone], play.start, step_s, count) * site.pue for site in sites])
    own_s = {j.job_id: (play.latest_finish(j, j.duration_s) - play.start).total_seconds() for j in play.jobs}
    begins, ends = earliest_s(play.jobs), latest_s(play.jobs, own_s)
    demands = [
        Demand(
            begins[job.job_id],
            ends[job.job_id],
            job.duration_s,
            job.gpus,
            play.power_of(job),
            tuple(map(names.index, play.sites_of(job))),
        )
        for job in jobs
    ]
    is_free = play.installation is None and play.gpus is None
    return bound_g(demands, price, step_s, None if is_free else [site.gpus for site in sites])


def _wait_h(job: TraceJob, course: Course, play: "Play") -> float:
    """How much later than at once it ended, counted from when it could begin."""
    assert course.finished_at is not None  # noqa: S101 - only such are asked about
    passed_s = (course.finished_at - play.submitted_at(job)).total_seconds()
    return max(0.0, passed_s - course.blocked_s - job.duration_s) / S_PER_H


def _late_s(job: TraceJob, course: Course, play: "Play") -> float:
    """How much after its deadline or patience it ended; negative when before."""
    assert course.finished_at is not None  # noqa: S101 - as above
    blocked_s = course.blocked_s if job.deadline_s is None else 0.0
    return (course.finished_at - play.latest_finish(job, job.duration_s)).total_seconds() - blocked_s


def _running(ended: Sequence[tuple[TraceJob, Course]]) -> tuple[tuple[datetime, int], ...]:
    """The GPUs at work from each moment on, over all sites; where one stops as another starts they do not add up."""
    changes = sorted(
        change
        for job, course in ended
        for _, begin, end in course.stretches
        for change in ((begin, job.gpus), (end, -job.gpus))
    )
    return tuple(zip((moment for moment, _ in changes), accumulate(gpus for _, gpus in changes), strict=True))
