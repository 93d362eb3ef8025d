"""The part of the fake service that keeps drains and reservations in memory."""

from typing import Any

from lowtide.scheduler.model.errors import Conflict, NotFound
from lowtide.scheduler.model.reservation import Wish

Json = dict[str, Any]
AT = "2026-03-02T09:00:00Z"
RUNS_ON = {"job_id": "mri-1", "ends_at": "2026-03-02T12:00:00Z", "can_be_suspended": False}


class FakeReservations:
    """Reservations one after the other; one job runs into each drain."""

    def forget_reservations(self) -> None:
        self.kept: list[Json] = []

    async def reservations(self) -> list[Json]:
        return self.kept[::-1]

    async def reserve(self, wish: Wish, *, actor: str, why: str | None) -> Json:
        plain: Json = {name: getattr(wish, name) for name in ("site", "pool", "gpus", "cpus", "project", "queue")}
        plain |= {"number": len(self.kept) + 1, "state": "now", "at": AT, "actor": actor, "why": why}
        plain |= {"start_at": wish.start or AT, "end_at": wish.end or None}
        plain |= dict.fromkeys(("ended_at", "ended_by", "ended_why"))
        self.kept.append(plain | {"jobs": [RUNS_ON] if wish.gpus is None else []})
        return self.kept[-1]

    async def end_reservation(self, number: int, *, actor: str, why: str | None) -> Json:
        if number > len(self.kept):
            raise NotFound(f"there is no reservation {number}.", fix="lowtide admin reservation list shows them.")
        self.kept[number - 1] |= {"state": "over", "ended_at": AT, "ended_by": actor, "ended_why": why, "jobs": []}
        return self.kept[number - 1]

    async def undrain(self, site: str, pool: str, *, actor: str, why: str | None) -> list[Json]:
        drains = [k["number"] for k in self.kept if (k["site"], k["pool"], k["state"]) == (site, pool, "now")]
        if not drains:
            raise Conflict(f"{site} is not drained.", fix="lowtide admin reservation list shows what is kept free.")
        return [await self.end_reservation(number, actor=actor, why=why) for number in drains]
