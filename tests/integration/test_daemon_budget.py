"""A project's budget in a whole daemon: it counts what ran, holds, is shown, and is the same after a restart."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from lowtide.connectors.cluster.fake import Script, SimulatedCluster
from lowtide.scheduler.control.assemble import Daemon
from lowtide.scheduler.metrics import Metrics
from lowtide.scheduler.store import attempts
from tests.whole import a_daemon, await_state, eventually, submit

PROJECTS = [{"name": "scans", "budgets": [{"period": "year", "gpu_h": 1e-6, "carbon_g": 1e6}]}]
"""A few milliseconds of one GPU: spent by the first job, however short."""


GPU: dict[str, Any] = {"resources": {"gpus": 1}}


class Lab:
    """Clusters whose jobs succeed at once, or run until they are cancelled while ``is_slow``."""

    is_slow = False

    def cluster(self) -> dict[str, SimulatedCluster]:
        def script(_: object) -> Script:
            return Script(ends_in_s=None if self.is_slow else 0.1)

        return {"lab": SimulatedCluster(time.monotonic, gpus=2, cpus=8, script=script)}

    async def use(self, daemon: Daemon, project: str) -> None:
        """Have a job of the project seen running, so that it has used a GPU for a while, and end it."""
        self.is_slow = True
        job_id = await submit(daemon, project=project, **GPU)
        await await_state(daemon, job_id, "running")
        await daemon.service.cancel(job_id, actor="ann")
        self.is_slow = False

        async def used() -> bool:
            found = await daemon.writer.read(lambda c: attempts.of_job(c, job_id))
            return found[0]["ended_at"] is not None

        await eventually(used, "the attempt to end")


def play(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(story())


async def held_by_its_budget(daemon: Daemon, job_id: str) -> dict[str, Any]:
    async def held() -> dict[str, Any] | None:
        job = await daemon.service.job(job_id)
        return job if job["reason"]["code"] == "budget" else None

    found: dict[str, Any] = await eventually(held, f"{job_id} to wait for its budget")
    return found


def test_a_spent_budget_holds_what_has_not_begun_and_nothing_else(tmp_path: Path) -> None:
    async def story() -> None:
        metrics, lab = Metrics("0"), Lab()
        async with a_daemon(tmp_path, lab.cluster(), projects=PROJECTS, cycled=metrics.cycled) as daemon:
            metrics.watch(daemon)
            assert [row["standing"] for row in await daemon.service.budgets()] == ["open", "open"]
            await lab.use(daemon, "scans")
            waiting = await submit(daemon, project="scans", **GPU)
            told = await held_by_its_budget(daemon, waiting)
            assert told["reason"]["sentence"].startswith("waits for the budget of project scans: 0.0 GPU-h of 0.0")

            async def explained() -> Any:
                return (await daemon.service.explain(waiting))["would_start_now_if"]

            conditions = await eventually(explained, "the decision to be in memory")
            assert conditions[-1] == f"lowtide run-now {waiting} --reason TEXT"
            for free in ({"project": "cells", **GPU}, {"project": "scans"}, {"queue": "clinical", **GPU}):
                await await_state(daemon, await submit(daemon, **{"project": "scans", **free}), "succeeded")
            text = metrics.render().decode()
            assert 'lowtide_fair_share_factor_ratio{project="scans"}' not in text
            assert 'lowtide_gpu_budget_limit_seconds{period="year",project="scans"} 0.0036' in text
            assert 'lowtide_scheduler_decisions_total{action="defer",queue="research",reason="budget"}' in text
        async with a_daemon(tmp_path, lab.cluster(), projects=PROJECTS) as daemon:
            await held_by_its_budget(daemon, waiting)
            rows = {row["measure"]: row for row in await daemon.service.budgets()}
            assert (rows["gpu"]["standing"], rows["carbon"]["standing"]) == ("spent", "open")
            assert rows["gpu"]["left"] < 0
            await daemon.service.run_now(waiting, actor="ann", why="the ward asks")
            await await_state(daemon, waiting, "succeeded")

    play(story)


def test_a_dry_run_says_that_the_job_would_wait_for_its_budget(tmp_path: Path) -> None:
    async def story() -> None:
        lab = Lab()
        async with a_daemon(tmp_path, lab.cluster(), projects=PROJECTS) as daemon:
            await lab.use(daemon, "scans")
            waiting = await submit(daemon, project="scans", **GPU)
            await held_by_its_budget(daemon, waiting)
            shot = await daemon.service._snapshot()
            spec = daemon.observer.spec(waiting)
            assert shot.projects["scans"].spendings[1].used > 1e-6
            assert (await daemon.service.plan(spec))["reason"]["code"] == "budget"

    play(story)


def test_the_project_that_used_less_is_served_first(tmp_path: Path) -> None:
    shared = [{"name": "research", "policy": "asap", "fair_share_weight": 1.0}]
    two: dict[str, Any] = {"resources": {"gpus": 2}}

    async def story() -> None:
        metrics, lab = Metrics("0"), Lab()
        async with a_daemon(tmp_path, lab.cluster(), queues=shared, cycled=metrics.cycled) as daemon:
            metrics.watch(daemon)
            await lab.use(daemon, "heavy")
            held = [await submit(daemon, project=name, begin="now+1h", **two) for name in ("heavy", "light")]

            async def in_turn() -> bool:
                last, first = [(await daemon.service.job(job_id))["planned_start_at"] for job_id in held]
                return first is not None and last is not None and first < last

            await eventually(in_turn, "the job of who used less to be planned first")
            text = metrics.render().decode()
            assert 'lowtide_fair_share_factor_ratio{project="heavy"} 0.25' in text
            assert 'lowtide_fair_share_factor_ratio{project="light"} 1.0' in text

    play(story)
