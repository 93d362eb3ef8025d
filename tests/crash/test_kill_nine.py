"""Kill -9 of the daemon at random moments while jobs run on a real Ray cluster (INV-01, 02, 03, 04)."""

import os
import random
import sys
import threading
from pathlib import Path

import pytest

from lowtide.scheduler.model.lifecycle import ATTEMPT_TRANSITIONS, JOB_TRANSITIONS, AttemptState, JobState
from tests.daemons import Json, RealDaemon, until

KILLS = int(os.environ.get("LOWTIDE_KILLS", "12"))
SEED = int(os.environ.get("LOWTIDE_SEED", "20230322"))
JOBS = 30
TERMINAL = {"succeeded", "failed", "cancelled"}

SCRIPT = """
import fcntl, os, sys, time
folder, name = sys.argv[1], os.environ["LOWTIDE_JOB_ID"]
log = os.open(os.path.join(folder, name + ".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
own = open(os.path.join(folder, name + ".lock"), "w")
try:
    fcntl.flock(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    os.write(log, b"TWICE AT ONCE\\n")
    sys.exit(9)
os.write(log, ("start " + os.environ["LOWTIDE_ATTEMPT_ID"] + "\\n").encode())
time.sleep(1.0)
os.write(log, b"end\\n")
"""


def settings(url: str) -> Json:
    site = {"name": "lab", "address": url, "gpus": 0, "cpus": 4, "python": sys.executable}
    return {"sites": [site], "queues": [{"name": "research", "policy": "asap"}]}


@pytest.mark.ray
@pytest.mark.slow
def test_no_job_is_lost_or_run_twice_however_often_the_daemon_is_killed(ray_url: str, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    daemon = RealDaemon(tmp_path / "data", settings(ray_url)).start()
    accepted: dict[str, str] = {}
    client = threading.Thread(target=_submit_all, args=(daemon, marks, accepted))
    client.start()
    draws = random.Random(SEED)
    pause = threading.Event()
    for _ in range(KILLS):
        pause.wait(draws.uniform(0.0, 2.5))
        daemon.kill()
        daemon.start(wait=draws.random() < 0.7)
    daemon.await_ready()
    client.join(120)
    assert len(accepted) == JOBS, f"seed={SEED}"
    jobs = until(lambda: _all_ended(daemon), "all jobs to end", patience_s=240)
    assert {job["id"] for job in jobs} == set(accepted.values())
    assert {job["state"] for job in jobs} == {"succeeded"}
    for job in jobs:
        _check_marks(marks, job)
        _check_story(daemon.ask("GET", f"/v1/jobs/{job['id']}/events")[1]["items"])
    daemon.stop()


def _submit_all(daemon: RealDaemon, marks: Path, accepted: dict[str, str]) -> None:
    """A client that repeats each submission under its key until it is accepted."""
    for number in range(JOBS):
        key = f"key-{number}"
        body = {"name": f"job-{number}", "entrypoint": [sys.executable, "-c", SCRIPT, str(marks)], "duration": "1m"}

        def sent(key: str = key, body: Json = body) -> Json | None:
            answer = daemon.try_ask("POST", "/v1/jobs", {**body, "retries": 5}, Idempotency_Key=key)
            return answer[1] if answer is not None and answer[0] in {200, 201} else None

        accepted[key] = until(sent, f"{key} to be accepted", patience_s=180)["id"]


def _all_ended(daemon: RealDaemon) -> list[Json] | None:
    answer = daemon.try_ask("GET", "/v1/jobs")
    if answer is None:
        return None
    jobs: list[Json] = answer[1]["items"]
    return jobs if all(job["state"] in TERMINAL for job in jobs) else None


def _check_marks(marks: Path, job: Json) -> None:
    """INV-02: never two at once; and exactly one execution, since no attempt was lost here."""
    lines = (marks / f"{job['id']}.log").read_text().splitlines()
    assert lines == [f"start {job['id']}-a1", "end"], f"{job['id']} ran like this: {lines}; seed={SEED}"


def _check_story(events: list[Json]) -> None:
    """INV-03: the event log replays through the transition tables, each step recorded once."""
    job: str | None = None
    attempts: dict[str, str] = {}
    for event in events:
        if event["subject"] == "attempt":
            before = attempts.get(event["attempt_id"])
            assert event["from"] == before
            if before is not None:
                assert AttemptState(event["to"]) in ATTEMPT_TRANSITIONS[AttemptState(before)]
            attempts[event["attempt_id"]] = event["to"]
        elif event["to"] is not None:
            assert event["from"] == job
            if job is not None:
                assert JobState(event["to"]) in JOB_TRANSITIONS[JobState(job)]
            job = event["to"]
    assert job == "succeeded"
    assert list(attempts.values()) == ["succeeded"]
