"""What each policy wants for one job when nothing stands in its way."""

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest

from lowtide.policies.guard import overlap, quantile
from lowtide.policies.lift import margin_g
from lowtide.policies.offer import Offer
from lowtide.policies.problem import Choice, Problem
from lowtide.scheduler.decide.decide import decide
from lowtide.scheduler.decide.market import market
from lowtide.scheduler.decide.registry import policy_for, policy_names
from lowtide.scheduler.decide.triage import triage
from lowtide.scheduler.model.difference import Difference
from lowtide.scheduler.model.errors import BadInput
from lowtide.scheduler.model.plan import Action, Candidate, JobDecision
from tests.builders import NOON, a_dip, a_forecast, a_job_view, a_queue, a_site, a_site_view, a_snapshot


def planned(policy: str, prices: list[float], params: tuple[tuple[str, float], ...] = (), **job: object) -> JobDecision:
    view = a_job_view(**job)  # type: ignore[arg-type]  # any field of a job
    queue = a_queue(policy=policy, policy_params=params)
    (decision,) = decide(a_snapshot(view, queues=[queue], forecasts=[a_forecast(prices)])).decisions
    return decision


def chosen(decision: JobDecision) -> Candidate:
    assert decision.chosen is not None
    return decision.chosen


def hours(moment: datetime) -> float:
    return (moment - NOON).total_seconds() / 3600


def test_asap_ignores_the_grid() -> None:
    assert planned("asap", a_dip()).action is Action.START


def test_lowest_window_minimises_over_the_whole_run() -> None:
    prices = [300.0] * 8 + [10.0] + [300.0] * 7 + [150.0] * 8 + [300.0] * 168  # a needle, then a basin
    assert hours(chosen(planned("lowest_window", prices, hours=2)).start) == 4


def test_lowest_window_takes_the_earliest_of_equals() -> None:
    assert hours(chosen(planned("lowest_window", a_dip(begin=8, slots=40), hours=2)).start) == 2


def test_lowest_slot_takes_the_cheapest_single_slot_where_lowest_window_would_not() -> None:
    prices = [300.0] * 8 + [10.0] + [280.0] * 7 + [150.0] * 8 + [300.0] * 168
    assert hours(chosen(planned("lowest_slot", prices, hours=2)).start) == 2
    assert hours(chosen(planned("lowest_window", prices, hours=2)).start) == 4


def test_lowest_slot_takes_the_earliest_of_equals() -> None:
    assert hours(chosen(planned("lowest_slot", a_dip(begin=8, slots=40), hours=2)).start) == 2


def test_lowest_slot_does_not_take_a_cheap_slot_before_a_dear_stretch() -> None:
    prices = [200.0] * 8 + [100.0] + [400.0] * 183
    assert planned("lowest_slot", prices, hours=2).action is Action.START


@pytest.mark.parametrize(("later", "start_h"), [(90.0, 2.0), (10.0, 12.0)])
def test_carbon_time_waits_longer_only_for_a_saving_that_grows_with_the_time(later: float, start_h: float) -> None:
    # An hour of work: 30 g/kWh saved within 3 h are worth more than 110 within 13 h, and less than 190.
    prices = [200.0] * 8 + [170.0] * 8 + [200.0] * 32 + [later] * 144
    assert hours(chosen(planned("carbon_time", prices, hours=1)).start) == start_h


def test_carbon_time_keeps_a_promised_start_whose_moment_has_come() -> None:
    prices = [170.0] * 8 + [200.0] * 32 + [90.0] * 152
    assert planned("carbon_time", prices, hours=1).action is Action.WAIT
    assert planned("carbon_time", prices, hours=1, pinned_start_at=NOON).action is Action.START
    promised = NOON + timedelta(hours=4)
    assert chosen(planned("carbon_time", [200.0] * 16 + prices, hours=1, pinned_start_at=promised)).start == promised


def test_carbon_time_runs_at_once_when_nothing_is_cheaper() -> None:
    assert planned("carbon_time", [100.0] * 8 + [200.0] * 184).action is Action.START


def test_threshold_starts_at_the_first_slot_below_the_percentile() -> None:
    prices = [300.0] * 12 + [200.0] * 12 + [100.0] * 12 + [300.0] * 156
    assert hours(chosen(planned("threshold", prices, hours=1)).start) == 3


def test_threshold_follows_its_percentile() -> None:
    prices = [300.0] * 12 + [200.0] * 12 + [100.0] * 12 + [300.0] * 156
    assert hours(chosen(planned("threshold", prices, (("percentile", 10.0),), hours=1)).start) == 6


def test_threshold_interrupts_above_the_percentile() -> None:
    prices = ([300.0] * 8 + [100.0] * 4) * 16
    segments = chosen(planned("threshold", prices, hours=1.5, suspendable=True)).segments
    assert [hours(s.start) for s in segments] == [2.0, 5.0]


def test_lowest_slots_runs_in_the_cheap_hours_and_pays_for_the_switch() -> None:
    prices = ([300.0] * 8 + [100.0] * 4) * 16
    segments = chosen(planned("lowest_slots", prices, hours=1.5, suspendable=True)).segments
    assert len(segments) == 2
    worked = sum((s.end - s.start for s in segments), timedelta())
    assert worked == timedelta(hours=1.5, seconds=120)


def test_lowest_slots_bridges_a_gap_that_is_cheaper_to_run_through() -> None:
    prices = [300.0] * 8 + [100.0] * 6 + [104.0] + [100.0] * 6 + [300.0] * 171
    segments = chosen(planned("lowest_slots", prices, hours=3, suspendable=True)).segments
    assert len(segments) == 1


def test_lowest_slots_never_plans_more_stretches_than_suspensions_allow() -> None:
    prices = ([300.0] * 4 + [100.0] * 2) * 32
    segments = chosen(planned("lowest_slots", prices, hours=4, suspendable=True, suspensions=2)).segments
    assert len(segments) <= 2


def test_lowest_slots_plans_no_stretch_below_the_minimum_run() -> None:
    prices = ([300.0] * 4 + [100.0]) * 38
    segments = chosen(planned("lowest_slots", prices, hours=2, suspendable=True)).segments
    assert all(s.end - s.start >= timedelta(minutes=30) for s in segments)


def test_lowest_slots_ends_by_the_latest_finish_with_its_margin() -> None:
    prices = ([300.0] * 8 + [100.0] * 4) * 16
    decision = planned("lowest_slots", prices, hours=3, suspendable=True, finish_in_h=10)
    assert hours(chosen(decision).finish) <= 10 - 0.3


def test_lowest_slots_leaves_jobs_that_may_not_be_interrupted_whole() -> None:
    prices = ([300.0] * 8 + [100.0] * 4) * 16
    assert len(chosen(planned("lowest_slots", prices, hours=3)).segments) == 1


@pytest.mark.parametrize(("cheap_slots_left", "action"), [(6, Action.KEEP), (0, Action.SUSPEND)])
def test_lowest_slots_pauses_a_running_job_at_the_end_of_the_cheap_slots_and_not_before(
    cheap_slots_left: int, action: Action
) -> None:
    prices = [40.0] * cheap_slots_left + [300.0] * 20 + [50.0] * 100
    decision = planned("lowest_slots", prices, hours=3, running_h=1.0, suspendable=True, finish_in_h=11)
    assert decision.action is action


def test_every_policy_of_the_tree_is_found_by_name() -> None:
    own = {"asap", "threshold", "lowest_slot", "carbon_time", "lowest_window", "lowest_slots"}
    own |= {"double_threshold", "importance"}
    assert own <= set(policy_names())


def test_an_unknown_policy_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BadInput, match="lowest_window"):
        policy_for("lowest_windo")


@pytest.mark.parametrize("params", [(("percentile", 101.0),), (("percentil", 30.0),)])
def test_a_wrong_parameter_is_refused_by_name(params: tuple[tuple[str, float], ...]) -> None:
    with pytest.raises(BadInput, match=params[0][0]):
        policy_for("threshold", params)


def test_a_policy_that_oversells_or_runs_late_gives_way_to_the_earliest_start() -> None:
    class Careless:
        def plan(self, problem: Problem) -> tuple[Choice, ...]:
            lazy = policy_for("lowest_window").plan
            return tuple(lazy(Problem((r,), problem.prices, problem.timeline))[0] for r in problem.requests)

    jobs = [a_job_view(f"j{i}", gpus=8, hours=2) for i in range(3)]
    plan = decide(a_snapshot(*jobs, forecasts=[a_forecast(a_dip())]), find_policy=lambda *_: Careless())
    starts = sorted(chosen(d).start for d in plan.decisions)
    assert all(b - a >= timedelta(hours=2) for a, b in pairwise(starts))


def test_the_quantile_is_one_sided() -> None:
    assert quantile(0.8) == pytest.approx(0.8416, abs=1e-4)


def test_overlap_gives_the_shared_stretches() -> None:
    assert overlap(((0.0, 10.0), (20.0, 30.0)), ((5.0, 25.0),)) == ((5.0, 10.0), (20.0, 25.0))


@pytest.mark.parametrize("site", ["home", "north"])
@pytest.mark.parametrize("together", [None, Difference(30.0, 8 * 3600.0)], ids=["by slot", "together"])
def test_the_guard_over_all_windows_agrees_with_the_guard_on_each(site: str, together: Difference | None) -> None:
    prices = [400.0 - i + 40.0 * ((i * 7) % 11 - 5) for i in range(192)]
    errors = [5.0 + i / 8 for i in range(192)]
    view = a_job_view(hours=5, patience_h=30, allowed_sites=("home", "north"))
    sites = [a_site_view(used_gpus=0 if site == "home" else 8), a_site_view(a_site("north", zone="SE"))]
    grid = [a_forecast(prices, errors=errors), a_forecast([0.9 * p for p in prices], errors=errors, zone="SE")]
    grid = [replace(forecast, difference=together) for forecast in grid]
    snapshot = a_snapshot(view, sites=sites, forecasts=grid, now=NOON)
    here = market(snapshot)
    request = triage(snapshot, here, [view])[1][0].request
    offer = Offer(Problem((request,), here.prices, here.timeline), here.timeline, request)
    assert offer.baseline is not None
    passing = offer.guarded().costs()
    told = [
        (s, column)
        for s, column in np.argwhere(np.isfinite(offer.costs())).tolist()
        if (figures := margin_g(offer, offer.window(s, column), offer.baseline))[0] > figures[2]
    ]
    assert np.argwhere(np.isfinite(passing)).tolist() == [list(pair) for pair in told]
    assert 0 < len(told) < int(np.isfinite(offer.costs()).sum())
