"""Wrong fields of what was sent: each with its path and a sentence, unknown keys with the nearest known one."""

import difflib
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from lowtide.scheduler.model.errors import BadInput

MAX_TOLD = 5
"""Enough to act on in one sentence; the document lists up to MAX_LISTED."""
MAX_LISTED = 50


def bad_input(errors: list[dict[str, str]], what: str = "the job") -> BadInput:
    """One error from a list of ``{"field", "message"}``."""
    told = "; ".join(f"{e['field']}: {e['message']}" for e in errors[:MAX_TOLD])
    more = f"; and {len(errors) - MAX_TOLD} more" if len(errors) > MAX_TOLD else ""
    return BadInput(
        f"{what} cannot be taken: {told}{more}.",
        fix="Mend these fields and submit again; nothing was accepted.",
        details={"errors": errors},
    )


def field_errors(error: ValidationError, model: type[BaseModel]) -> list[dict[str, str]]:
    """Each wrong field with its path and a sentence; values are never repeated in full."""
    found = error.errors(include_url=False, include_context=False)
    # A list with a wrong item is also reported as too short; the item says it all.
    parents = {one["loc"][:depth] for one in found for depth in range(1, len(one["loc"]))}
    return [_field_error(one, model) for one in found if one["loc"] not in parents][:MAX_LISTED]


def _field_error(one: Any, model: type[BaseModel]) -> dict[str, str]:
    path = ".".join(str(part)[:80] for part in one["loc"])
    if one["type"] == "extra_forbidden":
        return {"field": path, "message": _unknown_key(one["loc"], model)}
    message = str(one["msg"]).removeprefix("Value error, ")
    return {"field": path or "job", "message": message[:500]}


def _unknown_key(path: tuple[int | str, ...], model: type[BaseModel]) -> str:
    known = list(_at(path[:-1], model).model_fields)
    near = difflib.get_close_matches(str(path[-1]), known, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"expected one of {', '.join(sorted(known))}"
    return f"unknown key; {hint}"


def _at(path: tuple[int | str, ...], model: type[BaseModel]) -> type[BaseModel]:
    """The model at a path inside ``model``."""
    for part in path:
        annotation = model.model_fields[str(part)].annotation
        inner = (annotation, *get_args(annotation))
        model = next(one for one in inner if isinstance(one, type) and issubclass(one, BaseModel))
    return model
