"""A project's budget in a whole daemon: it counts what ran, holds, is shown, and is the same after a restart."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from lowtide.scheduler.control.assemble import Daemon
from lowtide.scheduler.metrics import Metrics
from tests.whole import a_cluster, a_daemon, await_state, eventually, submit

PROJECTS = [{"name": "scans", "budgets": [{"period": "year", "gpu_h": 1e-6, "carbon_g": 1e6}]}]
"""A few milliseconds of one GPU: spent by the first job, however short."""


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
        metrics, lab = Metrics("0"), {"lab": a_cluster()}
        async with a_daemon(tmp_path, lab, projects=PROJECTS, cycled=metrics.cycled) as daemon:
            metrics.watch(daemon)
            assert [row["standing"] for row in await daemon.service.budgets()] == ["open", "open"]
            first = await submit(daemon, project="scans", resources={"gpus": 1})
            await await_state(daemon, first, "succeeded")
            waiting = await submit(daemon, project="scans", resources={"gpus": 1})
            told = await held_by_its_budget(daemon, waiting)
            assert told["reason"]["sentence"].startswith("waits for the budget of project scans: 0.0 GPU-h of 0.0")
            explained = await daemon.service.explain(waiting)
            assert explained["would_start_now_if"][-1] == f"lowtide run-now {waiting} --reason TEXT"
            gpu: dict[str, Any] = {"resources": {"gpus": 1}}
            for free in ({"project": "cells", **gpu}, {"project": "scans"}, {"queue": "clinical", **gpu}):
                await await_state(daemon, await submit(daemon, **{"project": "scans", **free}), "succeeded")
            text = metrics.render().decode()
            assert 'lowtide_gpu_budget_limit_seconds{period="year",project="scans"} 0.0036' in text
            assert 'lowtide_scheduler_decisions_total{action="defer",queue="research",reason="budget"}' in text
        async with a_daemon(tmp_path, {"lab": a_cluster()}, projects=PROJECTS) as daemon:
            await held_by_its_budget(daemon, waiting)
            rows = {row["measure"]: row for row in await daemon.service.budgets()}
            assert (rows["gpu"]["standing"], rows["carbon"]["standing"]) == ("spent", "open")
            assert rows["gpu"]["left"] < 0
            await daemon.service.run_now(waiting, actor="ann", why="the ward asks")
            await await_state(daemon, waiting, "succeeded")

    play(story)


def test_a_dry_run_says_that_the_job_would_wait_for_its_budget(tmp_path: Path) -> None:
    async def story() -> None:
        async with a_daemon(tmp_path, {"lab": a_cluster()}, projects=PROJECTS) as daemon:
            await await_state(daemon, await submit(daemon, project="scans", resources={"gpus": 1}), "succeeded")
            waiting = await submit(daemon, project="scans", resources={"gpus": 1})
            await held_by_its_budget(daemon, waiting)
            shot = await daemon.service._snapshot()
            spec = daemon.observer.spec(waiting)
            assert shot.projects["scans"].spendings[1].used > 1e-6
            assert (await daemon.service.plan(spec))["reason"]["code"] == "budget"

    play(story)
