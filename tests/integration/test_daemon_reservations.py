"""Pools, drains and reservations in a whole daemon, with what is refused and what is kept over a restart."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from lowtide.connectors.cluster.fake import SimulatedCluster
from lowtide.scheduler.control.assemble import Daemon
from lowtide.scheduler.model.errors import BadInput, Conflict, NotFound
from lowtide.scheduler.model.reservation import Wish
from lowtide.scheduler.store import tables as t
from tests.whole import NOWHERE, a_cluster, a_daemon, await_state, eventually, submit

POOLS = [
    {"name": "h100", "gpus": 1, "cpus": 4, "gpu_model": "H100"},
    {"name": "a40", "gpus": 1, "cpus": 4, "gpu_model": "A40"},
]
SITE = {"name": "lab", "address": NOWHERE, "pools": POOLS}
BY: dict[str, Any] = {"actor": "ann", "why": "new disks"}
NEVER = None


def play(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(story())


@asynccontextmanager
async def a_lab(folder: Path, cluster: SimulatedCluster) -> AsyncIterator[Daemon]:
    async with a_daemon(folder, {"lab": cluster}, sites=[SITE]) as daemon:
        yield daemon


def pools_of(daemon: Daemon) -> list[tuple[str, str]]:
    """Job and pool of every attempt."""
    with daemon.database.read() as connection:
        rows = connection.execute(select(t.attempt.c.job_id, t.attempt.c.pool)).all()
    return [(job_id, pool) for job_id, pool in rows]


async def until_why(daemon: Daemon, job_id: str, code: str) -> dict[str, Any]:
    async def found() -> dict[str, Any] | None:
        job = await daemon.service.job(job_id)
        return job if job["reason"]["code"] == code else None

    told: dict[str, Any] = await eventually(found, f"{job_id} to say {code}")
    return told


def test_inv07_each_job_runs_in_a_pool_that_has_what_it_needs(tmp_path: Path) -> None:
    async def story() -> None:
        async with a_lab(tmp_path, a_cluster(NEVER)) as daemon:
            model = {"gpus": 1, "gpu_model": "A40"}
            first, second = await submit(daemon, resources=model), await submit(daemon, resources={"gpus": 1})
            third = await submit(daemon, resources={"gpus": 1})
            for job_id in (first, second):
                await await_state(daemon, job_id, "running")
            await until_why(daemon, third, "capacity")
            assert sorted(pools_of(daemon)) == sorted([(first, "a40"), (second, "h100")])
            (site,) = await daemon.service.sites()
            assert [(one["name"], one["gpus_used"]) for one in site["pools"]] == [("h100", 1), ("a40", 1)]

    play(story)


def test_a_drained_site_takes_nothing_until_it_is_ended_a_restart_between(tmp_path: Path) -> None:
    async def story() -> None:
        async with a_lab(tmp_path, a_cluster(NEVER)) as daemon:
            runs = await submit(daemon, resources={"gpus": 1})
            await await_state(daemon, runs, "running")
            await eventually(lambda: _knows_running(daemon, runs), "the loop to see that it runs")
            made = await daemon.service.reserve(Wish("lab"), **BY)
            assert (made["number"], made["state"], made["actor"]) == (1, "now", "ann")
            assert [(one["job_id"], one["can_be_suspended"]) for one in made["jobs"]] == [(runs, False)]
            waits = await submit(daemon, resources={"gpus": 1})
            job = await until_why(daemon, waits, "kept_free")
            assert "is drained from" in job["reason"]["sentence"]
            assert (await daemon.service.job(runs))["state"] == "running"
        async with a_lab(tmp_path, a_cluster()) as daemon:
            await until_why(daemon, waits, "kept_free")
            (ended,) = await daemon.service.undrain("lab", "", actor="bob", why=None)
            assert (ended["state"], ended["ended_by"]) == ("over", "bob")
            await await_state(daemon, waits, "succeeded")
            with pytest.raises(Conflict, match="lab is not drained"):
                await daemon.service.undrain("lab", "", actor="bob", why=None)

    play(story)


async def _knows_running(daemon: Daemon, job_id: str) -> bool:
    shot = daemon.loop.latest_snapshot
    return shot is not None and any(job.job_id == job_id and job.running_since for job in shot.jobs)


def test_a_reserved_pool_is_for_its_project(tmp_path: Path) -> None:
    async def story() -> None:
        async with a_lab(tmp_path, a_cluster(NEVER)) as daemon:
            await daemon.service.reserve(Wish("lab", "h100", project="imaging"), **BY)
            need: dict[str, Any] = {"resources": {"gpus": 1, "gpu_model": "H100"}}
            other, member = await submit(daemon, **need), await submit(daemon, project="imaging", **need)
            await await_state(daemon, member, "running")
            await until_why(daemon, other, "kept_free")
            assert pools_of(daemon) == [(member, "h100")]

    play(story)


def test_what_cannot_be_kept_free_is_refused_with_what_there_is(tmp_path: Path) -> None:
    async def story() -> None:
        async with a_lab(tmp_path, a_cluster()) as daemon:
            for wish, kind, told in (
                (Wish("paris"), NotFound, "the sites are: lab"),
                (Wish("lab", "v100"), NotFound, "its pools are: h100, a40"),
                (Wish("lab", gpus=1), BadInput, "could be in any of them"),
                (Wish("lab", "h100", gpus=2), BadInput, "there are 1 and 4"),
                (Wish("lab", start="now+2h", end="now+1h"), BadInput, "not after its start"),
                (Wish("lab", start="soon"), BadInput, "start: 'soon' is no time"),
                (Wish("lab", queue="nobody"), BadInput, "the queues are: clinical, research"),
            ):
                with pytest.raises(kind, match=told):
                    await daemon.service.reserve(wish, **BY)
            assert await daemon.service.reservations() == []

    play(story)
