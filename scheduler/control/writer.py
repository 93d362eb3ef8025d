"""One thread that owns every write, and the group commit of submissions.

Work handed to ``run`` is executed in order, one transaction each. Submissions that arrive while a
transaction is under way are written together in the next one: one fsync for all of them, and each caller
is answered only after it (INV-01).
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Connection

from lowtide.scheduler.model.errors import StoreFailure
from lowtide.scheduler.store import jobs
from lowtide.scheduler.store.database import Database

T = TypeVar("T")

MAX_BATCH = 500
"""Submissions per commit: keeps one transaction under about 50 ms, so that nobody waits long behind it."""
MAX_PENDING = 20_000
"""Beyond this many unanswered submissions new ones are refused at once instead of growing the process."""


class Writer:
    """Serial access to the database from the event loop."""

    def __init__(self, database: Database) -> None:
        """Start the thread."""
        self._database = database
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="writer")
        self._readers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="reader")
        self._pending: list[tuple[jobs.NewJob, asyncio.Future[jobs.Submitted]]] = []
        self._flushing = False
        self._flush_task: asyncio.Task[None] | None = None

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in a transaction of its own; its exception is the caller's."""

        def transaction() -> T:
            with self._database.write() as connection:
                return work(connection)

        return await asyncio.get_running_loop().run_in_executor(self._thread, transaction)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` on a consistent view, beside the writer."""

        def view() -> T:
            with self._database.read() as connection:
                return work(connection)

        return await asyncio.get_running_loop().run_in_executor(self._readers, view)

    async def submit(self, new: jobs.NewJob) -> jobs.Submitted:
        """Write a submission with others that arrive meanwhile; returns after the commit."""
        if len(self._pending) >= MAX_PENDING:
            message = f"{MAX_PENDING} submissions wait to be written."
            raise StoreFailure(message, fix="Submit more slowly; nothing of this one was kept.")
        future: asyncio.Future[jobs.Submitted] = asyncio.get_running_loop().create_future()
        self._pending.append((new, future))
        if not self._flushing:
            self._flushing = True
            self._flush_task = asyncio.get_running_loop().create_task(self._flush())
        return await future

    async def _flush(self) -> None:
        try:
            while self._pending:
                batch, self._pending = self._pending[:MAX_BATCH], self._pending[MAX_BATCH:]
                await self._commit(batch)
        finally:
            self._flushing = False

    async def _commit(self, batch: list[tuple[jobs.NewJob, asyncio.Future[jobs.Submitted]]]) -> None:
        try:
            answers = await self.run(lambda connection: jobs.submit(connection, [new for new, _ in batch]))
        except Exception as error:  # noqa: BLE001 - handed to every caller of the batch
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result(answer)

    def close(self) -> None:
        """Finish what was begun and end the threads."""
        self._thread.shutdown(wait=True)
        self._readers.shutdown(wait=True)
