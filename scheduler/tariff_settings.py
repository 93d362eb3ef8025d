"""What the settings say of a site's electricity contract: rates by time of day and week."""

import re
from collections.abc import Sequence
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from lowtide.scheduler.model.tariff import DAY_MIN, WEEK_MIN, Rate, Tariff

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
CLOCK = re.compile(r"([01]?\d|2[0-4]):([0-5]\d)", re.ASCII)


class RateSettings(BaseModel):
    """What a kWh costs from one time of day to another."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    begin: str = Field(alias="from", description="time of day, HH:MM")
    end: str = Field(alias="to", description="the same; one that is not later is on the next day")
    days: tuple[Day, ...] = Field((), description="on which it begins: mon, tue, wed, thu, fri, sat, sun; empty is all")
    per_kwh: Annotated[float, Field(ge=0, le=1000)] = Field(description="in the currency, all that a kWh costs")

    @field_validator("begin", "end", mode="before")
    @classmethod
    def _clock(cls, value: object) -> object:
        """A time; YAML reads 22:00 without quotes as the number 1320, which is its minutes."""
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= DAY_MIN:
            return f"{value // 60:02d}:{value % 60:02d}"
        if not isinstance(value, str) or not CLOCK.fullmatch(value) or _minutes(value) > DAY_MIN:
            message = f"{value!r} is no time of day; write it as HH:MM, from 00:00 to 24:00"
            raise ValueError(message)
        return value

    def rate(self) -> Rate:
        """The rate as the core sees it."""
        days = tuple(sorted({DAYS.index(day) for day in self.days or DAYS}))
        return Rate(_minutes(self.begin) % DAY_MIN, _minutes(self.end), days, self.per_kwh)


class TariffSettings(BaseModel):
    """A contract; its rates cover the whole week, each minute once."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = Field(description="ISO 4217, such as EUR")
    timezone: str = Field(description="of the contract's clock, such as Europe/Berlin")
    rates: Annotated[tuple[RateSettings, ...], Field(min_length=1)] = Field(
        description="they cover the week, each minute once"
    )

    @field_validator("timezone")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (OSError, ValueError, KeyError) as error:
            message = f"{value!r} is no time zone; write one of the IANA database, such as Europe/Berlin"
            raise ValueError(message) from error
        return value

    @model_validator(mode="after")
    def _check(self) -> "TariffSettings":
        check_week([rate.rate() for rate in self.rates])
        return self

    def tariff(self) -> Tariff:
        """The tariff as the core sees it."""
        return Tariff(self.currency, self.timezone, tuple(rate.rate() for rate in self.rates))


def _minutes(clock: str) -> int:
    hours, _, minutes = clock.partition(":")
    return int(hours) * 60 + int(minutes)


def check_week(rates: Sequence[Rate]) -> None:
    """Raise ValueError where a minute of the week has no rate, or several."""
    counts = np.zeros(WEEK_MIN, dtype=np.int64)
    for rate in rates:
        for minutes in rate.minutes():
            counts[minutes] += 1
    for is_wrong, told in ((counts == 0, "is no rate; add one"), (counts > 1, "are several rates; keep one")):
        if is_wrong.any():
            begin = int(is_wrong.argmax())
            until = begin + int((~np.append(is_wrong[begin:], False)).argmax())
            message = f"from {_at(begin)} to {_at(until)} there {told}, so that each minute of the week has one"
            raise ValueError(message)


def _at(minute: int) -> str:
    day, of_day = divmod(minute, DAY_MIN)
    return f"{DAYS[day % 7]} {of_day // 60:02d}:{of_day % 60:02d}"
