"""Routes for administrators: drains and reservations, made, listed and ended."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from lowtide.scheduler.api.answer import PROBLEMS, Daemon, actor, answer, items, read_body
from lowtide.scheduler.api.schema import ItemList
from lowtide.scheduler.model.reservation import Wish

WHAT = "the order"
Name = Annotated[str, Field(max_length=63)]
Time = Annotated[str, Field(max_length=64, description="ISO 8601 with a zone, now+6h, 16:00; clock times are UTC")]
Why = Annotated[str | None, Field(max_length=1000, description="kept on record")]


class ReservationOrder(BaseModel):
    """What is to be kept free: all of a site or pool unless amounts are given, from everybody unless for somebody."""

    model_config = ConfigDict(extra="forbid")

    site: Name
    pool: Name = ""
    start: Time = ""
    end: Time = ""
    gpus: Annotated[int | None, Field(ge=0, le=100_000)] = None
    cpus: Annotated[int | None, Field(ge=0, le=1_000_000)] = None
    project: Name | None = None
    queue: Name | None = None
    why: Why = None


class ReservationEnd(BaseModel):
    """The end of a reservation before its time."""

    model_config = ConfigDict(extra="forbid")

    why: Why = None


class Resume(BaseModel):
    """A site or pool that is to be drained no more."""

    model_config = ConfigDict(extra="forbid")

    site: Name
    pool: Name = ""
    why: Why = None


class RunningInto(BaseModel):
    """A job that would still run when a place is to be free of it; where it cannot be suspended it runs on."""

    job_id: str
    ends_at: str
    can_be_suspended: bool


class ReservationTold(BaseModel):
    """A drain or reservation: ``state`` is ahead, now or over; null amounts are all there is, null ends not set."""

    number: int
    state: str
    site: str
    pool: str
    start_at: str
    end_at: str | None
    gpus: int | None
    cpus: int | None
    project: str | None
    queue: str | None
    at: str
    actor: str
    why: str | None
    ended_at: str | None
    ended_by: str | None
    ended_why: str | None
    jobs: list[RunningInto]


def router(daemon: Daemon) -> APIRouter:
    """The routes."""
    routes = APIRouter(default_response_class=Response)
    service = daemon.service

    @routes.get("/v1/reservations", tags=["fleet"], responses={200: {"model": ItemList}, **PROBLEMS})
    async def list_reservations() -> Response:
        """The last 200 drains and reservations, newest first, with the jobs that run into those ahead."""
        return items(await service.reservations())

    @routes.post(
        "/v1/reservations",
        tags=["fleet"],
        status_code=201,
        responses={201: {"model": ReservationTold}, **PROBLEMS},
        openapi_extra=_body(ReservationOrder),
    )
    async def reserve(request: Request) -> Response:
        """Keep capacity free from the next plan on; a drain is a reservation of all for nobody."""
        order = await read_body(request, ReservationOrder, WHAT)
        wish = Wish(**order.model_dump(exclude={"why"}))
        return answer(await service.reserve(wish, actor=actor(request), why=order.why), 201)

    @routes.post(
        "/v1/reservations/resume",
        tags=["fleet"],
        responses={200: {"model": ItemList}, **PROBLEMS},
        openapi_extra=_body(Resume),
    )
    async def undrain(request: Request) -> Response:
        """End every drain of a site or pool."""
        order = await read_body(request, Resume, WHAT)
        return items(await service.undrain(order.site, order.pool, actor=actor(request), why=order.why))

    @routes.post(
        "/v1/reservations/{number}/end",
        tags=["fleet"],
        responses={200: {"model": ReservationTold}, **PROBLEMS},
        openapi_extra=_body(ReservationEnd),
    )
    async def end_reservation(request: Request, number: Annotated[int, Path(ge=1, le=1_000_000_000)]) -> Response:
        """End a drain or reservation before its time."""
        order = await read_body(request, ReservationEnd, WHAT)
        return answer(await service.end_reservation(number, actor=actor(request), why=order.why))

    return routes


def _body(model: type[BaseModel]) -> dict[str, Any]:
    return {"requestBody": {"content": {"application/json": {"schema": model.model_json_schema()}}}}
