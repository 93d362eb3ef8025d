"""Builds the snapshot: rows of the store, what is known of the grid, and the sites as they are."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import Connection, RowMapping

from lowtide.scheduler.control import launch
from lowtide.scheduler.control.sites import SiteRuntime
from lowtide.scheduler.model.inflow import LONGEST, Inflow
from lowtide.scheduler.model.job import JobId, JobSpec, Urgency
from lowtide.scheduler.model.lifecycle import JobState
from lowtide.scheduler.model.plan import OVERRUN_SHARE, GridForecast, JobView, SiteView, Snapshot
from lowtide.scheduler.model.site import Queue, Site
from lowtide.scheduler.settings import QueueSettings, Settings
from lowtide.scheduler.store import attempts, jobs, reservations

MAX_DIRTY_STOPS = 1
"""After one stop without a checkpoint a job is no longer suspended for carbon: it would lose its work again."""
FALLBACK_QUEUE = Queue(name="(unconfigured)", policy="asap")
"""For jobs whose queue has left the settings: they run, with nothing added."""


class Observer:
    """Reads snapshots; specs never change, so they are read once."""

    def __init__(self, settings: Settings) -> None:
        """Take the settings."""
        self._settings = settings
        self._specs: dict[str, JobSpec] = {}
        self.decide_by(settings.queues)
        self._inflow: Inflow | None = None
        self._keeping = {site.name for site in settings.sites if launch.checkpoint_dir("any", site, settings)}

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
        rows = jobs.open_jobs(connection)
        self._learn(connection, rows, now)
        live = {row["job_id"]: row for row in attempts.live(connection)}
        site_views = tuple(self._site(runtime, live.values()) for runtime in sites)
        views = tuple(self._job(row, live.get(row["id"]), now, site_views) for row in rows)
        queues = dict(self.queues)
        queues |= {v.queue: FALLBACK_QUEUE for v in views if v.queue not in queues}
        shot = Snapshot(
            now=now,
            jobs=views,
            sites=site_views,
            queues=queues,
            forecasts=forecasts,
            slot_s=self._settings.slot_s,
            inflow_gpus=self._inflow.gpus(now) if self._inflow is not None else 0.0,
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
        allowed = tuple(s.site.name for s in sites if allows(spec, s.site))
        places = (live["site"],) if live else allowed
        suspendable = row["dirty_stops"] < MAX_DIRTY_STOPS and self._may_suspend(spec, places)
        return JobView(
            job_id=JobId(row["id"]),
            queue=row["queue"],
            project=row["project"],
            urgency=Urgency(row["urgency"]),
            state=JobState(row["state"]),
            submitted_at=row["submitted_at"],
            resources=spec.resources,
            remaining_s=remaining_s(spec, row, live, now),
            power_w=power_w(spec, self._settings),
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
            retrying=row["not_before"] is not None,
        )

    def imagined(self, spec: JobSpec, now: datetime, sites: tuple[SiteView, ...], urgency: Urgency) -> JobView:
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
            power_w=power_w(spec, self._settings),
            latest_finish_at=spec.latest_finish(now, queue.patience_s),
            has_deadline=spec.deadline_at is not None,
            not_before=spec.begin_at,
            allowed_sites=allowed,
            suspendable=self._may_suspend(spec, allowed),
        )

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


def gpu_s(spec: JobSpec) -> float:
    """GPU-seconds that a job needs as it was declared."""
    return spec.resources.gpus * spec.duration_s


def allows(spec: JobSpec, site: Site) -> bool:
    """Whether the job's residency lets it run at the site; a site without a jurisdiction matches none (INV-08)."""
    return not spec.residency or site.jurisdiction in spec.residency


def power_w(spec: JobSpec, settings: Settings) -> float:
    """The power that is planned with: declared, else defaults for the resources."""
    if spec.power_w is not None:
        return spec.power_w
    return spec.resources.gpus * settings.gpu_power_w + spec.resources.cpus * settings.cpu_power_w


def at_stake_s(spec: JobSpec, live: RowMapping | None, now: datetime) -> float:
    """What a stop may lose at worst, in clock seconds: the live attempt's whole run, and the grace it may take.

    What the attempt has saved meanwhile is told when it ends, so until then none of it is proved.
    """
    if live is None or live["started_at"] is None:
        return 0.0
    return float((now - live["started_at"]).total_seconds() + spec.grace_s)


def remaining_s(spec: JobSpec, row: RowMapping, live: RowMapping | None, now: datetime) -> float:
    """Run time still expected, in clock seconds; after an overrun a share of the estimate, never zero."""
    ran = timedelta(0)
    if live is not None and live["started_at"] is not None:
        ran = now - live["started_at"]
    left_s = spec.duration_s - row["done_s"] - ran.total_seconds()
    return float(max(left_s, OVERRUN_SHARE * spec.duration_s))
