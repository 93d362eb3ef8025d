"""Work that goes on by itself beside the requests: it outlives what goes wrong in one round."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog

from lowtide.scheduler.model.errors import LowtideError

log = structlog.get_logger()
AGAIN_S = 1.0
RESTART_S = 1.0
"""Wall seconds before a task that ended is started again, so that one that ends at once takes no core."""


async def quietly(work: Coroutine[Any, Any, object], what: str) -> None:
    """One round of background work: what goes wrong is logged, and the next round tries again."""
    try:
        await work
    except LowtideError as error:
        log.warning("background_failed", work=what, why=error.message)
    except Exception:
        log.exception("background_failed", work=what)


async def for_ever(work: Callable[[], Awaitable[object]], what: str) -> None:
    """Run work that is never meant to end; when it does, that is logged and it begins anew."""
    while True:
        try:
            await work()
            log.error("background_ended", work=what)
        except Exception:
            log.exception("background_ended", work=what)
        await asyncio.sleep(RESTART_S)


class Background:
    """The tasks of one daemon, held so that none is forgotten half way."""

    def __init__(self) -> None:
        """Nothing runs yet."""
        self._tasks: set[asyncio.Task[None]] = set()

    def keep(self, work: Callable[[], Awaitable[object]], what: str) -> None:
        """Run work for ever."""
        self._hold(for_ever(work, what))

    def once(self, work: Coroutine[Any, Any, object], what: str) -> None:
        """Run work to its end, with nobody waiting for it."""
        self._hold(quietly(work, what))

    def _hold(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """End everything and wait until it has ended; a cancellation that a library loses is given again."""
        pending = set(self._tasks)
        while pending:
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=AGAIN_S)
