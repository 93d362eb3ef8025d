"""The daemon's settings: defaults, a YAML file and flags, later ones win.

Unknown keys are refused with the nearest known key; nothing here opens a socket or a file of data.
"""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from lowtide.scheduler.lined import line_at
from lowtide.scheduler.model.data import USUAL_GBIT_PER_S, USUAL_KWH_PER_GB
from lowtide.scheduler.model.errors import BadInput
from lowtide.scheduler.model.job import Urgency, check_id
from lowtide.scheduler.model.site import Queue, Site
from lowtide.scheduler.project_settings import ProjectSettings
from lowtide.scheduler.site_settings import PoolSettings, ShareSettings, check_pools, check_steps
from lowtide.scheduler.tariff_settings import TariffSettings


def default_data_dir() -> Path:
    """``$LOWTIDE_DATA_DIR``, else the XDG data home."""
    if explicit := os.environ.get("LOWTIDE_DATA_DIR"):
        return Path(explicit)
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local/share")
    return Path(base) / "lowtide"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SiteSettings(_Strict):
    """One Ray cluster."""

    name: str
    address: str = Field("local", description="'local' or the base URL of the cluster's dashboard")
    zone: str = Field("", description="grid zone, for example GB or DE; empty runs carbon-blind")
    region: str = Field(
        "", description="cloud region, for example aws:eu-west-1, in place of a zone; a zone given as well wins"
    )
    grid: str = Field("", description="grid source for the zone; empty picks one that knows the zone")
    climatology: bool = Field(
        False,
        description="when no forecast and no fresh history is left, go by the mean of the same time of day over the "
        "days that are kept, and delay jobs where that has captured a saving; each site of the zone must say so",
    )
    gpus: Annotated[int, Field(ge=0, le=100_000)] = 0
    cpus: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    gpu_model: str = ""
    pools: tuple[PoolSettings, ...] = Field(
        (), description="in place of gpus, cpus and gpu_model where nodes differ; not if local"
    )
    power_budget_w: Annotated[float | None, Field(ge=0)] = Field(
        None, description="watts that the jobs of the site may draw together, by the power they are planned with"
    )
    virtual_capacity: tuple[ShareSettings, ...] = Field(
        (), description="what is offered to work that may wait, by the grid's intensity; running jobs go on"
    )
    tariff: TariffSettings | None = Field(None, description="what electricity costs, by the time of day and week")
    jurisdiction: str = Field("", description="ISO 3166 code; empty is derived from nothing and matches no residency")
    pue: Annotated[float, Field(ge=1.0, le=5.0)] = 1.0
    transfer_gbit_per_s: Annotated[float, Field(gt=0, le=100_000)] = Field(
        USUAL_GBIT_PER_S,
        description="how fast data that jobs declare is brought to or from the site; the slower end counts",
    )
    token_file: Path | None = Field(None, description="file with the cluster's bearer token")
    ca_file: Path | None = None
    python: str = Field("", description="Python of the cluster's nodes; empty: this one locally, python3 elsewhere")
    checkpoint_dir: str = Field(
        "", description="directory on the site for checkpoints; locally inside the data directory"
    )
    lease_s: Annotated[float, Field(gt=0)] = Field(
        60.0,
        description="wall seconds after which a runner that cannot reach its cluster's head ends its job; not if local",
    )
    fence_s: Annotated[float, Field(gt=0)] = Field(
        120.0,
        description="wall seconds of silence that prove an attempt dead, at least twice lease_s; not if local",
    )

    @model_validator(mode="after")
    def _check(self) -> "SiteSettings":
        check_id(self.name, "site name")
        self._check_capacity()
        if self.address == "local":
            return self  # this machine tells which processes live: neither lease nor fence counts here
        if self.fence_s < 2 * self.lease_s:
            message = (
                f"site {self.name}: fence_s is {self.fence_s:g}, expected at least twice lease_s ({self.lease_s:g}): "
                "a runner needs time to notice that its lease has lapsed; raise fence_s or lower lease_s"
            )
            raise ValueError(message)
        AnyHttpUrl(self.address)
        return self

    def _check_capacity(self) -> None:
        check_steps(self.name, self.virtual_capacity, self.power_budget_w)
        check_pools(self.name, self.pools)
        twice = sorted(self.model_fields_set & {"gpus", "cpus", "gpu_model"})
        if self.pools and twice:
            message = f"site {self.name}: pools are given, so {', '.join(twice)} must be left out: the pools have them"
            raise ValueError(message)
        if self.pools and self.address == "local":
            message = f"site {self.name}: the private cluster is one machine; leave pools out, or give an address"
            raise ValueError(message)

    def site(self) -> Site:
        """The site as the core sees it."""
        pools = tuple(pool.pool() for pool in self.pools)
        return Site(
            name=self.name,
            zone=self.zone,
            gpus=sum(pool.gpus for pool in pools) if pools else self.gpus,
            cpus=sum(pool.cpus for pool in pools) if pools else self.cpus,
            jurisdiction=self.jurisdiction,
            gpu_model=self.gpu_model,
            pue=self.pue,
            address=self.address,
            pools=pools,
            power_budget_w=self.power_budget_w,
            virtual_capacity=tuple(step.share() for step in self.virtual_capacity),
            tariff=None if self.tariff is None else self.tariff.tariff(),
        )


class QueueSettings(_Strict):
    """One queue; see ``lowtide.scheduler.model.site.Queue`` for units and meaning."""

    name: str
    policy: str = "balanced"
    params: dict[str, float] = Field(default_factory=dict)
    urgency: Urgency = Urgency.NORMAL
    patience_s: Annotated[float, Field(ge=0, le=30 * 86_400)] = 24 * 3600.0
    min_savings: Annotated[float, Field(ge=0, le=1)] = 0.01
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.6
    """0.5 goes by the expected saving alone; each step of surety gives up a part of it (docs/decisions/0012)."""
    max_suspensions: Annotated[int, Field(ge=0)] = 3
    min_run_s: Annotated[float, Field(ge=0)] = 1800.0
    switch_cost_s: Annotated[float, Field(ge=0)] = 120.0
    deadline_margin: Annotated[float, Field(ge=0, le=1)] = 0.1
    priority: int = 0
    default_duration_s: Annotated[float, Field(ge=1, le=30 * 86_400)] = Field(
        3600.0, description="run time expected of a job that declares none, has no limit and no earlier runs"
    )
    fair_share_weight: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0, description="how far jobs of projects that used less than their share go before others, see projects.md"
    )
    delay_g_per_h: Annotated[float, Field(ge=0)] = Field(
        0.0, description="grams of CO2e that each hour by which a job ends later must save, see projects.md"
    )
    money_g_per_unit: Annotated[float, Field(ge=0)] = Field(
        0.0, description="grams of CO2e that a unit of a site's currency is worth, by its tariff, see projects.md"
    )

    def queue(self) -> Queue:
        """The queue as the core sees it."""
        values = self.model_dump()
        params = tuple(sorted(values.pop("params").items()))
        return Queue(policy_params=params, **values)


REGION = re.compile(r"[a-z0-9][a-z0-9_-]*:[a-z0-9][a-z0-9_.-]*", re.ASCII)
MAX_REGION = 80


class RegionSettings(_Strict):
    """Where one cloud region lies, before or beside the public tables; a plain text is its zone."""

    zone: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")] = Field(
        description="grid zone, for whatever source the site names"
    )
    source: Annotated[str, Field(max_length=300)] = Field("", description="who says so, shown by lowtide zones")

    @model_validator(mode="before")
    @classmethod
    def _spelt_out(cls, value: object) -> object:
        if isinstance(value, bool):
            message = f'{value} is no zone; YAML reads NO as false: put the zone in quotes, as in "NO"'
            raise ValueError(message)  # noqa: TRY004 - pydantic takes no other
        return {"zone": value} if isinstance(value, str) else value


class GridSettings(_Strict):
    """One grid source; ``options`` go to the source itself."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)


DEFAULT_QUEUES = (
    QueueSettings(name="research"),
    QueueSettings(name="greenest", policy="lowest_slots", max_suspensions=6),
    QueueSettings(name="asap", policy="asap"),
    QueueSettings(name="clinical", policy="asap", urgency=Urgency.CLINICAL, priority=100),
)
DEFAULT_GRIDS = (GridSettings(name="neso"), GridSettings(name="recorded"), GridSettings(name="static"))


class Settings(_Strict):
    """Everything an administrator can set."""

    data_dir: Path = Field(default_factory=default_data_dir)
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = Field(8470, description="0 picks a free one")
    sites: tuple[SiteSettings, ...] = ()
    queues: tuple[QueueSettings, ...] = DEFAULT_QUEUES
    projects: tuple[ProjectSettings, ...] = ()
    grids: tuple[GridSettings, ...] = DEFAULT_GRIDS
    regions: dict[str, RegionSettings] = Field(
        default_factory=dict, description="cloud regions whose zone you know better than public tables, see below"
    )
    slot_s: Annotated[float, Field(ge=60, le=3600)] = 900.0
    fair_share_half_life_h: Annotated[float, Field(ge=24, le=2160)] = Field(
        168.0, description="hours after which GPU time that a project used counts half for its fair share"
    )
    tick_s: Annotated[float, Field(gt=0)] = Field(
        15.0, description="wall seconds between two scheduling cycles when nothing happens"
    )
    plan_budget_s: Annotated[float, Field(gt=0)] = Field(
        5.0, description="wall seconds that one plan may take; of a longer queue its most urgent part is planned"
    )
    poll_s: Annotated[float, Field(gt=0)] = Field(1.0, description="wall seconds between two looks at a live attempt")
    sample_s: Annotated[float, Field(gt=0)] = Field(
        30.0, description="wall seconds between two energy samples of a job"
    )
    gpu_power_w: Annotated[float, Field(gt=0)] = Field(
        300.0, description="planning default per GPU where a job declares nothing"
    )
    cpu_power_w: Annotated[float, Field(gt=0)] = Field(6.5, description="planning default per CPU")
    transfer_kwh_per_gb: Annotated[float, Field(ge=0, le=10)] = Field(
        USUAL_KWH_PER_GB,
        description="electricity of bringing a gigabyte of declared data to another site; the default is Aslan et al. "
        "(2018) carried on to 2020, and published estimates lie between 0.001 and 0.06",
    )
    max_working_dir_mib: Annotated[int, Field(ge=1)] = 256
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("regions", mode="after")
    @classmethod
    def _lower(cls, rows: dict[str, RegionSettings]) -> dict[str, RegionSettings]:
        found = {name.lower(): row for name, row in rows.items()}
        for name in rows:
            if len(name) > MAX_REGION or not REGION.fullmatch(name.lower()):
                message = f"{name[:MAX_REGION]!r} is no cloud region: write PROVIDER:REGION, such as aws:eu-west-1"
                raise ValueError(message)
            if sum(other.lower() == name.lower() for other in rows) > 1:
                message = f"{name.lower()} is placed twice (capitals do not count): keep one row"
                raise ValueError(message)
        return found

    @model_validator(mode="after")
    def _check(self) -> "Settings":
        named = {
            "site": [s.name for s in self.sites],
            "queue": [q.name for q in self.queues],
            "project": [p.name for p in self.projects],
        }
        for what, names in named.items():
            doubled = {n for n in names if names.count(n) > 1}
            if doubled:
                message = f"{what} {', '.join(sorted(doubled))} is configured twice"
                raise ValueError(message)
        for site in self.sites:
            if site.address != "local" and site.fence_s < 2 * self.sample_s:
                message = (
                    f"site {site.name}: fence_s is {site.fence_s:g}, expected at least twice sample_s "
                    f"({self.sample_s:g}): a living runner is heard that often; raise fence_s or lower sample_s"
                )
                raise ValueError(message)
        return self


def load(path: Path | None, **overrides: object) -> Settings:
    """Read the YAML file, apply the overrides that are not None, and validate.

    Raises:
        BadInput: the file is missing, is no YAML mapping, or has a wrong or unknown key.

    """
    values = _read(path) if path else {}
    values |= {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise BadInput(_told(path, error), fix="Mend the settings and start again.") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text())
    except OSError as error:
        message = f"the settings file {path} cannot be read: {error.strerror}."
        raise BadInput(message, fix="Give an existing file.") from error
    except yaml.YAMLError as error:
        message = f"the settings file {path} is not YAML: {error}."
        raise BadInput(message, fix="Mend the file.") from error
    if not isinstance(values, dict):
        message = f"the settings file {path} holds {type(values).__name__}, expected a mapping."
        raise BadInput(message, fix="Begin with keys such as 'sites:'.")
    return values


def _told(path: Path | None, error: ValidationError) -> str:
    text = path.read_text() if path else ""
    lines = [f"{_place(text, e['loc'])}: {e['msg']}" for e in error.errors()]
    return f"{path or 'the settings'}: " + "; ".join(lines) + "."


def _place(text: str, loc: tuple[str | int, ...]) -> str:
    """A key with its line, where it is in the file and not an option."""
    line = line_at(text, loc)
    return f"{'' if line is None else f'line {line}: '}{'.'.join(map(str, loc)) or 'settings'}"
