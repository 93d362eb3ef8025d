"""The port to a cluster that runs attempts: what may be asked of it, and the values it answers with."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class ClusterJobStatus(StrEnum):
    """What a cluster says of a submission; ``missing``: it does not know the id."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"
    MISSING = "missing"


class SubmitOutcome(StrEnum):
    """How a submission ended; an id that exists with our fence is our own earlier call."""

    ACCEPTED = "accepted"
    ALREADY_OURS = "already_ours"
    ALREADY_FOREIGN = "already_foreign"


@dataclass(frozen=True, slots=True)
class ClusterJob:
    """A submission as the cluster describes it; ``message`` is cut to 2 kB."""

    submission_id: str
    status: ClusterJobStatus
    exit_code: int | None = None
    error_type: str | None = None
    message: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    node_id: str | None = None


@dataclass(frozen=True, slots=True)
class ClusterIdentity:
    """Which incarnation of a cluster answers; a new id means that all earlier submissions are forgotten."""

    cluster_id: str
    ray_version: str


@dataclass(frozen=True, slots=True)
class ClusterCapacity:
    """Totals as the cluster reports them; a cross-check only, it lags by seconds."""

    gpus_total: float
    cpus_total: float
    gpus_used: float
    cpus_used: float


@dataclass(frozen=True, slots=True)
class Submission:
    """One attempt as it is handed to a cluster. ``argv`` travels in ``env`` and never meets a shell.

    ``node_resource`` is had by the nodes that may run it, one of it or more; empty for any node.
    """

    submission_id: str
    argv: tuple[str, ...]
    env: dict[str, str]
    num_cpus: int
    num_gpus: int
    memory_bytes: int | None = None
    working_dir_uri: str | None = None
    py_module_uris: tuple[str, ...] = ()
    runtime_env: dict[str, object] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    grace_s: float = 30.0
    node_resource: str = ""


class Cluster(Protocol):
    """One cluster. Every method raises ClusterFailure when there is no usable answer."""

    async def identity(self) -> ClusterIdentity:
        """The incarnation and the version."""

    async def health(self) -> None:
        """Return when the cluster can take a submission now; raise otherwise."""

    async def capacity(self) -> ClusterCapacity:
        """Totals and use."""

    async def submit(self, submission: Submission) -> SubmitOutcome:
        """Submit under the given id; safe to repeat."""

    async def get(self, submission_id: str) -> ClusterJob:
        """The state of one submission; status ``missing`` when the cluster does not know it."""

    async def list_jobs(self) -> tuple[ClusterJob, ...]:
        """All submissions that the cluster knows."""

    async def stop(self, submission_id: str) -> bool:
        """Ask it to stop; False when it had ended, soon after that if not at once."""

    async def log_tail(self, submission_id: str, *, max_bytes: int, lines: int) -> str:
        """The end of its log; '' when there is none yet."""

    async def delete(self, submission_id: str) -> None:
        """Forget an ended submission."""

    async def upload(self, content: bytes) -> str:
        """Make a zip available to submissions; returns its URI. Safe and cheap to repeat."""

    async def close(self) -> None:
        """Give connections back."""
