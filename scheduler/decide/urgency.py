"""Which jobs nobody delays for carbon: the clinical ones."""

from lowtide.scheduler.model.job import Urgency
from lowtide.scheduler.model.plan import JobView
from lowtide.scheduler.model.site import Queue


def is_clinical(view: JobView, queue: Queue | None) -> bool:
    """Whether the job or its queue is clinical."""
    return view.urgency is Urgency.CLINICAL or (queue is not None and queue.urgency is Urgency.CLINICAL)
