"""Jobs of several modes in a whole daemon: as wide and under the limits that were planned, on what the grid does."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from sqlalchemy import select

from lowtide.connectors.cluster.fake import Script, SimulatedCluster
from lowtide.connectors.cluster.ray_jobs import RayJobs
from lowtide.scheduler.control.assemble import Daemon
from lowtide.scheduler.model.cluster import Submission
from lowtide.scheduler.store import tables as t
from tests.builders import a_forecast
from tests.whole import NOWHERE, Json, a_daemon, await_state, eventually, submit

ELASTIC = {"name": "research", "policy": "elastic", "min_run_s": 0.0, "switch_cost_s": 1.0}
SITE = {"name": "lab", "address": NOWHERE, "gpus": 2, "cpus": 6, "zone": "GB"}
HOURS = 48
LONG: Json = {"duration": "4h", "patience": "24h", "interruptible": True, "own_checkpoints": True}
"""Declares two widths of which the wider one is worth its power in cheap hours alone."""
WIDTHS: Json = {"resources": {"gpus": 1, "cpus": 1}, "widths": {"1": 1.0, "2": 1.5}}


def play(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(story())


class Grid:
    """Prices by the hour from now on, whatever the sources say; a test may change them.

    They rise, so that now is the best time at whatever minute the test is run.
    """

    def __init__(self, daemon: Daemon, *hours: float) -> None:
        self.hours, self._daemon = list(hours), daemon
        daemon.grid.price = lambda now, _slot_s: self.price(now)  # type: ignore[method-assign,assignment]

    async def rules(self) -> None:
        """Wait for a plan by these prices: one may have been under way by others."""
        since = self._daemon.clock.now()
        self._daemon.loop.wake("test")

        async def is_planned() -> bool:
            plan = self._daemon.loop.latest_plan
            return plan is not None and plan.made_at > since

        await eventually(is_planned, "a plan by the new prices")

    async def price(self, now: Any) -> dict[str, Any]:
        start = now.replace(minute=0, second=0, microsecond=0)
        rest = [self.hours[-1]] * (HOURS - len(self.hours))
        return {"GB": a_forecast([*self.hours, *rest], zone="GB", start=start, step_s=3600.0)}


def saving(order: Submission) -> Script:
    """Runs until it is asked to stop, and has then saved its state."""
    values = {"kind": "ended", "start_wall_s": 0.0, "end_wall_s": 0.0, "exit_code": 0, "signal": None}
    values |= {"asked_to_stop": True, "suspended": True, "checkpoint_seq": 1, "results": {}}
    return Script(ends_in_s=None, output=f"::lowtide::{order.metadata['lowtide_fence']}:: {json.dumps(values)}\n")


def attempts_of(daemon: Daemon) -> list[tuple[int, int]]:
    """GPUs and CPUs of every attempt, oldest first."""
    columns = t.attempt.c.gpus, t.attempt.c.cpus
    with daemon.database.read() as connection:
        rows = connection.execute(select(*columns).order_by(t.attempt.c.number)).all()
    return [(gpus, cpus) for gpus, cpus in rows]


def test_a_job_starts_wide_and_is_suspended_to_go_on_narrow_when_the_grid_turns(tmp_path: Path) -> None:
    async def story() -> None:
        now_s = asyncio.get_running_loop().time
        cluster = SimulatedCluster(now_s, gpus=2, cpus=6, script=saving)
        async with a_daemon(tmp_path, {"lab": cluster}, queues=[ELASTIC], sites=[SITE], grids=[]) as daemon:
            grid = Grid(daemon, 10.0, 11.0, 12.0, 13.0, 300.0)
            await grid.rules()
            job_id = await submit(daemon, **LONG, **WIDTHS)
            job = await await_state(daemon, job_id, "running")
            assert (job["gpus"], job["widths"]) == (1, {"1": 1.0, "2": 1.5})
            assert attempts_of(daemon) == [(2, 2)]
            assert job["holds"] == {"gpus": 2, "cpus": 2, "limits": []}
            told = await daemon.service.explain(job_id)
            (chosen,) = [one for one in told["candidates"] if one["chosen"]]
            assert chosen["segments"][0]["gpus"] == 2
            grid.hours = [300.0]

            async def is_narrow() -> bool:
                return attempts_of(daemon)[1:] == [(1, 1)]

            await eventually(is_narrow, "a second attempt with one GPU")
            job = await await_state(daemon, job_id, "running")
            assert job["suspensions"] == 1
            events = await daemon.service.events(job_id)
            codes = [event["reason"]["code"] for event in events if event["reason"]]
            assert "other_width" in codes
            await daemon.service.cancel(job_id, actor="ann")

    play(story)


HARD: Json = {"resources": {"gpus": 1, "cpus": 1}, "power": {"0.6": 0.9}}
CAPPED = {"name": "research", "policy": "power_cap", "min_savings": 0.0}


def plan_of(daemon: Daemon, job_id: str) -> Any:
    with daemon.database.read() as connection:
        return connection.execute(select(t.attempt.c.power_plan).where(t.attempt.c.job_id == job_id)).scalar()


def refusing(order: Submission) -> Script:
    """Runs for a moment, and could not limit the power of its GPUs where it was told to."""
    is_told = "LOWTIDE_POWER_PLAN" in order.env
    values = {"kind": "ended", "start_wall_s": 0.0, "end_wall_s": 0.0, "exit_code": 0, "signal": None}
    values |= {"asked_to_stop": False, "suspended": False, "checkpoint_seq": None, "results": {}}
    values |= {"power_refused": "NVML error 4"} if is_told else {}
    line = f"::lowtide::{order.metadata['lowtide_fence']}:: {json.dumps(values)}\n"
    return Script(ends_in_s=0.2, output=line)


def test_a_job_is_limited_where_the_grid_is_dirty_until_a_site_turns_out_to_be_unable_to(tmp_path: Path) -> None:
    async def story() -> None:
        now_s = asyncio.get_running_loop().time
        cluster = SimulatedCluster(now_s, gpus=2, cpus=6, script=refusing)
        async with a_daemon(tmp_path, {"lab": cluster}, queues=[CAPPED], sites=[SITE], grids=[]) as daemon:
            await Grid(daemon, 300.0).rules()
            first = await submit(daemon, **LONG, **HARD)
            await await_state(daemon, first, "succeeded")
            limits = plan_of(daemon, first)
            assert [share for _, share in limits] == [0.6, 1.0]
            (note,) = [n for n in (await daemon.service.receipt(first))["notes"] if n.startswith("Attempt 1 ran")]
            assert note == "Attempt 1 ran at full power: no power limit could be set at lab (NVML error 4)."
            second = await submit(daemon, **LONG, **HARD)
            job = await await_state(daemon, second, "succeeded")
            assert job["holds"] is None
            assert job["power"] == {"0.6": 0.9}
            assert plan_of(daemon, second) is None
            (found,) = [f for f in await daemon.service.doctor() if f["check"] == "power limits of lab"]
            assert (found["status"], "NVML error 4" in found["detail"]) == ("warn", True)

    play(story)


TWO_WIDTHS = """
trap 'exit 0' TERM
echo "width $LOWTIDE_GPUS of $CUDA_VISIBLE_DEVICES, $OMP_NUM_THREADS threads" >> {told}
[ "$LOWTIDE_GPUS" = 1 ] && exit 0
sleep 120 & wait
"""
"""Runs with two GPUs until it is asked to stop, with one for a moment."""


def test_on_a_real_cluster_a_program_has_the_gpus_of_its_width_first_wide_and_then_narrow(
    ray_url: str, tmp_path: Path
) -> None:
    told = tmp_path / "told"

    async def story() -> None:
        sites = [{**SITE, "address": ray_url}]
        cluster = RayJobs(ray_url)
        async with a_daemon(tmp_path, {"lab": cluster}, queues=[ELASTIC], sites=sites, grids=[]) as daemon:
            grid = Grid(daemon, 10.0, 11.0, 12.0, 13.0, 300.0)
            await grid.rules()
            script = TWO_WIDTHS.format(told=told)
            job_id = await submit(daemon, **LONG, **WIDTHS, entrypoint=None, script=script)
            await await_state(daemon, job_id, "running", 90.0)

            async def runs() -> bool:
                return told.exists()

            await eventually(runs, "the program to run", 60.0)
            grid.hours = [300.0]
            await await_state(daemon, job_id, "succeeded", 120.0)
            assert attempts_of(daemon) == [(2, 2), (1, 1)]
            wide, narrow = told.read_text().splitlines()
            assert wide == "width 2 of 0,1, 2 threads"
            assert narrow in {"width 1 of 0, 1 threads", "width 1 of 1, 1 threads"}

    play(story)
