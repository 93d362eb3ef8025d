"""What Prometheus reads about plans: how steady they are, and whether there was time for the whole queue."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from lowtide.scheduler.control.plan_budget import PlanBudget
from lowtide.scheduler.decide.churn import Churn

CAUSES = frozenset({"start", "tick", "review", "submit", "attempt", "grid", "site", "policy"})
"""What may ask for a cycle, besides the orders of people."""


class PlanMetrics:
    """Counted cycle by cycle."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Make the families."""
        self._moved = Counter(
            "lowtide_plan_moved_promises_total",
            "Promised starts that a plan moved by more than a slot, or to another site, by what asked for it.",
            ["cause"],
            registry=registry,
        )
        self._share = Gauge(
            "lowtide_plan_churn_ratio",
            "Share of the promised starts that the last plan moved.",
            registry=registry,
        )

        self._partial = Counter(
            "lowtide_plan_partial_total",
            "Plans that looked at a part of the queue, because the whole would have taken too long.",
            registry=registry,
        )
        self._postponed = Gauge(
            "lowtide_plan_postponed_jobs",
            "Jobs that wait for a plan to look at them for the first time.",
            registry=registry,
        )

    def cycled(self, trigger: str, found: Churn, budget: PlanBudget) -> None:
        """One cycle has ended; ``trigger`` is what asked for it."""
        self._partial.inc(int(budget.is_partial))
        self._postponed.set(budget.postponed)
        self._share.set(found.share)
        if found.moved:
            self._moved.labels(trigger if trigger in CAUSES else "order").inc(found.moved)
