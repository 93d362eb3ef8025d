"""The shapes that the API answers with, for OpenAPI and for the tests that hold the answers to them.

Times are ISO 8601 in UTC with Z, or null. A number that is not known is null, never zero. Energies are in
kWh, emissions in grams of CO2e, intensities in g/kWh, durations in seconds.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class _Shape(BaseModel):
    model_config = ConfigDict(extra="allow")


class Problem(_Shape):
    """An RFC 9457 problem document."""

    type: str
    title: str
    status: int
    detail: str
    fix: str
    errors: list[dict[str, str]] | None = None
    exit_code: int | None = None


class Reason(_Shape):
    """Why: a code of the closed list and a sentence."""

    code: str
    sentence: str


class PowerLimit(_Shape):
    """From when on the GPUs of an attempt are run at which share of their power limit."""

    since: str
    power_fraction: float


class Holds(_Shape):
    """What a live attempt holds; before its first limit, and without any, its GPUs have full power."""

    gpus: int
    cpus: int
    limits: list[PowerLimit]


class Job(_Shape):
    """A job and where it stands."""

    id: str
    name: str
    project: str
    queue: str
    urgency: str
    state: str
    held: bool
    submitted_at: str
    started_at: str | None
    finished_at: str | None
    deadline_at: str | None
    latest_finish_at: str | None
    depends_on: list[str]
    data: list[str]
    duration_s: float
    duration_from: str
    time_limit_s: float | None
    gpus: int
    cpus: int
    widths: dict[str, float]
    power: dict[str, float]
    site: str | None
    holds: Holds | None
    attempts: int
    suspensions: int
    reason: Reason
    reason_first: Reason | None
    next_review_at: str | None
    planned_start_at: str | None
    planned_finish_at: str | None
    slack_s: float | None
    planned_saving_g: float | None
    energy_kwh: float | None
    emissions_g: float | None
    baseline_emissions_g: float | None
    avoided_g: float | None
    results: dict[str, float]
    exit_code: int | None
    labels: dict[str, str]
    interruptible: bool
    flags: list[str]


class JobList(_Shape):
    """One page of jobs; ``next`` goes into ``after`` of the next request."""

    items: list[Job]
    next: str | None


class Segment(_Shape):
    """One stretch of execution; ``pool`` is empty where the site has none."""

    site: str
    pool: str = ""
    start: str
    end: str
    gpus: int
    power_fraction: float = 1.0


class Candidate(_Shape):
    """A placement that was considered; ``more_g`` and ``later_s`` set it against the chosen one."""

    site: str
    pool: str = ""
    start: str
    finish: str
    emissions_g: float | None
    more_g: float | None = None
    later_s: float | None = None
    segments: list[Segment]
    chosen: bool
    note: str
    transfer_s: float = 0.0
    transfer_g: float | None = 0.0
    cost: float | None = None
    currency: str = ""


class PastDecision(_Shape):
    """An earlier decision on the same job."""

    at: str
    plan_id: str | int | None
    action: str
    reason: Reason
    saving_g: float | None


class Bind(_Shape):
    """What forbids a greener placement; ``saving_g`` is what that would emit less than the chosen one."""

    code: str
    sentence: str
    saving_g: float | None


class Explanation(_Shape):
    """A decision: what was considered, what was chosen, why, what binds, and on which grid data."""

    job: Job | None
    now: str
    action: str
    reason: Reason
    next_review_at: str | None
    baseline_g: float | None
    saving_g: float | None
    doubt_g: float | None
    latest_start_at: str | None
    would_start_now_if: list[str]
    would_suspend_if: list[str]
    binds: list[Bind]
    candidates: list[Candidate]
    grid: list[dict[str, Any]]
    history: list[PastDecision]


class Event(_Shape):
    """One recorded change."""

    seq: int
    at: str
    job_id: str
    attempt_id: str | None
    to: str
    actor: str
    reason: Reason


class EventList(_Shape):
    """All events of a job, oldest first."""

    items: list[Event]
    next: None


class AttemptReceipt(_Shape):
    """What one execution used."""

    id: str
    site: str
    gpus: int
    start: str | None
    end: str | None
    state: str
    energy_kwh: float | None
    emissions_g: float | None


class EnergyPart(_Shape):
    """Energy of one component and how it is known."""

    component: str
    quality: Literal["measured", "modelled"]
    source: str
    energy_kwh: float | None


class Receipt(_Shape):
    """What one job used, emitted and avoided."""

    job: Job
    energy_kwh: float | None
    energy_by: list[EnergyPart]
    emissions_g: float | None
    emissions_so_far_g: float | None
    priced_fraction: float | None
    baseline_emissions_g: float | None
    baseline_start_at: str | None
    baseline_code: str | None
    avoided_g: float | None
    avoided_fraction: float | None
    cost: float | None = None
    currency: str | None = None
    intensity_mean_g_per_kwh: float | None
    baseline_intensity_g_per_kwh: float | None
    intensity: list[dict[str, Any]]
    pue: float | None
    accuracy: float | None
    accuracy_per_kwh: float | None
    attempts: list[AttemptReceipt]
    transfers: list[dict[str, Any]]
    scale: float
    notes: list[str]
    attribution: list[str]


class CostSum(_Shape):
    """What the electricity of ``jobs`` jobs cost together, in one currency."""

    currency: str
    cost: float
    jobs: int


class Report(_Shape):
    """Receipts and their sum."""

    jobs: list[Receipt]
    energy_kwh: float | None
    emissions_g: float | None
    baseline_emissions_g: float | None
    avoided_g: float | None
    avoided_fraction: float | None
    costs: list[CostSum] = []
    jobs_priced: int
    jobs_compared: int
    notes: list[str]
    attribution: list[str]


class Window(_Shape):
    """A good stretch of time."""

    start: str
    end: str
    mean_g_per_kwh: float
    note: str


class Forecast(_Shape):
    """Grid intensity of one zone."""

    zone: str
    now: str
    source: str
    rung: str
    actual: list[dict[str, Any]]
    forecast: list[dict[str, Any]]
    windows: list[Window]


class CoveredZone(_Shape):
    """A zone that a grid source lists; ``forecasts`` is null where the source does not say."""

    zone: str
    name: str | None
    forecasts: bool | None


class RegionPlacement(_Shape):
    """A grid zone that a cloud region lies in, as ``naming`` calls it (empty: any source), and who says so."""

    region: str
    naming: str
    zone: str
    source: str
    origin: Literal["settings", "public tables"]


class RegionList(_Shape):
    """What is told of one cloud region, or the rows of the settings."""

    items: list[RegionPlacement]
    next: None


class GridFault(_Shape):
    """Why a grid source gave less than asked for."""

    kind: str
    detail: str
    fix: str


class GridSourceCoverage(_Shape):
    """A configured grid source, and what it gave for the zone ``asked``."""

    source: str
    zones: list[CoveredZone]
    in_use: list[str]
    asked: str | None
    signal: str | None
    basis: str | None
    accounting: str | None
    forecasts: bool | None
    attribution: str | None
    failures: list[GridFault]


class GridSourceList(_Shape):
    """All configured grid sources."""

    items: list[GridSourceCoverage]
    next: None


class GridCheck(_Shape):
    """What came of a question to a grid source; ``age_s`` is that of the data, ``rung`` what decisions rest on."""

    source: str
    zone: str | None
    in_use: bool
    status: Literal["ok", "warn", "fail"]
    outcome: str
    age_s: float | None
    signal: str | None
    basis: str | None
    accounting: str | None
    licence: str | None
    rung: str | None
    detail: str
    fix: str


class GridCheckList(_Shape):
    """All configured grid sources by the zones in use."""

    items: list[GridCheck]
    next: None


class BudgetRow(_Shape):
    """One limit of a project for the calendar period under way; amounts are in ``unit``, ``left`` may be negative.

    ``promised`` is what work that has begun is expected to take still.
    """

    project: str
    period: Literal["day", "week", "month", "quarter", "year"]
    start: str
    end: str
    measure: Literal["carbon", "gpu"]
    unit: Literal["g", "GPU-h"]
    limit: float
    used: float
    promised: float
    left: float
    standing: Literal["open", "near", "spent"]


class BudgetList(_Shape):
    """Every budget that the settings give, by project."""

    items: list[BudgetRow]
    next: None


class Health(_Shape):
    """Whether the daemon is ready."""

    status: Literal["ready", "starting", "degraded"]
    waits_for: list[str]
    version: str
    pid: int
    now: str
    clock_rate: float
    sites: list[dict[str, Any]]


class ItemList(_Shape):
    """A list of plain objects."""

    items: list[dict[str, Any]]
    next: None


class RunNow(BaseModel):
    """The body of run-now: the override is recorded with its reason."""

    model_config = ConfigDict(extra="forbid")

    reason: str


class Shutdown(BaseModel):
    """The body of shutdown."""

    model_config = ConfigDict(extra="forbid")

    stop_cluster: bool = False
