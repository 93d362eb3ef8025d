"""Holds projects to their budgets: near the end work is made greener, after it what has not begun waits.

A budget is allotted in the order in which jobs are served: what the ledger has of the period, then what work that has
begun will still take of it, then what each job would take. A job finds it open as long as anything is left, so that a
budget is exceeded by one job and not never begun.

Waiting ends with the period or with the job's own time, whichever comes first, and ends at once where anybody would
be late for it. Nothing that has begun is stopped or kept from going on; clinical work and what was ordered to run
now count and are never held.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from lowtide.policies.problem import EPSILON_S, Placement
from lowtide.scheduler.decide.market import LIVE, Market
from lowtide.scheduler.decide.triage import Asker
from lowtide.scheduler.decide.wording import run_now, when
from lowtide.scheduler.model.job import JobId
from lowtide.scheduler.model.lifecycle import JobState
from lowtide.scheduler.model.plan import Action, JobDecision, JobView, Snapshot
from lowtide.scheduler.model.project import Measure, Overdraft, Spending, Standing
from lowtide.scheduler.model.reason import Reason, ReasonCode
from lowtide.scheduler.model.units import S_PER_H, kwh_per_s

BEGUN = LIVE | {JobState.SUSPENDED}
EXPECTED_GAIN = 0.0
"""The normal quantile of even odds: near its end a budget has the guard go by the expected saving alone."""

FOREMOST = frozenset({ReasonCode.CLINICAL, ReasonCode.RUN_NOW})
WHY: dict[ReasonCode | None, str] = {
    ReasonCode.DEADLINE: "its deadline is near",
    ReasonCode.PATIENCE: "its patience ends",
}
"""What has a job run over its budget, by why it may not be delayed."""


@dataclass(slots=True)
class Purse:
    """One budget while a plan is made; amounts in the unit of its measure."""

    project: str
    spending: Spending
    promised: float = 0.0

    @property
    def standing(self) -> Standing:
        """How it stands with what is promised so far."""
        return self.spending.budget.standing(self.spending.used + self.promised)

    def counts(self, view: JobView) -> bool:
        """Whether the job takes of what is counted: one without GPUs takes no GPU-hours."""
        return self.spending.budget.measure is Measure.CARBON or view.resources.gpus > 0


def purses(snapshot: Snapshot, here: Market) -> dict[str, list[Purse]]:
    """The budgets by project, with what work that has begun will still take of them."""
    found = {
        name: [Purse(name, spending) for spending in project.spendings]
        for name, project in snapshot.projects.items()
        if project.spendings
    }
    for view in snapshot.jobs if found else ():
        if view.state in BEGUN and not view.held:
            _promise(found.get(view.project, ()), view, snapshot, here)
    return found


def _promise(budgets: Iterable[Purse], view: JobView, snapshot: Snapshot, here: Market) -> None:
    """Set aside what a job will take within the period: at planning power, and at its site's mean price."""
    begins = max(snapshot.now, view.not_before or snapshot.now)
    for purse in budgets:
        lasts_s = min(view.remaining_s, max(0.0, (purse.spending.end - begins).total_seconds()))
        if purse.spending.budget.measure is Measure.GPU:
            purse.promised += view.resources.gpus * lasts_s / S_PER_H
        else:
            purse.promised += kwh_per_s(view.power_w) * lasts_s * _mean_price(view, here)


def _mean_price(view: JobView, here: Market) -> float:
    """Of the site where a job runs, else of the first that it may use, in g/kWh; 0 where none is known."""
    sites = (view.site,) if view.site is not None else view.allowed_sites
    index = next((here.index[name] for name in sites if name in here.index), None)
    if index is None:
        return 0.0
    return float(here.prices.price_sum[index, -1]) / float(here.grid.edges_s[-1])


def asked_anew(snapshot: Snapshot) -> Snapshot:
    """The same, asking about every job with a budget: what is left of it may have changed by any other.

    A part of a queue stays as it is: whose start has come is in it, and nobody else begins.
    """
    if snapshot.asked is None or snapshot.is_partial or not snapshot.projects:
        return snapshot
    names = {name for name, project in snapshot.projects.items() if project.spendings}
    budgeted = {view.job_id for view in snapshot.jobs if view.project in names}
    return replace(snapshot, asked=snapshot.asked | budgeted)


def within_budgets(
    askers: list[Asker],
    snapshot: Snapshot,
    here: Market,
    spared: frozenset[JobId] | None,
    kept: Mapping[str, JobDecision],
) -> tuple[dict[JobId, JobDecision], list[Asker]]:
    """Decisions on jobs held beyond the horizon, and the others as their budgets let them ask.

    Args:
        askers: in the order in which they are served.
        snapshot: has the budgets.
        here: its sites and prices.
        spared: jobs that do not wait, as somebody would be late for it; None for all.
        kept: what stands of the plan before; what these jobs will take was promised to them.

    """
    books = purses(snapshot, here)
    if not books:
        return {}, askers
    for view in snapshot.jobs if kept else ():
        chosen = kept[view.job_id].chosen if view.job_id in kept else None
        if chosen is not None and view.state not in BEGUN:
            _promise(books.get(view.project, ()), replace(view, not_before=chosen.start), snapshot, here)
    greener = {name for name, own in books.items() if any(p.standing is not Standing.OPEN for p in own)}
    decided: dict[JobId, JobDecision] = {}
    asking = []
    for asker in askers:
        own = books.get(asker.view.project, [])
        held = _held(_greener(asker) if asker.view.project in greener else asker, own, snapshot, spared)
        if asker.view.state not in BEGUN:
            _promise(own, asker.view, snapshot, here)
        if held.over is not None and held.over.is_withheld and held.request.release_s >= here.grid.edges_s[-1]:
            decided[held.view.job_id] = _beyond(held, held.over, here)
        else:
            asking.append(held)
    return decided, asking


def _greener(asker: Asker) -> Asker:
    """The same job, for which any expected saving counts."""
    carbon_alone = replace(asker.request, min_savings=0.0, z=EXPECTED_GAIN, delay_g_per_h=0.0, money_g_per_unit=0.0)
    return replace(asker, request=carbon_alone)


def _held(asker: Asker, own: list[Purse], snapshot: Snapshot, spared: frozenset[JobId] | None) -> Asker:
    """A job before a spent budget: asking from the end of the period on, or of its own time; else as it is."""
    view = asker.view
    spent = [purse for purse in own if purse.standing is Standing.SPENT and purse.counts(view)]
    if not spent or view.state in BEGUN:
        return asker
    last = max(spent, key=lambda purse: purse.spending.end)
    begins_s = (last.spending.end - snapshot.now).total_seconds()
    if asker.request.release_s >= begins_s:
        return asker
    is_withheld = asker.rush is None and spared is not None and view.job_id not in spared
    over = Overdraft(last.project, last.spending, last.promised, is_withheld)
    if not is_withheld:
        return replace(asker, over=over)
    until_s = max(asker.request.release_s, min(begins_s, asker.request.latest_start_s))
    return replace(asker, over=over, request=replace(asker.request, release_s=until_s))


def is_withheld(asker: Asker) -> bool:
    """Whether the job waits for its budget."""
    return asker.over is not None and asker.over.is_withheld


def _beyond(asker: Asker, over: Overdraft, here: Market) -> JobDecision:
    start = here.grid.now + timedelta(seconds=asker.request.release_s)
    return JobDecision(
        asker.view.job_id,
        Action.WAIT,
        _waits(over, when(start)),
        here.grid.at(here.grid.first_s),
        latest_start_at=asker.latest_start_at,
        would_start_now_if=conditions(asker.view.job_id, over),
    )


def reason_before(over: Overdraft, asker: Asker, placed: Placement | None, here: Market, reason: Reason) -> Reason:
    """Why a job before a spent budget waits for it or runs over it; ``reason`` where something else decides."""
    if placed is None or asker.rush in FOREMOST:
        return reason
    if over.is_withheld:
        return _waits(over, when(here.grid.at(placed.start_s)))
    if placed.start_s > EPSILON_S:
        return reason
    why = WHY.get(asker.rush, "if it waited, work would be late")
    return Reason(ReasonCode.OVER_BUDGET, {**_facts(over), "why": why})


def _waits(over: Overdraft, start: str) -> Reason:
    told = over.spending.budget.measure.told
    return Reason(ReasonCode.BUDGET, {**_facts(over), "promised": told(over.promised), "start": start})


def _facts(over: Overdraft) -> dict[str, object]:
    spending = over.spending
    budget, told = spending.budget, spending.budget.measure.told
    return {
        "project": over.project,
        "period": budget.period.value,
        "used": told(spending.used),
        "limit": told(budget.limit),
    }


def conditions(job_id: JobId, over: Overdraft) -> tuple[str, ...]:
    """What would have the job start now."""
    budget = over.spending.budget
    taken = budget.measure.told(over.spending.used + over.promised)
    return (f"the budget of project {over.project} were above {taken} a {budget.period.value}", run_now(job_id))
