"""The pure core: a frozen snapshot in, a frozen plan out.

Three steps: triage settles what needs no plan and orders the rest; policies choose, run by run of jobs that
share one, each seeing the capacity that earlier jobs left; every choice is checked before it is believed.
No I/O, clock or randomness: the same snapshot gives the same plan (INV-14).
"""

import math
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import groupby

from lowtide.policies.asap import Asap
from lowtide.policies.holding import fits, is_done_in_modes
from lowtide.policies.lift import settle
from lowtide.policies.problem import EPSILON_S, Choice, Placement, Policy, Problem, Request
from lowtide.policies.timeline import Timeline
from lowtide.scheduler.decide.keep import kept
from lowtide.scheduler.decide.market import Market, market
from lowtide.scheduler.decide.registry import policy_for
from lowtide.scheduler.decide.tell import grid_data, told
from lowtide.scheduler.decide.triage import Asker, triage
from lowtide.scheduler.model.plan import JobDecision, Plan, PolicyFailure, Snapshot

PolicyName = tuple[str, tuple[tuple[str, float], ...]]
"""A policy's name and parameters: what tells one run of jobs from the next."""
FindPolicy = Callable[[str, tuple[tuple[str, float], ...]], Policy]

_ASAP = Asap()


@dataclass(frozen=True, slots=True)
class _Answer:
    """What becomes of one asker; ``failure`` is set where its queue's policy gave nothing to go by."""

    asker: Asker
    choice: Choice
    failure: PolicyFailure | None


def decide(snapshot: Snapshot, find_policy: FindPolicy = policy_for) -> Plan:
    """Decide about every job of a snapshot.

    Args:
        snapshot: all that may be known; times are aware UTC.
        find_policy: name and parameters to policy; the installed ones unless told otherwise.

    Returns:
        One decision per job, in the order of the snapshot. The starts of a plan together fit the capacity
        that is free now (INV-07), no wait lets a latest start pass (INV-10), and each next review lies after
        now (INV-04). A policy that is not there, raises or answers nonsense delays nobody: its jobs are
        decided by ``asap`` and say so, and the plan names it among its failures.

    """
    here = market(snapshot)
    decisions = kept(snapshot, here)
    settled, askers = triage(snapshot, here, [view for view in snapshot.jobs if view.job_id not in decisions])
    decisions |= settled
    failures: dict[PolicyFailure, None] = {}
    for answer in _answers(askers, here, find_policy):
        decisions[answer.asker.view.job_id], failure = _decided(answer, here, snapshot)
        if failure is not None:
            failures[failure] = None
    ordered = tuple(decisions[view.job_id] for view in snapshot.jobs)
    return Plan(snapshot.now, ordered, grid_data(snapshot), tuple(failures))


def _answers(askers: list[Asker], here: Market, find_policy: FindPolicy) -> list[_Answer]:
    """Every asker's choice, capacity sold in order."""
    timeline, answers = here.timeline.copy(), []
    problem = Problem((), here.prices, timeline)
    for name, group in groupby(askers, key=_policy_of):
        members = list(group)
        run = replace(problem, requests=tuple(asker.request for asker in members))
        choices, failure = _asked(name, run, find_policy)
        for asker, choice in zip(members, choices, strict=True):
            answers.append(_Answer(asker, _sold(problem, timeline, asker.request, choice), failure))
    return answers


def _policy_of(asker: Asker) -> PolicyName | None:
    """What decides for a job; None for jobs that may not be delayed: they never meet their queue's policy."""
    if asker.rush is not None and asker.request.running_at is None:
        return None
    return asker.queue.policy, asker.queue.policy_params


def _asked(
    name: PolicyName | None, run: Problem, find_policy: FindPolicy
) -> tuple[tuple[Choice, ...], PolicyFailure | None]:
    """A policy's choices for a run of requests; those of ``asap``, and what happened, where it fails."""
    if name is None:
        return _ASAP.plan(run), None
    try:
        # a copy: whoever sells on what it was shown by mistake must not sell it for everybody
        choices = tuple(find_policy(*name).plan(replace(run, timeline=run.timeline.copy())))
        _check_form(choices, len(run.requests))
    except Exception as error:  # noqa: BLE001 - other people's code, and clinical work stands behind it
        return _ASAP.plan(run), _failure(name[0], error)
    return choices, None


def _check_form(choices: tuple[Choice, ...], wanted: int) -> None:
    if len(choices) != wanted or not all(isinstance(choice, Choice) for choice in choices):
        message = f"{wanted} requests were not answered by as many choices"
        raise ValueError(message)


def _failure(policy: str, error: Exception) -> PolicyFailure:
    return PolicyFailure(policy, type(error).__name__, traceback.format_exc())


def _decided(answer: _Answer, here: Market, snapshot: Snapshot) -> tuple[JobDecision, PolicyFailure | None]:
    """The decision; alternatives that cannot be told are left out, what was sold stays."""
    asker, choice = answer.asker, answer.choice
    try:
        return told(asker, choice, here, snapshot, answer.failure), answer.failure
    except Exception as error:  # noqa: BLE001 - as above: a choice may carry anything besides what was checked
        failure = _failure(asker.queue.policy, error)
        return told(asker, Choice(choice.baseline, choice.chosen), here, snapshot, failure), failure


def _sold(problem: Problem, timeline: Timeline, request: Request, choice: Choice) -> Choice:
    """Sell a choice; one that breaks capacity, release or latest start gives way to the earliest start.

    Policies may come from other packages, so none is trusted with these.
    """
    sound = choice
    if not _is_sound(timeline, request, choice):
        (sound,) = _ASAP.plan(replace(problem, requests=(request,)))
    settle(timeline, request, sound)
    return sound


def _is_sound(timeline: Timeline, request: Request, choice: Choice) -> bool:
    placed, baseline = choice.chosen, choice.baseline
    if placed is None:
        return baseline is None
    if not (_is_readable(placed, request) and (baseline is None or _is_readable(baseline, request))):
        return False
    if request.running_at is not None and placed is baseline:
        return True
    begins = placed.start_s >= request.release_s - EPSILON_S
    in_time = placed.start_s <= request.latest_start_s + request.switch_s + EPSILON_S
    as_early = baseline is not None and placed.start_s <= baseline.start_s + EPSILON_S
    if not (begins and (in_time or as_early)):
        return False
    if request.running_at is not None:  # it swaps its own capacity, checked without it when it was offered
        return baseline is not None and placed.start_s > 0
    return fits(timeline, request, placed)


def _is_readable(placed: Placement, request: Request) -> bool:
    """Whether this is a placement at a site that the job may use, with spans in time and in modes that it has."""
    try:
        in_time = all(0 <= start_s <= end_s < math.inf for start_s, end_s in placed.spans) and placed.end_s > 0
        in_time = in_time and is_done_in_modes(request, placed)
    except (AttributeError, IndexError, TypeError, ValueError):
        return False
    return in_time and placed.site in request.sites
