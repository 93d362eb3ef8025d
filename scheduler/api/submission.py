"""The two routes that take a job file: submit and plan.

They read the body themselves and answer with bytes that are ready: the framework's own parsing and
response models cost more than the durable write that they would guard.
"""

import re
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from lowtide.scheduler.api.answer import PROBLEMS, Daemon, actor, answer
from lowtide.scheduler.api.field_error import bad_input
from lowtide.scheduler.api.jobspec import JobFile, read_job_json
from lowtide.scheduler.api.schema import Explanation, Job
from lowtide.scheduler.model.errors import BadInput, LowtideError
from lowtide.scheduler.model.job import JobSpec

IDEMPOTENCY_HEADER = "idempotency-key"
_KEY = re.compile(r"[!-~]{1,200}")
_DATE = re.compile(r"\d{4}-?\d{2}-?\d{2}")
JOB_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/JobFile"}}},
    }
}
KEY_PARAMETER: dict[str, Any] = {
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "description": "1 to 200 visible ASCII characters; the same key and job give the first job back",
            "schema": {"type": "string", "pattern": f"^{_KEY.pattern}$"},
        }
    ]
}


def router(daemon: Daemon) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/v1", tags=["jobs"])

    @routes.post(
        "/jobs",
        status_code=201,
        response_class=Response,
        responses={
            201: {"model": Job, "description": "Accepted and durably recorded."},
            200: {"model": Job, "description": "The key was seen with the same job; this is that job."},
            **PROBLEMS,
        },
        openapi_extra=JOB_BODY | KEY_PARAMETER,
    )
    async def submit_job(request: Request) -> Response:
        """Submit a job. 201 is answered only after it is on disk."""
        return await submit(request, daemon)

    @routes.post(
        "/plans",
        response_class=Response,
        responses={200: {"model": Explanation}, **PROBLEMS},
        openapi_extra=JOB_BODY,
    )
    async def plan_job(request: Request) -> Response:
        """What would be decided for a job if it were submitted now. Writes nothing."""
        return answer(await daemon.service.plan(_spec(_job(await request.body()), daemon)))

    return routes


async def submit(request: Request, daemon: Daemon) -> Response:
    """Take one job; shared by the documented route and the shortcut."""
    key = _key(request)
    job = _job(await request.body())
    if key is None:
        return await _submitted(job, None, request, daemon)
    _refuse_relative_times(job)
    try:
        return await _submitted(job, key, request, daemon)
    except LowtideError:
        # It may have been accepted long ago: since then its deadline may have passed, its directory have gone or
        # changed, its queue have been removed. Asked only now, since hardly any submission is a late repetition.
        again = await daemon.service.submitted_before(job.as_meant(daemon.now()), key)
        if again is None:
            raise
        return answer(again)


async def _submitted(job: JobFile, key: str | None, request: Request, daemon: Daemon) -> Response:
    told = await daemon.service.submit([_spec(job, daemon)], actor=actor(request), idempotency_keys=[key])
    content = dict(told[0])
    created = content.pop("created", True)
    return answer(content, 201 if created else 200)


class Shortcut:
    """Serves submissions before the router is asked: its layers cost as much as all of our own work."""

    def __init__(self, app: Any, *, daemon: Daemon) -> None:
        """Wrap an ASGI application."""
        self._app, self._daemon = app, daemon

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["path"] == "/v1/jobs" and scope["method"] == "POST":
            response = await submit(Request(scope, receive), self._daemon)
            await response(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _job(body: bytes) -> JobFile:
    if not body:
        raise BadInput("the request has no body.", fix="Send the job file as JSON.")
    return read_job_json(body)


def _spec(job: JobFile, daemon: Daemon) -> JobSpec:
    spec = job.spec(daemon.now())
    if spec.working_dir is not None and not Path(spec.working_dir).is_dir():
        message = f"{spec.working_dir[:200]!r} does not exist on the daemon's machine, or is no directory"
        raise bad_input([{"field": "working_dir", "message": message}])
    return spec


def _refuse_relative_times(job: JobFile) -> None:
    """With a key, the same body must mean the same job whenever it comes; now+6h would not."""
    for field in ("begin", "deadline"):
        text = getattr(job, field)
        if text is not None and not _DATE.match(text):
            message = f"{text[:64]!r} means another moment at each repetition; with a key, give ISO 8601 with a zone"
            raise bad_input([{"field": field, "message": message}])


def _key(request: Request) -> str | None:
    key = request.headers.get(IDEMPOTENCY_HEADER)
    if key is not None and not _KEY.fullmatch(key):
        message = "expected 1 to 200 visible ASCII characters"
        raise bad_input([{"field": "Idempotency-Key", "message": message}])
    return key
