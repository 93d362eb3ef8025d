"""The job file: what a researcher writes as YAML or sends as JSON, checked and turned into a JobSpec.

Unknown keys are refused with the nearest known one. Relative times are resolved against the ``now`` that
is passed in; a clock time without a zone is UTC here (the command line fills in the local zone).
"""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from lowtide.scheduler.api.field_error import bad_input, field_errors
from lowtide.scheduler.model.data import DATA_HELP, Data, data_of
from lowtide.scheduler.model.dependency import DEPENDENCY_HELP, Dependency, dependencies
from lowtide.scheduler.model.errors import Infeasible
from lowtide.scheduler.model.job import ID_PATTERN, NAMELESS, UNTOLD_S, JobSpec, Resources, Urgency
from lowtide.scheduler.model.quantity import (
    DURATION_HELP,
    MEMORY_HELP,
    MOMENT_HELP,
    duration_s,
    duration_text,
    memory_bytes,
    moment,
)
from lowtide.scheduler.model.run_time import Told
from lowtide.scheduler.model.throttle import POWER_HELP, Allowed, allowed, within
from lowtide.scheduler.model.width import WIDTHS_HELP, Widths, widths_of

MAX_ARGV_BYTES = 96 * 1024
"""Linux takes at most 128 KiB in one argument, and the argument list travels as one variable."""
MAX_ENV_BYTES = 64 * 1024
FORBIDDEN_ENV = ("LD_", "PYTHON", "RAY_", "LOWTIDE_")
"""Prefixes that would change the runner itself rather than the job."""
ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
RUNTIME_ENV_KEYS = ("pip", "conda", "config")
RUNTIME_ENV_ELSEWHERE = {"env_vars": "env", "working_dir": "working_dir"}
SHELLS = ("sh", "bash", "dash")
MIN_DURATION_S = 1.0
MOST_WAYS = 64
"""Widths times power limits: a plan weighs each."""


def _slug(value: str) -> str:
    if not ID_PATTERN.fullmatch(value):
        message = (
            f"{value[:80]!r} is not a slug: expected 1 to 63 of a-z, 0-9, '-' and '_',"
            " beginning with a letter or digit, for example 'brain-mri-3'"
        )
        raise ValueError(message)
    return value


def _no_nul(value: str) -> str:
    if "\0" in value:
        message = "a NUL character cannot be passed to a program"
        raise ValueError(message)
    return value


Slug = Annotated[str, AfterValidator(_slug), Field(json_schema_extra={"pattern": f"^{ID_PATTERN.pattern}$"})]


def _plain_number(value: object) -> object:
    """YAML reads ``--epochs, 3`` as a number; a program's argument is text."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Text = Annotated[str, BeforeValidator(_plain_number, json_schema_input_type=str | float), AfterValidator(_no_nul)]
Duration = Annotated[
    float,
    BeforeValidator(duration_s),
    WithJsonSchema({"type": ["string", "number"], "description": f"seconds as a number, or text: {DURATION_HELP}"}),
]
Memory = Annotated[
    int,
    BeforeValidator(memory_bytes),
    WithJsonSchema({"type": ["string", "integer"], "description": f"bytes, or text: {MEMORY_HELP}"}),
]
Dependencies = Annotated[
    tuple[Dependency, ...],
    BeforeValidator(dependencies),
    WithJsonSchema({"type": ["string", "array"], "items": {"type": "string"}, "description": DEPENDENCY_HELP}),
]
DataSets = Annotated[
    tuple[Data, ...],
    BeforeValidator(data_of),
    WithJsonSchema({"type": "array", "items": {"type": "string"}, "description": f"data that it reads: {DATA_HELP}"}),
]
DeclaredWidths = Annotated[
    Widths,
    BeforeValidator(widths_of),
    WithJsonSchema(
        {
            "type": ["object", "string"],
            "additionalProperties": {"type": "number", "exclusiveMinimum": 0},
            "description": "GPU counts that it can run with, resources.gpus among them, and their throughput in any "
            f"unit: {WIDTHS_HELP}",
        }
    ),
]
PowerLimits = Annotated[
    Allowed,
    BeforeValidator(allowed),
    WithJsonSchema({"type": "object", "description": f"power limits of its GPUs that it may be run at: {POWER_HELP}"}),
]
Moment = Annotated[str, Field(max_length=64, description=MOMENT_HELP)]
Country = Annotated[
    str,
    BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value),
    Field(pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$", description="ISO 3166 code, for example DE or CA-QC"),
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ResourcesFile(_Strict):
    """What one attempt holds."""

    gpus: Annotated[int, Field(strict=True, ge=0, le=100_000)] = 0
    gpu_model: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}$")] | None = None
    cpus: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] = 1
    memory: Memory | None = None


class JobFile(_Strict):
    """One job. Either ``entrypoint`` or ``script``; at most one of ``deadline`` and ``patience``."""

    name: Slug = NAMELESS
    project: Slug = "default"
    queue: Slug = "research"
    entrypoint: Annotated[tuple[Text, ...], Field(min_length=1, max_length=4096)] | None = Field(
        None, description="program and arguments; no shell is involved"
    )
    script: Annotated[Text, Field(min_length=1)] | None = Field(None, description="text run by bash")
    working_dir: Annotated[Text, Field(max_length=4096)] | None = Field(
        None, description="absolute path; its content travels with the job"
    )
    runtime_env: dict[str, Any] = Field(
        default_factory=dict, description="Ray runtime environment; allowed keys: pip, conda, config"
    )
    env: dict[str, Text] = Field(default_factory=dict, description="environment variables; no secrets")
    resources: ResourcesFile = ResourcesFile()
    duration: Duration | None = Field(
        None, description="expected run time at full speed; without, as earlier runs had, else as the queue says"
    )
    time_limit: Duration | None = Field(None, description="run time after which the job is ended, whatever it has done")
    begin: Moment | None = None
    deadline: Moment | None = None
    deadline_action: Literal["refuse", "run"] = Field(
        "refuse", description="what to do with a deadline that can no longer be met: refuse, or run at once"
    )
    patience: Duration | None = None
    interruptible: Annotated[bool, Field(strict=True)] = False
    own_checkpoints: Annotated[bool, Field(strict=True)] = Field(
        False,
        description="the program saves by itself where it finds it again, so it needs no checkpoint_dir of its site",
    )
    checkpoint_interval: Duration = 600.0
    grace: Duration = 30.0
    residency: Annotated[tuple[Country, ...], Field(max_length=64)] = ()
    urgency: Urgency | None = None
    retries: Annotated[int, Field(strict=True, ge=0, le=20)] = 2
    power_w: Annotated[float, Field(gt=0, le=10_000_000, allow_inf_nan=False)] | None = None
    labels: Annotated[
        dict[
            Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$")],
            Annotated[str, Field(max_length=256)],
        ],
        Field(max_length=32),
    ] = Field(default_factory=dict)
    depends_on: Dependencies = ()
    data: DataSets = ()
    widths: DeclaredWidths = Field((), json_schema_extra={"default": {}})
    power: PowerLimits = Field((), json_schema_extra={"default": {}})

    @field_validator("entrypoint", mode="before")
    @classmethod
    def _is_a_list(cls, value: object) -> object:
        if isinstance(value, str):
            message = "is text; expected a list such as [python, train.py], or the key 'script' for shell text"
            raise ValueError(message)  # noqa: TRY004 - pydantic turns ValueError alone into a field error
        return value

    @field_validator("script")
    @classmethod
    def _is_for_bash(cls, value: str | None) -> str | None:
        first = (value or "").split("\n", 1)[0]
        shell = PurePosixPath(first.split()[-1]).name if first.startswith("#!") and first.split() else ""
        if first.startswith("#!") and not (shell in SHELLS or any(f"/{s} " in f"{first} " for s in SHELLS)):
            message = f"begins with {first[:60]!r}, but a script is run by bash; use 'entrypoint' for other programs"
            raise ValueError(message)
        return value

    @field_validator("working_dir")
    @classmethod
    def _is_absolute(cls, value: str | None) -> str | None:
        if value is not None and not PurePosixPath(value).is_absolute():
            message = f"{value[:200]!r} is relative; the daemon runs elsewhere, so give an absolute path"
            raise ValueError(message)
        return value

    @field_validator("runtime_env")
    @classmethod
    def _is_allowed(cls, value: dict[str, Any]) -> dict[str, Any]:
        for key in value:
            if key in RUNTIME_ENV_ELSEWHERE:
                message = f"{key!r} is not taken here; use the job's own key '{RUNTIME_ENV_ELSEWHERE[key]}'"
                raise ValueError(message)
            if key not in RUNTIME_ENV_KEYS:
                message = f"{key[:80]!r} is not allowed; expected one of {', '.join(RUNTIME_ENV_KEYS)}"
                raise ValueError(message)
        return value

    @field_validator("env")
    @classmethod
    def _is_harmless(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if not ENV_NAME.fullmatch(name):
                message = f"{name[:80]!r} is no variable name"
                raise ValueError(message)
            if name.upper().startswith(FORBIDDEN_ENV):
                message = f"{name!r} would change the runner; LD_*, PYTHON*, RAY_* and LOWTIDE_* are not taken"
                raise ValueError(message)
        if sum(len(k) + len(v.encode()) for k, v in value.items()) > MAX_ENV_BYTES:
            message = f"holds more than {MAX_ENV_BYTES // 1024} KiB; write large values to a file"
            raise ValueError(message)
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        _refuse(self.entrypoint is None and self.script is None, "has nothing to run; give 'entrypoint' or 'script'")
        _refuse(bool(self.entrypoint and self.script), "has both 'entrypoint' and 'script'; keep one")
        both_limits = self.deadline is not None and self.patience is not None
        _refuse(both_limits, "has both 'deadline' and 'patience'; keep one")
        short = self.duration is not None and self.duration < MIN_DURATION_S
        _refuse(short, "has a duration under 1 s; give the expected run time")
        limit = self.time_limit
        _refuse(limit is not None and limit < MIN_DURATION_S, "has a time_limit under 1 s; give the longest run time")
        ends = limit is not None and self.duration is not None and self.duration > limit
        _refuse(ends, "has a duration beyond its time_limit, so that it would be ended on its way; change one")
        _refuse(self.checkpoint_interval < MIN_DURATION_S, "has a checkpoint_interval under 1 s")
        argv_bytes = sum(len(part.encode()) for part in self.argv())
        _refuse(
            argv_bytes > MAX_ARGV_BYTES,
            f"has a command of {argv_bytes} bytes, more than {MAX_ARGV_BYTES}; put it in a file in working_dir",
        )
        asked = self.resources.gpus
        is_told = not self.widths or asked in dict(self.widths)
        _refuse(
            not is_told, f"asks for {asked} GPUs, and 'widths' tells no throughput of that; add it, or ask for these"
        )
        ways = max(1, len(self.widths)) * (1 + len(within(self.power, self.resources.gpu_model)))
        _refuse(ways > MOST_WAYS, f"has {ways} ways to run, more than {MOST_WAYS}; name fewer widths or power limits")
        _refuse(self.power != () and not asked, "has 'power' and asks for no GPUs; leave out 'power', or ask for GPUs")
        return self

    def argv(self) -> tuple[str, ...]:
        """The program and its arguments; a script is handed to bash as one argument."""
        if self.entrypoint is not None:
            return self.entrypoint
        return ("bash", "-c", self.script or "", self.name)

    def spec(self, now: datetime) -> JobSpec:
        """The frozen spec, with relative times resolved against ``now`` (aware).

        Raises:
            BadInput: a time that is not understood.
            Infeasible: a deadline that can no longer be met, unless ``deadline_action`` is ``run``.

        """
        meant = self.as_meant(now)
        _check_deadline(self, now=now, begin_at=meant.begin_at, deadline_at=meant.deadline_at)
        return meant

    def as_meant(self, now: datetime) -> JobSpec:
        """The same without a look at whether it can still be done: what an earlier submission is compared with."""
        begin_at = _moment("begin", self.begin, now)
        deadline_at = _moment("deadline", self.deadline, now)
        held = self.resources
        return JobSpec(
            name=self.name,
            argv=self.argv(),
            project=self.project,
            queue=self.queue,
            working_dir=self.working_dir,
            runtime_env=dict(self.runtime_env),
            env=dict(self.env),
            resources=Resources(held.gpus, held.cpus, held.memory, held.gpu_model),
            duration_s=UNTOLD_S if self.duration is None else self.duration,
            told=Told.QUEUE if self.duration is None else Told.DECLARED,
            time_limit_s=self.time_limit,
            begin_at=begin_at,
            deadline_at=deadline_at,
            patience_s=self.patience,
            interruptible=self.interruptible,
            own_checkpoints=self.own_checkpoints,
            checkpoint_interval_s=self.checkpoint_interval,
            grace_s=self.grace,
            residency=frozenset(self.residency),
            urgency=self.urgency,
            retries=self.retries,
            power_w=self.power_w,
            labels=dict(self.labels),
            depends_on=self.depends_on,
            data=self.data,
            widths=self.widths,
            power=within(self.power, held.gpu_model),
        )


def _refuse(wrong: bool, message: str) -> None:  # noqa: FBT001 - reads as a sentence where it is called
    if wrong:
        raise ValueError(f"the job {message}")


def _moment(field: str, text: str | None, now: datetime) -> datetime | None:
    if text is None:
        return None
    try:
        return moment(text, now=now)
    except ValueError as error:
        raise bad_input([{"field": field, "message": str(error)}]) from None


def _check_deadline(job: JobFile, *, now: datetime, begin_at: datetime | None, deadline_at: datetime | None) -> None:
    if deadline_at is None or job.deadline_action == "run" or job.duration is None:
        return
    finish_at = max(now, begin_at or now) + timedelta(seconds=job.duration)
    if finish_at <= deadline_at:
        return
    detail = (
        f"the deadline {_shown(deadline_at)} cannot be met: with an expected run time of"
        f" {duration_text(job.duration)} the earliest finish is {_shown(finish_at)}."
    )
    raise Infeasible(
        detail,
        fix="Give a later deadline or a shorter duration, or set deadline_action: run to start it at once and late.",
        details={"errors": [{"field": "deadline", "message": detail}]},
    )


def _shown(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S UTC")


def read_job_json(body: bytes) -> JobFile:
    """The job in a request body.

    Raises:
        BadInput: no JSON, or fields that are wrong; ``details['errors']`` lists each with its path.

    """
    try:
        return JobFile.model_validate_json(body)
    except ValidationError as error:
        raise bad_input(field_errors(error, JobFile)) from None


def read_job(values: Mapping[str, Any]) -> JobFile:
    """The job in a mapping, for example a YAML file; raises as ``read_job_json``."""
    try:
        return JobFile.model_validate(values)
    except ValidationError as error:
        raise bad_input(field_errors(error, JobFile)) from None
