"""Heads that hang, refuse, break off and lie: nothing of it is ever taken for the end of a job."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from lowtide.connectors.cluster import ray_jobs
from lowtide.connectors.cluster.logtail import CUT
from lowtide.connectors.cluster.ray_jobs import RayJobs
from lowtide.scheduler.model.cluster import ClusterJobStatus, Submission, SubmitOutcome
from lowtide.scheduler.model.errors import ClusterFailure, ClusterFailureKind
from tests.contract.cluster_server import BREAK, HANG, Head, a_head

Kind = ClusterFailureKind
NO_AGENT = (500, b"No available agent to submit job, please try again later.")
EXISTS = (500, b"... Request failed with status code 400: ... ValueError: Job with submission_id x already exists.")
BAD_SELECTOR = (500, b"RuntimeError: Request failed with status code 400: Invalid label selector")
HEALTHY = {"GET /api/gcs_healthz": (200, b"success"), "POST /api/jobs/": BAD_SELECTOR}
ORDER = Submission("x", ("true",), {"A": "1"}, num_cpus=0, num_gpus=0, metadata={"lowtide_fence": "mine"}, grace_s=12.4)


def a_row(**changes: object) -> dict[str, object]:
    row = {"type": "SUBMISSION", "submission_id": "x", "status": "RUNNING", "metadata": {"lowtide_fence": "mine"}}
    return {**row, "driver_node_id": "n1", "driver_exit_code": None, "message": "", **changes}


def ask(answers: dict[str, Any], call: Callable[[RayJobs], Awaitable[Any]], **options: Any) -> tuple[Any, Head]:
    """What a call comes to (the failure itself when it fails), and the head it was put to."""

    async def story(url: str) -> Any:
        cluster = RayJobs(url, **options)
        try:
            return await call(cluster)
        except ClusterFailure as failure:
            return failure
        finally:
            await cluster.close()

    with a_head(answers) as head:
        return asyncio.run(story(head.url)), head


def kind_of(answers: dict[str, Any], call: Callable[[RayJobs], Awaitable[Any]]) -> ClusterFailureKind:
    outcome, _ = ask(answers, call)
    assert isinstance(outcome, ClusterFailure), outcome
    return outcome.kind


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read timeouts of a fraction of a second."""
    whole = RayJobs._call

    async def quick(self: RayJobs, method: str, path: str, **options: Any) -> Any:
        return await whole(self, method, path, **{**options, "read_timeout_s": 0.2})

    monkeypatch.setattr(RayJobs, "_call", quick)


# ---- silence ----


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("silence", [HANG, BREAK], ids=["hangs", "breaks off"])
def test_a_head_without_an_answer_is_unreachable_though_its_version_answers(silence: object) -> None:
    answers = {"GET /api/version": (200, {}), "GET /api/jobs/x": silence, "GET /api/jobs/": silence}
    assert kind_of(answers, lambda c: c.get("x")) == Kind.UNREACHABLE
    assert kind_of(answers, lambda c: c.list_jobs()) == Kind.UNREACHABLE


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("silence", [HANG, BREAK, (502, b"gateway"), (504, b"gateway")])
def test_a_submission_without_an_answer_is_looked_up(silence: object) -> None:
    taken = {"POST /api/jobs/": silence, "GET /api/jobs/x": (200, a_row())}
    assert ask(taken, lambda c: c.submit(ORDER))[0] == SubmitOutcome.ALREADY_OURS
    assert kind_of({"POST /api/jobs/": silence}, lambda c: c.submit(ORDER)) == Kind.UNREACHABLE


def test_a_head_that_is_not_there_is_unreachable() -> None:
    with a_head({}) as head:
        pass

    async def story() -> None:
        cluster = RayJobs(head.url)
        with pytest.raises(ClusterFailure) as caught:
            await cluster.health()
        assert caught.value.kind == Kind.UNREACHABLE
        assert caught.value.message.count(head.url) == 1, "the sentence names the cluster once"
        await cluster.close()

    asyncio.run(story())


# ---- submission ----


def test_a_head_without_an_agent_has_taken_nothing_and_may_be_asked_again() -> None:
    outcome, head = ask({"POST /api/jobs/": NO_AGENT}, lambda c: c.submit(ORDER))
    assert outcome.kind == Kind.UNREACHABLE
    assert head.asked == ["POST /api/jobs/"]


@pytest.mark.parametrize(
    ("fence", "outcome"), [("mine", SubmitOutcome.ALREADY_OURS), ("theirs", SubmitOutcome.ALREADY_FOREIGN)]
)
def test_the_fence_tells_whose_an_existing_id_is(fence: str, outcome: SubmitOutcome) -> None:
    answers = {"POST /api/jobs/": EXISTS, "GET /api/jobs/x": (200, a_row(metadata={"lowtide_fence": fence}))}
    assert ask(answers, lambda c: c.submit(ORDER))[0] == outcome


def test_without_a_fence_nothing_is_ours() -> None:
    answers = {"POST /api/jobs/": EXISTS, "GET /api/jobs/x": (200, a_row(metadata={"job_name": "x"}))}
    bare = Submission("x", ("true",), {}, num_cpus=1, num_gpus=0, metadata={"owner": "me"})
    assert ask(answers, lambda c: c.submit(bare))[0] == SubmitOutcome.ALREADY_FOREIGN


def test_an_agent_that_broke_off_may_have_started_the_job_so_the_record_decides() -> None:
    broke_off = (500, b"aiohttp.client_exceptions.ServerDisconnectedError")
    taken = {"POST /api/jobs/": broke_off, "GET /api/jobs/x": (200, a_row())}
    assert ask(taken, lambda c: c.submit(ORDER))[0] == SubmitOutcome.ALREADY_OURS
    assert kind_of({"POST /api/jobs/": broke_off}, lambda c: c.submit(ORDER)) == Kind.UNREACHABLE
    assert kind_of({"POST /api/jobs/": BAD_SELECTOR}, lambda c: c.submit(ORDER)) == Kind.REFUSED


def test_a_submission_is_a_plain_command_with_its_resources_and_grace() -> None:
    answers = {"POST /api/jobs/": (200, {"submission_id": "x"})}
    outcome, head = ask(answers, lambda c: c.submit(ORDER), python="/opt/python", token="t0ken")
    assert outcome == SubmitOutcome.ACCEPTED
    sent = json.loads(head.bodies[0])
    assert sent["entrypoint"] == "exec /opt/python -m lowtide.connectors.jobside.runner"
    assert (sent["entrypoint_num_cpus"], sent["entrypoint_num_gpus"]) == (1, 0)
    env = {"A": "1", "CUDA_VISIBLE_DEVICES": "", "RAY_JOB_STOP_WAIT_TIME_S": "12"}
    assert sent["runtime_env"] == {"env_vars": env}
    assert head.headers[0]["authorization"] == "Bearer t0ken"
    browsers = ("origin", "referer", "sec-fetch-mode")
    assert not any(name in head.headers[0] for name in browsers)
    assert "Mozilla" not in head.headers[0]["user-agent"]


def test_ray_finds_no_variable_to_replace_in_the_arguments() -> None:
    argv = ["sh", "-c", "echo $HOME ${X}"]
    order = Submission("x", tuple(argv), {"LOWTIDE_ARGV": json.dumps(argv)}, num_cpus=1, num_gpus=0)
    _, head = ask({"POST /api/jobs/": (200, {"submission_id": "x"})}, lambda c: c.submit(order))
    sent = json.loads(head.bodies[0])["runtime_env"]["env_vars"]["LOWTIDE_ARGV"]
    assert "$" not in sent
    assert json.loads(sent) == argv


# ---- answers that cannot be believed ----


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_token_is_said_and_the_token_is_not(status: int) -> None:
    outcome, _ = ask({"GET /api/jobs/x": (status, b"no")}, lambda c: c.get("x"), token="s3cret")
    assert outcome.kind == Kind.UNAUTHORIZED
    assert "s3cret" not in str(outcome)


@pytest.mark.parametrize("body", [b"<html>", b"", b"[]", b"null", b'{"status": "RUNNING"}', b"[" * 100_000])
def test_garbage_for_a_job_is_a_bad_response(body: bytes) -> None:
    assert kind_of({"GET /api/jobs/x": (200, body)}, lambda c: c.get("x")) == Kind.BAD_RESPONSE


@pytest.mark.parametrize("status", ["EVAPORATED", "MISSING", "running", None, 7, ["RUNNING"]])
def test_an_unknown_status_is_never_taken_for_an_end(status: object) -> None:
    answers = {"GET /api/jobs/x": (200, a_row(status=status)), "GET /api/jobs/": (200, [a_row(status=status)])}
    assert kind_of(answers, lambda c: c.get("x")) == Kind.BAD_RESPONSE
    assert kind_of(answers, lambda c: c.list_jobs()) == Kind.BAD_RESPONSE


def test_drivers_that_came_by_themselves_are_left_out_of_the_list() -> None:
    driver = {"type": "DRIVER", "submission_id": None, "status": "RUNNING", "job_id": "01000000"}
    jobs, _ = ask({"GET /api/jobs/": (200, [driver, a_row()])}, lambda c: c.list_jobs())
    assert [job.submission_id for job in jobs] == ["x"]


def test_a_list_of_thousands_of_jobs_is_read() -> None:
    rows = [a_row(submission_id=f"j{n}", status="SUCCEEDED", message="m" * 1500) for n in range(5000)]
    jobs, _ = ask({"GET /api/jobs/": (200, rows)}, lambda c: c.list_jobs())
    assert len(jobs) == 5000


def test_a_long_message_is_cut_to_its_end() -> None:
    job, _ = ask({"GET /api/jobs/x": (200, a_row(message="a" * 20_000 + "end"))}, lambda c: c.get("x"))
    assert (len(job.message), job.message[-3:]) == (2000, "end")


@pytest.mark.parametrize("body", [{}, {"data": None}, {"data": {}}, {"data": {"clusterId": 7}}])
def test_an_identity_without_an_id_is_a_bad_response(body: object) -> None:
    answers = {"GET /cluster_id": (200, body), "GET /api/version": (200, {})}
    assert kind_of(answers, lambda c: c.identity()) == Kind.BAD_RESPONSE


@pytest.mark.parametrize("usage", [{"n": None}, {"n": {"GPU": 3}}, {"n": {"CPU": [None, 1]}}, [1]])
def test_a_capacity_of_an_unknown_form_is_a_bad_response(usage: object) -> None:
    body = {"data": {"clusterStatus": {"loadMetricsReport": {"usageByNode": usage}}}}
    assert kind_of({"GET /api/cluster_status": (200, body)}, lambda c: c.capacity()) == Kind.BAD_RESPONSE


# ---- health ----


def test_a_head_whose_agent_never_came_up_is_not_healthy() -> None:
    """Such a head answers everything else, and refuses each submission after 10 s."""
    answers = {**HEALTHY, "GET /api/version": (200, {}), "POST /api/jobs/": NO_AGENT}
    assert kind_of(answers, lambda c: c.health()) == Kind.UNREACHABLE


def test_the_agent_is_asked_once_and_again_after_the_head_was_ill() -> None:
    async def looks(cluster: RayJobs) -> None:
        for _ in range(3):
            await cluster.health()
        with pytest.raises(ClusterFailure):
            await cluster.health()
        await cluster.health()

    well, ill = (200, b"success"), (503, b"no")
    _, head = ask({**HEALTHY, "GET /api/gcs_healthz": [well, well, well, ill, well]}, looks)
    assert head.asked.count("POST /api/jobs/") == 2


# ---- logs ----

FILE, WHOLE, NODES = "GET /api/v0/logs/file", "GET /api/jobs/x/logs", "GET /api/v0/nodes"


def nodes(state: str) -> tuple[int, object]:
    return 200, {"data": {"result": {"result": [{"node_id": "n1", "state": state}]}}}


def tail(answers: dict[str, Any], max_bytes: int = 100) -> tuple[Any, Head]:
    known = {"GET /api/jobs/x": (200, a_row(status="FAILED")), **answers}
    return ask(known, lambda c: c.log_tail("x", max_bytes=max_bytes, lines=4000))


def test_a_log_is_given_as_it_is_written() -> None:
    assert tail({FILE: (200, b"1 is the first figure\n")})[0] == "1 is the first figure\n"


def test_too_long_a_log_is_asked_for_again_with_fewer_lines() -> None:
    text, head = tail({FILE: [(200, b"y" * 101), (200, b"y" * 101), (200, b"the end\n")]})
    assert text == CUT + "the end\n"
    assert [path.rpartition("lines=")[2] for path in head.asked if "file" in path] == ["4001", "500", "62"]


def test_a_log_of_more_lines_than_were_asked_for_says_so_and_one_of_as_many_does_not() -> None:
    answers = {"GET /api/jobs/x": (200, a_row()), FILE: (200, b"a\nb\nc")}
    assert ask(answers, lambda c: c.log_tail("x", max_bytes=100, lines=2))[0] == CUT + "b\nc"
    assert ask(answers, lambda c: c.log_tail("x", max_bytes=100, lines=3))[0] == "a\nb\nc"


def test_one_endless_line_does_not_keep_an_attempt_from_ending() -> None:
    text, _ = tail({FILE: (200, b"y" * 101)})
    assert text == "(the last line of the log is longer than 100 bytes)"


def test_a_log_that_the_node_does_not_give_is_asked_of_the_agent() -> None:
    assert tail({FILE: (500, b"x"), WHOLE: (200, {"logs": "z" * 150 + "end"})})[0].endswith("zend")
    assert tail({FILE: (500, b"x"), WHOLE: (200, {"logs": "z\n" * 60})})[0].startswith(CUT + "z\nz\n")


@pytest.mark.parametrize(("state", "lost"), [("DEAD", True), ("ALIVE", False)])
def test_a_log_is_given_up_only_when_its_node_has_died(state: str, lost: object) -> None:
    outcome, _ = tail({FILE: (500, b"x"), WHOLE: (500, b"x"), NODES: nodes(state)})
    assert (outcome == "") is lost
    if not lost:
        assert outcome.kind == Kind.UNREACHABLE


# ---- the rest ----


def test_an_upload_is_sent_only_when_it_is_not_there() -> None:
    path = "/api/packages/gcs/_ray_pkg_2d711642b726b044.zip"
    there, not_there = {f"GET {path}": (200, b"")}, {f"PUT {path}": (200, b"")}
    for answers, asked in ((there, [f"GET {path}"]), (not_there, [f"GET {path}", f"PUT {path}"])):
        uri, head = ask(answers, lambda c: c.upload(b"x"))
        assert uri == "gcs://_ray_pkg_2d711642b726b044.zip"
        assert head.asked == asked


def test_deleting_what_runs_is_refused_and_other_trouble_is_not_called_so() -> None:
    runs = (500, b"Attempted to delete job 'x', but it is in a non-terminal state RUNNING.")
    assert kind_of({"DELETE /api/jobs/x": runs}, lambda c: c.delete("x")) == Kind.REFUSED
    assert kind_of({"DELETE /api/jobs/x": (500, b"?")}, lambda c: c.delete("x")) == Kind.UNREACHABLE


def test_every_status_of_ray_is_known() -> None:
    assert set(ray_jobs.STATUSES) == {"PENDING", "RUNNING", "SUCCEEDED", "FAILED", "STOPPED"}
    assert ClusterJobStatus.MISSING not in ray_jobs.STATUSES.values()
