"""Power limits where the grid is dirty, within what a job may be slowed down."""

import numpy as np
import pytest
from pydantic import ValidationError

from lowtide.policies.holding import ways
from lowtide.policies.power_cap import PowerCap
from lowtide.policies.problem import Choice, Placement, Problem, Request
from lowtide.policies.timeline import Common, milliwatts
from lowtide.scheduler.decide.decide import decide
from lowtide.scheduler.model.mode import Mode
from lowtide.scheduler.model.plan import Action
from lowtide.scheduler.model.reason import ReasonCode
from lowtide.scheduler.model.throttle import CURVES, throttled
from tests.builders import HOUR_S, a_dip, a_forecast, a_job_view, a_queue, a_snapshot
from tests.problems import a_problem, a_request, hours

FULL = Mode(1, 1, 1.0, 300.0)
TWO_LEVELS = (FULL, Mode(1, 1, 0.8, 180.0, power_fraction=0.6))
DIRTY_THEN_CLEAN = [400.0] * 8 + [50.0] * 40


def planned(problem: Problem, policy: PowerCap) -> Choice:
    (choice,) = policy.plan(problem)
    return choice


def placed(problem: Problem, policy: PowerCap | None = None) -> Placement:
    found = planned(problem, policy or PowerCap()).chosen
    assert found is not None
    return found


def fractions(request: Request, found: Placement) -> list[float]:
    return [way.power_fraction for way in ways(request, found)]


def test_power_is_limited_in_the_dirty_hours_and_full_in_the_clean_ones() -> None:
    request = a_request(hours=4.0, modes=TWO_LEVELS)
    found = placed(a_problem([DIRTY_THEN_CLEAN], request), PowerCap(max_slowdown=0.1))
    assert fractions(request, found) == [0.6, 1.0]
    assert hours(found) == [(0.0, 2.0), (2.0, pytest.approx(4.4))]


def test_less_slowdown_means_less_of_the_dirty_time_is_limited() -> None:
    request = a_request(hours=4.0, modes=TWO_LEVELS)
    found = placed(a_problem([DIRTY_THEN_CLEAN], request), PowerCap(max_slowdown=0.05))
    limited_s = sum(
        end - begin for (begin, end), part in zip(found.spans, fractions(request, found), strict=True) if part < 1
    )
    assert limited_s == pytest.approx(HOUR_S)  # a fifth of which is the twelve minutes it may be late
    assert found.end_s == pytest.approx(4.2 * HOUR_S)


def test_without_slowdown_nothing_is_limited() -> None:
    found = planned(a_problem([DIRTY_THEN_CLEAN], a_request(hours=4.0, modes=TWO_LEVELS)), PowerCap(max_slowdown=0.0))
    assert found.chosen is found.baseline


def test_a_limit_below_the_least_fraction_is_not_set() -> None:
    problem = a_problem([DIRTY_THEN_CLEAN], a_request(hours=4.0, modes=TWO_LEVELS))
    found = planned(problem, PowerCap(min_fraction=0.7))
    assert found.chosen is found.baseline


def test_no_run_is_stretched_past_its_latest_end_or_into_a_slot_without_room() -> None:
    tight = a_request(hours=4.0, window_h=4.25, modes=TWO_LEVELS)
    assert placed(a_problem([DIRTY_THEN_CLEAN], tight)).end_s <= 4.25 * HOUR_S + 1e-6
    crowded = a_problem([DIRTY_THEN_CLEAN], a_request(hours=4.0, modes=TWO_LEVELS), gpus=1)
    crowded.timeline.sell(0, ((4 * HOUR_S, 5 * HOUR_S),), 1, 1)
    assert placed(crowded).end_s == 4 * HOUR_S


def test_inv_07_no_mode_draws_more_than_its_site_has_left() -> None:
    hungry = Mode(1, 1, 1.2, 330.0)  # less energy for the work than as declared, at more power than there is
    problem = a_problem([[400.0] * 48], a_request(hours=4.0, modes=(FULL, hungry)))
    timeline = problem.timeline
    timeline.common = Common((0,), (0,), np.full_like(timeline.free_gpus, milliwatts(310.0)))
    assert {way.power_w for way in ways(problem.requests[0], placed(problem))} == {300.0}


def test_jobs_that_cannot_be_limited_and_running_ones_go_as_declared() -> None:
    for request in (
        a_request(hours=4.0),
        a_request(hours=4.0, modes=(FULL, Mode(2, 2, 1.9, 400.0))),
        a_request(hours=4.0, modes=TWO_LEVELS, running_at=0),
    ):
        found = planned(a_problem([DIRTY_THEN_CLEAN], request), PowerCap())
        assert found.chosen is found.baseline


@pytest.mark.parametrize("wrong", [{"max_slowdown": 1.5}, {"min_fraction": 0.33}, {"max_slow": 0.1}])
def test_a_parameter_outside_its_bounds_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        PowerCap(**wrong)


def test_a_job_starts_at_once_and_the_decision_says_that_it_is_limited() -> None:
    view = a_job_view(hours=4, modes=TWO_LEVELS)
    dirty_now = a_forecast(a_dip())
    (decision,) = decide(a_snapshot(view, queues=[a_queue(policy="power_cap")], forecasts=[dirty_now])).decisions
    assert (decision.action, decision.reason.code) == (Action.START, ReasonCode.MODES_CHOSEN)
    assert decision.saving_g > 0
    assert decision.chosen is not None
    assert {segment.power_fraction for segment in decision.chosen.segments} == {0.6, 1.0}


def test_measured_curves_give_a_v100_nine_tenths_of_its_speed_at_six_tenths_of_its_limit() -> None:
    limited = next(mode for mode in throttled(FULL, "Tesla V100-SXM2") if mode.power_fraction == 0.6)
    assert (limited.speed, limited.power_w) == pytest.approx((0.899, 300.0 * 0.899 * 0.806))
    assert (limited.gpus, limited.cpus) == (1, 1)


def test_a_model_that_was_not_measured_counts_as_a_v100() -> None:
    assert throttled(FULL, "H100") == throttled(FULL, "V100")
    assert throttled(FULL, "NVIDIA RTX 6000") != throttled(FULL)


@pytest.mark.parametrize("model", CURVES)
def test_every_measured_limit_saves_energy_and_is_not_below_half(model: str) -> None:
    for fraction, throughput, energy in CURVES[model]:
        assert fraction >= 0.5
        assert throughput < 1
        assert energy < 1
