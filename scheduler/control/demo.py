"""The main job in one command: a daemon on a time-lapse clock, real training jobs on a local Ray, a receipt.

No key, no network, no GPU. The daemon is the real one, in a process of its own, spoken to over its API. What
is shown live and what is printed at the end come from that API alone.
"""

import asyncio
import importlib.util
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from lowtide.connectors.cluster.local_ray import LocalRay
from lowtide.connectors.cluster.package import jobside_package
from lowtide.connectors.cluster.ray_jobs import RayJobs
from lowtide.connectors.http import HttpClient
from lowtide.scheduler.control.demo_view import View
from lowtide.scheduler.model.cluster import ClusterJobStatus, Submission
from lowtide.scheduler.model.errors import StartFailure

RATE = 450.0
"""1 s of the demo is 7.5 min of the grid: slow enough that starting a process is not what most of a job's time is."""
START = datetime.fromisoformat("2023-03-25T14:10:00+00:00")
"""Before an evening peak and a cleaner night: 63 g/kWh now, 186 at six, 104 at six in the morning. Every start from two
to a quarter to three gives the same story, so that a slow machine does not change it."""
GPUS, CPUS = 4, 6
LIMIT_S = 170.0
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Act:
    """One job of the demo: when it is submitted (clock hours after the start), and its job file."""

    at_h: float
    kind: str
    spec: Json = field(default_factory=dict)


def _spec(name: str, script: str, seconds: float, **more: object) -> Json:
    return {
        "name": name,
        "entrypoint": [sys.executable, script, "--seconds", f"{seconds:g}"],
        "resources": {"gpus": 1, "cpus": 1},
        "power_w": 300,
        **more,
    }


ACTS = (
    Act(
        0.0,
        "imaging",
        _spec(
            "brain-mri",
            "brain_mri.py",
            26,
            queue="greenest",
            duration="270m",
            patience="10h",
            interruptible=True,
            checkpoint_interval="1h",
        ),
    ),
    Act(3.0, "imaging", _spec("ct-tissue", "ct_tissue.py", 12, queue="research", duration="150m", patience="9h")),
    Act(3.5, "genomics", _spec("er-status", "er_status.py", 9, queue="research", duration="2h", patience="9h")),
    Act(4.5, "clinical", _spec("relapse-clinical", "relapse_clinical.py", 7, queue="clinical", duration="100m")),
    Act(
        5.5,
        "genomics",
        _spec("metastasis-risk", "metastasis_risk.py", 7, queue="research", duration="150m", deadline="now+3h"),
    ),
)
SETTINGS: Json = {
    "port": 0,
    "tick_s": 1.0,
    "poll_s": 0.3,
    "sample_s": 1.0,
    "sites": [{"name": "local", "zone": "GB", "grid": "recorded", "gpus": GPUS, "cpus": CPUS, "jurisdiction": "GB"}],
    "queues": [
        {"name": "research", "policy": "lowest_window", "confidence": 0.55, "switch_cost_s": 1800},
        {
            "name": "greenest",
            "policy": "lowest_slots",
            "confidence": 0.55,
            "switch_cost_s": 1200,
            "min_run_s": 3600,
            "max_suspensions": 2,
        },
        {"name": "clinical", "policy": "asap", "urgency": "clinical", "priority": 100},
    ],
}


def run(*, as_json: bool = False) -> int:
    """Play the demo; returns 0 when every job succeeded."""
    return asyncio.run(Demo(View.choose(quiet=as_json)).play(as_json=as_json))


class Api:
    """The daemon of the demo, over HTTP."""

    def __init__(self, data_dir: Path) -> None:
        """Read where it listens and its token."""
        self._base = json.loads((data_dir / "daemon.json").read_text())["url"]
        token = (data_dir / "token").read_text().strip()
        self._http = HttpClient(headers={"Authorization": f"Bearer {token}"})

    async def ask(self, method: str, path: str, body: Json | None = None) -> Json:
        """One request; an error of the daemon is raised with its sentence."""
        answer = await self._http.request(method, self._base + path, json=body, body_cap=8 << 20)
        value: Json = json.loads(answer.body)
        if answer.status >= 400 and path != "/v1/health":  # noqa: PLR2004 - 503 there says that it starts
            raise StartFailure(f"the demo's daemon refused: {value.get('detail')}", fix=str(value.get("fix") or ""))
        return value

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()


class Demo:
    """One play."""

    def __init__(self, view: "View") -> None:
        """Take what shows it."""
        self._view = view
        self._begun = time.monotonic()

    async def play(self, *, as_json: bool) -> int:
        """From an empty directory to the receipt; everything that was started is ended again."""
        data_dir = Path(tempfile.mkdtemp(prefix="lowtide-demo-"))
        ray = LocalRay(data_dir, gpus=GPUS, cpus=CPUS)
        try:
            self._view.say("Starting a private Ray cluster on this machine ...")
            await self._warm_up(await ray.ensure())
            self._view.say("Starting the daemon on a time-lapse clock over recorded days of Great Britain ...")
            with _daemon(data_dir) as process:
                api = await self._reach(data_dir, process)
                try:
                    document = await self._watch(api)
                    report = await api.ask("GET", "/v1/report")
                finally:
                    await api.close()
        finally:
            await asyncio.to_thread(ray.stop)
            shutil.rmtree(data_dir, ignore_errors=True)
        if as_json:
            print(json.dumps(document))  # noqa: T201
        else:
            self._view.finish(document, report)
        return 0 if all(job["state"] == "succeeded" for job in document["jobs"]) else 1

    async def _warm_up(self, url: str) -> None:
        """One trivial job, so that the first real one does not pay for Ray's first start."""
        cluster = RayJobs(url, python=sys.executable)
        try:
            uri = await cluster.upload(jobside_package())
            argv = [sys.executable, "-c", "import sklearn, numpy"]
            env = {"LOWTIDE_ARGV": json.dumps(argv), "LOWTIDE_FENCE": secrets.token_hex(4)}
            await cluster.submit(Submission("warm-up", tuple(argv), env, 1, 0, py_module_uris=(uri,)))
            while True:
                status = (await cluster.get("warm-up")).status
                if status not in {ClusterJobStatus.PENDING, ClusterJobStatus.RUNNING}:
                    return
                await asyncio.sleep(0.1)
        finally:
            await cluster.close()

    async def _reach(self, data_dir: Path, process: subprocess.Popen[bytes]) -> Api:
        deadline = time.monotonic() + 30
        while not (data_dir / "daemon.json").exists():
            if process.poll() is not None or time.monotonic() > deadline:
                tail = (data_dir / "demo.log").read_text(errors="replace")[-800:]
                raise StartFailure(f"the demo's daemon did not start. Its last words: {tail}")
            await asyncio.sleep(0.05)
        api = Api(data_dir)
        while True:
            health = await api.ask("GET", "/v1/health")
            if health["status"] != "starting":
                return api
            await asyncio.sleep(0.05)

    async def _watch(self, api: Api) -> Json:
        """Submit each job in its turn and show the fleet until all have ended and are accounted for."""
        kinds: dict[str, str] = {}
        waiting = list(ACTS)
        folder = examples()
        with self._view.live():
            while True:
                now = datetime.fromisoformat((await api.ask("GET", "/v1/health"))["now"])
                while waiting and now >= START + timedelta(hours=waiting[0].at_h):
                    act = waiting.pop(0)
                    labels = {"kind": act.kind}
                    body = {**act.spec, "working_dir": str(folder), "project": "demo", "labels": labels}
                    kinds[(await api.ask("POST", "/v1/jobs", body))["id"]] = act.kind
                jobs = (await api.ask("GET", "/v1/jobs"))["items"]
                outlook = await api.ask("GET", "/v1/forecast?zone=GB&hours=24")
                self._view.show(now, jobs, outlook)
                if not waiting and all(_settled(job) for job in jobs):
                    return await self._document(api, jobs, kinds)
                if time.monotonic() - self._begun > LIMIT_S:
                    self._view.say("The demo ran out of time; what is there is shown.")
                    return await self._document(api, jobs, kinds)
                await asyncio.sleep(0.4)

    async def _document(self, api: Api, jobs: list[Json], kinds: dict[str, str]) -> Json:
        """The JSON document; its keys are an interface."""
        report = await api.ask("GET", "/v1/report")
        health = await api.ask("GET", "/v1/health")
        told = [_job_document(job, kinds.get(job["id"], "")) for job in reversed(jobs)]
        return {
            "jobs": told,
            **{n: report[n] for n in ("emissions_g", "baseline_emissions_g", "avoided_g", "avoided_fraction")},
            "grid": {"zone": "GB", "source": "recorded", "from": START.isoformat(), "to": health["now"]},
            "ray_version": health["sites"][0]["ray_version"],
            "wall_s": round(time.monotonic() - self._begun, 1),
        }


def _settled(job: Json) -> bool:
    """Ended, and where it ran, compared with running at once."""
    return job["finished_at"] is not None and (job["started_at"] is None or job["avoided_g"] is not None)


def _job_document(job: Json, kind: str) -> Json:
    return {
        "name": job["name"],
        "state": job["state"],
        "queue": job["queue"],
        "kind": kind,
        "submitted": job["submitted_at"],
        "started": job["started_at"],
        "finished": job["finished_at"],
        "attempts": job["attempts"],
        "suspensions": job["suspensions"],
        "energy_kwh": job["energy_kwh"],
        "emissions_g": job["emissions_g"],
        "baseline_emissions_g": job["baseline_emissions_g"],
        "accuracy": job["results"].get("accuracy"),
        "reason_first": job["reason_first"],
    }


def examples() -> Path:
    """The folder of the example scripts, as installed."""
    spec = importlib.util.find_spec("lowtide.examples")
    if spec is None or not spec.submodule_search_locations:
        raise StartFailure("the example scripts are not installed.", fix="Install lowtide[demo] again.")
    missing = [m for m in ("sklearn", "nibabel", "pydicom", "sksurv") if importlib.util.find_spec(m) is None]
    if missing:
        raise StartFailure(f"the demo needs {', '.join(missing)}.", fix='Run: pip install "lowtide[demo]"')
    return Path(next(iter(spec.submodule_search_locations)))


@contextmanager
def _daemon(data_dir: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The demo's daemon as a process; ended with the demo."""
    config = data_dir / "demo.yaml"
    config.write_text(yaml.safe_dump(SETTINGS))
    module = "lowtide.scheduler.control.daemon"
    command = [sys.executable, "-m", module, "--data-dir", str(data_dir), "--config", str(config)]
    command += ["--clock-rate", str(RATE), "--clock-start", START.isoformat()]
    with (data_dir / "demo.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=dict(os.environ))
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
