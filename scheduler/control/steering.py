"""What administrators do with policy sets: compare, apply and take back; each change is a revision of its own."""

import asyncio

from sqlalchemy import Connection, RowMapping

from lowtide.scheduler.control.lookup import Lookup, Parts
from lowtide.scheduler.control.policy_sets import Checked, Queues
from lowtide.scheduler.model.errors import Conflict, NotFound
from lowtide.scheduler.policy_set import changes
from lowtide.scheduler.report.shape import Json, stamp
from lowtide.scheduler.store import policy_sets as stored


class Steering(Lookup):
    """Changes how the queues decide while the daemon runs."""

    def __init__(self, parts: Parts) -> None:
        """Take the running parts."""
        super().__init__(parts)
        self._sets, self._observer, self._shadow = parts.policy_sets, parts.observer, parts.shadow

    async def policy(self) -> Json:
        """The policy set in force."""
        return self._sets.told()

    async def policy_changes(self, text: str) -> list[Json]:
        """What a set would change, by queue and field; BadInput where it cannot be taken."""
        return _changes(self._sets.queues, (await self._checked(text)).queues)

    async def apply_policy(self, text: str, *, actor: str, why: str | None) -> Json:
        """Put a set in force, from the next plan on; nothing is written where it cannot be taken."""
        return await self._put(text, actor=actor, why=why)

    async def roll_back_policy(self, revision: int | None, *, actor: str, why: str | None) -> Json:
        """Put an earlier revision in force again, as a new one; without a number the one before the present.

        Raises:
            Conflict: nothing has been applied, so there is nothing to go back from.
            NotFound: no such revision was ever in force.
            BadInput: what it says cannot be had any more.

        """
        number, text = await self._writer.read(lambda c: _earlier(c, revision))
        return await self._put(text, actor=actor, why=why, copy_of=number)

    async def policy_history(self) -> list[Json]:
        """The last revisions, newest first."""
        return [_revision_json(row) for row in await self._writer.read(stored.history)]

    async def shadow(self) -> Json:
        """The set that is or was last in the shadow, and what it would have saved of the jobs compared."""

        def work(connection: Connection) -> tuple[RowMapping | None, RowMapping, list[RowMapping]]:
            row = stored.last_shadow(connection)
            number = row["revision"] if row is not None else 0
            return row, stored.summed(connection, number), stored.compared(connection, number)

        row, sums, rows = await self._writer.read(work)
        here, last = self._shadow, self._shadow.last
        return {
            "is_running": here.row is not None,
            "revision": row["revision"] if row is not None else None,
            "at": stamp(row["at"]) if row is not None else None,
            "actor": row["actor"] if row is not None else None,
            "why": row["why"] if row is not None else None,
            "text": row["text"] if row is not None else None,
            "trouble": here.trouble or None,
            "waiting": last.waiting if last is not None else None,
            "would_start": last.would_start if last is not None else None,
            **sums,
            "saving_g": sums["active_g"] - sums["shadow_g"],
            "comparisons": [_comparison_json(one) for one in rows],
        }

    async def cast_shadow(self, text: str, *, actor: str, why: str | None) -> Json:
        """Let a set decide in the shadow from the next plan on, in place of any other."""
        checked, now = await self._checked(text), self._clock.now()
        row = await self._writer.run(lambda c: stored.append(c, at=now, actor=actor, why=why, text=text, mode="shadow"))
        self._shadow.cast(row, checked)
        self._loop.wake("policy")
        return await self.shadow()

    async def end_shadow(self, *, actor: str, why: str | None) -> Json:
        """Let nothing decide in the shadow; with nothing there, nothing is written."""
        if self._shadow.row is not None:
            now = self._clock.now()
            await self._writer.run(lambda c: stored.append(c, at=now, actor=actor, why=why, text="", mode="shadow"))
            self._shadow.end()
        return await self.shadow()

    async def _checked(self, text: str) -> Checked:
        """Off the loop's thread: a large file takes its time, and a policy's package may be imported for it."""
        return await asyncio.to_thread(self._sets.checked, text)

    async def _put(self, text: str, *, actor: str, why: str | None, copy_of: int | None = None) -> Json:
        checked, now = await self._checked(text), self._clock.now()
        row = await self._writer.run(
            lambda c: stored.append(c, at=now, actor=actor, why=why, text=text, copy_of=copy_of)
        )
        before = self._sets.queues
        self._sets.adopt(row, checked)
        self._observer.decide_by(self._sets.queues)
        self._loop.wake("policy")
        return {**self._sets.told(), "changes": _changes(before, self._sets.queues)}


def _earlier(connection: Connection, revision: int | None) -> tuple[int, str]:
    """The revision to go back to with its text; 0 is the settings alone."""
    last = stored.newest(connection, limit=2)
    if not last:
        raise Conflict(
            "no policy set has been applied, so there is none to go back from.",
            fix="Apply one with: lowtide admin policy apply FILE",
        )
    if revision is None:
        return (last[1]["revision"], last[1]["text"]) if len(last) > 1 else (0, "")
    if revision == 0:
        return 0, ""
    row = stored.enforced(connection, revision)
    if row is None:
        raise NotFound(
            f"no policy set of revision {revision} was ever in force.",
            fix="lowtide admin policy history lists them; 0 is the settings alone.",
        )
    return revision, row["text"]


def _changes(before: Queues, after: Queues) -> list[Json]:
    return [{"queue": c.queue, "field": c.field, "before": c.before, "after": c.after} for c in changes(before, after)]


def _comparison_json(row: RowMapping) -> Json:
    moments = {key: stamp(row[key]) for key in ("at", "active_start_at", "shadow_start_at")}
    told = {key: row[key] for key in ("job_id", "active_g", "shadow_g")}
    return {**told, "saving_g": row["active_g"] - row["shadow_g"], **moments}


def _revision_json(row: RowMapping) -> Json:
    return {**row, "at": stamp(row["at"])}
