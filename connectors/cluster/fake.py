"""A cluster in memory that keeps the port's promises on a clock of the caller's: for tests and simulated time.

What its submissions do is scripted. The same conformance suite holds it and a real Ray to their words, so
that what is learnt on it can be believed. Besides, it can misbehave on demand as real clusters were seen to.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass

from lowtide.connectors.cluster.logtail import end_of_log
from lowtide.scheduler.model.cluster import (
    ClusterCapacity,
    ClusterIdentity,
    ClusterJob,
    ClusterJobStatus,
    Submission,
    SubmitOutcome,
)
from lowtide.scheduler.model.errors import BadInput, ClusterFailure, ClusterFailureKind

ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
FENCE = "lowtide_fence"
MESSAGE_CAP = 2000
PACKAGE_FAILED = "RUNTIME_ENV_SETUP_FAILURE"
COMMAND_FAILED = "JOB_ENTRYPOINT_COMMAND_ERROR"


@dataclass(frozen=True, slots=True)
class Script:
    """What a submission does: seconds until it starts, from then to its end (None: never), and what it leaves.

    ``stops_in_s`` is how long it takes to end once it is asked to; longer than its grace, it is killed then.
    """

    starts_in_s: float = 0.0
    ends_in_s: float | None = 0.0
    exit_code: int = 0
    output: str = ""
    stops_in_s: float = 0.0


@dataclass(slots=True)
class _Run:
    """One submission and what has become of it; times in seconds of the injected clock."""

    order: Submission
    script: Script
    submitted_s: float
    status: ClusterJobStatus = ClusterJobStatus.PENDING
    error_type: str | None = None
    exit_code: int | None = None
    end_s: float | None = None
    stop_asked: bool = False

    @property
    def holds(self) -> tuple[int, int]:
        """GPUs and CPUs it holds while it runs; what asks for neither is given one CPU."""
        gpus = self.order.num_gpus
        return gpus, self.order.num_cpus or int(not gpus)

    def start(self, moment_s: float) -> None:
        self.status = ClusterJobStatus.RUNNING
        if self.script.ends_in_s is not None:
            self.end_s = moment_s + self.script.ends_in_s
        if self.stop_asked:  # a stop that came while it waited takes hold only now
            self.ask_to_stop(moment_s)

    def ask_to_stop(self, moment_s: float) -> None:
        self.stop_asked = True
        if self.status == ClusterJobStatus.RUNNING:
            self.end_s = moment_s + min(self.script.stops_in_s, max(1.0, self.order.grace_s))

    def end(self) -> None:
        if self.stop_asked:
            self.status = ClusterJobStatus.STOPPED
            return
        self.exit_code = self.script.exit_code
        failed = self.exit_code != 0
        self.status = ClusterJobStatus.FAILED if failed else ClusterJobStatus.SUCCEEDED
        self.error_type = COMMAND_FAILED if failed else None


class SimulatedCluster:
    """One simulated cluster. ``now_s`` is its clock, ``script`` decides what each submission does."""

    def __init__(
        self,
        now_s: Callable[[], float],
        *,
        gpus: int = 2,
        cpus: int = 8,
        script: Callable[[Submission], Script] = lambda _: Script(),
        cluster_id: str = "simulated-1",
    ) -> None:
        """Take the clock in seconds, the capacity and the scripts."""
        self._now_s, self._script = now_s, script
        self._gpus, self._cpus, self._cluster_id = gpus, cpus, cluster_id
        self._runs: dict[str, _Run] = {}
        self._packages: set[str] = set()
        self._fault: ClusterFailure | None = None
        self._lose_answer = False
        self._freed_s = float("-inf")
        """When room was last made: what has waited starts then."""

    # ---- misbehaviour on demand ----

    def fail_with(self, kind: ClusterFailureKind | None) -> None:
        """Let every call fail so until further notice; None: answer again. Submissions run on meanwhile."""
        self._fault = ClusterFailure(kind, f"The simulated cluster answers {kind.value}.") if kind else None

    def lose_next_answer(self) -> None:
        """Take the next submission and then break off, so that the caller cannot know."""
        self._lose_answer = True

    def lose(self, submission_id: str) -> None:
        """Forget one submission."""
        del self._runs[submission_id]

    def restart(self, cluster_id: str) -> None:
        """Come back as a new incarnation that has forgotten all submissions and packages."""
        self._cluster_id = cluster_id
        self._runs.clear()
        self._packages.clear()

    # ---- the port ----

    async def identity(self) -> ClusterIdentity:
        """The incarnation and the version."""
        self._answer()
        return ClusterIdentity(self._cluster_id, "simulated")

    async def health(self) -> None:
        """Return unless told to misbehave."""
        self._answer()

    async def capacity(self) -> ClusterCapacity:
        """Totals and use, without a real cluster's lag."""
        self._answer()
        gpus, cpus = self._used()
        return ClusterCapacity(float(self._gpus), float(self._cpus), float(gpus), float(cpus))

    async def submit(self, submission: Submission) -> SubmitOutcome:
        """Submit under the given id; safe to repeat."""
        _check_id(submission.submission_id)
        self._answer()
        known = self._runs.get(submission.submission_id)
        if known is not None:
            fence = submission.metadata.get(FENCE)
            ours = fence is not None and known.order.metadata.get(FENCE) == fence
            return SubmitOutcome.ALREADY_OURS if ours else SubmitOutcome.ALREADY_FOREIGN
        run = _Run(submission, self._script(submission), self._now_s())
        if not self._packages.issuperset(_packages(submission)):
            run.status, run.error_type = ClusterJobStatus.FAILED, PACKAGE_FAILED
        self._runs[submission.submission_id] = run
        if self._lose_answer:
            self._lose_answer = False
            raise ClusterFailure(ClusterFailureKind.UNREACHABLE, "The simulated cluster broke off.")
        return SubmitOutcome.ACCEPTED

    async def get(self, submission_id: str) -> ClusterJob:
        """The state of one submission; status ``missing`` when it is not known."""
        _check_id(submission_id)
        self._answer()
        run = self._runs.get(submission_id)
        return _told(run) if run else ClusterJob(submission_id, ClusterJobStatus.MISSING)

    async def list_jobs(self) -> tuple[ClusterJob, ...]:
        """All submissions, oldest first."""
        self._answer()
        return tuple(_told(run) for run in self._runs.values())

    async def stop(self, submission_id: str) -> bool:
        """Ask it to stop; False when it had ended. One that waits stops once it starts, as on Ray."""
        _check_id(submission_id)
        self._answer()
        run = self._runs.get(submission_id)
        if run is None or not _is_open(run):
            return False
        if not run.stop_asked:
            run.ask_to_stop(self._now_s())
        return True

    async def log_tail(self, submission_id: str, *, max_bytes: int, lines: int) -> str:
        """The end of its output; '' before it starts."""
        _check_id(submission_id)
        self._answer()
        run = self._runs.get(submission_id)
        if run is None or run.status == ClusterJobStatus.PENDING or run.error_type == PACKAGE_FAILED:
            return ""
        last = end_of_log(run.script.output, lines)
        return last.encode()[-max_bytes:].decode(errors="replace")

    async def delete(self, submission_id: str) -> None:
        """Forget an ended submission; an unknown one is no error.

        Raises:
            ClusterFailure: it has not ended (``refused``).

        """
        _check_id(submission_id)
        self._answer()
        run = self._runs.get(submission_id)
        if run is not None and _is_open(run):
            message = f"The simulated cluster did not delete {submission_id}: it has not ended."
            raise ClusterFailure(ClusterFailureKind.REFUSED, message)
        self._runs.pop(submission_id, None)

    async def upload(self, content: bytes) -> str:
        """Keep a zip; its URI follows from its bytes."""
        self._answer()
        uri = f"gcs://_ray_pkg_{hashlib.sha256(content).hexdigest()[:16]}.zip"
        self._packages.add(uri)
        return uri

    async def close(self) -> None:
        """Nothing is held open."""

    # ---- time ----

    def _answer(self) -> None:
        """Let pass what has happened up to now, then fail if told to."""
        self._catch_up()
        if self._fault is not None:
            raise self._fault

    def _catch_up(self) -> None:
        """Starts and ends up to now in the order of time: an end frees room at its own moment, not now."""
        now_s = self._now_s()
        while (event := self._next_event()) is not None and event[0] <= now_s:
            moment_s, run = event
            if run.status == ClusterJobStatus.RUNNING:
                run.end()
                self._freed_s = moment_s
            else:
                run.start(moment_s)

    def _next_event(self) -> tuple[float, _Run] | None:
        """The earliest end, or start of one that fits; an end goes first where both fall together."""
        gpus, cpus = self._used()
        events: list[tuple[float, int, _Run]] = []
        for run in self._runs.values():
            if run.status == ClusterJobStatus.RUNNING and run.end_s is not None:
                events.append((run.end_s, 0, run))
            fits = gpus + run.holds[0] <= self._gpus and cpus + run.holds[1] <= self._cpus
            if run.status == ClusterJobStatus.PENDING and fits:
                ready_s = run.submitted_s + run.script.starts_in_s
                waited = ready_s < self._freed_s
                events.append((self._freed_s if waited else ready_s, 1, run))
        if not events:
            return None
        moment_s, _, run = min(events, key=lambda event: event[:2])
        return moment_s, run

    def _used(self) -> tuple[int, int]:
        held = [run.holds for run in self._runs.values() if run.status == ClusterJobStatus.RUNNING]
        return sum(gpus for gpus, _ in held), sum(cpus for _, cpus in held)


def _told(run: _Run) -> ClusterJob:
    ended_badly = run.error_type == COMMAND_FAILED
    return ClusterJob(
        submission_id=run.order.submission_id,
        status=run.status,
        exit_code=run.exit_code,
        error_type=run.error_type,
        message=run.script.output[-MESSAGE_CAP:] if ended_badly else "",
        metadata=dict(run.order.metadata),
        node_id=None if run.status == ClusterJobStatus.PENDING else "simulated-node",
    )


def _is_open(run: _Run) -> bool:
    return run.status in {ClusterJobStatus.PENDING, ClusterJobStatus.RUNNING}


def _packages(submission: Submission) -> set[str]:
    own = {submission.working_dir_uri} if submission.working_dir_uri else set()
    return {*submission.py_module_uris, *own}


def _check_id(submission_id: str) -> None:
    if not ID.fullmatch(submission_id):
        message = f"the submission id {submission_id[:80]!r} may only hold letters, digits, '-' and '_'."
        raise BadInput(message, fix="Use 1 to 100 of these characters.")
