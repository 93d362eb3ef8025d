"""What the API needs from the daemon: the facade, as a protocol."""

from collections.abc import AsyncIterator
from typing import Any, Protocol

from lowtide.scheduler.model.job import JobSpec
from lowtide.scheduler.model.reservation import Wish

Json = dict[str, Any]
"""JSON-able; the shapes are the models in lowtide.scheduler.api.schema."""


class ServiceLike(Protocol):
    """The daemon as the API sees it; every failure is an error of lowtide.scheduler.model.errors."""

    async def submit(self, specs: list[JobSpec], *, actor: str, idempotency_keys: list[str | None]) -> list[Json]:
        """Accept jobs durably; one answer each. ``created`` false marks a job that a key gave back."""

    async def submitted_before(self, spec: JobSpec, idempotency_key: str) -> Json | None:
        """The job that the key was given to, None where it is new; Conflict where it was another job's."""

    async def plan(self, spec: JobSpec) -> Json:
        """What would be decided for a job if it were submitted now; writes nothing."""

    async def jobs(
        self,
        *,
        states: tuple[str, ...] = (),
        queue: str | None = None,
        name: str | None = None,
        limit: int = 500,
        after: str | None = None,
    ) -> list[Json]:
        """Jobs, newest first."""

    async def job(self, job_id: str) -> Json:
        """One job."""

    async def events(self, job_id: str) -> list[Json]:
        """Everything that happened to a job, oldest first."""

    async def explain(self, job_id: str) -> Json:
        """The last decision on a job: what was considered, chosen and why."""

    async def cancel(self, job_id: str, *, actor: str) -> Json:
        """End a job for good."""

    async def hold(self, job_id: str, *, actor: str) -> Json:
        """Keep a waiting job from starting."""

    async def release(self, job_id: str, *, actor: str) -> Json:
        """Undo a hold."""

    async def suspend(self, job_id: str, *, actor: str) -> Json:
        """Checkpoint and stop a running job until it is resumed."""

    async def resume(self, job_id: str, *, actor: str) -> Json:
        """Let a suspended job go on."""

    async def run_now(self, job_id: str, *, actor: str, why: str) -> Json:
        """Start a job whatever the carbon; the reason is kept."""

    async def log_text(self, job_id: str, *, attempt: int | None = None, tail_lines: int | None = None) -> str:
        """What a job printed so far."""

    def log_stream(self, job_id: str, *, tail_lines: int | None = None) -> AsyncIterator[str]:
        """What a job prints, until it is terminal; of what is there already, the last lines if told so."""

    async def forecast(self, zone: str | None, hours: float, duration_s: float | None) -> Json:
        """Grid intensity: recorded, forecast, and the best windows."""

    async def sites(self) -> list[Json]:
        """The configured sites and their use."""

    async def zones(self) -> list[Json]:
        """The configured grid sources with the zones that they answer for."""

    async def regions(self, region: str | None) -> list[Json]:
        """Where a cloud region lies and who says so; without one, the rows of the settings."""

    async def queues(self) -> list[Json]:
        """The configured queues."""

    async def budgets(self) -> list[Json]:
        """The projects' budgets: used, promised and left."""

    async def policy(self) -> Json:
        """How each queue decides now, by which revision, and who said so."""

    async def policy_changes(self, text: str) -> list[Json]:
        """What a policy set would change; BadInput where it cannot be taken."""

    async def apply_policy(self, text: str, *, actor: str, why: str | None) -> Json:
        """Put a policy set in force, from the next plan on."""

    async def roll_back_policy(self, revision: int | None, *, actor: str, why: str | None) -> Json:
        """Put an earlier revision in force again; 0 is the settings alone, None the one before the present."""

    async def policy_history(self) -> list[Json]:
        """The last revisions, newest first."""

    async def shadow(self) -> Json:
        """The set that is or was last in the shadow, and what it would have saved."""

    async def cast_shadow(self, text: str, *, actor: str, why: str | None) -> Json:
        """Let a set decide in the shadow from the next plan on."""

    async def end_shadow(self, *, actor: str, why: str | None) -> Json:
        """Let nothing decide in the shadow."""

    async def reservations(self) -> list[Json]:
        """The last drains and reservations, newest first."""

    async def reserve(self, wish: Wish, *, actor: str, why: str | None) -> Json:
        """Keep capacity free; BadInput or NotFound where there is none."""

    async def end_reservation(self, number: int, *, actor: str, why: str | None) -> Json:
        """Give kept capacity back before its time."""

    async def undrain(self, site: str, pool: str, *, actor: str, why: str | None) -> list[Json]:
        """End every drain of a site or pool; Conflict where there is none."""

    async def past(self, days: float) -> Json:
        """What jobs did in the last days, with the grid's measured intensity, for a replay."""

    async def report(self, job_ids: list[str] | None) -> Json:
        """Receipts of several jobs and their sum."""

    async def receipt(self, job_id: str) -> Json:
        """What one job used, emitted and avoided."""

    async def check_grid(self) -> list[Json]:
        """What each grid source answers to one question now."""

    async def doctor(self) -> list[Json]:
        """What works and what does not on this machine."""

    def health(self) -> Json:
        """Whether the daemon is ready."""

    def request_shutdown(self, *, stop_cluster: bool) -> None:
        """End the daemon; jobs go on unless the local cluster is stopped too."""
