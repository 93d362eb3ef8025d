"""One builder per domain object: what a test does not name has an everyday value."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from lowtide.scheduler.model.job import JobId, Resources, Urgency
from lowtide.scheduler.model.lifecycle import JobState
from lowtide.scheduler.model.mode import Mode
from lowtide.scheduler.model.plan import GridForecast, JobView, SiteView, Snapshot
from lowtide.scheduler.model.project import Budget, Measure, Period, ProjectView, Spending
from lowtide.scheduler.model.site import Queue, Site

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
"""A Tuesday, on a slot edge."""

SLOT_S = 900.0
HOUR_S = 3600.0


def a_forecast(
    prices: Sequence[float] = (200.0,) * 192,
    *,
    errors: Sequence[float] | float = 0.0,
    zone: str = "GB",
    start: datetime = NOON,
    step_s: float = SLOT_S,
    rung: str = "fresh",
    may_shift: bool = True,
    signal: str = "average",
    basis: str = "location",
) -> GridForecast:
    error = tuple(errors) if isinstance(errors, Sequence) else (float(errors),) * len(prices)
    provenance: dict[str, object] = {"source": "test", "signal": signal, "basis": basis}
    return GridForecast(zone, rung, may_shift, 60.0, start, step_s, tuple(map(float, prices)), error, provenance)


def a_dip(low: float = 50.0, high: float = 300.0, *, begin: int = 16, slots: int = 16, count: int = 192) -> list[float]:
    """Prices that are high but for one stretch of slots."""
    return [low if begin <= i < begin + slots else high for i in range(count)]


def a_queue(name: str = "research", *, policy: str = "lowest_window", **changes: object) -> Queue:
    return Queue(name, policy, **changes)  # type: ignore[arg-type]  # any field of Queue


def a_site(name: str = "home", *, zone: str = "GB", gpus: int = 8, cpus: int = 64, pue: float = 1.0) -> Site:
    return Site(name, zone, gpus, cpus, pue=pue)


def a_site_view(
    site: Site | None = None, *, reachable: bool = True, used_gpus: int = 0, used_cpus: int = 0
) -> SiteView:
    return SiteView(site or a_site(), reachable, used_gpus, used_cpus)


def a_job_view(
    job_id: str = "job-1",
    *,
    gpus: int = 1,
    cpus: int = 1,
    hours: float = 1.0,
    patience_h: float = 24.0,
    finish_in_h: float | None = None,
    now: datetime = NOON,
    running_h: float | None = None,
    queue: str = "research",
    urgency: Urgency = Urgency.NORMAL,
    state: JobState = JobState.QUEUED,
    allowed_sites: tuple[str, ...] = ("home",),
    power_w: float = 300.0,
    **changes: object,
) -> JobView:
    """A waiting job; with ``running_h`` one that has been running at ``site`` (home) for so long, all unproved."""
    if running_h is not None:
        state = JobState.RUNNING
        since = now - timedelta(hours=running_h)
        changes = {"site": "home", "running_since": since, "at_stake_s": running_h * HOUR_S, **changes}
    finish_h = patience_h + hours if finish_in_h is None else finish_in_h
    return JobView(
        job_id=JobId(job_id),
        queue=queue,
        urgency=urgency,
        state=state,
        submitted_at=now - timedelta(minutes=1),
        resources=Resources(gpus=gpus, cpus=cpus),
        remaining_s=hours * HOUR_S,
        power_w=power_w,
        latest_finish_at=now + timedelta(hours=finish_h),
        allowed_sites=allowed_sites,
        **changes,  # type: ignore[arg-type]  # any further field of JobView
    )


def a_snapshot(
    *jobs: JobView,
    now: datetime = NOON,
    sites: Sequence[SiteView] | None = None,
    queues: Sequence[Queue] = (),
    forecasts: Sequence[GridForecast] | None = None,
    slot_s: float = SLOT_S,
) -> Snapshot:
    """A snapshot; without sites one called home whose use is what the live jobs hold."""
    if sites is None:
        live = [j for j in jobs if j.site == "home"]
        gpus, cpus = sum(j.resources.gpus for j in live), sum(j.resources.cpus for j in live)
        sites = [a_site_view(used_gpus=gpus, used_cpus=cpus)]
    known = queues or [a_queue()]
    return Snapshot(
        now=now,
        jobs=tuple(sorted(jobs, key=lambda job: job.job_id)),
        sites=tuple(sites),
        queues={queue.name: queue for queue in known},
        forecasts={f.zone: f for f in ([a_forecast(start=now)] if forecasts is None else forecasts)},
        slot_s=slot_s,
    )


def some_modes(*ways: tuple[float, float]) -> tuple[Mode, ...]:
    """(speed, watts) of 1, 2, 3, ... GPUs with a CPU each."""
    return tuple(Mode(gpus, gpus, speed, power_w) for gpus, (speed, power_w) in enumerate(ways, start=1))


def a_spending(
    used: float, limit: float = 1000.0, *, measure: Measure = Measure.CARBON, period: Period = Period.DAY
) -> Spending:
    return Spending(Budget(period, measure, limit), used, *period.around(NOON))


def budgeted(snapshot: Snapshot, *spendings: Spending) -> Snapshot:
    """The same, with all jobs on the account of a project with these budgets."""
    jobs = tuple(replace(view, project="scans") for view in snapshot.jobs)
    return replace(snapshot, jobs=jobs, projects={"scans": ProjectView("scans", spendings)})
