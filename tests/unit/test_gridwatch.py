"""What the daemon knows of its zones, beside the network."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from lowtide.scheduler.control.clock import Clock
from lowtide.scheduler.control.gridwatch import GridWatch
from lowtide.scheduler.control.sites import SiteRuntime
from lowtide.scheduler.forecast.ladder import Rung
from lowtide.scheduler.settings import GridSettings, SiteSettings
from tests.unit.test_ladder import a_series


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


def test_a_forecast_is_made_once_per_slot_and_anew_when_something_is_known() -> None:
    watch, now = a_watch(), datetime(2026, 3, 10, 12, 1, tzinfo=UTC)
    first = watch.forecasts(now, 900.0)["GB"]
    assert watch.forecasts(now + timedelta(minutes=13), 900.0)["GB"] is first
    assert asyncio.run(watch.price(now, 900.0))["GB"] is first
    assert watch.forecasts(now + timedelta(minutes=14), 900.0)["GB"].start == now + timedelta(minutes=14)
    watch.zones["GB"].forecast = a_series(now - timedelta(minutes=1), 24, fetched_at=now)
    assert watch.forecasts(now, 900.0)["GB"].rung == Rung.FRESH_FORECAST
