"""What a forecast is worth: the saving that plans capture on recorded days of Great Britain, replayed as issued.

Every hour one job arrives that may wait and may not be interrupted. All that steers it is the product's own: the ladder
with its checks, correction and calibration, the policy, and the guard; each moment knows what was known then.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path

import numpy as np

from lowtide.policies.guard import quantile
from lowtide.policies.lowest_window import LowestWindow
from lowtide.policies.problem import Policy, Problem, Request
from lowtide.policies.threshold import Threshold
from lowtide.scheduler.decide.market import market
from lowtide.scheduler.forecast.bands import LEADS_H
from lowtide.scheduler.forecast.faults import sound
from lowtide.scheduler.forecast.ladder import GridKnowledge, forecast_for
from lowtide.scheduler.forecast.learn import UNLEARNED, Learned, learn
from lowtide.scheduler.forecast.record import Record, record
from lowtide.scheduler.model.plan import GridForecast, Snapshot
from lowtide.scheduler.model.series import Series
from lowtide.scheduler.model.site import Queue
from tests.builders import a_job_view, a_queue, a_site, a_site_view
from tests.follow import World
from tests.recorded_days import SLOT, recorded_days

SLOT_S = SLOT.total_seconds()
PER_H = 2
ROWS = ((2, 12), (2, 24), (4, 12), (4, 24), (8, 24))
LEARN_EVERY = 6 * PER_H
WEEK = 7 * 24 * PER_H
POWER_W = 300.0
NEVER_SURE, USUAL, SURE = 0.5, Queue("any").confidence, 0.8
MIN_SAVINGS = 0.02
Look = Callable[[int], GridForecast]


@dataclass(frozen=True)
class Days:
    """The recorded days: actuals from ``start`` in half hours, and the issues in the order in which they came."""

    start: datetime
    actual: Series
    issues: tuple[Series, ...]

    @cached_property
    def values(self) -> np.ndarray:
        """Actual intensity by half hour, g/kWh."""
        return np.array([p.g_per_kwh for p in self.actual.points])

    @cached_property
    def first(self) -> int:
        """The first slot at whose start an issue was known."""
        return self.slot(self.issues[0].fetched_at)

    def slot(self, moment: datetime) -> int:
        """The number of a half hour."""
        return math.ceil((moment - self.start) / SLOT)

    def known(self, slot: int) -> tuple[tuple[Series, ...], Series, datetime]:
        """Issues and actuals that were there at the start of a slot."""
        now = self.start + slot * SLOT
        actual = replace(self.actual, points=self.actual.points[:slot], fetched_at=now)
        return tuple(i for i in self.issues if i.fetched_at <= now), actual, now


def days_as_issued() -> Days:
    """The days that the package ships."""
    found = recorded_days()
    return Days(found.actual.points[0].start, found.actual, found.issues)


class Replay:
    """Forecasts of every half hour, with what had been learned by then."""

    def __init__(self, days: Days) -> None:
        """Learn as the days go by."""
        self.days, self.end = days, len(days.values)
        self._learned: dict[int, Learned] = {}
        self.ours = {slot: self._ours(slot) for slot in range(days.first, self.end)}
        self.naive = {slot: self._naive(slot) for slot in range(days.first, self.end)}

    def _past(self, slot: int) -> tuple[Record, GridKnowledge, datetime]:
        issues, actual, now = self.days.known(slot)
        past = record(issues, actual, now, SLOT_S)
        return past, GridKnowledge("GB", issues[-1], actual, past=past), now

    def learned(self, slot: int) -> Learned:
        """What was last learned before a slot."""
        at = slot - (slot - self.days.first) % LEARN_EVERY
        if at not in self._learned:
            past, _, now = self._past(at)
            self._learned[at] = learn(past, past.slot_of(now))
        return self._learned[at]

    def _ours(self, slot: int) -> GridForecast:
        _, known, now = self._past(slot)
        return forecast_for(replace(known, learned=self.learned(slot)), now, SLOT_S)

    def _naive(self, slot: int) -> GridForecast:
        issues, _, now = self.days.known(slot)
        return forecast_for(GridKnowledge("GB", issues[-1], learned=UNLEARNED), now, SLOT_S)

    def flagged(self) -> Iterator[str]:
        """Each finding once, with when it was first made."""
        last: tuple[object, ...] = ()
        for slot in range(self.days.first, self.end):
            past, _, now = self._past(slot)
            issue, faults = sound(past, past.slot_of(now))
            newest = past.known_at(past.slot_of(now))[-1].series.issued_at
            key = (newest, *(fault.code for fault in faults))
            if faults and key != last:
                instead = f"issue of {issue.series.issued_at:%d %H:%M}" if issue else "own forecast"
                for fault in faults:
                    yield f"{now:%Y-%m-%d %H:%M}  {fault.code:<11} {fault.sentence}  -> {instead}"
            last = key


@dataclass(frozen=True)
class Outcome:
    """Grams per kW of all jobs of a row, in g/kWh·slots."""

    got: float
    base: float
    best: float
    latest: int

    @property
    def captured(self) -> float:
        """Share of the possible saving."""
        return (self.base - self.got) / (self.base - self.best)


def play(
    days: Days, look: Look, run: int, patience: int, policy: Policy, *, confidence: float, replan: bool = True
) -> Outcome:
    """Let a job of ``run`` slots arrive every hour, and start it when the policy says."""
    values, first = days.values, days.first + days.first % PER_H
    arrivals = list(range(first, len(values) - run - patience, PER_H))
    waiting: dict[int, float | None] = {}
    started: dict[int, int] = {}
    for slot in range(first, len(values) - run):
        if slot in arrivals:
            waiting[slot] = None
        if not waiting:
            continue
        here = market(_empty(days.start + slot * SLOT, look(slot)))
        asked = list(waiting)
        requests = tuple(_request(a, slot, run, patience, waiting[a], confidence) for a in asked)
        for arrived, choice in zip(asked, policy.plan(Problem(requests, here.prices, here.timeline)), strict=True):
            start_s = choice.chosen.start_s if choice.chosen else 0.0
            if start_s <= 0 or not replan:
                started[arrived] = slot + round(start_s / SLOT_S)
                del waiting[arrived]
            else:
                waiting[arrived] = slot * SLOT_S + start_s
    sums = np.concatenate(([0.0], np.cumsum(values)))
    cost = sums[run:] - sums[:-run]
    got = sum(cost[started[a]] for a in arrivals)
    best = sum(cost[a : a + patience + 1].min() for a in arrivals)
    return Outcome(float(got), float(cost[arrivals].sum()), float(best), max(started[a] - a for a in arrivals))


def _request(arrived: int, slot: int, run: int, patience: int, pinned: float | None, confidence: float) -> Request:
    latest_s = (arrived + patience - slot) * SLOT_S
    return Request(
        job_id=f"{arrived:04d}",
        gpus=1,
        cpus=1,
        sites=(0,),
        work_s=run * SLOT_S,
        resume_s=0.0,
        switch_s=0.0,
        power_w=POWER_W,
        release_s=0.0,
        latest_start_s=latest_s,
        must_end_s=latest_s + run * SLOT_S,
        suspensions_left=0,
        min_run_s=0.0,
        min_savings=MIN_SAVINGS if confidence > NEVER_SURE else 0.0,
        z=quantile(confidence),
        pinned_s=None if pinned is None else pinned - slot * SLOT_S,
    )


def _empty(now: datetime, forecast: GridForecast) -> Snapshot:
    queue = a_queue()
    return Snapshot(now, (), (a_site_view(a_site(gpus=999, cpus=999)),), {queue.name: queue}, {"GB": forecast}, SLOT_S)


def interrupted(days: Days, look: Look, run_h: int, patience_h: int, confidence: float) -> tuple[float, float]:
    """Grams that interruptible jobs emit under ``lowest_slots`` by whole decisions, and run at once."""
    queue = a_queue(policy="lowest_slots", confidence=confidence, switch_cost_s=600.0, deadline_margin=0.0)
    arrivals = []
    for slot in range(days.first + days.first % PER_H, len(days.values) - PER_H * (run_h + patience_h) - 4, 3 * PER_H):
        at = days.start + slot * SLOT
        view = a_job_view(f"{slot:04d}", now=at, hours=run_h, patience_h=patience_h, suspendable=True)
        arrivals.append(replace(view, submitted_at=at))

    def told(now: datetime) -> dict[str, GridForecast]:
        slot = math.floor((now - days.start) / SLOT)
        return {"GB": look(slot)}

    world = World(arrivals[0].submitted_at, {}, [a_site(gpus=999, cpus=999)], {queue.name: queue}, told, slot_s=SLOT_S)
    world.arrivals = list(arrivals)
    courses = world.run()
    got = sum(_grams(days, a, b) for view in arrivals for _, a, b in courses[view.job_id].stretches)
    return got, sum(_grams(days, v.submitted_at, v.submitted_at + timedelta(hours=run_h)) for v in arrivals)


def _grams(days: Days, start: datetime, end: datetime) -> float:
    mean = days.actual.mean_g_per_kwh(start, end)
    assert mean is not None
    return mean * (end - start).total_seconds() / 3600 * POWER_W / 1000


def coverage(replay: Replay) -> list[tuple[float, float, int]]:
    """(lead, share inside the 80 % band, figures) by lead group, every moment after a week of pairs."""
    hits: dict[float, list[bool]] = {lead: [] for lead in LEADS_H}
    for slot in range(replay.days.first + WEEK, replay.end):
        found = replay.ours[slot]
        for i, (low, high) in enumerate(zip(found.p10, found.p90, strict=True)):
            lead = next((h for h in LEADS_H if (i + 1) / PER_H <= h), None)
            if lead is not None and slot + i < replay.end:
                hits[lead].append(low <= replay.days.values[slot + i] <= high)
    return [(lead, sum(found) / len(found), len(found)) for lead, found in hits.items()]


def bench_forecast(_folder: Path, _row: object) -> None:
    """All tables."""
    days = days_as_issued()
    print(f"Forecasts as issued: Great Britain, {len(days.values) // 48} days from {days.start:%Y-%m-%d}")
    replay = Replay(days)
    ours, naive = replay.ours.__getitem__, replay.naive.__getitem__
    print("  captured saving; one job an hour, not interruptible, re-planned every half hour")
    surety = f"at {USUAL:.0%}   at {SURE:.0%}"
    print(f"  run  patience  possible   naive, once  naive  ours  guarded {surety}   / run at once at {surety}")
    for run_h, patience_h in ROWS:
        run, patience = run_h * PER_H, patience_h * PER_H
        rule = LowestWindow()
        once = play(days, naive, run, patience, rule, confidence=NEVER_SURE, replan=False)
        again = play(days, naive, run, patience, rule, confidence=NEVER_SURE)
        mine = play(days, ours, run, patience, rule, confidence=NEVER_SURE)
        usual = play(days, ours, run, patience, rule, confidence=USUAL)
        sure = play(days, ours, run, patience, rule, confidence=SURE)
        assert max(each.latest for each in (once, again, mine, usual, sure)) <= patience
        shares = f"{once.captured:12.3f} {again.captured:6.3f} {mine.captured:5.3f}"
        guarded = (
            f"{usual.captured:13.3f} {sure.captured:8.3f} {usual.got / usual.base:18.4f} {sure.got / sure.base:6.4f}"
        )
        possible = 1 - once.best / once.base
        print(f"  {run_h:2d} h  {patience_h:5d} h  {possible:8.1%}  {shares} {guarded}")
    _guarded(days, ours)
    print("  share of figures inside the 80 % band, after a week of pairs (goal 75 to 85 %)")
    print("  " + "  ".join(f"<= {lead:g} h {share:.1%} of {n}" for lead, share, n in coverage(replay)))
    print("  issues that were flagged, and what served instead")
    for line in replay.flagged():
        print(f"  {line}")


def _guarded(days: Days, ours: Look) -> None:
    print(f"  emissions with the guard at {SURE:.0%}, running at once = 1 (goal: none above 1)")
    for run_h, patience_h in ROWS:
        run, patience = run_h * PER_H, patience_h * PER_H
        found = play(days, ours, run, patience, Threshold(), confidence=SURE)
        got, base = interrupted(days, ours, run_h, patience_h, SURE)
        ratios = f"threshold {found.got / found.base:.4f}   lowest_slots {got / base:.4f}"
        print(f"  {run_h:2d} h  {patience_h:5d} h   {ratios}")
