"""What the projects of a play have spent so far, as budgets and fair shares see it: the ledger's own arithmetic.

It is known at once, where a daemon's ledger is settled within hours; the past that a replay begins with comes with it.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from lowtide.scheduler.model.plan import JobView
from lowtide.scheduler.model.project import Project, ProjectView
from lowtide.scheduler.model.spending import MICRO, Used, by_day, spans_by_day, view_of
from lowtide.scheduler.model.units import S_PER_H

Emitted = Callable[[str, datetime, datetime, float], float]
"""Grams at a site over [start, end) at a power in W."""


class Projects:
    """The projects of one play."""

    def __init__(
        self, declared: Iterable[Project], half_life: timedelta, emitted: Emitted, *, is_shared: bool, had: Used
    ) -> None:
        """Take what is declared and what projects ``had`` used before; ``is_shared`` has all projects of jobs count."""
        self._declared = {one.name: one for one in declared}
        self._half_life, self._emitted, self._is_shared = half_life, emitted, is_shared
        self._used = Used(Counter(had.emissions_ug), Counter(had.gpu_us))

    def ran(self, view: JobView, begin: datetime, end: datetime) -> None:
        """Count what a job has run since it was last counted."""
        for first, last in spans_by_day(begin, end):
            grams = self._emitted(str(view.site), first, last, view.power_w)
            if not math.isnan(grams):  # what cannot be priced is in no ledger either
                self._used.emissions_ug[view.project, first.date()] += round(grams * MICRO)
        for day, lasted_us in by_day(begin, end) if view.resources.gpus else ():
            self._used.gpu_us[view.project, day] += view.resources.gpus * lasted_us

    def views(self, jobs: Iterable[JobView], now: datetime) -> dict[str, ProjectView]:
        """The projects that a decision has regard to, by name."""
        names = dict.fromkeys(self._declared) | dict.fromkeys(job.project for job in jobs if self._is_shared)
        declared = (self._declared.get(name, Project(name)) for name in names)
        return {one.name: view_of(one, self._used, now, self._half_life) for one in declared}

    def totals(self) -> list[dict[str, object]]:
        """What each has used, the past before the play included."""
        names = sorted({name for name, _ in (*self._used.emissions_ug, *self._used.gpu_us)})
        return [
            {
                "project": name,
                "emissions_g": sum(ug for (who, _), ug in self._used.emissions_ug.items() if who == name) / MICRO,
                "gpu_h": sum(us for (who, _), us in self._used.gpu_us.items() if who == name) / MICRO / S_PER_H,
            }
            for name in names
        ]
