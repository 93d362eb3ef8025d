"""Policy sets in a whole daemon: in force from the next plan on, after a restart, and never for worse."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lowtide.connectors.cluster.fake import Script, SimulatedCluster
from lowtide.scheduler.cli.replay_view import _past, replay
from lowtide.scheduler.control.assemble import Daemon
from lowtide.scheduler.control.settling import store_series
from lowtide.scheduler.model.errors import BadInput, Conflict, NotFound
from lowtide.scheduler.model.reservation import Wish
from lowtide.scheduler.model.series import Accounting, Basis, Point, PointKind, Series, Signal
from lowtide.scheduler.report.issues import issues_of
from lowtide.scheduler.store import issues
from tests.whole import CLINICAL, a_cluster, a_daemon, await_state, eventually, submit

QUEUES = [{"name": "research", "policy": "lowest_window"}, CLINICAL]
SET = "name: trial\nqueues:\n  research:\n    policy: asap\n    priority: 7\n"


def play(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(story())


async def apply(daemon: Daemon, text: str = SET) -> dict[str, Any]:
    return await daemon.service.apply_policy(text, actor="ann", why="a trial")


class SeenRunning:
    """A cluster whose job ends only once the daemon has seen it run: a start that nobody saw is not on record."""

    def __init__(self) -> None:
        self.ends = False
        self.cluster = SimulatedCluster(lambda: float(self.ends), script=lambda _: Script(ends_in_s=1.0))

    async def run_one(self, daemon: Daemon, **job: Any) -> str:
        job_id = await submit(daemon, **job)
        await await_state(daemon, job_id, "running")
        self.ends = True
        await await_state(daemon, job_id, "succeeded")
        return job_id


def planned_by(daemon: Daemon) -> str | None:
    """The policy of the queue research in the newest plan."""
    shot = daemon.loop.latest_snapshot
    return shot.queues["research"].policy if shot else None


async def until_planned_by(daemon: Daemon, policy: str) -> None:
    async def found() -> bool:
        return planned_by(daemon) == policy

    await eventually(found, f"a plan by {policy}")


def test_an_applied_set_is_in_force_from_the_next_plan_on(tmp_path: Path) -> None:
    async def story() -> None:
        async with a_daemon(tmp_path, {"lab": a_cluster()}, queues=QUEUES) as daemon:
            await until_planned_by(daemon, "lowest_window")
            told = await apply(daemon)
            assert {(c["field"], c["after"]) for c in told["changes"]} == {("policy", "asap"), ("priority", 7)}
            await until_planned_by(daemon, "asap")
            assert [q["priority"] for q in await daemon.service.queues()] == [7, 0]
            assert (await daemon.service.policy())["revision"] == 1
            await submit(daemon)

    play(story)


def test_the_last_applied_set_decides_after_a_restart_and_doctor_names_it(tmp_path: Path) -> None:
    async def story() -> None:
        async with a_daemon(tmp_path, {"lab": a_cluster()}, queues=QUEUES) as daemon:
            await apply(daemon)
        async with a_daemon(tmp_path, {"lab": a_cluster()}, queues=QUEUES) as daemon:
            await until_planned_by(daemon, "asap")
            (found,) = [f for f in await daemon.service.doctor() if f["check"] == "policy set"]
            assert found["status"] == "ok"
            assert found["detail"].startswith("policy set trial, revision 1, by ann at ")
            assert daemon.service.health()["policy_set"] == "policy set trial, revision 1"

    play(story)


@pytest.mark.parametrize(
    "text", ["queues: [", "queues: {research: {policy: best}}", "queues: {reserch: {policy: asap}}"]
)
def test_a_set_with_a_fault_never_replaces_a_good_one(tmp_path: Path, text: str) -> None:
    async def story() -> None:
        async with a_daemon(tmp_path, {"lab": a_cluster()}, queues=QUEUES) as daemon:
            await apply(daemon)
            with pytest.raises(BadInput):
                await apply(daemon, text)
            assert (await daemon.service.policy())["name"] == "trial"
            assert len(await daemon.service.policy_history()) == 1

    play(story)


def test_a_stored_set_that_fits_no_more_gives_way_to_the_settings_and_doctor_says_so(tmp_path: Path) -> None:
    async def story() -> None:
        async with a_daemon(tmp_path, {"lab": a_cluster()}, queues=QUEUES) as daemon:
            await apply(daemon)
        others = [{"name": "genomics", "policy": "lowest_slot"}, CLINICAL]
        async with a_daemon(tmp_path, {"lab": a_cluster()}, queues=others) as daemon:
            (found,) = [f for f in await daemon.service.doctor() if f["check"] == "policy set"]
            assert found["status"] == "warn"
            assert "names the queue 'research'" in found["detail"]
            assert [q["policy"] for q in await daemon.service.queues()] == ["lowest_slot", "asap"]
            await daemon.service.roll_back_policy(0, actor="ann", why=None)
            (found,) = [f for f in await daemon.service.doctor() if f["check"] == "policy set"]
            assert found["status"] == "ok"

    play(story)


def test_going_back_is_a_revision_of_its_own(tmp_path: Path) -> None:
    async def story() -> None:
        async with a_daemon(tmp_path, {"lab": a_cluster()}, queues=QUEUES) as daemon:
            service = daemon.service
            with pytest.raises(Conflict, match="none to go back from"):
                await service.roll_back_policy(None, actor="ann", why=None)
            await apply(daemon)
            await service.roll_back_policy(None, actor="bob", why="slow")
            assert [q["policy"] for q in await service.queues()] == ["lowest_window", "asap"]
            await service.roll_back_policy(None, actor="bob", why=None)
            assert [q["policy"] for q in await service.queues()] == ["asap", "asap"]
            await service.roll_back_policy(2, actor="bob", why=None)
            with pytest.raises(NotFound, match="revision 9"):
                await service.roll_back_policy(9, actor="bob", why=None)
            told = await service.policy_history()
            assert [(row["revision"], row["actor"], row["copy_of"]) for row in told] == [
                (4, "bob", 2),
                (3, "bob", 1),
                (2, "bob", 0),
                (1, "ann", None),
            ]
            assert told[2]["why"] == "slow"

    play(story)


def test_the_past_tells_what_jobs_did_and_nothing_of_jobs_that_are_on_their_way(tmp_path: Path) -> None:
    async def story() -> None:
        lab = SeenRunning()
        async with a_daemon(tmp_path, {"lab": lab.cluster}, queues=QUEUES) as daemon:
            done = await lab.run_one(daemon, patience="2h")
            held = await submit(daemon, begin="now+5h")
            told = await daemon.service.past(1)
            (job,) = told["jobs"]
            assert held != job["id"] == done
            assert (job["queue"], job["patience_s"], job["urgency"]) == ("research", 7200.0, None)
            ((site, begun, ended),) = job["stretches"]
            assert site == "lab"
            assert job["submitted_at"] <= begun < ended <= told["end"]
            assert job["run_s"] >= 1.0
            assert [queue["name"] for queue in told["queues"]] == ["research", "clinical"]
            assert told["intensity"] == {}
            with pytest.raises(BadInput, match="nothing to play"):
                replay(told, SET, "trial")

    play(story)


def test_the_past_tells_projects_and_what_they_used_and_what_was_kept_free(tmp_path: Path) -> None:
    async def story() -> None:
        projects = [{"name": "scans", "share": 2.0, "budgets": [{"period": "month", "carbon_g": 10.0, "gpu_h": 2.0}]}]
        lab = SeenRunning()
        async with a_daemon(tmp_path, {"lab": lab.cluster}, queues=QUEUES, projects=projects) as daemon:
            await lab.run_one(daemon, project="scans", resources={"gpus": 1})
            await daemon.service.reserve(Wish("lab"), actor="ann", why=None)
            await daemon.service.undrain("lab", "", actor="ann", why=None)
            told = json.loads(json.dumps(await daemon.service.past(1)))
            assert told["jobs"][0]["project"] == "scans"
            past = _past(told)
            assert past.projects == (daemon.settings.projects[0].project(),)
            assert len(past.projects[0].budgets) == 2
            (kept,) = past.reservations
            assert kept.reservation.is_drain
            assert kept.ended_at is not None
            assert kept.made_at <= kept.ended_at
            assert [row for row in told["projects"]["used"] if row[1] >= told["end"][:10]] == []

    play(story)


def test_the_past_of_a_daemon_with_grid_data_can_be_played(tmp_path: Path) -> None:
    async def story() -> None:
        site = {"name": "lab", "address": "http://127.0.0.1:9", "gpus": 2, "cpus": 8, "zone": "GB"}
        lab = SeenRunning()
        async with a_daemon(tmp_path, {"lab": lab.cluster}, queues=QUEUES, sites=[site], grids=[]) as daemon:
            await lab.run_one(daemon, queue="clinical")
            now = daemon.clock.now()
            starts = [now + timedelta(minutes=30 * n - 15) for n in range(-48, 48)]
            points = tuple(Point(s, s + timedelta(minutes=30), 200.0, PointKind.ACTUAL) for s in starts)
            meaning = (Signal.AVERAGE, Basis.DIRECT, Accounting.CONSUMPTION)
            series = Series("test", "GB", "GB", points, 1800.0, *meaning, fetched_at=now)
            await daemon.writer.run(lambda c: store_series(c, series, now))
            before = now - timedelta(days=2)
            issued = replace(series, fetched_at=before, issued_at=before)
            await daemon.writer.run(lambda c: issues.keep(c, issued, before))
            daemon.grid.zones["GB"].forecast = issued
            told = json.loads(json.dumps(await daemon.service.past(1)))
            told["end"] = told["intensity"]["GB"]["points"][-1][1]  # a second that the job takes is not over yet
            found = replay(told, SET, "trial")
            grams = {one["name"]: one["emissions_g"] for one in found["columns"]}
            assert found["compared"] == found["jobs"] == 1
            assert issues_of(told["issues"]["GB"])[0].fetched_at == before
            assert found["forecast"] == "perfect", "that forecast is of another basis than what priced the jobs"
            assert grams["set in force"] == pytest.approx(grams["trial"])
            assert grams["trial"] > 0

    play(story)
