"""The simulated cluster keeps the port's promises, and misbehaves exactly as told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from lowtide.connectors.cluster.fake import Script, SimulatedCluster
from lowtide.scheduler.model.cluster import ClusterJobStatus, Submission, SubmitOutcome
from lowtide.scheduler.model.errors import ClusterFailure, ClusterFailureKind
from tests.contract.cluster_conformance import FAILS, SAYS, STAYS, Bench, ClusterConformance

S = ClusterJobStatus
SCRIPTS = {
    SAYS: Script(starts_in_s=1, ends_in_s=1, output="tide-42\n"),
    FAILS: Script(starts_in_s=1, ends_in_s=1, exit_code=3, output="no\n" * 2000),
    STAYS: Script(starts_in_s=1, ends_in_s=None, stops_in_s=2),
}


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def an_order(submission_id: str, what: str = SAYS, fence: str = "f1", **changes: object) -> Submission:
    values = {"num_cpus": 1, "num_gpus": 0, "metadata": {"lowtide_fence": fence}, **changes}
    return Submission(submission_id, (what,), {}, **values)  # type: ignore[arg-type] # a test's shorthand


def a_cluster(clock: Clock, *, gpus: int = 2) -> SimulatedCluster:
    return SimulatedCluster(clock, gpus=gpus, cpus=6, script=lambda order: SCRIPTS[order.argv[0]])


@asynccontextmanager
async def simulated() -> AsyncIterator[Bench]:
    clock = Clock()

    async def pause() -> None:
        clock.now_s += 0.25

    yield Bench(a_cluster(clock), an_order, pause)


class TestSimulatedCluster(ClusterConformance):
    def bench(self) -> AbstractAsyncContextManager[Bench]:
        return simulated()


def test_what_does_not_fit_waits_and_starts_at_the_moment_room_is_made() -> None:
    async def story() -> None:
        clock = Clock()
        cluster = a_cluster(clock, gpus=1)
        for name in ("first", "second"):
            await cluster.submit(an_order(name, num_gpus=1))
        clock.now_s = 1.5
        assert [job.status for job in await cluster.list_jobs()] == [S.RUNNING, S.PENDING]
        assert (await cluster.capacity()).gpus_used == 1.0
        clock.now_s = 100.0  # both are long over: the second began when the first ended, not when we looked
        assert [job.status for job in await cluster.list_jobs()] == [S.SUCCEEDED, S.SUCCEEDED]

    asyncio.run(story())


def test_a_stop_of_one_that_waits_takes_hold_once_it_starts() -> None:
    async def story() -> None:
        clock = Clock()
        cluster = a_cluster(clock)
        await cluster.submit(an_order("waits", STAYS))
        assert await cluster.stop("waits")
        assert (await cluster.get("waits")).status == S.PENDING
        clock.now_s = 3.5
        assert (await cluster.get("waits")).status == S.STOPPED

    asyncio.run(story())


def test_a_lost_answer_leaves_the_submission_and_asking_again_finds_it() -> None:
    async def story() -> None:
        cluster = a_cluster(Clock())
        cluster.lose_next_answer()
        with pytest.raises(ClusterFailure):
            await cluster.submit(an_order("x"))
        assert await cluster.submit(an_order("x")) == SubmitOutcome.ALREADY_OURS

    asyncio.run(story())


@pytest.mark.parametrize("kind", list(ClusterFailureKind))
def test_a_cluster_that_fails_still_runs_its_submissions(kind: ClusterFailureKind) -> None:
    async def story() -> None:
        clock = Clock()
        cluster = a_cluster(clock)
        await cluster.submit(an_order("x"))
        cluster.fail_with(kind)
        clock.now_s = 5.0
        with pytest.raises(ClusterFailure) as caught:
            await cluster.get("x")
        assert caught.value.kind == kind
        cluster.fail_with(None)
        assert (await cluster.get("x")).status == S.SUCCEEDED

    asyncio.run(story())


def test_a_new_incarnation_knows_nothing_of_the_old() -> None:
    async def story() -> None:
        cluster = a_cluster(Clock())
        uri = await cluster.upload(b"zip")
        await cluster.submit(an_order("x"))
        before = await cluster.identity()
        cluster.restart("simulated-2")
        assert (await cluster.identity()).cluster_id != before.cluster_id
        assert (await cluster.get("x")).status == S.MISSING
        await cluster.submit(an_order("y", py_module_uris=(uri,)))
        assert (await cluster.get("y")).error_type == "RUNTIME_ENV_SETUP_FAILURE"

    asyncio.run(story())


def test_one_submission_can_vanish_alone() -> None:
    async def story() -> None:
        cluster = a_cluster(Clock())
        for name in ("x", "y"):
            await cluster.submit(an_order(name))
        cluster.lose("x")
        assert [job.submission_id for job in await cluster.list_jobs()] == ["y"]

    asyncio.run(story())
