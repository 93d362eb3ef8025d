"""Compares what a cluster holds with the store: ends what was given up, deletes the records of what is over.

The driver looks at attempts that live in the store. This is for the others: a submission whose call arrived
after its attempt was given up, an attempt at a site that was away from the settings, and the records that
Ray itself never clears away.
"""

import structlog

from lowtide.connectors.cluster.ray_jobs import FENCE
from lowtide.scheduler.control.clock import Clock
from lowtide.scheduler.control.sites import SiteRuntime
from lowtide.scheduler.control.writer import Writer
from lowtide.scheduler.model.cluster import ClusterJobStatus
from lowtide.scheduler.store import attempts

log = structlog.get_logger()
OPEN = frozenset({ClusterJobStatus.PENDING, ClusterJobStatus.RUNNING})
KEPT_S = 3600.0
"""Wall seconds for which the record of an ended attempt stays: while it is there, a call that was given up but
is still on its way cannot start the attempt anew."""


async def reconcile(runtime: SiteRuntime, writer: Writer, clock: Clock) -> None:
    """One comparison; only submissions that carry the fence of an ended attempt of ours are touched.

    Raises:
        ClusterFailure: the cluster gave no usable answer; what is left is done next time.

    """
    found = [job for job in await runtime.cluster.list_jobs() if job.metadata.get(FENCE)]
    ended = await writer.read(lambda c: attempts.ended(c, [job.submission_id for job in found]))
    for job in found:
        row = ended.get(job.submission_id)
        if row is None or row["fence"] != job.metadata[FENCE]:
            continue
        over_s = (clock.now() - row["ended_at"]).total_seconds() / clock.rate
        if job.status in OPEN:
            log.warning("given_up_attempt_stopped", attempt=job.submission_id, site=runtime.site.name)
            await runtime.cluster.stop(job.submission_id)
        elif over_s > KEPT_S:
            await runtime.cluster.delete(job.submission_id)
