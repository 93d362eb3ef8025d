"""A daemon whose plans have time for a part of the queue only: everybody's turn comes all the same."""

import asyncio
from pathlib import Path

import pytest

from lowtide.scheduler.control import plan_budget
from lowtide.scheduler.metrics import Metrics
from tests.whole import a_cluster, a_daemon, await_state, eventually, submit


def test_jobs_that_one_plan_has_no_time_for_are_planned_by_the_next_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_budget, "LEAST_JOBS", 1)

    async def story() -> None:
        metrics = Metrics(version="0")
        async with a_daemon(tmp_path, {"lab": a_cluster()}, cycled=metrics.cycled, plan_budget_s=1e-9) as daemon:
            metrics.watch(daemon)
            ids = [await submit(daemon, resources={"gpus": 1}) for _ in range(6)]
            for job_id in ids:
                await await_state(daemon, job_id, "succeeded")
            found = metrics.registry.get_sample_value("lowtide_plan_partial_total")
            assert found, "plans were partial"

            async def whole() -> bool:
                checks = {one["check"]: one["status"] for one in await daemon.service.doctor()}
                return bool(checks["planning"] == "ok")

            await eventually(whole, "plans to be whole once the queue is short")

    asyncio.run(story())
