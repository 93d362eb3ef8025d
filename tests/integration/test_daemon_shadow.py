"""A policy set in the shadow of a whole daemon: it records, it disturbs nothing, and it comes back after a restart."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from lowtide.scheduler.control import shadowing
from lowtide.scheduler.control.assemble import Daemon
from lowtide.scheduler.decide.shadow import shade
from lowtide.scheduler.metrics import Metrics
from lowtide.scheduler.model.errors import BadInput
from lowtide.scheduler.model.plan import Plan, Snapshot
from lowtide.scheduler.model.site import Queue
from tests.builders import a_dip, a_forecast
from tests.whole import CLINICAL, a_cluster, a_daemon, await_state, eventually, submit

QUEUES = [{"name": "research", "policy": "asap"}, CLINICAL]
SET = "queues:\n  research:\n    policy: lowest_window\n"
SITE = {"name": "lab", "address": "http://127.0.0.1:9", "gpus": 2, "cpus": 8, "zone": "GB"}


def play(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(story())


def on_a_grid_with_a_dip(daemon: Daemon) -> None:
    """Prices that fall in four hours, whatever the sources say."""

    async def price(now: Any, slot_s: float) -> dict[str, Any]:
        start = now.replace(minute=0, second=0, microsecond=0)
        return {"GB": a_forecast(a_dip(), zone="GB", start=start, step_s=slot_s)}

    daemon.grid.price = price  # type: ignore[method-assign]


async def cast(daemon: Daemon, text: str = SET) -> dict[str, Any]:
    return await daemon.service.cast_shadow(text, actor="ann", why="a trial")


def test_what_the_shadow_would_save_is_recorded_once_per_job_and_nothing_of_it_is_done(tmp_path: Path) -> None:
    async def story() -> None:
        async with a_daemon(tmp_path, {"lab": a_cluster()}, queues=QUEUES, sites=[SITE], grids=[]) as daemon:
            on_a_grid_with_a_dip(daemon)
            metrics = Metrics("0")
            metrics.watch(daemon)
            assert "lowtide_shadow_jobs 0" not in metrics.render().decode()
            await cast(daemon)
            jobs = [await submit(daemon) for _ in range(2)]
            for job_id in jobs:
                await await_state(daemon, job_id, "succeeded")

            async def compared() -> Any:
                told = await daemon.service.shadow()
                return told if told["jobs"] == 2 else None

            told = await eventually(compared, "both jobs to be compared")
            assert {one["job_id"] for one in told["comparisons"]} == set(jobs)
            assert told["saving_g"] == pytest.approx(sum(one["saving_g"] for one in told["comparisons"]))
            assert told["saving_g"] > 0
            text = metrics.render().decode()
            assert "lowtide_shadow_jobs 2.0" in text
            assert 'lowtide_policy_info{mode="shadow",policy="lowest_window"} 1.0' in text
            ended = await daemon.service.end_shadow(actor="ann", why=None)
            assert (ended["is_running"], ended["jobs"]) == (False, 2)
            assert [row["mode"] for row in await daemon.service.policy_history()] == ["shadow", "shadow"]
            assert (await daemon.service.policy())["revision"] == 0

    play(story)


def test_a_shadow_that_raises_is_told_and_disturbs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    async def story() -> None:
        async with a_daemon(tmp_path, {"lab": a_cluster()}, queues=QUEUES) as daemon:
            monkeypatch.setattr(shadowing, "shade", broken)
            await cast(daemon)
            await await_state(daemon, await submit(daemon), "succeeded")

            async def found() -> Any:
                return (await daemon.service.shadow())["trouble"]

            assert "ZeroDivisionError" in await eventually(found, "the trouble to be told")
            (finding,) = [f for f in await daemon.service.doctor() if f["check"] == "shadow"]
            assert finding["status"] == "warn"

    play(story)


def test_a_shadow_that_never_answers_holds_up_no_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free, asked = threading.Event(), []

    def stuck(snapshot: Snapshot, plan: Plan, queues: dict[str, Queue]) -> Any:
        asked.append(snapshot.now)
        free.wait(60)
        return shade(snapshot, plan, queues)

    async def story() -> None:
        async with a_daemon(tmp_path, {"lab": a_cluster()}, queues=QUEUES) as daemon:
            monkeypatch.setattr(shadowing, "shade", stuck)
            await cast(daemon)
            for _ in range(2):
                await await_state(daemon, await submit(daemon), "succeeded")
            assert len(asked) == 1
            free.set()

    play(story)


def test_the_shadow_goes_on_after_a_restart_and_one_that_fits_no_more_is_told(tmp_path: Path) -> None:
    async def story() -> None:
        async with a_daemon(tmp_path, {"lab": a_cluster()}, queues=QUEUES) as daemon:
            await cast(daemon)
            with pytest.raises(BadInput):
                await cast(daemon, "queues: {research: {policy: best}}")
        async with a_daemon(tmp_path, {"lab": a_cluster()}, queues=QUEUES) as daemon:
            assert daemon.shadow.policies == {"lowest_window", "asap"}
        async with a_daemon(tmp_path, {"lab": a_cluster()}, queues=[CLINICAL]) as daemon:
            assert daemon.shadow.policies == set()
            assert "names the queue 'research'" in (await daemon.service.shadow())["trouble"]
            await daemon.service.end_shadow(actor="ann", why=None)
            assert (await daemon.service.shadow())["trouble"] is None

    play(story)


def test_a_job_compared_by_an_earlier_shadow_is_compared_anew_by_the_next(tmp_path: Path) -> None:
    held_back = [QUEUES[0] | {"policy": "lowest_window"}, CLINICAL]

    async def story() -> None:
        async with a_daemon(tmp_path, {"lab": a_cluster()}, queues=held_back, sites=[SITE], grids=[]) as daemon:
            on_a_grid_with_a_dip(daemon)
            job_id = await submit(daemon)
            for number in (1, 2):
                await cast(daemon, "queues: {research: {policy: asap}}")

                async def compared(revision: int = number) -> bool:
                    told = await daemon.service.shadow()
                    return bool(told["revision"] == revision and told["jobs"] == 1)

                await eventually(compared, f"{job_id} to be compared by revision {number}")

    play(story)
