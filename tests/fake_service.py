"""A small service that keeps jobs in memory: what the API and the command line are tested against."""

from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from lowtide.connectors.grid.regions import Placement, agreed
from lowtide.scheduler.model.errors import Conflict, NotFound
from lowtide.scheduler.model.job import JobSpec
from tests.fake_policies import FakePolicies
from tests.fake_reservations import FakeReservations

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
Json = dict[str, Any]


def iso(at: datetime | None) -> str | None:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ") if at else None


def a_reason(code: str = "carbon_window", sentence: str = "") -> Json:
    return {"code": code, "sentence": sentence or "waits for a low-carbon window that saves about 240 g (31 %)"}


def a_job(job_id: str = "brain-mri-3f2a", **changes: Any) -> Json:
    job: Json = {
        "id": job_id,
        "name": job_id.rpartition("-")[0] or job_id,
        "project": "default",
        "queue": "research",
        "urgency": "normal",
        "state": "queued",
        "held": False,
        "submitted_at": iso(NOW),
        "started_at": None,
        "finished_at": None,
        "deadline_at": None,
        "latest_finish_at": iso(NOW + timedelta(hours=27)),
        "depends_on": [],
        "data": [],
        "duration_s": 10_800.0,
        "duration_from": "declared",
        "time_limit_s": None,
        "gpus": 2,
        "cpus": 4,
        "widths": {},
        "power": {},
        "holds": None,
        "site": None,
        "attempts": 0,
        "suspensions": 0,
        "reason": a_reason(),
        "reason_first": a_reason(),
        "next_review_at": iso(NOW + timedelta(minutes=15)),
        "planned_start_at": iso(NOW + timedelta(hours=17)),
        "planned_finish_at": iso(NOW + timedelta(hours=20)),
        "slack_s": 25_200.0,
        "planned_saving_g": 240.4,
        "energy_kwh": None,
        "emissions_g": None,
        "baseline_emissions_g": None,
        "avoided_g": None,
        "results": {},
        "exit_code": None,
        "labels": {},
        "interruptible": False,
        "flags": [],
    }
    return job | changes


def a_finished_job(job_id: str = "done-1", **changes: Any) -> Json:
    values: Json = {
        "state": "succeeded",
        "started_at": iso(NOW + timedelta(hours=17)),
        "finished_at": iso(NOW + timedelta(hours=20)),
        "planned_start_at": None,
        "planned_finish_at": None,
        "next_review_at": None,
        "slack_s": None,
        "site": "local",
        "attempts": 1,
        "energy_kwh": 1.8,
        "emissions_g": 180.0,
        "baseline_emissions_g": 420.0,
        "avoided_g": 240.0,
        "exit_code": 0,
        "results": {"accuracy": 0.93},
        "reason": a_reason("completed", "completed"),
    }
    return a_job(job_id, **(values | changes))


def a_candidate(hours: float, grams: float, *, chosen: bool = False, note: str = "") -> Json:
    start, end = NOW + timedelta(hours=hours), NOW + timedelta(hours=hours + 3)
    segment = {"site": "local", "start": iso(start), "end": iso(end), "gpus": 2}
    return {
        "site": "local",
        "start": iso(start),
        "finish": iso(end),
        "emissions_g": grams,
        "more_g": None if chosen else grams - 539.6,
        "later_s": None if chosen else 3600.0 * (hours - 17),
        "segments": [segment],
        "chosen": chosen,
        "note": note,
    }


def a_plan(job: Json | None) -> Json:
    return {
        "job": job,
        "now": iso(NOW),
        "action": "wait",
        "reason": a_reason(),
        "next_review_at": iso(NOW + timedelta(minutes=15)),
        "baseline_g": 780.0,
        "saving_g": 240.4,
        "doubt_g": 40.2,
        "latest_start_at": iso(NOW + timedelta(hours=24)),
        "would_start_now_if": ["the intensity fell below 121 g/kWh"],
        "would_suspend_if": [],
        "binds": [
            {
                "code": "capacity",
                "sentence": "2 GPU(s) missing at local from Tue 02:00 UTC to Tue 04:00 UTC; it would save 31 g",
                "saving_g": 31.0,
            },
            {
                "code": "patience",
                "sentence": "Wed 03:00 UTC at local would save 12 g, but its patience ends",
                "saving_g": 12.0,
            },
        ],
        "candidates": [
            a_candidate(0, 780.0, note="now"),
            a_candidate(17, 539.6, chosen=True),
            a_candidate(20, 561.0),
        ],
        "grid": [
            {
                "zone": "GB",
                "source": "recorded",
                "rung": "fresh_forecast",
                "signal": "average",
                "basis": "generation",
                "issued_at": iso(NOW - timedelta(hours=1)),
                "fetched_at": iso(NOW),
                "age_s": 3600.0,
                "from": iso(NOW),
                "to": iso(NOW + timedelta(hours=48)),
                "attribution": "NESO, CC BY 4.0",
            }
        ],
        "history": [{"at": iso(NOW), "plan_id": "p1", "action": "wait", "reason": a_reason(), "saving_g": 240.4}],
    }


def a_receipt(job: Json) -> Json:
    return {
        "job": job,
        "energy_kwh": job["energy_kwh"],
        "energy_by": [
            {"component": "gpu", "quality": "measured", "source": "nvml", "energy_kwh": 1.6},
            {"component": "cpu", "quality": "modelled", "source": "cpu_time_x_tdp", "energy_kwh": 0.2},
        ],
        "emissions_g": job["emissions_g"],
        "emissions_so_far_g": job["emissions_g"],
        "priced_fraction": 1.0,
        "baseline_emissions_g": job["baseline_emissions_g"],
        "baseline_start_at": iso(NOW),
        "baseline_code": "settled",
        "avoided_g": job["avoided_g"],
        "avoided_fraction": 0.571,
        "cost": None,
        "currency": None,
        "intensity_mean_g_per_kwh": 100.0,
        "baseline_intensity_g_per_kwh": 233.3,
        "intensity": [
            {
                "source": "recorded",
                "zone": "GB",
                "signal": "average",
                "basis": "generation",
                "kind": "actual",
                "share": 1.0,
            }
        ],
        "pue": 1.1,
        "accuracy": 0.93,
        "accuracy_per_kwh": 0.517,
        "attempts": [
            {
                "id": f"{job['id']}-a1",
                "site": "local",
                "start": job["started_at"],
                "end": job["finished_at"],
                "gpus": 2,
                "state": "succeeded",
                "energy_kwh": job["energy_kwh"],
                "emissions_g": job["emissions_g"],
            }
        ],
        "transfers": [],
        "scale": 1.0,
        "notes": ["The baseline is the same energy had the job run as soon as it could."],
        "attribution": ["NESO, CC BY 4.0"],
    }


class FakeService(FakePolicies, FakeReservations):
    """Keeps jobs by id; what was ordered is in ``orders``."""

    def __init__(self, *jobs: Json) -> None:
        self.reset(*jobs)

    def reset(self, *jobs: Json) -> None:
        """Forget everything but these jobs."""
        self.forget_policies()
        self.forget_reservations()
        self.by_id: dict[str, Json] = {job["id"]: job for job in jobs}
        self.by_key: dict[str, tuple[JobSpec, str]] = {}
        self.specs: list[JobSpec] = []
        self.actors: list[str] = []
        self.orders: list[tuple[str, str, str]] = []
        self.shutdowns: list[bool] = []
        self.status = "ready"
        self.logs = "epoch 1 loss 0.5\nepoch 2 loss 0.3\n"
        self.failure: Exception | None = None

    def _job(self, job_id: str) -> Json:
        if self.failure:
            raise self.failure
        if job_id not in self.by_id:
            message = f"there is no job {job_id!r}."
            raise NotFound(message, fix="lowtide status --all lists the jobs.")
        return self.by_id[job_id]

    async def submit(self, specs: list[JobSpec], *, actor: str, idempotency_keys: list[str | None]) -> list[Json]:
        if self.failure:
            raise self.failure
        return [self._submit_one(s, actor, k) for s, k in zip(specs, idempotency_keys, strict=True)]

    async def submitted_before(self, spec: JobSpec, idempotency_key: str) -> Json | None:
        known, job_id = self.by_key.get(idempotency_key, (spec, ""))
        if known != spec:
            message = f"the idempotency key {idempotency_key!r} was used with another job."
            raise Conflict(message, fix="Use a new key for a new job.")
        return self.by_id[job_id] if job_id else None

    def _submit_one(self, spec: JobSpec, actor: str, key: str | None) -> Json:
        if key in self.by_key:
            known, job_id = self.by_key[key]
            if known != spec:
                message = f"the idempotency key {key!r} was used with another job."
                raise Conflict(message, fix="Use a new key for a new job.")
            return self.by_id[job_id] | {"created": False}
        self.specs.append(spec)
        self.actors.append(actor)
        job_id = f"{spec.name}-{len(self.specs):04d}"
        if key:
            self.by_key[key] = (spec, job_id)
        self.by_id[job_id] = a_job(
            job_id, name=spec.name, queue=spec.queue, gpus=spec.resources.gpus, deadline_at=iso(spec.deadline_at)
        )
        return self.by_id[job_id] | {"created": True}

    async def plan(self, spec: JobSpec) -> Json:
        self.specs.append(spec)
        return a_plan(None)

    async def jobs(
        self,
        *,
        states: tuple[str, ...] = (),
        queue: str | None = None,
        name: str | None = None,
        limit: int = 500,
        after: str | None = None,
    ) -> list[Json]:
        found = [
            job
            for job in self.by_id.values()
            if (not states or job["state"] in states) and queue in {None, job["queue"]} and name in {None, job["name"]}
        ]
        ids = [job["id"] for job in found]
        start = ids.index(after) + 1 if after in ids else 0
        return found[start : start + limit]

    async def job(self, job_id: str) -> Json:
        return self._job(job_id)

    async def events(self, job_id: str) -> list[Json]:
        self._job(job_id)
        return [
            {
                "seq": 1,
                "at": iso(NOW),
                "job_id": job_id,
                "attempt_id": None,
                "from": None,
                "to": "queued",
                "actor": "ada",
                "reason": a_reason("submitted", "submitted by ada"),
                "plan_id": None,
                "data": {},
            }
        ]

    async def explain(self, job_id: str) -> Json:
        return a_plan(self._job(job_id))

    async def _order(self, word: str, job_id: str, actor: str, **changes: Any) -> Json:
        job = self._job(job_id)
        if job["state"] in {"succeeded", "failed", "cancelled"}:
            message = f"job {job_id} is {job['state']}; it cannot be changed any more."
            raise Conflict(message, fix="Submit it again.")
        self.orders.append((word, job_id, actor))
        job.update(changes)
        return job

    async def cancel(self, job_id: str, *, actor: str) -> Json:
        return await self._order("cancel", job_id, actor, state="cancelled")

    async def hold(self, job_id: str, *, actor: str) -> Json:
        return await self._order("hold", job_id, actor, held=True)

    async def release(self, job_id: str, *, actor: str) -> Json:
        return await self._order("release", job_id, actor, held=False)

    async def suspend(self, job_id: str, *, actor: str) -> Json:
        return await self._order("suspend", job_id, actor, state="suspending")

    async def resume(self, job_id: str, *, actor: str) -> Json:
        return await self._order("resume", job_id, actor)

    async def run_now(self, job_id: str, *, actor: str, why: str) -> Json:
        return await self._order(f"run_now:{why}", job_id, actor)

    async def log_text(self, job_id: str, *, attempt: int | None = None, tail_lines: int | None = None) -> str:
        self._job(job_id)
        if attempt not in {None, 1}:
            message = f"job {job_id} has no attempt {attempt}."
            raise NotFound(message, fix="It has 1.")
        lines = self.logs.splitlines(keepends=True)
        return "".join(lines if tail_lines is None else lines[len(lines) - tail_lines :])

    async def log_stream(self, job_id: str, *, tail_lines: int | None = None) -> AsyncIterator[str]:
        for line in (await self.log_text(job_id, tail_lines=tail_lines)).splitlines(keepends=True):
            yield line

    async def forecast(self, zone: str | None, hours: float, duration_s: float | None) -> Json:
        half_hours = [NOW + timedelta(minutes=30 * n) for n in range(int(hours * 2))]
        slots = [
            {
                "start": iso(at),
                "end": iso(at + timedelta(minutes=30)),
                "g_per_kwh": 150.0 + 60.0 * ((at.hour - 3) % 24) / 24,
                "p10": 120.0,
                "p50": 150.0,
                "p90": 240.0,
            }
            for at in half_hours
        ]
        window = {
            "start": iso(NOW + timedelta(hours=18)),
            "end": iso(NOW + timedelta(hours=18, seconds=duration_s or 7200)),
            "mean_g_per_kwh": 152.5,
            "note": "lowest mean of 48 h",
        }
        return {
            "zone": zone or "GB",
            "now": iso(NOW),
            "source": "recorded",
            "rung": "fresh_forecast",
            "signal": "average",
            "basis": "generation",
            "issued_at": iso(NOW),
            "age_s": 1800.0,
            "attribution": "NESO, CC BY 4.0",
            "faults": [],
            "correction": "fitted",
            "calibration": {"basis": "calibrated", "moments": 312, "captured": 0.71},
            "actual": [
                {"start": iso(NOW - timedelta(minutes=30)), "end": iso(NOW), "g_per_kwh": 190.0},
            ],
            "forecast": slots,
            "windows": [window],
        }

    async def sites(self) -> list[Json]:
        return [{"name": "local", "zone": "GB", "gpus": 4, "gpus_used": 0, "reachable": True}]

    async def regions(self, region: str | None) -> list[Json]:
        own = Placement("onprem:hall-2", "", "DE", "the contract of 2026", "settings")
        rows = {own.region: own}
        return [asdict(one) for one in (rows.values() if region is None else agreed(region, rows))]

    async def zones(self) -> list[Json]:
        return [
            {
                "source": "neso",
                "zones": [{"zone": "GB", "name": None, "forecasts": None}],
                "in_use": ["GB"],
                "asked": "GB",
                "signal": "average",
                "basis": "direct",
                "accounting": "consumption",
                "forecasts": True,
                "attribution": "NESO, CC BY 4.0",
                "failures": [],
            },
            {
                "source": "electricity_maps",
                "zones": [],
                "in_use": [],
                "asked": None,
                "signal": None,
                "basis": None,
                "accounting": None,
                "forecasts": None,
                "attribution": None,
                "failures": [
                    {"kind": "auth", "detail": "electricity_maps answered 401.", "fix": "Check the token."},
                ],
            },
        ]

    async def queues(self) -> list[Json]:
        return [{"name": "research", "policy": "lowest_window"}]

    async def report(self, job_ids: list[str] | None) -> Json:
        chosen = [self._job(one) for one in job_ids] if job_ids else list(self.by_id.values())
        receipts = [a_receipt(job) for job in chosen if job["energy_kwh"] is not None]

        def total(key: str) -> float | None:
            return sum(receipt[key] for receipt in receipts) if receipts else None

        return {
            "jobs": receipts,
            "energy_kwh": total("energy_kwh"),
            "emissions_g": total("emissions_g"),
            "baseline_emissions_g": total("baseline_emissions_g"),
            "avoided_g": total("avoided_g"),
            "avoided_fraction": 0.571 if receipts else None,
            "costs": [],
            "jobs_priced": len(receipts),
            "jobs_compared": len(receipts),
            "notes": [],
            "attribution": ["NESO, CC BY 4.0"],
        }

    async def receipt(self, job_id: str) -> Json:
        return a_receipt(self._job(job_id))

    async def check_grid(self) -> list[Json]:
        means = {"signal": "average", "basis": "direct", "accounting": "consumption", "licence": "NESO, CC BY 4.0"}
        good = {"source": "neso", "zone": "GB", "in_use": True, "status": "ok", "outcome": "answered", "age_s": 1500.0}
        none = dict.fromkeys(("age_s", *means, "rung"))
        bad = {"source": "electricity_maps", "zone": None, "in_use": False, "status": "fail", "outcome": "auth"}
        told = {"detail": "electricity_maps answered 401.", "fix": "Check the token."}
        return [{**good, **means, "rung": "fresh_forecast", "detail": "", "fix": ""}, {**none, **bad, **told}]

    async def doctor(self) -> list[Json]:
        return [
            {"check": "database", "status": "ok", "detail": "SQLite, WAL", "fix": ""},
            {"check": "gpu", "status": "warning", "detail": "no NVML", "fix": "energy is modelled"},
        ]

    def health(self) -> Json:
        return {
            "status": self.status,
            "waits_for": [],
            "version": "0.1.0",
            "pid": 4242,
            "data_dir": "/tmp/lowtide",
            "now": iso(NOW),
            "clock_rate": 1.0,
            "started_at": iso(NOW),
            "sites": [{"name": "local", "zone": "GB", "grid_source": "recorded", "gpus": 4}],
            "url": "http://127.0.0.1:8470",
            "policy_set": "the settings; no policy set has been applied",
        }

    def request_shutdown(self, *, stop_cluster: bool) -> None:
        self.shutdowns.append(stop_cluster)
