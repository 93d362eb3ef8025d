"""Parts sites into the rows of the planner's arrays, and names sites and pools again in the plan that comes of them.

A site whose GPUs are alike and always offered stays one row under its own name, and a snapshot of such sites stays as
it is. Each pool of a site with several is a row. Where a site offers less while its grid is dirty, each of these has
a twin with all of it, for clinical work.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from lowtide.scheduler.decide.market import LIVE
from lowtide.scheduler.decide.urgency import is_clinical
from lowtide.scheduler.model.data import Transfer
from lowtide.scheduler.model.plan import JobDecision, JobView, Plan, Row, Segment, SiteView, Snapshot
from lowtide.scheduler.model.site import Pool, Site

TWIN = " (clinical)"
BOOKED = " (reservation {})"
NOT_READ = re.compile(r" \((?:clinical|reservation \d+)\)")
"""These end the keys of rows beside a pool's own; no name of a site or pool has a space, and people never read them."""

Part = tuple[Row, SiteView]


def in_rows(snapshot: Snapshot, decide: Callable[[Snapshot], Plan]) -> Plan:
    """What ``decide`` says of a snapshot whose sites are its rows, told by site and pool."""
    if not _is_parted(snapshot):
        return decide(snapshot)
    jobs = _Jobs(snapshot)
    plan, rows = decide(jobs.parted), {row.key: row for row in jobs.parted.rows}
    return replace(plan, decisions=tuple(_told(decision, rows) for decision in plan.decisions))


def looked_at(snapshot: Snapshot, plan: Plan) -> tuple[Snapshot, Plan]:
    """The same snapshot and its plan by rows, for whoever looks at them once more; a pool's own row stands for all."""
    if not _is_parted(snapshot):
        return snapshot, plan
    jobs = _Jobs(snapshot)
    return jobs.parted, replace(plan, decisions=tuple(_renamed(one, jobs.own_row) for one in plan.decisions))


def read(key: str) -> str:
    """The key of a row as people read it: what they call the site or the pool."""
    return NOT_READ.sub("", key)


def _is_parted(snapshot: Snapshot) -> bool:
    is_parted = any(view.site.pools or view.site.virtual_capacity for view in snapshot.sites)
    return is_parted or any(one.has_members for one in snapshot.reservations)


def _parts(view: SiteView, snapshot: Snapshot) -> Iterator[Part]:
    """The rows of one site."""
    for pool in view.site.pools:
        yield from _with_others(_pool(view, pool, snapshot), view.site, pool.name, snapshot)
    if not view.site.pools:
        yield from _with_others(view, view.site, "", snapshot)


def _with_others(part: SiteView, site: Site, pool: str, snapshot: Snapshot) -> Iterator[Part]:
    """The row of a pool, its twin, and one for what each reservation keeps of it."""
    key = _key(site.name, pool)
    yield Row(key, site.name, pool), replace(part, site=replace(part.site, name=key))
    unused = replace(part, used_gpus=0, used_cpus=0)
    if site.virtual_capacity:
        twin = key + TWIN
        yield Row(twin, site.name, pool, of=key), replace(unused, site=replace(part.site, name=twin))
    for one in snapshot.reservations:
        if one.has_members and one.covers(site.name, pool):
            own = key + BOOKED.format(one.number)
            gpus, cpus = (
                part.site.gpus if one.gpus is None else one.gpus,
                part.site.cpus if one.cpus is None else one.cpus,
            )
            kept = replace(part.site, name=own, gpus=min(gpus, part.site.gpus), cpus=min(cpus, part.site.cpus))
            yield Row(own, site.name, pool, of=key, reservation=one.number), replace(unused, site=kept)


def _key(site: str, pool: str) -> str:
    return f"{site}/{pool}" if pool else site


def _pool(view: SiteView, pool: Pool, snapshot: Snapshot) -> SiteView:
    """A pool as if it were a site; what is used beyond the snapshot's own jobs counts in each: nobody knows where."""
    live = [job for job in snapshot.jobs if job.state in LIVE and job.site == view.site.name]
    here = [job for job in live if _pool_of(job, view.site) == pool.name]
    used_gpus, used_cpus = view.used_gpus, view.used_cpus
    for job, sign in [*((job, -1) for job in live), *((job, 1) for job in here)]:
        used_gpus += sign * job.resources.gpus
        used_cpus += sign * job.resources.cpus
    return replace(view, site=view.site.narrowed(pool), used_gpus=used_gpus, used_cpus=used_cpus)


def _pool_of(job: JobView, site: Site) -> str:
    return site.pool_of(job.pool, job.resources.gpus, job.resources.cpus).name if site.pools else ""


class _Jobs:
    """The jobs of a snapshot, with rows in place of sites."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._queues, self._reservations = snapshot.queues, snapshot.reservations
        self._sites = {view.site.name: view.site for view in snapshot.sites}
        self._parts = [part for view in snapshot.sites for part in _parts(view, snapshot)]
        self._allowed: dict[tuple[object, ...], tuple[str, ...]] = {}
        self.parted = replace(
            snapshot,
            sites=tuple(view for _, view in self._parts),
            jobs=tuple(self._in_rows(view) for view in snapshot.jobs),
            rows=tuple(row for row, _ in self._parts),
        )

    def _in_rows(self, job: JobView) -> JobView:
        """One job; what was decided about it too, as that may stand."""
        site = self._sites.get(job.site or "")
        return replace(
            job,
            allowed_sites=self._rows_of(job),
            site=job.site if site is None else _key(site.name, _pool_of(job, site)),
            decided=None if job.decided is None else _renamed(job.decided, self._row_of(job)),
            transfers=tuple(self._brought(job)) if job.transfers else (),
        )

    def _brought(self, job: JobView) -> Iterator[Transfer]:
        """What is brought to each row; it comes from any one of the rows of a site: their prices are the same."""
        first = {row.site: row.key for row, _ in reversed(self._parts)}
        for one in job.transfers:
            parts = tuple(replace(part, source=first.get(part.source, part.source)) for part in one.parts)
            yield from (replace(one, site=row.key, parts=parts) for row, _ in self._parts if row.site == one.site)

    def _rows_of(self, job: JobView) -> tuple[str, ...]:
        """Where it may run, in the job's order of sites; work without GPUs leaves the CPUs beside GPUs for last."""
        clinical = is_clinical(job, self._queues.get(job.queue))
        booked = frozenset(one.number for one in self._reservations if one.admits(job.project, job.queue))
        known = job.allowed_sites, job.resources.gpus == 0, clinical, booked
        if known not in self._allowed:
            found = [part for name in job.allowed_sites for part in self._open(name, booked, is_clinical=clinical)]
            if job.resources.gpus == 0:
                found.sort(key=lambda part: part[1].site.gpus > 0)
            self._allowed[known] = tuple(row.key for row, _ in found)
        return self._allowed[known]

    def _open(self, site: str, booked: frozenset[int], *, is_clinical: bool) -> list[Part]:
        """A site's rows for a job: what is reserved for it comes first; clinical work has twins where there are any."""
        here = [part for part in self._parts if part[0].site == site]
        shared = [part for part in here if part[0].reservation is None]
        has_twins = any(row.is_twin for row, _ in shared)
        return [part for part in here if part[0].reservation in booked] + [
            part for part in shared if part[0].is_twin is (is_clinical and has_twins)
        ]

    def _row_of(self, job: JobView) -> Callable[[Segment], Segment]:
        """Stretches of a job by the row on which it would be placed again: clinical work has all there is."""
        has_twins = job.state not in LIVE and is_clinical(job, self._queues.get(job.queue))
        return partial(self.own_row, has_twins=has_twins)

    def own_row(self, segment: Segment, *, has_twins: bool = False) -> Segment:
        """A stretch by the row of its pool, or by its twin."""
        site = self._sites.get(segment.site)
        if site is None:
            return segment
        pool = site.pool_of(segment.pool, segment.gpus, 0).name if site.pools else ""
        twin = TWIN if has_twins and site.virtual_capacity else ""
        return replace(segment, site=_key(site.name, pool) + twin)


def _told(decision: JobDecision, rows: dict[str, Row]) -> JobDecision:
    """A decision by site and pool; its sentences name both."""

    def named(segment: Segment) -> Segment:
        row = rows.get(segment.site)  # a site that has left the settings has none
        return segment if row is None else replace(segment, site=row.site, pool=row.pool)

    facts = {name: _plain(value) for name, value in decision.reason.facts.items()}
    return replace(_renamed(decision, named), reason=replace(decision.reason, facts=facts))


def _plain(value: object) -> object:
    return read(value) if isinstance(value, str) else value


def _renamed(decision: JobDecision, rename: Callable[[Segment], Segment]) -> JobDecision:
    candidates = tuple(
        replace(one, segments=tuple(map(rename, one.segments)), note=read(one.note)) for one in decision.candidates
    )
    return replace(decision, candidates=candidates)
