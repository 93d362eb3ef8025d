"""Projects as the planner sees them: their budgets beside what the ledger has of them."""

import threading
from collections.abc import Iterable, Mapping
from datetime import datetime

from sqlalchemy import Connection, RowMapping

from lowtide.scheduler.decide.budget import Purse, purses
from lowtide.scheduler.decide.market import market
from lowtide.scheduler.model.plan import Snapshot
from lowtide.scheduler.model.project import Budget, Measure, ProjectView, Spending
from lowtide.scheduler.model.units import S_PER_H
from lowtide.scheduler.report.shape import Json, stamp
from lowtide.scheduler.settings import ProjectSettings, Settings
from lowtide.scheduler.store.spent import Spent


class Projects:
    """Keeps the sums of what projects have spent; reads nothing where no project has a budget."""

    def __init__(self, settings: Settings) -> None:
        """Take the settings."""
        self._budgets = {one.name: budgets(one) for one in settings.projects if one.budgets}
        self._spent, self._catching_up = Spent(), threading.Lock()

    def views(
        self, connection: Connection, rows: Iterable[RowMapping], live: Mapping[str, RowMapping], now: datetime
    ) -> dict[str, ProjectView]:
        """The projects with a budget, by name.

        Args:
            connection: one consistent view of the store.
            rows: the open jobs.
            live: live attempts by job.
            now: aware UTC.

        """
        if not self._budgets:
            return {}
        running = [(row["project"], live[row["id"]]) for row in rows if row["id"] in live]
        with self._catching_up:
            self._spent.catch_up(connection)
            return {
                name: ProjectView(name, tuple(self._spending(name, budget, running, now) for budget in own))
                for name, own in self._budgets.items()
            }

    def _spending(self, name: str, budget: Budget, running: list[tuple[str, RowMapping]], now: datetime) -> Spending:
        start, end = budget.period.around(now)
        if budget.measure is Measure.CARBON:
            return Spending(budget, self._spent.emissions_g(name, start, end), start, end)
        running_s = sum(_gpu_s(attempt, start, now) for project, attempt in running if project == name)
        return Spending(budget, (self._spent.gpu_s(name, start, end) + running_s) / S_PER_H, start, end)


def budgets(project: ProjectSettings) -> tuple[Budget, ...]:
    """A project's budgets as the core sees them, one for each limit."""
    return tuple(
        Budget(one.period, measure, limit, one.near)
        for one in project.budgets
        for measure, limit in ((Measure.CARBON, one.carbon_g), (Measure.GPU, one.gpu_h))
        if limit is not None
    )


def _gpu_s(row: RowMapping, start: datetime, now: datetime) -> float:
    """GPU-seconds of a live attempt since the start of a period."""
    if row["started_at"] is None:
        return 0.0
    return float(row["gpus"] * max(0.0, (now - max(start, row["started_at"])).total_seconds()))


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
