"""The private cluster on real Ray: its life does not hang on ours, and its death is complete."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lowtide.connectors.cluster import local_ray
from lowtide.connectors.cluster.local_ray import LocalRay, _tagged
from lowtide.connectors.cluster.package import jobside_package
from lowtide.connectors.cluster.ray_jobs import RayJobs
from lowtide.scheduler.model.cluster import ClusterJobStatus
from lowtide.scheduler.model.errors import ClusterFailure
from tests.contract.test_cluster_ray import program, real
from tests.daemons import until

pytestmark = [pytest.mark.ray, pytest.mark.slow]
STARTER = """
import asyncio, sys
from pathlib import Path
from lowtide.connectors.cluster.local_ray import LocalRay
asyncio.run(LocalRay(Path(sys.argv[1]), gpus=1, cpus=2).ensure())
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[LocalRay]:
    made = LocalRay(tmp_path, gpus=1, cpus=2)
    yield made
    made.stop()
    assert not made.is_alive()


def listening(tag: str) -> set[str]:
    """The addresses on which the cluster's processes listen."""
    ours = {process.pid for process, _ in _tagged(tag)}
    sockets = [c for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.pid in ours]
    found = {c.laddr.ip for c in sockets if c.laddr}
    assert found
    return {address.removeprefix("::ffff:") for address in found}


def program_of(tag: str, argv: list[str]) -> psutil.Process | None:
    """The process of the cluster that runs the program; RUNNING in Ray says only that its runner was started."""
    for process, _ in _tagged(tag):
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.cmdline() == argv:
                return process
    return None


def start_a_long_job(url: str) -> None:
    async def story() -> None:
        async with real(url) as bench:
            uri = await bench.cluster.upload(jobside_package())
            await bench.cluster.submit(program("long-a1", ["sleep", "600"], "f", uri))
            await bench.until("long-a1", {ClusterJobStatus.RUNNING})

    asyncio.run(story())


def test_a_cluster_and_its_job_outlive_who_started_them_are_found_again_and_end_together(
    cluster: LocalRay, tmp_path: Path
) -> None:
    starter = psutil.Popen([sys.executable, "-c", STARTER, str(tmp_path)])
    assert starter.wait(300) == 0
    url = asyncio.run(cluster.ensure())
    found = cluster._read()
    assert found is not None
    assert listening(found.tag) == {"127.0.0.1"}
    start_a_long_job(url)
    job = until(lambda: program_of(found.tag, ["sleep", "600"]), "the runner to start the job's own program")
    assert cluster.living_attempts() == {"long-a1"}
    again = LocalRay(tmp_path, gpus=1, cpus=2)
    assert asyncio.run(again.ensure()) == url
    assert again.living_attempts() == {"long-a1"}
    again.stop()
    assert not job.is_running()
    assert not Path(found.temp_dir).exists()
    assert cluster.living_attempts() is None


def test_a_start_that_was_killed_half_way_leaves_nothing_behind(cluster: LocalRay, tmp_path: Path) -> None:
    starter = psutil.Popen([sys.executable, "-c", STARTER, str(tmp_path)])
    until(lambda: len(cluster.members()) > 1, "the start to be under way")
    found = cluster._read()
    assert found is not None
    starter.send_signal(signal.SIGKILL)
    starter.wait(10)
    url = asyncio.run(cluster.ensure())
    now = cluster._read()
    assert now is not None
    assert url == now.url
    if now.tag != found.tag:  # it was too young to be adopted
        assert _tagged(found.tag) == []


def test_a_head_that_dies_is_noticed_and_a_new_cluster_takes_its_place(
    cluster: LocalRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_ray, "ADOPT_S", 1.0)

    async def identity(url: str) -> str:
        client = RayJobs(url)
        try:
            return (await client.identity()).cluster_id
        finally:
            await client.close()

    async def healthy(url: str) -> bool:
        client = RayJobs(url)
        try:
            await client.health()
        except ClusterFailure:
            return False
        finally:
            await client.close()
        return True

    first = asyncio.run(cluster.ensure())
    before = asyncio.run(identity(first))
    for process in cluster.members():
        if process.name() == "gcs_server":
            os.kill(process.pid, signal.SIGKILL)
    # The dashboard lives on for a while and still tells the id of its dead cluster; the health check must not.
    until(lambda: not asyncio.run(healthy(first)), "the dead head to be noticed")
    second = asyncio.run(cluster.ensure())
    assert asyncio.run(identity(second)) != before
