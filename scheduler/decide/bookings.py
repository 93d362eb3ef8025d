"""Drains and reservations on the timeline: a slot that one covers in part is covered.

What a reservation keeps is taken off its pool. Its members find it in a row of its own, less what members that run
already hold; where others still run in it, there is only what they leave.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lowtide.policies.problem import EPSILON_S, SlotGrid
from lowtide.policies.timeline import Span, Timeline
from lowtide.scheduler.decide.wording import when
from lowtide.scheduler.model.plan import JobView, Row, Snapshot
from lowtide.scheduler.model.reservation import Reservation

Live = tuple[JobView, int, float]
"""A job that runs, its row, and for how many seconds it is expected to."""


@dataclass(frozen=True, slots=True)
class Hold:
    """When a row is kept free of jobs that are no members, in seconds after now."""

    reservation: Reservation
    span: Span

    def told(self, grid: SlotGrid, site: str) -> dict[str, object]:
        """The facts of a sentence about it."""
        until = self.reservation.end_at
        return {
            "site": site,
            "how": "drained" if self.reservation.is_drain else "reserved",
            "since": when(grid.at(self.span[0])),
            "until": "an administrator ends that" if until is None else when(until),
        }


def holds(snapshot: Snapshot, grid: SlotGrid) -> dict[int, tuple[Hold, ...]]:
    """By row what is kept free there within the grid, the earliest first; empty where nothing is."""
    found: dict[int, list[Hold]] = {}
    for one in sorted(snapshot.reservations, key=lambda r: (r.start_at, r.number)):
        span = _span(one, grid)
        if span is not None:
            for row in _rows(one, snapshot):
                found.setdefault(row, []).append(Hold(one, span))
    return {row: tuple(kept) for row, kept in found.items()}


def book(
    snapshot: Snapshot, grid: SlotGrid, held: dict[int, tuple[Hold, ...]], timeline: Timeline, live: list[Live]
) -> None:
    """Take what is kept free off a timeline on which all that runs has been sold, and give it to members' rows."""
    for row, part in enumerate(snapshot.rows):
        if part.reservation is not None:
            timeline.free_gpus[row] = timeline.free_cpus[row] = 0
    filled: set[str] = set()
    own = (row for row in held if not (snapshot.rows and snapshot.rows[row].is_twin))  # twins are made of them later
    for row in own:
        for hold in sorted(held[row], key=lambda hold: hold.reservation.has_members):  # members get what drains leave
            members = [m for m in live if m[1] == row and _is_member(m[0], hold) and m[0].job_id not in filled]
            filled |= {job.job_id for job, _, _ in members}
            _book(snapshot, grid, hold, row, timeline, members)


def _is_member(job: JobView, hold: Hold) -> bool:
    return hold.reservation.admits(job.project, job.queue)


def _book(snapshot: Snapshot, grid: SlotGrid, hold: Hold, row: int, timeline: Timeline, members: list[Live]) -> None:
    site, one = snapshot.sites[row].site, hold.reservation
    own, touched = _members_row(snapshot, row, one), slice(grid.slot_at(hold.span[0]), grid.slots_until(hold.span[1]))
    for free, whole, kept, what in (
        (timeline.free_gpus, site.gpus, one.gpus, "gpus"),
        (timeline.free_cpus, site.cpus, one.cpus, "cpus"),
    ):
        unfilled = np.full(grid.count, whole if kept is None else kept)
        for job, _, held_s in members:
            unfilled[: grid.slots_until(held_s)] -= getattr(job.resources, what)
        unfilled = np.maximum(unfilled[touched], 0)
        if own is not None:
            free[own, touched] = np.clip(free[row, touched], 0, unfilled)
        free[row, touched] -= unfilled


def _members_row(snapshot: Snapshot, row: int, one: Reservation) -> int | None:
    if not one.has_members:
        return None
    key = snapshot.rows[row].key
    return next(i for i, part in enumerate(snapshot.rows) if part.of == key and part.reservation == one.number)


def _rows(one: Reservation, snapshot: Snapshot) -> Iterator[int]:
    """The rows of the pools that it lies in, and their twins."""
    rows = snapshot.rows or tuple(Row(view.site.name, view.site.name, "") for view in snapshot.sites)
    return (i for i, row in enumerate(rows) if row.reservation is None and one.covers(row.site, row.pool))


def _span(one: Reservation, grid: SlotGrid) -> Span | None:
    """Its time ahead; None where it has ended or begins beyond the grid."""
    end_s = float(grid.edges_s[-1])
    start_s = max(0.0, (one.start_at - grid.now).total_seconds())
    if one.end_at is not None:
        end_s = min(end_s, (one.end_at - grid.now).total_seconds())
    return (start_s, end_s) if end_s > start_s + EPSILON_S else None
