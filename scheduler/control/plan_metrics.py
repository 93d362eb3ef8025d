"""What Prometheus reads about how steady plans are."""

from prometheus_client import CollectorRegistry, Counter, Gauge

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

    def cycled(self, trigger: str, found: Churn) -> None:
        """One cycle has ended; ``trigger`` is what asked for it."""
        self._share.set(found.share)
        if found.moved:
            self._moved.labels(trigger if trigger in CAUSES else "order").inc(found.moved)
