"""Projects as the planner sees them: budgets beside what the ledger has of them, shares beside recent use."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta

from sqlalchemy import Connection, RowMapping

from lowtide.scheduler.decide.budget import Purse, purses
from lowtide.scheduler.decide.market import market
from lowtide.scheduler.model.plan import Snapshot
from lowtide.scheduler.model.project import Project, ProjectView
from lowtide.scheduler.model.spending import reach, used_to_json, view_of
from lowtide.scheduler.report.shape import Json, stamp
from lowtide.scheduler.settings import Settings
from lowtide.scheduler.store.spent import Spent, gpu_days

HOUR = timedelta(hours=1)


class Projects:
    """Keeps the sums of what projects have spent; reads nothing where there is neither a budget nor a share."""

    def __init__(self, settings: Settings) -> None:
        """Take the settings."""
        self._declared = {one.name: one.project() for one in settings.projects}
        self._half_life = timedelta(hours=settings.fair_share_half_life_h)
        self._spent, self._catching_up = Spent(), threading.Lock()

    def views(
        self,
        connection: Connection,
        rows: Sequence[RowMapping],
        live: Mapping[str, RowMapping],
        now: datetime,
        *,
        is_shared: bool,
    ) -> dict[str, ProjectView]:
        """The projects that decisions have regard to, by name: those of the settings, and with shares all with jobs.

        Args:
            connection: one consistent view of the store.
            rows: the open jobs.
            live: live attempts by job.
            now: aware UTC.
            is_shared: whether any queue has regard to fair shares.

        """
        names = dict.fromkeys(self._declared) | dict.fromkeys(row["project"] for row in rows if is_shared)
        if not names:
            return {}
        projects = {row["id"]: row["project"] for row in rows if row["id"] in live}
        running = gpu_days((projects[job_id], row, now) for job_id, row in live.items() if job_id in projects)
        with self._catching_up:
            self._spent.catch_up(connection)
            used = self._spent.used(running)
            declared = (self._declared.get(name, Project(name)) for name in names)
            return {project.name: view_of(project, used, now, self._half_life) for project in declared}

    def past(self, connection: Connection, start: datetime, end: datetime) -> Json:
        """For a replay: projects as they are declared, and by day what each used, as far back as it counts at a start.

        The replay begins in [start, end); what attempts that still run have used is not in it.
        """
        with self._catching_up:
            self._spent.catch_up(connection)
            used = used_to_json(self._spent.used(), reach(start, self._half_life), end.date())
        declared = [asdict(one) for one in self._declared.values()]
        return {"declared": declared, "half_life_h": self._half_life / HOUR, "used": used}


def statement(snapshot: Snapshot) -> list[Json]:
    """How every budget of a snapshot stands, as the API shows it; amounts in the unit that comes with them."""
    books = purses(snapshot, market(snapshot))
    return [_row(purse) for name in sorted(books) for purse in books[name]]


def _row(purse: Purse) -> Json:
    spending = purse.spending
    budget = spending.budget
    return {
        "project": purse.project,
        "period": budget.period.value,
        "start": stamp(spending.start),
        "end": stamp(spending.end),
        "measure": budget.measure.value,
        "unit": budget.measure.unit,
        "limit": budget.limit,
        "used": spending.used,
        "promised": purse.promised,
        "left": budget.limit - spending.used - purse.promised,
        "standing": purse.standing.value,
    }
