"""Jobs that have had all the run time that their submitter gave them; nothing else ends a job that runs over."""

from lowtide.scheduler.model.job import JobId
from lowtide.scheduler.model.lifecycle import JobState
from lowtide.scheduler.model.plan import Snapshot


def overdue(snapshot: Snapshot) -> tuple[JobId, ...]:
    """The running jobs of a snapshot that are at their limit."""
    running = (view for view in snapshot.jobs if view.state is JobState.RUNNING)
    return tuple(view.job_id for view in running if view.limit_left_s is not None and view.limit_left_s <= 0)
