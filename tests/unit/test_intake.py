"""A dry run is decided as the job itself would be."""

import asyncio
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lowtide.scheduler.control import intake
from lowtide.scheduler.control.clock import Clock
from lowtide.scheduler.control.intake import Intake
from lowtide.scheduler.control.lookup import Parts
from lowtide.scheduler.control.observe import Observer
from lowtide.scheduler.control.sites import SiteRuntime
from lowtide.scheduler.decide.decide import decide
from lowtide.scheduler.model.job import JobSpec
from lowtide.scheduler.model.plan import Plan, Snapshot
from lowtide.scheduler.settings import Settings, SiteSettings
from tests.builders import NOON, a_job_view, a_snapshot


class Frozen(Intake):
    """Sees one snapshot for ever."""

    def __init__(self, snapshot: Snapshot, data_dir: Path) -> None:
        settings = Settings(data_dir=data_dir)
        home = SiteSettings(name="home", zone="GB", gpus=8, cpus=64)
        others = ("writer", "driver", "grid", "background", "policy_sets", "shadow")
        unused: dict[str, Any] = dict.fromkeys(others)
        parts = Parts(
            settings=settings,
            observer=Observer(settings),
            sites={"home": SiteRuntime(home, home.site(), None)},  # type: ignore[arg-type]  # nothing is started
            clock=Clock(wall=NOON.timestamp),
            loop=SimpleNamespace(latest_snapshot=None, latest_plan=None),  # type: ignore[arg-type]  # no plan yet
            **unused,
        )
        super().__init__(parts)
        self.frozen = snapshot

    async def _snapshot(self) -> Snapshot:
        return self.frozen


def test_a_dry_run_changes_nothing_of_the_snapshot_but_adds_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Snapshot] = []

    def see(snapshot: Snapshot) -> Plan:
        seen.append(snapshot)
        return decide(snapshot)

    monkeypatch.setattr(intake, "decide", see)
    before = replace(a_snapshot(a_job_view()), inflow_gpus=5.0)
    told = asyncio.run(Frozen(before, tmp_path).plan(JobSpec("mri", ("true",))))
    assert (told["job_id"], told["binds"]) == ("(this-job)", [])
    (after,) = seen
    assert replace(after, jobs=before.jobs) == before
    assert [view.job_id for view in after.jobs] == ["(this-job)", "job-1"]
