"""What the driver does with attempts when clusters forget, break off and come back, and when stops race with it."""

import asyncio
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from lowtide.connectors.cluster.fake import Script
from lowtide.scheduler.control.doctor import findings
from lowtide.scheduler.control.gridwatch import GridWatch
from lowtide.scheduler.model.cluster import ClusterJobStatus, Submission, SubmitOutcome
from lowtide.scheduler.model.errors import ClusterFailure, ClusterFailureKind
from tests.driving import FENCE_S, NOW_S, Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "data")
    made.put()
    yield made
    made.close()


def forget(bench: Bench) -> object:
    """The cluster answers, but knows nothing of the attempt for a while; gives back what brings it back."""
    held = dict(bench.cluster._runs)
    bench.cluster._runs.clear()
    return held


def remember(bench: Bench, held: object) -> None:
    bench.cluster._runs.update(held)  # type: ignore[call-overload]  # what forget gave


def prove_dead(bench: Bench) -> None:
    bench.step()
    bench.pass_s(FENCE_S + 1)
    bench.step()


# ---- stops that must not be lost ----


@pytest.mark.parametrize("intent", ["cancel", "suspend"])
def test_inv05_a_stop_outlives_a_cluster_that_loses_sight_of_the_attempt(bench: Bench, intent: str) -> None:
    bench.begin()
    bench.step(2)
    held = forget(bench)
    bench.stop(intent)
    bench.step()
    assert bench.attempt()["state"] == "unknown"
    remember(bench, held)
    bench.step(3)
    assert bench.path() == ["starting", "running", "stopping", "unknown", "stopping", "stopped"]
    assert bench.job()["state"] == {"cancel": "cancelled", "suspend": "suspended"}[intent]


def test_an_attempt_that_is_found_again_runs_on_from_its_first_start(bench: Bench) -> None:
    bench.begin()
    bench.step(2)
    started = bench.attempt()["started_at"]
    held = forget(bench)
    bench.pass_s(30)
    bench.step()
    remember(bench, held)
    bench.step()
    assert bench.path() == ["starting", "running", "unknown", "running"]
    assert bench.attempt()["started_at"] == started


def test_a_job_cancelled_while_its_attempt_waits_for_its_turn_is_never_submitted(bench: Bench) -> None:
    bench.begin()

    async def story() -> None:
        await bench.site.look()
        turns = bench.driver._calls["lab"]
        for _ in range(turns._value):
            await turns.acquire()
        driving = asyncio.ensure_future(bench.driver.drive_all())
        await asyncio.sleep(0)
        await bench.writer.read(lambda _: None)  # by now the step has read what it would read before its turn
        bench.stop("cancel")
        for _ in range(8):
            turns.release()
        await driving
        await bench.driver.drive_all()

    bench.wait(story())
    assert bench.on_cluster("mri-a1") == ClusterJobStatus.MISSING
    assert bench.attempt()["state"] == "stopped"


def test_a_cancel_that_arrives_while_the_submission_is_prepared_comes_before_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.begin()
    upload = bench.cluster.upload

    async def meanwhile(content: bytes) -> str:
        monkeypatch.setattr(bench.cluster, "upload", upload)
        bench.stop("cancel")
        return await upload(content)

    monkeypatch.setattr(bench.cluster, "upload", meanwhile)
    bench.step(2)
    assert bench.on_cluster("mri-a1") == ClusterJobStatus.MISSING
    assert bench.attempt()["state"] == "stopped"


def ended(*, asked: bool) -> str:
    """The log of a program that exited with 0."""
    values = {"kind": "ended", "start_wall_s": NOW_S, "end_wall_s": NOW_S, "exit_code": 0, "signal": None}
    values |= {"asked_to_stop": asked, "suspended": False, "checkpoint_seq": None, "results": {}}
    return f"::lowtide::f:: {json.dumps(values)}\n"


def test_inv06_a_job_that_left_when_it_was_asked_to_is_resumed_until_it_is_done(tmp_path: Path) -> None:
    scripts = iter([Script(ends_in_s=None, output=ended(asked=True)), Script(output=ended(asked=False))])
    bench = Bench(tmp_path / "other", script=lambda: next(scripts))
    bench.put(interruptible=True)
    bench.begin()
    bench.step(2)
    bench.pass_s(600)
    bench.stop("suspend")
    bench.step(2)
    job = bench.job()
    assert (job["state"], job["reason_code"]) == ("suspended", "stopped_by_itself")
    assert (job["done_s"], job["dirty_stops"]) == (0.0, 0)
    bench.begin()
    bench.step(3)
    assert bench.job()["state"] == "succeeded"
    bench.close()


def test_what_an_attempt_has_done_counts_by_the_throughput_of_its_width(tmp_path: Path) -> None:
    values = {"kind": "ended", "start_wall_s": NOW_S, "end_wall_s": NOW_S + 600, "exit_code": 0, "signal": None}
    values |= {"asked_to_stop": True, "suspended": True, "checkpoint_seq": 1, "results": {}}
    log = f"::lowtide::f:: {json.dumps(values)}\n"
    bench = Bench(tmp_path / "other", script=lambda: Script(ends_in_s=None, output=log))
    bench.put(interruptible=True, widths=((1, 2.0), (2, 3.0)))
    bench.begin(gpus=2)
    bench.step(2)
    bench.pass_s(600)
    bench.stop("suspend")
    bench.step(2)
    assert bench.job()["done_s"] == 900.0
    bench.close()


def a_plan(bench: Bench) -> list[list[object]]:
    """60 % of the power for five minutes from now on."""
    now = bench.clock.now()
    return [[now.isoformat(), 0.6], [(now + timedelta(minutes=5)).isoformat(), 1.0]]


@pytest.mark.parametrize(("refused", "done_s"), [("", 300 * 0.9 + 300), ("no permission", 600.0)])
def test_work_under_a_power_limit_counts_less_unless_it_could_not_be_set(
    tmp_path: Path, refused: str, done_s: float
) -> None:
    values = {"kind": "ended", "start_wall_s": NOW_S, "end_wall_s": NOW_S + 600, "exit_code": 0, "signal": None}
    values |= {"asked_to_stop": True, "suspended": True, "checkpoint_seq": 1, "results": {}, "power_refused": refused}
    log = f"::lowtide::f:: {json.dumps(values)}\n"
    bench = Bench(tmp_path / "other", script=lambda: Script(ends_in_s=None, output=log))
    bench.put(interruptible=True, power=((0.6, 0.9, 0.8),))
    bench.begin(power_plan=a_plan(bench))
    bench.step(2)
    bench.pass_s(600)
    bench.stop("suspend")
    bench.step(2)
    assert bench.job()["done_s"] == done_s
    assert (bench.attempt()["power_refused"] or "") == refused
    bench.close()


def test_a_refusal_of_power_limits_is_heard_while_the_job_runs(tmp_path: Path) -> None:
    line = json.dumps({"kind": "power", "wall_s": NOW_S, "refused": "no permission"})
    bench = Bench(tmp_path / "other", script=lambda: Script(ends_in_s=None, output=f"::lowtide::f:: {line}\n"))
    bench.put()
    bench.begin(power_plan=a_plan(bench))
    bench.step(3)
    assert bench.attempt()["power_refused"] == "no permission"
    bench.close()


# ---- calls that may still be on their way ----


def late(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> list[Submission]:
    """Submissions time out here and are not there yet; they are handed back."""
    orders: list[Submission] = []

    async def lost(order: Submission) -> SubmitOutcome:
        orders.append(order)
        raise ClusterFailure(ClusterFailureKind.UNREACHABLE, "no answer in time")

    monkeypatch.setattr(bench.cluster, "submit", lost)
    return orders


def test_inv02_a_submission_without_an_answer_is_not_taken_for_one_that_never_started(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.begin()
    orders = late(bench, monkeypatch)
    bench.step()
    monkeypatch.undo()
    bench.stop("cancel")
    bench.restart()  # a kill -9 between the call and its answer looks the same
    bench.step()
    assert bench.attempt()["state"] == "unknown"
    bench.wait(bench.cluster.submit(orders[0]))  # now it arrives
    bench.step(4)
    assert bench.attempt()["state"] == "stopped"
    assert bench.on_cluster("mri-a1") == ClusterJobStatus.STOPPED


def test_a_submission_that_never_arrives_is_given_up_after_the_fence(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.begin()
    late(bench, monkeypatch)
    bench.step()
    monkeypatch.undo()
    bench.stop("suspend")
    prove_dead(bench)
    assert (bench.attempt()["state"], bench.job()["state"]) == ("lost", "queued")


def test_a_submission_that_arrives_after_all_is_stopped_by_the_comparison_with_the_store(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.begin()
    orders = late(bench, monkeypatch)
    bench.step()
    monkeypatch.undo()
    bench.stop("cancel")
    prove_dead(bench)
    assert bench.attempt()["state"] == "lost"
    bench.wait(bench.cluster.submit(orders[0]))
    bench.reconcile()
    assert bench.on_cluster("mri-a1") == ClusterJobStatus.STOPPED


def test_inv02_a_submission_handed_to_an_earlier_cluster_is_not_repeated_at_its_successor(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.begin()
    late(bench, monkeypatch)
    bench.step()
    monkeypatch.undo()
    bench.cluster.restart("simulated-2")
    bench.step()
    assert bench.attempt()["state"] == "unknown"
    assert bench.on_cluster("mri-a1") == ClusterJobStatus.MISSING


def test_a_start_that_was_never_handed_over_is_dropped_without_asking_anybody(bench: Bench) -> None:
    bench.begin()
    bench.stop("cancel")
    bench.cluster.fail_with(ClusterFailureKind.UNREACHABLE)
    bench.step()
    assert bench.attempt()["state"] == "stopped"


# ---- proofs of death ----


def test_inv02_silence_counts_on_a_clock_that_does_not_jump(bench: Bench) -> None:
    bench.begin()
    bench.step(2)
    forget(bench)
    bench.step()
    bench.wall_s += 10 * FENCE_S  # a step of the time service
    bench.step(2)
    assert bench.attempt()["state"] == "unknown"
    bench.elapsed_s += FENCE_S + 1
    bench.step()
    assert (bench.attempt()["state"], bench.job()["state"]) == ("lost", "queued")


def test_inv02_a_daemon_that_was_restarted_counts_anew(bench: Bench) -> None:
    bench.begin()
    bench.step(2)
    forget(bench)
    bench.step()
    bench.pass_s(FENCE_S - 1)
    bench.restart()
    bench.step()
    bench.pass_s(FENCE_S - 1)
    bench.step()
    assert bench.attempt()["state"] == "unknown"


def test_inv02_silence_counts_only_while_the_head_answers(bench: Bench) -> None:
    bench.begin()
    bench.step(2)
    forget(bench)
    bench.step()
    bench.cluster.fail_with(ClusterFailureKind.UNREACHABLE)
    bench.pass_s(FENCE_S - 1)
    bench.step()
    bench.cluster.fail_with(None)
    bench.pass_s(2)
    bench.step()
    assert bench.attempt()["state"] == "unknown"


def test_inv02_a_runner_that_still_reports_is_not_dead_whatever_ray_says(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.begin()
    bench.step(2)
    run = bench.cluster._runs["mri-a1"]
    run.status, run.error_type = ClusterJobStatus.FAILED, "JOB_SUPERVISOR_ACTOR_DIED"

    async def told(_id: str, *, max_bytes: int, lines: int) -> str:
        del max_bytes, lines
        return f'::lowtide::f:: {{"kind":"sample","wall_s":{bench.wall_s},"energy_j":{{}}}}\n'

    monkeypatch.setattr(bench.cluster, "log_tail", told)
    for _ in range(4):
        bench.pass_s(FENCE_S - 1)
        bench.step()
    assert bench.attempt()["state"] == "unknown"
    monkeypatch.undo()
    prove_dead(bench)
    assert bench.attempt()["state"] == "lost"


# ---- attempts that can never be driven ----


def test_a_working_directory_that_cannot_be_read_is_a_refused_start_with_its_reason(bench: Bench) -> None:
    bench.put("scan", package="gone.zip", retries=0)
    bench.begin("scan")
    bench.step()
    assert bench.attempt("scan-a1")["state"] == "failed"
    job = bench.job("scan")
    assert (job["state"], job["reason_code"]) == ("failed", "retries_spent")
    assert "gone.zip, cannot be read: No such file or directory" in job["reason_facts"]["error"]


def test_an_attempt_at_a_site_that_left_the_settings_is_unknown_until_the_site_is_back(bench: Bench) -> None:
    bench.begin()
    bench.step(2)
    bench.restart(without_site=True)
    bench.step(2)
    assert bench.attempt()["state"] == "unknown"
    assert "site lab is not in the settings any more" in bench.attempt()["note"]
    bench.restart()
    bench.step(2)
    assert bench.path() == ["starting", "running", "unknown", "running"]


def test_cancelling_a_job_at_a_site_that_left_the_settings_frees_it_and_ends_it_when_the_site_is_back(
    bench: Bench,
) -> None:
    bench.begin()
    bench.step(2)
    bench.restart(without_site=True)
    bench.step()
    bench.stop("cancel")
    bench.step()
    assert (bench.job()["state"], bench.attempt()["state"]) == ("cancelled", "lost")
    bench.restart()
    bench.reconcile()
    assert bench.on_cluster("mri-a1") == ClusterJobStatus.STOPPED


def test_doctor_names_a_site_that_left_the_settings_while_attempts_live_there(bench: Bench) -> None:
    told = bench.wait(findings(bench.settings, {}, GridWatch((), bench.clock), bench.clock, ["lab", "lab"]))
    (finding,) = [f for f in told if f["check"] == "site lab"]
    assert finding["status"] == "fail"
    assert finding["detail"] == "2 attempt(s) were started at site lab, which is not in the settings any more"


def test_a_start_at_a_site_that_left_the_settings_is_tried_elsewhere(bench: Bench) -> None:
    bench.begin()
    bench.restart(without_site=True)
    bench.step()
    assert (bench.attempt()["state"], bench.job()["state"]) == ("lost", "queued")


# ---- what is over ----


def test_the_record_of_an_ended_attempt_is_deleted_after_a_while_and_nobody_elses(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "other", script=Script)
    bench.put()
    bench.begin()
    bench.step(3)
    assert bench.job()["state"] == "succeeded"
    theirs = Submission("theirs-a1", ("true",), {}, 1, 0, metadata={"lowtide_fence": "another"})
    bench.wait(bench.cluster.submit(theirs))
    bench.reconcile()
    assert bench.on_cluster("mri-a1") == ClusterJobStatus.SUCCEEDED
    bench.pass_s(3601)
    bench.reconcile()
    assert bench.on_cluster("mri-a1") == ClusterJobStatus.MISSING
    assert bench.on_cluster("theirs-a1") == ClusterJobStatus.SUCCEEDED
    assert "mri-a1" in bench.kept_logs
    bench.close()
