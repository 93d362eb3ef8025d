"""What the end of an attempt means: every kind of evidence, and what follows for the job."""

import pytest

from lowtide.scheduler.control.outcome import ExitRecord, judge
from lowtide.scheduler.model.cluster import ClusterJob, ClusterJobStatus
from lowtide.scheduler.model.lifecycle import AttemptState, JobState
from lowtide.scheduler.model.reason import ReasonCode


def a_status(status: str, error_type: str | None = None, exit_code: int | None = None) -> ClusterJob:
    return ClusterJob("mri-a1", ClusterJobStatus(status), exit_code=exit_code, error_type=error_type)


def a_record(
    *,
    exit_code: int | None = 0,
    signal: int | None = None,
    suspended: bool = False,
    asked: bool = False,
    **more: bool,
) -> ExitRecord:
    seq = 4 if suspended else None
    return ExitRecord(exit_code, signal, suspended, asked, checkpoint_seq=seq, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("status", ["pending", "running", "missing"])
def test_nothing_is_said_of_an_attempt_that_may_still_live(status: str) -> None:
    assert judge(a_status(status), a_record(), None) is None


def test_a_checkpoint_receipt_makes_a_stop_a_suspension() -> None:
    verdict = judge(a_status("stopped"), a_record(suspended=True, asked=True), "suspend")
    assert verdict is not None
    assert (verdict.attempt, verdict.job) == (AttemptState.STOPPED, JobState.SUSPENDED)
    assert (verdict.reason.code, verdict.checkpoint_seq, verdict.dirty) == (ReasonCode.CHECKPOINTED, 4, False)


@pytest.mark.parametrize("record", [a_record(asked=False), a_record(asked=True, finished=True)])
def test_a_job_that_completed_while_it_was_being_stopped_has_succeeded(record: ExitRecord) -> None:
    verdict = judge(a_status("stopped"), record, "suspend")
    assert verdict is not None
    assert verdict.job == JobState.SUCCEEDED


def test_inv06_a_program_that_exits_with_0_because_it_was_asked_to_is_suspended_and_not_done() -> None:
    verdict = judge(a_status("stopped"), a_record(asked=True), "suspend")
    assert verdict is not None
    assert (verdict.attempt, verdict.job, verdict.dirty) == (AttemptState.STOPPED, JobState.SUSPENDED, False)
    assert verdict.reason.code == ReasonCode.STOPPED_BY_ITSELF


def test_a_program_that_left_at_a_stop_from_outside_is_tried_again() -> None:
    verdict = judge(a_status("stopped"), a_record(asked=True), None)
    assert verdict is not None
    assert (verdict.attempt, verdict.job) == (AttemptState.STOPPED, None)


@pytest.mark.parametrize("intent", [None, "suspend", "cancel"])
def test_inv02_a_runner_that_lost_its_lease_and_says_so_is_proof_enough(intent: str | None) -> None:
    record = a_record(exit_code=None, signal=9, lease_lost=True)
    verdict = judge(a_status("failed", "JOB_SUPERVISOR_ACTOR_DIED"), record, intent)
    assert verdict is not None
    assert (verdict.attempt, verdict.job, verdict.needs_proof) == (AttemptState.LOST, None, False)


@pytest.mark.parametrize("record", [None, a_record(exit_code=None, signal=15, asked=True)])
def test_inv06_a_stop_without_a_receipt_is_dirty(record: ExitRecord | None) -> None:
    verdict = judge(a_status("stopped"), record, "suspend")
    assert verdict is not None
    assert verdict.dirty
    assert verdict.reason.code == ReasonCode.DIRTY_STOP


def test_a_stop_that_nobody_here_asked_for_is_the_sites_failure() -> None:
    verdict = judge(a_status("stopped"), None, None)
    assert verdict is not None
    assert verdict.job is None


@pytest.mark.parametrize(("code", "reason"), [(3, ReasonCode.EXIT_CODE), (-9, ReasonCode.KILLED)])
def test_a_program_that_failed_fails_its_job(code: int, reason: ReasonCode) -> None:
    verdict = judge(a_status("failed", "JOB_ENTRYPOINT_COMMAND_ERROR", code), None, None)
    assert verdict is not None
    assert (verdict.job, verdict.reason.code) == (JobState.FAILED, reason)


def test_the_runners_exit_code_wins_over_rays_silence() -> None:
    verdict = judge(a_status("failed", "JOB_ENTRYPOINT_COMMAND_ERROR"), a_record(exit_code=7), None)
    assert verdict is not None
    assert verdict.exit_code == 7


@pytest.mark.parametrize(
    ("error", "needs_proof"),
    [("JOB_SUPERVISOR_ACTOR_DIED", True), ("SOMETHING_NEW", True), ("RUNTIME_ENV_SETUP_FAILURE", False)],
)
def test_inv02_a_dead_supervisor_is_no_proof_that_the_process_is_gone(error: str, *, needs_proof: bool) -> None:
    verdict = judge(a_status("failed", error), None, None)
    assert verdict is not None
    assert (verdict.attempt, verdict.job, verdict.needs_proof) == (AttemptState.LOST, None, needs_proof)


def test_a_success_without_a_record_is_a_success() -> None:
    verdict = judge(a_status("succeeded"), None, None)
    assert verdict is not None
    assert (verdict.attempt, verdict.job) == (AttemptState.SUCCEEDED, JobState.SUCCEEDED)
