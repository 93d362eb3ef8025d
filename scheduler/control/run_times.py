"""How long earlier runs of a job took that came to their end."""

from sqlalchemy import Connection, RowMapping, and_, or_, select

from lowtide.scheduler.control.modes import worked_s
from lowtide.scheduler.model.job import JobSpec, spec_from_json
from lowtide.scheduler.model.lifecycle import JobState
from lowtide.scheduler.model.run_time import MOST_RUNS
from lowtide.scheduler.store import attempts
from lowtide.scheduler.store.tables import job


def of_earlier_runs(connection: Connection, spec: JobSpec) -> list[float]:
    """Run times in seconds in the way that each declared, the newest first.

    Earlier runs are jobs of the same project with the same name, if one was given, or with the same command and GPUs.
    """
    alike = job.c.fingerprint == spec.fingerprint
    if spec.is_named:
        alike = or_(alike, and_(job.c.name == spec.name, job.c.project == spec.project))
    query = select(job.c.id, job.c.spec).where(alike, job.c.state == JobState.SUCCEEDED.value)
    rows = connection.execute(query.order_by(job.c.submitted_at.desc()).limit(MOST_RUNS)).all()
    tries = attempts.by_job(connection, [job_id for job_id, _ in rows])
    found = (_ran_s(spec_from_json(plain), tries.get(job_id, [])) for job_id, plain in rows)
    return [ran_s for ran_s in found if ran_s > 0]


def _ran_s(spec: JobSpec, tries: list[RowMapping]) -> float:
    return sum(worked_s(spec, one, one["ended_at"]) for one in tries if one["ended_at"])
