"""Ray Jobs over HTTP: one instance per cluster, no Ray import, every answer bounded and checked."""

import asyncio
import hashlib
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lowtide.connectors.cluster.logtail import CUT, end_of_log, marked_as_cut
from lowtide.connectors.http import HttpAnswer, HttpClient, HttpTrouble, HttpTroubleKind
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
STATUSES = {status.upper(): status for status in ClusterJobStatus if status != ClusterJobStatus.MISSING}
LIST_CAP = 64 << 20
RUNNER = "lowtide.connectors.jobside.runner"
FENCE = "lowtide_fence"
TRACE = 0.001
"""So little of a node's resource that it says where to run, and never how many may."""
ARGV = "LOWTIDE_ARGV"
"""JSON, so its dollars can be written as escapes."""
NO_AGENT = b"No available agent"
AGENT_REFUSED = "status code 400"
"""In a 500 of the head: its agent has judged the submission and kept no record of it."""
PROBE = {"entrypoint": "true", "submission_id": "lowtide-probe", "entrypoint_label_selector": {"lowtide": "in("}}
"""A submission that the agent refuses for its label selector before it records anything."""


class RayJobs:
    """A Ray cluster by the base URL of its dashboard."""

    def __init__(
        self, base_url: str, *, token: str | None = None, ca_file: Path | None = None, python: str = "python3"
    ) -> None:
        """Take the address, the bearer token if the cluster has one, and the Python of its nodes."""
        self._base = base_url.rstrip("/")
        self._python = python
        self._agent_seen = False
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = HttpClient(headers=headers, ca_file=ca_file, connect_s=3.0)

    async def identity(self) -> ClusterIdentity:
        """Incarnation and version."""
        cluster = self._object(await self._call("GET", "/cluster_id"))
        version = self._object(await self._call("GET", "/api/version"))
        cluster_id = self._dig(cluster, "data", "clusterId")
        if not isinstance(cluster_id, str) or not cluster_id:
            raise self._failure(ClusterFailureKind.BAD_RESPONSE, "sent no cluster id")
        return ClusterIdentity(cluster_id=cluster_id, ray_version=str(version.get("ray_version", "")))

    async def health(self) -> None:
        """GCS answers, and an agent that can start jobs is there (Ray says healthy without one)."""
        answer = await self._call("GET", "/api/gcs_healthz", statuses=(200, 503))
        if answer.status != 200:  # noqa: PLR2004
            self._agent_seen = False
            raise self._failure(ClusterFailureKind.UNREACHABLE, "its control store (GCS) is not healthy")
        if not self._agent_seen:  # asked once: an agent that dies takes its node with it, and Ray logs each probe
            await self._see_agent()

    async def _see_agent(self) -> None:
        probe = await self._call(
            "POST", "/api/jobs/", body=dict(PROBE), statuses=(200, 400, 500), read_timeout_s=SUBMIT_READ_S
        )
        if NO_AGENT in probe.body:
            raise self._failure(ClusterFailureKind.UNREACHABLE, "has no job agent on its head node")
        self._agent_seen = True

    async def capacity(self) -> ClusterCapacity:
        """Totals and use over all nodes, some seconds old."""
        status = self._object(await self._call("GET", "/api/cluster_status", body_cap=8 << 20))
        usage = self._dig(status, "data", "clusterStatus", "loadMetricsReport", "usageByNode") or {}
        used_total: dict[str, list[float]] = {"GPU": [0.0, 0.0], "CPU": [0.0, 0.0]}
        try:
            for node in usage.values():
                for name, pair in used_total.items():
                    used, total = node.get(name, [0.0, 0.0])
                    pair[0] += float(used)
                    pair[1] += float(total)
        except (AttributeError, TypeError, ValueError):
            raise self._failure(ClusterFailureKind.BAD_RESPONSE, "reports its capacity in an unknown form") from None
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
        return await self._refused(submission, answer)

    async def _refused(self, submission: Submission, answer: HttpAnswer) -> SubmitOutcome:
        """What a 500 means: an agent that broke off may have started the job, so the record decides."""
        text = answer.body.decode(errors="replace")
        if answer.body.startswith(NO_AGENT):
            self._agent_seen = False
            raise self._failure(ClusterFailureKind.UNREACHABLE, "has no job agent on its head node")
        if await self._is_ours(submission):
            return SubmitOutcome.ALREADY_OURS
        if "already exists" in text:
            return SubmitOutcome.ALREADY_FOREIGN
        kind = ClusterFailureKind.REFUSED if AGENT_REFUSED in text else ClusterFailureKind.UNREACHABLE
        raise self._failure(kind, f"refused the submission: {text.strip()[-300:]}")

    async def _is_ours(self, submission: Submission) -> bool:
        fence = submission.metadata.get(FENCE)
        known = await self.get(submission.submission_id)
        return fence is not None and known.metadata.get(FENCE) == fence

    def _order(self, submission: Submission) -> dict[str, object]:
        environment = {**submission.env, "RAY_JOB_STOP_WAIT_TIME_S": str(max(1, round(submission.grace_s)))}
        if ARGV in environment:  # Ray replaces $X and ${X} in values by what the node has of that name
            environment[ARGV] = environment[ARGV].replace("$", "\\u0024")
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
            # what asks for nothing would run on the head node
            "entrypoint_num_cpus": submission.num_cpus or int(not submission.num_gpus),
            "entrypoint_num_gpus": submission.num_gpus,
        }
        if submission.node_resource:
            order["entrypoint_resources"] = {submission.node_resource: TRACE}
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
        asked, room = lines + 1, max(1, max_bytes - len(CUT))  # the one line more tells whether there are more
        while True:
            try:
                text = await self._last_lines(job.node_id, submission_id, room, asked)
            except ClusterFailure as error:
                if not _is_too_large(error):
                    raise
            else:
                return end_of_log(text, lines) if asked > lines else marked_as_cut(text)
            if asked == 1:
                return f"(the last line of the log is longer than {max_bytes} bytes)"
            asked = max(1, asked // 8)

    async def _last_lines(self, node_id: str, submission_id: str, max_bytes: int, lines: int) -> str:
        query = f"node_id={quote(node_id, safe='')}&filename=job-driver-{submission_id}.log&lines={lines}"
        answer = await self._call("GET", f"/api/v0/logs/file?{query}", statuses=(200, 404, 500), body_cap=max_bytes)
        if answer.status == 200:  # noqa: PLR2004
            return await asyncio.to_thread(answer.body.decode, errors="replace")
        whole = await self._call(
            "GET", f"/api/jobs/{submission_id}/logs", statuses=(200, 404, 500), body_cap=4 * max_bytes
        )
        if whole.status == 200:  # noqa: PLR2004
            return _within(str(self._object(whole).get("logs") or ""), max_bytes)
        if whole.status == 404 or await self._is_gone(node_id):  # noqa: PLR2004
            return ""
        raise self._failure(ClusterFailureKind.UNREACHABLE, f"cannot read the log of {submission_id} now")

    async def _is_gone(self, node_id: str) -> bool:
        """Whether the node has died, and its logs with it."""
        answer = await self._call("GET", "/api/v0/nodes?limit=10000", body_cap=8 << 20)
        rows = self._dig(self._object(answer), "data", "result", "result")
        if not isinstance(rows, list):
            raise self._failure(ClusterFailureKind.BAD_RESPONSE, "sent no list of nodes")
        return not any(self._dig(row, "node_id") == node_id and self._dig(row, "state") == "ALIVE" for row in rows)

    async def delete(self, submission_id: str) -> None:
        """Forget an ended submission; deleting an unknown one is no error."""
        self._check_id(submission_id)
        answer = await self._call("DELETE", f"/api/jobs/{submission_id}", statuses=(200, 404, 500))
        if answer.status == 500:  # noqa: PLR2004
            runs = b"non-terminal" in answer.body
            kind = ClusterFailureKind.REFUSED if runs else ClusterFailureKind.UNREACHABLE
            raise self._failure(kind, f"did not delete {submission_id}" + (": it has not ended" if runs else ""))

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
            # too much of an answer is an answer; none at all needs the agent to be seen again
            large = trouble.kind == HttpTroubleKind.TOO_LARGE
            self._agent_seen = self._agent_seen and large
            kind = ClusterFailureKind.BAD_RESPONSE if large else ClusterFailureKind.UNREACHABLE
            raise self._failure(kind, trouble.what) from trouble
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
        told, submission_id = row.get("status"), row.get("submission_id")
        if not isinstance(submission_id, str):
            raise self._failure(ClusterFailureKind.BAD_RESPONSE, "describes a job without its submission id")
        status = STATUSES.get(str(told))
        if status is None:
            raise self._failure(ClusterFailureKind.BAD_RESPONSE, f"reports the unknown job status {str(told)[:80]!r}")
        metadata = row.get("metadata")
        code = row.get("driver_exit_code")
        return ClusterJob(
            submission_id=submission_id,
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
        except (ValueError, RecursionError):
            raise self._failure(ClusterFailureKind.BAD_RESPONSE, "sent something that is not JSON") from None

    def _object(self, answer: HttpAnswer) -> dict[str, Any]:
        value = self._json(answer)
        if not isinstance(value, dict):
            raise self._failure(ClusterFailureKind.BAD_RESPONSE, "sent no JSON object")
        return value

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


def _is_too_large(error: ClusterFailure) -> bool:
    return isinstance(error.__cause__, HttpTrouble) and error.__cause__.kind == HttpTroubleKind.TOO_LARGE


def _within(text: str, room: int) -> str:
    """The end of a log in whole lines, marked where something came before."""
    end = text[-room:]
    return text if end == text else marked_as_cut(end.partition("\n")[2] or end)
