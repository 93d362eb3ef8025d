"""What the settings say of a site's capacity: its pools, and what it offers while its grid is dirty."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lowtide.scheduler.model.job import check_id
from lowtide.scheduler.model.site import Pool, Share

ACCELERATOR = "accelerator_type:"
"""Ray gives a node with GPUs that it knows one unit of the resource of this name and their model."""


class PoolSettings(BaseModel):
    """The GPUs of one model at a site with the CPUs beside them, or CPUs alone."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str
    gpus: Annotated[int, Field(ge=0, le=100_000)] = 0
    cpus: Annotated[int, Field(ge=1, le=1_000_000)] = Field(description="on the nodes of the pool, all together")
    gpu_model: str = Field("", description="what jobs ask for as gpu_model")
    node_resource: str = Field(
        "",
        description="a Ray resource that every node of the pool has, and no other node, at least one of it; "
        "empty is accelerator_type: and gpu_model, which Ray gives nodes by itself",
    )

    @model_validator(mode="after")
    def _check(self) -> "PoolSettings":
        check_id(self.name, "pool name")
        if not self.resource:
            message = (
                f"pool {self.name}: neither node_resource nor gpu_model is given, so jobs could not be sent to its "
                "nodes; start these with a resource of their own and name it here as node_resource"
            )
            raise ValueError(message)
        return self

    @property
    def resource(self) -> str:
        """The Ray resource that only nodes of the pool have; empty where that is not known."""
        return self.node_resource or (ACCELERATOR + self.gpu_model if self.gpu_model else "")

    def pool(self) -> Pool:
        """The pool as the core sees it."""
        return Pool(self.name, self.gpus, self.cpus, self.gpu_model)


class ShareSettings(BaseModel):
    """What a site offers while its grid emits more than so much; clinical work has all of its GPUs and power."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    above_g_per_kwh: Annotated[float, Field(ge=0, le=5000)] = Field(description="by the forecast, without the PUE")
    gpu_share: Annotated[float, Field(ge=0, le=1)] = Field(1.0, description="of the GPUs of each pool")
    power_share: Annotated[float, Field(ge=0, le=1)] = Field(1.0, description="of power_budget_w")

    def share(self) -> Share:
        """The step as the core sees it."""
        return Share(self.above_g_per_kwh, self.gpu_share, self.power_share)


def check_pools(site: str, pools: Sequence[PoolSettings]) -> None:
    """Raise ValueError where two pools cannot be told apart."""
    for what, values in (("name", [p.name for p in pools]), ("node_resource", [p.resource for p in pools])):
        doubled = sorted({value for value in values if values.count(value) > 1})
        if doubled:
            message = f"site {site}: several pools have the {what} {', '.join(doubled)}; each needs one of its own"
            raise ValueError(message)


def check_steps(site: str, steps: Sequence[ShareSettings], budget_w: float | None) -> None:
    """Raise ValueError where steps contradict each other, or ask for a share of no budget."""
    ordered = sorted(steps, key=lambda step: step.above_g_per_kwh)
    limits = [step.above_g_per_kwh for step in ordered]
    if len(set(limits)) < len(limits):
        message = f"site {site}: virtual_capacity has two steps above the same intensity; keep one of them"
        raise ValueError(message)
    for lower, higher in pairwise(ordered):
        if higher.gpu_share > lower.gpu_share or higher.power_share > lower.power_share:
            message = (
                f"site {site}: virtual_capacity offers more above {higher.above_g_per_kwh:g} g/kWh than above "
                f"{lower.above_g_per_kwh:g}; a dirtier grid must not be offered more"
            )
            raise ValueError(message)
    if budget_w is None and any(step.power_share < 1 for step in steps):
        message = f"site {site}: virtual_capacity has a power_share, and there is no power_budget_w to take it of"
        raise ValueError(message)
