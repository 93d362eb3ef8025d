"""The gate in front of every route: Host, token and body size, as one plain ASGI layer.

A page in a browser can make requests to 127.0.0.1 under a name of its own (DNS rebinding), so only
loopback names are taken as Host unless the administrator adds more.
"""

import hmac
from collections.abc import Iterable
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from lowtide.scheduler.api.problem import ProblemResponse, from_error, problem
from lowtide.scheduler.model.errors import TooLarge, Unauthorized

MAX_BODY_BYTES = 256 * 1024
OPEN_PATHS = frozenset({"/v1/health", "/metrics"})
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")


class Gate:
    """Refuses foreign Hosts, missing tokens and oversized bodies before anything is read."""

    def __init__(self, app: Any, *, token: str, extra_hosts: Iterable[str] = ()) -> None:
        """Wrap an ASGI application.

        Args:
            app: what is behind the gate.
            token: the bearer token; never empty.
            extra_hosts: names besides the loopback ones under which the daemon is reached; lower case.

        """
        if not token:
            message = "the API needs a token; an empty one would let everybody in"
            raise ValueError(message)
        self._app = app
        self._token = token.encode()
        self._hosts = frozenset((*LOOPBACK_HOSTS, *(name.lower() for name in extra_hosts)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope, dict(scope["headers"]))
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        await self._app(scope, _Capped(receive), send)

    def _refusal(self, scope: Scope, headers: dict[bytes, bytes]) -> ProblemResponse | None:
        host = _host_name(headers.get(b"host", b"").decode("latin-1"))
        if host not in self._hosts:
            return problem(
                "wrong-host",
                "Host not served",
                421,
                f"this daemon does not answer for the host name {host[:80]!r}.",
                fix="Use http://127.0.0.1, or have the administrator add the name.",
                extra={"exit_code": 3},
            )
        if scope["path"] not in OPEN_PATHS and not self._is_authorized(headers.get(b"authorization", b"")):
            return from_error(
                Unauthorized(
                    "the bearer token is missing or wrong.",
                    fix="Send 'Authorization: Bearer TOKEN' with the content of the file 'token' in the data"
                    " directory of the daemon.",
                )
            )
        declared = headers.get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > MAX_BODY_BYTES:
            return from_error(too_large())
        return None

    def _is_authorized(self, header: bytes) -> bool:
        scheme, _, given = header.partition(b" ")
        return hmac.compare_digest(given.strip(), self._token) and scheme.lower() == b"bearer"


class _Capped:
    """A receive channel that fails once a body (chunked, so of no declared length) grows too large."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._size = 0

    async def __call__(self) -> Message:
        message = await self._receive()
        self._size += len(message.get("body", b""))
        if self._size > MAX_BODY_BYTES:
            raise too_large()
        return message


def too_large() -> TooLarge:
    """The refusal of a body over the cap."""
    return TooLarge(
        f"the request body is larger than {MAX_BODY_BYTES // 1024} KiB.",
        fix="Put scripts and data into the working directory; a job file holds only its description.",
    )


def _host_name(header: str) -> str:
    """The name in a Host header without port and brackets."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].lower()
