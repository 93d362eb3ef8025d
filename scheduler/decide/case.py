"""One job of a finished plan, looked at again: what the others leave it, and what it could have under other bounds."""

import math
from dataclasses import dataclass, replace
from functools import cached_property

from lowtide.policies.holding import needs
from lowtide.policies.moves import parts
from lowtide.policies.offer import Offer
from lowtide.policies.pieces import cheapest_pieces, less
from lowtide.policies.problem import Placement, Problem, Request
from lowtide.policies.timeline import MW_PER_W, IntArray, Timeline, milliwatts
from lowtide.policies.worth import as_grams, is_weighed
from lowtide.scheduler.decide.keep import ahead, needs_ahead
from lowtide.scheduler.decide.market import LIVE, Market, market
from lowtide.scheduler.decide.precedence import released
from lowtide.scheduler.decide.rows import looked_at, read
from lowtide.scheduler.decide.triage import Asker, asker_of
from lowtide.scheduler.decide.wording import when
from lowtide.scheduler.model.job import JobId
from lowtide.scheduler.model.lifecycle import JobState
from lowtide.scheduler.model.plan import Candidate, JobDecision, JobView, Plan, Row, Snapshot
from lowtide.scheduler.model.site import Queue

MATTERS = 0.01
"""A placement that emits less by a smaller share than this is not worth a line."""


@dataclass(frozen=True)
class Case:
    """A job with its decision, the market, and the capacity that is left when all others have theirs."""

    asker: Asker
    decision: JobDecision
    snapshot: Snapshot
    here: Market
    left: Timeline

    @property
    def request(self) -> Request:
        """What the job asks for."""
        return self.asker.request

    @cached_property
    def chosen_g(self) -> float:
        """What the plan has it emit, a running job by going on unless it says otherwise; NaN where it is not known."""
        chosen, request = self.decision.chosen, self.request
        if chosen is not None:
            return chosen.emissions_g - chosen.transfer_g
        if request.running_at is None:
            return math.nan
        return self.here.prices.grams(request.running_at, ((0.0, request.work_s),), request.power_w)

    @cached_property
    def empty(self) -> Timeline:
        """What there would be without any other job."""
        sites = tuple(replace(view, used_gpus=0, used_cpus=0) for view in self.snapshot.sites)
        return market(replace(self.snapshot, sites=sites, jobs=())).timeline

    def offer(self, timeline: Timeline, **changes: object) -> Offer:
        """What the job could have of a timeline if its request were changed."""
        request = replace(self.request, **changes)  # type: ignore[arg-type]  # any field of Request
        problem = Problem((request,), self.here.prices, timeline, electricity=self.here.electricity)
        return Offer(problem, timeline, request)

    def grams_of(self, placed: Placement) -> float:
        """What a placement of an offer emits, whatever else its cost holds."""
        weighed = is_weighed(self.request)
        return as_grams(self.here.prices, self.request, placed).cost_g if weighed else placed.cost_g

    def saving_g(self, placed: Placement | None) -> float | None:
        """What a placement would emit less than the chosen one; None where that is next to nothing, or not known."""
        chosen, groups = self.decision.chosen, self.here.prices.groups
        site = self.request.running_at if chosen is None else self.here.index[chosen.site]
        if placed is None or site is None or groups[placed.site] != groups[site]:
            return None
        saving_g = self.chosen_g - self.grams_of(placed)
        return saving_g if saving_g > MATTERS * self.chosen_g else None

    def missing(self, placed: Placement) -> str:
        """What of a placement the others do not leave, such as ``2 GPU(s)``; empty where it fits."""
        (gpus, cpus, power_w), *_ = needs(self.request, placed)
        short = {
            "{} GPU(s)": self._short(self.left.free_gpus, gpus, placed),
            "{} CPU(s)": self._short(self.left.free_cpus, cpus, placed),
        }
        if self.left.common is not None:
            short_mw = self._short(self.left.common.free_mw, milliwatts(power_w), placed)
            short["{} W"] = math.ceil(short_mw / MW_PER_W)
        return " and ".join(told.format(count) for told, count in short.items() if count > 0)

    def _short(self, free: IntArray, need: int, placed: Placement) -> int:
        """How much is missing of [site, slot] at worst."""
        grid = self.here.grid
        slots = (slice(grid.slot_at(a), grid.slots_until(b)) for a, b in placed.spans)
        left = (free[placed.site, within] for within in slots)
        return max((need - int(one.min()) for one in left if one.size), default=0)

    def span_of(self, placed: Placement) -> dict[str, object]:
        """Where and when a placement lies, as people read it."""
        at = self.here.grid.at
        site = read(self.snapshot.sites[placed.site].site.name)
        return {"site": site, "start": when(at(placed.start_s)), "end": when(at(placed.end_s))}


def barred(case: Case) -> tuple[int, ...]:
    """Sites, by their pools' own rows, that answer and could run a job, were it allowed there."""
    sites, view = case.snapshot.sites, case.asker.view
    rows = case.snapshot.rows or tuple(Row(one.site.name, one.site.name, "") for one in sites)
    allowed = {row.site for row in rows if row.key in view.allowed_sites}
    others = (i for i, row in enumerate(rows) if row.of is None and row.site not in allowed)
    return tuple(i for i in others if sites[i].reachable and sites[i].site.can_ever_run(view.resources))


def least(offer: Offer) -> Placement | None:
    """The placement of least emissions that is not to go on without a pause."""
    request = offer.request
    if request.running_at is not None:
        return less(cheapest_pieces(offer), cheapest_pieces(offer.going_on()))
    return cheapest_pieces(offer) if request.suspensions_left else offer.cheapest()


def case_of(job_id: JobId, snapshot: Snapshot, plan: Plan) -> Case | None:
    """The case of a job; None where it is not among those that were planned, or its site is gone.

    What has data to bring is looked at among the sites that are as far from it as the chosen one.
    """
    snapshot, plan = looked_at(snapshot, plan)
    view = next((one for one in snapshot.jobs if one.job_id == job_id), None)
    decision = next((one for one in plan.decisions if one.job_id == job_id), None)
    here = market(snapshot)
    if view is None or decision is None or (view.site is not None and view.site not in here.index):
        return None
    queue = snapshot.queues.get(view.queue) or Queue(view.queue, policy="asap")
    asker = asker_of(released(view, plan) if view.waits_for else view, queue, snapshot, here)
    if asker.request.moves and asker.request.sites:
        asker = replace(asker, request=_as_far(asker.request, decision.chosen, here))
    return Case(asker, decision, snapshot, here, _left(job_id, snapshot, plan, here))


def _as_far(request: Request, chosen: Candidate | None, here: Market) -> Request:
    """The request for the sites that cost as much to reach as the chosen one, or as the first."""
    found = [part for part, _ in parts(request)]
    site = here.index.get(chosen.site) if chosen is not None else None
    return next((part for part in found if site in part.sites), found[0])


def _left(job_id: JobId, snapshot: Snapshot, plan: Plan, here: Market) -> Timeline:
    """Capacity less what all other jobs have by the plan."""
    timeline, views = here.timeline.copy(), {view.job_id: view for view in snapshot.jobs}
    for decision in plan.decisions:
        view, chosen = views[decision.job_id], decision.chosen
        if view.state in LIVE and (view.job_id == job_id or (chosen is not None and view.state is JobState.RUNNING)):
            _release(view, here, timeline)
        if view.job_id != job_id and chosen is not None and view.state not in LIVE - {JobState.RUNNING}:
            _hold(view, chosen, snapshot, here, timeline)
    return timeline


def _release(view: JobView, here: Market, timeline: Timeline) -> None:
    """Give back what the market takes a live job to hold."""
    if view.site in here.index:
        held_s = 0.0 if view.state is JobState.SUSPENDING else view.remaining_s
        need = view.resources
        timeline.give_back(here.index[str(view.site)], ((0.0, held_s),), need.gpus, need.cpus, view.power_w)


def _hold(view: JobView, chosen: Candidate, snapshot: Snapshot, here: Market, timeline: Timeline) -> None:
    """Take what a plan has a job hold from now on."""
    coming = chosen.after(snapshot.now)
    if coming and chosen.site in here.index:
        timeline.sell_each(here.index[chosen.site], ahead(coming, snapshot.now), needs_ahead(view, coming))
