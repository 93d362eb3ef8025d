"""Work that nobody goes before keeps its place: who pauses for it must also fit beside it without a pause.

A running job is taken to go on until its end, whatever an earlier plan had in mind for it. So a stretch that lies
before such work is begun only where all that is left of the job would fit in one piece.
"""

from collections.abc import Collection

from lowtide.policies.holding import sell, ways
from lowtide.policies.problem import EPSILON_S, Choice, Placement, Request
from lowtide.policies.timeline import Timeline
from lowtide.scheduler.decide.market import LIVE
from lowtide.scheduler.decide.urgency import is_clinical
from lowtide.scheduler.model.plan import Snapshot


class Foremost:
    """What live attempts and foremost work that waits hold; no copy is made before there is such work."""

    __slots__ = ("_bare", "_timeline")

    def __init__(self, timeline: Timeline, *, is_kept: bool) -> None:
        """Take what live attempts and kept placements leave; ``is_kept``: whether foremost work is among these."""
        self._bare = timeline
        self._timeline: Timeline | None = timeline.copy() if is_kept else None

    def add(self, request: Request, choice: Choice) -> None:
        """Note where foremost work will run, if it has to wait for that."""
        placed = choice.chosen
        if request.is_foremost and placed is not None and placed.start_s > EPSILON_S:
            if self._timeline is None:
                self._timeline = self._bare.copy()
            sell(self._timeline, request, placed)

    def allows(self, request: Request, placed: Placement | None) -> bool:
        """Whether a job could go on after the beginning of each stretch and still be in nobody's way."""
        timeline = self._timeline
        if timeline is None or placed is None or len(placed.spans) == 1:
            return True
        if request.running_at is None:
            return _fits_whole(timeline, request, placed)
        held = ((0.0, request.work_s),)
        timeline.give_back(request.running_at, held, *request.need)
        found = _fits_whole(timeline, request, placed)
        timeline.sell(request.running_at, held, *request.need)
        return found


def is_any_kept(snapshot: Snapshot, decisions: Collection[str]) -> bool:
    """Whether foremost work waits that is not asked about."""
    if snapshot.asked is None:
        return False
    foremost = (one for one in snapshot.jobs if one.forced or is_clinical(one, snapshot.queues.get(one.queue)))
    return any(view.job_id in decisions and view.state not in LIVE for view in foremost)


def _fits_whole(timeline: Timeline, request: Request, placed: Placement) -> bool:
    rest_s = 0.0
    for (start_s, end_s), way in reversed(tuple(zip(placed.spans, ways(request, placed), strict=True))):
        rest_s += (end_s - start_s) * way.speed
        to_its_end = ((start_s, start_s + rest_s / way.speed),)  # an attempt keeps its width
        if not timeline.fits(placed.site, to_its_end, way.gpus, way.cpus, way.power_w):
            return False
    return True
