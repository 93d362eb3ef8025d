"""Fair shares: who of several projects is served first, where capacity is short.

A project's factor says how little it has used of late for its share, as SLURM's multifactor plugin has it:

    factor = 2 ^ -(use / all use : share / all shares)

1 for a project that used nothing, 1/2 for one that used just its share. A waiting job is then served as if its slack
were smaller by ``fair_share_weight`` · factor. What is clinical, ordered to run now or due comes first all the same, in
its own order, and a plan in which anybody is late for it gives way to one without (``decide.py``).
"""

from collections.abc import Mapping
from math import fsum

from lowtide.scheduler.decide.triage import Asker
from lowtide.scheduler.model.plan import Snapshot
from lowtide.scheduler.model.project import ProjectView


def factors(projects: Mapping[str, ProjectView]) -> dict[str, float]:
    """The factor of each project, in [0, 1]; 1 for all while nobody has used anything."""
    used_gpu_h = fsum(project.recent_gpu_h for project in projects.values())
    shares = fsum(project.share for project in projects.values())
    if used_gpu_h <= 0:
        return dict.fromkeys(projects, 1.0)
    return {
        name: 2.0 ** -((project.recent_gpu_h / used_gpu_h) / (project.share / shares))
        for name, project in projects.items()
    }


def in_fair_order(askers: list[Asker], snapshot: Snapshot) -> list[Asker]:
    """The askers in the order of service with regard to shares; the same list where no queue asks for that."""
    if not snapshot.projects or not any(queue.fair_share_weight for queue in snapshot.queues.values()):
        return askers
    favour = factors(snapshot.projects)

    def place(asker: Asker) -> tuple[object, ...]:
        if asker.rush is not None or asker.request.running_at is not None:
            return asker.order_by(asker.request.latest_start_s)
        share = asker.queue.fair_share_weight * favour.get(asker.view.project, 1.0)
        return asker.order_by(asker.request.latest_start_s * (1 - share))

    return sorted(askers, key=place)
