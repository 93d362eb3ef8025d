"""Jobs that have had all the run time that their submitter gave them; nothing else ends a job that runs over."""

from collections.abc import Mapping
from datetime import datetime

from lowtide.scheduler.model.job import JobId
from lowtide.scheduler.model.lifecycle import JobState
from lowtide.scheduler.model.plan import JobView, Snapshot


def overdue(snapshot: Snapshot, seen_at: Mapping[str, datetime]) -> tuple[JobId, ...]:
    """The running jobs of a snapshot that were seen to run at their limit.

    Args:
        snapshot: the jobs.
        seen_at: when each was last seen to run. One that nobody has looked at since, as its site does not answer or
            the daemon was away, may have ended in time.

    """
    running = (view for view in snapshot.jobs if view.state is JobState.RUNNING and view.job_id in seen_at)
    return tuple(view.job_id for view in running if _was_over(view, snapshot.now, seen_at[view.job_id]))


def _was_over(view: JobView, now: datetime, seen_at: datetime) -> bool:
    return view.limit_left_s is not None and view.limit_left_s + (now - seen_at).total_seconds() <= 0
