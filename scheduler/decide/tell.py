"""Turns a policy's choice into a decision with its reason, candidates and what would change it."""

import math
from datetime import datetime, timedelta

from lowtide.policies.guard import NOISE
from lowtide.policies.holding import needs, ways
from lowtide.policies.problem import EPSILON_S, Choice, Placement
from lowtide.scheduler.decide import budget
from lowtide.scheduler.decide.bills import cheap_window, cost_of, too_dear
from lowtide.scheduler.decide.keep import making_room
from lowtide.scheduler.decide.kept_free import displacing, in_the_way
from lowtide.scheduler.decide.market import Market
from lowtide.scheduler.decide.transfer import brought
from lowtide.scheduler.decide.triage import NO_REASON, SOMEONE, Asker
from lowtide.scheduler.decide.wording import break_even_g_per_kwh, carbon_conditions, percent, run_now, when
from lowtide.scheduler.model.plan import Action, Candidate, JobDecision, PolicyFailure, Segment, Snapshot
from lowtide.scheduler.model.reason import Reason, ReasonCode

MOST_CANDIDATES = 6
"""More rows than this nobody reads; sites beyond them are considered all the same."""


def told(
    asker: Asker, choice: Choice, here: Market, snapshot: Snapshot, failure: PolicyFailure | None = None
) -> JobDecision:
    """The decision that follows from a choice; ``failure`` is why its queue's policy had no say in it.

    What starts takes of the capacity that is free now.
    """
    action, reason = _verdict(asker, choice, here, snapshot)
    if asker.over is not None:
        reason = budget.reason_before(asker.over, asker, choice.chosen, here, reason)
    if action is Action.START and choice.chosen is not None:
        need = needs(asker.request, choice.chosen)[0]
        if not here.takes_now(choice.chosen.site, *need):
            action, reason = Action.WAIT, making_room(need[0], need[1])
    if failure is not None and action in {Action.START, Action.KEEP}:  # a wait is then for capacity or a time
        reason = Reason(ReasonCode.POLICY_FAILED, {"policy": failure.policy, "error": failure.error})
    baseline, placed = choice.baseline, choice.chosen
    site = placed.site if placed is not None else (asker.request.sites[0] if asker.request.sites else None)
    shifted = placed is not None and placed is not baseline
    return JobDecision(
        job_id=asker.view.job_id,
        action=action,
        reason=reason,
        next_review_at=_review_at(asker, placed, here),
        candidates=_candidates(asker, choice, here, snapshot),
        baseline_g=baseline.cost_g if baseline is not None else 0.0,
        saving_g=choice.saving_g if shifted else 0.0,
        doubt_g=choice.doubt_g,
        latest_start_at=asker.latest_start_at,
        would_start_now_if=_conditions(asker, choice, here, snapshot, reason.code),
        rung=here.rungs[site] if site is not None else "",
    )


def grid_data(snapshot: Snapshot) -> tuple[dict[str, object], ...]:
    """The forecasts that a plan rests on, by zone, JSON-able."""
    rows = []
    for zone in sorted(snapshot.forecasts):
        forecast = snapshot.forecasts[zone]
        end = forecast.start + timedelta(seconds=forecast.step_s * len(forecast.g_per_kwh))
        own: dict[str, object] = {"zone": zone, "rung": forecast.rung, "age_s": forecast.age_s}
        own |= {"from": forecast.start.isoformat(), "to": end.isoformat()}
        rows.append({**forecast.provenance, **own})
    return tuple(rows)


def _review_at(asker: Asker, placed: Placement | None, here: Market) -> datetime:
    """The end of the current slot, or the release or the start when that comes first; always after now (INV-04)."""
    begins_s = (asker.request.release_s, here.grid.first_s if placed is None else placed.start_s)
    return here.grid.at(min(here.grid.first_s, *(s for s in begins_s if s > EPSILON_S), math.inf))


def _verdict(asker: Asker, choice: Choice, here: Market, snapshot: Snapshot) -> tuple[Action, Reason]:
    """What to do and why."""
    placed = choice.chosen
    if asker.request.running_at is not None:
        return _verdict_running(asker, choice, here, snapshot)
    if placed is None:
        return Action.WAIT, _no_capacity(asker, here, snapshot, None)
    if placed.start_s <= EPSILON_S:
        return Action.START, _why_now(asker, choice, here)
    baseline = choice.baseline
    if baseline is not None and placed.start_s > baseline.start_s + EPSILON_S:
        return Action.WAIT, _window(asker, choice, placed, here)
    if asker.request.release_s > EPSILON_S and placed.start_s <= asker.request.release_s + EPSILON_S:
        code = ReasonCode.RETRY_BACKOFF if asker.view.retrying else ReasonCode.BEGIN_TIME
        return Action.WAIT, Reason(code, {"start": when(here.grid.at(placed.start_s))})
    return Action.WAIT, _no_capacity(asker, here, snapshot, placed)


def _verdict_running(asker: Asker, choice: Choice, here: Market, snapshot: Snapshot) -> tuple[Action, Reason]:
    placed, request = choice.chosen, asker.request
    way = request.declared if placed is None else ways(request, placed)[0]
    is_resized = (way.gpus, way.cpus) != (request.gpus, request.cpus)
    if placed is not None and placed is not choice.baseline and (placed.start_s > EPSILON_S or is_resized):
        start = when(here.grid.at(placed.start_s))
        if choice.gives_way:
            return Action.SUSPEND, _gave_way(asker, here, snapshot, start)
        if is_resized:
            facts = {"held": request.gpus, "gpus": way.gpus, "start": start}
            return Action.SUSPEND, Reason(ReasonCode.OTHER_WIDTH, {**facts, **_saving(choice)})
        return Action.SUSPEND, _window(asker, choice, placed, here)
    if choice.best is not None:
        return Action.KEEP, Reason(ReasonCode.KEEP_RUNNING)
    site = snapshot.sites[asker.request.sites[0]].site.name
    return Action.KEEP, Reason(ReasonCode.PROCESS_STARTED, {"site": site})


def _gave_way(asker: Asker, here: Market, snapshot: Snapshot, start: str) -> Reason:
    hold = displacing(asker.request, here) if here.holds else None
    if hold is None:
        return Reason(ReasonCode.GAVE_WAY, {"start": start})
    site = snapshot.sites[asker.request.sites[0]].site.name
    return Reason(ReasonCode.KEPT_FREE, {**hold.told(here.grid, site), "start": start})


def _window(asker: Asker, choice: Choice, placed: Placement, here: Market) -> Reason:
    start = when(here.grid.at(placed.start_s))
    cheap = cheap_window(asker.request, choice, placed, here.electricity, start)
    return cheap or Reason(ReasonCode.CARBON_WINDOW, {"start": start, **_saving(choice)})


def _saving(choice: Choice) -> dict[str, object]:
    baseline_g = choice.baseline.cost_g if choice.baseline is not None else 0.0
    return {"saving_g": choice.saving_g, "saving_percent": percent(choice.saving_g, baseline_g)}


def _no_capacity(asker: Asker, here: Market, snapshot: Snapshot, placed: Placement | None) -> Reason:
    """Waits for capacity; when nothing fits within the horizon, says that it is later than that."""
    grid = here.grid
    start = (
        when(grid.at(placed.start_s))
        if placed is not None
        else f"a time after {when(grid.at(float(grid.edges_s[-1])))}"
    )
    found = in_the_way(asker.request, here)
    if found is not None:
        site = snapshot.sites[found[0]].site.name
        return Reason(ReasonCode.KEPT_FREE, {**found[1].told(grid, site), "start": start})
    need = asker.view.resources
    return Reason(ReasonCode.CAPACITY, {"gpus": need.gpus, "cpus": need.cpus, "start": start})


def _why_now(asker: Asker, choice: Choice, here: Market) -> Reason:
    """Why a job starts now, the most binding reason first."""
    urgent = {ReasonCode.RUN_NOW, ReasonCode.CLINICAL}
    if asker.rush is not None and (asker.rush in urgent or asker.queue.policy != "asap"):
        return Reason(asker.rush, _rush_facts(asker))
    if asker.queue.policy == "asap":
        return Reason(ReasonCode.POLICY_ASAP)
    baseline = choice.baseline
    if baseline is not None and not here.prices.may_shift[baseline.site]:
        return Reason(ReasonCode.GRID_DATA_STALE, {"rung": here.rungs[baseline.site].replace("_", " ")})
    if choice.chosen is not None and choice.chosen.modes:
        return Reason(ReasonCode.MODES_CHOSEN, _saving(choice))
    if (
        baseline is not None
        and choice.chosen is baseline
        and choice.best is not None
        and choice.saving_g > NOISE * baseline.cost_g
    ):
        return too_dear(asker.request, choice, here.electricity) or _not_worth(asker, choice)
    return Reason(ReasonCode.LOW_CARBON_NOW)


def _not_worth(asker: Asker, choice: Choice) -> Reason:
    """Why a saving does not justify to wait for it."""
    delay_g_per_h = asker.request.delay_g_per_h
    if delay_g_per_h:
        facts: dict[str, object] = {"saving_g": choice.saving_g, "bar_g": choice.bar_g, "delay_g_per_h": delay_g_per_h}
        return Reason(ReasonCode.DELAY_WEIGHT, facts)
    return Reason(ReasonCode.NO_GAIN, {"saving_g": choice.saving_g, "doubt_g": choice.bar_g})


def _rush_facts(asker: Asker) -> dict[str, object]:
    if asker.rush is ReasonCode.RUN_NOW:
        return {"actor": SOMEONE, "why": NO_REASON}
    if asker.rush is ReasonCode.DEADLINE:
        return {"deadline": when(asker.view.latest_finish_at)}
    return {}


def _candidates(asker: Asker, choice: Choice, here: Market, snapshot: Snapshot) -> tuple[Candidate, ...]:
    """What was considered, each placement once, earliest reason to list it first; the chosen one alone if brief."""
    if here.is_brief:
        return () if choice.chosen is None else (_candidate(choice.chosen, "chosen", asker, choice, here, snapshot),)
    considered = [(choice.baseline, "as soon as possible" if asker.request.running_at is None else "going on")]
    considered.append((choice.chosen, "chosen"))
    least = "least carbon and cost" if asker.request.money_g_per_unit else "least carbon"
    considered.append((choice.best, f"{least}, but the gain is within its doubt"))
    considered += [(other, f"cheapest at {snapshot.sites[other.site].site.name}") for other in choice.others]
    considered = [*considered[: MOST_CANDIDATES - 1], (choice.latest, "latest start")]
    seen: set[tuple[object, ...]] = set()
    rows = []
    for placed, note in considered:
        if placed is not None and placed.course not in seen:
            seen.add(placed.course)
            rows.append(_candidate(placed, note, asker, choice, here, snapshot))
    return tuple(rows)


def _candidate(
    placed: Placement, note: str, asker: Asker, choice: Choice, here: Market, snapshot: Snapshot
) -> Candidate:
    site = snapshot.sites[placed.site].site
    at, modes = here.grid.at, ways(asker.request, placed)
    segments = tuple(
        Segment(site.name, "", at(a), at(b), way.gpus, way.power_fraction)
        for (a, b), way in zip(placed.spans, modes, strict=True)
    )
    is_chosen = choice.chosen is not None and choice.chosen.course == placed.course
    told = f"{note}; {choice.note}" if is_chosen and choice.note else note
    cost = cost_of(asker.request, placed, here.electricity)
    return Candidate(segments, placed.cost_g, is_chosen, told, *brought(asker.request, placed), *cost)


def _conditions(asker: Asker, choice: Choice, here: Market, snapshot: Snapshot, code: ReasonCode) -> tuple[str, ...]:
    """What would make a waiting job start now."""
    need, placed = asker.view.resources, choice.chosen
    if code is ReasonCode.CAPACITY:
        return (f"{need.gpus} GPU(s) and {need.cpus} CPU(s) became free at a site that it may use",)
    if code is ReasonCode.BUDGET and asker.over is not None:
        return budget.conditions(asker.view.job_id, asker.over)
    if code is ReasonCode.BEGIN_TIME:
        return (run_now(str(asker.view.job_id)),)
    if code is ReasonCode.CHEAP_WINDOW:
        return (run_now(str(asker.view.job_id)),)
    if code is not ReasonCode.CARBON_WINDOW or placed is None or asker.request.running_at is not None or here.is_brief:
        return ()
    limit = break_even_g_per_kwh(here.prices, asker.request, choice, placed)
    if limit is not None:
        limit /= snapshot.sites[placed.site].site.pue
    slack = asker.latest_start_at - snapshot.now - timedelta(seconds=snapshot.slot_s)
    start = here.grid.at(placed.start_s)
    return carbon_conditions(asker.view.job_id, start, asker.view.latest_finish_at - slack, limit)
