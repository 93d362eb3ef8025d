"""Routes for administrators: the policy set in force, what another would change, applying and taking back."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from lowtide.scheduler.api.answer import PROBLEMS, Daemon, actor, answer, items, read_body
from lowtide.scheduler.api.schema import ItemList

WHAT = "the order"
Text = Annotated[str, Field(min_length=1, max_length=64_000, description="the policy set as YAML")]
Why = Annotated[str | None, Field(max_length=1000, description="kept in the history")]


class PolicyText(BaseModel):
    """A policy set that is looked at and not applied."""

    model_config = ConfigDict(extra="forbid")

    text: Text


class PolicyOrder(BaseModel):
    """A policy set to apply."""

    model_config = ConfigDict(extra="forbid")

    text: Text
    why: Why = None


class ShadowEnd(BaseModel):
    """The end of a shadow."""

    model_config = ConfigDict(extra="forbid")

    why: Why = None


class ShadowComparison(BaseModel):
    """One job as both sets first planned it."""

    job_id: str
    active_g: float
    shadow_g: float
    saving_g: float
    at: str
    active_start_at: str
    shadow_start_at: str


class ShadowTold(BaseModel):
    """The set that is or was last in the shadow: sums over all jobs compared, and the last hundred of these.

    ``would_start`` of ``waiting`` jobs it would start by the newest snapshot; null before the first.
    """

    is_running: bool
    revision: int | None
    at: str | None
    actor: str | None
    why: str | None
    text: str | None
    trouble: str | None
    waiting: int | None
    would_start: int | None
    jobs: int
    active_g: float
    shadow_g: float
    saving_g: float
    comparisons: list[ShadowComparison]


class PastTold(BaseModel):
    """Jobs that succeeded, newest first, sites, queues, and by zone measured intensity and forecasts as issued.

    ``projects`` are as they are declared, with what each used by day: micrograms and GPU microseconds.
    """

    model_config = ConfigDict(extra="forbid")

    start: str
    end: str
    slot_s: float
    sites: list[dict[str, Any]]
    queues: list[dict[str, Any]]
    jobs: list[dict[str, Any]]
    intensity: dict[str, dict[str, Any]]
    issues: dict[str, dict[str, Any]]
    projects: dict[str, Any]
    reservations: list[dict[str, Any]]


class RollBack(BaseModel):
    """Which revision to go back to: null is the one before the present, 0 the settings alone."""

    model_config = ConfigDict(extra="forbid")

    revision: Annotated[int | None, Field(ge=0, le=1_000_000_000)] = None
    why: Why = None


class PolicyChange(BaseModel):
    """A field of a queue that becomes another."""

    queue: str
    field: str
    before: Any
    after: Any


class PolicyChangeList(BaseModel):
    """Everything that a set would change."""

    items: list[PolicyChange]
    next: None


class PolicyInForce(BaseModel):
    """How the queues decide, and by which revision; 0 is the settings alone. ``text`` says it as a policy set."""

    model_config = ConfigDict(extra="allow")

    revision: int
    name: str
    at: str | None
    actor: str | None
    why: str | None
    sentence: str
    trouble: str | None
    queues: list[dict[str, Any]]
    text: str


class PolicyApplied(PolicyInForce):
    """What is in force now, and what became another."""

    changes: list[PolicyChange]


def router(daemon: Daemon) -> APIRouter:
    """The routes."""
    routes = APIRouter(default_response_class=Response)
    _looks(routes, daemon)
    _orders(routes, daemon)
    _shadow(routes, daemon)
    return routes


def _looks(routes: APIRouter, daemon: Daemon) -> None:
    service = daemon.service

    @routes.get("/v1/policy", tags=["policy"], responses={200: {"model": PolicyInForce}, **PROBLEMS})
    async def read_policy() -> Response:
        """How each queue decides now, and who said so."""
        return answer(await service.policy())

    @routes.get("/v1/policy/history", tags=["policy"], responses={200: {"model": ItemList}, **PROBLEMS})
    async def list_policies() -> Response:
        """The last 200 revisions with their texts, newest first: who applied each, when and why."""
        return items(await service.policy_history())

    @routes.get("/v1/policy/past", tags=["policy"], responses={200: {"model": PastTold}, **PROBLEMS})
    async def read_past(
        days: Annotated[float, Query(gt=0, le=31, description="as far back as figures are kept at hand")] = 7.0,
    ) -> Response:
        """What jobs did in the last days, with the grid's measured intensity: all that a replay needs."""
        return answer(await service.past(days))

    @routes.post(
        "/v1/policy/diff",
        tags=["policy"],
        responses={200: {"model": PolicyChangeList}, **PROBLEMS},
        openapi_extra=_body(PolicyText),
    )
    async def compare_policy(request: Request) -> Response:
        """Check a policy set and tell what it would change; nothing is applied."""
        given = await read_body(request, PolicyText, WHAT)
        return items(await service.policy_changes(given.text))


def _orders(routes: APIRouter, daemon: Daemon) -> None:
    service = daemon.service

    @routes.post(
        "/v1/policy",
        tags=["policy"],
        responses={200: {"model": PolicyApplied}, **PROBLEMS},
        openapi_extra=_body(PolicyOrder),
    )
    async def apply_policy(request: Request) -> Response:
        """Put a policy set in force from the next plan on; one that is not sound changes nothing."""
        order = await read_body(request, PolicyOrder, WHAT)
        return answer(await service.apply_policy(order.text, actor=actor(request), why=order.why))

    @routes.post(
        "/v1/policy/rollback",
        tags=["policy"],
        responses={200: {"model": PolicyApplied}, **PROBLEMS},
        openapi_extra=_body(RollBack),
    )
    async def roll_back_policy(request: Request) -> Response:
        """Put an earlier revision in force again, as a new one."""
        order = await read_body(request, RollBack, WHAT)
        return answer(await service.roll_back_policy(order.revision, actor=actor(request), why=order.why))


def _shadow(routes: APIRouter, daemon: Daemon) -> None:
    service = daemon.service

    @routes.get("/v1/policy/shadow", tags=["policy"], responses={200: {"model": ShadowTold}, **PROBLEMS})
    async def read_shadow() -> Response:
        """What a policy set beside the active one would have saved, by the jobs' plans."""
        return answer(await service.shadow())

    @routes.post(
        "/v1/policy/shadow",
        tags=["policy"],
        responses={200: {"model": ShadowTold}, **PROBLEMS},
        openapi_extra=_body(PolicyOrder),
    )
    async def cast_shadow(request: Request) -> Response:
        """Let a policy set decide beside the active one; nothing that it decides is carried out."""
        order = await read_body(request, PolicyOrder, WHAT)
        return answer(await service.cast_shadow(order.text, actor=actor(request), why=order.why))

    @routes.post(
        "/v1/policy/shadow/stop",
        tags=["policy"],
        responses={200: {"model": ShadowTold}, **PROBLEMS},
        openapi_extra=_body(ShadowEnd),
    )
    async def end_shadow(request: Request) -> Response:
        """Let nothing decide in the shadow; what was compared is kept."""
        order = await read_body(request, ShadowEnd, WHAT)
        return answer(await service.end_shadow(actor=actor(request), why=order.why))


def _body(model: type[BaseModel]) -> dict[str, Any]:
    return {"requestBody": {"content": {"application/json": {"schema": model.model_json_schema()}}}}
