"""What Prometheus reads: fleet gauges and counters, summed up in the store.

Counters that matter (energy, emissions, jobs) come from the store as totals, so a restart never makes one
fall (INV-17). A scrape runs on a thread of its own and reads what was added since the last one. Labels hold
queues, zones, pools and sources: never a user, a job's name or a path.
"""

import platform
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Connection, func, select, text

from lowtide.scheduler.control import foresight_metrics as foresight
from lowtide.scheduler.control import project_metrics as projects
from lowtide.scheduler.control import shadow_metrics as shadow
from lowtide.scheduler.control.plan_metrics import PlanMetrics
from lowtide.scheduler.model.errors import StoreFailure
from lowtide.scheduler.model.lifecycle import TERMINAL_JOB_STATES, JobState
from lowtide.scheduler.model.plan import Action, Plan
from lowtide.scheduler.model.reason import ReasonCode
from lowtide.scheduler.model.site import gpus_by_pool
from lowtide.scheduler.store import tables as t
from lowtide.scheduler.store.totals import MICRO, WAIT_BUCKETS_S, Totals

if TYPE_CHECKING:
    from lowtide.scheduler.control.assemble import Daemon

HORIZONS_H = (1, 3, 6, 12, 24, 48)
CYCLE_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
REASONS = {
    ReasonCode.CARBON_WINDOW: "carbon",
    ReasonCode.LOW_CARBON_NOW: "carbon",
    ReasonCode.WINDOW_OPENS: "carbon",
    ReasonCode.MODES_CHOSEN: "carbon",
    ReasonCode.NO_GAIN: "carbon",
    ReasonCode.DELAY_WEIGHT: "carbon",
    ReasonCode.CHEAP_WINDOW: "price",
    ReasonCode.MONEY_WEIGHT: "price",
    ReasonCode.DEADLINE: "deadline",
    ReasonCode.PATIENCE: "deadline",
    ReasonCode.CAPACITY: "capacity",
    ReasonCode.NO_SITE: "capacity",
    ReasonCode.SITE_UNREACHABLE: "capacity",
    ReasonCode.GRID_DATA_STALE: "provider_stale",
    ReasonCode.BUDGET: "budget",
    ReasonCode.OVER_BUDGET: "budget",
    ReasonCode.RUN_NOW: "manual",
    ReasonCode.HELD: "manual",
}
"""Reason codes to the few label values of the decisions counter; the others are ``other``."""
HISTOGRAMS = (
    ("lowtide_job_queue_wait_seconds", "Time from submission to first start.", "wait"),
    (
        "lowtide_job_carbon_delay_seconds",
        "Time from the earliest start that capacity allowed to the first start.",
        "delay",
    ),
    (
        "lowtide_job_runtime_seconds",
        "Time from first start to end, suspensions included.",
        "run",
    ),
)
ACTIONS = {Action.START: "start", Action.WAIT: "defer", Action.SUSPEND: "suspend"}


class Metrics:
    """The registry of one daemon."""

    def __init__(self, version: str) -> None:
        """Make the families that are counted as things happen."""
        # a gauge per series that says when it was first seen is noise
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._version = version
        self._cycle = Histogram(
            "lowtide_scheduler_cycle_duration_seconds",
            "Duration of one scheduling cycle.",
            buckets=CYCLE_BUCKETS_S,
            registry=self.registry,
        )
        self._decisions = Counter(
            "lowtide_scheduler_decisions_total",
            "Scheduling decisions taken.",
            ["queue", "action", "reason"],
            registry=self.registry,
        )
        self._failures = Counter(
            "lowtide_policy_failures_total",
            "Cycles in which a policy failed and asap decided for its jobs.",
            ["policy"],
            registry=self.registry,
        )
        self._plans = PlanMetrics(self.registry)
        self._last_cycle_s = 0.0
        self._daemon: Daemon | None = None

    def watch(self, daemon: "Daemon") -> None:
        """Read the rest from a daemon at each scrape."""
        self._daemon = daemon
        self.registry.register(_Fleet(daemon, self._version, lambda: self._last_cycle_s))

    def cycled(self, plan: Plan, took_s: float) -> None:
        """One cycle has ended with this plan."""
        self._cycle.observe(took_s)
        self._last_cycle_s = plan.made_at.timestamp()
        for failure in plan.failures:
            self._failures.labels(failure.policy).inc()
        if self._daemon is not None:
            self._plans.cycled(*self._daemon.loop.latest_churn, self._daemon.loop.budget)
        snapshot = self._daemon.loop.latest_snapshot if self._daemon else None
        queues = {view.job_id: view.queue for view in snapshot.jobs} if snapshot else {}
        for decision in plan.decisions:
            if decision.action in ACTIONS:
                reason = REASONS.get(decision.reason.code, "other")
                queue = queues.get(decision.job_id, "")
                self._decisions.labels(queue, ACTIONS[decision.action], reason).inc()

    def render(self) -> bytes:
        """The exposition in the Prometheus text format."""
        return generate_latest(self.registry)


class _Fleet(Collector):
    """Everything that is read from the store and from the daemon's memory."""

    def __init__(self, daemon: "Daemon", version: str, last_cycle_s: Callable[[], float]) -> None:
        self._daemon, self._version, self._last_cycle_s = daemon, version, last_cycle_s
        self._totals, self._catching_up = Totals(), threading.Lock()

    def describe(self) -> list[Metric]:
        """Nothing: names are known at the first scrape, so registering need not query the store."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All families."""
        yield from self._about()
        yield from self._grid()
        yield from projects.families(self._daemon.loop.latest_snapshot)
        found = self._stored()
        yield GaugeMetricFamily("lowtide_db_up", "Whether the database answers.", value=int(found is not None))
        yield from found or []

    def _stored(self) -> list[Metric] | None:
        """The families that come from the store; None while it does not answer, since they may not fall."""
        try:
            with self._catching_up, self._daemon.database.read() as connection:
                self._totals.catch_up(connection)
                totals = self._totals
                queues = sorted({q.name for q in self._daemon.settings.queues} | totals.queues())
                found = [*_jobs(totals, queues), *_waits(totals, queues, self._daemon.clock.now()), *_ledger(totals)]
                return [*found, *self._gpus(connection), *shadow.families(self._daemon.shadow, connection)]
        except StoreFailure:
            return None

    def _about(self) -> Iterator[Metric]:
        ray = next((s.ray_version for s in self._daemon.sites.values() if s.ray_version), "")
        labels = {"version": self._version, "python": platform.python_version(), "ray": ray}
        info = GaugeMetricFamily("lowtide_build_info", "Version information, value is always 1.", labels=list(labels))
        info.add_metric(list(labels.values()), 1)
        yield info
        policy = GaugeMetricFamily(
            "lowtide_policy_info", "Policies in use and their mode, value is always 1.", labels=["policy", "mode"]
        )
        for name in sorted({q.policy for q in self._daemon.policy_sets.queues}):
            policy.add_metric([name, "enforce"], 1)
        for name in sorted(self._daemon.shadow.policies):
            policy.add_metric([name, "shadow"], 1)
        yield policy
        yield GaugeMetricFamily("lowtide_leader", "Whether this daemon is the leader (1) or a follower (0).", value=1)
        yield GaugeMetricFamily(
            "lowtide_scheduler_last_cycle_timestamp_seconds",
            "Unix time of the last completed scheduling cycle.",
            value=self._last_cycle_s(),
        )

    def _grid(self) -> Iterator[Metric]:
        zone_labels = ["zone", "signal", "provider"]
        now = self._daemon.clock.now()
        value = GaugeMetricFamily(
            "lowtide_grid_carbon_intensity_grams_per_kwh",
            "Current grid carbon intensity in gCO2eq per kWh.",
            labels=zone_labels,
        )
        since = GaugeMetricFamily(
            "lowtide_grid_carbon_intensity_timestamp_seconds",
            "Unix time at which the current intensity value became valid.",
            labels=zone_labels,
        )
        estimated = GaugeMetricFamily(
            "lowtide_grid_carbon_intensity_estimated",
            "Whether the current value is an estimate (1) or measured (0).",
            labels=["zone", "provider"],
        )
        for zone, state in self._daemon.grid.zones.items():
            series = state.actual or state.static
            if series is not None and series.points:
                point, labels = series.points[-1], [zone, series.signal.value, series.source]
                value.add_metric(labels, point.g_per_kwh)
                since.add_metric(labels, point.start.timestamp())
                estimated.add_metric([zone, series.source], 0 if point.kind == "actual" else 1)
        yield from (value, since, estimated)
        yield from self._forecasts(now)
        yield from foresight.families(self._daemon.grid, now, self._daemon.settings.slot_s)
        yield from self._providers()

    def _forecasts(self, now: datetime) -> Iterator[Metric]:
        ahead = GaugeMetricFamily(
            "lowtide_grid_carbon_forecast_grams_per_kwh",
            "Forecast carbon intensity at fixed horizons in gCO2eq per kWh.",
            labels=["zone", "signal", "provider", "horizon"],
        )
        for zone, state in self._daemon.grid.zones.items():
            if state.forecast is None:
                continue
            for hours in HORIZONS_H:
                point = state.forecast.at(now + timedelta(hours=hours))
                if point is not None:
                    labels = [zone, state.forecast.signal.value, state.forecast.source, f"{hours}h"]
                    ahead.add_metric(labels, point.g_per_kwh)
        yield ahead

    def _providers(self) -> Iterator[Metric]:
        up = GaugeMetricFamily(
            "lowtide_provider_up", "Whether the last call to the provider succeeded.", labels=["provider"]
        )
        asked = CounterMetricFamily(
            "lowtide_provider_requests",
            "Questions to carbon data providers by outcome.",
            labels=["provider", "operation", "outcome"],
        )
        in_use = {state.source for state in self._daemon.grid.zones.values()}
        for name, reader in self._daemon.grid.readers.items():
            if name in in_use:
                up.add_metric([name], int(reader.up))
                for (operation, outcome), count in sorted(reader.outcomes.items()):
                    asked.add_metric([name, operation, outcome], count)
        yield from (up, asked)

    def _gpus(self, connection: Connection) -> Iterator[Metric]:
        gpus = GaugeMetricFamily("lowtide_gpus", "GPUs by pool and state.", labels=["pool", "state"])
        # the condition stands as in the index, or SQLite would read every attempt that ever was
        columns = t.attempt.c.site, t.attempt.c.pool
        query = select(*columns, func.sum(t.attempt.c.gpus)).where(text(t.LIVE)).group_by(*columns)
        held = {(site, pool): gpus for site, pool, gpus in connection.execute(query)}
        for runtime in self._daemon.sites.values():
            for name, whole, used in gpus_by_pool(runtime.site, held):
                gpus.add_metric([name, "allocated"], used)
                gpus.add_metric([name, "idle"], whole - used)
        yield gpus


def _jobs(totals: Totals, queues: list[str]) -> Iterator[Metric]:
    """Jobs by queue and state, all states always present."""
    now = GaugeMetricFamily("lowtide_jobs", "Jobs by queue and state.", labels=["queue", "state"])
    submitted = CounterMetricFamily("lowtide_jobs_submitted", "Submitted jobs.", labels=["queue"])
    finished = CounterMetricFamily("lowtide_jobs_finished", "Finished jobs.", labels=["queue", "outcome"])
    suspended = CounterMetricFamily("lowtide_job_suspensions", "Suspensions.", labels=["queue"])
    for queue in queues:
        for state in JobState:
            now.add_metric([queue, state.value], totals.jobs(queue, "count", state))
        submitted.add_metric([queue], totals.jobs(queue, "count"))
        for state in sorted(TERMINAL_JOB_STATES):
            finished.add_metric([queue, state.value], totals.jobs(queue, "count", state))
        suspended.add_metric([queue], totals.jobs(queue, "suspensions"))
    yield from (now, submitted, finished, suspended)


def _waits(totals: Totals, queues: list[str], now: datetime) -> Iterator[Metric]:
    missed = CounterMetricFamily(
        "lowtide_job_deadline_misses", "Jobs that ended after their deadline or patience.", labels=["queue"]
    )
    risk = GaugeMetricFamily(
        "lowtide_jobs_deadline_at_risk", "Unfinished jobs planned to end after their deadline.", labels=["queue"]
    )
    oldest = GaugeMetricFamily(
        "lowtide_queue_oldest_pending_age_seconds", "Age of the oldest waiting job.", labels=["queue"]
    )
    for queue in queues:
        missed.add_metric([queue], totals.jobs(queue, "late"))
        risk.add_metric([queue], totals.jobs(queue, "at_risk"))
        since = totals.oldest_waiting.get(queue, now)
        oldest.add_metric([queue], max(0.0, (now - since).total_seconds()))
    yield from (missed, risk, oldest)
    for name, told, span in HISTOGRAMS:
        yield _histogram(name, told, span, totals, queues)


def _histogram(name: str, told: str, span: str, totals: Totals, queues: list[str]) -> Metric:
    family = HistogramMetricFamily(name, told, labels=["queue"])
    for queue in queues:
        edges = [(str(float(edge)), float(totals.jobs(queue, f"{span}_{edge}"))) for edge in WAIT_BUCKETS_S]
        count, sum_s = totals.jobs(queue, f"{span}_count"), totals.jobs(queue, f"{span}_us") / MICRO
        family.add_metric([queue], [*edges, ("+Inf", float(count))], sum_s)
    return family


def _ledger(totals: Totals) -> Iterator[Metric]:
    energy = CounterMetricFamily("lowtide_energy_joules", "Energy of jobs.", labels=["queue", "zone", "component"])
    emitted = CounterMetricFamily(
        "lowtide_emissions_grams", "Location-based emissions of jobs in gCO2eq.", labels=["queue", "zone"]
    )
    baseline = CounterMetricFamily(
        "lowtide_emissions_counterfactual_grams",
        "Emissions of ended jobs had they run at once, in gCO2eq.",
        labels=["queue", "zone", "baseline"],
    )
    compared = CounterMetricFamily(
        "lowtide_emissions_compared_grams",
        "Emissions of the jobs that the counterfactual counts, in gCO2eq: the difference is what was avoided.",
        labels=["queue", "zone"],
    )
    for labels, energy_mj in sorted(totals.energy_mj.items()):
        energy.add_metric(labels, energy_mj / 1000)
        totals.emissions_ug.setdefault(labels[:2], 0)
    for labels, emissions_ug in sorted(totals.emissions_ug.items()):
        emitted.add_metric(labels, emissions_ug / MICRO)
    for labels, emissions_ug in sorted(totals.baseline_ug.items()):
        baseline.add_metric([*labels, "run_immediately"], emissions_ug / MICRO)
    for labels, emissions_ug in sorted(totals.compared_ug.items()):
        compared.add_metric(labels, emissions_ug / MICRO)
    yield from (energy, emitted, baseline, compared, _costs(totals))


def _costs(totals: Totals) -> Metric:
    """In as many currencies as the sites' tariffs have: a sum over them would mean nothing, so each is a label."""
    family = CounterMetricFamily(
        "lowtide_electricity_cost",
        "What the energy of jobs cost by the tariffs of their sites, in units of the currency.",
        labels=["project", "site", "currency"],
    )
    for labels, millionths in sorted(totals.cost_millionths.items()):
        family.add_metric(labels, millionths / MICRO)
    return family
