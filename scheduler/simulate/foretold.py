"""What is told of the grid during a play: perfect foresight, or forecasts as they were issued."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from lowtide.scheduler.forecast.ladder import GridKnowledge, forecast_for
from lowtide.scheduler.forecast.learn import UNLEARNED, Learned, learn
from lowtide.scheduler.forecast.record import REACH, Record, record
from lowtide.scheduler.model.plan import GridForecast
from lowtide.scheduler.model.series import Series

Told = dict[str, GridForecast]
FORESEEN = timedelta(hours=96)
DAY = timedelta(days=1)
KEPT = REACH + DAY
LEARN_EVERY = timedelta(hours=6)
"""The daemon learns every hour, for about a second of a core; what pairs teach changes little within six."""


class Foreseen:
    """Perfect foresight: the measured intensity of the next days, told anew each day."""

    def __init__(self, intensity: Mapping[str, Series], start: datetime) -> None:
        """Take measured intensity by zone; days are counted from ``start``."""
        self.zones, self._intensity, self._start = tuple(intensity), intensity, start
        self._known: tuple[datetime, Told] | None = None

    def __call__(self, now: datetime) -> Told:
        """The next days by zone."""
        day = self._start + (now - self._start) // DAY * DAY
        if self._known is None or self._known[0] != day:
            self._known = (day, {zone: _perfect(series, day) for zone, series in self._intensity.items()})
        return self._known[1]


def _perfect(series: Series, begin: datetime) -> GridForecast:
    ahead = series.clip(begin, begin + FORESEEN + DAY).points
    values = tuple(point.g_per_kwh for point in ahead)
    meaning: dict[str, object] = {"signal": series.signal.value, "basis": series.basis.value}
    rung, no_error = "fresh_forecast", (0.0,) * len(values)
    start = ahead[0].start
    return GridForecast(series.zone_returned, rung, True, 0.0, start, series.step_s, values, no_error, meaning)


class Issued:
    """Forecasts as issued, each known from when it was issued, each measured figure from when its interval ended.

    They pass through the same layer as the daemon's, which learns from issues and figures as they come; with
    ``is_raw`` the newest issue is believed as it is. What was told once is kept, for other policies of the same run.
    """

    def __init__(
        self, intensity: Mapping[str, Series], issues: Mapping[str, Sequence[Series]], slot_s: float, *, is_raw: bool
    ) -> None:
        """Take measured intensity and issues by zone; prices come in slots of ``slot_s`` seconds."""
        self.is_raw = is_raw
        self._zones = {z: _Zone(series, issues.get(z, ()), slot_s, is_raw=is_raw) for z, series in intensity.items()}

    @property
    def step_s(self) -> float:
        """How often something new is told, in seconds."""
        return min(zone.actual.step_s for zone in self._zones.values())

    def __call__(self, now: datetime) -> Told:
        """What is known by then, by zone."""
        return {name: zone.told(now) for name, zone in self._zones.items()}


class _Zone:
    """One zone's figures and issues, and what was told of it."""

    def __init__(self, actual: Series, issues: Sequence[Series], slot_s: float, *, is_raw: bool) -> None:
        self.actual = actual
        same = (replace(issue, source=actual.source) for issue in issues)  # the file says that they belong together
        self._issues = tuple(sorted(same, key=lambda issue: issue.fetched_at))
        self._slot_s, self._is_raw = slot_s, is_raw
        self._ends = [point.end for point in actual.points]
        self._news = sorted({*self._ends, *(issue.fetched_at for issue in self._issues)})
        self._told: dict[datetime, GridForecast] = {}
        self._learned: dict[datetime, Learned] = {}

    def told(self, now: datetime) -> GridForecast:
        """As of the last news."""
        at = bisect_right(self._news, now)
        since = self._news[at - 1] if at else now
        if since not in self._told:
            self._told[since] = forecast_for(self._known(since), since, self._slot_s)
        return self._told[since]

    def _known(self, now: datetime) -> GridKnowledge:
        zone, newest = self.actual.zone_returned, self._newest(now)
        if self._is_raw:
            return GridKnowledge(zone, newest)
        past = self._past(now) if newest else None
        return GridKnowledge(zone, newest, self._history(now), past=past, learned=self._learned_by(now))

    def _newest(self, now: datetime) -> Series | None:
        """The issue in use; its maker was asked just now, and had no newer one."""
        known = [issue for issue in self._issues if issue.fetched_at <= now]
        return replace(known[-1], fetched_at=now) if known else None

    def _history(self, now: datetime) -> Series:
        count = bisect_right(self._ends, now)
        recent = max(0, count - round(KEPT.total_seconds() / self.actual.step_s))
        return replace(self.actual, points=self.actual.points[recent:count], fetched_at=now)

    def _past(self, now: datetime) -> Record:
        issues = [issue for issue in self._issues if issue.fetched_at <= now]
        return record(issues, self._history(now), now, issues[-1].step_s if issues else self.actual.step_s)

    def _learned_by(self, now: datetime) -> Learned:
        """What was last learned: at fixed times, so that it does not depend on who asked when."""
        at = self._news[0] + (now - self._news[0]) // LEARN_EVERY * LEARN_EVERY
        if at not in self._learned:
            past = self._past(at)
            self._learned[at] = learn(past, past.slot_of(at)) if len(past.actual) else UNLEARNED
        return self._learned[at]
