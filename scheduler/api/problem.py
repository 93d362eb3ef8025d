"""Errors on the wire: one RFC 9457 problem document for everything that goes wrong."""

import json
from collections.abc import Mapping
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from lowtide.scheduler.model.errors import LowtideError

MEDIA_TYPE = "application/problem+json"
TITLES = {400: "Bad request", 404: "Not found", 405: "Method not allowed", 413: "Input too large"}
FIXES = {
    404: "GET /v1/openapi.json lists the paths.",
    405: "GET /v1/openapi.json lists the methods of each path.",
}
_log = structlog.get_logger("lowtide.api")


class ProblemResponse(Response):
    """A response with a problem document."""

    media_type = MEDIA_TYPE


def problem(
    slug: str,
    title: str,
    status: int,
    detail: str,
    *,
    fix: str = "",
    extra: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> ProblemResponse:
    """A problem document; ``extra`` holds extension members such as ``errors``."""
    document = {"type": f"urn:lowtide:problem:{slug}", "title": title, "status": status, "detail": detail}
    document |= {"fix": fix} | dict(extra or {})
    return ProblemResponse(json.dumps(document, default=str), status_code=status, headers=dict(headers or {}))


def from_error(error: LowtideError) -> ProblemResponse:
    """The document for one of our errors."""
    headers = {"www-authenticate": "Bearer"} if error.status == 401 else None  # noqa: PLR2004 - HTTP
    extra = {"exit_code": error.exit_code} | error.details
    return problem(error.slug, error.title, error.status, error.message, fix=error.fix, extra=extra, headers=headers)


def internal_error() -> ProblemResponse:
    """What a client learns of an unexpected exception: nothing but where to look."""
    return problem(
        "internal",
        "Internal error",
        500,
        "the daemon met an unexpected error and recorded it.",
        fix="Look in lowtide.log in the data directory, and report it with that entry.",
        extra={"exit_code": 1},
    )


class ErrorBoundary:
    """Outermost ASGI layer: an exception that nothing else handled becomes a problem document."""

    def __init__(self, app: Any) -> None:
        """Wrap an ASGI application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watched(message: Any) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            if started:  # the status line is out: only a broken connection can tell the client
                raise
            await _answer(scope, error)(scope, receive, send)


def _answer(scope: Scope, error: Exception) -> ProblemResponse:
    if isinstance(error, LowtideError):
        return from_error(error)
    _log.error("request_failed", method=scope["method"], path=scope["path"], error=type(error).__name__, exc_info=error)
    return internal_error()


def install(app: FastAPI) -> None:
    """Make every error of the framework a problem document too."""
    app.add_exception_handler(LowtideError, _on_lowtide_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_bad_parameter)


async def _on_lowtide_error(_request: Request, error: Exception) -> Response:
    if not isinstance(error, LowtideError):  # the signature is the framework's; the table above is ours
        raise error
    return from_error(error)


async def _on_http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    status = error.status_code
    detail = {
        404: f"there is nothing at {request.url.path[:200]!r}.",
        405: f"{request.method} is not possible at {request.url.path[:200]!r}.",
    }.get(status, str(error.detail))
    title = TITLES.get(status, "Request refused")
    slug = title.lower().replace(" ", "-")
    return problem(slug, title, status, detail, fix=FIXES.get(status, ""), headers=error.headers)


async def _on_bad_parameter(_request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    errors = [
        {"field": ".".join(str(part)[:80] for part in one["loc"][1:]) or "body", "message": str(one["msg"])}
        for one in error.errors()
    ]
    told = "; ".join(f"{e['field']}: {e['message']}" for e in errors[:5])
    return problem(
        "bad-input",
        "Input not understood",
        422,
        f"the request cannot be taken: {told}.",
        fix="Mend these parameters and ask again.",
        extra={"errors": errors, "exit_code": 2},
    )
