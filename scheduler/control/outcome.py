"""What the end of an attempt means for its job: pure, from the evidence to one verdict.

Ray is evidence, the exit record of our runner is better evidence, and neither is proof that a process is
gone when the supervisor died. ``judge`` returns None while nothing can be said.

A program that exits with 0 after it was asked to stop may have saved its state and left, or have come to its
end: without a receipt it is believed to have completed only where the checkpoint helper says so. Elsewhere
its job is suspended, and it completes when it is resumed.
"""

from dataclasses import dataclass, field

from lowtide.scheduler.model.cluster import ClusterJob, ClusterJobStatus
from lowtide.scheduler.model.lifecycle import AttemptState, JobState
from lowtide.scheduler.model.reason import Reason, ReasonCode

COMMAND_ERROR = "JOB_ENTRYPOINT_COMMAND_ERROR"
NEVER_RAN = frozenset({"RUNTIME_ENV_SETUP_FAILURE", "JOB_SUPERVISOR_ACTOR_START_TIMEOUT"})
"""Errors of Ray after which no process of the job can exist: its entrypoint was never started."""
LEASE_LOST = "its runner could not reach the head of its cluster any more and ended it"


@dataclass(frozen=True, slots=True)
class ExitRecord:
    """What the runner wrote when the user's program had ended; the words are ``record.Ended``'s."""

    exit_code: int | None
    signal: int | None
    suspended: bool
    asked_to_stop: bool
    checkpoint_seq: int | None = None
    results: dict[str, float] = field(default_factory=dict)
    finished: bool = False
    lease_lost: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an attempt ended and where its job goes; ``job`` None means the site failed, not the job."""

    attempt: AttemptState
    job: JobState | None
    reason: Reason
    exit_code: int | None = None
    checkpoint_seq: int | None = None
    results: dict[str, float] = field(default_factory=dict)
    dirty: bool = False
    needs_proof: bool = False


def judge(status: ClusterJob, record: ExitRecord | None, stop_intent: str | None) -> Verdict | None:
    """The verdict on an attempt, or None while it lives or nothing is known.

    Args:
        status: what the cluster says now.
        record: the runner's exit record, if it was found in the log.
        stop_intent: ``suspend``, ``cancel`` or None: what was asked before.

    """
    if status.status in {ClusterJobStatus.PENDING, ClusterJobStatus.RUNNING, ClusterJobStatus.MISSING}:
        return None
    if record is not None:
        return _by_record(status, record, stop_intent)
    if status.status == ClusterJobStatus.SUCCEEDED:
        return Verdict(AttemptState.SUCCEEDED, JobState.SUCCEEDED, Reason(ReasonCode.COMPLETED), exit_code=0)
    if status.status == ClusterJobStatus.STOPPED:
        return _stopped_without_record(stop_intent)
    return _failed_without_record(status)


def _by_record(status: ClusterJob, record: ExitRecord, stop_intent: str | None) -> Verdict:
    common = {"checkpoint_seq": record.checkpoint_seq, "results": record.results}
    if record.suspended:
        reason = Reason(ReasonCode.CHECKPOINTED, {"seq": record.checkpoint_seq})
        return Verdict(AttemptState.STOPPED, JobState.SUSPENDED, reason, **common)  # type: ignore[arg-type]
    if record.lease_lost:
        reason = Reason(ReasonCode.SITE_FAILED, {"error": LEASE_LOST})
        return Verdict(AttemptState.LOST, None, reason, **common)  # type: ignore[arg-type]
    if record.exit_code == 0 and (record.finished or not record.asked_to_stop):
        reason = Reason(ReasonCode.COMPLETED)
        return Verdict(AttemptState.SUCCEEDED, JobState.SUCCEEDED, reason, 0, **common)  # type: ignore[arg-type]
    if record.exit_code == 0 and stop_intent:
        reason = Reason(ReasonCode.STOPPED_BY_ITSELF)
        return Verdict(AttemptState.STOPPED, JobState.SUSPENDED, reason, 0, **common)  # type: ignore[arg-type]
    if stop_intent or record.asked_to_stop:
        return _dirty(stop_intent, record)
    return _failed(status, record)


def _failed(status: ClusterJob, record: ExitRecord) -> Verdict:
    reason = Reason(ReasonCode.EXIT_CODE, {"exit_code": record.exit_code})
    if record.signal is not None:
        reason = Reason(ReasonCode.KILLED, {"signal": record.signal})
    code = record.exit_code if record.exit_code is not None else status.exit_code
    return Verdict(AttemptState.FAILED, JobState.FAILED, reason, code, record.checkpoint_seq, dict(record.results))


def _dirty(stop_intent: str | None, record: ExitRecord | None) -> Verdict:
    """A stop without a receipt is a dirty stop; without our asking it is somebody else's doing."""
    seq = record.checkpoint_seq if record else None
    if stop_intent is None:
        reason = Reason(ReasonCode.SITE_FAILED, {"error": "stopped from outside lowtide"})
        return Verdict(AttemptState.STOPPED, None, reason, checkpoint_seq=seq)
    reason = Reason(ReasonCode.DIRTY_STOP)
    return Verdict(AttemptState.STOPPED, JobState.SUSPENDED, reason, checkpoint_seq=seq, dirty=True)


def _stopped_without_record(stop_intent: str | None) -> Verdict:
    return _dirty(stop_intent, None)


def _failed_without_record(status: ClusterJob) -> Verdict:
    error = f"{status.error_type or 'unknown error'}: {status.message[:300]}"
    if status.error_type == COMMAND_ERROR:
        code = status.exit_code
        reason = Reason(ReasonCode.EXIT_CODE, {"exit_code": code})
        if code is not None and code < 0:
            reason = Reason(ReasonCode.KILLED, {"signal": -code})
        return Verdict(AttemptState.FAILED, JobState.FAILED, reason, code)
    reason = Reason(ReasonCode.SITE_FAILED, {"error": error})
    return Verdict(AttemptState.LOST, None, reason, needs_proof=status.error_type not in NEVER_RAN)
