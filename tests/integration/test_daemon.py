"""The daemon whole: real processes, real SQLite, real Ray; the main paths that a user walks."""

import json
import sys
from pathlib import Path

import pytest

from tests.daemons import Json, RealDaemon, until

pytestmark = pytest.mark.ray


def two_sites(url: str, other: str) -> Json:
    common = {"gpus": 1, "cpus": 2, "python": sys.executable, "zone": "GB", "grid": "static"}
    return {
        "sites": [
            {"name": "paris", "address": url, "jurisdiction": "FR", **common},
            {"name": "leeds", "address": other, "jurisdiction": "GB", **common},
        ],
        "queues": [{"name": "research", "policy": "asap"}],
    }


@pytest.fixture
def daemon(ray_url: str, tmp_path: Path) -> RealDaemon:
    # Two sites over one real cluster: each is addressed, counted and filled on its own.
    return RealDaemon(tmp_path / "data", two_sites(ray_url, ray_url.replace("127.0.0.1", "localhost"))).start()


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_job_runs_and_leaves_logs_events_and_a_receipt(daemon: RealDaemon) -> None:
    job = daemon.submit(entrypoint=python("print('hello from the job'); sum(range(10**7))"))
    ended = daemon.await_state(job["id"], "succeeded", "failed")
    assert ended["state"] == "succeeded"
    assert ended["exit_code"] == 0
    log = daemon.ask("GET", f"/v1/jobs/{job['id']}/logs")[1]
    assert "hello from the job" in log
    assert "::lowtide::" not in log
    told = [event["to"] for event in daemon.ask("GET", f"/v1/jobs/{job['id']}/events")[1]["items"]]
    assert told[0] == "queued"
    assert told[-1] == "succeeded"
    receipt = daemon.ask("GET", f"/v1/jobs/{job['id']}/receipt")[1]
    assert receipt["energy_kwh"] > 0
    assert receipt["energy_by"][0]["quality"] in {"measured", "modelled"}
    assert daemon.stop() == 0


def test_a_program_that_fails_says_with_which_code(daemon: RealDaemon) -> None:
    job = daemon.submit(entrypoint=python("raise SystemExit(3)"))
    ended = daemon.await_state(job["id"], "failed")
    assert (ended["exit_code"], ended["reason"]["code"]) == (3, "exit_code")
    daemon.stop()


def test_both_sites_take_jobs_and_none_takes_more_than_it_has(daemon: RealDaemon) -> None:
    sleeper = python("import time; time.sleep(4)")
    ids = [daemon.submit(entrypoint=sleeper, resources={"gpus": 1})["id"] for _ in range(3)]
    until(lambda: len([i for i in ids if daemon.job(i)["state"] == "running"]) == 2, "two jobs to run")
    running = {daemon.job(i)["site"] for i in ids if daemon.job(i)["state"] == "running"}
    assert running == {"paris", "leeds"}
    third = next(daemon.job(i) for i in ids if daemon.job(i)["site"] is None)
    assert third["reason"]["code"] == "capacity"
    for job_id in ids:
        daemon.await_state(job_id, "succeeded")
    daemon.stop()


def test_residency_chooses_the_site_and_an_empty_choice_waits_with_its_reason(daemon: RealDaemon) -> None:
    at_home = daemon.submit(entrypoint=python("print(1)"), residency=["GB"])
    nowhere = daemon.submit(entrypoint=python("print(1)"), residency=["NO"])
    assert daemon.await_state(at_home["id"], "succeeded")["site"] == "leeds"
    until(lambda: daemon.job(nowhere["id"])["reason"]["code"] == "residency", "the reason")
    assert daemon.job(nowhere["id"])["state"] == "queued"
    daemon.stop()


def test_cancel_ends_a_running_job_for_good(daemon: RealDaemon, tmp_path: Path) -> None:
    mark = tmp_path / "ended-by-itself"
    code = f"import time; time.sleep(20); open({str(mark)!r}, 'w')"
    job = daemon.submit(entrypoint=python(code))
    daemon.await_state(job["id"], "running")
    status, cancelled = daemon.ask("POST", f"/v1/jobs/{job['id']}/cancel")
    assert (status, cancelled["state"]) == (200, "cancelled")
    sites = until(lambda: _idle(daemon), "its attempt to end")
    assert sites
    assert not mark.exists()
    assert daemon.ask("POST", f"/v1/jobs/{job['id']}/resume")[0] == 409
    daemon.stop()


def _idle(daemon: RealDaemon) -> bool:
    return all(not site["attempts"] for site in daemon.ask("GET", "/v1/sites")[1]["items"])


TRAINING = """
import sys, time
from lowtide.connectors.jobside import checkpoint
with checkpoint.session() as session:
    done = session.load() or []
    print("begins at", len(done), flush=True)
    for epoch in range(len(done), 40):
        done.append(epoch)
        time.sleep(0.1)
        if session.save_if_asked(done):
            sys.exit(0)
    session.report(accuracy=float(done == list(range(40))))
"""


def test_suspend_and_resume_go_on_from_the_checkpoint(ray_url: str, tmp_path: Path) -> None:
    settings = two_sites(ray_url, ray_url)
    settings["sites"] = [{**settings["sites"][0], "checkpoint_dir": str(tmp_path / "checkpoints")}]
    daemon = RealDaemon(tmp_path / "data", settings).start()
    job = daemon.submit(entrypoint=python(TRAINING), interruptible=True)
    daemon.await_state(job["id"], "running")
    until(lambda: "begins at 0" in daemon.ask("GET", f"/v1/jobs/{job['id']}/logs")[1], "the first epoch")
    assert daemon.ask("POST", f"/v1/jobs/{job['id']}/suspend")[0] == 200
    suspended = daemon.await_state(job["id"], "suspended", "succeeded")
    assert suspended["state"] == "suspended"
    assert suspended["suspensions"] == 1
    assert daemon.ask("POST", f"/v1/jobs/{job['id']}/resume")[0] == 200
    ended = daemon.await_state(job["id"], "succeeded", "failed")
    assert ended["results"] == {"accuracy": 1.0}
    assert ended["attempts"] == 2
    log = daemon.ask("GET", f"/v1/jobs/{job['id']}/logs")[1]
    starts = [int(line.split()[-1]) for line in log.splitlines() if line.startswith("begins at")]
    assert starts[0] == 0
    assert 0 < starts[1] < 40
    daemon.stop()


def test_hold_release_and_run_now_are_on_record(daemon: RealDaemon) -> None:
    begin = "now+5h"
    job = daemon.submit(entrypoint=python("print(1)"), begin=begin)
    assert daemon.ask("POST", f"/v1/jobs/{job['id']}/hold")[1]["held"] is True
    assert daemon.ask("POST", f"/v1/jobs/{job['id']}/release")[1]["held"] is False
    until(lambda: daemon.job(job["id"])["reason"]["code"] == "begin_time", "the begin time to bind")
    daemon.ask("POST", f"/v1/jobs/{job['id']}/cancel")
    codes = [event["reason"]["code"] for event in daemon.ask("GET", f"/v1/jobs/{job['id']}/events")[1]["items"]]
    assert codes == ["submitted", "held", "released", "cancelled_by_user"]
    daemon.stop()


def test_a_second_daemon_on_the_same_data_directory_is_refused_with_the_owner(daemon: RealDaemon) -> None:
    second = RealDaemon(daemon.data_dir, two_sites("http://127.0.0.1:9", "http://127.0.0.1:9"))
    announced = (daemon.data_dir / "daemon.json").read_text()
    second.start(wait=False)
    (daemon.data_dir / "daemon.json").write_text(announced)
    assert second.process is not None
    assert second.process.wait(20) == 1
    told = (daemon.data_dir / "out.log").read_text()
    assert daemon.process is not None
    assert f"another daemon (process {daemon.process.pid})" in told
    daemon.stop()


def test_a_port_in_use_is_named(daemon: RealDaemon, tmp_path: Path) -> None:
    taken = int(json.loads((daemon.data_dir / "daemon.json").read_text())["url"].rsplit(":", 1)[1])
    other = RealDaemon(tmp_path / "other", {"port": taken, "sites": [], "queues": []})
    other.start(wait=False)
    assert other.process is not None
    assert other.process.wait(20) == 1
    assert f"the port {taken}" in (other.data_dir / "out.log").read_text()
    daemon.stop()


def test_a_misspelt_policy_is_refused_at_the_start_with_its_queue(tmp_path: Path) -> None:
    settings = {"sites": [], "queues": [{"name": "clinical"}, {"name": "night", "policy": "lowest_windw"}]}
    daemon = RealDaemon(tmp_path / "data", settings).start(wait=False)
    assert daemon.process is not None
    assert daemon.process.wait(20) == 2
    told = (daemon.data_dir / "out.log").read_text()
    assert "queue 'night': There is no policy 'lowest_windw'; known policies: asap, balanced, " in told


def test_a_cluster_that_does_not_answer_keeps_jobs_waiting_with_the_reason(tmp_path: Path) -> None:
    settings = two_sites("http://127.0.0.1:9", "http://127.0.0.1:9")
    daemon = RealDaemon(tmp_path / "data", settings).start()
    job = daemon.submit(entrypoint=python("print(1)"))
    until(lambda: daemon.job(job["id"])["reason"]["code"] == "site_unreachable", "the reason")
    assert daemon.job(job["id"])["state"] == "queued"
    daemon.stop()


def test_forecasts_that_were_seen_are_learned_from_also_after_a_kill(tmp_path: Path) -> None:
    site = {"name": "lab", "address": "http://127.0.0.1:9", "gpus": 1, "cpus": 1, "zone": "GB", "grid": "recorded"}
    daemon = RealDaemon(tmp_path / "data", {"sites": [site]})

    def moments() -> int:
        found: int | None = daemon.ask("GET", "/v1/forecast?zone=GB")[1]["calibration"]["moments"]
        return found or 0

    daemon.start("--clock-start", "2023-03-17T12:00:00+00:00", "--clock-rate", "20000", wait=False).await_open()
    until(lambda: moments() > 24, "a day of forecasts whose outcome is known")
    now = daemon.health()["now"]
    daemon.kill()
    daemon.start("--clock-start", now, "--clock-rate", "1", wait=False).await_open()
    until(lambda: moments() > 24, "what was known before")
    daemon.stop()


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({"entrypoint": ["true"], "gpu": 1}, 422, "gpu"),
        ({"entrypoint": ["true"], "deadline": "now+1h", "duration": "2h"}, 422, "deadline"),
        ({"entrypoint": ["true"], "resources": {"gpus": 64}}, 422, "64 GPU"),
        ({"entrypoint": ["true"], "working_dir": "/nowhere/at/all"}, 422, "/nowhere/at/all"),
        ({"entrypoint": ["true"], "name": "a/b"}, 422, "slug"),
        ({"entrypoint": ["true"], "queue": "nobody"}, 422, "nobody"),
    ],
)
def test_bad_input_is_refused_with_what_was_wrong_and_nothing_is_kept(
    tmp_path: Path, body: Json, status: int, word: str
) -> None:
    daemon = RealDaemon(tmp_path / "data", two_sites("http://127.0.0.1:9", "http://127.0.0.1:9")).start()
    got, problem = daemon.ask("POST", "/v1/jobs", {"name": "a-job", **body})
    assert got == status
    assert word in json.dumps(problem)
    assert daemon.ask("GET", "/v1/jobs")[1]["items"] == []
    daemon.stop()
