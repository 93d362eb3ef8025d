"""Small things that every route needs: JSON answers, bodies, the actor, ids."""

import difflib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from lowtide.scheduler.api.field_error import bad_input, field_errors
from lowtide.scheduler.api.schema import Problem
from lowtide.scheduler.api.service_like import ServiceLike
from lowtide.scheduler.model.errors import BadInput
from lowtide.scheduler.model.job import check_id
from lowtide.scheduler.model.lifecycle import JobState

ACTOR_HEADER = "lowtide-actor"
MAX_ACTOR_LENGTH = 64
Body = TypeVar("Body", bound=BaseModel)

PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": Problem, "description": "A problem document says what was wrong and what to do."},
    "5XX": {"model": Problem, "description": "The daemon, its database or a site failed."},
}


@dataclass(frozen=True, slots=True)
class Daemon:
    """What the routes work with; ``now`` is the daemon's clock, which may run as a time-lapse."""

    service: ServiceLike
    metrics: Callable[[], bytes]
    now: Callable[[], datetime]


def answer(content: object, status: int = 200) -> Response:
    """A JSON response; a NaN or infinity inside is a defect and raises ValueError."""
    body = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return Response(body, status_code=status, media_type="application/json")


def items(content: list[dict[str, Any]], following: str | None = None) -> Response:
    """A list answer."""
    return answer({"items": content, "next": following})


def actor(request: Request) -> str:
    """Who acts, by their own account: the token is shared, so this is a note and no proof."""
    given = request.headers.get(ACTOR_HEADER, "")
    plain = "".join(c for c in given if c.isalnum() or c in "._@-")[:MAX_ACTOR_LENGTH]
    return plain or "api"


def known_id(job_id: str) -> str:
    """The id when it is a slug; otherwise BadInput."""
    return check_id(job_id, "job id")


async def read_body(request: Request, model: type[Body], what: str = "the job") -> Body:
    """The body as ``model``; an empty one stands for ``{}``. A refusal says ``what`` cannot be taken."""
    body = await request.body()
    try:
        return model.model_validate_json(body or b"{}")
    except ValidationError as error:
        raise bad_input(field_errors(error, model), what) from None


def known_states(given: list[str]) -> tuple[str, ...]:
    """The states to filter by; BadInput with the nearest one when a word is no state."""
    for state in given:
        if state not in set(JobState):
            near = difflib.get_close_matches(state, list(JobState), n=1)
            hint = f"Did you mean {near[0]}?" if near else f"Expected one of {', '.join(JobState)}."
            message = f"{state[:80]!r} is no job state."
            raise BadInput(message, fix=hint, details={"errors": [{"field": "state", "message": message}]})
    return tuple(given)
