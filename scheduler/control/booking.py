"""What administrators do with drains and reservations: make them, end them, and see which jobs run into them."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, RowMapping

from lowtide.scheduler.control.lookup import Lookup, Parts
from lowtide.scheduler.model.errors import BadInput, Conflict, NotFound
from lowtide.scheduler.model.job import Urgency
from lowtide.scheduler.model.plan import JobView
from lowtide.scheduler.model.quantity import moment
from lowtide.scheduler.model.reservation import Reservation, Wish
from lowtide.scheduler.model.site import Pool, Site
from lowtide.scheduler.report.shape import Json, stamp
from lowtide.scheduler.store import reservations as stored


class Booking(Lookup):
    """Keeps capacity free."""

    def __init__(self, parts: Parts) -> None:
        """Take the running parts."""
        super().__init__(parts)
        self._places, self._watched = parts.sites, parts.observer

    async def reservations(self) -> list[Json]:
        """The last 200, newest first."""
        rows = await self._writer.read(stored.listed)
        return [self._told(row) for row in rows]

    async def reserve(self, wish: Wish, *, actor: str, why: str | None) -> Json:
        """Keep capacity free, from the next plan on; BadInput where there is no such capacity."""
        now = self._clock.now()
        new = self._read(wish, now)

        def work(connection: Connection) -> RowMapping:
            number = stored.add(connection, new, at=now, actor=actor, why=why)
            return next(row for row in stored.listed(connection) if row["id"] == number)

        row = await self._writer.run(work)
        self._loop.wake("reservation")
        return self._told(row)

    async def end_reservation(self, number: int, *, actor: str, why: str | None) -> Json:
        """Give the capacity back."""
        now = self._clock.now()

        def work(connection: Connection) -> RowMapping:
            stored.end(connection, number, at=now, actor=actor, why=why)
            return next(row for row in stored.listed(connection) if row["id"] == number)

        row = await self._writer.run(work)
        self._loop.wake("reservation")
        return self._told(row)

    async def undrain(self, site: str, pool: str, *, actor: str, why: str | None) -> list[Json]:
        """End every drain of exactly this site or pool, those that are still to come too.

        Raises:
            Conflict: it is not drained.

        """
        self._place(site, pool)
        ahead = await self._writer.read(lambda c: stored.ahead(c, self._clock.now()))
        drains = [one.number for one in ahead if one.is_drain and (one.site, one.pool) == (site, pool)]
        if not drains:
            raise Conflict(
                f"{_name(site, pool)} is not drained.", fix="lowtide admin reservation list shows what is kept free."
            )
        return [await self.end_reservation(number, actor=actor, why=why) for number in drains]

    def _read(self, wish: Wish, now: datetime) -> Reservation:
        site = self._place(wish.site, wish.pool)
        start, end = _moment("start", wish.start, now) or now, _moment("end", wish.end, now)
        if end is not None and end <= max(start, now):
            message = f"it would end at {stamp(end)}, not after its start ({stamp(start)}) and the present."
            raise BadInput(message, fix="Give a later end, or none to keep it until it is ended.")
        if wish.queue is not None and wish.queue not in self._watched.queues:
            known = ", ".join(sorted(self._watched.queues))
            raise BadInput(f"there is no queue {wish.queue!r}; the queues are: {known}.", fix="Choose one of them.")
        gpus, cpus = self._amount(wish, site)
        return Reservation(0, wish.site, wish.pool, start, end, gpus, cpus, wish.project or None, wish.queue)

    def _amount(self, wish: Wish, site: Site) -> tuple[int | None, int | None]:
        """GPUs and CPUs, None both for all; CPUs that are not named come with the GPUs in proportion."""
        if wish.gpus is None and wish.cpus is None:
            return None, None
        if site.pools:
            message = f"site {site.name} has several pools, and {wish.gpus or 0} GPU(s) could be in any of them."
            raise BadInput(message, fix=f"Name one: {', '.join(f'{site.name}/{pool.name}' for pool in site.pools)}.")
        gpus = wish.gpus or 0
        cpus = -(-site.cpus * gpus // site.gpus) if wish.cpus is None and site.gpus else wish.cpus or 0
        if gpus > site.gpus or cpus > site.cpus or not (gpus or cpus):
            message = f"{gpus} GPU(s) and {cpus} CPU(s) cannot be reserved: there are {site.gpus} and {site.cpus}."
            raise BadInput(message, fix="Reserve some of these, or leave the amounts out to reserve all.")
        return gpus, cpus

    def _place(self, site: str, pool: str) -> Site:
        """The site, narrowed to the pool if one is named."""
        runtime = self._places.get(site)
        if runtime is None:
            raise NotFound(f"there is no site {site!r}; the sites are: {', '.join(self._places)}.", fix="Choose one.")
        if not pool:
            return runtime.site
        found: Pool | None = next((one for one in runtime.site.pools if one.name == pool), None)
        if found is None:
            known = ", ".join(one.name for one in runtime.site.pools) or "none: its GPUs are all alike"
            raise NotFound(f"site {site} has no pool {pool!r}; its pools are: {known}.", fix="Choose one, or the site.")
        return runtime.site.narrowed(found)

    def _told(self, row: RowMapping) -> Json:
        now, one = self._clock.now(), stored.of_row(row)
        over = row["ended_at"] is not None or (one.end_at is not None and one.end_at <= now)
        state = "over" if over else "ahead" if one.start_at > now else "now"
        times = {key: stamp(row[key]) if row[key] else None for key in ("at", "start_at", "end_at", "ended_at")}
        plain = {key: row[key] for key in ("site", "pool", *stored.OF_WHAT, "actor", "why", "ended_by", "ended_why")}
        jobs = [] if over else self._running_into(one)
        return {"number": one.number, "state": state, **plain, **times, "jobs": jobs}

    def _running_into(self, one: Reservation) -> list[Json]:
        """The jobs that run in what is to be kept free of them by the time, and whether they can be suspended."""
        shot = self._loop.latest_snapshot
        if shot is None or one.gpus is not None:
            return []
        sites = {view.site.name: view.site for view in shot.sites}
        running = [job for job in shot.jobs if job.site in sites and job.running_since is not None]
        here = [job for job in running if one.covers(str(job.site), _pool_of(job, sites[str(job.site)]))]
        left = [(job, shot.now + timedelta(seconds=job.remaining_s)) for job in here]
        return [
            {"job_id": job.job_id, "ends_at": stamp(ends), "can_be_suspended": _can_pause(job)}
            for job, ends in left
            if ends > one.start_at and not one.admits(job.project, job.queue)
        ]


def _pool_of(job: JobView, site: Site) -> str:
    return site.pool_of(job.pool, job.resources.gpus, job.resources.cpus).name if site.pools else ""


def _can_pause(job: JobView) -> bool:
    return job.suspendable and job.urgency is not Urgency.CLINICAL


def _name(site: str, pool: str) -> str:
    return f"{site}/{pool}" if pool else site


def _moment(what: str, text: str, now: datetime) -> datetime | None:
    try:
        return moment(text, now=now) if text else None
    except ValueError as error:
        raise BadInput(f"{what}: {error}", fix="Correct it and try again.") from None
