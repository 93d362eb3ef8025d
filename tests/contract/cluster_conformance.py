"""What every cluster promises, in one suite; each implementation brings a bench that the suite runs on."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import pytest

from lowtide.scheduler.model.cluster import Cluster, ClusterJob, ClusterJobStatus, Submission, SubmitOutcome
from lowtide.scheduler.model.errors import BadInput, ClusterFailure, ClusterFailureKind

S = ClusterJobStatus
SAYS, FAILS, STAYS = "says tide-42", "fails with 3", "stays until it is stopped"
OPEN = {S.PENDING, S.RUNNING}


@dataclass(frozen=True)
class Bench:
    """A cluster, a maker of submissions (id, what it does, fence), and a way to let time pass."""

    cluster: Cluster
    order: Callable[[str, str, str], Submission]
    pause: Callable[[], Awaitable[None]]

    async def until(self, submission_id: str, statuses: set[ClusterJobStatus]) -> ClusterJob:
        for _ in range(2000):
            job = await self.cluster.get(submission_id)
            if job.status in statuses:
                return job
            await self.pause()
        message = f"{submission_id} never became {statuses}; it is {job}"
        raise AssertionError(message)

    async def until_no_stop(self, submission_id: str) -> None:
        for _ in range(2000):  # Ray's supervisor of a job may outlive it by a moment
            if not await self.cluster.stop(submission_id):
                return
            await self.pause()
        message = f"{submission_id} ended and could be stopped all the same"
        raise AssertionError(message)

    async def ended(self, submission_id: str) -> ClusterJob:
        return await self.until(submission_id, set(S) - OPEN)


class ClusterConformance(ABC):
    """Subclass it and give ``bench``; every id in the suite is used once, so one cluster serves all of it."""

    @abstractmethod
    def bench(self) -> AbstractAsyncContextManager[Bench]:
        """A bench, made and closed inside the running loop."""

    def run(self, story: Callable[[Bench], Awaitable[None]]) -> None:
        async def whole() -> None:
            async with self.bench() as bench:
                await story(bench)

        asyncio.run(whole())

    def test_a_submission_runs_leaves_its_output_and_can_then_be_deleted(self) -> None:
        async def story(b: Bench) -> None:
            assert await b.cluster.submit(b.order("good", SAYS, "f1")) == SubmitOutcome.ACCEPTED
            job = await b.ended("good")
            assert (job.status, job.exit_code, job.error_type) == (S.SUCCEEDED, 0, None)
            assert job.metadata["lowtide_fence"] == "f1"
            assert job.node_id
            assert "tide-42" in await b.cluster.log_tail("good", max_bytes=100_000, lines=200)
            assert not await b.cluster.stop("good")
            await b.cluster.delete("good")
            assert (await b.cluster.get("good")).status == S.MISSING

        self.run(story)

    def test_a_program_that_fails_gives_its_exit_code(self) -> None:
        async def story(b: Bench) -> None:
            await b.cluster.submit(b.order("bad", FAILS, "f1"))
            job = await b.ended("bad")
            assert (job.status, job.exit_code, job.error_type) == (S.FAILED, 3, "JOB_ENTRYPOINT_COMMAND_ERROR")
            assert len(job.message) <= 2000

        self.run(story)

    def test_a_running_submission_stops_on_request_and_not_before_it_may_be_deleted(self) -> None:
        async def story(b: Bench) -> None:
            await b.cluster.submit(b.order("long", STAYS, "f1"))
            await b.until("long", {S.RUNNING})
            with pytest.raises(ClusterFailure) as caught:
                await b.cluster.delete("long")
            assert caught.value.kind == ClusterFailureKind.REFUSED
            assert await b.cluster.stop("long")
            job = await b.ended("long")
            assert (job.status, job.exit_code) == (S.STOPPED, None)
            await b.until_no_stop("long")

        self.run(story)

    def test_one_id_runs_once_whoever_asks_again(self) -> None:
        async def story(b: Bench) -> None:
            assert await b.cluster.submit(b.order("twice", SAYS, "mine")) == SubmitOutcome.ACCEPTED
            assert await b.cluster.submit(b.order("twice", SAYS, "mine")) == SubmitOutcome.ALREADY_OURS
            assert await b.cluster.submit(b.order("twice", FAILS, "yours")) == SubmitOutcome.ALREADY_FOREIGN
            job = await b.ended("twice")
            assert (job.status, job.metadata["lowtide_fence"]) == (S.SUCCEEDED, "mine")
            listed = [known.submission_id for known in await b.cluster.list_jobs()]
            assert listed.count("twice") == 1

        self.run(story)

    def test_an_unknown_id_is_missing_and_asking_for_it_is_no_error(self) -> None:
        async def story(b: Bench) -> None:
            assert (await b.cluster.get("never")).status == S.MISSING
            assert not await b.cluster.stop("never")
            assert await b.cluster.log_tail("never", max_bytes=1000, lines=10) == ""
            await b.cluster.delete("never")

        self.run(story)

    def test_an_id_that_ray_could_not_delete_is_refused_before_it_is_sent(self) -> None:
        async def story(b: Bench) -> None:
            for submission_id in ("a/b", "", "a b", "x" * 101, "naïve"):
                with pytest.raises(BadInput, match="letters, digits"):
                    await b.cluster.submit(b.order(submission_id, SAYS, "f1"))

        self.run(story)

    def test_a_package_has_one_address_however_often_it_is_uploaded(self) -> None:
        async def story(b: Bench) -> None:
            first = await b.cluster.upload(b"not a zip, but bytes")
            assert first.startswith("gcs://")
            assert await b.cluster.upload(b"not a zip, but bytes") == first
            assert await b.cluster.upload(b"other bytes") != first

        self.run(story)

    def test_a_healthy_cluster_tells_who_it_is_and_how_large(self) -> None:
        async def story(b: Bench) -> None:
            await b.cluster.health()
            first, second = await b.cluster.identity(), await b.cluster.identity()
            assert first == second
            assert first.cluster_id
            capacity = await b.cluster.capacity()
            assert (capacity.gpus_total, capacity.cpus_total) == (2.0, 6.0)
            assert [job for job in await b.cluster.list_jobs() if "probe" in job.submission_id] == []

        self.run(story)
