"""What this installation's jobs did in the last days, for a replay elsewhere: the daemon itself plays nothing."""

from dataclasses import asdict
from datetime import datetime, timedelta

from sqlalchemy import Connection, RowMapping

from lowtide.scheduler.control.lookup import PAGE, Lookup, Parts
from lowtide.scheduler.control.modes import worked_s
from lowtide.scheduler.control.settling import recorded
from lowtide.scheduler.model.job import JobSpec, Urgency, spec_from_json
from lowtide.scheduler.model.lifecycle import JobState
from lowtide.scheduler.model.plan import SiteView
from lowtide.scheduler.report.issues import issues_json
from lowtide.scheduler.report.shape import Json
from lowtide.scheduler.store import attempts, issues, jobs, reservations

LEAST_S = 1.0
"""A job that ran took some time, whatever two looks at it say."""
MAX_JOBS = 20_000
"""The newest of them; some 10 MB of JSON."""


class History(Lookup):
    """Tells jobs that ended well, with the grid's measured intensity of their days."""

    def __init__(self, parts: Parts) -> None:
        """Take the running parts."""
        super().__init__(parts)
        self._past_of = parts

    async def past(self, days: float) -> Json:
        """The last days: jobs that succeeded with where and when they ran, and all that they were decided by.

        Intensity reaches further back, as forecasts are judged by it.
        """
        end = self._clock.now()
        start, parts = end - timedelta(days=days), self._past_of
        actuals = parts.grid.actuals()

        def work(connection: Connection) -> Json:
            found = recorded(connection, parts.grid.zones, actuals, end)
            clipped = {zone: series.clip(start - issues.KEPT, end) for zone, series in found.items()}
            intensity = {zone: series.to_json() for zone, series in clipped.items() if series.points}
            issued = {zone: self._issued(connection, zone) for zone in intensity}
            kept = [_kept(row) for row in reservations.listed(connection)]
            projects = parts.observer.projects.past(connection, start, end)
            known = {"intensity": intensity, "issues": issued, "projects": projects, "reservations": kept}
            return {"jobs": self._ended(connection, start), **known}

        return {
            "start": _exact(start),
            "end": _exact(end),
            "slot_s": parts.settings.slot_s,
            "sites": [asdict(runtime.site) for runtime in parts.sites.values()],
            "queues": [queue.model_dump(mode="json") for queue in parts.policy_sets.queues],
            **await self._writer.read(work),
        }

    def _issued(self, connection: Connection, zone: str) -> Json:
        """The forecasts of a zone that are on record, as they were issued."""
        state = self._past_of.grid.zones.get(zone)
        series = state.forecast if state is not None else None
        return issues_json([] if series is None else issues.known(connection, series.key))

    def _ended(self, connection: Connection, start: datetime) -> list[Json]:
        told: list[Json] = []
        page = self._page_of(connection, None)
        while page and len(told) < MAX_JOBS:
            recent = [row for row in page if row["submitted_at"] >= start]
            tries = attempts.by_job(connection, [row["id"] for row in recent])
            told += [one for row in recent if (one := self._job_json(row, tries.get(row["id"], []))) is not None]
            page = self._page_of(connection, page[-1]["id"]) if len(recent) == len(page) else []
        return told

    @staticmethod
    def _page_of(connection: Connection, after: str | None) -> list[RowMapping]:
        return jobs.search(connection, states=(JobState.SUCCEEDED.value,), limit=PAGE, after=after)

    def _job_json(self, row: RowMapping, tries: list[RowMapping]) -> Json | None:
        """A job with its own words where it had any; None where no run of it is on record."""
        spec: JobSpec = spec_from_json(row["spec"])
        ran = [
            (one["site"], one["started_at"], one["ended_at"], worked_s(spec, one, one["ended_at"]))
            for one in tries
            if one["started_at"] and one["ended_at"]
        ]
        if not ran:
            return None
        sites = tuple(SiteView(runtime.site, True, 0, 0) for runtime in self._past_of.sites.values())
        view = self._past_of.observer.imagined(spec, row["submitted_at"], sites, spec.urgency or Urgency.NORMAL)
        return {
            "id": row["id"],
            "queue": spec.queue,
            "project": spec.project,
            "urgency": spec.urgency.value if spec.urgency is not None else None,
            "submitted_at": _exact(row["submitted_at"]),
            "begin_at": _exact(spec.begin_at),
            "depends_on": [one.job_id for one in spec.depends_on],
            "deadline_at": _exact(spec.deadline_at),
            "patience_s": spec.patience_s,
            "duration_s": spec.duration_s,
            "run_s": max(LEAST_S, sum(done_s for *_, done_s in ran)),
            "gpus": spec.resources.gpus,
            "cpus": spec.resources.cpus,
            "gpu_model": spec.resources.gpu_model,
            "power_w": view.power_w,
            "allowed_sites": list(view.allowed_sites),
            "suspendable": view.suspendable,
            "suspensions": row["suspensions"],
            "finished_at": _exact(row["finished_at"]),
            "stretches": [[site, _exact(begin), _exact(end)] for site, begin, end, _ in ran],
        }


def _kept(row: RowMapping) -> Json:
    times = {name: _exact(row[name]) for name in ("at", "start_at", "end_at", "ended_at")}
    return {"number": row["id"], **{name: row[name] for name in ("site", "pool", *reservations.OF_WHAT)}, **times}


def _exact(moment: datetime | None) -> str | None:
    """ISO 8601 to the microsecond: whole seconds would change short jobs."""
    return None if moment is None else moment.isoformat()
