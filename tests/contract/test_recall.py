"""What the store kept of a zone's past serves after a restart while the source is away, and changes no meaning."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lowtide.scheduler.control import settling
from lowtide.scheduler.control.clock import Clock
from lowtide.scheduler.control.gridwatch import KEPT, GridWatch, ZoneState
from lowtide.scheduler.control.recall import recall
from lowtide.scheduler.control.writer import Writer
from lowtide.scheduler.model.series import Basis, Point, PointKind, Series
from lowtide.scheduler.settings import GridSettings
from lowtide.scheduler.store.database import Database
from tests.contract.grid_server import Reply, Vendor, a_vendor
from tests.contract.test_grid_http_json import ACTUAL, json_like

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


class House:
    """A data directory beside a vendor, under a clock that is set by hand."""

    def __init__(self, folder: Path, vendor: Vendor) -> None:
        self.folder, self.vendor, self.now = folder, vendor, datetime.now(UTC)
        self.database = Database(folder / "lowtide.db")
        self.database.migrate()

    def life(self, **options: Any) -> tuple[Series | None, list[bool]]:
        """One daemon's first look at the grid: the zone's past, and whether each of two recalls found anything."""
        return asyncio.run(self._life(options))

    async def _life(self, options: dict[str, Any]) -> tuple[Series | None, list[bool]]:
        told = {"url": self.vendor.url, "zones": ["campus"], "signal": "average", "attribution": "theirs"}
        grid = GridSettings(name="http_json", options={**told, "actual": ACTUAL, **options})
        watch = GridWatch((grid,), Clock(wall=self.now.timestamp), self.folder / "grid")
        watch.zones["campus"] = ZoneState("campus", "http_json")
        writer = Writer(self.database)
        for series in await watch.refresh():
            self.keep(series)
        found = [await recall(watch, writer, self.now) for _ in range(2)]
        await watch.close()
        writer.close()
        return watch.zones["campus"].actual, found

    def keep(self, series: Series) -> None:
        with self.database.write() as connection:
            settling.store_series(connection, series, self.now)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with a_vendor(json_like(datetime.now(UTC))) as vendor:
        made = House(tmp_path, vendor)
        yield made
        made.database.close()


def is_away(house: House) -> None:
    house.vendor.answer = lambda _: Reply(503)


def test_what_was_stored_of_the_same_key_is_put_back_whole_and_looked_for_once(house: House) -> None:
    first, asked = house.life()
    assert first is not None
    assert asked == [False, False]
    older = first.points[0].start - DAY
    house.keep(replace(first, points=(Point(older, older + HOUR, 7.0, PointKind.ACTUAL),)))
    is_away(house)
    house.now += 4 * DAY
    again, asked = house.life()
    assert again is not None
    assert asked == [True, False]
    assert (again.key, again.attribution, again.step_s) == (first.key, "theirs", first.step_s)
    assert again.points[0].g_per_kwh == 7.0
    assert again.points[1:] == first.points


def test_what_is_older_than_actuals_are_kept_is_not_put_back(house: House) -> None:
    house.life()
    is_away(house)
    house.now += KEPT + DAY
    assert house.life() == (None, [False, False])


def test_a_source_that_was_set_up_anew_gets_no_figures_of_another_meaning(house: House) -> None:
    first, _ = house.life(basis="direct")
    assert first is not None
    house.keep(replace(first, basis=Basis.LIFECYCLE))
    is_away(house)
    house.now += DAY
    assert house.life(basis="lifecycle") == (None, [False, False])
    again, _ = house.life(basis="direct")
    assert again is None  # what the source answered was forgotten with the options that it was asked under
