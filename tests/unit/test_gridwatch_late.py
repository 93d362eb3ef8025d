"""A source whose figures come a day late keeps the accounts and steers nothing."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from lowtide.connectors.grid.eia import Eia
from lowtide.connectors.grid.reader import GridReader
from lowtide.scheduler.control.clock import Clock
from lowtide.scheduler.control.gridwatch import GridWatch, ZoneState
from lowtide.scheduler.forecast.ladder import Rung
from lowtide.scheduler.model.series import NO_RATES, Accounting, Basis, Point, PointKind, Series, Signal

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Fixed:
    """A clock that stands."""

    def now(self) -> datetime:
        return NOW


class Late:
    """A source with eight days of figures that end a day ago."""

    name = "late"
    ttl_s = 60.0
    rates = NO_RATES

    def zones(self) -> tuple[str, ...]:
        return ("PJM",)

    async def actual(self, zone: str, start: datetime, end: datetime, now: datetime) -> Series:
        count = (end - timedelta(days=1) - start) // HOUR
        points = tuple(
            Point(start + i * HOUR, start + (i + 1) * HOUR, 300.0 + 10 * ((start.hour + i) % 24), PointKind.ACTUAL)
            for i in range(count)
        )
        meaning = (Signal.AVERAGE, Basis.LIFECYCLE, Accounting.PRODUCTION)
        return Series(self.name, zone, zone, points, 3600.0, *meaning, fetched_at=now)

    async def forecast(self, zone: str, now: datetime) -> Series | None:
        assert (zone, now) == ("PJM", NOW)
        return None

    async def close(self) -> None:
        pass


class ForAccounts(Late):
    name = "accounts"
    steers = False


def a_watch(*sources: Late) -> GridWatch:
    clock = cast("Clock", Fixed())
    watch = GridWatch((), clock)
    watch.readers = {source.name: GridReader(source, clock.now) for source in sources}
    return watch


@pytest.mark.parametrize(("source", "rung"), [(Late(), Rung.OWN_FORECAST), (ForAccounts(), Rung.BLIND)])
def test_no_forecast_is_made_from_a_history_that_is_for_the_accounts_alone(source: Late, rung: Rung) -> None:
    watch = a_watch(source)
    watch.zones["PJM"] = ZoneState("PJM", source.name)
    asyncio.run(watch.refresh())
    found = watch.forecasts(NOW, 900.0)["PJM"]
    assert (found.rung, found.may_shift) == (rung, source.name == "late")
    assert watch.actuals()["PJM"].points


def test_a_zone_is_given_to_a_source_that_steers_before_one_that_does_not() -> None:
    assert a_watch(ForAccounts(), Late())._choose("PJM", "") == "late"
    assert a_watch(ForAccounts())._choose("PJM", "") == "accounts"
    assert a_watch(Late(), ForAccounts())._choose("PJM", "accounts") == "accounts"
    assert a_watch(Late())._choose("FR", "") == ""


def test_the_eia_is_such_a_source() -> None:
    assert getattr(Eia, "steers", True) is False
