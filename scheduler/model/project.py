"""Projects: on whose account jobs run, what they may spend in a calendar period, and what they have spent."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any


class Period(StrEnum):
    """A calendar period in UTC; weeks begin on Monday."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"

    def around(self, moment: datetime) -> tuple[datetime, datetime]:
        """The period that holds a moment, as [start, end); aware UTC."""
        day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        if self is Period.DAY:
            return day, day + timedelta(days=1)
        if self is Period.WEEK:
            monday = day - timedelta(days=day.weekday())
            return monday, monday + timedelta(days=7)
        months = {Period.MONTH: 1, Period.QUARTER: 3, Period.YEAR: 12}[self]
        first = (day.month - 1) // months * months
        return _month(day.year, first), _month(day.year, first + months)


def _month(year: int, months: int) -> datetime:
    """The start of the month that is so many after January of a year."""
    return datetime(year + months // 12, months % 12 + 1, 1, tzinfo=UTC)


class Measure(StrEnum):
    """What a budget counts: grams of CO2e, or GPU-hours."""

    CARBON = "carbon"
    GPU = "gpu"

    @property
    def unit(self) -> str:
        """What its amounts are in."""
        return "g" if self is Measure.CARBON else "GPU-h"

    def told(self, amount: float) -> str:
        """An amount with its unit."""
        return f"{amount:,.0f} g" if self is Measure.CARBON else f"{amount:,.1f} GPU-h"


class Standing(StrEnum):
    """How a budget stands: work goes on as usual, it is made greener, or what has not begun waits."""

    OPEN = "open"
    NEAR = "near"
    SPENT = "spent"


@dataclass(frozen=True, slots=True)
class Budget:
    """What a project may spend in a period: ``limit`` in the measure's unit, ``near`` the share of it that is near."""

    period: Period
    measure: Measure
    limit: float
    near: float = 0.8

    def standing(self, taken: float) -> Standing:
        """How it stands when so much is taken."""
        if taken >= self.limit:
            return Standing.SPENT
        return Standing.NEAR if taken >= self.near * self.limit else Standing.OPEN


@dataclass(frozen=True, slots=True)
class Project:
    """A project as it is declared; one that is not has no budget and a share of 1."""

    name: str
    budgets: tuple[Budget, ...] = ()
    share: float = 1.0


def project_from_json(plain: Mapping[str, Any]) -> Project:
    """The project of which ``asdict`` gave the values, after a journey as JSON."""
    budgets = (
        Budget(**{**one, "period": Period(one["period"]), "measure": Measure(one["measure"])})
        for one in plain["budgets"]
    )
    return Project(plain["name"], tuple(budgets), plain["share"])


@dataclass(frozen=True, slots=True)
class Spending:
    """What the ledger has of a budget's period [start, end): ``used`` in the measure's unit."""

    budget: Budget
    used: float
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class ProjectView:
    """One project as one decision sees it: its share beside other projects, and what it has used of late.

    ``recent_gpu_h`` are GPU-hours that count half after every half-life.
    """

    name: str
    spendings: tuple[Spending, ...] = ()
    share: float = 1.0
    recent_gpu_h: float = 0.0


@dataclass(frozen=True, slots=True)
class Overdraft:
    """A spent budget that a job stands before.

    Attributes:
        project: whose budget.
        spending: the one of the spent budgets whose period ends last.
        promised: what work that has begun or comes first will still take of it, in the measure's unit.
        is_withheld: whether the job waits for it; else it runs over the budget.

    """

    project: str
    spending: Spending
    promised: float
    is_withheld: bool
