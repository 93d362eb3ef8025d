"""What may happen to a job and to an attempt: one enum and one transition table each.

The SQL triggers, the diagram in docs/architecture.md and the checks in the applier are all generated
from or tested against the two tables below (INV-03).
"""

from enum import StrEnum

from lowtide.scheduler.model.errors import InvalidTransition


class JobState(StrEnum):
    """Where a job stands. Deferred is not a state: a queued job carries a reason instead."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    SUSPENDING = "suspending"
    SUSPENDED = "suspended"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing can happen to the job any more."""
        return self in TERMINAL_JOB_STATES


class AttemptState(StrEnum):
    """Where one execution stands. ``unknown``: the site cannot be asked, or the submission vanished."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    UNKNOWN = "unknown"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"
    LOST = "lost"

    @property
    def is_live(self) -> bool:
        """Whether a process may exist; a live attempt holds its GPUs and bars a second one (INV-02)."""
        return self in LIVE_ATTEMPT_STATES


TERMINAL_JOB_STATES = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})
WAITING_JOB_STATES = frozenset({JobState.QUEUED, JobState.SUSPENDED})
LIVE_ATTEMPT_STATES = frozenset(
    {AttemptState.STARTING, AttemptState.RUNNING, AttemptState.STOPPING, AttemptState.UNKNOWN}
)

JOB_TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.STARTING, JobState.CANCELLED}),
    JobState.STARTING: frozenset(
        {
            JobState.RUNNING,
            JobState.SUSPENDING,
            JobState.SUCCEEDED,  # finished between two polls
            JobState.FAILED,
            JobState.CANCELLED,
            JobState.QUEUED,  # the site failed, not the job
        }
    ),
    JobState.RUNNING: frozenset(
        {
            JobState.SUSPENDING,
            JobState.SUCCEEDED,
            JobState.FAILED,
            JobState.CANCELLED,
            JobState.QUEUED,
        }
    ),
    JobState.SUSPENDING: frozenset(
        {
            JobState.SUSPENDED,
            JobState.SUCCEEDED,  # it finished before the stop reached it
            JobState.FAILED,
            JobState.CANCELLED,
            JobState.QUEUED,
        }
    ),
    JobState.SUSPENDED: frozenset({JobState.STARTING, JobState.CANCELLED}),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}

_ENDS = {AttemptState.SUCCEEDED, AttemptState.FAILED, AttemptState.STOPPED, AttemptState.LOST}

ATTEMPT_TRANSITIONS: dict[AttemptState, frozenset[AttemptState]] = {
    AttemptState.STARTING: frozenset({AttemptState.RUNNING, AttemptState.STOPPING, AttemptState.UNKNOWN, *_ENDS}),
    AttemptState.RUNNING: frozenset({AttemptState.STOPPING, AttemptState.UNKNOWN, *_ENDS}),
    AttemptState.STOPPING: frozenset({AttemptState.UNKNOWN, *_ENDS}),
    AttemptState.UNKNOWN: frozenset({AttemptState.RUNNING, AttemptState.STOPPING, *_ENDS}),
    AttemptState.SUCCEEDED: frozenset(),
    AttemptState.FAILED: frozenset(),
    AttemptState.STOPPED: frozenset(),
    AttemptState.LOST: frozenset(),
}


def check_job_transition(job_id: str, source: JobState, target: JobState, story: tuple[str, ...] = ()) -> None:
    """Raise InvalidTransition, with the job's story, unless the table allows the change."""
    if target not in JOB_TRANSITIONS[source]:
        raise InvalidTransition(f"job {job_id}", source, target, story)


def check_attempt_transition(
    attempt_id: str, source: AttemptState, target: AttemptState, story: tuple[str, ...] = ()
) -> None:
    """Raise InvalidTransition unless the table allows the change."""
    if target not in ATTEMPT_TRANSITIONS[source]:
        raise InvalidTransition(f"attempt {attempt_id}", source, target, story)
