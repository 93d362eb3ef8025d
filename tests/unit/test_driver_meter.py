"""The driver reads the log of a running attempt now and then, so that its energy is on record while it runs."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from lowtide.connectors.jobside.record import PREFIX
from lowtide.scheduler.control.accounting import Accountant
from lowtide.scheduler.control.clock import Clock
from lowtide.scheduler.control.driver import Driver
from lowtide.scheduler.control.sites import SiteRuntime
from lowtide.scheduler.control.writer import Writer
from lowtide.scheduler.model.cluster import ClusterJob, ClusterJobStatus
from lowtide.scheduler.settings import Settings, SiteSettings
from lowtide.scheduler.store import attempts
from tests.books import NOON, SITES, Books


def a_line(minute: float) -> str:
    values = {"kind": "sample", "wall_s": NOON.timestamp() + 60 * minute, "energy_j": {"cpu": 6000.0 * minute}}
    return f"{PREFIX}f:: {json.dumps({**values, 'sources': {'cpu': ['rapl', 'measured']}})}\n"


class StubCluster:
    """Says of every submission that it runs, and gives the log that the test wrote."""

    def __init__(self) -> None:
        self.log, self.reads = "", 0

    async def get(self, submission_id: str) -> ClusterJob:
        return ClusterJob(submission_id, ClusterJobStatus.RUNNING)

    async def log_tail(self, submission_id: str, **_bounds: int) -> str:  # noqa: ARG002 - the port's name
        self.reads += 1
        return self.log


def test_a_running_attempt_is_metered_once_in_two_samples(tmp_path: Path) -> None:
    books, cluster = Books(tmp_path), StubCluster()
    attempt = books.starts("mri-1")
    wall_s = (NOON + timedelta(hours=1)).timestamp()
    clock = Clock(wall=lambda: wall_s)
    accountant = Accountant(now=clock.now, from_wall=clock.from_wall, scale=1.0, power_w=lambda _c, _j: 0.0)
    cluster.log = f"{a_line(20)}chatter\n{a_line(45)}"

    async def story() -> None:
        writer: Any = Writer(books.database)
        settings = Settings(data_dir=tmp_path, sample_s=3600.0)
        stub: Any = cluster
        site = SiteRuntime(SiteSettings(name="lab"), SITES["lab"], stub, reachable=True)
        driver = Driver(
            writer,
            {"lab": site},
            clock,
            settings,
            changed=lambda: None,
            keep_log=lambda _id, _text: asyncio.sleep(0),
            account=accountant.attempt,
        )
        await writer.run(lambda c: attempts.set_values(c, attempt, cluster_id="c", submitted_at=NOON))
        row = await writer.read(lambda c: attempts.get(c, attempt))
        await driver.drive(row)
        await driver.drive(row)
        writer.close()

    asyncio.run(story())
    assert [row["energy_mj"] for row in books.rows("mri-1")] == [180_000_000]
    assert cluster.reads == 1
    books.database.close()
