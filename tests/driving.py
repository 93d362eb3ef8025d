"""A driver on a real store and a simulated cluster, with a clock that the test moves."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, RowMapping, insert

from lowtide.connectors.cluster.fake import Script, SimulatedCluster
from lowtide.scheduler.control.clock import Clock
from lowtide.scheduler.control.driver import Driver
from lowtide.scheduler.control.reconcile import reconcile
from lowtide.scheduler.control.sites import SiteRuntime
from lowtide.scheduler.control.writer import Writer
from lowtide.scheduler.model.cluster import ClusterJobStatus
from lowtide.scheduler.model.job import JobId, JobSpec, Resources, spec_to_json
from lowtide.scheduler.model.lifecycle import JobState
from lowtide.scheduler.model.reason import Reason, ReasonCode
from lowtide.scheduler.settings import Settings, SiteSettings
from lowtide.scheduler.store import attempts, jobs
from lowtide.scheduler.store import tables as t
from lowtide.scheduler.store.database import Database

LEASE_S, FENCE_S = 60.0, 120.0
NOW_S = 1_772_366_400.0
"""2026-03-01 12:00 UTC."""


@dataclass
class Bench:
    """One site called lab, one driver; ``step`` is one step for every live attempt."""

    data_dir: Path
    script: Callable[[], Script] = lambda: Script(ends_in_s=None)
    wall_s: float = NOW_S
    elapsed_s: float = 0.0
    kept_logs: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        site = SiteSettings(name="lab", address="http://lab:8265", gpus=2, cpus=4, lease_s=LEASE_S, fence_s=FENCE_S)
        self.settings = Settings(data_dir=self.data_dir, sites=(site,))
        self.clock = Clock(wall=lambda: self.wall_s, monotonic=lambda: self.elapsed_s)
        self.database = Database(self.data_dir / "lowtide.db")
        self.database.migrate()
        with self.database.write() as connection:
            row = {"name": "lab", "zone": "GB", "gpus": 2, "cpus": 4, "jurisdiction": "GB"}
            connection.execute(insert(t.site), [row])
        self.writer = Writer(self.database)
        self.cluster = SimulatedCluster(lambda: self.elapsed_s, gpus=2, cpus=4, script=lambda _: self.script())
        self.restart()

    def restart(self, *, without_site: bool = False) -> None:
        """A new daemon on the same store: nothing that was only remembered is left."""
        site = self.settings.sites[0]
        self.site = SiteRuntime(site, site.site(), self.cluster, elapsed=lambda: self.elapsed_s)
        self.driver = Driver(
            self.writer,
            {} if without_site else {"lab": self.site},
            self.clock,
            self.settings,
            changed=lambda: None,
            keep_log=self._keep_log,
            account=lambda _connection, _row, _report: None,
        )

    async def _keep_log(self, attempt_id: str, text: str) -> None:
        self.kept_logs[attempt_id] = text

    def pass_s(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        self.wall_s += seconds
        self.elapsed_s += seconds

    # ---- orders, as the API and the loop write them ----

    def put(self, job_id: str = "mri", *, package: str | None = None, **spec: Any) -> None:
        made = JobSpec(name="mri", argv=("true",), **{"resources": Resources(gpus=1, cpus=1), **spec})
        now = self.clock.now()
        new = jobs.NewJob(
            job_id=JobId(job_id),
            spec=made,
            spec_json=spec_to_json(made),
            spec_digest="d",
            urgency="normal",
            actor="ann",
            submitted_at=now,
            latest_finish_at=now + timedelta(days=1),
            package=package,
        )
        self.write(lambda c: jobs.submit(c, [new]))

    def begin(self, job_id: str = "mri", *, gpus: int = 1, power_plan: list[list[object]] | None = None) -> str:
        made: str = self.write(
            lambda c: attempts.begin(
                c,
                JobId(job_id),
                site="lab",
                fence="f",
                resources=Resources(gpus=gpus, cpus=gpus),
                at=self.clock.now(),
                actor="lowtide",
                reason=Reason(ReasonCode.POLICY_ASAP),
                power_plan=power_plan,
            )
        )
        return made

    def stop(self, intent: str, job_id: str = "mri") -> None:
        reason = Reason(ReasonCode.CANCELLED_BY_USER, {"actor": "ann"})
        common: dict[str, Any] = {"at": self.clock.now(), "actor": "ann", "reason": reason}

        def work(connection: Connection) -> None:
            if intent == "cancel":
                jobs.move(connection, job_id, JobState.CANCELLED, **common)
            live = attempts.live_of(connection, job_id)
            assert live is not None
            attempts.ask_stop(connection, live["id"], intent=intent, **common)

        self.write(work)

    # ---- running and looking ----

    def write(self, work: Callable[[Connection], Any]) -> Any:
        with self.database.write() as connection:
            return work(connection)

    def step(self, times: int = 1) -> None:
        async def story() -> None:
            await self.site.look()
            for _ in range(times):
                await self.driver.drive_all()
                # it gives up waiting after a second; on a busy machine the steps need longer
                await asyncio.gather(*self.driver._steps)

        self.wait(story())

    def reconcile(self) -> None:
        self.wait(reconcile(self.site, self.writer, self.clock))

    @staticmethod
    def wait(work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(work)

    def on_cluster(self, attempt_id: str) -> ClusterJobStatus:
        found: ClusterJobStatus = self.wait(self.cluster.get(attempt_id)).status
        return found

    def attempt(self, attempt_id: str = "mri-a1") -> RowMapping:
        with self.database.read() as connection:
            return attempts.get(connection, attempt_id)

    def job(self, job_id: str = "mri") -> RowMapping:
        with self.database.read() as connection:
            return jobs.get(connection, job_id)

    def path(self, attempt_id: str = "mri-a1") -> list[str]:
        """The states that the attempt went through, as its events tell."""
        with self.database.read() as connection:
            events = jobs.events_of(connection, self.attempt(attempt_id)["job_id"])
        return [e["target"] for e in events if e["attempt_id"] == attempt_id and e["subject"] == "attempt"]

    def close(self) -> None:
        self.writer.close()
        self.database.close()
