"""Pools, power budgets and virtual capacity in the settings, and how an attempt is sent to its pool."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from lowtide.connectors.cluster.ray_jobs import RayJobs
from lowtide.scheduler.control.launch import submission
from lowtide.scheduler.model.cluster import Submission
from lowtide.scheduler.model.job import JobSpec
from lowtide.scheduler.model.site import Pool, Share, gpus_by_pool, site_from_json
from lowtide.scheduler.settings import Settings, SiteSettings

H100 = {"name": "h100", "gpus": 4, "cpus": 32, "gpu_model": "H100"}
PLAIN = {"name": "plain", "cpus": 64, "node_resource": "plain_node"}


def a_site(**more: object) -> SiteSettings:
    return SiteSettings.model_validate({"name": "paris", "address": "http://paris:8265", **more})


def an_order(pool: str, *, site: SiteSettings) -> Submission:
    row: Any = {
        "id": "mri-a1",
        "job_id": "mri",
        "number": 1,
        "fence": "f",
        "pool": pool,
        "gpus": 1,
        "cpus": 1,
        "power_plan": None,
    }
    settings = Settings(data_dir=Path("/tmp"), sites=(site,))
    spec = JobSpec("mri", ("true",))
    return submission(spec, row, site=site, settings=settings, rate=1.0, working_dir_uri=None, jobside_uri="u")


def test_a_site_has_what_its_pools_have_together() -> None:
    site = a_site(pools=[H100, PLAIN]).site()
    assert (site.gpus, site.cpus) == (4, 96)
    assert site.pools == (Pool("h100", 4, 32, "H100"), Pool("plain", 0, 64))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"pools": [H100], "gpus": 4}, "pools are given, so gpus must be left out"),
        ({"pools": [H100, H100]}, "several pools have the name h100"),
        ({"pools": [H100, {**H100, "name": "other"}]}, "several pools have the node_resource accelerator_type:H100"),
        ({"pools": [{"name": "plain", "cpus": 64}]}, "neither node_resource nor gpu_model is given"),
        ({"pools": [H100], "address": "local"}, "the private cluster is one machine"),
        ({"virtual_capacity": [{"above_g_per_kwh": 300, "power_share": 0.5}]}, "there is no power_budget_w"),
        (
            {"virtual_capacity": [{"above_g_per_kwh": 300}, {"above_g_per_kwh": 300, "gpu_share": 0.5}]},
            "two steps above the same intensity",
        ),
        (
            {
                "virtual_capacity": [
                    {"above_g_per_kwh": 300, "gpu_share": 0.5},
                    {"above_g_per_kwh": 400, "gpu_share": 0.6},
                ]
            },
            "offers more above 400 g/kWh than above 300",
        ),
    ],
)
def test_capacity_that_contradicts_itself_is_refused_with_what_to_do(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        a_site(**wrong)


def test_steps_and_the_power_budget_reach_the_core_and_come_back_from_json() -> None:
    step = {"above_g_per_kwh": 300, "gpu_share": 0.5, "power_share": 0.8}
    site = a_site(pools=[H100, PLAIN], power_budget_w=5000, virtual_capacity=[step]).site()
    assert (site.power_budget_w, site.virtual_capacity) == (5000.0, (Share(300.0, 0.5, 0.8),))
    assert site_from_json(asdict(site)) == site


@pytest.mark.parametrize(("pool", "resource"), [("h100", "accelerator_type:H100"), ("plain", "plain_node")])
def test_an_attempt_is_sent_to_the_nodes_of_its_pool(pool: str, resource: str) -> None:
    order = an_order(pool, site=a_site(pools=[H100, PLAIN]))
    assert order.node_resource == resource
    assert RayJobs("http://paris:8265")._order(order)["entrypoint_resources"] == {resource: 0.001}


def test_an_attempt_at_a_site_without_pools_may_run_on_any_node() -> None:
    order = an_order("H100", site=a_site(gpus=4, cpus=32, gpu_model="H100"))
    assert "entrypoint_resources" not in RayJobs("http://paris:8265")._order(order)


def test_gpus_are_counted_by_pool_and_those_of_a_renamed_one_where_they_fit() -> None:
    site = a_site(pools=[H100, PLAIN, {"name": "a40", "gpus": 8, "cpus": 8, "gpu_model": "A40"}]).site()
    held = {("paris", "h100"): 1, ("paris", "before"): 3, ("paris", "a40"): 2, ("rome", "a40"): 5}
    assert list(gpus_by_pool(site, held)) == [("paris/h100", 4, 4), ("paris/plain", 0, 0), ("paris/a40", 8, 2)]
    alike = a_site(gpus=8, cpus=8, gpu_model="A40").site()
    assert list(gpus_by_pool(alike, held)) == [("paris", 8, 6)]
