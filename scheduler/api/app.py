"""The REST API over the daemon's facade: routes, gate and error documents put together."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from lowtide.scheduler.api import fleet, jobs, policy, problem, reservations, submission
from lowtide.scheduler.api.answer import Daemon
from lowtide.scheduler.api.gate import Gate
from lowtide.scheduler.api.jobspec import JobFile
from lowtide.scheduler.api.service_like import ServiceLike

API_VERSION = "1"
REF = "#/components/schemas/{model}"


def create_app(
    service: ServiceLike,
    *,
    token: str,
    metrics: Callable[[], bytes],
    now: Callable[[], datetime] | None = None,
    hosts: Iterable[str] = (),
) -> FastAPI:
    """The API as an ASGI application.

    Args:
        service: the daemon's facade.
        token: bearer token for everything but health and metrics.
        metrics: the exposition in the Prometheus text format.
        now: the daemon's clock, aware UTC; None reads it from ``service.health()``.
        hosts: Host names besides the loopback ones under which the daemon may be addressed.

    """

    def clock() -> datetime:
        return datetime.fromisoformat(service.health()["now"])

    app = FastAPI(title="lowtide", version=API_VERSION, openapi_url=None, docs_url=None, redoc_url=None)
    daemon = Daemon(service=service, metrics=metrics, now=now or clock)
    for part in (submission, jobs, fleet, policy, reservations):
        app.include_router(part.router(daemon))
    _publish_schema(app)
    problem.install(app)
    app.add_middleware(submission.Shortcut, daemon=daemon)
    app.add_middleware(Gate, token=token, extra_hosts=tuple(hosts))
    app.add_middleware(problem.ErrorBoundary)
    return app


def _publish_schema(app: FastAPI) -> None:
    document: dict[str, Any] = {}

    @app.get("/v1/openapi.json", include_in_schema=False)
    async def read_openapi() -> dict[str, Any]:
        if not document:
            document.update(openapi(app))
        return document


def openapi(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with the job file as the body of submit and plan."""
    document = get_openapi(
        title="lowtide",
        version=API_VERSION,
        summary="A carbon-aware job scheduler for GPU clusters",
        routes=app.routes,
    )
    job_file = JobFile.model_json_schema(ref_template=REF)
    schemas = document["components"]["schemas"]
    schemas |= job_file.pop("$defs", {}) | {"JobFile": job_file}
    document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for path, methods in document["paths"].items():
        for operation in methods.values():
            operation["security"] = [] if path in {"/v1/health", "/metrics"} else [{"token": []}]
    return document
