"""Tariffs: every minute of the week has one price, on the clock of the contract, also when that is put forward."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lowtide.scheduler.model.site import site_from_json
from lowtide.scheduler.model.tariff import FloatArray, SpotPrices, Tariff, mean_per_kwh, means_per_kwh
from lowtide.scheduler.settings import SiteSettings
from lowtide.scheduler.tariff_settings import TariffSettings
from tests.builders import HOUR_S

NIGHT = {"from": "22:00", "to": "06:00", "per_kwh": 0.2}
WORKDAY = {"from": "06:00", "to": "22:00", "days": ["mon", "tue", "wed", "thu", "fri"], "per_kwh": 0.4}
WEEKEND = {"from": "06:00", "to": "22:00", "days": ["sat", "sun"], "per_kwh": 0.3}
ZONES = ("Europe/Berlin", "Europe/London", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC")


def settings(*rates: dict[str, Any], **changes: Any) -> TariffSettings:
    given = {"currency": "EUR", "timezone": "Europe/Berlin", "rates": list(rates or (NIGHT, WORKDAY, WEEKEND))}
    return TariffSettings.model_validate(given | changes)


def a_tariff(timezone: str = "Europe/Berlin") -> Tariff:
    return settings(timezone=timezone).tariff()


def by_the_clock(moment: datetime, timezone: str) -> float:
    """The same price by the plainest rule, for a moment."""
    local = moment.astimezone(ZoneInfo(timezone))
    if not 6 <= local.hour < 22:
        return 0.2
    return 0.3 if local.weekday() >= 5 else 0.4


@given(
    st.datetimes(datetime(2024, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001 - made aware
    st.sampled_from(ZONES),
)
def test_each_slot_costs_the_mean_of_its_minutes_on_the_contracts_clock(start: datetime, timezone: str) -> None:
    start = start.replace(second=0, microsecond=0)
    edges_s: FloatArray = np.array([0.0, *(420.0 + 900.0 * i for i in range(200))], dtype=np.float64)
    found = means_per_kwh(a_tariff(timezone), start, edges_s)
    for begin_s, end_s, mean in zip(edges_s[:-1], edges_s[1:], found, strict=True):
        minutes = [start + timedelta(seconds=s) for s in np.arange(begin_s, end_s, 60.0)]
        assert mean == pytest.approx(np.mean([by_the_clock(at, timezone) for at in minutes]))


@pytest.mark.parametrize(
    ("day", "dear_h"), [(datetime(2026, 3, 29, tzinfo=UTC), 4), (datetime(2026, 10, 25, tzinfo=UTC), 5)]
)
def test_on_the_days_when_the_clock_is_changed_the_dear_hours_begin_by_the_clock(day: datetime, dear_h: int) -> None:
    """Six in the morning in Berlin is five in UTC in winter, and four in summer; the change comes before."""
    found = means_per_kwh(a_tariff(), day, np.linspace(0.0, 24 * HOUR_S, 25))
    assert found[dear_h - 1] == pytest.approx(0.2)
    assert found[dear_h] == pytest.approx(0.3)


def test_a_slot_across_a_change_of_price_costs_the_mean() -> None:
    tuesday = datetime(2026, 3, 10, 4, 45, tzinfo=UTC)
    assert mean_per_kwh(a_tariff(), tuesday, tuesday + timedelta(hours=1)) == pytest.approx(0.25 * 0.2 + 0.75 * 0.4)


def test_a_time_that_yaml_took_for_a_number_is_that_time() -> None:
    assert settings({**NIGHT, "from": 1320}, WORKDAY, WEEKEND) == settings()
    assert settings({"from": "00:00", "to": "24:00", "per_kwh": 0.3}).tariff().rates[0].end_min == 1440


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ([NIGHT, WORKDAY], "from sat 06:00 to sat 22:00 there is no rate; add one"),
        (
            [NIGHT, WORKDAY, WEEKEND, {**WEEKEND, "days": ["sun"]}],
            "from sun 06:00 to sun 22:00 there are several rates",
        ),
        ([{**NIGHT, "from": "25:00"}], "'25:00' is no time of day; write it as HH:MM"),
        ([{**NIGHT, "to": "24:30"}], "'24:30' is no time of day"),
        ([{**NIGHT, "days": ["holiday"]}], "'mon', 'tue'"),
        ([{**NIGHT, "per_kwh": -0.1}], "greater than or equal to 0"),
    ],
)
def test_what_is_no_whole_week_is_refused_with_its_place(wrong: list[dict[str, Any]], told: str) -> None:
    with pytest.raises(ValidationError, match=told.replace(";", ".")):
        settings(*wrong)


@pytest.mark.parametrize("timezone", ["Mars/Olympus", "", "../etc"])
def test_a_time_zone_that_nobody_knows_is_refused(timezone: str) -> None:
    with pytest.raises(ValidationError, match="is no time zone; write one of the IANA database"):
        settings(timezone=timezone)


def test_a_site_keeps_its_tariff_on_a_journey_as_json() -> None:
    given = {"name": "berlin", "tariff": settings().model_dump(by_alias=True)}
    site = SiteSettings.model_validate(given).site()
    assert site.tariff == a_tariff()
    assert site_from_json(asdict(site)) == site


SPOT = SpotPrices("EUR", datetime(2026, 3, 2, tzinfo=UTC), HOUR_S, (0.1, -0.2, 0.4))


@pytest.mark.parametrize(
    ("begin_h", "end_h", "mean"),
    [
        (0, 1, 0.1),
        (1, 2, -0.2),
        (0.5, 1.5, -0.05),
        (0, 3, 0.1),
        (-2, -1, 0.1),
        (-1, 1, 0.1),
        (2.5, 9, 0.4),
        (4, 5, 0.4),
    ],
)
def test_a_market_has_a_price_for_each_step_and_its_first_and_last_go_on(
    begin_h: float, end_h: float, mean: float
) -> None:
    begin, end = (SPOT.start + timedelta(hours=hours) for hours in (begin_h, end_h))
    assert mean_per_kwh(SPOT, begin, end) == pytest.approx(mean)


def test_a_market_with_the_prices_of_a_tariff_costs_the_same() -> None:
    tariff = a_tariff()
    edges_s = np.arange(0, 72.5, 0.25) * HOUR_S
    hourly = tuple(by_the_clock(SPOT.start + timedelta(hours=hour), tariff.timezone) for hour in range(73))
    spot = SpotPrices("EUR", SPOT.start, HOUR_S, hourly)
    assert means_per_kwh(spot, SPOT.start, edges_s) == pytest.approx(means_per_kwh(tariff, SPOT.start, edges_s))
    assert (spot.covers(spot.start, spot.end), spot.covers(spot.start, spot.end + timedelta(seconds=1))) == (
        True,
        False,
    )
