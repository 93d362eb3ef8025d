"""Jobs that wait for others in a whole daemon: after them, with their patience from then on, and nothing lost."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lowtide.connectors.cluster.fake import Script, SimulatedCluster
from lowtide.scheduler.api.jobspec import read_job
from lowtide.scheduler.control.assemble import Daemon
from lowtide.scheduler.model.errors import BadInput, Conflict
from tests.daemons import RealDaemon, until
from tests.whole import a_cluster, a_daemon, await_state, eventually, submit


def play(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(story())


def a_failing_cluster() -> SimulatedCluster:
    clock = asyncio.get_running_loop().time
    return SimulatedCluster(clock, gpus=2, cpus=8, script=lambda _: Script(ends_in_s=0.1, exit_code=3))


async def until_reason(daemon: Daemon, job_id: str, code: str) -> dict[str, Any]:
    async def there() -> dict[str, Any] | None:
        job = await daemon.service.job(job_id)
        return job if job["reason"]["code"] == code else None

    found: dict[str, Any] = await eventually(there, f"{job_id} to say {code}")
    return found


def test_inv24_a_chain_runs_one_after_the_other_and_says_meanwhile_for_what_it_waits(tmp_path: Path) -> None:
    async def story() -> None:
        async with a_daemon(tmp_path, {"lab": a_cluster(0.5)}) as daemon:
            first = await submit(daemon, name="prep")
            second = await submit(daemon, name="train", depends_on=f"afterok:{first}", patience="1h")
            told = await until_reason(daemon, second, "dependency")
            assert told["reason"]["sentence"].startswith(f"waits for {first} to end (expected: ")
            assert (told["depends_on"], told["latest_finish_at"]) == ([f"afterok:{first}"], None)
            before, after = (
                await await_state(daemon, first, "succeeded"),
                await await_state(daemon, second, "succeeded"),
            )
            ended, began = (datetime.fromisoformat(t) for t in (before["finished_at"], after["started_at"]))
            assert ended <= began + timedelta(seconds=1)  # both are told to the second
            latest = datetime.fromisoformat(after["latest_finish_at"])
            assert abs(latest - ended - timedelta(hours=1, minutes=10)) <= timedelta(seconds=2)

    play(story)


def test_after_a_failure_the_job_stays_until_somebody_releases_or_cancels_it(tmp_path: Path) -> None:
    async def story() -> None:
        async with a_daemon(tmp_path, {"lab": a_failing_cluster()}) as daemon:
            first = await submit(daemon, name="prep")
            second = await submit(daemon, name="train", depends_on=[f"afterok:{first}"])
            third = await submit(daemon, name="other", depends_on=[f"afterok:{first}"])
            whatever = await submit(daemon, name="tidy", depends_on=[f"afterany:{first}"])
            told = await until_reason(daemon, second, "dependency_never_satisfied")
            assert told["state"] == "queued"
            assert f"lowtide release {second}" in told["reason"]["sentence"]
            await await_state(daemon, whatever, "failed")  # it ran, as all programs here do
            await daemon.service.release(second, actor="ann")
            await await_state(daemon, second, "failed")
            await daemon.service.cancel(third, actor="ann")
            await await_state(daemon, third, "cancelled")

    play(story)


def test_what_cannot_be_waited_for_is_refused_and_so_is_a_plan_of_it(tmp_path: Path) -> None:
    async def story() -> None:
        async with a_daemon(tmp_path, {"lab": a_cluster()}) as daemon:
            with pytest.raises(BadInput, match="there is no job 'nobody' to wait for"):
                await submit(daemon, depends_on="afterok:nobody")
            done = await submit(daemon)
            await daemon.service.cancel(done, actor="ann")
            with pytest.raises(Conflict, match=f"job {done} is cancelled") as refused:
                await submit(daemon, depends_on=f"afterok:{done}")
            assert f"afterany:{done}" in refused.value.fix
            await await_state(daemon, await submit(daemon, depends_on=f"afterany:{done}"), "succeeded")

    play(story)


def test_a_dry_run_plans_behind_what_it_would_wait_for(tmp_path: Path) -> None:
    async def story() -> None:
        async with a_daemon(tmp_path, {"lab": a_cluster(None)}) as daemon:
            first = await submit(daemon, duration="1h")
            job = read_job({"entrypoint": ["true"], "duration": "1h", "depends_on": f"afterok:{first}"})
            told = await daemon.service.plan(job.spec(daemon.clock.now()))
            assert told["reason"]["code"] == "dependency"
            (chosen,) = [c for c in told["candidates"] if c["chosen"]]
            begins = datetime.fromisoformat(chosen["start"])
            assert begins >= daemon.clock.now() + timedelta(minutes=59)

    play(story)


@pytest.mark.ray
def test_inv24_a_real_daemon_runs_what_waits_after_what_it_waits_for(ray_url: str, tmp_path: Path) -> None:
    site = {"name": "lab", "address": ray_url, "gpus": 1, "cpus": 4, "python": sys.executable}
    settings = {"sites": [site], "queues": [{"name": "research", "policy": "asap"}]}
    daemon = RealDaemon(tmp_path / "data", settings).start()
    mark = tmp_path / "mark"
    write = [sys.executable, "-c", f"import time; time.sleep(1); open({str(mark)!r}, 'w').write('done')"]
    first = daemon.submit(entrypoint=write)["id"]
    read = [sys.executable, "-c", f"assert open({str(mark)!r}).read() == 'done'"]
    second = daemon.submit(entrypoint=read, depends_on=f"afterok:{first}")["id"]
    until(lambda: daemon.job(second)["reason"]["code"] == "dependency", "the reason")
    assert daemon.await_state(second, "succeeded", "failed")["state"] == "succeeded"
    assert daemon.job(first)["state"] == "succeeded"
    status, problem = daemon.ask("POST", "/v1/jobs", {"entrypoint": ["true"], "depends_on": "afterok:nobody"})
    assert (status, problem["detail"]) == (422, "there is no job 'nobody' to wait for.")
    assert daemon.stop() == 0
