"""What is handed to a cluster with an attempt, and which settings of leases and fences are refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from lowtide.scheduler.control.clock import Anchor, Clock
from lowtide.scheduler.control.launch import submission
from lowtide.scheduler.model.job import JobSpec, Resources
from lowtide.scheduler.settings import Settings, SiteSettings

NOON_S = 1_772_366_400.0
"""2026-03-01 12:00 UTC."""
ROW: Any = {
    "id": "mri-a1",
    "job_id": "mri",
    "number": 1,
    "fence": "f",
    "pool": "",
    "gpus": 1,
    "cpus": 1,
    "power_plan": None,
}


@pytest.mark.parametrize(("address", "told"), [("http://lab:8265", "60.0"), ("local", "0")])
def test_inv02_a_lease_is_asked_for_wherever_the_daemon_cannot_look_for_processes_itself(
    tmp_path: Path, address: str, told: str
) -> None:
    site = SiteSettings(name="lab", address=address)
    settings = Settings(data_dir=tmp_path, sites=(site,))
    order = submission(
        JobSpec("mri", ("true",)), ROW, site=site, settings=settings, rate=1.0, working_dir_uri=None, jobside_uri="u"
    )
    assert order.env["LOWTIDE_LEASE_S"] == told


def test_inv02_a_fence_that_is_not_well_above_the_lease_is_refused() -> None:
    SiteSettings(name="lab", address="http://lab:8265", lease_s=10, fence_s=20)
    with pytest.raises(ValidationError, match="fence_s is 100, expected at least twice lease_s \\(60\\)"):
        SiteSettings(name="lab", address="http://lab:8265", fence_s=100)


def test_a_local_site_is_not_held_to_a_fence_that_it_does_not_have(tmp_path: Path) -> None:
    site = SiteSettings(name="lab", lease_s=60, fence_s=1)
    assert Settings(data_dir=tmp_path, sites=(site,), sample_s=45).sites == (site,)


def test_inv02_a_fence_within_which_a_living_runner_need_not_be_heard_is_refused(tmp_path: Path) -> None:
    site = SiteSettings(name="lab", address="http://lab:8265", lease_s=20, fence_s=80)
    Settings(data_dir=tmp_path, sites=(site,), sample_s=40)
    with pytest.raises(ValidationError, match="fence_s is 80, expected at least twice sample_s \\(45\\)"):
        Settings(data_dir=tmp_path, sites=(site,), sample_s=45)


def test_the_node_is_told_the_power_of_a_gpu_that_cannot_be_read(tmp_path: Path) -> None:
    order = submission(
        JobSpec(name="mri", argv=("true",), resources=Resources(gpus=1, cpus=1)),
        ROW,
        site=SiteSettings(name="lab"),
        settings=Settings(data_dir=tmp_path, gpu_power_w=250.0),
        rate=1.0,
        working_dir_uri=None,
        jobside_uri="gcs://jobside.zip",
    )
    assert order.env["LOWTIDE_GPU_TDP_W"] == "250.0"


def test_an_attempt_gets_what_its_own_width_holds_and_its_program_is_told(tmp_path: Path) -> None:
    spec = JobSpec("mri", ("true",), resources=Resources(gpus=1, cpus=2), widths=((1, 1.0), (4, 3.4)))
    row = {**ROW, "gpus": 4, "cpus": 8}
    site, settings = SiteSettings(name="lab"), Settings(data_dir=tmp_path)
    order = submission(spec, row, site=site, settings=settings, rate=1.0, working_dir_uri=None, jobside_uri="u")  # type: ignore[arg-type]
    assert (order.num_gpus, order.num_cpus) == (4, 8)
    assert (order.env["LOWTIDE_GPUS"], order.env["OMP_NUM_THREADS"]) == ("4", "8")


def test_a_runner_is_told_the_power_limits_of_its_attempt_in_wall_time(tmp_path: Path) -> None:
    spec, site, settings = JobSpec("mri", ("true",)), SiteSettings(name="lab"), Settings(data_dir=tmp_path)
    row = {**ROW, "power_plan": [["2026-03-01T12:00:00+00:00", 0.6], ["2026-03-01T13:00:00+00:00", 1.0]]}
    clock = Clock(Anchor(clock_s=NOON_S, wall_s=1000.0, rate=60.0))
    common: dict[str, Any] = {"site": site, "settings": settings, "rate": 60.0, "working_dir_uri": None}
    order = submission(spec, row, jobside_uri="u", to_wall=clock.to_wall, **common)  # type: ignore[arg-type]
    assert json.loads(order.env["LOWTIDE_POWER_PLAN"]) == [[1000.0, 0.6], [1060.0, 1.0]]
    assert "LOWTIDE_POWER_PLAN" not in submission(spec, ROW, jobside_uri="u", **common).env
