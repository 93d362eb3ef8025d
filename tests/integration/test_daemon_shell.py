"""What goes wrong around a running daemon: a site that hangs, a full disk, a clock set back, a store that fails."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import apscheduler.schedulers.base
import apscheduler.triggers.interval
import pytest
from structlog.testing import capture_logs

from lowtide.policies.problem import Choice, Problem
from lowtide.scheduler.control.assemble import Daemon
from lowtide.scheduler.control.clock import Clock
from lowtide.scheduler.control.doctor import findings
from lowtide.scheduler.control.loop import LATE_TICKS
from lowtide.scheduler.decide.decide import decide
from lowtide.scheduler.metrics import Metrics
from lowtide.scheduler.model.cluster import Cluster
from lowtide.scheduler.model.errors import StoreFailure
from lowtide.scheduler.model.plan import Plan
from tests.daemons import RealDaemon, until
from tests.whole import (
    CLINICAL,
    NOWHERE,
    a_cluster,
    a_daemon,
    a_silent_address,
    a_silent_cluster,
    await_state,
    eventually,
    submit,
)

PROMPTLY_S = 5.0
"""Far less than the silent cluster's time limits (13 s for the first look alone)."""
DAY_S = 86_400.0
PADDING = {"PADDING": "x" * 2000}


def play(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(story())


# ---- a site that hangs ----


def test_a_site_that_hangs_delays_no_job_of_another_site(tmp_path: Path) -> None:
    async def story() -> None:
        begun = time.monotonic()
        clusters: dict[str, Cluster] = {"far": a_silent_cluster(url), "near": a_cluster()}
        async with a_daemon(tmp_path, clusters) as daemon:
            jobs = [await submit(daemon, queue=queue) for queue in ("clinical", "research", "clinical")]
            for job_id in jobs:
                assert (await await_state(daemon, job_id, "succeeded", PROMPTLY_S))["site"] == "near"
            assert time.monotonic() - begun < PROMPTLY_S
            health = daemon.service.health()
            assert (health["status"], health["waits_for"]) == ("degraded", [])
            assert [site["trouble"] for site in health["sites"]] == ["not looked at yet", None]

    with a_silent_address() as url:
        play(story)


def test_a_ray_that_hangs_from_the_start_loses_nothing_and_the_api_is_open(tmp_path: Path) -> None:
    with a_silent_address() as url:
        site = {"name": "far", "address": url, "cpus": 4}
        daemon = RealDaemon(tmp_path / "data", {"sites": [site]}).start(wait=False)
        daemon.await_open()
        status, health = daemon.ask("GET", "/v1/health")
        assert (status, health["status"]) == (503, "starting")
        assert health["waits_for"] == ["site far: not looked at yet"]
        job = daemon.submit(entrypoint=["true"])
        daemon.kill()
        daemon.start(wait=False)
        daemon.await_open()
        assert daemon.job(job["id"])["state"] == "queued"
        daemon.await_ready()
        assert daemon.health()["status"] == "degraded"
        until(lambda: daemon.job(job["id"])["reason"]["code"] == "site_unreachable", "the reason")
        daemon.stop()


def test_a_ray_that_begins_to_hang_keeps_its_job_and_goes_on_with_it(tmp_path: Path) -> None:
    async def story() -> None:
        well, silent = a_cluster(runs_s=0.3), a_silent_cluster(url)
        async with a_daemon(tmp_path, {"lab": well}) as daemon:
            job_id = await submit(daemon)
            await await_state(daemon, job_id, "running")
            daemon.sites["lab"].cluster = silent
            waiting = await submit(daemon)
            assert (await daemon.service.job(job_id))["state"] == "running"
            daemon.sites["lab"].cluster = well
            for each in (job_id, waiting):
                assert (await await_state(daemon, each, "succeeded", 60.0))["attempts"] == 1

    with a_silent_address() as url:
        play(story)


# ---- a full disk ----


async def limit_pages(daemon: Daemon, more: int) -> None:
    """Let the database grow by so many pages and no further: to SQLite that is a full disk."""

    def work(connection: Any) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + more}")

    await daemon.writer.run(work)


def test_a_full_disk_refuses_submissions_loses_nothing_and_is_over_when_there_is_room(tmp_path: Path) -> None:
    async def story() -> None:
        async with a_daemon(tmp_path, {"lab": a_cluster(runs_s=0.5)}) as daemon:
            accepted = [await submit(daemon) for _ in range(3)]
            await await_state(daemon, accepted[0], "running")
            await limit_pages(daemon, 0)
            refused, failure = await _submit_until_refused(daemon, accepted)
            assert failure.message == "the disk is full; nothing was accepted."
            assert "Free space" in failure.fix
            assert len(await daemon.service.jobs()) == len(accepted)
            await limit_pages(daemon, 1_000_000)
            accepted.append(await submit(daemon, key=refused, env=PADDING))
            for job_id in accepted:
                assert (await await_state(daemon, job_id, "succeeded", 60.0))["attempts"] == 1
            assert {job["id"] for job in await daemon.service.jobs()} == set(accepted)

    play(story)


async def _submit_until_refused(daemon: Daemon, accepted: list[str]) -> tuple[str, StoreFailure]:
    """Submissions with a key each; the first key that was refused, and why."""
    for number in range(500):
        try:
            accepted.append(await submit(daemon, key=f"key-{number}", env=PADDING))
        except StoreFailure as failure:
            return f"key-{number}", failure
    raise AssertionError("the disk never became full")


# ---- a clock that jumps back ----


class Machine:
    """The machine's wall clock, which can be set."""

    def __init__(self) -> None:
        self.offset_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.offset_s


def test_a_clock_set_back_by_a_day_delays_nothing_that_waits_for_a_moment(tmp_path: Path) -> None:
    async def story() -> None:
        machine = Machine()
        async with a_daemon(tmp_path, {"lab": a_cluster()}, clock=Clock(wall=machine)) as daemon:
            begin = (daemon.clock.now() + timedelta(seconds=1.5)).isoformat()
            waiting = await submit(daemon, begin=begin)
            machine.offset_s = -DAY_S
            later = await submit(daemon)
            for job_id in (waiting, later):
                assert (await await_state(daemon, job_id, "succeeded"))["attempts"] == 1
            told = [event["at"] for event in await daemon.service.events(waiting)]
            assert told == sorted(told)
            doctor = await findings(daemon.settings, daemon.sites, daemon.grid, daemon.clock)
            (clock,) = (finding for finding in doctor if finding["check"] == "clock")
            assert clock["status"] == "warn"
            assert "jumped back by 86400 s; lowtide's went on and is still 86" in clock["detail"]

    play(story)


def test_a_store_with_a_newer_time_than_the_machine_has_does_not_stop_a_restarted_daemon(tmp_path: Path) -> None:
    async def story() -> None:
        ahead = Machine()
        ahead.offset_s = DAY_S
        async with a_daemon(tmp_path, {"lab": a_cluster()}, clock=Clock(wall=ahead)) as daemon:
            first = await submit(daemon, begin=(daemon.clock.now() + timedelta(seconds=1.5)).isoformat())
        async with a_daemon(tmp_path, {"lab": a_cluster()}) as daemon:
            await await_state(daemon, first, "succeeded")
            assert daemon.clock.jumped_back_s > DAY_S / 2

    play(story)


class Yesterday(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> "Yesterday":
        return super().now(tz) - timedelta(days=1)


def test_the_tick_goes_on_after_the_clock_was_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cycles, tick_s = 0, 0.4

    def count(_plan: Plan, _took_s: float) -> None:
        nonlocal cycles
        cycles += 1

    async def story() -> None:
        async with a_daemon(tmp_path, {"lab": a_cluster()}, cycled=count, tick_s=tick_s):

            async def more(than: int) -> bool:
                return cycles > than

            await eventually(lambda: more(3), "ticks")
            for module in (apscheduler.schedulers.base, apscheduler.triggers.interval):
                monkeypatch.setattr(module, "datetime", Yesterday)
            jump, begun = cycles, time.monotonic()
            await eventually(lambda: more(jump + 10), "ticks after the jump")
            assert time.monotonic() - begun < 10 * LATE_TICKS * tick_s, "the timer goes on, not its stand-in alone"

    play(story)


# ---- a store that fails for a while ----


def test_rounds_that_fail_are_logged_and_the_next_ones_do_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with a_daemon(tmp_path, {"lab": a_cluster(runs_s=0.3)}) as daemon:
            job_id = await submit(daemon)
            await await_state(daemon, job_id, "running")
            read, failures = daemon.writer.read, 0

            async def fail(_work: object) -> None:
                nonlocal failures
                failures += 1
                if failures % 2:
                    raise StoreFailure("the database stayed locked for 5 s.", fix="")
                raise RuntimeError("unforeseen")

            async def failed() -> bool:
                return failures > 5

            monkeypatch.setattr(daemon.writer, "read", fail)
            await eventually(failed, "the poller to fail")
            monkeypatch.setattr(daemon.writer, "read", read)
            await await_state(daemon, job_id, "succeeded")

    with capture_logs() as log:
        play(story)
    assert {"background_failed"} == {entry["event"] for entry in log if entry.get("work") == "drive"}


def test_metrics_say_that_the_store_fails_and_let_no_counter_fall(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        metrics = Metrics(version="0")
        async with a_daemon(tmp_path, {"lab": a_cluster()}) as daemon:
            metrics.watch(daemon)
            await await_state(daemon, await submit(daemon), "succeeded")
            before = metrics.render().decode()
            assert 'lowtide_jobs_finished_total{outcome="succeeded",queue="research"} 1.0' in before
            with monkeypatch.context() as broken:
                broken.setattr(daemon.database, "read", _failing)
                told = metrics.render().decode()
            assert "lowtide_db_up 0.0" in told
            assert "lowtide_jobs_finished_total" not in told
            assert metrics.render().decode().count("lowtide_jobs_finished_total{") == 6

    play(story)


def _failing() -> None:
    raise StoreFailure("the database stayed locked for 5 s.", fix="")


def test_a_policy_that_fails_is_logged_once_and_counted_in_every_cycle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def plan(self, _problem: Problem) -> tuple[Choice, ...]:
            raise ZeroDivisionError

    async def story() -> None:
        metrics = Metrics(version="0")
        queues = [{"name": "theirs", "policy": "lowest_window"}, CLINICAL]
        async with a_daemon(
            tmp_path, {"lab": a_cluster(None)}, cycled=metrics.cycled, queues=queues, tick_s=0.1
        ) as daemon:
            filling = [await submit(daemon, queue="theirs", resources={"gpus": 1}) for _ in range(3)]
            clinical = await submit(daemon, queue="clinical")
            for job_id in (clinical, *filling[:2]):
                await await_state(daemon, job_id, "running")
            assert (await daemon.service.job(filling[0]))["reason_first"]["code"] == "policy_failed"

            async def counted() -> bool:
                return (metrics.registry.get_sample_value(name, {"policy": "lowest_window"}) or 0) > 3

            await eventually(counted, "some cycles")

    name = "lowtide_policy_failures_total"
    monkeypatch.setattr(decide, "__defaults__", (lambda *_: Broken(),))
    with capture_logs() as log:
        play(story)
    assert [entry["policy"] for entry in log if entry["event"] == "policy_failed"] == ["lowest_window"]


# ---- late repetitions ----


def test_inv01_a_late_repetition_under_its_key_gives_the_job_back_whatever_has_changed(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "train.py").write_text("print(1)")
    daemon = RealDaemon(tmp_path / "data", {"sites": [{"name": "lab", "address": NOWHERE, "cpus": 4}]}).start()
    deadline = datetime.now(UTC) + timedelta(seconds=4)
    job = {
        "name": "late",
        "entrypoint": ["true"],
        "duration": "2s",
        "deadline": deadline.isoformat(),
        "working_dir": str(work),
    }

    def again(**changes: object) -> tuple[int, Any]:
        return daemon.ask("POST", "/v1/jobs", {**job, **changes}, Idempotency_Key="key-1")

    status, first = again()
    assert status == 201, first
    (work / "train.py").write_text("print(2)")
    assert [(status, told["id"]) for status, told in [again()]] == [(200, first["id"])]
    (work / "train.py").unlink()
    work.rmdir()
    until(lambda: datetime.now(UTC) > deadline, "the deadline to pass")
    assert [(status, told["id"]) for status, told in [again()]] == [(200, first["id"])]
    assert again(name="another")[0] == 409
    assert daemon.ask("POST", "/v1/jobs", job, Idempotency_Key="key-2")[0] == 422
    assert len(daemon.ask("GET", "/v1/jobs")[1]["items"]) == 1
    daemon.stop()
