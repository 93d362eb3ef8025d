"""The control loop: observe, decide, apply; ticked by APScheduler, woken by events.

One cycle runs at a time. A cycle records its intents in one transaction per job and hands the attempts to the
driver; it never calls a cluster or a grid source itself.
"""

import asyncio
import math
import secrets
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from typing import Any

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from sqlalchemy import Connection, RowMapping

from lowtide.scheduler.control.background import Background
from lowtide.scheduler.control.clock import JUMP_S, Clock
from lowtide.scheduler.control.driver import Driver
from lowtide.scheduler.control.gridwatch import GridWatch
from lowtide.scheduler.control.observe import Observer
from lowtide.scheduler.control.plan_budget import PlanBudget
from lowtide.scheduler.control.shadowing import Shadow
from lowtide.scheduler.control.sites import SiteRuntime
from lowtide.scheduler.control.writer import Writer
from lowtide.scheduler.decide.churn import Churn, churn
from lowtide.scheduler.decide.decide import decide
from lowtide.scheduler.decide.explain import decision_to_dict
from lowtide.scheduler.decide.overdue import overdue
from lowtide.scheduler.model import power_plan
from lowtide.scheduler.model.errors import Conflict, StoreFailure
from lowtide.scheduler.model.job import JobId
from lowtide.scheduler.model.plan import Action, JobDecision, Plan, PolicyFailure, Snapshot
from lowtide.scheduler.model.quantity import duration_text
from lowtide.scheduler.model.reason import Reason, ReasonCode
from lowtide.scheduler.settings import Settings
from lowtide.scheduler.store import attempts, jobs, plans, reservations, transfers

log = structlog.get_logger()
ACTOR = "lowtide"
LATE_TICKS = 2.0
"""A tick that is this many times overdue is not coming."""
Values = dict[str, Any]
PAGE = 100
"""Rows of a plan in one transaction: some 10 ms, so that a submission never waits long behind a large plan."""
MIN_REST_S = 0.02
REST_FACTOR = 9.0
MAX_REST_S = 5.0
"""After a cycle of t seconds the next one waits 9 t: planning takes a tenth of a core, and no wake waits over 5 s."""


class Loop:
    """Owns the cycle."""

    def __init__(
        self,
        *,
        writer: Writer,
        observer: Observer,
        grid: GridWatch,
        driver: Driver,
        sites: dict[str, SiteRuntime],
        clock: Clock,
        settings: Settings,
        background: Background,
        shadow: Shadow,
        cycled: Callable[[Plan, float], None],
    ) -> None:
        """Take the parts; ``cycled`` is told of every plan and how long its cycle took."""
        self._background, self._shadow = background, shadow
        self._writer, self._observer, self._grid, self._driver = writer, observer, grid, driver
        self._sites, self._clock, self._settings, self._cycled = sites, clock, settings, cycled
        self.budget = PlanBudget(settings.plan_budget_s)
        self._wake = asyncio.Event()
        self._why = "start"
        self._last: dict[str, tuple[str, str, datetime | None]] = {}
        self.latest: dict[str, tuple[JobDecision, Plan]] = {}
        self.latest_snapshot: Snapshot | None = None
        self.latest_plan: Plan | None = None
        """The plan of that snapshot."""
        self.latest_churn = "start", Churn()
        self._failed: set[PolicyFailure] = set()
        self._jump_told_s = JUMP_S

    def wake(self, why: str) -> None:
        """Ask for a cycle soon: a submission, an end, a cancel, new grid data."""
        self._why = why
        self._wake.set()

    async def run(self) -> None:
        """Cycle until cancelled."""
        timer = AsyncIOScheduler()
        every_s = self._settings.tick_s
        # no tick is too late: by the timer's reckoning one is a day late when the clock was set on by a day
        timer.add_job(self.wake, "interval", seconds=every_s, args=["tick"], id="tick", misfire_grace_time=None)
        timer.start()
        self._wake.set()
        try:
            while True:
                await self._wait(timer)
                self._wake.clear()
                took_s = await self._guarded_cycle(self._why)
                await asyncio.sleep(min(MAX_REST_S, max(MIN_REST_S, REST_FACTOR * took_s)))
        finally:
            timer.shutdown(wait=False)

    async def _wait(self, timer: AsyncIOScheduler) -> None:
        """Until somebody wakes us or the next review is due; the timer's tick is missed at most once.

        The timer reckons in wall time: set back by a day, the machine's clock would silence it for a day. The
        waiting here is monotonic, and a tick that does not come is given and the timer set anew.
        """
        due = min((d.next_review_at for d, _ in self.latest.values()), default=None)
        late_s = LATE_TICKS * self._settings.tick_s
        review_s = late_s if due is None else max(0.05, self._clock.wall_until(due))
        try:
            # not wait_for: before Python 3.12 it loses a cancellation that comes together with what it waits for
            async with asyncio.timeout(min(late_s, review_s)):
                await self._wake.wait()
        except TimeoutError:
            self._why = "review" if review_s < late_s else "tick"
            if self._why == "tick":
                timer.reschedule_job("tick", trigger="interval", seconds=self._settings.tick_s)

    async def _guarded_cycle(self, why: str) -> float:
        """A cycle whose failure is logged and tried again at the next tick: the daemon outlives it."""
        begun = time.perf_counter()
        try:
            await self.cycle(why)
        except Exception:
            log.exception("cycle_failed", trigger=why)
        self._tell_jump()
        return time.perf_counter() - begun

    def _tell_jump(self) -> None:
        if self._clock.jumped_back_s > self._jump_told_s:
            self._jump_told_s = self._clock.jumped_back_s
            log.warning("clock_jumped_back", by_s=self._jump_told_s, ahead_s=self._clock.ahead_s)

    def _tell_failures(self, plan: Plan) -> None:
        """Log what a policy fails with once, not in every cycle; the metric counts the cycles."""
        for failure in plan.failures:
            if failure not in self._failed:
                self._failed.add(failure)
                log.error("policy_failed", policy=failure.policy, error=failure.error, detail=failure.detail)

    async def cycle(self, why: str) -> Plan:
        """Observe, decide, apply once."""
        begun = time.perf_counter()
        now = self._clock.now()
        forecasts = await self._grid.price(now, self._settings.slot_s)
        sites = list(self._sites.values())
        snapshot, rows = await self._writer.read(
            lambda c: self._observer.snapshot(c, now=now, sites=sites, forecasts=forecasts)
        )
        snapshot = await asyncio.to_thread(self.budget.within, snapshot)
        asked_s = time.perf_counter()
        plan = await asyncio.to_thread(decide, snapshot)
        self.budget.planned(snapshot, plan, time.perf_counter() - asked_s)
        self.latest_snapshot, self.latest_plan = snapshot, plan
        before = {job_id: decision for job_id, (decision, _) in self.latest.items()}
        self.latest_churn = why, churn(before, plan, snapshot.slot_s)
        self._tell_failures(plan)
        elapsed_ms = (time.perf_counter() - begun) * 1000
        await self._apply(snapshot, plan, rows, why, elapsed_ms)
        self._shadow.follow(snapshot, plan)
        if self.budget.postponed:
            self.wake("review")
        await asyncio.to_thread(self._cycled, plan, time.perf_counter() - begun)
        return plan

    async def _apply(
        self, snapshot: Snapshot, plan: Plan, rows: dict[str, RowMapping], why: str, elapsed_ms: float
    ) -> None:
        plan_id = f"p-{int(plan.made_at.timestamp()):x}-{secrets.token_hex(3)}"
        changed, reviews = await asyncio.to_thread(self._news, plan, rows)
        if changed:
            head = {"trigger": why, "jobs": len(plan.decisions), "elapsed_ms": elapsed_ms, "grid": list(plan.grid)}
            await self._writer.run(lambda c: plans.record(c, plan_id=plan_id, at=plan.made_at, **head))
        for page in _pages(changed):
            await self._writer.run(partial(plans.decided, plan_id=plan_id, at=plan.made_at, decisions=page))
        for page in _pages(reviews):
            await self._writer.run(partial(plans.review, reviews=page))
        self.latest = {d.job_id: (d, plan) for d in plan.decisions}
        self._last = {d.job_id: _gist(d) for d in plan.decisions}
        over = overdue(snapshot, self._driver.seen_at)
        for job_id in over:
            await self._end(job_id)
        acting = [d for d in plan.decisions if d.action in {Action.START, Action.SUSPEND} and d.job_id not in over]
        for decision in acting:
            await self._act(decision, plan_id)
        if acting or over:
            self._background.once(self._driver.drive_all(), "drive")

    def _news(self, plan: Plan, rows: dict[str, RowMapping]) -> tuple[list[Values], list[Values]]:
        """What of a plan is written down: decisions that changed, and rows of jobs that say something else."""
        changed = [_stored(d) for d in plan.decisions if self._is_news(d)]
        reviews = (_review(d, rows[d.job_id]) for d in plan.decisions)
        return changed, [r for r in reviews if _differs(r, rows[str(r["id"])], plan.made_at)]

    def _is_news(self, decision: JobDecision) -> bool:
        return self._last.get(decision.job_id) != _gist(decision)

    async def _act(self, decision: JobDecision, plan_id: str) -> None:
        """Record one intent; the transaction checks it against the store as it is now."""
        now = self._clock.now()
        try:
            await self._writer.run(lambda c: self._intend(c, decision, plan_id, now))
        except Conflict as error:
            # The plan was stale: the store has moved on, and the next cycle sees it.
            log.info("plan_step_dropped", job=decision.job_id, action=decision.action, why=error.message)
        except StoreFailure:
            raise  # it would refuse the others as well; the next cycle tries again
        except Exception:
            log.exception("plan_step_failed", job=decision.job_id, action=decision.action)

    async def _end(self, job_id: JobId) -> None:
        """End a job that has had all of its time, unless it has just ended by itself."""
        now = self._clock.now()

        def work(connection: Connection) -> None:
            limit = duration_text(jobs.spec_of(connection, job_id).time_limit_s or 0.0)
            reason = Reason(ReasonCode.TIME_LIMIT, {"limit": limit})
            attempts.cancel(connection, job_id, at=now, actor=ACTOR, reason=reason)

        try:
            await self._writer.run(work)
        except Conflict as error:
            log.info("limit_dropped", job=job_id, why=error.message)

    def _intend(self, connection: Connection, decision: JobDecision, plan_id: str, now: datetime) -> None:
        if decision.action == Action.SUSPEND:
            live = attempts.live_of(connection, decision.job_id)
            if live is not None:
                attempts.ask_stop(
                    connection,
                    live["id"],
                    intent="suspend",
                    at=now,
                    actor=ACTOR,
                    reason=decision.reason,
                    plan_id=plan_id,
                )
            return
        chosen = decision.chosen
        row = jobs.get(connection, decision.job_id)
        if chosen is None or row["held_by"] is not None:
            return
        reservations.check_open(connection, chosen.site, chosen.pool, now)
        attempt_id = attempts.begin(
            connection,
            decision.job_id,
            site=chosen.site,
            pool=chosen.pool,
            fence=secrets.token_hex(8),
            resources=self._observer.spec(decision.job_id).resources_at(chosen.segments[0].gpus),
            at=now,
            actor=ACTOR,
            reason=decision.reason,
            plan_id=plan_id,
            power_plan=power_plan.to_json(power_plan.power_plan(chosen.segments)),
        )
        brings = self._observer.transfer(decision.job_id, chosen.site)
        if brings is not None:
            known_g = _known(chosen.transfer_g) if _known(chosen.emissions_g) is not None else None
            transfers.keep(connection, attempt_id, brings, emissions_g=known_g, at=now)


def _gist(decision: JobDecision) -> tuple[str, str, datetime | None]:
    """What makes a decision news: what is done, why, and where the chosen placement begins."""
    chosen = decision.chosen
    start = chosen.start if chosen is not None and decision.action == Action.WAIT else None
    return decision.action, decision.reason.code, start


def _stored(decision: JobDecision) -> Values:
    return {
        "job_id": decision.job_id,
        "action": decision.action.value,
        "reason_code": decision.reason.code.value,
        "data": decision_to_dict(decision),
    }


def _review(decision: JobDecision, row: RowMapping) -> Values:
    """What the plan says about a job, in the columns of the job."""
    chosen = decision.chosen
    first = row["first_reason_code"] is None
    earliest = min((c.start for c in decision.candidates), default=None)
    return {
        "id": decision.job_id,
        "seen_state": row["state"],
        "next_review_at": decision.next_review_at,
        "reason_code": decision.reason.code.value,
        "reason_facts": decision.reason.facts,
        "planned_start_at": chosen.start if chosen else None,
        "planned_finish_at": chosen.finish if chosen else None,
        "planned_g": _known(chosen.emissions_g) if chosen else None,
        "planned_saving_g": _known(decision.saving_g),
        "first_reason_code": decision.reason.code.value if first else row["first_reason_code"],
        "first_reason_facts": decision.reason.facts if first else row["first_reason_facts"],
        "first_feasible_at": row["first_feasible_at"] or earliest,
    }


def _known(grams: float) -> float | None:
    """Grams, or None where the site has no intensity."""
    return grams if math.isfinite(grams) else None


def _differs(review: Values, row: RowMapping, now: datetime) -> bool:
    """Whether the row must be written: a review that was only put off can wait until the one on record is due."""
    known, new = row["next_review_at"], review["next_review_at"]
    if not (known is not None and now < known <= new):
        return True
    return any(row[name] != review[name] for name in plans.REVIEWED if name != "next_review_at")


def _pages(rows: list[Values]) -> Iterator[list[Values]]:
    return (rows[first : first + PAGE] for first in range(0, len(rows), PAGE))
