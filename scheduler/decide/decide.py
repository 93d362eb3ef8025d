"""The pure core: a frozen snapshot in, a frozen plan out.

Three steps: triage settles what needs no plan and orders the rest; policies choose, run by run of jobs that
share one, each seeing the capacity that earlier jobs left; every choice is checked before it is believed.
No I/O, clock or randomness: the same snapshot gives the same plan (INV-14).
"""

import math
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby

from lowtide.policies.asap import Asap
from lowtide.policies.holding import fits, is_done_in_modes, sell
from lowtide.policies.lift import settle
from lowtide.policies.problem import EPSILON_S, Choice, Placement, Policy, Problem, Request
from lowtide.policies.timeline import Timeline
from lowtide.policies.worth import at_one_worth, in_grams, unweighed
from lowtide.scheduler.decide.budget import asked_anew, is_withheld, within_budgets
from lowtide.scheduler.decide.fairness import in_fair_order
from lowtide.scheduler.decide.foremost import Foremost, is_any_kept
from lowtide.scheduler.decide.keep import kept
from lowtide.scheduler.decide.kept_free import moved_out
from lowtide.scheduler.decide.market import Market, market
from lowtide.scheduler.decide.part import making_way, postponed
from lowtide.scheduler.decide.precedence import in_order
from lowtide.scheduler.decide.registry import policy_for
from lowtide.scheduler.decide.rows import in_rows
from lowtide.scheduler.decide.tell import grid_data, told
from lowtide.scheduler.decide.triage import Asker, PolicyName, triage
from lowtide.scheduler.model.job import JobId
from lowtide.scheduler.model.plan import JobDecision, Plan, PolicyFailure, Snapshot

FindPolicy = Callable[[str, tuple[tuple[str, float], ...]], Policy]

_ASAP = Asap()


@dataclass(frozen=True, slots=True)
class _Answer:
    """What becomes of one asker; ``failure`` is set where its queue's policy gave nothing to go by."""

    asker: Asker
    choice: Choice
    failure: PolicyFailure | None


@dataclass(frozen=True, slots=True)
class _Draft:
    """A plan, whom it has end late, who waits for a budget in it, and whether shares have changed who goes first."""

    plan: Plan
    late: frozenset[JobId]
    withheld: frozenset[JobId]
    is_fair: bool


@dataclass(frozen=True, slots=True)
class _Terms:
    """What a plan regards besides carbon and time: fair shares, and budgets but for ``spared`` jobs (None: all)."""

    spared: frozenset[JobId] | None = frozenset()
    is_fair: bool = True


_STRICT, _PLAIN = _Terms(), _Terms(None, is_fair=False)


def decide(snapshot: Snapshot, find_policy: FindPolicy = policy_for) -> Plan:
    """Decide about every job of a snapshot, after the jobs that it waits for.

    Args:
        snapshot: all that may be known; times are aware UTC.
        find_policy: name and parameters to policy; the installed ones unless told otherwise.

    Returns:
        One decision per job, in the order of the snapshot. The starts of a plan together fit the capacity
        that is free now (INV-07), no wait lets a latest start pass (INV-10), and each next review lies after
        now (INV-04). A policy that is not there, raises or answers nonsense delays nobody: its jobs are
        decided by ``asap`` and say so, and the plan names it among its failures.

    """
    whole = partial(_decide, find_policy=find_policy)
    beside = partial(whole, may_ask_all=False)
    return in_order(snapshot, partial(in_rows, decide=whole), partial(in_rows, decide=beside))


def _decide(snapshot: Snapshot, find_policy: FindPolicy, *, may_ask_all: bool = True) -> Plan:
    """One plan of a snapshot whose sites are rows of the arrays, and whose jobs may begin when they are released."""
    asked = asked_anew(snapshot) if may_ask_all else snapshot
    draft_on = partial(_draft, asked, find_policy, may_ask_all=may_ask_all)
    draft = draft_on(_STRICT)
    if not draft.late or not (draft.withheld or draft.is_fair):
        return draft.plan
    plain = draft_on(_PLAIN)
    for terms in _milder(draft):
        if draft.late <= plain.late:
            break
        draft = draft_on(terms)  # somebody would be in time without budgets and shares
    return (draft if draft.late <= plain.late else plain).plan


def _milder(draft: _Draft) -> Iterator[_Terms]:
    """Terms that may spare those who are late in a draft, the strictest first."""
    spared = draft.late & draft.withheld
    if spared:
        yield _Terms(spared)
    if draft.is_fair:
        yield _Terms(spared, is_fair=False)


def _draft(snapshot: Snapshot, find_policy: FindPolicy, terms: _Terms, *, may_ask_all: bool) -> _Draft:
    """The plan under these terms; ``may_ask_all`` if somebody would be late who was asked about alone."""
    here, joint = market(snapshot), _joint(snapshot, find_policy)
    decisions = kept(snapshot, here)
    decisions |= postponed(snapshot, decisions)
    asked = [view for view in snapshot.jobs if view.job_id not in decisions]
    foremost = Foremost(here.timeline, is_kept=is_any_kept(snapshot, decisions))
    settled, askers = triage(snapshot, here, asked, joint)
    served = in_fair_order(askers, snapshot) if terms.is_fair else askers
    is_fair = served is not askers and any(a is not b for a, b in zip(served, askers, strict=True))
    beyond, askers = within_budgets(served, snapshot, here, terms.spared, decisions)
    decisions |= settled | beyond
    failures: dict[PolicyFailure, None] = {}
    for answer in _answers(askers, here, find_policy, joint, foremost):
        decisions[answer.asker.view.job_id], failure = _decided(answer, here, snapshot)
        if failure is not None:
            failures[failure] = None
    held = frozenset(a.view.job_id for a in askers if is_withheld(a)) if snapshot.projects else frozenset()
    is_alone = may_ask_all and bool(joint) and snapshot.asked is not None and not snapshot.is_partial
    is_weighed = held or is_fair or is_alone or terms is not _STRICT
    late = frozenset(a.view.job_id for a in askers if is_weighed and _is_late(a, decisions))
    if is_alone and late:  # others may be able to make room
        return _draft(replace(snapshot, asked=None), find_policy, terms, may_ask_all=may_ask_all)
    with_room = making_way(snapshot, askers, decisions) if may_ask_all or snapshot.is_partial else None
    if with_room is not None:
        return _draft(with_room, find_policy, terms, may_ask_all=may_ask_all)
    ordered = tuple(decisions[view.job_id] for view in snapshot.jobs)
    plan = Plan(snapshot.now, ordered, grid_data(snapshot), tuple(failures))
    return _Draft(plan, late, held, is_fair)


def _joint(snapshot: Snapshot, find_policy: FindPolicy) -> frozenset[PolicyName]:
    """Of the queues' policies those that weigh running jobs together with waiting ones."""
    found = set()
    for queue in snapshot.queues.values():
        name = queue.policy, queue.policy_params
        try:
            if getattr(find_policy(*name), "is_joint", False):
                found.add(name)
        except Exception:  # noqa: BLE001, S112 - told when it is asked to plan
            continue
    return frozenset(found)


def _is_late(asker: Asker, decisions: dict[str, JobDecision]) -> bool:
    """Whether the plan has a job end after its latest finish, or does not know when."""
    chosen = decisions[asker.view.job_id].chosen
    return chosen is None or chosen.finish > asker.view.latest_finish_at


def _answers(
    askers: list[Asker], here: Market, find_policy: FindPolicy, joint: frozenset[PolicyName], foremost: Foremost
) -> list[_Answer]:
    """Every asker's choice, capacity sold in order; joint policies first, as only they can make room for others."""
    problem = Problem((), here.prices, here.timeline.copy(), here.inflow_gpus, here.is_brief, here.electricity)
    answers = []
    whole, others = _parted(askers, joint)
    for name, members in whole.items():
        answers += _answered_jointly(name, members, problem, find_policy)
    for answer in answers:
        foremost.add(answer.asker.request, answer.choice)
    for (policy, _), group in groupby(others, key=_policy_of):
        members = list(group)
        run = _run(problem, members)
        choices, failure = _asked(policy, run, run, find_policy)
        for asker, choice in zip(members, choices, strict=True):
            moved = moved_out(problem, asker.request, choice, here)
            sold = _sold(problem, asker.request, moved, foremost)
            foremost.add(asker.request, sold)
            answers.append(_Answer(asker, sold, failure))
    return answers


def _run(problem: Problem, members: list[Asker]) -> Problem:
    """What is asked of one policy; a copy: who sells on what it was shown by mistake must not sell it for everybody."""
    return replace(problem, requests=tuple(a.request for a in members), timeline=problem.timeline.copy())


def _parted(askers: list[Asker], joint: frozenset[PolicyName]) -> tuple[dict[PolicyName, list[Asker]], list[Asker]]:
    """The askers of each joint policy, and those of the others one by one; whatever is due goes to the first joint."""
    whole: dict[PolicyName, list[Asker]] = {
        name: [] for name in sorted(joint) if any(_name(asker) == name for asker in askers)
    }
    first = next(iter(whole), None)
    others: list[Asker] = []
    for asker in askers:
        name = first if asker.rush is not None else _name(asker)
        members = others if name is None or name not in whole else whole[name]
        members.append(asker)
    return whole, others


def _answered_jointly(
    name: PolicyName, members: list[Asker], problem: Problem, find_policy: FindPolicy
) -> list[_Answer]:
    """A joint policy's choices, asked with the capacity of its running jobs free; these come first, they may go on."""
    undisturbed = _run(problem, members)
    for request in undisturbed.requests:
        if request.running_at is not None:
            held = ((0.0, request.work_s),)
            problem.timeline.give_back(request.running_at, held, *request.need)
    choices, failure = _asked(name, _run(problem, members), undisturbed, find_policy)
    pairs = sorted(zip(members, choices, strict=True), key=lambda pair: pair[0].request.running_at is None)
    return [
        _Answer(asker, (_sold if asker.request.running_at is None else _held)(problem, asker.request, choice), failure)
        for asker, choice in pairs
    ]


def _name(asker: Asker) -> PolicyName:
    return asker.queue.policy, asker.queue.policy_params


def _policy_of(asker: Asker) -> tuple[PolicyName | None, float]:
    """What decides for a job, and what money is worth to it; nothing for who may not be delayed: no policy is asked."""
    return (None, 0.0) if asker.rush is not None else (_name(asker), asker.request.money_g_per_unit)


def _asked(
    name: PolicyName | None, run: Problem, undisturbed: Problem, find_policy: FindPolicy
) -> tuple[tuple[Choice, ...], PolicyFailure | None]:
    """A policy's choices for a run of requests; those of ``asap``, who disturbs nobody, where it fails, and why."""
    if name is None:
        return _soonest(undisturbed), None
    try:
        policy = find_policy(*name)
        weighed = run if getattr(policy, "weighs_delay", False) else at_one_worth(run)
        choices = tuple(policy.plan(weighed))
        _check_form(choices, len(run.requests))
        choices = in_grams(run.prices, weighed.requests, choices)
    except Exception as error:  # noqa: BLE001 - other people's code, and clinical work stands behind it
        return _soonest(undisturbed), _failure(name[0], error)
    return choices, None


def _soonest(problem: Problem) -> tuple[Choice, ...]:
    """Everybody as soon as capacity allows, by nothing but grams."""
    return _ASAP.plan(unweighed(problem))


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


def _held(problem: Problem, request: Request, choice: Choice) -> Choice:
    """Sell what a running job will hold, none of it being sold yet; a plan that cannot be gives way to going on."""
    sound, timeline = choice, problem.timeline
    placed = choice.chosen
    if not _is_plan_for_running(timeline, request, choice):
        (sound,) = _soonest(replace(problem, requests=(request,)))
        placed = sound.chosen
    if placed is not None:
        sell(timeline, request, placed)
    return sound


def _is_plan_for_running(timeline: Timeline, request: Request, choice: Choice) -> bool:
    placed, baseline = choice.chosen, choice.baseline
    if placed is None or baseline is None or not (_is_readable(placed, request) and _is_readable(baseline, request)):
        return False
    if placed is baseline:
        return True
    in_time = placed.start_s <= request.latest_start_s + request.switch_s + EPSILON_S
    return in_time and fits(timeline, request, placed)


def _sold(problem: Problem, request: Request, choice: Choice, foremost: Foremost | None = None) -> Choice:
    """Sell a choice; one that breaks capacity, release, latest start or foremost work gives way to the earliest start.

    Policies may come from other packages, so none is trusted with these.
    """
    sound, timeline = choice, problem.timeline
    is_sound = _is_sound(timeline, request, choice)
    if not is_sound or not (foremost is None or foremost.allows(request, choice.chosen)):
        (sound,) = _soonest(replace(problem, requests=(request,)))
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
    if request.running_at is not None:
        return baseline is not None and placed.start_s > 0 and _fits_instead(timeline, request, baseline, placed)
    return fits(timeline, request, placed)


def _fits_instead(timeline: Timeline, request: Request, going_on: Placement, placed: Placement) -> bool:
    """Whether a running job finds room elsewhere in time for what going on holds, and offers no more than that."""
    site, held = going_on.site, ((0.0, request.work_s),)
    if going_on.course != (request.running_at, held, ()):
        return False
    timeline.give_back(site, held, *request.need)
    has_room = fits(timeline, request, placed)
    timeline.sell(site, held, *request.need)
    return has_room


def _is_readable(placed: Placement, request: Request) -> bool:
    """Whether this is a placement at a site that the job may use, with spans in time and in modes that it has."""
    try:
        in_time = all(0 <= start_s <= end_s < math.inf for start_s, end_s in placed.spans) and placed.end_s > 0
        in_time = in_time and is_done_in_modes(request, placed)
    except (AttributeError, IndexError, TypeError, ValueError):
        return False
    return in_time and placed.site in request.sites
