"""Every error that lowtide raises on purpose, in one tree.

::

    LowtideError
    ├── BadInput             what the user sent cannot be taken                    exit 2  HTTP 422
    │   ├── TooLarge         more bytes than the documented limit                  exit 2  HTTP 413
    │   └── Infeasible       well formed, but no site could ever run it            exit 3  HTTP 422
    ├── NotFound             no such job, site, queue or zone                      exit 2  HTTP 404
    ├── Conflict             the object is not in a state that allows this         exit 3  HTTP 409
    │   └── InvalidTransition  carries the job's story                             exit 3  HTTP 409
    ├── Unauthorized         no token, or a wrong one                              exit 3  HTTP 401
    ├── Unreachable          the daemon does not answer                            exit 4  HTTP 503
    ├── StoreFailure         the database refused (disk full, read-only, locked)   exit 1  HTTP 503
    ├── StartFailure         the daemon cannot start (port or data directory used) exit 1  HTTP 503
    ├── GridFailure          a grid source gave no usable answer                   exit 1  HTTP 503
    └── ClusterFailure       a Ray cluster gave no usable answer                   exit 1  HTTP 503

Each class has one RFC 9457 problem type (``slug``), one HTTP status and one CLI exit code. A message
says what was wrong, what was expected and what to do.
"""

from datetime import datetime
from enum import StrEnum


class LowtideError(Exception):
    """Root of the tree; never raised itself."""

    slug = "internal"
    title = "Internal error"
    status = 500
    exit_code = 1

    def __init__(self, message: str, *, fix: str = "", details: dict[str, object] | None = None) -> None:
        """Take what was wrong and expected (``message``) and what to do (``fix``)."""
        super().__init__(message)
        self.message = message
        self.fix = fix
        self.details = details or {}

    def __str__(self) -> str:
        """The message and, when there is one, the fix."""
        return f"{self.message} {self.fix}".strip()


class BadInput(LowtideError):
    """What was sent cannot be taken; ``details['errors']`` may list fields."""

    slug, title, status, exit_code = "bad-input", "Input not understood", 422, 2


class TooLarge(BadInput):
    """More bytes than the documented limit."""

    slug, title, status = "too-large", "Input too large", 413


class Infeasible(BadInput):
    """Well formed, but no configured site could ever run it."""

    slug, title, exit_code = "infeasible", "No site can run this", 3


class NotFound(LowtideError):
    """No such object."""

    slug, title, status, exit_code = "not-found", "Not found", 404, 2


class Conflict(LowtideError):
    """The object is not in a state that allows this."""

    slug, title, status, exit_code = "conflict", "Not possible in this state", 409, 3


class InvalidTransition(Conflict):
    """A state change that the transition table does not have; carries the job's story so far."""

    slug, title = "invalid-transition", "Illegal state change"

    def __init__(self, object_id: str, source: str, target: str, story: tuple[str, ...] = ()) -> None:
        """Take the object, the two states and the events that led here, oldest first."""
        told = "; ".join(story) if story else "no events recorded"
        super().__init__(f"{object_id} cannot go from {source} to {target}. Its story: {told}.")
        self.object_id, self.source, self.target, self.story = object_id, source, target, story


class Unauthorized(LowtideError):
    """No token, or a wrong one."""

    slug, title, status, exit_code = "unauthorized", "Not authorised", 401, 3


class Unreachable(LowtideError):
    """The daemon does not answer."""

    slug, title, status, exit_code = "unreachable", "Daemon not reachable", 503, 4


class StoreFailure(LowtideError):
    """The database refused a write; nothing was accepted."""

    slug, title, status = "store-failure", "Database refused", 503


class StartFailure(LowtideError):
    """The daemon cannot start."""

    slug, title, status = "start-failure", "Cannot start", 503


class GridFailureKind(StrEnum):
    """Why a grid source gave nothing; decides whether and when to ask again."""

    AUTH = "auth"
    NOT_ENTITLED = "not_entitled"
    UNKNOWN_ZONE = "unknown_zone"
    RATE_LIMITED = "rate_limited"
    NO_DATA = "no_data"
    BAD_RESPONSE = "bad_response"
    UNAVAILABLE = "unavailable"
    GONE = "gone"

    @property
    def is_permanent(self) -> bool:
        """Whether asking again is useless until the configuration changes."""
        return self in {self.AUTH, self.NOT_ENTITLED, self.UNKNOWN_ZONE, self.GONE}


class GridFailure(LowtideError):
    """A grid source gave no usable answer; ``retry_at`` (aware UTC) when the source said so."""

    slug, title, status = "grid-failure", "Grid source failed", 503

    def __init__(self, kind: GridFailureKind, message: str, *, retry_at: datetime | None = None, fix: str = "") -> None:
        """Take the kind, a sentence without secrets, and when to ask again if known."""
        super().__init__(message, fix=fix)
        self.kind, self.retry_at = kind, retry_at


class ClusterFailureKind(StrEnum):
    """Why a cluster gave no usable answer."""

    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    UNAUTHORIZED = "unauthorized"
    BAD_RESPONSE = "bad_response"


class ClusterFailure(LowtideError):
    """A Ray cluster gave no usable answer; says nothing about whether a job lives."""

    slug, title, status = "cluster-failure", "Cluster failed", 503

    def __init__(self, kind: ClusterFailureKind, message: str, *, fix: str = "") -> None:
        """Take the kind and a sentence."""
        super().__init__(message, fix=fix)
        self.kind = kind
