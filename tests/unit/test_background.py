"""Background work outlives what goes wrong in it, and says so."""

import asyncio

import pytest
from structlog.testing import capture_logs

from lowtide.scheduler.control import background
from lowtide.scheduler.control.background import Background, quietly
from lowtide.scheduler.model.errors import StoreFailure


@pytest.mark.parametrize("error", [StoreFailure("the disk is full.", fix=""), ZeroDivisionError()])
def test_a_round_that_fails_is_logged_and_raises_nothing(error: Exception) -> None:
    async def work() -> None:
        raise error

    with capture_logs() as log:
        asyncio.run(quietly(work(), "look"))
    assert [(entry["event"], entry["work"]) for entry in log] == [("background_failed", "look")]


def test_a_task_that_ends_is_logged_and_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "RESTART_S", 0.0)
    begun: list[int] = []

    async def story() -> None:
        third = asyncio.Event()

        async def work() -> None:
            begun.append(len(begun))
            if len(begun) == 1:
                raise ZeroDivisionError
            if len(begun) > 2:
                third.set()
                await asyncio.Event().wait()

        tasks = Background()
        tasks.keep(work, "poll")
        await asyncio.wait_for(third.wait(), 10)
        await tasks.stop()

    with capture_logs() as log:
        asyncio.run(story())
    assert begun == [0, 1, 2]
    assert [entry["event"] for entry in log] == ["background_ended", "background_ended"]


def test_stopping_ends_what_runs_and_waits_for_it() -> None:
    ended: list[str] = []

    async def story() -> None:
        async def work() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("yes")

        tasks = Background()
        tasks.keep(work, "for ever")
        tasks.once(work(), "once")
        await asyncio.sleep(0)
        await tasks.stop()

    asyncio.run(story())
    assert ended == ["yes", "yes"]


def test_a_cancellation_that_is_lost_is_given_again() -> None:
    swallowed: list[str] = []

    async def story() -> None:
        async def work() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:  # as wait_for did before Python 3.12
                swallowed.append("once")
            await asyncio.Event().wait()

        tasks = Background()
        tasks.once(work(), "once")
        await asyncio.sleep(0)
        async with asyncio.timeout(20):
            await tasks.stop()

    asyncio.run(story())
    assert swallowed == ["once"]
