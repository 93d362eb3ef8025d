"""Routes about existing jobs: reading them, and the orders that can be given."""

from collections.abc import Awaitable
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Query, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from lowtide.scheduler.api.answer import (
    PROBLEMS,
    Daemon,
    actor,
    answer,
    items,
    known_id,
    known_states,
    read_body,
)
from lowtide.scheduler.api.field_error import bad_input
from lowtide.scheduler.api.schema import EventList, Explanation, Job, JobList, Receipt, RunNow

MAX_PAGE = 5000
MAX_REASON_LENGTH = 500


class _Order(Protocol):
    def __call__(self, job_id: str, *, actor: str) -> Awaitable[dict[str, Any]]: ...


def router(daemon: Daemon) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/v1/jobs", tags=["jobs"], default_response_class=Response)
    _reading(routes, daemon)
    _logs(routes, daemon)
    _orders(routes, daemon)
    return routes


def _reading(routes: APIRouter, daemon: Daemon) -> None:
    service = daemon.service

    @routes.get("", responses={200: {"model": JobList}, **PROBLEMS})
    async def list_jobs(
        state: Annotated[list[str] | None, Query(description="repeat for several")] = None,
        queue: Annotated[str | None, Query(max_length=63)] = None,
        name: Annotated[str | None, Query(max_length=63)] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 500,
        after: Annotated[str | None, Query(max_length=63, description="'next' of the last page")] = None,
    ) -> Response:
        """Jobs, newest first."""
        states = known_states(state or [])
        found = await service.jobs(states=states, queue=queue, name=name, limit=limit, after=after)
        return items(found, found[-1]["id"] if len(found) == limit else None)

    @routes.get("/{job_id}", responses={200: {"model": Job}, **PROBLEMS})
    async def read_job(job_id: str) -> Response:
        """One job."""
        return answer(await service.job(known_id(job_id)))

    @routes.get("/{job_id}/events", responses={200: {"model": EventList}, **PROBLEMS})
    async def read_events(job_id: str) -> Response:
        """Everything that happened to a job, oldest first."""
        return items(await service.events(known_id(job_id)))

    @routes.get("/{job_id}/explain", responses={200: {"model": Explanation}, **PROBLEMS})
    async def explain_job(job_id: str) -> Response:
        """Why a job waits or runs: the last decision, its alternatives and its grid data."""
        return answer(await service.explain(known_id(job_id)))

    @routes.get("/{job_id}/receipt", responses={200: {"model": Receipt}, **PROBLEMS})
    async def read_receipt(job_id: str) -> Response:
        """What a job used, emitted and avoided."""
        return answer(await service.receipt(known_id(job_id)))


def _logs(routes: APIRouter, daemon: Daemon) -> None:
    text: dict[int | str, dict[str, Any]] = {
        200: {"content": {"text/plain": {}}, "description": "What the job printed."},
        **PROBLEMS,
    }

    @routes.get("/{job_id}/logs", responses=text)
    async def read_logs(
        job_id: str,
        follow: Annotated[bool, Query(description="keep sending until the job has ended")] = False,  # noqa: FBT002 - a query parameter
        tail: Annotated[int | None, Query(ge=0, le=1_000_000, description="last lines only")] = None,
        attempt: Annotated[int | None, Query(ge=1, description="default: all")] = None,
    ) -> Response:
        """What a job printed."""
        checked = known_id(job_id)
        if not follow:
            return PlainTextResponse(await daemon.service.log_text(checked, attempt=attempt, tail_lines=tail))
        await daemon.service.job(checked)  # an unknown job is a 404, not an empty stream
        return StreamingResponse(daemon.service.log_stream(checked, tail_lines=tail), media_type="text/plain")


def _orders(routes: APIRouter, daemon: Daemon) -> None:
    service = daemon.service
    orders: dict[str, tuple[_Order, str]] = {
        "cancel": (service.cancel, "End a job for good; a running one is asked to stop."),
        "hold": (service.hold, "Keep a waiting job from starting until it is released."),
        "release": (service.release, "Undo a hold."),
        "suspend": (service.suspend, "Checkpoint and stop a running job until it is resumed."),
        "resume": (service.resume, "Let a suspended job go on when its window comes."),
    }
    for word, (order, description) in orders.items():
        _order_route(routes, word, order, description)

    @routes.post(
        "/{job_id}/run-now",
        responses={200: {"model": Job}, **PROBLEMS},
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": RunNow.model_json_schema()}},
            }
        },
    )
    async def run_now(job_id: str, request: Request) -> Response:
        """Start a job whatever the carbon. The reason is kept with the job."""
        why = (await read_body(request, RunNow)).reason.strip()
        if not 0 < len(why) <= MAX_REASON_LENGTH:
            message = f"expected 1 to {MAX_REASON_LENGTH} characters that say why"
            raise bad_input([{"field": "reason", "message": message}])
        return answer(await service.run_now(known_id(job_id), actor=actor(request), why=why))


def _order_route(routes: APIRouter, word: str, order: _Order, description: str) -> None:
    async def give_order(job_id: str, request: Request) -> Response:
        return answer(await order(known_id(job_id), actor=actor(request)))

    routes.add_api_route(
        f"/{{job_id}}/{word}",
        give_order,
        methods=["POST"],
        name=f"{word}_job",
        description=description,
        responses={200: {"model": Job}, **PROBLEMS},
    )
