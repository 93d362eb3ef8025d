"""Declared data in a whole daemon: brought where the job runs, planned with, and told apart in its receipt."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lowtide.scheduler.api.jobspec import read_job
from lowtide.scheduler.model.errors import BadInput
from tests.whole import NOWHERE, a_cluster, a_daemon, await_state, eventually, submit

ZONED = {"address": NOWHERE, "cpus": 8, "zone": "GB", "grid": "static"}
SITES = [{"name": "home", "gpus": 1, **ZONED}, {"name": "away", "gpus": 2, "transfer_gbit_per_s": 8.0, **ZONED}]


def play(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(story())


def test_what_an_attempt_has_brought_stands_apart_in_the_receipt_and_is_planned_with(tmp_path: Path) -> None:
    async def story() -> None:
        clusters = {"home": a_cluster(gpus=1), "away": a_cluster(None, gpus=2)}
        async with a_daemon(tmp_path, clusters, sites=SITES, transfer_kwh_per_gb=0.01) as daemon:
            # an hour at the 1 Gbit/s of home, where two GPUs do not fit
            wide: dict[str, Any] = {"resources": {"gpus": 2}, "data": ["450GB@home"]}
            job_id = await submit(daemon, **wide)
            told = await await_state(daemon, job_id, "running")
            assert (told["site"], told["data"]) == ("away", ["450GB@home"])
            receipt = await daemon.service.receipt(job_id)
            (moved,) = receipt["transfers"]
            assert (moved["sources"], moved["site"], moved["size_bytes"]) == (["home"], "away", 450 * 10**9)
            assert moved["energy_kwh"] == pytest.approx(4.5)
            assert moved["quality"] == "estimated"

            async def expected_end() -> bool:
                finish = (await daemon.service.job(job_id))["planned_finish_at"]
                return finish is not None and datetime.fromisoformat(finish) > daemon.clock.now() + timedelta(hours=1)

            await eventually(expected_end, "the run to be expected to take as long as the data and the work do")

    play(story)


def test_a_job_beside_its_data_brings_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with a_daemon(tmp_path, {"home": a_cluster(), "away": a_cluster()}, sites=SITES) as daemon:
            job_id = await submit(daemon, data=["450GB@home"])
            assert (await await_state(daemon, job_id, "succeeded"))["site"] == "home"
            assert (await daemon.service.receipt(job_id))["transfers"] == []

    play(story)


def test_data_at_a_site_that_there_is_not_is_refused(tmp_path: Path) -> None:
    async def story() -> None:
        async with a_daemon(tmp_path, {"home": a_cluster()}) as daemon:
            job = read_job({"entrypoint": ["true"], "data": ["1GB@paris"]})
            told = "there is no site 'paris' for data to lie at; the sites are: home"
            with pytest.raises(BadInput, match=told):
                await submit(daemon, data=["1GB@paris"])
            with pytest.raises(BadInput, match=told):
                await daemon.service.plan(job.spec(daemon.clock.now()))

    play(story)
