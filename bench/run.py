"""Measure what a user feels; every figure comes from this run, with its baseline beside it.

    python bench/run.py [submit start latency memory grid hung forecast issued elastic widths planner]

submit   durable submissions per second through the API, and latency at 300 per second
start    cold start of the daemon, and the round trip of `lowtide status`
latency  from decision to RUNNING, against `ray job submit` of the same command on the same cluster
memory   resident memory idle and with 10,000 queued jobs
grid     refresh of 200 zones from a vendor that answers 50 ms late; 1,000 waiters for one answer
hung     latency of a plan while the grid's vendor hangs, against a vendor that answers
forecast the saving that plans capture on recorded days, against the raw forecast and perfect foresight
issued   what policies capture of perfect foresight's saving when a trace is planned by forecasts as issued
planner  seconds of one plan, and of one more job, by jobs, sites and slots
elastic  emissions of elastic plans on measured profiles, against the linear program and the published greedy rule
widths   the same for a queue of elastic jobs that share GPUs: balanced, elastic, and the fluid linear program
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.request import urlopen

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.elastic import bench_elastic
from bench.forecast import bench_forecast
from bench.grid import bench_grid
from bench.issued import bench_issued
from bench.planner import bench_planner
from bench.widths import bench_widths
from lowtide.connectors.cluster.local_ray import LocalRay
from tests.contract.grid_server import Reply, a_vendor, neso_like
from tests.daemons import RealDaemon, until

BIN = Path(sys.executable).parent
NOWHERE = "http://127.0.0.1:9"


def settings(address: str) -> dict[str, object]:
    """One site; the default queue waits, so that submitted jobs stay queued."""
    site = {"name": "lab", "address": address, "gpus": 4, "cpus": 8, "python": sys.executable}
    return {"sites": [site], "queues": [{"name": "research", "policy": "asap"}]}


def row(what: str, value: str, goal: str = "") -> None:
    """One aligned line."""
    print(f"  {what:<52} {value:>18}   {goal}", flush=True)


class Client:
    """One kept-alive connection that posts the same job under ever new names, with as little work as possible."""

    def __init__(self, daemon: RealDaemon) -> None:
        """Prepare the message once."""
        url = json.loads((daemon.data_dir / "daemon.json").read_text())["url"]
        self._host, self._port = url.removeprefix("http://").split(":")
        token = (daemon.data_dir / "token").read_text().strip()
        body = json.dumps({"name": "bench", "entrypoint": ["true"], "duration": "1h", "begin": "now+20h"}).encode()
        head = f"POST /v1/jobs HTTP/1.1\r\nHost: {self._host}\r\nAuthorization: Bearer {token}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self._message = head.encode() + body

    async def open(self) -> None:
        """Connect."""
        self._reader, self._writer = await asyncio.open_connection(self._host, int(self._port))

    async def post(self) -> float:
        """Submit one job; seconds until the answer, which must be 201."""
        begun = time.perf_counter()
        self._writer.write(self._message)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        body = await self._reader.readexactly(length)
        assert head.startswith(b"HTTP/1.1 201"), body
        return time.perf_counter() - begun


async def flood(daemon: RealDaemon, connections: int, total: int) -> float:
    """Submissions per second with so many clients, each sending the next when the last is answered."""
    clients = [Client(daemon) for _ in range(connections)]
    for client in clients:
        await client.open()

    async def work(client: Client) -> None:
        for _ in range(total // connections):
            await client.post()

    begun = time.perf_counter()
    await asyncio.gather(*(work(client) for client in clients))
    return total / (time.perf_counter() - begun)


async def paced(daemon: RealDaemon, per_s: float, seconds: float) -> list[float]:
    """Latencies at a fixed arrival rate, counted from when each was due."""
    clients = [Client(daemon) for _ in range(32)]
    for client in clients:
        await client.open()
    free: asyncio.Queue[Client] = asyncio.Queue()
    for client in clients:
        free.put_nowait(client)
    found: list[float] = []
    begun = time.perf_counter()

    async def one(due: float) -> None:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        client = await free.get()
        await client.post()
        found.append(time.perf_counter() - due)
        free.put_nowait(client)

    await asyncio.gather(*(one(begun + i / per_s) for i in range(int(per_s * seconds))))
    return found


def bench_submit(folder: Path) -> None:
    """Group commit, seen from outside."""
    print("Durable submissions through the API (SQLite, synchronous=FULL)")
    daemon = RealDaemon(folder / "submit", settings(NOWHERE)).start()
    asyncio.run(flood(daemon, 4, 200))
    alone = asyncio.run(flood(daemon, 1, 300))
    row("one client, one after the other", f"{alone:,.0f} /s")
    many = asyncio.run(flood(daemon, 64, 6400))
    row("64 clients", f"{many:,.0f} /s", f"goal >= 1,000; {many / alone:.1f} x one client")
    latencies = sorted(asyncio.run(paced(daemon, 300, 10)))
    row("p50 at 300 /s", f"{statistics.median(latencies) * 1000:.1f} ms")
    row("p99 at 300 /s", f"{latencies[int(len(latencies) * 0.99)] * 1000:.1f} ms", "goal < 50 ms")
    stored = sum(v for _, v in _counter(daemon))
    row(
        "submissions that the store holds",
        f"{stored:,.0f}",
        f"answered with 201: {200 + 300 + 6400 + len(latencies):,}",
    )
    daemon.stop()


def _counter(daemon: RealDaemon) -> list[tuple[str, float]]:
    text = daemon.ask("GET", "/metrics")[1]
    lines = [line for line in text.splitlines() if line.startswith("lowtide_jobs_submitted_total")]
    return [(line.split()[0], float(line.split()[1])) for line in lines]


def bench_start(folder: Path) -> None:
    """What a person at a terminal waits for."""
    print("At the terminal")
    daemon = RealDaemon(folder / "start", settings(NOWHERE))
    begun = time.perf_counter()
    daemon.start()
    row("cold start of the daemon to ready (no cluster to start)", f"{time.perf_counter() - begun:.2f} s")
    daemon.submit(entrypoint=["true"], begin="now+20h")
    status = [str(BIN / "lowtide"), "--data-dir", str(daemon.data_dir), "status"]
    bare = _best(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True))
    took = _best(lambda: subprocess.run(status, check=True, stdout=subprocess.DEVNULL))
    row("`lowtide status`, best of 7", f"{took * 1000:.0f} ms", f"goal < 300 ms; a bare python: {bare * 1000:.0f} ms")
    daemon.stop()


def _best(work: Callable[[], object], times: int = 7) -> float:
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        found.append(time.perf_counter() - begun)
    return min(found)


def bench_latency(folder: Path) -> None:
    """The price of going through lowtide."""
    print("From decision to RUNNING, on one local Ray cluster")
    cluster = LocalRay(folder / "ray", gpus=4, cpus=8)
    try:
        url = asyncio.run(cluster.ensure())
        daemon = RealDaemon(folder / "latency", {**settings(url), "poll_s": 0.2}).start()
        plain = [_plain(url, n) for n in range(6)][1:]
        ours = [_ours(daemon) for _ in range(6)][1:]
        row("`ray job submit` to RUNNING, median of 5", f"{statistics.median(plain):.2f} s")
        ratio = statistics.median(ours) / statistics.median(plain)
        row(
            "lowtide: submitted to RUNNING, median of 5",
            f"{statistics.median(ours):.2f} s",
            f"{ratio:.2f} x; goal <= 1.2 x",
        )
        daemon.stop()
    finally:
        cluster.stop()


def _plain(url: str, number: int) -> float:
    """Ray's own command line, then its API until RUNNING."""
    name = f"plain-{number}"
    begun = time.perf_counter()
    command = [str(BIN / "ray"), "job", "submit", "--address", url, "--submission-id", name, "--no-wait"]
    subprocess.run(
        [*command, "--", "sleep", "3"], check=True, capture_output=True, env={**os.environ, "RAY_AUTH_MODE": "disabled"}
    )

    def running() -> bool:
        with urlopen(f"{url}/api/jobs/{name}") as answer:
            return json.loads(answer.read())["status"] in {"RUNNING", "SUCCEEDED"}

    until(running, name)
    return time.perf_counter() - begun


def _ours(daemon: RealDaemon) -> float:
    begun = time.perf_counter()
    job = daemon.submit(entrypoint=["sleep", "3"])
    daemon.await_state(job["id"], "running", "succeeded")
    return time.perf_counter() - begun


def bench_memory(folder: Path) -> None:
    """Resident memory of the daemon process."""
    print("Resident memory of the daemon")
    daemon = RealDaemon(folder / "memory", settings(NOWHERE)).start()
    assert daemon.process is not None
    process = psutil.Process(daemon.process.pid)
    time.sleep(3)
    row("idle", f"{process.memory_info().rss / 2**20:.0f} MiB", "goal < 250 MB")
    asyncio.run(flood(daemon, 32, 10_016))
    time.sleep(20)
    row("with 10,000 queued jobs", f"{process.memory_info().rss / 2**20:.0f} MiB", "goal < 600 MB")
    daemon.stop()


PLANS = 300


def bench_hung(folder: Path) -> None:
    """A decision never waits for the network."""
    print("Plan of one job through the API, in a queue of 50 jobs")
    now = datetime.now(tz=UTC)
    found = {}
    for name, answer in (("answers", neso_like(now)), ("hangs", lambda _path: Reply(hang=True))):
        with a_vendor(answer) as vendor:
            found[name] = _plans_ms(folder / name, vendor.url)
    for name, latencies in found.items():
        ratio = statistics.median(latencies) / statistics.median(found["answers"])
        p99 = latencies[int(len(latencies) * 0.99)]
        row(f"vendor {name}: median of {PLANS}", f"{statistics.median(latencies):.1f} ms", f"{ratio:.2f} x")
        row(f"vendor {name}: p99", f"{p99:.1f} ms")


def _plans_ms(data_dir: Path, vendor: str) -> list[float]:
    site = {"name": "lab", "address": NOWHERE, "gpus": 4, "cpus": 8, "zone": "GB", "grid": "neso"}
    grids = [{"name": "neso", "options": {"base_url": vendor}}]
    daemon = RealDaemon(data_dir, {"sites": [site], "grids": grids, "queues": [{"name": "research"}]}).start()
    for _ in range(50):
        daemon.submit(entrypoint=["true"], begin="now+20h")
    found = []
    for _ in range(PLANS):
        begun = time.perf_counter()
        status, told = daemon.ask("POST", "/v1/plans", {"name": "mri", "entrypoint": ["true"], "duration": "3h"})
        found.append((time.perf_counter() - begun) * 1000)
        assert status == 200, told
    daemon.stop()
    return sorted(found)


PARTS: dict[str, Callable[[Path], None]] = {
    "submit": bench_submit,
    "start": bench_start,
    "latency": bench_latency,
    "memory": bench_memory,
    "grid": lambda folder: bench_grid(folder, row),
    "hung": bench_hung,
    "forecast": lambda folder: bench_forecast(folder, row),
    "issued": lambda folder: bench_issued(folder, row),
    "elastic": lambda folder: bench_elastic(folder, row),
    "widths": lambda folder: bench_widths(folder, row),
    "planner": lambda folder: bench_planner(folder, row),
}


def main() -> None:
    """Run the named parts, or all."""
    names = sys.argv[1:] or list(PARTS)
    with tempfile.TemporaryDirectory(prefix="lowtide-bench-") as folder:
        for name in names:
            PARTS[name](Path(folder))


if __name__ == "__main__":
    main()
