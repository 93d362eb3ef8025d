"""A policy of another package that is missing, raises or answers nonsense: nobody but its own jobs notices."""

import math

import pytest

from lowtide.policies.problem import Choice, Placement, Policy, Problem
from lowtide.scheduler.decide.asking import FindPolicy
from lowtide.scheduler.decide.decide import decide
from lowtide.scheduler.decide.registry import check_policy, policy_for
from lowtide.scheduler.model.errors import BadInput
from lowtide.scheduler.model.plan import Action, Snapshot
from lowtide.scheduler.model.reason import ReasonCode
from tests.builders import a_dip, a_forecast, a_job_view, a_queue, a_site, a_site_view, a_snapshot

DIP = a_forecast(a_dip())
"""High now, low from 16:00 to 20:00: a policy that works waits for it."""


class Raising:
    def plan(self, problem: Problem) -> tuple[Choice, ...]:
        problem.timeline.sell(0, ((0.0, 3600.0),), 1, 1)  # it must not have sold this for everybody
        message = f"no answer at {id(self):#x}"
        raise ZeroDivisionError(message)


class Answering:
    def __init__(self, *choices: object) -> None:
        self.choices = choices

    def plan(self, _problem: Problem) -> tuple[Choice, ...]:
        return self.choices  # type: ignore[return-value] # what a policy of another package may do


def two_queues() -> Snapshot:
    """One GPU each for a job of a queue whose policy is broken and one whose policy is not."""
    queues = (a_queue("broken", policy="theirs"), a_queue("sound"))
    views = (a_job_view("job-1", queue="broken", hours=2), a_job_view("job-2", queue="sound", hours=2))
    return a_snapshot(*views, queues=queues, forecasts=[DIP], sites=[a_site_view(a_site(gpus=2))])


def with_theirs(theirs: Policy | None) -> FindPolicy:
    def find(name: str, params: tuple[tuple[str, float], ...]) -> Policy:
        return theirs if theirs is not None and name == "theirs" else policy_for(name, params)

    return find


@pytest.mark.parametrize(
    ("theirs", "error"),
    [
        (None, "BadInput"),
        (Raising(), "ZeroDivisionError"),
        (Answering(), "ValueError"),
        (Answering(None), "ValueError"),
    ],
)
def test_a_policy_that_fails_delays_its_own_jobs_no_more_and_nobody_elses(theirs: Policy | None, error: str) -> None:
    plan = decide(two_queues(), with_theirs(theirs))
    broken, sound = plan.decisions
    assert (broken.action, broken.reason.code) == (Action.START, ReasonCode.POLICY_FAILED)
    assert broken.reason.facts == {"policy": "theirs", "error": error}
    assert (sound.action, sound.reason.code) == (Action.WAIT, ReasonCode.CARBON_WINDOW)
    assert [(f.policy, f.error) for f in plan.failures] == [("theirs", error)]
    assert plan == decide(two_queues(), with_theirs(theirs)), "the same snapshot gives the same plan"


@pytest.mark.parametrize(
    "nonsense",
    [
        Choice(None, Placement(7, ((0.0, 10.0),), 1.0)),
        Choice(None, Placement(0, (), 1.0)),
        Choice(None, Placement(0, ((math.nan, math.nan),), 1.0)),
        Choice("never", "now"),  # type: ignore[arg-type] # as above
        Choice(Placement(0, ((0.0, 7200.0),), 1.0), Placement(0, ((0.0, 7200.0),), 1.0), best=3),  # type: ignore[arg-type]
    ],
)
def test_a_choice_that_makes_no_sense_gives_way_to_the_earliest_start(nonsense: Choice) -> None:
    broken, sound = decide(two_queues(), with_theirs(Answering(nonsense))).decisions
    assert broken.action is Action.START
    assert sound.reason.code is ReasonCode.CARBON_WINDOW


def test_a_choice_of_a_policy_that_tells_nothing_else_is_listed() -> None:
    now, later = Placement(0, ((0.0, 7200.0),), 180.0), Placement(0, ((14400.0, 21600.0),), 30.0)
    broken, _ = decide(two_queues(), with_theirs(Answering(Choice(now, later)))).decisions
    assert broken.chosen is not None
    assert [(c.note, c.chosen) for c in broken.candidates] == [("as soon as possible", False), ("chosen", True)]


def test_a_running_job_whose_policy_fails_goes_on() -> None:
    running = a_job_view(queue="broken", hours=4, running_h=2, suspendable=True)
    snapshot = a_snapshot(running, queues=(a_queue("broken", policy="theirs"),), forecasts=[DIP])
    (decision,) = decide(snapshot, with_theirs(Raising())).decisions
    assert (decision.action, decision.reason.code) == (Action.KEEP, ReasonCode.POLICY_FAILED)


@pytest.mark.parametrize(
    "lie",
    [
        Choice(Placement(0, ((0.0, 7200.0),), 600.0), Placement(0, ((7200.0, 14400.0),), 60.0)),
        Choice(Placement(0, ((0.0, 14400.0),), 600.0), Placement(0, ((14400.0, 21600.0),), 60.0)),
    ],
    ids=["a pause into hours that are taken", "going on for longer than it would"],
)
def test_inv_07_a_running_job_is_not_paused_for_capacity_that_is_not_there(lie: Choice) -> None:
    running = a_job_view("job-1", queue="broken", hours=2, running_h=2, suspendable=True)
    next_up = a_job_view("job-2", queue="sound", hours=2)
    queues = (a_queue("broken", policy="theirs"), a_queue("sound", policy="asap"))
    sites = [a_site_view(a_site(gpus=1), used_gpus=1, used_cpus=1)]
    snapshot = a_snapshot(running, next_up, queues=queues, forecasts=[DIP], sites=sites)
    kept, _ = decide(snapshot, with_theirs(Answering(lie))).decisions
    assert kept.action is Action.KEEP


def test_a_queue_with_a_policy_that_is_not_there_is_refused_with_its_name_and_the_known_ones() -> None:
    with pytest.raises(BadInput, match=r"queue 'night': There is no policy 'lowest_windw'; known policies: asap, "):
        check_policy(a_queue("night", policy="lowest_windw"))


def test_a_queue_whose_policy_refuses_its_parameters_is_named() -> None:
    with pytest.raises(BadInput, match=r"queue 'night': Policy 'asap' does not take these parameters: depth"):
        check_policy(a_queue("night", policy="asap", policy_params=(("depth", 1.0),)))
