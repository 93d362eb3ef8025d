"""A job as the core sees it: the frozen spec and the ids."""

import hashlib
import json
import re
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NewType

from lowtide.scheduler.model.data import Data, data_of
from lowtide.scheduler.model.dependency import Dependency, dependencies
from lowtide.scheduler.model.errors import BadInput
from lowtide.scheduler.model.run_time import RunTime, Told
from lowtide.scheduler.model.throttle import Point
from lowtide.scheduler.model.width import Widths, widths_of

JobId = NewType("JobId", str)
AttemptId = NewType("AttemptId", str)

ID_PATTERN = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
"""Ray turns a slash in a submission id into a record that can be neither stopped nor deleted."""

NAMELESS = "job"
"""The name of a job that was given none."""


class Urgency(StrEnum):
    """``clinical`` is never delayed, suspended or throttled for carbon."""

    NORMAL = "normal"
    CLINICAL = "clinical"


@dataclass(frozen=True, slots=True)
class Resources:
    """What one attempt holds: whole GPUs, CPUs, optional memory in bytes and GPU model."""

    gpus: int = 0
    cpus: int = 1
    memory_bytes: int | None = None
    gpu_model: str | None = None


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What a researcher asked for; never changed after submission.

    ``duration_s`` is the expected run time at full speed. Exactly one of ``deadline_at`` (finish by)
    and ``patience_s`` (start of work may slip by this much) may be given; without either the queue's
    patience holds. ``residency`` names the allowed jurisdictions; empty means anywhere. ``own_checkpoints``:
    the program keeps its state where it finds it again at any site, without the checkpoint helper. ``depends_on``: jobs
    that must have ended before it begins; its patience then counts from their end. ``data``: what it reads and
    where that lies. ``widths``: GPU counts that it can run with and their throughput, ``resources.gpus`` among them;
    empty where it runs with these alone. ``power``: power limits of its GPUs that it may be run at. What ``resources``
    asks for, at full power, is the declared way: ``duration_s`` is measured in it. ``high_s``: the run time that it
    hardly ever exceeds, and ``told`` who says so, where it declares none. ``time_limit_s``: the run time, in
    the declared way, after which it is ended, whatever it has come to.
    """

    name: str
    argv: tuple[str, ...]
    project: str = "default"
    queue: str = "research"
    working_dir: str | None = None
    runtime_env: dict[str, object] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    resources: Resources = field(default_factory=Resources)
    duration_s: float = 3600.0
    begin_at: datetime | None = None
    deadline_at: datetime | None = None
    patience_s: float | None = None
    interruptible: bool = False
    own_checkpoints: bool = False
    checkpoint_interval_s: float = 600.0
    grace_s: float = 30.0
    residency: frozenset[str] = frozenset()
    urgency: Urgency | None = None
    retries: int = 2
    power_w: float | None = None
    labels: dict[str, str] = field(default_factory=dict)
    depends_on: tuple[Dependency, ...] = ()
    data: tuple[Data, ...] = ()
    widths: Widths = ()
    high_s: float | None = None
    told: Told = Told.DECLARED
    time_limit_s: float | None = None

    @property
    def fingerprint(self) -> str:
        """What jobs have in common that run the same: project, command and GPUs."""
        told = json.dumps([self.project, self.argv, self.resources.gpus, self.resources.gpu_model])
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    @property
    def is_named(self) -> bool:
        """Whether somebody gave it its name: that of the program, as ``python``, is what very different jobs have."""
        return self.name not in {NAMELESS, slug(self.argv[0].rpartition("/")[2])}

    @property
    def as_asked(self) -> "JobSpec":
        """The same without what was worked out since: how long a job that declares no run time is expected to run.

        It then looks as it did when such a job was taken to declare an hour: submissions of that time can be repeated.
        """
        if self.told is Told.DECLARED:
            return self
        return replace(self, duration_s=UNTOLD_S, high_s=None, told=Told.DECLARED)

    def expected_as(self, found: RunTime) -> "JobSpec":
        """The same with a run time that was worked out."""
        return replace(self, duration_s=found.expected_s, high_s=found.high_s, told=found.told)

    power: tuple[Point, ...] = ()

    def latest_finish(self, submitted_at: datetime, queue_patience_s: float) -> datetime:
        """When the job must have ended: its deadline, or patience plus expected run time."""
        if self.deadline_at is not None:
            return self.deadline_at
        patience_s = queue_patience_s if self.patience_s is None else self.patience_s
        begin = max(submitted_at, self.begin_at or submitted_at)
        return begin + timedelta(seconds=patience_s + self.duration_s)

    def speed_at(self, gpus: int) -> float:
        """Seconds of work done per second with so many GPUs; 1 as declared, and for what is not among its widths."""
        rates = dict(self.widths)
        return rates[gpus] / rates[self.resources.gpus] if {gpus, self.resources.gpus} <= rates.keys() else 1.0

    def throughput_at(self, power_fraction: float) -> float:
        """How much of its speed is left under a power limit; 1 for what is not among its limits."""
        return next((throughput for fraction, throughput, _ in self.power if fraction == power_fraction), 1.0)

    def draw_at(self, power_fraction: float) -> float:
        """How much of its power is drawn under a power limit; 1 for what is not among its limits."""
        found = (speed * energy for fraction, speed, energy in self.power if fraction == power_fraction)
        return next(found, 1.0)

    def resources_at(self, gpus: int) -> Resources:
        """What an attempt with so many GPUs holds: CPUs in proportion, rounded up; memory as declared."""
        asked = self.resources
        if gpus == asked.gpus or not asked.gpus:
            return asked
        return replace(asked, gpus=gpus, cpus=max(1, -(-asked.cpus * gpus // asked.gpus)))


def check_id(value: str, what: str) -> str:
    """Return ``value`` when it is a slug; otherwise raise BadInput.

    Args:
        value: a job name, project, queue or id.
        what: the word for it in the message.

    """
    if not ID_PATTERN.fullmatch(value):
        message = (
            f"{what} {value[:80]!r} is not a slug: expected 1 to 63 of a-z, 0-9, '-' and '_',"
            " beginning with a letter or digit."
        )
        raise BadInput(message, fix="Write it without slashes, spaces or capitals, for example 'brain-mri-3'.")
    return value


def slug(text: str) -> str:
    """The nearest valid job name."""
    return re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-_")[:63] or NAMELESS


def attempt_id(job_id: JobId, number: int) -> AttemptId:
    """The Ray submission id, fixed in the store before any call: ``<job>-a<n>``."""
    return AttemptId(f"{job_id}-a{number}")


UNTOLD_S = 3600.0
"""Stands in for the run time of a job that declares none."""
LATER = ("depends_on", "data", "widths", "power", "high_s", "told", "time_limit_s")
"""Fields that came after the first stored specs."""
DROPPED = frozenset({"elastic", "throttleable"})
"""Fields of the first stored specs that nothing ever came of."""


def spec_to_json(spec: JobSpec) -> dict[str, object]:
    """The spec as JSON-able values; ``spec_from_json`` gives the same spec back."""
    plain = {name: getattr(spec, name) for name in JobSpec.__slots__}
    plain["argv"] = list(spec.argv)
    plain["resources"] = {name: getattr(spec.resources, name) for name in Resources.__slots__}
    plain["residency"] = sorted(spec.residency)
    plain["told"] = "" if spec.told is Told.DECLARED else spec.told.value
    for name in ("widths", "power"):
        plain[name] = [list(one) for one in getattr(spec, name)]
    for name in ("depends_on", "data"):
        plain[name] = [str(one) for one in getattr(spec, name)]
    for name in LATER:
        if not plain[name]:  # older jobs do not have it, and a repeated submission must give the same digest
            del plain[name]
    for name in ("begin_at", "deadline_at"):
        moment = plain[name]
        plain[name] = moment.isoformat() if isinstance(moment, datetime) else None
    return plain


def spec_from_json(plain: dict[str, Any]) -> JobSpec:
    """The spec that ``spec_to_json`` wrote down."""
    values = {name: value for name, value in plain.items() if name not in DROPPED}
    values["argv"] = tuple(values["argv"])
    values["resources"] = Resources(**values["resources"])
    values["residency"] = frozenset(values["residency"])
    values["depends_on"] = dependencies(values.get("depends_on", []))
    values["data"] = data_of(values.get("data", []))
    values["widths"] = widths_of(values.get("widths", []))
    values["told"] = Told(values.get("told", Told.DECLARED))
    values["power"] = tuple((limit, speed, energy) for limit, speed, energy in values.get("power", []))
    values["urgency"] = Urgency(values["urgency"]) if values["urgency"] else None
    for name in ("begin_at", "deadline_at"):
        values[name] = datetime.fromisoformat(values[name]) if values[name] else None
    return JobSpec(**values)
