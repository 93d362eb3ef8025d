"""A small ledger in a real database: jobs that ran, what they used, and the grid figures of the time."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select

from lowtide.scheduler.control import settling
from lowtide.scheduler.model.job import JobId, JobSpec, Resources, spec_to_json
from lowtide.scheduler.model.lifecycle import AttemptState, JobState
from lowtide.scheduler.model.reason import Reason, ReasonCode
from lowtide.scheduler.model.series import Accounting, Basis, Point, PointKind, Series, Signal
from lowtide.scheduler.model.site import Site
from lowtide.scheduler.store import accounts, attempts, jobs
from lowtide.scheduler.store import tables as t
from lowtide.scheduler.store.database import Database

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
HALF_HOUR = timedelta(minutes=30)
WHY = Reason(ReasonCode.POLICY_ASAP)
SITES = {
    "lab": Site("lab", "GB", 8, 1000, pue=1.25),
    "cellar": Site("cellar", "", 8, 1000),
    "attic": Site("attic", "XX", 8, 1000),
}


def a_series(
    *values: float | None,
    start: datetime = NOON,
    zone: str = "GB",
    source: str = "neso",
    kind: PointKind = PointKind.ACTUAL,
    basis: Basis = Basis.DIRECT,
) -> Series:
    """Half hours from ``start`` on; None leaves one out."""
    points = tuple(
        Point(start + i * HALF_HOUR, start + (i + 1) * HALF_HOUR, g, kind)
        for i, g in enumerate(values)
        if g is not None
    )
    return Series(source, zone, zone, points, 1800.0, Signal.AVERAGE, basis, Accounting.CONSUMPTION, start)


def a_yearly_average(g_per_kwh: float, zone: str = "GB") -> Series:
    point = Point(NOON - timedelta(days=30), NOON + timedelta(days=30), g_per_kwh, PointKind.STATIC)
    return Series("static", zone, zone, (point,), 1800.0, Signal.AVERAGE, Basis.LIFECYCLE, Accounting.PRODUCTION, NOON)


class Books:
    """The database, and jobs written into it as the loop and the driver would."""

    def __init__(self, path: Path) -> None:
        self.database = Database(path / "lowtide.db")
        self.database.migrate()
        self.settlement = settling.Settlement(SITES)
        with self.database.write() as connection:
            for site in (*SITES.values(), Site("gone", "GB", 8, 1000)):
                values = {"name": site.name, "zone": site.zone, "gpus": site.gpus, "cpus": site.cpus}
                connection.execute(insert(t.site).values(jurisdiction="", **values))

    def starts(self, job_id: str, *, site: str = "lab", feasible: datetime = NOON, at: datetime = NOON) -> str:
        """A job whose first process begins at ``at`` though it could have begun at ``feasible``."""
        spec = JobSpec(name="mri", argv=("true",), resources=Resources(gpus=0, cpus=1))
        new = jobs.NewJob(
            JobId(job_id), spec, spec_to_json(spec), job_id, "normal", "ann", feasible, NOON + timedelta(days=2)
        )
        with self.database.write() as connection:
            jobs.submit(connection, [new])
            jobs.set_values(connection, job_id, first_feasible_at=feasible)
            attempt = attempts.begin(
                connection,
                JobId(job_id),
                site=site,
                fence="f",
                resources=spec.resources,
                at=at,
                actor="lowtide",
                reason=WHY,
            )
            attempts.running(connection, attempt, started_at=at, at=at, actor="lowtide", reason=WHY)
        return attempt

    def uses(self, attempt: str, start: datetime, half_hours: int, *, energy_mj: int = 3_600_000_000) -> None:
        """Energy rows of a CPU, the same in each half hour."""
        rows: list[dict[str, object]] = [
            {
                "attempt_id": attempt,
                "component": "cpu",
                "start_at": start + i * HALF_HOUR,
                "end_at": start + (i + 1) * HALF_HOUR,
                "energy_mj": energy_mj,
                "source": "rapl",
                "quality": "measured",
                "scale": 1.0,
            }
            for i in range(half_hours)
        ]
        with self.database.write() as connection:
            accounts.insert_once(connection, t.energy, rows)

    def ends(self, attempt: str, at: datetime) -> None:
        with self.database.write() as connection:
            row = attempts.move(connection, attempt, AttemptState.SUCCEEDED, at=at, actor="lowtide", reason=WHY)
            jobs.move(connection, row["job_id"], JobState.SUCCEEDED, at=at, actor="lowtide", reason=WHY)

    def ran(
        self, job_id: str, half_hours: int = 1, *, site: str = "lab", feasible: datetime = NOON, at: datetime = NOON
    ) -> None:
        """A whole job."""
        attempt = self.starts(job_id, site=site, feasible=feasible, at=at)
        self.uses(attempt, at, half_hours)
        self.ends(attempt, at + half_hours * HALF_HOUR)

    def records(self, *series: Series) -> None:
        """Figures come in and are kept."""
        with self.database.write() as connection:
            for one in series:
                settling.store_series(connection, one, one.points[-1].end)

    def settle(self, now: datetime, *, actual: tuple[Series, ...] = (), estimate: tuple[Series, ...] = ()) -> int:
        """One turn, as the daemon takes it; returns how many accounts were open before."""
        self.records(*actual)
        with self.database.write() as connection:
            known = settling.recorded(connection, ["GB", "XX"], {s.zone_returned: s for s in actual}, now)
            book = settling.PriceBook(known, {s.zone_returned: s for s in estimate})
            open_ids = accounts.open_accounts(connection)
            self.settlement.settle(connection, open_ids, now, book)
        return len(open_ids)

    def baseline(self, job_id: str) -> Any:
        """Code and grams; None while the account is open."""
        with self.database.read() as connection:
            row = accounts.baseline_by_job(connection, [job_id]).get(job_id)
        return None if row is None else (row["data"]["code"], row["emissions_g"])

    def rows(self, job_id: str) -> list[dict[str, object]]:
        with self.database.read() as connection:
            return [dict(row) for row in accounts.energy_by_job(connection, [job_id]).get(job_id, [])]

    def emissions(self) -> list[dict[str, object]]:
        with self.database.read() as connection:
            return [dict(row) for row in connection.execute(select(t.emission)).mappings()]
