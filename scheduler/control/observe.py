"""Builds the snapshot: rows of the store, what is known of the grid, and the sites as they are."""

import threading
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, RowMapping

from lowtide.scheduler.control import launch
from lowtide.scheduler.control.doctor import limit_finding
from lowtide.scheduler.control.modes import course, modes_beside, modes_of, power_w, worked_s
from lowtide.scheduler.control.projects import Projects
from lowtide.scheduler.control.sites import SiteRuntime
from lowtide.scheduler.model.data import Transfer, transfers
from lowtide.scheduler.model.inflow import LONGEST, Inflow
from lowtide.scheduler.model.job import JobId, JobSpec, Urgency
from lowtide.scheduler.model.lifecycle import JobState
from lowtide.scheduler.model.plan import OVERRUN_SHARE, GridForecast, JobView, SiteView, Snapshot
from lowtide.scheduler.model.site import Queue, Site
from lowtide.scheduler.report.shape import Json
from lowtide.scheduler.settings import QueueSettings, Settings
from lowtide.scheduler.store import attempts, dependencies, jobs, reservations
from lowtide.scheduler.store import transfers as stored

MAX_DIRTY_STOPS = 1
"""After one stop without a checkpoint a job is no longer suspended for carbon: it would lose its work again."""
REFUSED_FOR = timedelta(days=1)
"""A site whose runner could not set a power limit is planned without for so long; then one attempt tries again."""
PAGE = 500
"""Jobs in one query: databases bound how many a statement may have."""
FALLBACK_QUEUE = Queue(name="(unconfigured)", policy="asap")
"""For jobs whose queue has left the settings: they run, with nothing added."""


class Observer:
    """Reads snapshots, one at a time, for the loop and for dry runs; specs never change, so they are read once."""

    def __init__(self, settings: Settings) -> None:
        """Take the settings."""
        self._settings, self._looking = settings, threading.Lock()
        self._specs: dict[str, JobSpec] = {}
        self.decide_by(settings.queues)
        self._inflow: Inflow | None = None
        self.projects = Projects(settings)
        self._transfers: dict[str, tuple[Transfer, ...]] = {}
        self.refusing_limits: dict[str, str] = {}
        self._speeds = {site.name: site.transfer_gbit_per_s for site in settings.sites}
        self._keeping = {site.name for site in settings.sites if launch.checkpoint_dir("any", site, settings)}

    def findings(self) -> list[Json]:
        """For doctor: where no power limit could be set of late, and what to do."""
        return [limit_finding(site, why) for site, why in sorted(self.refusing_limits.items())]

    def decide_by(self, queues: Iterable[QueueSettings]) -> None:
        """Take other policies and limits, whole; the next snapshot has them."""
        self.queues = {q.name: q.queue() for q in queues}

    def snapshot(
        self,
        connection: Connection,
        *,
        now: datetime,
        sites: Iterable[SiteRuntime],
        forecasts: dict[str, GridForecast],
    ) -> tuple[Snapshot, dict[str, RowMapping]]:
        """The snapshot at ``now``, and the job rows that it was made of by id."""
        with self._looking:
            rows = jobs.open_jobs(connection)
            self._learn(connection, rows, now)
            live = {row["job_id"]: row for row in attempts.live(connection)}
            self.refusing_limits = attempts.refusing_limits(connection, since=now - REFUSED_FOR)
            site_views = tuple(self._site(runtime, live.values()) for runtime in sites)
            views = tuple(self._job(row, live.get(row["id"]), now, site_views) for row in rows)
            views = self._hauling(connection, self._waiting(connection, views), rows)
            queues = dict(self.queues)
            queues |= {v.queue: FALLBACK_QUEUE for v in views if v.queue not in queues}
            is_shared = any(queue.fair_share_weight for queue in queues.values())
            shot = Snapshot(
                now=now,
                jobs=views,
                sites=site_views,
                queues=queues,
                forecasts=forecasts,
                slot_s=self._settings.slot_s,
                inflow_gpus=self._inflow.gpus(now) if self._inflow is not None else 0.0,
                projects=self.projects.views(connection, rows, live, now, is_shared=is_shared),
                reservations=reservations.ahead(connection, now),
            )
            return shot, {row["id"]: row for row in rows}

    def _learn(self, connection: Connection, rows: list[RowMapping], now: datetime) -> None:
        submitted = {row["id"]: row["submitted_at"] for row in rows}
        self._specs = {i: spec for i, spec in self._specs.items() if i in submitted}
        new = jobs.specs_of(connection, submitted.keys() - self._specs.keys())
        self._specs |= new
        if self._inflow is None:  # the new ones are among them
            self._inflow = _inflow(connection, now)
        else:
            for job_id in sorted(new, key=lambda i: (submitted[i], i)):
                self._inflow.add(submitted[job_id], gpu_s(new[job_id]))

    def spec(self, job_id: str) -> JobSpec:
        """The spec of a job of the last snapshot."""
        return self._specs[job_id]

    @staticmethod
    def _site(runtime: SiteRuntime, live: Iterable[RowMapping]) -> SiteView:
        here = [row for row in live if row["site"] == runtime.site.name]
        return SiteView(
            site=runtime.site,
            reachable=runtime.reachable,
            used_gpus=sum(row["gpus"] for row in here),
            used_cpus=sum(row["cpus"] for row in here),
        )

    def _job(self, row: RowMapping, live: RowMapping | None, now: datetime, sites: tuple[SiteView, ...]) -> JobView:
        spec = self._specs[row["id"]]
        left_s = work_left_s(spec, row, live, now)
        way = course(spec, live, left_s, now, self._settings)
        allowed = tuple(s.site.name for s in sites if allows(spec, s.site))
        places = (live["site"],) if live else allowed
        modes = modes_of(spec, self._settings, is_limited=live is None and self._limits(places))
        suspendable = row["dirty_stops"] < MAX_DIRTY_STOPS and self._may_suspend(spec, places)
        return JobView(
            job_id=JobId(row["id"]),
            queue=row["queue"],
            project=row["project"],
            urgency=Urgency(row["urgency"]),
            state=JobState(row["state"]),
            submitted_at=row["submitted_at"],
            resources=way.held,
            remaining_s=way.remaining_s,
            declared_s=left_s,
            high_s=high_left_s(spec, row, live, now),
            limit_left_s=limit_left_s(spec, row, live, now),
            power_w=way.power_w,
            modes=modes if live is None else modes_beside(way, left_s, modes),
            latest_finish_at=row["latest_finish_at"],
            has_deadline=spec.deadline_at is not None,
            not_before=max((m for m in (spec.begin_at, row["not_before"]) if m), default=None),
            allowed_sites=allowed,
            suspendable=suspendable,
            at_stake_s=at_stake_s(spec, live, now),
            suspensions=row["suspensions"],
            held=row["held_by"] is not None,
            forced=row["forced_by"] is not None,
            site=live["site"] if live else None,
            pool=live["pool"] if live else "",
            running_since=live["started_at"] if live else None,
            pinned_start_at=row["planned_start_at"],
            planned_finish_at=row["planned_finish_at"],
            retrying=row["not_before"] is not None,
        )

    def _waiting(self, connection: Connection, views: tuple[JobView, ...]) -> tuple[JobView, ...]:
        """The views, those of jobs that depend on others with what they wait for."""
        bound = [v.job_id for v in views if v.state is JobState.QUEUED and self._specs[v.job_id].depends_on]
        if not bound:
            return views
        rows = dependencies.of_jobs(connection, bound)
        return tuple(replace(v, **waits(rows[v.job_id])) if v.job_id in rows else v for v in views)

    def _hauling(
        self, connection: Connection, views: tuple[JobView, ...], rows: list[RowMapping]
    ) -> tuple[JobView, ...]:
        """The views, those of jobs with declared data with what each site lacks of it.

        Where the job has run, the data is. The time that it took to get there is no work done.
        """
        reading = [view.job_id for view in views if self._specs[view.job_id].data]
        known, told = self._brought(connection, reading), list(views)
        lacks: dict[str, tuple[Transfer, ...]] = {}
        for i, (view, row) in enumerate(zip(views, rows, strict=True)):
            if self._specs[view.job_id].data:
                had = [r for r in known.get(view.job_id, []) if r["started_at"] is not None]
                spec, is_begun = self._specs[view.job_id], view.site is not None or row["done_s"]
                lacking = self._lacking(spec)
                lacking = tuple(one for one in lacking if one.site not in {r["site"] for r in had})
                lacks[view.job_id] = lacking
                told[i] = replace(_less_done(view, spec, had if is_begun else []), transfers=lacking)
        self._transfers = lacks  # at once: the loop may ask while a dry run looks
        return tuple(told)

    def _lacking(self, spec: JobSpec) -> tuple[Transfer, ...]:
        """What each site lacks of a job's data when none of it was brought anywhere."""
        return transfers(spec.data, self._speeds, self._settings.transfer_kwh_per_gb)

    @staticmethod
    def _brought(connection: Connection, job_ids: list[JobId]) -> dict[str, list[RowMapping]]:
        pages = (job_ids[first : first + PAGE] for first in range(0, len(job_ids), PAGE))
        return {job_id: rows for page in pages for job_id, rows in stored.of_jobs(connection, page).items()}

    def transfer(self, job_id: str, site: str) -> Transfer | None:
        """What the job of the last snapshot would have brought to a site; None where all that it reads is there."""
        return next((one for one in self._transfers.get(job_id, ()) if one.site == site), None)

    def imagined(
        self,
        spec: JobSpec,
        now: datetime,
        sites: tuple[SiteView, ...],
        urgency: Urgency,
        waits_for: tuple[JobId, ...] = (),
    ) -> JobView:
        """A job that has not been submitted, for a dry run."""
        queue = self.queues.get(spec.queue, FALLBACK_QUEUE)
        allowed = tuple(s.site.name for s in sites if allows(spec, s.site))
        return JobView(
            job_id=JobId("(this-job)"),
            queue=spec.queue,
            project=spec.project,
            urgency=urgency,
            state=JobState.QUEUED,
            submitted_at=now,
            resources=spec.resources,
            remaining_s=spec.duration_s,
            high_s=spec.high_s or 0.0,
            power_w=power_w(spec, spec.resources, self._settings),
            modes=modes_of(spec, self._settings, is_limited=self._limits(allowed)),
            latest_finish_at=spec.latest_finish(now, queue.patience_s),
            has_deadline=spec.deadline_at is not None,
            not_before=spec.begin_at,
            allowed_sites=allowed,
            suspendable=self._may_suspend(spec, allowed),
            waits_for=waits_for,
            transfers=self._lacking(spec),
        )

    def _limits(self, places: Iterable[str]) -> bool:
        """Whether runners can set power limits wherever a job may run, as far as is known."""
        return self.refusing_limits.keys().isdisjoint(places)

    def _may_suspend(self, spec: JobSpec, places: Iterable[str]) -> bool:
        """Whether the job keeps its state over a suspension wherever it may run (INV-06).

        The checkpoint helper needs a directory at the site; without one a stop would lose everything.
        """
        return spec.interruptible and (spec.own_checkpoints or self._keeping.issuperset(places))


def _inflow(connection: Connection, now: datetime) -> Inflow:
    """What the store says of the last week, jobs that have ended too."""
    inflow = Inflow()
    for submitted_at, spec in jobs.submitted_since(connection, now - LONGEST):
        inflow.add(submitted_at, gpu_s(spec))
    return inflow


def waits(rows: list[RowMapping]) -> dict[str, Any]:
    """What a view says of the jobs that it depends on."""
    broken = next(((JobId(r["on_job_id"]), JobState(r["state"])) for r in rows if dependencies.is_broken(r)), None)
    return {"waits_for": tuple(JobId(r["on_job_id"]) for r in rows if dependencies.is_open(r)), "broken_by": broken}


def _less_done(view: JobView, spec: JobSpec, brought: list[RowMapping]) -> JobView:
    """The view without the work that attempts are taken to have done while they had data brought.

    Nor is anybody ended sooner for being sent to where its data is not.
    """
    lost_s = sum(r["lasts_s"] * spec.speed_at(r["gpus"]) for r in brought)
    at_width_s = lost_s / spec.speed_at(view.resources.gpus)
    limit_left_s = None if view.limit_left_s is None else view.limit_left_s + lost_s
    more_s = {"remaining_s": view.remaining_s + at_width_s, "declared_s": view.as_declared_s + lost_s}
    return replace(view, **more_s, limit_left_s=limit_left_s)


def gpu_s(spec: JobSpec) -> float:
    """GPU-seconds that a job needs as it was declared."""
    return spec.resources.gpus * spec.duration_s


def allows(spec: JobSpec, site: Site) -> bool:
    """Whether the job's residency lets it run at the site; a site without a jurisdiction matches none (INV-08)."""
    return not spec.residency or site.jurisdiction in spec.residency


def at_stake_s(spec: JobSpec, live: RowMapping | None, now: datetime) -> float:
    """What a stop may lose at worst, as run time in the declared way: the live attempt's work, and the grace.

    What the attempt has saved meanwhile is told when it ends, so until then none of it is proved.
    """
    if live is None or live["started_at"] is None:
        return 0.0
    return worked_s(spec, live, now) + spec.grace_s


def work_left_s(spec: JobSpec, row: RowMapping, live: RowMapping | None, now: datetime) -> float:
    """Run time still expected in the declared way; after an overrun a share of the estimate, never zero."""
    left_s = spec.duration_s - row["done_s"] - worked_s(spec, live, now)
    return float(max(left_s, OVERRUN_SHARE * spec.duration_s))


def high_left_s(spec: JobSpec, row: RowMapping, live: RowMapping | None, now: datetime) -> float:
    """What is left of the run time that it hardly ever exceeds; 0 where nothing is known of it."""
    return float(max(0.0, (spec.high_s or 0.0) - row["done_s"] - worked_s(spec, live, now)))


def limit_left_s(spec: JobSpec, row: RowMapping, live: RowMapping | None, now: datetime) -> float | None:
    """Run time until it is ended; None where it has no limit. What a kill has lost does not count.

    Counted is what it has run in the declared way: who is run narrower or under a power limit is not ended for that.
    Nor is who runs faster, as that is no more than declared: it has all of the time.
    """
    if spec.time_limit_s is None:
        return None
    ran_s = 0.0 if live is None or live["started_at"] is None else (now - live["started_at"]).total_seconds()
    return float(spec.time_limit_s - row["done_s"] - min(ran_s, worked_s(spec, live, now)))
