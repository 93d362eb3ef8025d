"""Kill -9 of the daemon at random moments while jobs run on a real Ray cluster (INV-01 to 06)."""

import os
import random
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lowtide.scheduler.model.lifecycle import ATTEMPT_TRANSITIONS, JOB_TRANSITIONS, AttemptState, JobState
from tests.daemons import Json, RealDaemon, until

KILLS = int(os.environ.get("LOWTIDE_KILLS", "12"))
SEED = int(os.environ.get("LOWTIDE_SEED", "20230322"))
JOBS = 30 if KILLS >= 100 else 20
"""Ray starts about one job a second, and a run of a dozen kills is to end within a minute."""
SUSPENDED = {3, 13}
"""Trainings that are suspended and resumed by their user."""
CANCELLED_RUNNING, CANCELLED_WAITING = {6, 16}, {9, 19}
TERMINAL = {"succeeded", "failed", "cancelled"}
PATIENCE_S = 180.0 + 10 * KILLS
FAR = "2100-01-01T00:00:00Z"

BEGIN = """
import fcntl, os, sys, time
folder, name = sys.argv[1], os.environ["LOWTIDE_JOB_ID"]
log = os.open(os.path.join(folder, name + ".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
own = open(os.path.join(folder, name + ".lock"), "w")
try:
    fcntl.flock(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    os.write(log, b"TWICE AT ONCE\\n")
    sys.exit(9)
def say(*words):
    os.write(log, (" ".join(map(str, words)) + "\\n").encode())
attempt = os.environ["LOWTIDE_ATTEMPT_ID"]
"""
SHORT = BEGIN + "say('start', attempt); time.sleep(1.0); say('end')"
LONG = BEGIN + "say('start', attempt); time.sleep(600); say('end')"
TRAINING = (
    BEGIN
    + """
from lowtide.connectors.jobside import checkpoint
with checkpoint.session() as session:
    done = session.load() or []
    say("start", attempt, len(done))
    for epoch in range(len(done), 40):
        time.sleep(0.1)
        done.append(epoch)
        say("epoch", epoch)
        if session.save_if_asked(done):
            sys.exit(0)
    session.report(accuracy=float(done == list(range(40))))
say("end")
"""
)


@dataclass
class Story:
    """A daemon that is killed again and again, and what its users did meanwhile."""

    daemon: RealDaemon
    marks: Path
    accepted: dict[int, str] = field(default_factory=dict)
    orders: list[Future[None]] = field(default_factory=list)
    kills: int = 0

    def submit_all(self, pool: ThreadPoolExecutor) -> None:
        """Repeat each submission under its key until it is accepted; spread over the kills, however many."""
        for number in range(JOBS):
            until(lambda due=KILLS * number / JOBS: self.kills >= due - 1, "its turn", PATIENCE_S)  # type: ignore[misc]
            key, body = f"key-{number}", self._body(number)
            answer = self._insist("POST", "/v1/jobs", {200, 201}, body, key)
            self.accepted[number] = answer["id"]
            order = self._order(number)
            if order is not None:
                self.orders.append(pool.submit(order, answer["id"]))

    def _body(self, number: int) -> Json:
        code = SHORT
        if number in SUSPENDED:
            code = TRAINING
        elif number in CANCELLED_RUNNING:
            code = LONG
        body = {"name": f"job-{number}", "entrypoint": [sys.executable, "-c", code, str(self.marks)], "retries": 5}
        body |= {"duration": "1m", "interruptible": number in SUSPENDED}
        return {**body, "begin": FAR} if number in CANCELLED_WAITING else body

    def _order(self, number: int) -> Callable[[str], None] | None:
        if number in SUSPENDED:
            return self.suspend_and_resume
        if number in CANCELLED_RUNNING:
            return self.cancel_running
        return self.cancel if number in CANCELLED_WAITING else None

    def suspend_and_resume(self, job_id: str) -> None:
        """What a user does who sees only what the daemon answers, and repeats what was not answered."""
        until(lambda: "epoch 2" in self.lines(job_id), f"{job_id} to train", PATIENCE_S)

        def suspended() -> bool:
            self.daemon.try_ask("POST", f"/v1/jobs/{job_id}/suspend")
            return self._state(job_id) in {"suspended", *TERMINAL}

        until(suspended, f"{job_id} to be suspended", PATIENCE_S)
        if self._state(job_id) == "suspended":  # else it came to its end before the stop reached it
            self._insist("POST", f"/v1/jobs/{job_id}/resume", {200})

    def cancel_running(self, job_id: str) -> None:
        """Cancel it once its program runs."""
        until(lambda: self.lines(job_id), f"{job_id} to run", PATIENCE_S)
        self.cancel(job_id)

    def cancel(self, job_id: str) -> None:
        """Cancel it wherever it is."""
        assert self._insist("POST", f"/v1/jobs/{job_id}/cancel", {200})["state"] == "cancelled"

    def _insist(self, method: str, path: str, good: set[int], body: Json | None = None, key: str = "") -> Json:
        headers = {"Idempotency_Key": key} if key else {}

        def answered() -> Json | None:
            answer = self.daemon.try_ask(method, path, body, **headers)
            return answer[1] if answer is not None and answer[0] in good else None

        found: Json = until(answered, f"an answer to {method} {path}", PATIENCE_S)
        return found

    def _state(self, job_id: str) -> str:
        answer = self.daemon.try_ask("GET", f"/v1/jobs/{job_id}")
        return answer[1]["state"] if answer is not None and answer[0] == 200 else ""

    def lines(self, job_id: str) -> list[str]:
        """What the job's own log says."""
        path = self.marks / f"{job_id}.log"
        return path.read_text().splitlines() if path.exists() else []

    def all_ended(self) -> list[Json] | None:
        """All jobs once every one has ended and no attempt is left at the site."""
        jobs, sites = (self.daemon.try_ask("GET", path) for path in ("/v1/jobs", "/v1/sites"))
        if jobs is None or sites is None or any(site["attempts"] for site in sites[1]["items"]):
            return None
        found: list[Json] = jobs[1]["items"]
        return found if all(job["state"] in TERMINAL for job in found) else None


def settings(url: str, checkpoints: Path) -> Json:
    site = {"name": "lab", "address": url, "cpus": 5, "python": sys.executable, "checkpoint_dir": str(checkpoints)}
    return {"sites": [site], "queues": [{"name": "research", "policy": "asap"}]}


@pytest.mark.ray
@pytest.mark.slow
def test_no_job_is_lost_run_twice_or_brought_back_however_often_the_daemon_is_killed(
    ray_url: str, tmp_path: Path
) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    story = Story(RealDaemon(tmp_path / "data", settings(ray_url, tmp_path / "checkpoints")).start(), marks)
    with ThreadPoolExecutor() as pool:
        client = pool.submit(story.submit_all, pool)
        _kill(story)
        client.result(PATIENCE_S)
        for order in story.orders:
            order.result(PATIENCE_S)
    jobs = {job["id"]: job for job in until(story.all_ended, "all jobs to end", patience_s=PATIENCE_S)}
    assert set(jobs) == set(story.accepted.values()), f"seed={SEED}"
    assert len(jobs) == JOBS
    for number, job_id in story.accepted.items():
        _check(number, jobs[job_id], story)
    story.daemon.stop()


def _kill(story: Story) -> None:
    draws, pause = random.Random(SEED), threading.Event()
    for _ in range(KILLS):
        pause.wait(draws.uniform(0.0, 2.5))
        story.daemon.kill()
        story.kills += 1
        story.daemon.start(wait=False)
        if draws.random() < 0.7:
            story.daemon.await_ready()
    story.daemon.await_ready()


def _check(number: int, job: Json, story: Story) -> None:
    lines, told = story.lines(job["id"]), f"{job['id']}; seed={SEED}"
    events = story.daemon.ask("GET", f"/v1/jobs/{job['id']}/events")[1]["items"]
    attempts = _replayed(events, job["state"])
    if number in SUSPENDED:
        _check_continued(job, lines, told)
        assert attempts == ["stopped", "succeeded"], told
    elif number in CANCELLED_RUNNING | CANCELLED_WAITING:
        # INV-05: no second start, and nothing that was begun came to its end
        assert job["state"] == "cancelled", told
        assert lines == ([f"start {job['id']}-a1"] if number in CANCELLED_RUNNING else []), told
    else:
        # INV-02: never two at once; and exactly one execution, since no attempt was lost here
        assert job["state"] == "succeeded", told
        assert lines == [f"start {job['id']}-a1", "end"], told
        assert attempts == ["succeeded"], told


def _check_continued(job: Json, lines: list[str], told: str) -> None:
    """INV-06: the second attempt goes on with the epoch after the last one of the first."""
    assert (job["state"], job["suspensions"], job["results"]) == ("succeeded", 1, {"accuracy": 1.0}), told
    second = next(i for i, line in enumerate(lines) if line.startswith(f"start {job['id']}-a2"))
    done = int(lines[second].split()[-1])
    assert lines[0] == f"start {job['id']}-a1 0", told
    assert 0 < done < 40, told
    assert lines[1:second] == [f"epoch {epoch}" for epoch in range(done)], told
    assert lines[second + 1 :] == [*(f"epoch {epoch}" for epoch in range(done, 40)), "end"], told


def _replayed(events: list[Json], last: str) -> list[str]:
    """INV-03: the event log replays through the transition tables, each step recorded once; how attempts ended."""
    job: str | None = None
    attempts: dict[str, str] = {}
    for event in events:
        if event["subject"] == "attempt":
            before = attempts.get(event["attempt_id"])
            assert event["from"] == before
            assert before is not None or job not in TERMINAL, "an attempt began after the end"
            if before is not None:
                assert AttemptState(event["to"]) in ATTEMPT_TRANSITIONS[AttemptState(before)]
            attempts[event["attempt_id"]] = event["to"]
        elif event["to"] is not None:
            assert event["from"] == job
            if job is not None:
                assert JobState(event["to"]) in JOB_TRANSITIONS[JobState(job)]
            job = event["to"]
    assert job == last
    return list(attempts.values())
