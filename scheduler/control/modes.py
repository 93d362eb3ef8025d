"""In which modes a job can run, and how its attempt runs: from what it declares and was planned, for the planner."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from lowtide.scheduler.model import power_plan
from lowtide.scheduler.model.job import JobSpec, Resources
from lowtide.scheduler.model.mode import Mode
from lowtide.scheduler.model.throttle import limited
from lowtide.scheduler.settings import Settings

Row = Mapping[Any, Any]
AHEAD = timedelta(days=3660)
"""Further than any job runs."""


@dataclass(frozen=True, slots=True)
class Course:
    """How the rest of a job's work goes when nothing changes: what it holds, for how long, and its mean power."""

    held: Resources
    remaining_s: float
    power_w: float


def power_w(spec: JobSpec, held: Resources, settings: Settings) -> float:
    """The power that is planned with: as declared, in proportion to its GPUs, else defaults for what is held."""
    if spec.power_w is None:
        return held.gpus * settings.gpu_power_w + held.cpus * settings.cpu_power_w
    return spec.power_w * (held.gpus / spec.resources.gpus if spec.resources.gpus else 1.0)


def held_by(spec: JobSpec, attempt: Row | None) -> Resources:
    """What an attempt holds, of a job without one what it asks for."""
    return spec.resources if attempt is None else spec.resources_at(attempt["gpus"])


def limits_of(attempt: Row) -> power_plan.PowerPlan:
    """The power limits that an attempt has over time; none where its runner could not set them."""
    return () if attempt["power_refused"] else power_plan.from_json(attempt["power_plan"])


def worked_s(spec: JobSpec, attempt: Row | None, until: datetime) -> float:
    """What an attempt has done by then, as run time in the declared way."""
    if attempt is None or attempt["started_at"] is None:
        return 0.0
    speed, ran = spec.speed_at(attempt["gpus"]), power_plan.spans(limits_of(attempt), attempt["started_at"], until)
    return sum(lasts.total_seconds() * speed * spec.throughput_at(fraction) for lasts, fraction in ran)


def drew_w(spec: JobSpec, attempt: Row, settings: Settings) -> float:
    """The mean power that is planned with for an attempt that has ended."""
    full_w = power_w(spec, held_by(spec, attempt), settings)
    ran = list(power_plan.spans(limits_of(attempt), attempt["started_at"], attempt["ended_at"]))
    whole_s = sum(lasts.total_seconds() for lasts, _ in ran)
    drawn = sum(lasts.total_seconds() * spec.draw_at(fraction) for lasts, fraction in ran)
    return full_w * (drawn / whole_s if whole_s else 1.0)


def course(spec: JobSpec, attempt: Row | None, left_s: float, now: datetime, settings: Settings) -> Course:
    """How ``left_s`` of work, as run time in the declared way, goes on; of a waiting job as it declares."""
    held = held_by(spec, attempt)
    full_w, speed = power_w(spec, held, settings), spec.speed_at(held.gpus)
    limits = () if attempt is None else limits_of(attempt)
    remaining_s = energy_j = 0.0
    for lasts, fraction in power_plan.spans(limits, now, now + AHEAD):
        rate = speed * spec.throughput_at(fraction)
        takes_s = min(lasts.total_seconds(), left_s / rate)
        remaining_s, energy_j = remaining_s + takes_s, energy_j + takes_s * full_w * spec.draw_at(fraction)
        left_s -= takes_s * rate
        if left_s <= 0:
            break
    return Course(held, remaining_s, energy_j / remaining_s if remaining_s else full_w)


def modes_of(spec: JobSpec, settings: Settings, *, is_limited: bool) -> tuple[Mode, ...]:
    """Each declared width, with ``is_limited`` under each power limit too; empty for a job of one way to run."""
    curve = spec.power if is_limited else ()
    widths = [gpus for gpus, _ in spec.widths] or ([spec.resources.gpus] if curve else [])
    wide = (spec.resources_at(gpus) for gpus in widths)
    full = (Mode(w.gpus, w.cpus, spec.speed_at(w.gpus), power_w(spec, w, settings)) for w in wide)
    return tuple(one for mode in full for one in limited(mode, curve))


def modes_beside(way: Course, left_s: float, modes: tuple[Mode, ...]) -> tuple[Mode, ...]:
    """A running job's modes, with speeds relative to the way that it goes on; at its width it has that way alone.

    Its limits are mixed into one mean there. Beside that, the same limits one by one would promise a saving that
    goes on anyway, and it would be stopped for it.
    """
    speed = left_s / way.remaining_s
    others = (replace(mode, speed=mode.speed / speed) for mode in modes)
    return tuple(replace(m, speed=1.0, power_w=way.power_w) if m.gpus == way.held.gpus else m for m in others)
