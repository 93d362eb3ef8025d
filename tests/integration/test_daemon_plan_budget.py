"""A daemon whose plans have time for a part of the queue only: everybody's turn comes all the same."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from lowtide.scheduler.control import intake, plan_budget
from lowtide.scheduler.metrics import Metrics
from lowtide.scheduler.model.dependency import After, Dependency
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


def test_a_dry_run_before_a_long_queue_is_answered_beside_the_plan_that_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "LONG_QUEUE", 1)

    async def story() -> None:
        async with a_daemon(tmp_path, {"lab": a_cluster()}) as daemon:
            service, later = daemon.service, await submit(daemon, begin="now+5h", resources={"gpus": 1})

            async def planned() -> bool:
                plan = daemon.loop.latest_plan
                return plan is not None and any(one.job_id == later for one in plan.decisions)

            await eventually(planned, "the job to be planned")
            spec = daemon.observer.spec(later)
            whole = await service.plan(replace(spec, depends_on=(Dependency(After.ANY, later),)))
            assert whole["reason"]["code"] == "dependency"
            monkeypatch.setattr(service, "_snapshot", None)  # the queue is not looked at again
            told = await service.plan(spec)
            assert (told["action"], told["reason"]["code"]) == ("wait", "begin_time")
            soon = await service.plan(replace(spec, begin_at=None))
            assert soon["action"] == "start"

    asyncio.run(story())
