"""Routes about the daemon and its surroundings: health, metrics, grid, sites, reports, shutdown."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from lowtide.scheduler.api.answer import PROBLEMS, Daemon, answer, items, known_id, read_body
from lowtide.scheduler.api.field_error import bad_input
from lowtide.scheduler.api.schema import (
    BudgetList,
    Forecast,
    GridCheckList,
    GridSourceList,
    Health,
    ItemList,
    RegionList,
    Report,
    Shutdown,
)
from lowtide.scheduler.model.quantity import duration_s as read_duration

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def router(daemon: Daemon) -> APIRouter:
    """The routes."""
    routes = APIRouter(default_response_class=Response)
    _open(routes, daemon)
    _surroundings(routes, daemon)
    _accounts(routes, daemon)
    return routes


def _open(routes: APIRouter, daemon: Daemon) -> None:
    scrape = asyncio.Lock()

    @routes.get("/v1/health", tags=["daemon"], responses={200: {"model": Health}, 503: {"model": Health}})
    async def read_health() -> Response:
        """Whether the daemon is ready; 503 while it starts. Needs no token."""
        health = daemon.service.health()
        return answer(health, 503 if health["status"] == "starting" else 200)

    @routes.get("/metrics", tags=["daemon"], responses={200: {"content": {"text/plain": {}}}})
    async def read_metrics() -> Response:
        """Metrics in the Prometheus text format. Needs no token."""
        async with scrape:  # one at a time: scrapes may not take the threads that decisions need
            told = await asyncio.to_thread(daemon.metrics)
        return Response(told, headers={"content-type": METRICS_TYPE})

    @routes.post(
        "/v1/shutdown",
        tags=["daemon"],
        status_code=202,
        responses=PROBLEMS,
        openapi_extra={"requestBody": {"content": {"application/json": {"schema": Shutdown.model_json_schema()}}}},
    )
    async def shut_down(request: Request) -> Response:
        """End the daemon. Jobs go on, unless the local cluster is stopped too."""
        order = await read_body(request, Shutdown)
        daemon.service.request_shutdown(stop_cluster=order.stop_cluster)
        return answer({"status": "stopping", "stop_cluster": order.stop_cluster}, 202)


def _surroundings(routes: APIRouter, daemon: Daemon) -> None:
    service = daemon.service

    @routes.get("/v1/forecast", tags=["grid"], responses={200: {"model": Forecast}, **PROBLEMS})
    async def read_forecast(
        zone: Annotated[str | None, Query(max_length=40, description="default: the first site's")] = None,
        hours: Annotated[float, Query(gt=0, le=168)] = 48.0,
        duration_s: Annotated[
            str | None, Query(max_length=64, description="length of the windows: seconds, or text such as 3h")
        ] = None,
    ) -> Response:
        """Grid intensity of a zone: recorded, forecast, and the best windows."""
        return answer(await service.forecast(zone, hours, _window_s(duration_s)))

    @routes.get("/v1/zones", tags=["grid"], responses={200: {"model": GridSourceList}, **PROBLEMS})
    async def list_zones() -> Response:
        """The configured grid sources: what each answers for, and why one does not. May ask the vendors."""
        return items(await service.zones())

    @routes.get("/v1/regions", tags=["grid"], responses={200: {"model": RegionList}, **PROBLEMS})
    async def list_regions(
        region: Annotated[
            str | None, Query(max_length=80, description="such as aws:eu-west-1; default: the rows of the settings")
        ] = None,
    ) -> Response:
        """The grid zone of a cloud region and who says so; one that tables place differently is refused."""
        return items(await service.regions(region))

    @routes.get("/v1/sites", tags=["fleet"], responses={200: {"model": ItemList}, **PROBLEMS})
    async def list_sites() -> Response:
        """The configured sites and their use."""
        return items(await service.sites())

    @routes.get("/v1/queues", tags=["fleet"], responses={200: {"model": ItemList}, **PROBLEMS})
    async def list_queues() -> Response:
        """The configured queues."""
        return items(await service.queues())

    @routes.get("/v1/doctor/grid", tags=["daemon"], responses={200: {"model": GridCheckList}, **PROBLEMS})
    async def examine_grid() -> Response:
        """What each grid source answers to one real question now, within its vendor's limits, and what to do."""
        return items(await service.check_grid())

    @routes.get("/v1/doctor", tags=["daemon"], responses={200: {"model": ItemList}, **PROBLEMS})
    async def examine() -> Response:
        """What works and what does not."""
        return items(await service.doctor())


def _accounts(routes: APIRouter, daemon: Daemon) -> None:
    @routes.get("/v1/budgets", tags=["accounts"], responses={200: {"model": BudgetList}, **PROBLEMS})
    async def list_budgets() -> Response:
        """What each project with a budget has used of it in the period under way, and what is left."""
        return items(await daemon.service.budgets())

    @routes.get("/v1/report", tags=["accounts"], responses={200: {"model": Report}, **PROBLEMS})
    async def read_report(
        job: Annotated[list[str] | None, Query(description="repeat for several; default: all")] = None,
    ) -> Response:
        """Receipts of several jobs and their sum."""
        return answer(await daemon.service.report([known_id(one) for one in job] if job else None))


def _window_s(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return read_duration(float(text) if text.replace(".", "", 1).isdigit() else text)
    except ValueError as error:
        raise bad_input([{"field": "duration_s", "message": str(error)}]) from None
