"""What projects have used by day, and what that makes of their budgets and shares; pure.

Sums are whole millionths, so that adding them up in another order gives the same. The daemon fills them from the store,
a backtest from what its jobs did.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from lowtide.scheduler.model.project import Budget, Measure, Period, Project, ProjectView, Spending
from lowtide.scheduler.model.units import S_PER_H

MICRO = 1_000_000
DAY = timedelta(days=1)
HALF_LIVES = 10
"""What was used so many half-lives ago counts a thousandth, and is forgotten."""
Days = Counter[tuple[str, date]]
"""By project and day in UTC."""


def spans_by_day(start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """[start, end) cut at midnight UTC."""
    at = start.astimezone(UTC)
    while at < end:
        until = min(at.replace(hour=0, minute=0, second=0, microsecond=0) + DAY, end)
        yield at, until
        at = until


def by_day(start: datetime, end: datetime) -> list[tuple[date, int]]:
    """The microseconds of [start, end) in each day in UTC."""
    return [(first.date(), (last - first) // timedelta(microseconds=1)) for first, last in spans_by_day(start, end)]


def summed(days: Days, project: str, start: datetime, end: datetime) -> float:
    """The sum over the days in [start, end), which begin and end at midnight UTC, in millions."""
    first = start.date()
    return sum(days[project, first + i * DAY] for i in range((end - start) // DAY)) / MICRO


@dataclass(frozen=True, slots=True)
class Used:
    """Micrograms of CO2e and microseconds of GPUs; those of ``running`` work come on top of the others."""

    emissions_ug: Days = field(default_factory=Counter)
    gpu_us: Days = field(default_factory=Counter)
    running_us: Days = field(default_factory=Counter)

    def emissions_g(self, project: str, start: datetime, end: datetime) -> float:
        """Grams of the days in [start, end), which begin and end at midnight UTC."""
        return summed(self.emissions_ug, project, start, end)

    def before(self, first: date) -> "Used":
        """What was used on the days before one."""
        kept = ({k: v for k, v in days.items() if k[1] < first} for days in (self.emissions_ug, self.gpu_us))
        return Used(*map(Counter, kept))

    def gpu_h(self, project: str, start: datetime, end: datetime) -> float:
        """GPU-hours of the same days."""
        seconds = summed(self.gpu_us, project, start, end) + summed(self.running_us, project, start, end)
        return seconds / S_PER_H


def used_to_json(used: Used, since: date, until: date) -> list[list[Any]]:
    """What ended work used on the days in [since, until): project, day, micrograms and GPU microseconds."""
    keys = sorted({key for key in (*used.emissions_ug, *used.gpu_us) if since <= key[1] < until})
    return [[name, day.isoformat(), used.emissions_ug[name, day], used.gpu_us[name, day]] for name, day in keys]


def used_from_json(rows: Iterable[Sequence[Any]]) -> Used:
    """The same after a journey as JSON."""
    used = Used()
    for name, day, emitted_ug, gpu_us in rows:
        key = name, date.fromisoformat(day)
        used.emissions_ug[key], used.gpu_us[key] = emitted_ug, gpu_us
    return used


def reach(start: datetime, half_life: timedelta) -> date:
    """The first day that counts for a budget or a share at ``start``."""
    return min(Period.YEAR.around(start)[0], start - (HALF_LIVES + 1) * half_life).date()


def view_of(project: Project, used: Used, now: datetime, half_life: timedelta) -> ProjectView:
    """A project as one decision sees it."""
    spendings = tuple(_spending(project.name, budget, used, now) for budget in project.budgets)
    return ProjectView(project.name, spendings, project.share, _recent_gpu_h(project.name, used, now, half_life))


def _spending(name: str, budget: Budget, used: Used, now: datetime) -> Spending:
    start, end = budget.period.around(now)
    sum_of = used.emissions_g if budget.measure is Measure.CARBON else used.gpu_h
    return Spending(budget, sum_of(name, start, end), start, end)


def _recent_gpu_h(name: str, used: Used, now: datetime, half_life: timedelta) -> float:
    """GPU-hours that count half after every half-life, day by day, each day as if it lay in its middle."""
    today = Period.DAY.around(now)[0]
    found = 0.0
    for days_ago in range(math.ceil(HALF_LIVES * half_life / DAY)):
        day = today - days_ago * DAY
        age = max(timedelta(0), now - day - DAY / 2)
        found += used.gpu_h(name, day, day + DAY) * 0.5 ** (age / half_life)
    return found
