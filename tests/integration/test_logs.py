"""Following a log through the daemon of a job on a real Ray cluster, whose node gives no more than the log's end."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.daemons import Json, RealDaemon

pytestmark = pytest.mark.ray
LINES = 9000
CHATTY = f"""
import time
from lowtide.connectors.jobside import checkpoint
with checkpoint.session() as session:
    first = session.load() or 0
    for n in range(first, {LINES}):
        print(f"step {{n}} of the training", flush=True)
        if n % 300 == 0:
            time.sleep(0.1)
            if session.save_if_asked(n + 1):
                raise SystemExit
"""


def settings(url: str, tmp_path: Path) -> Json:
    site = {"name": "here", "address": url, "gpus": 1, "cpus": 2, "python": sys.executable, "zone": "GB"}
    return {
        "sample_s": 0.5,
        "sites": [{**site, "grid": "static", "checkpoint_dir": str(tmp_path / "checkpoints")}],
        "queues": [{"name": "research", "policy": "asap"}],
    }


# a suite that runs in the background ignores Ctrl-C, and its children would inherit that
COMMAND_LINE = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from lowtide.scheduler.cli.main import main
main()
"""


def follow(daemon: RealDaemon, job_id: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", COMMAND_LINE, "--data-dir", str(daemon.data_dir), "logs", "-f", job_id]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_follower_sees_each_line_once_over_a_suspension_and_far_beyond_what_is_kept(
    ray_url: str, tmp_path: Path
) -> None:
    daemon = RealDaemon(tmp_path / "data", settings(ray_url, tmp_path)).start()
    job = daemon.submit(entrypoint=[sys.executable, "-c", CHATTY], interruptible=True)
    seen = []
    with follow(daemon, job["id"]) as follower:
        assert follower.stdout is not None
        for line in follower.stdout:
            seen.append(line)
            if line.startswith("step 2000 "):
                assert daemon.ask("POST", f"/v1/jobs/{job['id']}/suspend")[0] == 200
                daemon.await_state(job["id"], "suspended")
                assert daemon.ask("POST", f"/v1/jobs/{job['id']}/resume")[0] == 200
    assert follower.returncode == 0
    assert [line for line in seen if line.startswith("step")] == [f"step {n} of the training\n" for n in range(LINES)]
    assert not [line for line in seen if "lowtide:" in line]
    assert daemon.job(job["id"])["attempts"] == 2
    kept = daemon.ask("GET", f"/v1/jobs/{job['id']}/logs?attempt=2")[1]
    assert kept.startswith("[lowtide: earlier lines are left out here]\n")
    assert kept.endswith(f"step {LINES - 1} of the training\n")
    daemon.stop()


def test_ctrl_c_ends_the_follower_alone(ray_url: str, tmp_path: Path) -> None:
    daemon = RealDaemon(tmp_path / "data", settings(ray_url, tmp_path)).start()
    code = "import time; print('begun', flush=True); time.sleep(300)"
    job = daemon.submit(entrypoint=[sys.executable, "-c", code])
    with follow(daemon, job["id"]) as follower:
        assert follower.stdout is not None
        assert any(line == "begun\n" for line in iter(follower.stdout.readline, ""))
        follower.send_signal(signal.SIGINT)
        assert follower.wait(10) == 130
        assert follower.stderr is not None
        assert follower.stderr.read() == ""
    assert daemon.job(job["id"])["state"] == "running", json.dumps(daemon.job(job["id"]))
    assert daemon.ask("POST", f"/v1/jobs/{job['id']}/cancel")[0] == 200
    daemon.stop()
