"""What a job that declares no run time is expected to take."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowtide.scheduler.model.job import JobSpec, spec_from_json, spec_to_json
from lowtide.scheduler.model.run_time import LEAST_RUNS, RunTime, Told, expected

HOUR_S = 3600.0
RUNS = st.lists(st.floats(1.0, 1e6), min_size=LEAST_RUNS, max_size=60)


@pytest.mark.parametrize(
    ("runs_s", "limit_s", "found"),
    [
        ([], None, RunTime(HOUR_S, HOUR_S, Told.QUEUE)),
        ([50.0, 70.0], None, RunTime(HOUR_S, HOUR_S, Told.QUEUE)),
        ([50.0, 70.0], 600.0, RunTime(600.0, 600.0, Told.LIMIT)),
        ([70.0, 50.0, 90.0], None, RunTime(70.0, 90.0, Told.HISTORY)),
        ([70.0, 50.0, 90.0, 80.0], None, RunTime(75.0, 90.0, Told.HISTORY)),
        ([*range(1, 21)], None, RunTime(10.5, 18, Told.HISTORY)),
        ([70.0, 50.0, 900.0], 100.0, RunTime(70.0, 100.0, Told.HISTORY)),
    ],
)
def test_earlier_runs_tell_before_the_limit_and_the_limit_before_the_queue(
    runs_s: list[float], limit_s: float | None, found: RunTime
) -> None:
    assert expected(runs_s, limit_s, HOUR_S) == found


@given(RUNS, st.none() | st.floats(1.0, 1e6))
def test_half_of_the_runs_are_shorter_and_one_of_ten_is_longer(runs_s: list[float], limit_s: float | None) -> None:
    found = expected(runs_s, limit_s, HOUR_S)
    assert found.expected_s <= found.high_s <= max(runs_s)
    assert found.told is Told.HISTORY
    if limit_s is None:
        assert 2 * sum(run_s < found.expected_s for run_s in runs_s) <= len(runs_s)
        assert 10 * sum(run_s > found.high_s for run_s in runs_s) <= len(runs_s)
    else:
        assert found.high_s <= limit_s


def test_what_was_worked_out_is_stored_and_is_no_part_of_what_was_asked() -> None:
    asked = JobSpec("mri", ("true",), told=Told.QUEUE)
    known = asked.expected_as(RunTime(60.0, 90.0, Told.HISTORY))
    assert spec_from_json(spec_to_json(known)) == known
    assert known.as_asked == asked.as_asked
    assert (known.duration_s, known.high_s) == (60.0, 90.0)


def test_a_submission_from_before_run_times_could_be_left_out_is_the_same_when_it_is_repeated() -> None:
    stored = spec_from_json(spec_to_json(JobSpec("mri", ("true",), duration_s=HOUR_S)))
    assert stored.as_asked == JobSpec("mri", ("true",), told=Told.QUEUE).as_asked
    assert stored.as_asked != JobSpec("mri", ("true",), duration_s=2 * HOUR_S).as_asked


def test_a_declared_run_time_is_stored_as_it_always_was() -> None:
    assert spec_to_json(JobSpec("mri", ("true",))).keys().isdisjoint({"told", "high_s", "time_limit_s"})


def test_jobs_that_run_the_same_have_a_fingerprint_in_common_whatever_their_names() -> None:
    first = JobSpec("fold-1", ("python", "train.py"), project="scans")
    assert JobSpec("fold-2", ("python", "train.py"), project="scans").fingerprint == first.fingerprint
    assert JobSpec("fold-1", ("python", "train.py"), project="others").fingerprint != first.fingerprint
