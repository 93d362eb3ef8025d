"""Asks the policies about jobs in the order in which they are served, each seeing the capacity that earlier ones left.

A policy that is not there, raises or answers nonsense delays nobody: its jobs are decided by ``asap``, and say so.
"""

import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import groupby

from lowtide.policies.problem import Choice, Policy, Problem
from lowtide.policies.worth import at_one_worth, in_grams
from lowtide.scheduler.decide.checked import hold_sound, sell_sound, soonest
from lowtide.scheduler.decide.foremost import Foremost
from lowtide.scheduler.decide.kept_free import moved_out
from lowtide.scheduler.decide.market import Market
from lowtide.scheduler.decide.tell import told
from lowtide.scheduler.decide.triage import Asker, PolicyName
from lowtide.scheduler.model.plan import JobDecision, PolicyFailure, Snapshot

FindPolicy = Callable[[str, tuple[tuple[str, float], ...]], Policy]


@dataclass(frozen=True, slots=True)
class Answer:
    """What becomes of one asker; ``failure`` is set where its queue's policy gave nothing to go by."""

    asker: Asker
    choice: Choice
    failure: PolicyFailure | None


def joint_policies(snapshot: Snapshot, find_policy: FindPolicy) -> frozenset[PolicyName]:
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


def ask_all(
    askers: list[Asker], here: Market, find_policy: FindPolicy, joint: frozenset[PolicyName], foremost: Foremost
) -> list[Answer]:
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
            sold = sell_sound(problem, asker.request, moved, foremost)
            foremost.add(asker.request, sold)
            answers.append(Answer(asker, sold, failure))
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
) -> list[Answer]:
    """A joint policy's choices, asked with the capacity of its running jobs free; these come first, they may go on."""
    undisturbed = _run(problem, members)
    for request in undisturbed.requests:
        if request.running_at is not None:
            held = ((0.0, request.work_s),)
            problem.timeline.give_back(request.running_at, held, *request.need)
    choices, failure = _asked(name, _run(problem, members), undisturbed, find_policy)
    pairs = sorted(zip(members, choices, strict=True), key=lambda pair: pair[0].request.running_at is None)
    return [
        Answer(
            asker,
            (sell_sound if asker.request.running_at is None else hold_sound)(problem, asker.request, choice),
            failure,
        )
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
        return soonest(undisturbed), None
    try:
        policy = find_policy(*name)
        weighed = run if getattr(policy, "weighs_delay", False) else at_one_worth(run)
        choices = tuple(policy.plan(weighed))
        _check_form(choices, len(run.requests))
        choices = in_grams(run.prices, weighed.requests, choices)
    except Exception as error:  # noqa: BLE001 - other people's code, and clinical work stands behind it
        return soonest(undisturbed), _failure(name[0], error)
    return choices, None


def _check_form(choices: tuple[Choice, ...], wanted: int) -> None:
    if len(choices) != wanted or not all(isinstance(choice, Choice) for choice in choices):
        message = f"{wanted} requests were not answered by as many choices"
        raise ValueError(message)


def _failure(policy: str, error: Exception) -> PolicyFailure:
    return PolicyFailure(policy, type(error).__name__, traceback.format_exc())


def decision_of(answer: Answer, here: Market, snapshot: Snapshot) -> tuple[JobDecision, PolicyFailure | None]:
    """The decision; alternatives that cannot be told are left out, what was sold stays."""
    asker, choice = answer.asker, answer.choice
    try:
        return told(asker, choice, here, snapshot, answer.failure), answer.failure
    except Exception as error:  # noqa: BLE001 - as above: a choice may carry anything besides what was checked
        failure = _failure(asker.queue.policy, error)
        return told(asker, Choice(choice.baseline, choice.chosen), here, snapshot, failure), failure
