"""A whole daemon inside the test's own event loop, on clusters and a clock of the test's choice; no HTTP."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from lowtide.connectors.cluster.fake import Script, SimulatedCluster
from lowtide.connectors.cluster.ray_jobs import RayJobs
from lowtide.scheduler.api.jobspec import read_job
from lowtide.scheduler.control.assemble import Daemon
from lowtide.scheduler.control.clock import Clock
from lowtide.scheduler.model.cluster import Cluster
from lowtide.scheduler.model.plan import Plan
from lowtide.scheduler.settings import Settings, SiteSettings

Json = dict[str, Any]
NOWHERE = "http://127.0.0.1:9"
ASAP = {"name": "research", "policy": "asap"}
CLINICAL = {"name": "clinical", "policy": "asap", "urgency": "clinical"}


def a_cluster(runs_s: float | None = 0.1, *, gpus: int = 2, cpus: int = 8) -> SimulatedCluster:
    """A cluster whose jobs succeed after so many real seconds."""
    return SimulatedCluster(time.monotonic, gpus=gpus, cpus=cpus, script=lambda _: Script(ends_in_s=runs_s))


@contextmanager
def a_silent_address() -> Iterator[str]:
    """The base URL of something that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def a_silent_cluster(url: str) -> RayJobs:
    return RayJobs(url)


@asynccontextmanager
async def a_daemon(
    data_dir: Path,
    clusters: Mapping[str, Cluster],
    *,
    clock: Clock | None = None,
    cycled: Callable[[Plan, float], None] = lambda _plan, _took_s: None,
    **changes: Any,
) -> AsyncIterator[Daemon]:
    """A started daemon with one site of 2 GPUs and 8 CPUs per cluster; stopped when the block ends."""
    sites = tuple(SiteSettings(name=name, address=NOWHERE, gpus=2, cpus=8) for name in clusters)
    common = {"tick_s": 1.0, "poll_s": 0.1, "queues": [ASAP, CLINICAL]}
    settings = Settings.model_validate({"data_dir": data_dir, "sites": sites, **common, **changes})
    daemon = Daemon(settings, clock or Clock(), url=lambda: "", shutdown=lambda _: None, cycled=cycled)
    for name, cluster in clusters.items():
        await daemon.sites[name].cluster.close()
        daemon.sites[name].cluster = cluster
    daemon.start()
    try:
        yield daemon
    finally:
        await daemon.stop(stop_cluster=False)


async def submit(daemon: Daemon, *, key: str | None = None, **job: Any) -> str:
    """Submit one job; its id once it is accepted."""
    spec = read_job({"name": "a-job", "entrypoint": ["true"], "duration": "10m", **job}).spec(daemon.clock.now())
    (told,) = await daemon.service.submit([spec], actor="test", idempotency_keys=[key])
    return str(told["id"])


async def eventually(found: Callable[[], Awaitable[Any]], what: str, patience_s: float = 30.0) -> Any:
    """Ask until there is an answer that counts; fail with ``what`` when there is none in time."""
    deadline = time.monotonic() + patience_s
    while not (answer := await found()):
        assert time.monotonic() < deadline, f"waited {patience_s:.0f} s in vain for {what}"
        await asyncio.sleep(0.02)
    return answer


async def await_state(daemon: Daemon, job_id: str, state: str, patience_s: float = 30.0) -> Json:
    async def there() -> Json | None:
        job = await daemon.service.job(job_id)
        return job if job["state"] == state else None

    found: Json = await eventually(there, f"{job_id} to be {state}", patience_s)
    return found
