"""The private Ray cluster on this machine: its own session, ports and directories, found again after a crash.

It is started as a session of its own, so it outlives the daemon and can be ended whole without touching any
other Ray on the machine (``ray stop`` would end them all). ``cluster.json`` is written before and after
the start: a daemon that was killed in between finds the half-started cluster and ends it.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from lowtide.connectors.cluster.ray_jobs import RayJobs
from lowtide.scheduler.model.errors import ClusterFailure, ClusterFailureKind

START_S = 180.0
"""A start takes 5 s on an idle machine; 60 s were measured on two busy cores with cold files."""
ADOPT_S = 30.0
"""How long a cluster that runs may fail its health check before it, and all jobs on it, are given up."""
START_TRIES = 2
"""Ports are chosen free but not held, so somebody may take one before Ray does."""
TERM_S = 2.0
KILL_ROUNDS = 3
"""What is ended may have started something in the meantime."""
WORKER_PORTS = 200
TAG = "LOWTIDE_CLUSTER"
OBJECT_STORE_BYTES = 200_000_000


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything that two Ray clusters on one host must not share."""

    gcs: int
    dashboard: int
    client: int
    agent: int
    metrics: int
    autoscaler_metrics: int
    dashboard_metrics: int
    worker_low: int


@dataclass(frozen=True, slots=True)
class Found:
    """What ``cluster.json`` holds: the session leader with its start time (process ids are used again)."""

    tag: str
    temp_dir: str
    ports: Ports
    leader_pid: int = 0
    leader_started: float = 0.0

    @property
    def url(self) -> str:
        """The base URL of its Jobs API."""
        return f"http://127.0.0.1:{self.ports.dashboard}"


class LocalRay:
    """Starts, finds, checks and ends the private cluster of one data directory."""

    def __init__(self, data_dir: Path, *, gpus: int, cpus: int) -> None:
        """Name the data directory and the logical capacity; nothing is started yet."""
        self._home = data_dir / "ray"
        self._state = self._home / "cluster.json"
        self._gpus, self._cpus = gpus, cpus
        self._digest = hashlib.sha256(str(data_dir.resolve()).encode()).hexdigest()[:10]

    async def ensure(self) -> str:
        """The base URL of a healthy cluster: the one that runs, or a new one.

        Raises:
            ClusterFailure: Ray is not installed, refused to start or did not become healthy.

        """
        found = self._read()
        if found is not None:
            if _has_head(found) and await self._healthy(found.url, patience_s=ADOPT_S):
                return found.url
            await asyncio.to_thread(self.stop)
        for _ in range(START_TRIES - 1):
            with contextlib.suppress(ClusterFailure):  # the last try tells why
                return await self._start_or_end()
        return await self._start_or_end()

    async def _start_or_end(self) -> str:
        """Start; what a failed start has left is ended, so that nothing runs unaccounted for."""
        try:
            return await self._start()
        except ClusterFailure:
            await asyncio.to_thread(self.stop)
            raise

    async def _start(self) -> str:
        self._home.mkdir(parents=True, exist_ok=True)
        # Ray's Unix sockets must fit in 107 bytes, so the temp directory cannot lie in the data directory.
        temp_dir = Path(tempfile.gettempdir()) / f"lowtide-{os.getuid()}" / self._digest
        await asyncio.to_thread(shutil.rmtree, temp_dir, ignore_errors=True)
        temp_dir.mkdir(parents=True, mode=0o700)
        found = Found(tag=f"{self._digest}-{os.urandom(4).hex()}", temp_dir=str(temp_dir), ports=_free_ports())
        self._write(found)
        log_path = self._home / "start.log"
        with log_path.open("wb") as log:
            process = subprocess.Popen(  # noqa: ASYNC220 - returns at once; its end is awaited below
                self._command(found),
                env=self._environment(found),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=str(Path.home()),
            )
        found = Found(found.tag, found.temp_dir, found.ports, process.pid, _started(process.pid))
        self._write(found)
        await self._await_start(process, log_path)
        if not await self._healthy(found.url, patience_s=START_S):
            raise self._refused("did not become healthy", log_path)
        return found.url

    async def _await_start(self, process: subprocess.Popen[bytes], log_path: Path) -> None:
        """Wait for ``ray start`` itself; the daemons that it leaves keep its session id."""
        deadline = time.monotonic() + START_S
        while process.poll() is None:
            if time.monotonic() > deadline:
                process.kill()
                process.wait()
                raise self._refused(f"did not start within {START_S:.0f} s", log_path)
            await asyncio.sleep(0.1)
        if process.returncode != 0:
            raise self._refused(f"refused to start (exit code {process.returncode})", log_path)

    def _refused(self, what: str, log_path: Path) -> ClusterFailure:
        tail = log_path.read_text(errors="replace").strip()[-600:] if log_path.exists() else ""
        return ClusterFailure(
            ClusterFailureKind.UNREACHABLE,
            f"The local Ray cluster {what}. Its last words: {tail or '(none)'}",
            fix=f"See {log_path} and {self._home}; 'lowtide doctor' checks the installation.",
        )

    def _command(self, found: Found) -> list[str]:
        ports = found.ports
        beside = Path(sys.executable).parent / "ray"
        program = [str(beside)] if beside.exists() else [sys.executable, "-m", "ray.scripts.scripts"]
        return [
            *program,
            "start",
            "--head",
            "--disable-usage-stats",
            "--node-ip-address=127.0.0.1",
            "--dashboard-host=127.0.0.1",
            f"--port={ports.gcs}",
            f"--dashboard-port={ports.dashboard}",
            f"--ray-client-server-port={ports.client}",
            f"--dashboard-agent-listen-port={ports.agent}",
            f"--metrics-export-port={ports.metrics}",
            f"--min-worker-port={ports.worker_low}",
            f"--max-worker-port={ports.worker_low + WORKER_PORTS - 1}",
            f"--temp-dir={found.temp_dir}",
            f"--num-cpus={self._cpus}",
            f"--num-gpus={self._gpus}",
            f"--object-store-memory={OBJECT_STORE_BYTES}",
        ]

    def _environment(self, found: Found) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "LOWTIDE_"))}
        return {
            **kept,
            TAG: found.tag,
            # Without this Ray turns 127.0.0.1 into the machine's address and lets the network submit jobs;
            # the name notwithstanding it makes a cluster of one machine, bound to the loopback interface.
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
            "RAY_AUTH_MODE": "disabled",  # loopback only
            "RAY_USAGE_STATS_ENABLED": "0",
            # so that the supervisor's watcher survives a dead raylet and ends the job's whole process group
            "RAY_kill_child_processes_on_worker_exit": "false",
            "AUTOSCALER_METRIC_PORT": str(found.ports.autoscaler_metrics),
            "DASHBOARD_METRIC_PORT": str(found.ports.dashboard_metrics),
        }

    async def _healthy(self, url: str, patience_s: float) -> bool:
        cluster = RayJobs(url)
        deadline = time.monotonic() + patience_s
        try:
            while True:
                try:
                    await cluster.health()
                except ClusterFailure:
                    if time.monotonic() > deadline:
                        return False
                    await asyncio.sleep(0.2)
                else:
                    return True
        finally:
            await cluster.close()

    # ---- what lives ----

    def members(self) -> list[psutil.Process]:
        """Every process that carries this cluster's tag in its environment: daemons, workers and jobs."""
        found = self._read()
        return [process for process, _ in _tagged(found.tag)] if found else []

    def living_attempts(self) -> set[str] | None:
        """Attempts that have a process on this machine; None when no cluster was ever started."""
        found = self._read()
        if found is None:
            return None
        named = {
            environ.get("LOWTIDE_ATTEMPT_ID", "")
            for process, environ in _tagged(found.tag)
            if not _is_rays_own(process)
        }
        return named - {""}

    def is_alive(self) -> bool:
        """Whether any process of the cluster lives."""
        found = self._read()
        return found is not None and self._lives(found)

    def stop(self) -> None:
        """End every process of this cluster, politely first, and forget it."""
        found = self._read()
        if found is None:
            return
        for number in (signal.SIGTERM, *[signal.SIGKILL] * KILL_ROUNDS):
            alive = [process for process, _ in _tagged(found.tag)]
            if not alive:
                break
            for process in alive:
                _signal(process, number)
            psutil.wait_procs(alive, timeout=TERM_S)
        shutil.rmtree(found.temp_dir, ignore_errors=True)
        self._state.unlink(missing_ok=True)

    @staticmethod
    def _lives(found: Found) -> bool:
        return any(True for _ in _tagged(found.tag))

    def _read(self) -> Found | None:
        try:
            values = json.loads(self._state.read_text())
            return Found(**{**values, "ports": Ports(**values["ports"])})
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError):
            self._state.rename(self._state.with_suffix(".broken"))
            return None

    def _write(self, found: Found) -> None:
        scratch = self._state.with_suffix(".new")
        scratch.write_text(json.dumps(asdict(found)))
        scratch.rename(self._state)


def _tagged(tag: str) -> list[tuple[psutil.Process, dict[str, str]]]:
    """Processes whose environment carries the tag. Ray hands its environment to every worker and job."""
    found = []
    for process in psutil.process_iter():
        try:
            environ = process.environ()
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess, OSError):
            continue
        if environ.get(TAG) == tag and process.pid != os.getpid():
            found.append((process, environ))
    return found


def _has_head(found: Found) -> bool:
    """Whether the control store runs; without it the cluster cannot come back, whatever else is left of it."""
    for process, _ in _tagged(found.tag):
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.name() == "gcs_server":
                return True
    return False


def _is_rays_own(process: psutil.Process) -> bool:
    """Ray's supervisor of the job and its idle workers carry the job's environment, but run none of it."""
    try:
        title = " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return True
    return title.startswith(("ray::JobSupervisor", "ray::IDLE", "ray::_ray_internal_job_actor"))


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _started(pid: int) -> float:
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return 0.0


def _free_ports() -> Ports:
    """Ports that nobody listens on now; all are held open together, so they differ."""
    sockets = []
    try:
        for _ in range(7):
            held = socket.socket()
            held.bind(("127.0.0.1", 0))
            sockets.append(held)
        numbers = [s.getsockname()[1] for s in sockets]
    finally:
        for held in sockets:
            held.close()
    return Ports(*(*numbers, _free_range()))


def _free_range() -> int:
    """The start of a run of worker ports below the ephemeral range, away from everything in use."""
    used = {c.laddr.port for c in psutil.net_connections("tcp") if c.laddr}
    first = 11_000 + (os.getpid() * 211) % 15_000
    for step in range(80):
        low = 11_000 + (first - 11_000 + step * WORKER_PORTS) % 20_000
        if not any(low <= port < low + WORKER_PORTS for port in used):
            return low
    return first
