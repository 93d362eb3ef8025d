"""Which source a site's zone goes by, what is written down about it, and what the sources say they answer for."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from lowtide.connectors.cluster.ray_jobs import RayJobs
from lowtide.connectors.grid.reader import GridReader
from lowtide.scheduler.control import probe, zones
from lowtide.scheduler.control.clock import Clock
from lowtide.scheduler.control.doctor import _zone
from lowtide.scheduler.control.gridwatch import GridWatch
from lowtide.scheduler.control.sites import SiteRuntime
from lowtide.scheduler.model.errors import BadInput, GridFailure, GridFailureKind
from lowtide.scheduler.model.series import (
    NO_RATES,
    Accounting,
    Basis,
    Coverage,
    Point,
    PointKind,
    Rate,
    Series,
    Signal,
)
from lowtide.scheduler.settings import Settings, SiteSettings, load

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
AUTH = GridFailure(GridFailureKind.AUTH, "vendor answered 401.", fix="Check the token.")


@dataclass
class Plain:
    """A source that knows its zones without asking."""

    name: str = "plain"
    known: tuple[str, ...] = ("GB",)
    ttl_s: float = 900.0
    rates: Mapping[str, Rate] = field(default_factory=lambda: NO_RATES)
    failure: GridFailure | None = None
    hangs: bool = False

    def zones(self) -> tuple[str, ...]:
        return self.known

    async def actual(self, zone: str, start: datetime, end: datetime, now: datetime) -> Series:
        del start, end
        return await self._series(zone, now - HOUR, PointKind.ACTUAL, now)

    async def forecast(self, zone: str, now: datetime) -> Series | None:
        return await self._series(zone, now, PointKind.FORECAST, now)

    async def _series(self, zone: str, start: datetime, kind: PointKind, now: datetime) -> Series:
        if self.hangs:
            await asyncio.Event().wait()
        if self.failure:
            raise self.failure
        meaning = (Signal.AVERAGE, Basis.DIRECT, Accounting.CONSUMPTION)
        points = (Point(start, start + HOUR, 100.0, kind),)
        return Series(self.name, zone, zone, points, 3600.0, *meaning, fetched_at=now, attribution="theirs")

    async def close(self) -> None:
        pass


@dataclass
class Probing(Plain):
    """A source whose vendor alone knows its zones."""

    name: str = "probing"
    opens: tuple[str, ...] = ("DE",)
    probes: int = 0
    probe_failure: GridFailure | None = None
    known: tuple[str, ...] = ()

    async def probe(self, now: datetime) -> tuple[Coverage, ...]:
        del now
        self.probes += 1
        if self.probe_failure:
            raise self.probe_failure
        self.known = self.opens
        return tuple(Coverage(zone, "Somewhere", forecasts=True) for zone in self.opens)


class Wall:
    """A wall clock that stands where it is put."""

    def __init__(self) -> None:
        self.at_s = NOW.timestamp()

    def __call__(self) -> float:
        return self.at_s


def a_watch(*sources: Plain, wall: Wall | None = None) -> GridWatch:
    clock = Clock(wall=wall or Wall())
    watch = GridWatch((), clock)
    watch.readers = {source.name: GridReader(source, clock.now) for source in sources}
    return watch


def a_site(zone: str = "", **values: Any) -> SiteRuntime:
    settings = SiteSettings(name=values.pop("name", "lab"), address="http://cluster.example", zone=zone, **values)
    return SiteRuntime(settings, settings.site(), RayJobs("http://cluster.example"))


def refreshed(watch: GridWatch, *sites: SiteRuntime, times: int = 1) -> GridWatch:
    watch.follow(list(sites))

    async def whole() -> None:
        for _ in range(times):
            await watch.refresh()

    asyncio.run(whole())
    return watch


# ---- regions in the settings ----


def settings_with(**site: Any) -> SiteSettings:
    settings = Settings(sites=(SiteSettings(name="cloud", address="http://cluster.example", **site),))
    return zones.with_zones(settings).sites[0]


def test_a_region_stands_for_its_zone_as_the_sites_source_names_it() -> None:
    assert settings_with(region="aws:eu-west-1").zone == "IE"
    assert settings_with(region="aws:eu-west-2").site().zone == "GB"
    assert settings_with(region="aws:eu-west-2", grid="watttime").zone == "UK"
    assert settings_with(region="aws:eu-west-2", grid="neso").zone == "GB"


def test_a_zone_that_is_given_wins() -> None:
    assert settings_with(region="aws:eu-north-1", zone="SE-SE3").zone == "SE-SE3"


def placed(regions: dict[str, Any], **site: Any) -> SiteSettings:
    settings = Settings.model_validate(
        {"sites": [{"name": "cloud", "address": "http://cluster.example", **site}], "regions": regions}
    )
    return zones.with_zones(settings).sites[0]


def test_a_row_of_the_settings_goes_before_public_tables_for_every_source() -> None:
    row = {"aws:EU-north-1": {"zone": "SE-SE3", "source": "the operator's contract"}}
    assert placed(row, region="aws:eu-north-1").zone == "SE-SE3"
    assert placed(row, region="AWS:eu-north-1", grid="watttime").zone == "SE-SE3"
    assert placed({"aws:eu-west-1": "GB"}, region="aws:eu-west-1").zone == "GB"
    assert placed({"onprem:hall-2": "DE"}, region="onprem:hall-2").zone == "DE"
    assert placed({"onprem:hall-2": "DE"}, region="aws:eu-west-1").zone == "IE"


def test_the_regions_are_told_with_their_origin() -> None:
    settings = Settings.model_validate({"regions": {"onprem:hall-2": {"zone": "DE", "source": "ours"}}})
    own = [{"region": "onprem:hall-2", "naming": "", "zone": "DE", "source": "ours", "origin": "settings"}]
    assert zones.regions(settings, None) == zones.regions(settings, "onprem:Hall-2") == own
    assert {row["origin"] for row in zones.regions(settings, "aws:eu-west-1")} == {"public tables"}
    with pytest.raises(BadInput) as caught:
        zones.regions(settings, "onprem:hall-1")
    assert "onprem:hall-2" in caught.value.fix
    with pytest.raises(BadInput, match="in 2 zones"):
        zones.regions(settings, "aws:eu-north-1")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("{eu-west-1: IE}", "'eu-west-1' is no cloud region: write PROVIDER:REGION"),
        ("{aws:eu-west-1: IE, AWS:eu-west-1: GB}", "placed twice"),
        ("{aws:eu-north-9: NO}", 'put the zone in quotes, as in "NO"'),
        ("{aws:eu-west-1: ''}", "regions.aws:eu-west-1.zone"),
        ("{aws:eu-west-1: 'a zone'}", "regions.aws:eu-west-1.zone"),
        ("{aws:eu-west-1: {source: me}}", "regions.aws:eu-west-1.zone"),
        ("{aws:eu-west-1: {zone: IE, sources: me}}", "regions.aws:eu-west-1.sources"),
        ("{aws:eu-west-1: [IE]}", "regions.aws:eu-west-1"),
    ],
)
def test_a_row_that_cannot_be_read_is_refused_with_its_place(tmp_path: Path, rows: str, words: str) -> None:
    (tmp_path / "lowtide.yaml").write_text(f"regions: {rows}\n")
    with pytest.raises(BadInput) as caught:
        load(tmp_path / "lowtide.yaml")
    assert words in caught.value.message


def test_an_ambiguous_region_is_refused_at_the_start() -> None:
    with pytest.raises(BadInput, match="in 2 zones"):
        settings_with(region="aws:eu-north-1")


def test_a_site_without_either_stays_carbon_blind() -> None:
    assert settings_with().zone == ""


# ---- the choice of a source ----


def test_a_source_that_has_not_said_yet_keeps_its_place_and_loses_it_when_it_does_not_know_the_zone() -> None:
    probing, plain = Probing(), Plain(known=("DE", "GB"))
    watch = a_watch(probing, plain)
    watch.follow([a_site("GB", name="one"), a_site("DE", name="two")])
    assert {state.source for state in watch.zones.values()} == {"probing"}
    refreshed(watch, *watch._sites)
    assert {zone: state.source for zone, state in watch.zones.items()} == {"GB": "plain", "DE": "probing"}
    assert watch.zones["GB"].forecast is not None


def test_a_source_that_cannot_be_asked_keeps_its_place_and_is_not_hammered() -> None:
    wall = Wall()
    probing = Probing(probe_failure=AUTH, failure=AUTH)
    watch = refreshed(a_watch(probing, Plain(), wall=wall), a_site("GB"), times=3)
    assert watch.zones["GB"].source == "probing"
    assert watch.zones["GB"].trouble == "vendor answered 401."
    assert probing.probes == 1
    wall.at_s += 3600
    asyncio.run(watch.refresh())
    assert probing.probes == 2


def test_a_source_that_refused_its_key_is_asked_for_its_zones_again_with_another_one() -> None:
    probing, keys = Probing(probe_failure=AUTH, failure=AUTH), ["old"]
    watch = a_watch(probing)
    watch.readers["probing"].keys = lambda: keys[0]
    refreshed(watch, a_site("DE"), times=2)
    keys[0], probing.probe_failure = "new", None
    asyncio.run(watch.refresh())
    assert (probing.probes, probing.zones()) == (2, ("DE",))


def test_a_source_that_a_site_names_is_kept_and_needs_no_probe() -> None:
    probing = Probing()
    watch = refreshed(a_watch(Plain(), probing), a_site("GB", grid="probing"))
    assert watch.zones["GB"].source == "probing"
    assert probing.probes == 0


# ---- what is told of a site ----


def test_the_zone_source_signal_and_basis_of_every_site_are_written_to_the_log() -> None:
    site = a_site("GB", region="aws:eu-west-2")
    watch = refreshed(a_watch(Plain()), site)
    with capture_logs() as lines:
        zones.log_zones({"lab": site, "dark": a_site(name="dark")}, watch)
    told, dark = lines
    assert told["event"] == "site_grid"
    assert {key: told[key] for key in ("site", "zone", "region", "grid_source")} == {
        "site": "lab",
        "zone": "GB",
        "region": "aws:eu-west-2",
        "grid_source": "plain",
    }
    assert (told["signal"], told["basis"], told["accounting"]) == ("average", "direct", "consumption")
    assert (dark["zone"], dark["signal"]) == (None, None)


def test_the_doctor_names_zone_region_source_and_meaning_and_keeps_them_in_trouble() -> None:
    site = a_site("GB", region="aws:eu-west-2")
    well = _zone(site, refreshed(a_watch(Plain()), site))
    assert well["detail"] == "zone GB for aws:eu-west-2 from plain (average, direct, consumption)"
    ill = _zone(site, refreshed(a_watch(Plain(failure=AUTH)), site))
    assert ill["detail"] == "zone GB for aws:eu-west-2 from plain: vendor answered 401."
    named = GridFailure(GridFailureKind.UNAVAILABLE, "plain: it broke off.")
    ill = _zone(site, refreshed(a_watch(Plain(failure=named)), site))
    assert ill["detail"] == "zone GB for aws:eu-west-2 from plain: it broke off."


# ---- what the sources answer for ----


def covered(watch: GridWatch) -> dict[str, Any]:
    return {told["source"]: told for told in asyncio.run(zones.coverage(watch, NOW))}


def test_each_source_tells_its_zones_and_what_its_figures_mean() -> None:
    watch = refreshed(a_watch(Plain(), Probing()), a_site("GB"))
    told = covered(watch)
    assert told["plain"] == {
        "source": "plain",
        "zones": [{"zone": "GB", "name": None, "forecasts": None}],
        "in_use": ["GB"],
        "asked": "GB",
        "signal": "average",
        "basis": "direct",
        "accounting": "consumption",
        "forecasts": True,
        "attribution": "theirs",
        "failures": [],
    }
    assert told["probing"]["zones"] == [{"zone": "DE", "name": "Somewhere", "forecasts": True}]
    assert (told["probing"]["in_use"], told["probing"]["asked"]) == ([], "DE")


def test_a_source_that_fails_says_why_and_what_to_do_and_spoils_no_other() -> None:
    told = covered(a_watch(Probing(probe_failure=AUTH), Plain()))
    assert told["probing"]["failures"] == [
        {"kind": "auth", "detail": "vendor answered 401.", "fix": "Check the token."}
    ]
    assert told["probing"]["forecasts"] is None
    assert told["plain"]["failures"] == []


def test_a_source_that_hangs_is_told_of_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "PATIENCE_S", 0.05)
    told = covered(a_watch(Plain(hangs=True)))
    failures = {(one["kind"], one["detail"]) for one in told["plain"]["failures"]}
    assert failures == {("unavailable", "plain did not answer within 0.05 s.")}
    assert told["plain"]["signal"] is None
