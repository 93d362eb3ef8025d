"""Jobs that declare no run time learn it from earlier runs, and only a limit that was asked for ends one."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from lowtide.connectors.cluster.fake import Script, SimulatedCluster
from lowtide.scheduler.api.jobspec import read_job
from lowtide.scheduler.control.assemble import Daemon
from lowtide.scheduler.model.cluster import ClusterJobStatus
from lowtide.scheduler.model.errors import ClusterFailureKind
from lowtide.scheduler.model.run_time import LEAST_RUNS, Told
from tests.whole import Json, a_cluster, a_daemon, await_state, eventually

UNTOLD: Json = {"name": "a-job", "entrypoint": ["true"], "queue": "research", "resources": {"gpus": 1}}


class Lab:
    """A cluster whose jobs end when they are told to, once the daemon has seen them run."""

    def __init__(self) -> None:
        self.turn = 0
        self.cluster = SimulatedCluster(lambda: float(self.turn), script=lambda _: Script(ends_in_s=1.0))

    async def run_one(self, daemon: Daemon, **changes: object) -> str:
        job_id = await submit(daemon, **changes)
        await await_state(daemon, job_id, "running")
        self.turn += 1
        await await_state(daemon, job_id, "succeeded")
        return job_id


async def submit(daemon: Daemon, **changes: object) -> str:
    spec = read_job({**UNTOLD, **changes}).spec(daemon.clock.now())
    (told,) = await daemon.service.submit([spec], actor="ann", idempotency_keys=[None])
    return str(told["id"])


def test_a_job_is_expected_to_run_as_its_earlier_runs_did(tmp_path: Path) -> None:
    async def story() -> None:
        lab = Lab()
        async with a_daemon(tmp_path, {"lab": lab.cluster}) as daemon:
            for n in range(LEAST_RUNS):
                job = await daemon.service.job(await lab.run_one(daemon, name=f"fold-{n}"))
                assert (job["duration_from"], job["duration_s"]) == ("queue", 3600.0)
            known = await daemon.service.job(await submit(daemon, name="fold-9", begin="now+1h"))
            assert known["duration_from"] == "history"
            assert 0 < known["duration_s"] < 60
            other = await daemon.service.job(await submit(daemon, entrypoint=["false"], begin="now+1h"))
            assert other["duration_from"] == "queue"
            declared = await daemon.service.job(await submit(daemon, duration="5h", begin="now+1h"))
            assert (declared["duration_from"], declared["duration_s"]) == ("declared", 18_000.0)

    asyncio.run(story())


def test_a_name_that_nobody_gave_tells_nothing_of_a_job(tmp_path: Path) -> None:
    async def story() -> None:
        lab = Lab()
        async with a_daemon(tmp_path, {"lab": lab.cluster}) as daemon:
            for name in ("python3-11", "job", "mri"):
                short = {"name": name, "entrypoint": ["/opt/bin/python3.11", "evaluate.py"]}
                long = {"name": name, "entrypoint": ["/opt/bin/python3.11", f"train_{name}.py"], "begin": "now+1h"}
                for _ in range(LEAST_RUNS):
                    await lab.run_one(daemon, **short)
                told = await daemon.service.job(await submit(daemon, **long))
                assert told["duration_from"] == ("history" if name == "mri" else "queue")

    asyncio.run(story())


def test_a_submission_that_is_repeated_gives_the_same_job_whatever_has_been_learnt_since(tmp_path: Path) -> None:
    async def story() -> None:
        lab = Lab()
        async with a_daemon(tmp_path, {"lab": lab.cluster}) as daemon:
            spec = replace(read_job(UNTOLD).spec(daemon.clock.now()), name="kept")
            (first,) = await daemon.service.submit([spec], actor="ann", idempotency_keys=["k"])
            lab.turn += 1
            for n in range(LEAST_RUNS):
                await lab.run_one(daemon, name=f"fold-{n}")
            (again,) = await daemon.service.submit([spec], actor="ann", idempotency_keys=["k"])
            assert (again["id"], again["created"]) == (first["id"], False)
            found = await daemon.service.submitted_before(spec, "k")
            assert found is not None
            assert found["id"] == first["id"]

    asyncio.run(story())


def test_a_submission_of_a_daemon_that_took_every_job_to_declare_an_hour_can_be_repeated(tmp_path: Path) -> None:
    async def story() -> None:
        async with a_daemon(tmp_path, {"lab": Lab().cluster}) as daemon:
            spec = read_job({**UNTOLD, "begin": "now+1h"}).spec(daemon.clock.now())
            earlier = replace(spec, duration_s=3600.0, told=Told.DECLARED)
            (first,) = await daemon.service.submit([earlier], actor="ann", idempotency_keys=["k"])
            found = await daemon.service.submitted_before(spec, "k")
            (again,) = await daemon.service.submit([spec], actor="ann", idempotency_keys=["k"])
            assert found is not None
            assert found["id"] == again["id"] == first["id"]

    asyncio.run(story())


def test_a_job_is_ended_at_the_limit_that_it_was_given_and_says_so(tmp_path: Path) -> None:
    async def story() -> None:
        lab = a_cluster(None)
        async with a_daemon(tmp_path, {"lab": lab}) as daemon:
            endless = await submit(daemon, duration="1s")
            limited = await submit(daemon, time_limit="1s")
            ended = await await_state(daemon, limited, "cancelled")
            assert ended["reason"]["code"] == "time_limit"
            assert ended["reason"]["sentence"].endswith("--time: 1s")
            assert (await daemon.service.job(endless))["state"] == "running", "an overrun alone ends nothing"

            async def gone() -> bool:
                return (await lab.get(f"{limited}-a1")).status is ClusterJobStatus.STOPPED

            await eventually(gone, "its attempt to have ended")

    asyncio.run(story())


def test_a_job_that_may_have_ended_in_time_is_looked_at_before_it_is_ended_at_its_limit(tmp_path: Path) -> None:
    async def story() -> None:
        lab = Lab()
        async with a_daemon(tmp_path, {"lab": lab.cluster}) as daemon:
            limited = await submit(daemon, time_limit="2s")
            await await_state(daemon, limited, "running")
            lab.cluster.fail_with(ClusterFailureKind.UNREACHABLE)
            over_at = daemon.clock.now() + timedelta(seconds=3)

            async def planned() -> bool:
                daemon.loop.wake("test")
                return daemon.loop.latest_plan is not None and daemon.loop.latest_plan.made_at > over_at

            await eventually(planned, "a plan after its limit")
            assert (await daemon.service.job(limited))["state"] == "running"
            lab.turn += 1
            lab.cluster.fail_with(None)
            await await_state(daemon, limited, "succeeded")

    asyncio.run(story())
