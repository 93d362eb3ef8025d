"""Projects as the planner sees them: budgets beside what the ledger has of them, shares beside recent use."""

import math
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, RowMapping

from lowtide.scheduler.decide.budget import Purse, purses
from lowtide.scheduler.decide.market import market
from lowtide.scheduler.model.plan import Snapshot
from lowtide.scheduler.model.project import Budget, Measure, Period, ProjectView, Spending
from lowtide.scheduler.model.units import S_PER_H
from lowtide.scheduler.report.shape import Json, stamp
from lowtide.scheduler.settings import ProjectSettings, Settings
from lowtide.scheduler.store.spent import Days, Spent, gpu_days, summed

DAY = timedelta(days=1)
HALF_LIVES = 10
"""What was used so many half-lives ago counts a thousandth, and is forgotten."""


class Projects:
    """Keeps the sums of what projects have spent; reads nothing where there is neither a budget nor a share."""

    def __init__(self, settings: Settings) -> None:
        """Take the settings."""
        self._declared = {one.name: one for one in settings.projects}
        self._budgets = {one.name: budgets(one) for one in settings.projects}
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
            return {name: self._view(name, running, now) for name in names}

    def _view(self, name: str, running: Days, now: datetime) -> ProjectView:
        declared, own = self._declared.get(name), self._budgets.get(name, ())
        return ProjectView(
            name,
            tuple(self._spending(name, budget, running, now) for budget in own),
            1.0 if declared is None else declared.share,
            self._recent_gpu_h(name, running, now),
        )

    def _spending(self, name: str, budget: Budget, running: Days, now: datetime) -> Spending:
        start, end = budget.period.around(now)
        if budget.measure is Measure.CARBON:
            return Spending(budget, self._spent.emissions_g(name, start, end), start, end)
        return Spending(budget, self._gpu_h(name, running, start, end), start, end)

    def _gpu_h(self, name: str, running: Days, start: datetime, end: datetime) -> float:
        return (self._spent.gpu_s(name, start, end) + summed(running, name, start, end)) / S_PER_H

    def _recent_gpu_h(self, name: str, running: Days, now: datetime) -> float:
        """GPU-hours that count half after every half-life, day by day, each day as if it lay in its middle."""
        today = Period.DAY.around(now)[0]
        found = 0.0
        for days_ago in range(math.ceil(HALF_LIVES * self._half_life / DAY)):
            day = today - days_ago * DAY
            age = max(timedelta(0), now - day - DAY / 2)
            found += self._gpu_h(name, running, day, day + DAY) * 0.5 ** (age / self._half_life)
        return found


def budgets(project: ProjectSettings) -> tuple[Budget, ...]:
    """A project's budgets as the core sees them, one for each limit."""
    return tuple(
        Budget(one.period, measure, limit, one.near)
        for one in project.budgets
        for measure, limit in ((Measure.CARBON, one.carbon_g), (Measure.GPU, one.gpu_h))
        if limit is not None
    )


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
