"""What a site pays for its electricity: by the time of day and week on a contract's clock, or as a market had it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

S_PER_MIN = 60
DAY_MIN = 24 * 60
WEEK_MIN = 7 * DAY_MIN
FIRST_MONDAY_MIN = 4 * DAY_MIN
"""From the Unix epoch, a Thursday, to the first Monday after it."""

DIGITS = 9
"""Slots of one rate have one price, so that of equal ones the earlier is taken; sums alone would differ by rounding."""


@dataclass(frozen=True, slots=True)
class Rate:
    """What a kWh costs from one time of day to another.

    ``begin_min`` and ``end_min`` are minutes after midnight; an end that does not lie after the begin is on the next
    day. ``days`` are those on which it begins, Monday being 0.
    """

    begin_min: int
    end_min: int
    days: tuple[int, ...]
    per_kwh: float

    def minutes(self) -> Iterator[slice]:
        """The stretches of the week, in minutes after Monday midnight; one over the week's end comes in two."""
        length = (self.end_min - self.begin_min - 1) % DAY_MIN + 1
        for day in self.days:
            begin = day * DAY_MIN + self.begin_min
            yield slice(begin, min(begin + length, WEEK_MIN))
            if begin + length > WEEK_MIN:
                yield slice(0, begin + length - WEEK_MIN)


@dataclass(frozen=True, slots=True)
class Tariff:
    """A contract: rates in a currency (ISO 4217), on the clock of a time zone (IANA); every minute has one rate."""

    currency: str
    timezone: str
    rates: tuple[Rate, ...]


@dataclass(frozen=True, slots=True)
class SpotPrices:
    """What a kWh costs step by step from ``start`` on; before the first step and after the last, these go on."""

    currency: str
    start: datetime
    step_s: float
    per_kwh: tuple[float, ...]

    def covers(self, start: datetime, end: datetime) -> bool:
        """Whether [start, end) has prices of its own."""
        return self.start <= start and end <= self.end

    @property
    def end(self) -> datetime:
        """Where the last step ends."""
        return self.start + timedelta(seconds=self.step_s * len(self.per_kwh))


AnyTariff = Tariff | SpotPrices


@lru_cache(maxsize=256)
def _week(tariff: Tariff) -> FloatArray:
    """[minute of the week], the price."""
    week = np.full(WEEK_MIN, math.nan)
    for rate in tariff.rates:
        for minutes in rate.minutes():
            week[minutes] = rate.per_kwh
    return week


def means_per_kwh(tariff: AnyTariff, start: datetime, edges_s: FloatArray) -> FloatArray:
    """The mean price between each two edges, in currency per kWh.

    Args:
        tariff: the contract, or the market's prices.
        start: aware.
        edges_s: at least two, ascending, in seconds after ``start``; not negative.

    """
    spent = _spot(tariff, start, edges_s) if isinstance(tariff, SpotPrices) else _spent(tariff, start, edges_s)
    means: FloatArray = np.round(np.diff(spent) / np.diff(edges_s), DIGITS)
    return means


def _spot(prices: SpotPrices, start: datetime, edges_s: FloatArray) -> FloatArray:
    """The integral of the price at each edge."""
    at_s = edges_s + (start - prices.start).total_seconds()
    steps_s, integral, first, last = _integral(prices)
    before, after = np.minimum(at_s, 0.0) * first, np.maximum(at_s - steps_s[-1], 0.0) * last
    whole: FloatArray = np.interp(at_s, steps_s, integral) + before + after
    return whole


@lru_cache(maxsize=64)
def _integral(prices: SpotPrices) -> tuple[FloatArray, FloatArray, float, float]:
    steps_s: FloatArray = np.arange(len(prices.per_kwh) + 1, dtype=np.float64) * prices.step_s
    paid = np.cumsum(np.array(prices.per_kwh, dtype=np.float64)) * prices.step_s
    integral: FloatArray = np.concatenate((np.zeros(1), paid))
    return steps_s, integral, prices.per_kwh[0], prices.per_kwh[-1]


def _spent(tariff: Tariff, start: datetime, edges_s: FloatArray) -> FloatArray:
    """As for a market."""
    begun_s = start.timestamp()
    first = int(begun_s // S_PER_MIN)
    last = max(first + 1, math.ceil((begun_s + float(edges_s[-1])) / S_PER_MIN))
    local = np.arange(first, last) + _offsets_min(tariff.timezone, first, last) - FIRST_MONDAY_MIN
    integral = np.concatenate(([0.0], np.cumsum(_week(tariff)[local % WEEK_MIN]))) * S_PER_MIN
    passed_s = edges_s + (begun_s - first * S_PER_MIN)
    spent: FloatArray = np.interp(passed_s, np.arange(last - first + 1) * S_PER_MIN, integral)
    return spent


def mean_per_kwh(tariff: AnyTariff, start: datetime, end: datetime) -> float:
    """The mean price over [start, end), in currency per kWh."""
    lasts_s = max((end - start).total_seconds(), 1e-3)  # a row of the ledger may be shorter than the clock can tell
    return float(means_per_kwh(tariff, start, np.array([0.0, lasts_s]))[0])


def _offsets_min(timezone: str, first: int, last: int) -> NDArray[np.int64]:
    """[minute], how far the zone's clock is ahead of UTC; minutes are counted from the Unix epoch."""
    offsets = np.full(last - first, _offset_min(timezone, first), dtype=np.int64)
    for week in range(first, last, WEEK_MIN):  # of two changes within a week none is seen; no zone has them
        for minute, offset in _changes(timezone, week, min(week + WEEK_MIN, last)):
            offsets[minute - first :] = offset
    return offsets


def _changes(timezone: str, low: int, high: int) -> Iterator[tuple[int, int]]:
    """The minutes in (low, high] from which on the clock is another, found by halving."""
    if _offset_min(timezone, low) == _offset_min(timezone, high):
        return
    if high - low == 1:
        yield high, _offset_min(timezone, high)
        return
    middle = (low + high) // 2
    yield from _changes(timezone, low, middle)
    yield from _changes(timezone, middle, high)


def _offset_min(timezone: str, minute: int) -> int:
    ahead = datetime.fromtimestamp(minute * S_PER_MIN, UTC).astimezone(ZoneInfo(timezone)).utcoffset()
    return 0 if ahead is None else round(ahead.total_seconds() / S_PER_MIN)
