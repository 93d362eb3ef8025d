"""In which modes a job can run, and in which one its attempt does: from what it declares, for the planner."""

from collections.abc import Mapping
from typing import Any

from lowtide.scheduler.model.job import JobSpec, Resources
from lowtide.scheduler.model.mode import Mode
from lowtide.scheduler.settings import Settings


def power_w(spec: JobSpec, held: Resources, settings: Settings) -> float:
    """The power that is planned with: as declared, in proportion to its GPUs, else defaults for what is held."""
    if spec.power_w is None:
        return held.gpus * settings.gpu_power_w + held.cpus * settings.cpu_power_w
    return spec.power_w * (held.gpus / spec.resources.gpus if spec.resources.gpus else 1.0)


def held_by(spec: JobSpec, attempt: Mapping[Any, Any] | None) -> Resources:
    """What an attempt holds, of a job without one what it asks for."""
    return spec.resources if attempt is None else spec.resources_at(attempt["gpus"])


def modes_of(spec: JobSpec, held: Resources, settings: Settings) -> tuple[Mode, ...]:
    """One mode per declared width, their speeds relative to that of what is held; empty for a job of one width."""
    now = spec.speed_at(held.gpus)
    wide = (spec.resources_at(gpus) for gpus, _ in spec.widths)
    return tuple(Mode(w.gpus, w.cpus, spec.speed_at(w.gpus) / now, power_w(spec, w, settings)) for w in wide)
