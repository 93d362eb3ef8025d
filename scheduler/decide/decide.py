"""The pure core: a frozen snapshot in, a frozen plan out.

Three steps: triage settles what needs no plan and orders the rest; policies choose, run by run of jobs that
share one, each seeing the capacity that earlier jobs left; every choice is checked before it is believed.
No I/O, clock or randomness: the same snapshot gives the same plan (INV-14).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from lowtide.scheduler.decide.asking import FindPolicy, ask_all, decision_of, joint_policies
from lowtide.scheduler.decide.budget import asked_anew, is_withheld, within_budgets
from lowtide.scheduler.decide.fairness import in_fair_order
from lowtide.scheduler.decide.foremost import Foremost, is_any_kept
from lowtide.scheduler.decide.keep import kept
from lowtide.scheduler.decide.market import market
from lowtide.scheduler.decide.part import making_way, postponed
from lowtide.scheduler.decide.precedence import in_order
from lowtide.scheduler.decide.registry import policy_for
from lowtide.scheduler.decide.rows import in_rows
from lowtide.scheduler.decide.tell import grid_data
from lowtide.scheduler.decide.triage import Asker, triage
from lowtide.scheduler.model.job import JobId
from lowtide.scheduler.model.plan import JobDecision, Plan, PolicyFailure, Snapshot


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
    here, joint = market(snapshot), joint_policies(snapshot, find_policy)
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
    for answer in ask_all(askers, here, find_policy, joint, foremost):
        decisions[answer.asker.view.job_id], failure = decision_of(answer, here, snapshot)
        if failure is not None:
            failures[failure] = None
    held = frozenset(a.view.job_id for a in askers if is_withheld(a)) if snapshot.projects else frozenset()
    is_alone = may_ask_all and bool(joint) and snapshot.asked is not None and not snapshot.is_partial
    is_weighed = held or is_fair or is_alone or terms is not _STRICT
    late = frozenset(a.view.job_id for a in askers if is_weighed and is_late(a, decisions[a.view.job_id]))
    if is_alone and late:  # others may be able to make room
        return _draft(replace(snapshot, asked=None), find_policy, terms, may_ask_all=may_ask_all)
    with_room = making_way(snapshot, askers, decisions) if may_ask_all or snapshot.is_partial else None
    if with_room is not None:
        return _draft(with_room, find_policy, terms, may_ask_all=may_ask_all)
    ordered = tuple(decisions[view.job_id] for view in snapshot.jobs)
    plan = Plan(snapshot.now, ordered, grid_data(snapshot), tuple(failures))
    return _Draft(plan, late, held, is_fair)


def is_late(asker: Asker, decision: JobDecision) -> bool:
    """Whether a plan has a job end after its latest finish, or does not know when."""
    chosen = decision.chosen
    return chosen is None or chosen.finish > asker.view.latest_finish_at
