"""The part of the fake service that keeps policy sets in memory, read and checked by the real reader."""

from datetime import UTC, datetime, timedelta
from typing import Any

from lowtide.scheduler.model.errors import Conflict
from lowtide.scheduler.model.series import Accounting, Basis, Point, PointKind, Series, Signal
from lowtide.scheduler.policy_set import as_yaml, changes, over, parsed
from lowtide.scheduler.settings import DEFAULT_QUEUES, QueueSettings

Json = dict[str, Any]
AT = "2026-03-02T09:00:00Z"


def a_past_day() -> Series:
    """48 half hours of 300 g/kWh that fall to 50 from 06:00 to 12:00."""
    half_hour, start = timedelta(minutes=30), datetime(2026, 3, 1, tzinfo=UTC)
    prices = [50.0 if 12 <= i < 24 else 300.0 for i in range(48)]
    points = tuple(
        Point(start + i * half_hour, start + (i + 1) * half_hour, g, PointKind.ACTUAL) for i, g in enumerate(prices)
    )
    meaning = (Signal.AVERAGE, Basis.DIRECT, Accounting.CONSUMPTION)
    return Series("test", "GB", "GB", points, 1800.0, *meaning, fetched_at=start)


def a_past_job(job_id: str = "mri-1", **changes: Any) -> Json:
    """An hour on one GPU that ran as soon as it was submitted, at one in the morning."""
    first, last = "2026-03-01T01:00:00+00:00", "2026-03-01T02:00:00+00:00"
    job: Json = {"id": job_id, "queue": "research", "urgency": None, "submitted_at": first, "begin_at": None}
    job |= {"project": "default"}
    job |= {"depends_on": []}
    job |= {"deadline_at": None, "patience_s": None, "duration_s": 3600.0, "run_s": 3600.0, "gpus": 1, "cpus": 1}
    job |= {"gpu_model": None, "power_w": 300.0, "allowed_sites": ["lab"], "suspendable": False, "suspensions": 0}
    return job | {"finished_at": last, "stretches": [["lab", first, last]]} | changes


def a_purse(**changes: Any) -> Json:
    """A project's grams of a month, near their end."""
    when = {"period": "month", "start": "2026-03-01T00:00:00Z", "end": "2026-04-01T00:00:00Z"}
    amounts = {"limit": 10_000.0, "used": 8200.5, "promised": 90.0, "left": 1709.5}
    return {"project": "scans", **when, "measure": "carbon", "unit": "g", **amounts, "standing": "near"} | changes


class FakePolicies:
    """Revisions one after the other over the default queues."""

    def forget_policies(self) -> None:
        self.revisions: list[Json] = []
        self.purses: list[Json] = [a_purse()]
        self.shadows: list[Json] = []
        self.is_shadowed = False
        self.queues_now: tuple[QueueSettings, ...] = DEFAULT_QUEUES

    async def budgets(self) -> list[Json]:
        return self.purses

    async def policy(self) -> Json:
        last = self.revisions[-1] if self.revisions else {"revision": 0, "at": None, "actor": None, "why": None}
        return {
            **{key: last[key] for key in ("revision", "at", "actor", "why")},
            "name": "",
            "sentence": f"revision {last['revision']}",
            "trouble": None,
            "queues": [queue.model_dump(mode="json") for queue in self.queues_now],
            "text": as_yaml(self.queues_now),
        }

    async def policy_changes(self, text: str) -> list[Json]:
        after = over(DEFAULT_QUEUES, parsed(text))
        return [
            {"queue": c.queue, "field": c.field, "before": c.before, "after": c.after}
            for c in changes(self.queues_now, after)
        ]

    async def apply_policy(self, text: str, *, actor: str, why: str | None) -> Json:
        return await self._put(text, actor, why, None)

    async def roll_back_policy(self, revision: int | None, *, actor: str, why: str | None) -> Json:
        if not self.revisions:
            message = "no policy set has been applied, so there is none to go back from."
            raise Conflict(message, fix="Apply one.")
        number = len(self.revisions) - 1 if revision is None else revision
        text = self.revisions[number - 1]["text"] if number else "queues: {}"
        return await self._put(text, actor, why, number)

    async def policy_history(self) -> list[Json]:
        return self.revisions[::-1]

    async def shadow(self) -> Json:
        jobs = [
            {"job_id": "mri-1", "active_g": 80.0, "shadow_g": 60.0, "saving_g": 20.0}
            | {"at": AT, "active_start_at": AT, "shadow_start_at": "2026-03-02T15:00:00Z"}
        ]
        known: Json = dict.fromkeys(("revision", "at", "actor", "why", "text", "trouble", "waiting", "would_start"))
        sums: Json = {"jobs": 0, "active_g": 0.0, "shadow_g": 0.0, "saving_g": 0.0, "comparisons": []}
        if self.shadows:
            known |= self.shadows[-1] | {"waiting": 3, "would_start": 1}
            sums = {"jobs": 1, "active_g": 80.0, "shadow_g": 60.0, "saving_g": 20.0, "comparisons": jobs}
        return {"is_running": self.is_shadowed, **known, **sums}

    async def cast_shadow(self, text: str, *, actor: str, why: str | None) -> Json:
        parsed(text)
        self.shadows.append({"revision": 1, "at": AT, "actor": actor, "why": why, "text": text})
        self.is_shadowed = True
        return await self.shadow()

    async def end_shadow(self, *, actor: str, why: str | None) -> Json:  # noqa: ARG002 - the service's own words
        self.is_shadowed = False
        return await self.shadow()

    async def past(self, days: float) -> Json:
        del days
        return {
            "start": "2026-03-01T00:00:00+00:00",
            "end": "2026-03-02T00:00:00+00:00",
            "slot_s": 900.0,
            "sites": [{"name": "lab", "zone": "GB", "gpus": 2, "cpus": 8}],
            "queues": [queue.model_dump(mode="json") for queue in self.queues_now],
            "jobs": [a_past_job()],
            "intensity": {"GB": a_past_day().to_json()},
            "issues": {"GB": {"like": None, "rows": []}},
            "projects": {"declared": [], "half_life_h": 168.0, "used": []},
            "reservations": [],
        }

    async def _put(self, text: str, actor: str, why: str | None, copy_of: int | None) -> Json:
        changed = await self.policy_changes(text)
        self.queues_now = over(DEFAULT_QUEUES, parsed(text))
        row = {"at": AT, "actor": actor, "why": why, "mode": "enforce", "text": text, "copy_of": copy_of}
        self.revisions.append({"revision": len(self.revisions) + 1, **row})
        return {**await self.policy(), "changes": changed}
