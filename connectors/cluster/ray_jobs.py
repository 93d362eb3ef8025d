"""Ray Jobs over HTTP: one instance per cluster, no Ray import, every answer bounded and checked."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from lowtide.connectors.http import HttpAnswer, HttpClient, HttpTrouble
from lowtide.scheduler.model.cluster import (
    ClusterCapacity,
    ClusterIdentity,
    ClusterJob,
    ClusterJobStatus,
    Submission,
    SubmitOutcome,
)
from lowtide.scheduler.model.errors import BadInput, ClusterFailure, ClusterFailureKind

ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
SUBMIT_READ_S = 30.0
"""Ray looks for an agent for up to 10 s before it refuses a submission."""
UPLOAD_READ_S = 120.0
MESSAGE_CAP = 2000
LIST_CAP = 64 << 20
RUNNER = "lowtide.connectors.jobside.runner"
FENCE = "lowtide_fence"


class RayJobs:
    """A Ray cluster by the base URL of its dashboard."""

    def __init__(
        self, base_url: str, *, token: str | None = None, ca_file: Path | None = None, python: str = "python3"
    ) -> None:
        """Take the address, the bearer token if the cluster has one, and the Python of its nodes."""
        self._base = base_url.rstrip("/")
        self._python = python
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = HttpClient(headers=headers, ca_file=ca_file, connect_s=3.0)

    async def identity(self) -> ClusterIdentity:
        """Incarnation and version."""
        cluster = self._object(await self._call("GET", "/cluster_id"))
        version = self._object(await self._call("GET", "/api/version"))
        return ClusterIdentity(
            cluster_id=str(self._object_in(cluster, "data")["clusterId"]),
            ray_version=str(version.get("ray_version", "")),
        )

    async def health(self) -> None:
        """GCS answers, and an agent that can start jobs is there (Ray says healthy without one)."""
        answer = await self._call("GET", "/api/gcs_healthz", statuses=(200, 503))
        if answer.status != 200:  # noqa: PLR2004
            raise self._failure(ClusterFailureKind.UNREACHABLE, "its control store (GCS) is not healthy")
        # A stop of an id that does not exist passes through the agent and changes nothing.
        probe = await self._call("POST", "/api/jobs/lowtide-health-probe/stop", statuses=(200, 404, 500))
        if b"No available agent" in probe.body:
            raise self._failure(ClusterFailureKind.REFUSED, "no job agent is available on its head node")

    async def capacity(self) -> ClusterCapacity:
        """Totals and use over all nodes, some seconds old."""
        status = self._object(await self._call("GET", "/api/cluster_status", body_cap=8 << 20))
        usage = self._dig(status, "data", "clusterStatus", "loadMetricsReport", "usageByNode") or {}
        used_total: dict[str, list[float]] = {"GPU": [0.0, 0.0], "CPU": [0.0, 0.0]}
        for node in usage.values():
            for name, pair in used_total.items():
                used, total = node.get(name, [0.0, 0.0])
                pair[0] += float(used)
                pair[1] += float(total)
        gpu, cpu = used_total["GPU"], used_total["CPU"]
        return ClusterCapacity(gpus_total=gpu[1], cpus_total=cpu[1], gpus_used=gpu[0], cpus_used=cpu[0])

    async def submit(self, submission: Submission) -> SubmitOutcome:
        """Submit; when the answer is lost or the id exists, ask what became of it."""
        self._check_id(submission.submission_id)
        try:
            answer = await self._call(
                "POST",
                "/api/jobs/",
                body=self._order(submission),
                statuses=(200, 500),
                read_timeout_s=SUBMIT_READ_S,
            )
        except ClusterFailure as error:
            if error.kind != ClusterFailureKind.UNREACHABLE:
                raise
            if await self._is_ours(submission):
                return SubmitOutcome.ALREADY_OURS
            raise
        if answer.status == 200:  # noqa: PLR2004
            return SubmitOutcome.ACCEPTED
        text = answer.body.decode(errors="replace")
        if "already exists" in text:
            ours = await self._is_ours(submission)
            return SubmitOutcome.ALREADY_OURS if ours else SubmitOutcome.ALREADY_FOREIGN
        kind = ClusterFailureKind.UNREACHABLE if "No available agent" in text else ClusterFailureKind.REFUSED
        raise self._failure(kind, f"refused the submission: {text.strip()[-300:]}")

    async def _is_ours(self, submission: Submission) -> bool:
        known = await self.get(submission.submission_id)
        return known.metadata.get(FENCE) == submission.metadata.get(FENCE) and bool(known.metadata)

    def _order(self, submission: Submission) -> dict[str, object]:
        environment = {**submission.env, "RAY_JOB_STOP_WAIT_TIME_S": str(max(1, round(submission.grace_s)))}
        if not submission.num_gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ""  # Ray would show every GPU to a job that asked for none
        runtime_env: dict[str, object] = {**submission.runtime_env, "env_vars": environment}
        if submission.working_dir_uri:
            runtime_env["working_dir"] = submission.working_dir_uri
        if submission.py_module_uris:
            runtime_env["py_modules"] = list(submission.py_module_uris)
        order: dict[str, object] = {
            "entrypoint": f"exec {self._python} -m {RUNNER}",
            "submission_id": submission.submission_id,
            "runtime_env": runtime_env,
            "metadata": submission.metadata,
            "entrypoint_num_cpus": submission.num_cpus,
            "entrypoint_num_gpus": submission.num_gpus,
        }
        if submission.memory_bytes is not None:
            order["entrypoint_memory"] = submission.memory_bytes
        return order

    async def get(self, submission_id: str) -> ClusterJob:
        """One submission."""
        self._check_id(submission_id)
        answer = await self._call("GET", f"/api/jobs/{submission_id}", statuses=(200, 404))
        if answer.status == 404:  # noqa: PLR2004
            return ClusterJob(submission_id, ClusterJobStatus.MISSING)
        return self._job(self._object(answer))

    async def list_jobs(self) -> tuple[ClusterJob, ...]:
        """All submissions; drivers that connected by themselves have no id and are left out."""
        answer = await self._call("GET", "/api/jobs/", body_cap=LIST_CAP)
        rows = self._json(answer)
        if not isinstance(rows, list):
            raise self._failure(ClusterFailureKind.BAD_RESPONSE, "sent no list of jobs")
        return tuple(self._job(row) for row in rows if isinstance(row, dict) and row.get("submission_id"))

    async def stop(self, submission_id: str) -> bool:
        """Ask Ray to signal the job."""
        self._check_id(submission_id)
        answer = await self._call("POST", f"/api/jobs/{submission_id}/stop", statuses=(200, 404))
        return answer.status == 200 and self._object(answer).get("stopped") is True  # noqa: PLR2004

    async def log_tail(self, submission_id: str, *, max_bytes: int, lines: int) -> str:
        """The last lines of the driver's log, read from the node that ran it."""
        job = await self.get(submission_id)
        if job.node_id is None:
            return ""
        query = f"node_id={job.node_id}&filename=job-driver-{submission_id}.log&lines={lines}"
        answer = await self._call("GET", f"/api/v0/logs/file?{query}", statuses=(200, 404, 500), body_cap=max_bytes)
        if answer.status != 200:  # noqa: PLR2004
            return await self._whole_log(submission_id, max_bytes)
        return _unframed(answer.body)

    async def _whole_log(self, submission_id: str, max_bytes: int) -> str:
        answer = await self._call("GET", f"/api/jobs/{submission_id}/logs", statuses=(200, 404), body_cap=4 * max_bytes)
        if answer.status == 404:  # noqa: PLR2004
            return ""
        return str(self._object(answer).get("logs") or "")[-max_bytes:]

    async def delete(self, submission_id: str) -> None:
        """Forget an ended submission; deleting an unknown one is no error."""
        self._check_id(submission_id)
        await self._call("DELETE", f"/api/jobs/{submission_id}", statuses=(200, 404))

    async def upload(self, content: bytes) -> str:
        """Put a zip into the cluster's package store unless it is there (Ray drops unused ones)."""
        name = f"_ray_pkg_{hashlib.sha256(content).hexdigest()[:16]}.zip"
        path = f"/api/packages/gcs/{name}"
        if (await self._call("GET", path, statuses=(200, 404))).status == 404:  # noqa: PLR2004
            await self._call("PUT", path, content=content, read_timeout_s=UPLOAD_READ_S)
        return f"gcs://{name}"

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    # ---- answers ----

    async def _call(
        self,
        method: str,
        path: str,
        *,
        body: dict[str, object] | None = None,
        content: bytes | None = None,
        statuses: tuple[int, ...] = (200,),
        read_timeout_s: float = 10.0,
        body_cap: int = 1 << 20,
    ) -> HttpAnswer:
        try:
            answer = await self._http.request(
                method,
                self._base + path,
                json=body,
                content=content,
                read_timeout_s=read_timeout_s,
                body_cap=body_cap,
            )
        except HttpTrouble as trouble:
            raise self._failure(ClusterFailureKind.UNREACHABLE, trouble.message) from trouble
        if answer.status in {401, 403}:
            raise self._failure(
                ClusterFailureKind.UNAUTHORIZED, f"answered {answer.status}: the token is missing or wrong"
            )
        if answer.status not in statuses:
            kind = ClusterFailureKind.REFUSED if answer.status < 500 else ClusterFailureKind.UNREACHABLE  # noqa: PLR2004
            text = answer.body[-300:].decode(errors="replace").strip()
            raise self._failure(kind, f"answered {answer.status} to {method} {path.split('?', maxsplit=1)[0]}: {text}")
        return answer

    def _job(self, row: dict[str, Any]) -> ClusterJob:
        try:
            status = ClusterJobStatus(str(row["status"]).lower())
        except (KeyError, ValueError):
            raise self._failure(
                ClusterFailureKind.BAD_RESPONSE, f"reports the unknown job status {row.get('status')!r}"
            ) from None
        metadata = row.get("metadata")
        code = row.get("driver_exit_code")
        return ClusterJob(
            submission_id=str(row["submission_id"]),
            status=status,
            exit_code=code if isinstance(code, int) else None,
            error_type=row.get("error_type"),
            message=str(row.get("message") or "")[-MESSAGE_CAP:],
            metadata=metadata if isinstance(metadata, dict) else {},
            node_id=row.get("driver_node_id"),
        )

    def _json(self, answer: HttpAnswer) -> Any:
        try:
            return json.loads(answer.body)
        except ValueError:
            raise self._failure(ClusterFailureKind.BAD_RESPONSE, "sent something that is not JSON") from None

    def _object(self, answer: HttpAnswer) -> dict[str, Any]:
        value = self._json(answer)
        if not isinstance(value, dict):
            raise self._failure(ClusterFailureKind.BAD_RESPONSE, "sent no JSON object")
        return value

    def _object_in(self, value: dict[str, Any], key: str) -> dict[str, Any]:
        inner = value.get(key)
        if not isinstance(inner, dict):
            raise self._failure(ClusterFailureKind.BAD_RESPONSE, f"sent no {key!r}")
        return inner

    @staticmethod
    def _dig(value: Any, *keys: str) -> Any:
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def _failure(self, kind: ClusterFailureKind, what: str) -> ClusterFailure:
        return ClusterFailure(kind, f"The Ray cluster at {self._base} {what}.")

    @staticmethod
    def _check_id(submission_id: str) -> None:
        if not ID.fullmatch(submission_id):
            message = f"the submission id {submission_id[:80]!r} may only hold letters, digits, '-' and '_'."
            raise BadInput(message, fix="Ray would keep a record of it that can be neither stopped nor deleted.")


def _unframed(body: bytes) -> str:
    """Ray's log endpoint puts a status byte ('1' or '0') before what it streams."""
    text = body.decode(errors="replace")
    return text[1:] if text[:1] in {"0", "1"} else text
