"""Shadow mode: a policy set decides beside the active one on live snapshots, and what it would save is recorded.

It runs after the active plan was carried out, off the loop's thread, one snapshot at a time; whatever goes wrong in it
is told and changes nothing.
"""

import asyncio
from dataclasses import asdict
from functools import partial

import structlog
from sqlalchemy import RowMapping

from lowtide.scheduler.control.background import Background
from lowtide.scheduler.control.policy_sets import Checked, PolicySets
from lowtide.scheduler.control.writer import Writer
from lowtide.scheduler.decide.shadow import Shade, shade
from lowtide.scheduler.model.errors import LowtideError
from lowtide.scheduler.model.plan import Plan, Snapshot
from lowtide.scheduler.report.shape import Json
from lowtide.scheduler.store import policy_sets as stored
from lowtide.scheduler.store.database import Database

log = structlog.get_logger()


class Shadow:
    """The set in the shadow, if there is one; changed on the loop's thread alone."""

    def __init__(self, writer: Writer, background: Background) -> None:
        """Nothing is in the shadow yet."""
        self._writer, self._background = writer, background
        self.row: RowMapping | None = None
        self.checked: Checked | None = None
        self.trouble = ""
        self.last: Shade | None = None
        self._known: set[tuple[int, str]] = set()
        self._is_busy = False

    def resume(self, database: Database, sets: PolicySets) -> None:
        """Go on with the shadow of before the restart; one that fits no more ends, and says why."""
        with database.read() as connection:
            row = next(iter(stored.newest(connection, "shadow")), None)
        if row is None or not row["text"]:
            return
        try:
            self.cast(row, sets.checked(row["text"]))
        except LowtideError as error:
            self.row, self.trouble = row, error.message
            log.exception("shadow_unusable")

    def cast(self, row: RowMapping, checked: Checked) -> None:
        """Let a stored and checked set decide in the shadow from the next plan on, in place of any earlier one."""
        if self.row is not None and row["revision"] < self.row["revision"]:
            return
        self.row, self.checked, self.trouble, self.last = row, checked, "", None

    @property
    def policies(self) -> set[str]:
        """The policies that decide in the shadow."""
        return {queue.policy for queue in self.checked.queues} if self.checked is not None else set()

    def end(self) -> None:
        """Let nothing decide in the shadow."""
        self.row, self.checked, self.trouble, self.last = None, None, "", None

    def findings(self) -> list[Json]:
        """What doctor says; nothing where nothing decides in the shadow."""
        if self.row is None:
            return []
        told = {"check": "shadow", "detail": f"revision {self.row['revision']} decides beside the active set"}
        if not self.trouble:
            return [{**told, "status": "ok", "fix": ""}]
        fix = "Nothing is disturbed by it; end it with: lowtide admin policy shadow --stop"
        return [{**told, "status": "warn", "detail": f"{told['detail']}: {self.trouble}", "fix": fix}]

    def follow(self, snapshot: Snapshot, plan: Plan) -> None:
        """Look at what the active plan was made of; left out while the last look still goes on."""
        if self.checked is not None and self.row is not None and not self._is_busy:
            self._is_busy = True
            self._background.once(self._look(snapshot, plan, self.row["revision"], self.checked), "shadow")

    async def _look(self, snapshot: Snapshot, plan: Plan, revision: int, checked: Checked) -> None:
        try:
            queues = {queue.name: queue.queue() for queue in checked.queues}
            found = await asyncio.to_thread(shade, snapshot, plan, queues)
            await self._keep(found, snapshot, revision)
            trouble = f"these policies fail: {', '.join(found.failed)}" if found.failed else ""
        except Exception as error:
            log.exception("shadow_failed", revision=revision)
            found, trouble = None, f"it failed with {type(error).__name__}; the log says more"
        finally:
            self._is_busy = False
        if self.row is not None and self.row["revision"] == revision:
            self.last, self.trouble = found, trouble

    async def _keep(self, found: Shade, snapshot: Snapshot, revision: int) -> None:
        """Record what is compared for the first time."""
        rows = [
            {"revision": revision, "at": snapshot.now, **asdict(one)}
            for one in found.comparisons
            if (revision, one.job_id) not in self._known
        ]
        if rows:
            await self._writer.run(partial(stored.compare, rows=rows))
        self._known = {(revision, one.job_id) for one in found.comparisons}
