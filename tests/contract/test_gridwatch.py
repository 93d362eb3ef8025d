"""The daemon's look at the grid: sources by name, and what they answered before a restart."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lowtide.scheduler.control.clock import Clock
from lowtide.scheduler.control.gridwatch import GridWatch, ZoneState
from lowtide.scheduler.model.errors import BadInput
from lowtide.scheduler.settings import GridSettings
from tests.contract.grid_server import Reply, a_vendor
from tests.contract.test_grid_http_json import ACTUAL, FORECAST, json_like


def settings(url: str, **more: Any) -> GridSettings:
    told = {"url": url, "zones": ["campus"], "signal": "average", "actual": ACTUAL, "forecast": FORECAST}
    return GridSettings(name="http_json", options={**told, **more})


async def a_life(grid: GridSettings, folder: Path) -> ZoneState:
    watch = GridWatch((grid,), Clock(), folder)
    watch.zones["campus"] = ZoneState("campus", grid.options.get("name", grid.name))
    await watch.refresh()
    await watch.close()
    return watch.zones["campus"]


def test_what_a_source_answered_outlives_a_restart_and_dies_with_its_options(tmp_path: Path) -> None:
    with a_vendor(json_like(datetime.now(UTC))) as vendor:
        first, again = (asyncio.run(a_life(settings(vendor.url), tmp_path)) for _ in range(2))
        assert len(vendor.paths) == 2
        assert (first.forecast, first.actual) == (again.forecast, again.actual)
        assert first.forecast is not None
        asyncio.run(a_life(settings(vendor.url, basis="lifecycle"), tmp_path))
        assert len(vendor.paths) == 4


def test_two_sources_of_one_kind_need_names(tmp_path: Path) -> None:
    one = settings("https://one.example.org")
    with pytest.raises(BadInput, match="the option 'name'"):
        GridWatch((one, settings("https://two.example.org")), Clock(), tmp_path)
    watch = GridWatch((one, settings("https://two.example.org", name="two")), Clock(), tmp_path)
    assert list(watch.readers) == ["http_json", "two"]
    asyncio.run(watch.close())


@pytest.mark.parametrize("name", ["", "..", "a/b", "../outside", "über"])
def test_a_name_that_is_no_folder_of_its_own_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match="cannot go by the name"):
        GridWatch((settings("https://one.example.org", name=name),), Clock(), tmp_path)


def test_a_key_that_is_replaced_is_tried_at_the_next_refresh(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("old")
    now = datetime.now(UTC)

    def answer(path: str) -> Reply:
        return json_like(now)(path) if vendor.headers[-1]["x-key"] == "new-one" else Reply(401)

    async def life() -> GridWatch:
        watch = GridWatch((settings(vendor.url, headers={"X-Key": {"file": str(key)}}),), Clock(), tmp_path / "kept")
        watch.zones["campus"] = ZoneState("campus", "http_json")
        await watch.refresh()
        await watch.refresh()
        assert watch.zones["campus"].trouble
        key.write_text("new-one")
        await watch.refresh()
        await watch.close()
        return watch

    with a_vendor(answer) as vendor:
        watch = asyncio.run(life())
        assert len(vendor.paths) == 3
    assert watch.zones["campus"].trouble == ""
    assert watch.zones["campus"].forecast is not None
