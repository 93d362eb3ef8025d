"""Plays on a real Ray cluster give what they give here, and leave nothing behind."""

import asyncio
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from lowtide.connectors.cluster.ray_jobs import RayJobs
from lowtide.scheduler.cli.simulate_ray import played_on_ray
from lowtide.scheduler.cli.simulate_sweep import timed
from lowtide.scheduler.model.errors import ClusterFailure
from lowtide.scheduler.model.series import Accounting, Basis, Point, PointKind, Series, Signal
from lowtide.scheduler.simulate.play import Play
from lowtide.scheduler.simulate.result import Result
from lowtide.scheduler.simulate.trace import TraceJob

pytestmark = pytest.mark.ray
START = datetime(2026, 3, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)


def a_play(policy: str) -> Play:
    values = ([100.0] * 6 + [300.0] * 18) * 4
    points = tuple(Point(START + i * HOUR, START + (i + 1) * HOUR, v, PointKind.ACTUAL) for i, v in enumerate(values))
    meaning = (Signal.AVERAGE, Basis.DIRECT, Accounting.CONSUMPTION)
    jobs = tuple(TraceJob(f"j{i}", i * 5000.0, 3600.0 * (1 + i % 3), 1) for i in range(12))
    return Play(jobs, {"GB": Series("t", "GB", "GB", points, 3600.0, *meaning, START)}, policy, START, points[-1].end)


def without_times(result: Result) -> Result:
    timings = {"wall_s", "plan_p50_ms", "plan_p99_ms"}
    return replace(result, report={k: v for k, v in result.report.items() if k not in timings})


async def left_at(url: str) -> list[str]:
    cluster = RayJobs(url)
    try:
        known = await cluster.list_jobs()
    finally:
        await cluster.close()
    return [job.submission_id for job in known if job.submission_id.startswith("lowtide-simulate")]


def test_plays_on_a_cluster_give_what_they_give_here(ray_url: str) -> None:
    plays = [a_play(policy) for policy in ("asap", "lowest_window", "lowest_slots")]
    there = played_on_ray(plays, ray_url, sys.executable)
    assert [without_times(one) for one in there] == [without_times(timed(play)) for play in plays]
    assert asyncio.run(left_at(ray_url)) == []


def test_a_cluster_whose_python_lacks_lowtide_is_told_of_with_what_to_do(ray_url: str) -> None:
    with pytest.raises(ClusterFailure, match="a play ended as failed on the cluster") as caught:
        played_on_ray([a_play("asap")], ray_url, "/bin/false")
    assert "--ray-python" in caught.value.fix
    assert asyncio.run(left_at(ray_url)) == []
