"""docs/settings.md is made from the settings themselves; `make golden` writes it."""

import json
import types
import typing
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from lowtide.scheduler.project_settings import BudgetSettings, ProjectSettings
from lowtide.scheduler.settings import (
    DEFAULT_GRIDS,
    DEFAULT_QUEUES,
    GridSettings,
    QueueSettings,
    RegionSettings,
    Settings,
    SiteSettings,
)
from lowtide.scheduler.site_settings import PoolSettings, ShareSettings
from lowtide.scheduler.tariff_settings import RateSettings, TariffSettings

SECTIONS: dict[str, tuple[type[BaseModel], str]] = {
    "At the top": (Settings, "Keys of the settings file given with `--config`."),
    "sites": (SiteSettings, "A list; without it a private Ray cluster is started on this machine."),
    "pools": (PoolSettings, "A list within a site whose nodes differ."),
    "virtual_capacity": (
        ShareSettings,
        "A list within a site; of the steps below the grid's intensity the highest counts, below all all is offered.",
    ),
    "tariff": (
        TariffSettings,
        "Within a site. [What money is worth](projects.md#what-money-is-worth) says what comes of it.",
    ),
    "rates": (RateSettings, "A list within a tariff; a time without quotes is understood too."),
    "queues": (QueueSettings, f"A list; without it there are {', '.join(f'`{q.name}`' for q in DEFAULT_QUEUES)}."),
    "projects": (
        ProjectSettings,
        "A list; jobs name their project, and others have no budget and a share of 1.",
    ),
    "budgets": (
        BudgetSettings,
        "A list under a project. [Budgets](projects.md#budgets) says what comes of one that is near its end or spent.",
    ),
    "regions": (
        RegionSettings,
        "A mapping of cloud regions, such as `aws:eu-north-1`, to a zone or these keys; it goes before public tables.",
    ),
    "grids": (GridSettings, f"A list; without it there are {', '.join(f'`{g.name}`' for g in DEFAULT_GRIDS)}."),
}
INTRODUCTION = """\
# Settings

The settings file is YAML. Unknown keys are refused. Times are in seconds unless the name says otherwise.
"""


def bounds(field: FieldInfo) -> str:
    """The limits as declared, for example "0 to 1"."""
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    limits = ((signs[name], getattr(item, name)) for item in field.metadata for name in signs if hasattr(item, name))
    return " and ".join(f"{sign} {limit:,.10g}" for sign, limit in limits)


def kind(annotation: Any) -> str:
    """The type in plain words."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return " or ".join(f"`{part}`" for part in parts)
    if origin in {types.UnionType, typing.Union}:
        return " or ".join(kind(part) for part in parts if part is not type(None))
    if origin is tuple:
        return "list, see below"
    if origin is dict or (origin is None and issubclass(annotation, BaseModel)):
        return "mapping"
    if issubclass(annotation, Enum):
        return " or ".join(f"`{member.value}`" for member in annotation)
    return {str: "text", int: "whole number", float: "number", bool: "yes or no", Path: "path"}[annotation]


def default(field: FieldInfo) -> str:
    """What holds when the key is left out."""
    if field.is_required():
        return "required"
    if isinstance(field.default, tuple):
        return "see below" if field.default else "empty"
    if field.default_factory is not None:
        return "empty" if field.default_factory is dict else "computed"
    value = field.default.value if isinstance(field.default, Enum) else field.default
    return "none" if value in {None, ""} else f"`{json.dumps(value).strip(chr(34))}`"


def page() -> str:
    text = INTRODUCTION
    for title, (model, sentence) in SECTIONS.items():
        text += f"\n## {title}\n\n{sentence}\n\n| key | type | default | meaning |\n|---|---|---|---|\n"
        for name, field in model.model_fields.items():
            told = [kind(field.annotation), bounds(field)]
            what, meaning = ", ".join(t for t in told if t), field.description or ""
            text += f"| `{field.alias or name}` | {what} | {default(field)} | {meaning} |\n"
    return text


def test_the_page_lists_every_setting(golden: Callable[[str, str], None]) -> None:
    golden("docs/settings.md", page())


@pytest.mark.parametrize("model", [model for model, _ in SECTIONS.values()], ids=lambda model: model.__name__)
def test_every_number_has_a_bound(model: type[BaseModel]) -> None:
    kinds = {int, float, int | None, float | None}
    numbers = {name: field for name, field in model.model_fields.items() if field.annotation in kinds}
    assert [name for name, field in numbers.items() if not bounds(field) and name != "priority"] == []
