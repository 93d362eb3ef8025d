"""What Prometheus reads about a policy set in the shadow."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy import Connection

from lowtide.scheduler.control.shadowing import Shadow
from lowtide.scheduler.store import policy_sets as stored


def families(shadow: Shadow, connection: Connection) -> Iterator[Metric]:
    """Sums since the shadow began; no samples while there is none, so that nothing looks like a saving of zero."""
    jobs = GaugeMetricFamily("lowtide_shadow_jobs", "Jobs that both the active set and the one in the shadow planned.")
    grams = GaugeMetricFamily(
        "lowtide_shadow_planned_grams", "Planned emissions of these jobs in gCO2eq, by whose plan.", labels=["plan"]
    )
    if shadow.row is not None:
        found = stored.summed(connection, shadow.row["revision"])
        jobs.add_metric([], found["jobs"])
        grams.add_metric(["active"], found["active_g"])
        grams.add_metric(["shadow"], found["shadow_g"])
    yield from (jobs, grams)
