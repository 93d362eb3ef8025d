"""What waits for what in a trace: in which order it can run, and how early and how late at most; pure."""

from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from lowtide.scheduler.model.errors import BadInput
from lowtide.scheduler.simulate.trace import TraceJob


def in_turn(jobs: Sequence[TraceJob], name: str = "the trace") -> list[TraceJob]:
    """The jobs, each after those that it waits for.

    Raises:
        BadInput: one waits for a job that there is not, or several wait in a circle.

    """
    known = {job.job_id: job for job in jobs}
    for job in jobs:
        for before in job.depends_on:
            if before not in known:
                message = f"{name}: job {job.job_id!r} waits for {before!r}, which is not in it."
                raise BadInput(message, fix="Correct depends_on: job_ids with spaces between.")
    try:
        order = list(TopologicalSorter({job.job_id: job.depends_on for job in jobs}).static_order())
    except CycleError as error:
        circle = ", ".join(error.args[1])
        raise BadInput(f"{name}: jobs wait in a circle: {circle}.", fix="Take one of them out of depends_on.") from None
    return [known[job_id] for job_id in order]


def without_strangers(jobs: Sequence[TraceJob]) -> tuple[TraceJob, ...]:
    """The jobs without what they wait for that is not among them."""
    known = {job.job_id for job in jobs}
    if all(known.issuperset(job.depends_on) for job in jobs):
        return tuple(jobs)
    return tuple(job.bound_to(known) for job in jobs)


def earliest_s(jobs: Sequence[TraceJob]) -> Mapping[str, float]:
    """When each could begin if nothing was ever delayed, in seconds after the trace's start."""
    begins: dict[str, float] = {}
    ends: dict[str, float] = {}
    for job in _turns(jobs):
        begins[job.job_id] = max([job.submit_s, *(ends[before] for before in job.depends_on)])
        ends[job.job_id] = begins[job.job_id] + job.duration_s
    return begins


def latest_s(jobs: Sequence[TraceJob], own_s: Mapping[str, float]) -> Mapping[str, float]:
    """When each may end at most, given when it may if it waits for nothing; a deadline stands as it is."""
    found: dict[str, float] = {}
    for job in _turns(jobs):
        late_s = 0.0
        if job.depends_on and job.deadline_s is None:
            late_s = max(0.0, max(found[before] for before in job.depends_on) - job.submit_s)
        found[job.job_id] = own_s[job.job_id] + late_s
    return found


def _turns(jobs: Sequence[TraceJob]) -> Sequence[TraceJob]:
    return in_turn(jobs) if any(job.depends_on for job in jobs) else jobs
