"""What the elastic policy does with one job's widths, pauses and their costs."""

import math
from dataclasses import replace

import pytest

from lowtide.policies.elastic import Elastic
from lowtide.policies.guard import doubt_between_g, doubt_g
from lowtide.policies.holding import ways, worked_s
from lowtide.policies.lowest_slots import LowestSlots
from lowtide.policies.offer import Offer
from lowtide.policies.problem import Choice, Placement, Problem, Request
from lowtide.policies.spread import spread
from lowtide.scheduler.model.difference import Difference
from lowtide.scheduler.model.mode import Mode
from tests.builders import HOUR_S, some_modes
from tests.problems import a_problem, a_request, hours

LINEAR = some_modes((1.0, 300.0), (2.0, 600.0), (3.0, 900.0), (4.0, 1200.0))
TIRING = some_modes((1.0, 300.0), (1.8, 600.0), (2.4, 900.0), (2.8, 1200.0))
DIP = [300.0] * 12 + [100.0] * 4 + [300.0] * 40
"""Three dear hours, one cheap one, ten dear ones."""


def chosen(problem: Problem) -> Placement:
    placed = choice(problem).chosen
    assert placed is not None
    return placed


def choice(problem: Problem) -> Choice:
    (found,) = Elastic().plan(problem)
    return found


def widths(request: Request, placed: Placement) -> list[int]:
    return [way.gpus for way in ways(request, placed)]


def test_all_of_a_job_that_scales_well_runs_wide_in_the_cheap_hour() -> None:
    request = a_request(hours=4.0, modes=LINEAR)
    placed = chosen(a_problem([DIP], request))
    assert hours(placed) == [(3.0, 4.0)]
    assert widths(request, placed) == [4]


def test_a_job_that_scales_badly_runs_wide_only_as_far_as_the_prices_are_apart() -> None:
    mild = [150.0] * 12 + [100.0] * 4 + [150.0] * 40
    request = a_request(hours=4.0, modes=TIRING)
    placed = chosen(a_problem([mild], request))
    cheap = {w for w, (a, _) in zip(widths(request, placed), hours(placed), strict=True) if a == 3.0}
    assert cheap == {2}  # a third GPU there does 0.6 for 1.0 of power: 167 against 150
    assert set(widths(request, placed)) == {1, 2}


def test_a_job_without_modes_is_planned_as_by_lowest_slots() -> None:
    problem = a_problem([DIP], a_request(hours=2.0))
    assert Elastic().plan(problem) == LowestSlots().plan(problem)


def test_it_goes_no_wider_than_there_is_room() -> None:
    request = a_request(hours=4.0, modes=LINEAR)
    placed = chosen(a_problem([DIP], request, gpus=2))
    assert max(widths(request, placed)) == 2


def test_two_jobs_in_a_row_share_what_there_is() -> None:
    requests = [a_request(name, hours=4.0, modes=LINEAR) for name in ("a", "b")]
    first, second = Elastic().plan(a_problem([DIP], *requests, gpus=6))
    assert first.chosen is not None
    assert second.chosen is not None
    assert widths(requests[0], first.chosen) == [4]
    in_the_dip = [
        w for w, (a, _) in zip(widths(requests[1], second.chosen), hours(second.chosen), strict=True) if a == 3
    ]
    assert in_the_dip == [2]


def test_a_pause_and_a_change_of_width_cost_run_time() -> None:
    request = a_request(hours=6.0, modes=TIRING, switch_s=300.0)
    placed = chosen(a_problem([DIP], request))
    assert math.isclose(worked_s(request, placed.spans, ways(request, placed)), 6 * HOUR_S, abs_tol=1e-3)


def test_a_dear_change_of_width_is_not_made() -> None:
    free, dear = (a_request(hours=6.0, modes=TIRING, switch_s=switch_s) for switch_s in (0.0, 1800.0))
    assert len(set(widths(free, chosen(a_problem([DIP], free))))) > 1
    assert len(set(widths(dear, chosen(a_problem([DIP], dear))))) == 1


def test_a_change_of_the_power_limit_costs_nothing() -> None:
    full = Mode(1, 1, 1.0, 300.0)
    limited = Mode(1, 1, 0.9, 220.0, power_fraction=0.6)
    request = a_request(switch_s=600.0, resume_s=60.0)
    assert worked_s(request, ((0.0, 900.0), (900.0, 1800.0)), (full, limited)) == 840.0 + 0.9 * 900.0


@pytest.mark.parametrize("pauses", [0, 1])
def test_a_job_pauses_no_more_often_than_it_may(pauses: int) -> None:
    prices = ([300.0] * 8 + [100.0] * 2) * 6
    request = a_request(hours=2.0, window_h=15.0, modes=TIRING, suspensions_left=pauses)
    placed = chosen(a_problem([prices], request))
    gaps = sum(b > a + 1e-6 for (_, a), (b, _) in zip(placed.spans, placed.spans[1:], strict=False))
    assert gaps <= pauses


def test_no_stretch_is_shorter_than_the_least_run() -> None:
    prices = ([300.0] * 6 + [100.0]) * 9
    request = a_request(hours=3.0, window_h=15.0, modes=LINEAR, min_run_s=1800.0)
    placed = chosen(a_problem([prices], request))
    runs: list[list[float]] = []
    for begin_s, end_s in placed.spans:
        if runs and begin_s <= runs[-1][1] + 1e-6:
            runs[-1][1] = end_s
        else:
            runs.append([begin_s, end_s])
    assert len(runs) == 1 or all(end - begin >= 1800.0 - 1e-6 for begin, end in runs)


def test_a_plan_begins_while_the_declared_way_would_still_be_in_time() -> None:
    late = [300.0] * 40 + [100.0] * 8
    request = a_request(hours=6.0, window_h=12.0, modes=LINEAR)
    placed = chosen(a_problem([late], request))
    assert 0 <= placed.start_s <= request.latest_start_s
    assert placed.end_s <= request.must_end_s
    assert any(way == 4 for way in widths(request, placed))


def test_a_promised_start_is_the_start_of_what_is_planned_around_it() -> None:
    request = a_request(hours=4.0, modes=LINEAR)
    problem = a_problem([DIP], request)
    offer = Offer(problem, problem.timeline, request)
    kept = spread(offer.pinned(5))
    assert kept is not None
    assert kept.start_s == problem.grid.start_s(5)


def test_a_job_that_may_not_pause_runs_wide_within_one_valley() -> None:
    request = a_request(hours=3.0, modes=TIRING, suspensions_left=0, switch_s=60.0)
    two_valleys = [300.0] * 8 + [100.0] * 5 + [300.0] * 20 + [105.0] * 5 + [300.0] * 10
    placed = chosen(a_problem([two_valleys], request))
    assert placed.start_s >= 2 * HOUR_S
    assert placed.end_s <= 3.25 * HOUR_S
    assert max(widths(request, placed)) > 1


def test_a_promised_start_is_kept_where_nothing_better_came_up() -> None:
    request = a_request(hours=4.0, modes=LINEAR, min_savings=0.02)
    flat = [300.0] * 12 + [100.0, 99.0, 100.0, 100.0] + [300.0] * 40
    before = chosen(a_problem([flat], request))
    slightly = [300.0] * 12 + [100.0, 99.0, 100.0, 99.5] + [300.0] * 40
    assert chosen(a_problem([slightly], replace(request, pinned_s=before.start_s))).start_s == before.start_s


def test_a_gain_within_its_doubt_moves_nothing() -> None:
    request = a_request(hours=4.0, modes=LINEAR, z=1.0)
    found = choice(a_problem([DIP], request, errors=400.0))
    assert found.chosen is found.baseline
    assert found.best is not None
    assert found.best is not found.baseline


def test_a_running_job_keeps_its_mode() -> None:
    request = a_request(hours=4.0, modes=LINEAR, running_at=0, suspensions_left=0)
    problem = a_problem([DIP], request)
    problem.timeline.sell(0, ((0.0, request.work_s),), 1, 1)
    found = choice(problem)
    assert found.chosen is found.baseline


@pytest.mark.parametrize("together", [None, Difference(30.0, 8 * HOUR_S)], ids=["by slot", "together"])
def test_the_doubt_of_modes_that_draw_what_is_declared_is_the_doubt_without_modes(together: Difference | None) -> None:
    same = (Mode(1, 1, 1.0, 300.0), Mode(2, 2, 1.0, 300.0))
    request = a_request(modes=same)
    problem = a_problem([DIP, DIP], errors=20.0)
    problem.prices.differences = (together, together)
    spans, other = ((0.0, 3600.0), (3600.0, 7200.0)), Placement(0, ((1800.0, 5000.0),), 0.0)
    for site in (0, 1):
        told = doubt_between_g(problem.prices, request, Placement(site, spans, 0.0, (0, 1)), other)
        assert told == pytest.approx(doubt_g(problem.prices, Placement(site, spans, 0.0), other, 300.0), rel=1e-9)


@pytest.mark.parametrize("together", [None, Difference(30.0, 8 * HOUR_S)], ids=["by slot", "together"])
def test_what_two_placements_draw_alike_is_in_no_doubt(together: Difference | None) -> None:
    request = a_request(modes=LINEAR)
    problem = a_problem([DIP], errors=20.0)
    problem.prices.differences = (together,)
    ours = Placement(0, ((0.0, 3600.0), (3600.0, 7200.0)), 0.0, (0, 3))
    theirs = Placement(0, ((0.0, 7200.0),), 0.0)
    beyond = doubt_between_g(
        problem.prices, request, Placement(0, ((3600.0, 7200.0),), 0.0, (2,)), Placement(0, ((0.0, 0.0),), 0.0)
    )
    assert doubt_between_g(problem.prices, request, ours, theirs) == pytest.approx(beyond, rel=1e-6)


NARROW = Mode(1, 1, 0.5, 150.0)
WIDE = Mode(4, 4, 2.0, 700.0)


def stretches_of_one_width(request: Request, placed: Placement) -> list[tuple[int, float, float]]:
    found: list[tuple[int, float, float]] = []
    for width, (begin_s, end_s) in zip(widths(request, placed), placed.spans, strict=True):
        if found and found[-1][0] == width and abs(found[-1][2] - begin_s) < 1e-6:
            found[-1] = (width, found[-1][1], end_s)
        else:
            found.append((width, begin_s, end_s))
    return found


def test_a_job_of_few_suspensions_still_runs_at_several_widths_each_held_for_a_while() -> None:
    hourly = [200.0] * 6 + [140.0, 60.0, 100.0, 60.0] + [200.0] * 4
    free = a_request(hours=8.3, window_h=14.0, modes=TIRING)
    bound = replace(free, suspensions_left=3, min_run_s=1800.0, switch_s=120.0)
    placed = chosen(a_problem([hourly], bound, slot_s=HOUR_S))
    found = stretches_of_one_width(bound, placed)
    assert len(found) > 1
    assert all(end_s - begin_s >= 1800.0 - 1e-6 for _, begin_s, end_s in found)
    assert placed.cost_g <= 1.05 * chosen(a_problem([hourly], free, slot_s=HOUR_S)).cost_g


@pytest.mark.parametrize("left", [0, 1, 2])
def test_another_width_takes_a_suspension_as_a_pause_does(left: int) -> None:
    prices = ([300.0] * 8 + [100.0] * 4) * 5
    request = a_request(hours=8.0, window_h=15.0, modes=TIRING, suspensions_left=left)
    assert len(stretches_of_one_width(request, chosen(a_problem([prices], request)))) <= left + 1


def test_no_width_is_held_for_less_than_the_least_run() -> None:
    prices = ([300.0] * 5 + [100.0]) * 10
    request = a_request(hours=8.0, window_h=15.0, modes=TIRING, min_run_s=3600.0)
    found = stretches_of_one_width(request, chosen(a_problem([prices], request)))
    assert len(found) == 1 or all(end_s - begin_s >= 3600.0 - 1e-6 for _, begin_s, end_s in found)


def test_inv10_who_runs_slower_than_declared_would_be_in_time_even_if_it_could_never_be_widened() -> None:
    modes = NARROW, Mode(2, 2, 1.0, 320.0), WIDE
    request = a_request(gpus=2, cpus=2, power_w=320.0, hours=4.0, window_h=9.0, modes=modes)
    placed = chosen(a_problem([[310.0] * 8 + [300.0] * 24 + [10.0] * 4], request))
    left_s = request.work_s
    for (begin_s, end_s), way in zip(placed.spans, ways(request, placed), strict=True):
        assert way.speed >= 1 or begin_s + left_s / way.speed <= request.must_end_s + 1e-6
        left_s -= (end_s - begin_s) * way.speed


def a_running_one(prices: list[float], *, modes: tuple[Mode, ...], **changes: object) -> tuple[Request, Problem]:
    request = a_request(hours=4.0, window_h=20.0, modes=modes, running_at=0, **changes)  # type: ignore[arg-type]
    problem = a_problem([prices], request)
    problem.timeline.sell(0, ((0.0, request.work_s),), *request.need)
    return request, problem


def test_a_running_job_stops_to_go_on_narrower_where_its_width_is_a_waste() -> None:
    request, problem = a_running_one(
        [300.0] * 80, modes=(NARROW, Mode(4, 4, 1.0, 700.0)), gpus=4, cpus=4, power_w=700.0, suspensions_left=1
    )
    placed = chosen(problem)
    assert placed.start_s > 0
    assert widths(request, placed) == [1]


def test_a_running_job_goes_on_at_its_width_where_another_gains_too_little() -> None:
    _, problem = a_running_one([300.0] * 80, modes=TIRING, suspensions_left=1)
    found = choice(problem)
    assert found.chosen is found.baseline
