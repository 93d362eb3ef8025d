"""The pure core: a frozen snapshot in, a frozen plan out.

Three steps: triage settles what needs no plan and orders the rest; policies choose, run by run of jobs that
share one, each seeing the capacity that earlier jobs left; every choice is checked before it is believed.
No I/O, clock or randomness: the same snapshot gives the same plan (INV-14).
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import groupby

from lowtide.policies.asap import Asap
from lowtide.policies.lift import settle
from lowtide.policies.problem import EPSILON_S, Choice, Policy, Problem, Request
from lowtide.policies.timeline import Timeline
from lowtide.scheduler.decide.market import Market, market
from lowtide.scheduler.decide.registry import policy_for
from lowtide.scheduler.decide.tell import grid_data, told
from lowtide.scheduler.decide.triage import Asker, triage
from lowtide.scheduler.model.plan import Plan, Snapshot

FindPolicy = Callable[[str, tuple[tuple[str, float], ...]], Policy]

_ASAP = Asap()


def decide(snapshot: Snapshot, find_policy: FindPolicy = policy_for) -> Plan:
    """Decide about every job of a snapshot.

    Args:
        snapshot: all that may be known; times are aware UTC.
        find_policy: name and parameters to policy; the installed ones unless told otherwise.

    Returns:
        One decision per job, in the order of the snapshot. The starts of a plan together fit the capacity
        that is free now (INV-07), no wait lets a latest start pass (INV-10), and each next review lies after
        now (INV-04).

    Raises:
        BadInput: when a queue names a policy that is not installed or refuses its parameters.

    """
    here = market(snapshot)
    decisions, askers = triage(snapshot, here)
    for asker, choice in _chosen(askers, here, find_policy):
        decisions[asker.view.job_id] = told(asker, choice, here, snapshot)
    return Plan(snapshot.now, tuple(decisions[view.job_id] for view in snapshot.jobs), grid_data(snapshot))


def _chosen(askers: list[Asker], here: Market, find_policy: FindPolicy) -> list[tuple[Asker, Choice]]:
    """Every asker's choice, capacity sold in order."""
    timeline, results = here.timeline.copy(), []
    problem = Problem((), here.prices, timeline)
    named = [(_policy(asker, find_policy), asker) for asker in askers]
    for _, group in groupby(named, key=lambda pair: id(pair[0])):
        members = list(group)
        policy = members[0][0]
        run = replace(problem, requests=tuple(asker.request for _, asker in members))
        for (_, asker), choice in zip(members, policy.plan(run), strict=True):
            results.append((asker, _sold(problem, timeline, asker.request, choice)))
    return results


def _policy(asker: Asker, find_policy: FindPolicy) -> Policy:
    """What decides for a job: jobs that may not be delayed never meet their queue's policy."""
    if asker.rush is not None and asker.request.running_at is None:
        return _ASAP
    return find_policy(asker.queue.policy, asker.queue.policy_params)


def _sold(problem: Problem, timeline: Timeline, request: Request, choice: Choice) -> Choice:
    """Sell a choice; one that breaks capacity, release or latest start gives way to the earliest start.

    Policies may come from other packages, so none is trusted with these.
    """
    kept = choice
    if not _is_sound(timeline, request, choice):
        (kept,) = _ASAP.plan(replace(problem, requests=(request,)))
    settle(timeline, request, kept)
    return kept


def _is_sound(timeline: Timeline, request: Request, choice: Choice) -> bool:
    placed, baseline = choice.chosen, choice.baseline
    if placed is None:
        return baseline is None
    if request.running_at is not None and placed is baseline:
        return True
    begins = placed.start_s >= request.release_s - EPSILON_S and placed.site in request.sites
    in_time = placed.start_s <= request.latest_start_s + request.switch_s + EPSILON_S
    as_early = baseline is not None and placed.start_s <= baseline.start_s + EPSILON_S
    if not (begins and (in_time or as_early)):
        return False
    if request.running_at is not None:  # it swaps its own capacity, checked without it when it was offered
        return baseline is not None and placed.start_s > 0
    return timeline.fits(placed.site, placed.spans, request.gpus, request.cpus)
