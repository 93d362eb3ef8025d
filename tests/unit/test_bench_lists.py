"""The schedulers that policies are compared with do what their names say."""

import pytest

from bench.lists import Work, earliest_deadline, fifo, interruptions, missed_h

H = 3600.0


def a_work(submit_h: float, run_h: float, gpus: int = 1, due_h: float = 100.0) -> Work:
    return Work(submit_h * H, run_h * H, gpus, due_h * H, 300.0)


def hours(stretches: list[tuple[int, float, float]]) -> list[tuple[int, float, float]]:
    return [(i, a / H, b / H) for i, a, b in stretches]


def test_first_in_first_out_lets_nobody_overtake() -> None:
    works = [a_work(0, 4, 2), a_work(1, 2, 3), a_work(1, 1, 1)]
    assert hours(fifo(works, 3)) == [(0, 0, 4), (1, 4, 6), (2, 6, 7)]


def test_first_in_first_out_runs_side_by_side_what_fits() -> None:
    works = [a_work(0, 4, 2), a_work(1, 2, 1), a_work(1, 1, 1)]
    assert hours(fifo(works, 3)) == [(0, 0, 4), (1, 1, 3), (2, 3, 4)]


def test_the_earliest_deadline_interrupts_what_can_wait_and_lets_small_jobs_pass() -> None:
    works = [a_work(0, 4, 1, due_h=90), a_work(1, 2, 2, due_h=10), a_work(1, 1, 1, due_h=20)]
    found = earliest_deadline(works, 2)
    assert interruptions(found) == 1
    assert hours(found) == [(0, 0, 1), (1, 1, 3), (2, 3, 4), (0, 3, 4), (0, 4, 6)]


def test_only_misses_of_more_than_a_second_are_told() -> None:
    works = [a_work(0, 4, due_h=4 - 0.5 / H), a_work(0, 4, due_h=1)]
    assert missed_h(works, fifo(works, 2)) == [pytest.approx(3.0)]
