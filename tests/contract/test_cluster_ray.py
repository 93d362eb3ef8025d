"""A real Ray cluster, spoken to over HTTP, keeps the same promises as the simulated one."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from lowtide.connectors.cluster.local_ray import LocalRay
from lowtide.connectors.cluster.logtail import CUT
from lowtide.connectors.cluster.package import jobside_package
from lowtide.connectors.cluster.ray_jobs import PROBE, RayJobs
from lowtide.connectors.jobside import record
from lowtide.scheduler.model.cluster import ClusterJobStatus, Submission
from tests.contract.cluster_conformance import FAILS, SAYS, STAYS, Bench, ClusterConformance

pytestmark = pytest.mark.ray
PROGRAMS = {SAYS: "echo tide-42", FAILS: "exit 3", STAYS: "exec sleep 600"}


def program(submission_id: str, argv: list[str], fence: str, uri: str, **changes: object) -> Submission:
    env = {"LOWTIDE_ARGV": json.dumps(argv), "LOWTIDE_FENCE": fence, "LOWTIDE_ATTEMPT_ID": submission_id}
    values = {"num_cpus": 1, "num_gpus": 0, "metadata": {"lowtide_fence": fence}, "grace_s": 5.0, **changes}
    return Submission(submission_id, tuple(argv), env, py_module_uris=(uri,), **values)  # type: ignore[arg-type] # a test's shorthand


@asynccontextmanager
async def real(url: str) -> AsyncIterator[Bench]:
    cluster = RayJobs(url, python=sys.executable)
    try:
        uri = await cluster.upload(jobside_package())

        def order(submission_id: str, what: str, fence: str) -> Submission:
            return program(submission_id, ["sh", "-c", PROGRAMS[what]], fence, uri)

        async def pause() -> None:
            await asyncio.sleep(0.1)

        yield Bench(cluster, order, pause)
    finally:
        await cluster.close()


class TestRay(ClusterConformance):
    @pytest.fixture(autouse=True)
    def _here(self, ray_url: str) -> None:
        self.url = ray_url

    def bench(self) -> AbstractAsyncContextManager[Bench]:
        return real(self.url)


def run_to_its_log(url: str, submission: Submission) -> str:
    async def story() -> str:
        async with real(url) as bench:
            uri = await bench.cluster.upload(jobside_package())
            assert uri in submission.py_module_uris
            await bench.cluster.submit(submission)
            job = await bench.ended(submission.submission_id)
            assert job.status == ClusterJobStatus.SUCCEEDED, job
            return await bench.cluster.log_tail(submission.submission_id, max_bytes=100_000, lines=500)

    return asyncio.run(story())


@pytest.fixture
def uri(ray_url: str) -> str:
    async def story() -> str:
        async with real(ray_url) as bench:
            return await bench.cluster.upload(jobside_package())

    return asyncio.run(story())


def test_a_job_runs_the_shipped_job_side_and_sees_no_gpu_that_it_did_not_ask_for(ray_url: str, uri: str) -> None:
    source = "import os, sys, lowtide.connectors.jobside.runner as r; "
    argv = [sys.executable, "-c", source + "print('FROM', r.__file__, repr(os.environ['CUDA_VISIBLE_DEVICES']))"]
    told = next(
        line
        for line in run_to_its_log(ray_url, program("shipped", argv, "f", uri)).splitlines()
        if line.startswith("FROM")
    )
    assert "py_modules_files" in told
    assert told.endswith("''")


def test_a_job_that_asks_for_gpus_is_shown_as_many(ray_url: str, uri: str) -> None:
    log = run_to_its_log(
        ray_url, program("gpus", ["sh", "-c", "echo SEES $CUDA_VISIBLE_DEVICES"], "f", uri, num_gpus=2)
    )
    assert "SEES 0,1\n" in log


def test_a_job_is_sent_to_nodes_with_the_resource_of_its_pool_and_to_no_other(ray_url: str, uri: str) -> None:
    def order(submission_id: str, node_resource: str) -> Submission:
        return program(submission_id, ["echo", "tide"], "f", uri, node_resource=node_resource)

    assert "tide" in run_to_its_log(ray_url, order("pool-a1", "node:__internal_head__"))

    async def elsewhere() -> ClusterJobStatus:
        async with real(ray_url) as bench:
            await bench.cluster.submit(order("pool-b1", "accelerator_type:NOBODY"))
            run_to = await bench.cluster.get("pool-b1")
            await bench.cluster.stop("pool-b1")
            return run_to.status

    assert asyncio.run(elsewhere()) is ClusterJobStatus.PENDING


def test_inv02_ray_tells_a_job_where_its_head_is_and_the_lease_on_it_lasts(ray_url: str, uri: str) -> None:
    order = program("leased", ["sleep", "3"], "f", uri)
    order.env["LOWTIDE_LEASE_S"] = "1"
    ended = record.parse(run_to_its_log(ray_url, order), "f").ended
    assert ended is not None
    assert (ended.exit_code, ended.lease_lost) == (0, False)


def test_no_character_of_an_argument_meets_a_shell(ray_url: str, uri: str) -> None:
    argument = "$HOME ${HOME} ${NOT_THERE} $$ `id` \"q\" 'q' ; & | > \\ \n ü"
    argv = [sys.executable, "-c", "import sys; print('GOT', ascii(sys.argv[1]))", argument]
    assert f"GOT {argument!a}\n" in run_to_its_log(ray_url, program("quoting", argv, "f", uri))


def test_the_first_character_of_a_log_is_kept_and_an_overlong_log_still_gives_its_end(ray_url: str, uri: str) -> None:
    source = "for n in range(3000): print(f'1{n:0200d}')"
    run_to_its_log(ray_url, program("chatty", [sys.executable, "-c", source], "f", uri))

    async def story() -> str:
        async with real(ray_url) as bench:
            return await bench.cluster.log_tail("chatty", max_bytes=60_000, lines=4000)

    tail = asyncio.run(story())
    assert len(tail.encode()) <= 60_000
    assert '"kind":"ended"' in tail
    assert tail.startswith(CUT)
    first = next(line for line in tail.removeprefix(CUT).splitlines() if line)
    assert first.startswith(("10", "::lowtide::"))


def test_the_probe_of_the_agent_leaves_no_record(ray_url: str) -> None:
    async def story() -> None:
        async with real(ray_url) as bench:
            await bench.cluster.health()
            assert (await bench.cluster.get(str(PROBE["submission_id"]))).status == ClusterJobStatus.MISSING

    asyncio.run(story())


def test_a_program_that_connects_to_ray_by_itself_is_not_among_the_submissions(
    ray_url: str, ray_cluster: LocalRay
) -> None:
    found = ray_cluster._read()
    assert found is not None
    source = (
        "import ray, sys, urllib.request as u; ray.init(address=sys.argv[1], log_to_driver=False); "
        "print('ROWS', u.urlopen(sys.argv[2] + '/api/jobs/').read().decode())"
    )
    command = [sys.executable, "-c", source, f"127.0.0.1:{found.ports.gcs}", ray_url]
    driver = subprocess.run(
        command, env=ray_cluster._environment(found), capture_output=True, text=True, timeout=120, check=True
    )
    rows = json.loads(driver.stdout.split("ROWS ", 1)[1])
    assert any(row["type"] == "DRIVER" and row["submission_id"] is None for row in rows)

    async def story() -> set[str]:
        async with real(ray_url) as bench:
            return {job.submission_id for job in await bench.cluster.list_jobs()}

    assert asyncio.run(story()) == {row["submission_id"] for row in rows if row["type"] == "SUBMISSION"}
