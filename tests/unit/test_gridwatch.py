"""What the daemon knows of its zones, beside the network."""

import asyncio
from datetime import timedelta
from typing import Any

from lowtide.scheduler.control.clock import Clock
from lowtide.scheduler.control.gridwatch import GridWatch
from lowtide.scheduler.control.sites import SiteRuntime
from lowtide.scheduler.settings import GridSettings, SiteSettings


def a_watch(*sources: str, grid: str = "") -> GridWatch:
    """Zone GB at one site, asked once."""
    clock, no_cluster = Clock(), None
    watch = GridWatch(tuple(GridSettings(name=name) for name in sources), clock)
    settings = SiteSettings(name="lab", zone="GB", grid=grid)
    stub: Any = no_cluster
    watch.follow([SiteRuntime(settings, settings.site(), stub)])

    async def refreshed() -> None:
        await watch.refresh()
        await watch.close()

    asyncio.run(refreshed())
    return watch


def priced_now(watch: GridWatch) -> float | None:
    now = Clock().now()
    series = watch.actuals().get("GB")
    return None if series is None else series.mean_g_per_kwh(now - timedelta(hours=1), now)


def test_jobs_are_priced_at_once_where_nothing_but_a_yearly_average_will_ever_come() -> None:
    assert priced_now(a_watch()) is not None
    assert priced_now(a_watch("static", grid="static")) is not None


def test_a_yearly_average_does_not_price_what_a_real_source_will_still_tell() -> None:
    assert priced_now(a_watch("recorded", "static", grid="recorded")) is None  # its days are long gone
