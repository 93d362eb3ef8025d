"""Real daemons for tests: started as processes on a data directory of their own, spoken to over HTTP."""

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import yaml

Json = dict[str, Any]
PATIENCE_S = 90.0


def until(found: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
    """Ask until there is an answer that counts; fail with ``what`` when there is none in time."""
    deadline = time.monotonic() + patience_s
    pause = threading.Event()
    while True:
        answer = found()
        if answer:
            return answer
        if time.monotonic() > deadline:
            message = f"waited {patience_s:.0f} s in vain for {what}"
            raise AssertionError(message)
        pause.wait(0.05)


STARTED: list[subprocess.Popen[bytes]] = []


@atexit.register
def end_what_was_left() -> None:
    """A test that failed half way leaves its daemon running."""
    for process in STARTED:
        if process.poll() is None:
            process.kill()


class RealDaemon:
    """A daemon process; ``kill`` is kill -9."""

    def __init__(self, data_dir: Path, settings: Json) -> None:
        self.data_dir = data_dir
        data_dir.mkdir(parents=True, exist_ok=True)
        self._config = data_dir / "test.yaml"
        self._config.write_text(yaml.safe_dump({"port": 0, "tick_s": 1.0, "poll_s": 0.3, **settings}))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *flags: str, wait: bool = True) -> "RealDaemon":
        (self.data_dir / "daemon.json").unlink(missing_ok=True)
        module = "lowtide.scheduler.control.daemon"
        command = [sys.executable, "-m", module, "--data-dir", str(self.data_dir), "--config", str(self._config)]
        command += flags
        with (self.data_dir / "out.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=dict(os.environ))
        STARTED.append(self.process)
        if wait:
            self.await_ready()
        return self

    def await_ready(self) -> None:
        """Until it takes decisions."""
        self.await_open()
        until(lambda: self.health().get("status") in {"ready", "degraded"}, "the daemon to be ready")

    def await_open(self) -> None:
        """Until its API answers; it may still look for its sites."""

        def is_open() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, (self.data_dir / "out.log").read_text()[-2000:]
            return (self.data_dir / "daemon.json").exists()

        until(is_open, "the API to open")

    def health(self) -> Json:
        """What it says of itself; nothing when it does not answer."""
        answer = self.try_ask("GET", "/v1/health")
        return answer[1] if answer is not None else {}

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def ask(self, method: str, path: str, body: Json | None = None, **headers: str) -> tuple[int, Any]:
        """Status and decoded JSON (text where it is none)."""
        url = json.loads((self.data_dir / "daemon.json").read_text())["url"]
        token = (self.data_dir / "token").read_text().strip()
        data = json.dumps(body).encode() if body is not None else None
        sent = {"Authorization": f"Bearer {token}", **{k.replace("_", "-"): v for k, v in headers.items()}}
        request = Request(url + path, data=data, method=method, headers=sent)
        try:
            with urlopen(request, timeout=20) as answer:
                return answer.status, _decoded(answer.read())
        except HTTPError as error:
            return error.code, _decoded(error.read())

    def try_ask(self, method: str, path: str, body: Json | None = None, **headers: str) -> tuple[int, Any] | None:
        """Like ``ask``; None when nobody answers (it may just have been killed)."""
        try:
            return self.ask(method, path, body, **headers)
        except (URLError, OSError, ValueError):
            return None

    def job(self, job_id: str) -> Json:
        status, job = self.ask("GET", f"/v1/jobs/{job_id}")
        assert status == 200, job
        found: Json = job
        return found

    def submit(self, **spec: Any) -> Json:
        status, job = self.ask("POST", "/v1/jobs", {"name": "a-job", "duration": "10m", **spec})
        assert status == 201, job
        found: Json = job
        return found

    def await_state(self, job_id: str, *states: str) -> Json:
        def there() -> Json | None:
            job = self.job(job_id)
            return job if job["state"] in states else None

        found: Json = until(there, f"{job_id} to be {' or '.join(states)}")
        return found


def _decoded(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode()
