"""Which grid zone, source and kind of figure every site goes by, and what the configured sources answer for."""

import asyncio
from collections.abc import Awaitable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TypeVar

import structlog

from lowtide.connectors.grid.reader import GridReader
from lowtide.connectors.grid.regions import NAMINGS, Own, Placement, agreed, zone_of
from lowtide.scheduler.control.gridwatch import GridWatch
from lowtide.scheduler.control.probe import PAST, covered, meaning, patience
from lowtide.scheduler.control.sites import SiteRuntime
from lowtide.scheduler.model.errors import GridFailure
from lowtide.scheduler.model.series import Series
from lowtide.scheduler.report.shape import Json
from lowtide.scheduler.settings import Settings, SiteSettings

log = structlog.get_logger()
T = TypeVar("T")


# ---- sites ----


def with_zones(settings: Settings) -> Settings:
    """The settings with a zone in place of every cloud region; a zone that is given wins.

    Raises:
        BadInput: a region is unknown or ambiguous.

    """
    own = _own(settings)
    return settings.model_copy(update={"sites": tuple(_with_zone(site, own) for site in settings.sites)})


def _own(settings: Settings) -> Own:
    rows = settings.regions.items()
    return {region: Placement(region, "", row.zone, row.source, "settings") for region, row in rows}


def _with_zone(site: SiteSettings, own: Own) -> SiteSettings:
    if site.zone or not site.region:
        return site
    naming = site.grid if site.grid in NAMINGS else NAMINGS[0]
    return site.model_copy(update={"zone": zone_of(site.region, naming, own)})


def regions(settings: Settings, region: str | None) -> list[Json]:
    """Where a cloud region lies and who says so; without one, all rows of the settings.

    Raises:
        BadInput: the region is unknown or ambiguous.

    """
    own = _own(settings)
    return [asdict(row) for row in (own.values() if region is None else agreed(region, own))]


def site_grid(runtime: SiteRuntime, grid: GridWatch) -> Json:
    """What a site goes by now; the kind of figure is null until one has come."""
    state = grid.zones.get(runtime.site.zone)
    known = (state.forecast or state.actual) if state else None
    return {
        "zone": runtime.site.zone or None,
        "region": runtime.settings.region or None,
        "grid_source": state.source if state else None,
        **meaning(known),
    }


def log_zones(sites: dict[str, SiteRuntime], grid: GridWatch) -> None:
    """Write down what every site goes by."""
    for name, runtime in sites.items():
        log.info("site_grid", site=name, **site_grid(runtime, grid))


# ---- sources ----


@dataclass(slots=True)
class _Answer:
    """What a source gives for one zone; ``failures`` is why it did not give more."""

    source: str
    forecast: Series | None = None
    actual: Series | None = None
    failures: list[GridFailure] = field(default_factory=list)

    @property
    def any(self) -> Series | None:
        return self.forecast or self.actual

    @property
    def makes_forecasts(self) -> bool | None:
        """None where that did not come out."""
        return True if self.forecast else None if self.failures or not self.actual else False

    async def try_for(self, question: Awaitable[T]) -> T | None:
        """An answer in time, or the failure noted in its place."""
        try:
            async with patience(self.source):
                return await question
        except GridFailure as failure:
            self.failures.append(failure)
            return None


async def coverage(grid: GridWatch, now: datetime) -> list[Json]:
    """Every configured source: its zones, what its figures mean, whether it forecasts, and what is wrong with it."""
    return list(await asyncio.gather(*(_source(name, reader, grid, now) for name, reader in grid.readers.items())))


async def _source(name: str, reader: GridReader, grid: GridWatch, now: datetime) -> Json:
    """One source, asked for one zone: one in use, which costs nothing, else the first that it lists."""
    answer = _Answer(name)
    used = [state for state in grid.zones.values() if state.source == name]
    zones = await answer.try_for(covered(reader.source, now)) or ()
    asked = used[0].zone if used else next((one.zone for one in zones), None)
    if asked is not None:
        answer.forecast, answer.actual = await asyncio.gather(
            answer.try_for(reader.forecast(asked)), answer.try_for(reader.actual(asked, PAST))
        )
    return {
        "source": name,
        "zones": [{"zone": one.zone, "name": one.name or None, "forecasts": one.forecasts} for one in zones],
        "in_use": [state.zone for state in used],
        "asked": asked,
        **meaning(answer.any),
        "forecasts": answer.makes_forecasts,
        "attribution": answer.any.attribution if answer.any else None,
        "failures": [{"kind": str(one.kind), "detail": one.message, "fix": one.fix} for one in answer.failures],
    }
