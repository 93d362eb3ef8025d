"""What Prometheus reads about projects: their budgets, and how fair shares have them served, at the newest plan."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from lowtide.scheduler.decide.fairness import factors
from lowtide.scheduler.model.plan import Snapshot
from lowtide.scheduler.model.project import Measure
from lowtide.scheduler.model.units import S_PER_H

LABELS = ["project", "period"]
FAMILIES = {
    Measure.CARBON: ("lowtide_carbon_budget", "grams", 1.0, "gCO2eq"),
    Measure.GPU: ("lowtide_gpu_budget", "seconds", S_PER_H, "GPU-seconds"),
}
"""By measure: the name, its base unit, how many of these the measure's own unit is, and the unit in words."""


def families(snapshot: Snapshot | None) -> Iterator[Metric]:
    """Used and limit by measure; no samples before the first plan, nor where no project has a budget."""
    rows = [
        (project.name, spending)
        for project in (snapshot.projects.values() if snapshot is not None else ())
        for spending in project.spendings
    ]
    for measure, (name, unit, factor, words) in FAMILIES.items():
        told = f"in the calendar period under way, in {words}"
        used = GaugeMetricFamily(f"{name}_used_{unit}", f"Used of the project's budget {told}.", labels=LABELS)
        limit = GaugeMetricFamily(f"{name}_limit_{unit}", f"What the project may use {told}.", labels=LABELS)
        for project, spending in rows:
            if spending.budget.measure is measure:
                labels = [project, spending.budget.period.value]
                used.add_metric(labels, spending.used * factor)
                limit.add_metric(labels, spending.budget.limit * factor)
        yield from (used, limit)
    yield _shares(snapshot)


def _shares(snapshot: Snapshot | None) -> Metric:
    """No samples where no queue has regard to shares."""
    family = GaugeMetricFamily(
        "lowtide_fair_share_factor_ratio",
        "How little the project has used of late for its share: 1 nothing, 0.5 just its share.",
        labels=["project"],
    )
    if snapshot is not None and any(queue.fair_share_weight for queue in snapshot.queues.values()):
        for project, factor in sorted(factors(snapshot.projects).items()):
            family.add_metric([project], factor)
    return family
