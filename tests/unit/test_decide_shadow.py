"""A set in the shadow, purely: what is compared, what is left out, and that the active plan is what it was."""

from dataclasses import replace

import pytest

from lowtide.policies.problem import Choice, Policy, Problem
from lowtide.scheduler.decide.decide import decide
from lowtide.scheduler.decide.registry import policy_for
from lowtide.scheduler.decide.shadow import shade
from lowtide.scheduler.model.lifecycle import JobState
from lowtide.scheduler.model.plan import Snapshot
from tests.builders import NOON, a_dip, a_forecast, a_job_view, a_queue, a_snapshot

GREEN = {"research": a_queue(policy="lowest_window")}
DIP = a_forecast(a_dip(low=50.0, high=300.0))
PER_HOUR_G = 0.3
"""Of a job of 300 W, per g/kWh."""


def a_moment(*jobs: object, policy: str = "asap", **changes: object) -> Snapshot:
    views = jobs or (a_job_view(),)
    return a_snapshot(*views, queues=[a_queue(policy=policy)], **{"forecasts": [DIP], **changes})  # type: ignore[arg-type]


def test_a_greener_set_in_the_shadow_would_save_what_the_forecast_says() -> None:
    snapshot = a_moment()
    found = shade(snapshot, decide(snapshot), GREEN)
    (one,) = found.comparisons
    assert one.active_g == pytest.approx(300 * PER_HOUR_G)
    assert one.shadow_g == pytest.approx(50 * PER_HOUR_G)
    assert one.active_start_at == NOON < one.shadow_start_at
    assert (found.would_start, found.waiting) == (0, 1)


def test_a_shadow_that_would_run_at_once_saves_less_than_nothing() -> None:
    snapshot = a_moment(policy="lowest_window")
    found = shade(snapshot, decide(snapshot), {"research": a_queue(policy="asap")})
    assert found.comparisons[0].active_g < found.comparisons[0].shadow_g
    assert (found.would_start, found.waiting) == (1, 1)


def test_the_same_set_in_the_shadow_saves_nothing_whatever_the_active_plan_has_pinned() -> None:
    waiting = a_job_view(pinned_start_at=NOON.replace(hour=23))
    snapshot = a_moment(waiting, policy="lowest_window")
    fresh = a_moment(replace(waiting, pinned_start_at=None), policy="lowest_window")
    (one,) = shade(snapshot, decide(fresh), GREEN).comparisons
    assert one.active_g == one.shadow_g


def test_jobs_that_run_are_held_or_have_no_price_are_not_compared() -> None:
    running, held = a_job_view("run-1", running_h=1.0), a_job_view("held-1", held=True)
    suspended = a_job_view("sus-1", state=JobState.SUSPENDED)
    snapshot = a_moment(running, held, suspended)
    assert shade(snapshot, decide(snapshot), GREEN).comparisons == ()
    blind = a_moment(forecasts=[])
    assert shade(blind, decide(blind), GREEN).comparisons == ()


def test_a_policy_that_fails_in_the_shadow_is_named_and_its_jobs_are_not_compared() -> None:
    class Broken:
        def plan(self, problem: Problem) -> tuple[Choice, ...]:
            raise ZeroDivisionError(problem)

    def find(name: str, params: tuple[tuple[str, float], ...]) -> Policy:
        return Broken() if name == "broken" else policy_for(name, params)

    snapshot = a_moment()
    found = shade(snapshot, decide(snapshot), {"research": a_queue(policy="broken")}, find)
    assert found.failed == ("broken",)
    assert found.comparisons == ()


def test_the_snapshot_and_the_active_plan_stay_as_they_are() -> None:
    snapshot = a_moment()
    before = decide(snapshot)
    shade(snapshot, before, GREEN)
    assert decide(snapshot) == before
    assert snapshot.queues["research"].policy == "asap"
