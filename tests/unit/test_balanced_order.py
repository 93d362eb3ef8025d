"""What balanced does when not all can be in time, and who goes before whom then."""

from dataclasses import replace

import numpy as np

from lowtide.policies.balanced import Balanced
from lowtide.policies.problem import Choice, Problem, Request
from tests.problems import a_problem, a_request, hours

LEVEL = [[100.0] * 8]


def due(job_id: str, slots: int, end: int) -> Request:
    """Of so many slots, to be started now, to end before the slot ``end``."""
    return a_request(job_id, hours=slots / 4, window_h=end / 4, is_due=True)


def spans(choice: Choice) -> list[tuple[float, float]]:
    """In slots."""
    assert choice.chosen is not None
    return [(start * 4, end * 4) for start, end in hours(choice.chosen)]


def test_clinical_work_goes_before_what_is_due_sooner() -> None:
    ordinary, clinical = due("ordinary", 2, 2), replace(due("clinical", 2, 8), is_foremost=True)
    first, second = Balanced().plan(a_problem(LEVEL, clinical, ordinary, gpus=1))
    assert (spans(first), spans(second)) == ([(0, 2)], [(2, 4)])


def test_of_two_with_the_same_slack_the_one_that_must_end_sooner_goes_first() -> None:
    long, short = due("long", 3, 4), due("short", 1, 2)
    first, second = Balanced().plan(a_problem(LEVEL, long, short, gpus=1))
    assert (spans(first), spans(second)) == ([(1, 4)], [(0, 1)])


def test_what_is_late_by_its_slack_is_served_by_when_it_must_end() -> None:
    long, short = due("long", 3, 4), a_request("short", hours=0.25, window_h=0.75)
    first, second = Balanced().plan(a_problem(LEVEL, long, short, gpus=1))
    assert (spans(first), spans(second)) == ([(1, 4)], [(0, 1)])


def test_a_job_in_its_last_slot_gives_way_rather_than_make_another_late() -> None:
    last = a_request("last", hours=0.25, window_h=2.0, running_at=0)
    first, second = Balanced().plan(a_problem(LEVEL, due("urgent", 2, 2), last, gpus=1))
    assert (spans(first), spans(second)) == ([(0, 2)], [(2, 3)])
    assert second.gives_way


def test_inv_07_a_running_job_that_has_nowhere_else_to_go_keeps_its_place() -> None:
    running = a_request("running", hours=0.5, window_h=8.0, running_at=0)
    first, second = Balanced().plan(_full_after(2, a_problem(LEVEL, due("urgent", 1, 1), running, gpus=1)))
    assert first.chosen is None
    assert spans(second) == [(0, 2)]


def _full_after(slot: int, problem: Problem) -> Problem:
    timeline = problem.timeline.copy()
    timeline.free_gpus = np.where(np.arange(problem.grid.count) < slot, timeline.free_gpus, 0)
    return replace(problem, timeline=timeline)
