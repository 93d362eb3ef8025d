"""What decide takes and returns: a frozen snapshot in, a frozen plan out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from lowtide.scheduler.model.data import Transfer
from lowtide.scheduler.model.difference import Difference
from lowtide.scheduler.model.job import AttemptId, JobId, Resources, Urgency
from lowtide.scheduler.model.lifecycle import JobState
from lowtide.scheduler.model.mode import Mode
from lowtide.scheduler.model.project import ProjectView
from lowtide.scheduler.model.reason import Reason
from lowtide.scheduler.model.reservation import Reservation
from lowtide.scheduler.model.site import Queue, Site


@dataclass(frozen=True, slots=True)
class GridForecast:
    """Prices for one zone as one decision sees them.

    ``g_per_kwh[i]`` holds for the slot beginning at ``start + i * step_s``; the tuple may be shorter than
    the planning horizon, and past its end nothing may be promised. ``error_g_per_kwh[i]`` is the mean
    absolute error expected at that lead, ``difference`` how errors of its slots go together (None: not known).
    ``p10`` and ``p90`` bound the 80 % band, empty where there is none. ``may_shift`` is false on the rungs that
    never justify a delay.
    ``provenance`` (source, zone, signal, basis, issued_at, fetched_at, rung, ...) is stored with the decision.
    """

    zone: str
    rung: str
    may_shift: bool
    age_s: float
    start: datetime
    step_s: float
    g_per_kwh: tuple[float, ...]
    error_g_per_kwh: tuple[float, ...]
    provenance: dict[str, object] = field(default_factory=dict)
    difference: Difference | None = None
    p10: tuple[float, ...] = ()
    p90: tuple[float, ...] = ()


OVERRUN_SHARE = 0.1
"""A job past its expected run time is planned with a tenth of it still to go; it is never killed for it."""


@dataclass(frozen=True, slots=True)
class JobView:
    """One non-terminal job as the planner sees it.

    ``remaining_s`` is the run time still needed (never below zero: an overrun gets a small positive
    rest). ``power_w`` is for the whole job. Both, ``resources`` and the speeds of ``modes`` are those of the way that
    it declares, where it has a live attempt those of the width of that. ``latest_finish_at`` is the deadline or the end
    of patience.
    ``running_since`` and ``site`` are set when an attempt is live. ``not_before`` joins begin time and
    retry backoff. ``forced`` is run-now. ``suspendable`` already joins the spec, the queue and what is
    known of the job's checkpoints. ``at_stake_s`` is what a stop for carbon may add to ``remaining_s`` at
    worst: the work of the live attempt that no checkpoint has proved, and the grace; as run time in the declared way.
    """

    job_id: JobId
    queue: str
    urgency: Urgency
    state: JobState
    submitted_at: datetime
    resources: Resources
    remaining_s: float
    power_w: float
    latest_finish_at: datetime
    has_deadline: bool = False
    not_before: datetime | None = None
    allowed_sites: tuple[str, ...] = ()
    suspendable: bool = False
    at_stake_s: float = 0.0
    suspensions: int = 0
    held: bool = False
    forced: bool = False
    site: str | None = None
    running_since: datetime | None = None
    pinned_start_at: datetime | None = None
    """The start that the last plan promised; a new plan moves it only for a real gain (INV-13)."""
    retrying: bool = False
    """Whether ``not_before`` is the backoff after a failed attempt and not the job's own begin time."""
    decided: "JobDecision | None" = None
    """What the last plan said; it stands for a job that is not asked about."""
    modes: tuple[Mode, ...] = ()
    """The ways in which it can run, as declared among them; empty for a job that can only run as declared."""
    declared_s: float | None = None
    """The run time still needed in the way that it declares, where its live attempt may have another width."""
    high_s: float = 0.0
    """Run time that it hardly ever needs more than, in the way that it declares, where earlier runs tell of it."""
    limit_left_s: float | None = None
    """Run time after which it is ended, where it has a limit."""
    project: str = ""
    waits_for: tuple[JobId, ...] = ()
    """Open jobs that must end before it may begin; while there are any, its patience has not begun."""
    broken_by: tuple[JobId, JobState] | None = None
    """A job that had to succeed before it and has not; until somebody releases it, it cannot begin."""
    planned_finish_at: datetime | None = None
    """The end that the last plan promised."""
    released_at: datetime | None = None
    """When what it waits for is expected to have ended; set by decide."""
    transfers: tuple[Transfer, ...] = ()
    """For each site that lacks data of the job, what would be brought there."""
    importance: float = 0.0
    """How much of its workflow waits for it, see ``Request``; set by decide."""
    pool: str = ""
    """The pool that holds its live attempt, where its site has several."""

    @property
    def as_declared_s(self) -> float:
        """Run time still needed in the way that it declares."""
        return self.remaining_s if self.declared_s is None else self.declared_s

    @property
    def slower_s(self) -> float:
        """Run time to reckon with: at its width, as declared (a stop leaves it that alone), or as long runs had."""
        return max(self.remaining_s, self.as_declared_s, self.high_s)


@dataclass(frozen=True, slots=True)
class SiteView:
    """One site now: its declaration, whether it answers, and what its live attempts hold."""

    site: Site
    reachable: bool
    used_gpus: int
    used_cpus: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that decide may know. Jobs come in id order, so equal snapshots give equal plans.

    ``asked`` names the jobs that are to be decided anew, None for all: the others keep their placements, as long as
    those still fit. ``inflow_gpus`` is how many GPUs the work submitted of late keeps busy on average.
    ``projects`` are by name those that budgets or fair shares tell of; empty where there is neither.
    With ``is_brief`` alternatives are left out of the plan. With ``is_partial`` nobody else is decided anew, even where
    somebody comes out late: who has no placement that fits is told so, and waits for a later plan.
    """

    now: datetime
    jobs: tuple[JobView, ...]
    sites: tuple[SiteView, ...]
    queues: dict[str, Queue]
    forecasts: dict[str, GridForecast]
    slot_s: float = 900.0
    asked: frozenset[JobId] | None = None
    inflow_gpus: float = 0.0
    is_brief: bool = False
    projects: dict[str, ProjectView] = field(default_factory=dict)
    is_partial: bool = False
    reservations: tuple[Reservation, ...] = ()
    rows: "tuple[Row, ...]" = ()
    """How sites were parted; empty as it is read, and where every site is a row of its own."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the planner's arrays where a site is not one: a pool, or what of it some jobs may use besides.

    ``key`` stands in for the name of the site within one decision; ``site`` and ``pool`` are as the configuration
    names them. ``of`` is the key of the pool's own row, None where this is it. Another is the pool's twin with all
    that it has, for clinical work, or holds what ``reservation`` keeps of it for its members.
    """

    key: str
    site: str
    pool: str
    of: str | None = None
    reservation: int | None = None

    @property
    def is_twin(self) -> bool:
        """Whether it is the same GPUs and CPUs as another row."""
        return self.of is not None and self.reservation is None


class Action(StrEnum):
    """What a plan says about a job now."""

    START = "start"
    WAIT = "wait"
    SUSPEND = "suspend"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Segment:
    """One stretch of execution: ``gpus`` whole GPUs at ``site`` in [start, end) at ``power_fraction``.

    ``pool`` is empty where the site has no pools.
    """

    site: str
    pool: str
    start: datetime
    end: datetime
    gpus: int
    power_fraction: float = 1.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A placement that was considered, with its forecast emissions in grams.

    ``transfer_g`` of them are for bringing the job's data there, which takes ``transfer_s`` of its first segment.
    ``cost`` is what its electricity costs in ``currency`` by the site's tariff, None where there is none.
    """

    segments: tuple[Segment, ...]
    emissions_g: float
    chosen: bool = False
    note: str = ""
    transfer_s: float = 0.0
    transfer_g: float = 0.0
    cost: float | None = None
    currency: str = ""

    @property
    def start(self) -> datetime:
        """When work would begin or go on."""
        return self.segments[0].start

    @property
    def finish(self) -> datetime:
        """When work would end."""
        return self.segments[-1].end

    @property
    def site(self) -> str:
        """Where the first segment lies."""
        return self.segments[0].site

    @property
    def pool(self) -> str:
        """In which pool of that site."""
        return self.segments[0].pool

    def after(self, now: datetime) -> Sequence[Segment]:
        """The segments that end later than that."""
        return self.segments if self.segments[0].end > now else [one for one in self.segments if one.end > now]


@dataclass(frozen=True, slots=True)
class JobDecision:
    """What happens to one job, why, and what else was considered.

    ``saving_g`` compares the chosen candidate with starting as soon as capacity allows, both by the same
    forecast; ``doubt_g`` is the calibrated error of that difference. ``would_start_now_if`` holds
    sentences.
    """

    job_id: JobId
    action: Action
    reason: Reason
    next_review_at: datetime
    candidates: tuple[Candidate, ...] = ()
    baseline_g: float = 0.0
    saving_g: float = 0.0
    doubt_g: float = 0.0
    latest_start_at: datetime | None = None
    would_start_now_if: tuple[str, ...] = ()
    rung: str = ""

    @property
    def chosen(self) -> Candidate | None:
        """The candidate that the plan follows, if there is one."""
        for one in self.candidates:  # asked for so often that a generator would tell
            if one.chosen:
                return one
        return None


@dataclass(frozen=True, slots=True)
class PolicyFailure:
    """A policy that raised or gave no usable answer; ``error`` is the kind, ``detail`` is for the log.

    What an exception says may differ from one call to the next (an address in a ``repr``), so plans are
    compared without it.
    """

    policy: str
    error: str
    detail: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Plan:
    """One decision for every non-terminal job of the snapshot, and the grid data it rests on."""

    made_at: datetime
    decisions: tuple[JobDecision, ...]
    grid: tuple[dict[str, object], ...] = ()
    failures: tuple[PolicyFailure, ...] = ()


@dataclass(frozen=True, slots=True)
class LiveAttempt:
    """An attempt that may have a process, as the applier and reconcile see it."""

    attempt_id: AttemptId
    job_id: JobId
    number: int
    site: str
    state: str
    fence: str
    created_at: datetime
    cluster_id: str | None = None
    submitted_at: datetime | None = None
    started_at: datetime | None = None
    stop_intent: str | None = None
