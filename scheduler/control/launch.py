"""From a spec and an attempt to what is handed to the cluster: pure."""

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import PurePosixPath

from sqlalchemy import RowMapping

from lowtide.scheduler.model import power_plan
from lowtide.scheduler.model.cluster import Submission
from lowtide.scheduler.model.job import JobSpec
from lowtide.scheduler.settings import Settings, SiteSettings


def submission(
    spec: JobSpec,
    attempt: RowMapping,
    *,
    site: SiteSettings,
    settings: Settings,
    rate: float,
    working_dir_uri: str | None,
    jobside_uri: str,
    to_wall: Callable[[datetime], float] = datetime.timestamp,
) -> Submission:
    """The submission of one attempt; the same attempt always gives the same one.

    Job-side seconds are wall seconds: clock intervals (checkpoint interval) are divided by ``rate``;
    ``to_wall`` turns the moments of its power limits into Unix seconds.
    """
    limits = [[to_wall(at), fraction] for at, fraction in power_plan.from_json(attempt["power_plan"])]
    return Submission(
        submission_id=attempt["id"],
        argv=spec.argv,
        env=_environment(spec, attempt, site=site, settings=settings, rate=rate)
        | ({"LOWTIDE_POWER_PLAN": json.dumps(limits)} if limits else {}),
        num_cpus=attempt["cpus"],
        num_gpus=attempt["gpus"],
        memory_bytes=spec.resources.memory_bytes,
        working_dir_uri=working_dir_uri,
        py_module_uris=(jobside_uri,),
        runtime_env=dict(spec.runtime_env),
        metadata={
            "lowtide_job": attempt["job_id"],
            "lowtide_attempt": str(attempt["number"]),
            "lowtide_fence": attempt["fence"],
        },
        grace_s=spec.grace_s,
        node_resource=next((pool.resource for pool in site.pools if pool.name == attempt["pool"]), ""),
    )


def checkpoint_dir(job_id: str, site: SiteSettings, settings: Settings) -> str:
    """Where this job's checkpoints lie at the site; empty where the site has no such place."""
    if site.checkpoint_dir:
        return str(PurePosixPath(site.checkpoint_dir) / job_id)
    if site.address == "local":
        return str(settings.data_dir / "checkpoints" / job_id)
    return ""


def _environment(
    spec: JobSpec, attempt: RowMapping, *, site: SiteSettings, settings: Settings, rate: float
) -> dict[str, str]:
    # OMP_NUM_THREADS: Ray would set it to 1 whatever the job was granted.
    ours = {
        "OMP_NUM_THREADS": str(attempt["cpus"]),
        "PYTHONUNBUFFERED": "1",
        "LOWTIDE_GPUS": str(attempt["gpus"]),
        "LOWTIDE_ARGV": json.dumps(list(spec.argv)),
        "LOWTIDE_JOB_ID": attempt["job_id"],
        "LOWTIDE_ATTEMPT_ID": attempt["id"],
        "LOWTIDE_FENCE": attempt["fence"],
        "LOWTIDE_FENCE_NUMBER": str(attempt["number"]),
        "LOWTIDE_CHECKPOINT_DIR": checkpoint_dir(attempt["job_id"], site, settings),
        "LOWTIDE_CHECKPOINT_INTERVAL_S": repr(spec.checkpoint_interval_s / rate),
        "LOWTIDE_GRACE_S": repr(spec.grace_s),
        "LOWTIDE_SAMPLE_S": repr(settings.sample_s),
        # On its own machine the daemon looks for processes itself, and a machine that slept must lose no job.
        "LOWTIDE_LEASE_S": "0" if site.address == "local" else repr(site.lease_s),
        # For a GPU that has neither an energy counter nor a power reading; the node itself knows whether it has one.
        "LOWTIDE_GPU_TDP_W": repr(settings.gpu_power_w),
    }
    return {**spec.env, **ours}
