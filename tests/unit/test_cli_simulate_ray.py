"""What a cluster's log says of a play, without a cluster."""

from datetime import UTC, datetime

import pytest

from lowtide.scheduler.cli.simulate_ray import found_in, written
from lowtide.scheduler.model.cluster import ClusterJob, ClusterJobStatus
from lowtide.scheduler.model.errors import ClusterFailure
from lowtide.scheduler.simulate.result import Result

RESULT = Result({"policy": "asap", "ratio": None}, ((datetime(2026, 3, 10, tzinfo=UTC), 3),), (0.0, 1.5))


def test_a_result_is_found_again_among_other_lines() -> None:
    log = f"::lowtide::a:: {{}}\n{written(RESULT)}\nsomething else\n"
    assert found_in(ClusterJob("a", ClusterJobStatus.SUCCEEDED), log) == RESULT


def test_a_job_without_a_result_is_told_of_by_its_own_last_words() -> None:
    log = "::lowtide::a:: {}\nNo module named 'lowtide.scheduler'\n::lowtide::a:: {}\n"
    with pytest.raises(ClusterFailure, match="ended as failed") as caught:
        found_in(ClusterJob("a", ClusterJobStatus.FAILED), log)
    assert caught.value.message.splitlines()[1:] == ["No module named 'lowtide.scheduler'"]
