"""Plays on a Ray cluster: each is a job of its own over HTTP, and a line of its log carries the result.

The cluster needs lowtide in its Python; the plays travel there as one package. At most as many jobs are handed over as
the cluster has free CPUs: Ray gives up those that wait for minutes.
"""

import asyncio
import json
import pickle
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path
from uuid import uuid4

from lowtide.connectors.cluster.package import jobside_package, working_dir_package
from lowtide.connectors.cluster.ray_jobs import RayJobs
from lowtide.connectors.jobside.record import PREFIX
from lowtide.scheduler.cli.simulate_sweep import timed
from lowtide.scheduler.model.cluster import ClusterJob, ClusterJobStatus, Submission
from lowtide.scheduler.model.errors import ClusterFailure, ClusterFailureKind
from lowtide.scheduler.simulate.play import Play
from lowtide.scheduler.simulate.result import Result

MARK = "LOWTIDE-RESULT "
FILE = "plays.pickle"
POLL_S = 1.0
FORGET_TRIES = 10
LOOKS = 3
"""So often in a row a record has to be missing: a busy cluster writes the end late."""
PACKAGE_MAX_BYTES = 512 << 20
LOG_MAX_BYTES, LOG_LINES, SHOWN_LINES = 16 << 20, 400, 8
"""A result is some hundred kilobytes: a point for every change of the GPUs at work."""
LIVE = frozenset({ClusterJobStatus.PENDING, ClusterJobStatus.RUNNING})
Sleep = Callable[[float], Awaitable[None]]


def played_on_ray(plays: Sequence[Play], address: str, python: str) -> list[Result]:
    """Results in the order of the plays.

    Args:
        plays: what is to be played.
        address: the URL of the cluster's dashboard.
        python: of the cluster's nodes; it must have lowtide.

    Raises:
        ClusterFailure: the cluster gave no usable answer, or a job failed.

    """
    return asyncio.run(_played(RayJobs(address, python=python), plays, python))


async def _played(cluster: RayJobs, plays: Sequence[Play], python: str) -> list[Result]:
    try:
        free = await cluster.capacity()
        at_once = asyncio.Semaphore(max(1, int(free.cpus_total - free.cpus_used)))
        uris = await cluster.upload(_package(plays)), await cluster.upload(jobside_package())
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_one(cluster, at_once, n, uris, python)) for n in range(len(plays))]
        return [task.result() for task in tasks]
    except* ClusterFailure as failures:
        raise failures.exceptions[0] from None
    finally:
        await cluster.close()


def _package(plays: Sequence[Play]) -> bytes:
    with tempfile.TemporaryDirectory(prefix="lowtide-") as folder:
        (Path(folder) / FILE).write_bytes(pickle.dumps(list(plays)))
        return working_dir_package(Path(folder), PACKAGE_MAX_BYTES)


async def _one(
    cluster: RayJobs,
    at_once: asyncio.Semaphore,
    number: int,
    uris: tuple[str, str],
    python: str,
    sleep: Sleep = asyncio.sleep,
) -> Result:
    """Hand one play over, wait for its end, and leave nothing of it at the cluster."""
    name = f"lowtide-simulate-{uuid4().hex[:12]}"
    async with at_once:
        try:
            await cluster.submit(_submission(name, number, uris, python))
            job = await cluster.get(name)
            while job.status in LIVE:
                await sleep(POLL_S)
                job = await cluster.get(name)
            log = await cluster.log_tail(name, max_bytes=LOG_MAX_BYTES, lines=LOG_LINES)
        except asyncio.CancelledError:
            await cluster.stop(name)
            raise
        await _forget(cluster, name, sleep)
    return found_in(job, log)


async def _forget(cluster: RayJobs, name: str, sleep: Sleep) -> None:
    """Delete the record of an ended job until it stays away: Ray may write the end once more after it was seen."""
    missed = 0
    for _ in range(FORGET_TRIES):
        await cluster.delete(name)
        await sleep(POLL_S)
        is_missing = (await cluster.get(name)).status is ClusterJobStatus.MISSING
        missed = missed + 1 if is_missing else 0
        if missed == LOOKS:
            return


def _submission(name: str, number: int, uris: tuple[str, str], python: str) -> Submission:
    argv = (python, "-m", "lowtide.scheduler.cli.simulate_ray", str(number))
    env = {
        "LOWTIDE_ARGV": json.dumps(argv),
        "LOWTIDE_JOB_ID": name,
        "LOWTIDE_ATTEMPT_ID": name,
        "LOWTIDE_FENCE": name,
        "PYTHONUNBUFFERED": "1",
    }
    metadata = {"lowtide_fence": name}
    return Submission(name, argv, env, 1, 0, working_dir_uri=uris[0], py_module_uris=(uris[1],), metadata=metadata)


def found_in(job: ClusterJob, log: str) -> Result:
    """The result that the log of an ended job carries; raises ClusterFailure where there is none."""
    lines = [line.removeprefix(MARK) for line in log.splitlines() if line.startswith(MARK)]
    if job.status is ClusterJobStatus.SUCCEEDED and lines:
        return _read(lines[-1])
    told = [line for line in log.splitlines() if line and not line.startswith(PREFIX)]
    end = "\n".join(told[-SHOWN_LINES:]) or job.message
    message = f"a play ended as {job.status} on the cluster, without a result. Its log ends:\n{end}"
    fix = "Give --ray-python a Python of the cluster's nodes that has this lowtide."
    raise ClusterFailure(ClusterFailureKind.REFUSED, message, fix=fix)


def written(found: Result) -> str:
    """A result as the line that carries it."""
    running = [(moment.isoformat(), gpus) for moment, gpus in found.running]
    return MARK + json.dumps({"report": found.report, "running": running, "waits_h": found.waits_h})


def _read(text: str) -> Result:
    told = json.loads(text)
    running = tuple((datetime.fromisoformat(moment), gpus) for moment, gpus in told["running"])
    return Result(told["report"], running, tuple(told["waits_h"]))


def main() -> None:
    """At the cluster: play the one that is asked for, from the package that this command uploaded itself."""
    plays = pickle.loads(Path(FILE).read_bytes())  # noqa: S301 - as above
    print(written(timed(plays[int(sys.argv[1])])))  # noqa: T201 - the log is the way back


if __name__ == "__main__":
    main()
