"""The routes about jobs, over a real server."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest
from fastapi import FastAPI

from lowtide.scheduler.api import policy, schema, submission
from lowtide.scheduler.api.answer import Daemon
from lowtide.scheduler.model.errors import Infeasible, StoreFailure
from tests.api_server import LiveApi, serve
from tests.fake_service import FakeService, a_finished_job, a_job

JOB = {"name": "brain-mri", "entrypoint": ["python", "train.py"], "duration": "3h", "resources": {"gpus": 2}}


@pytest.fixture(scope="module")
def live() -> Iterator[LiveApi]:
    with serve(FakeService()) as served:
        yield served


@pytest.fixture
def api(live: LiveApi) -> LiveApi:
    live.service.reset(a_job("one-aaaa"), a_finished_job("two-bbbb"))
    return live


def test_a_job_is_accepted_with_201_and_has_the_documented_shape(api: LiveApi) -> None:
    answer = api.ask("POST", "/v1/jobs", JOB, Lowtide_Actor="ada")
    assert answer.status == 201
    assert schema.Job.model_validate(answer.json).name == "brain-mri"
    assert "created" not in answer.json
    assert api.service.actors == ["ada"]
    assert api.service.specs[0].duration_s == 10_800


def test_the_shortcut_and_the_documented_route_of_submit_give_the_same(api: LiveApi) -> None:
    app = FastAPI()
    now = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
    app.include_router(submission.router(Daemon(api.service, metrics=bytes, now=lambda: now)))

    async def ask_route() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.post("/v1/jobs", json=JOB)

    by_route = asyncio.run(ask_route())
    by_shortcut = api.ask("POST", "/v1/jobs", JOB)
    assert by_route.status_code == by_shortcut.status == 201
    assert by_route.json() | {"id": ""} == by_shortcut.json | {"id": ""}


def test_the_actor_is_api_when_nobody_says_who_and_never_holds_odd_characters(api: LiveApi) -> None:
    api.ask("POST", "/v1/jobs", JOB)
    api.ask("POST", "/v1/jobs", JOB, Lowtide_Actor="ada <b>" + "x" * 100)
    assert api.service.actors[0] == "api"
    assert api.service.actors[1].startswith("adab")
    assert len(api.service.actors[1]) == 64


def test_the_same_key_and_job_give_200_and_the_first_job_back(api: LiveApi) -> None:
    first = api.ask("POST", "/v1/jobs", JOB, Idempotency_Key="k1")
    second = api.ask("POST", "/v1/jobs", JOB, Idempotency_Key="k1")
    assert (first.status, second.status) == (201, 200)
    assert first.json["id"] == second.json["id"]
    assert len(api.service.specs) == 1


def test_the_same_key_with_another_job_gives_409(api: LiveApi) -> None:
    api.ask("POST", "/v1/jobs", JOB, Idempotency_Key="k1")
    answer = api.ask("POST", "/v1/jobs", JOB | {"name": "other"}, Idempotency_Key="k1")
    assert answer.status == 409
    assert answer.json["type"] == "urn:lowtide:problem:conflict"


@pytest.mark.parametrize("when", ["now+9h", "18:00", "tomorrow18:00"])
def test_a_key_needs_times_that_mean_the_same_when_it_is_repeated(api: LiveApi, when: str) -> None:
    answer = api.ask("POST", "/v1/jobs", JOB | {"deadline": when}, Idempotency_Key="k1")
    assert answer.status == 422
    assert answer.json["errors"][0]["field"] == "deadline"
    fixed = JOB | {"deadline": "2026-03-03T18:00:00Z"}
    assert [api.ask("POST", "/v1/jobs", fixed, Idempotency_Key="k1").status for _ in range(2)] == [201, 200]


@pytest.mark.parametrize("key", ["", "x" * 201, "a b"])
def test_an_odd_idempotency_key_is_refused(api: LiveApi, key: str) -> None:
    answer = api.ask("POST", "/v1/jobs", JOB, Idempotency_Key=key)
    assert answer.status == 422
    assert answer.json["errors"][0]["field"] == "Idempotency-Key"


def test_every_wrong_field_is_named_with_its_path(api: LiveApi) -> None:
    wrong = JOB | {"name": "A/B", "resources": {"gpu": 1}, "duration": "soon"}
    answer = api.ask("POST", "/v1/jobs", wrong)
    assert answer.status == 422
    assert {error["field"] for error in answer.json["errors"]} == {"name", "resources.gpu", "duration"}
    assert "did you mean 'gpus'?" in answer.body.decode()
    assert not api.service.specs


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"name": NaN}'])
def test_a_body_that_is_no_job_is_refused_with_422(api: LiveApi, body: bytes) -> None:
    answer = api.ask("POST", "/v1/jobs", body)
    assert answer.status == 422
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_deadline_that_cannot_be_met_says_when_the_job_could_finish(api: LiveApi) -> None:
    answer = api.ask("POST", "/v1/jobs", JOB | {"deadline": "now+1h"})
    assert answer.status == 422
    assert answer.json["type"] == "urn:lowtide:problem:infeasible"
    assert "earliest finish is 2026-03-02 12:00:00 UTC" in answer.json["detail"]
    assert answer.json["exit_code"] == 3


def test_an_impossible_deadline_is_taken_when_the_job_says_to_run_anyway(api: LiveApi) -> None:
    answer = api.ask("POST", "/v1/jobs", JOB | {"deadline": "now+1h", "deadline_action": "run"})
    assert answer.status == 201


def test_a_working_directory_that_does_not_exist_is_refused(api: LiveApi) -> None:
    answer = api.ask("POST", "/v1/jobs", JOB | {"working_dir": "/nowhere/at/all"})
    assert answer.status == 422
    assert answer.json["errors"] == [
        {
            "field": "working_dir",
            "message": "'/nowhere/at/all' does not exist on the daemon's machine, or is no directory",
        }
    ]


def test_a_plan_writes_nothing_and_has_the_documented_shape(api: LiveApi) -> None:
    before = len(api.service.by_id)
    answer = api.ask("POST", "/v1/plans", JOB)
    assert answer.status == 200
    assert schema.Explanation.model_validate(answer.json).job is None
    assert len(api.service.by_id) == before


def test_jobs_are_listed_page_by_page(api: LiveApi) -> None:
    first = api.ask("GET", "/v1/jobs?limit=1").json
    second = api.ask("GET", f"/v1/jobs?limit=1&after={first['next']}").json
    third = api.ask("GET", f"/v1/jobs?limit=1&after={second['next']}").json
    assert [job["id"] for page in (first, second) for job in page["items"]] == ["one-aaaa", "two-bbbb"]
    assert third == {"items": [], "next": None}


def test_jobs_are_filtered_by_several_states(api: LiveApi) -> None:
    found = api.ask("GET", "/v1/jobs?state=succeeded&state=failed").json["items"]
    assert [job["id"] for job in found] == ["two-bbbb"]


def test_an_unknown_state_is_refused_with_the_nearest_one(api: LiveApi) -> None:
    answer = api.ask("GET", "/v1/jobs?state=runing")
    assert answer.status == 422
    assert answer.json["fix"] == "Did you mean running?"


@pytest.mark.parametrize("limit", ["0", "5001", "x", "1.5"])
def test_an_odd_limit_is_refused_as_a_problem(api: LiveApi, limit: str) -> None:
    answer = api.ask("GET", f"/v1/jobs?limit={limit}")
    assert answer.status == 422
    assert answer.json["errors"][0]["field"] == "limit"


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/v1/jobs/two-bbbb", schema.Job),
        ("/v1/jobs/two-bbbb/explain", schema.Explanation),
        ("/v1/jobs/two-bbbb/receipt", schema.Receipt),
        ("/v1/jobs/two-bbbb/events", schema.EventList),
        ("/v1/jobs", schema.JobList),
        ("/v1/report", schema.Report),
        ("/v1/report?job=two-bbbb", schema.Report),
        ("/v1/forecast?zone=GB&hours=12&duration_s=3h", schema.Forecast),
        ("/v1/zones", schema.GridSourceList),
        ("/v1/budgets", schema.BudgetList),
        ("/v1/regions", schema.RegionList),
        ("/v1/regions?region=aws:eu-west-1", schema.RegionList),
        ("/v1/sites", schema.ItemList),
        ("/v1/queues", schema.ItemList),
        ("/v1/doctor", schema.ItemList),
        ("/v1/doctor/grid", schema.GridCheckList),
        ("/v1/policy", policy.PolicyInForce),
        ("/v1/policy/history", schema.ItemList),
        ("/v1/policy/shadow", policy.ShadowTold),
        ("/v1/policy/past?days=2", policy.PastTold),
        ("/v1/health", schema.Health),
    ],
)
def test_each_answer_has_its_documented_shape(api: LiveApi, path: str, shape: type) -> None:
    answer = api.ask("GET", path)
    assert answer.status == 200, answer.body
    shape.model_validate(answer.json)  # type: ignore[attr-defined]  # every shape is a pydantic model


@pytest.mark.parametrize("path", ["", "/explain", "/events", "/receipt", "/logs", "/logs?follow=1"])
def test_an_unknown_job_is_a_404_problem_everywhere(api: LiveApi, path: str) -> None:
    answer = api.ask("GET", f"/v1/jobs/nobody-1{path}")
    assert answer.status == 404
    assert answer.json["type"] == "urn:lowtide:problem:not-found"


@pytest.mark.parametrize("job_id", ["a%2Fb", "A", "..", "a%00b", "x" * 80, "%F0%9F%98%80"])
def test_an_id_that_is_no_slug_never_reaches_the_service(api: LiveApi, job_id: str) -> None:
    api.service.failure = AssertionError("reached")
    answer = api.ask("GET", f"/v1/jobs/{job_id}")
    assert answer.status in {404, 422}
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("word", ["cancel", "hold", "release", "suspend", "resume"])
def test_an_order_reaches_the_service_with_the_actor(api: LiveApi, word: str) -> None:
    answer = api.ask("POST", f"/v1/jobs/one-aaaa/{word}", Lowtide_Actor="ada")
    assert answer.status == 200
    assert api.service.orders == [(word, "one-aaaa", "ada")]


def test_an_order_that_the_state_forbids_is_a_409_with_what_to_do(api: LiveApi) -> None:
    answer = api.ask("POST", "/v1/jobs/two-bbbb/cancel")
    assert answer.status == 409
    assert answer.json["fix"] == "Submit it again."
    assert answer.json["exit_code"] == 3


def test_run_now_keeps_the_reason(api: LiveApi) -> None:
    answer = api.ask("POST", "/v1/jobs/one-aaaa/run-now", {"reason": "tumour board at noon"})
    assert answer.status == 200
    assert api.service.orders[0][0] == "run_now:tumour board at noon"


@pytest.mark.parametrize("body", [{}, {"reason": " "}, {"reason": "x" * 501}, {"why": "x"}, {"reason": 3}, []])
def test_run_now_without_a_reason_is_refused(api: LiveApi, body: object) -> None:
    assert api.ask("POST", "/v1/jobs/one-aaaa/run-now", body).status == 422
    assert not api.service.orders


def test_logs_are_plain_text_and_can_be_cut_to_the_tail(api: LiveApi) -> None:
    whole = api.ask("GET", "/v1/jobs/one-aaaa/logs")
    tail = api.ask("GET", "/v1/jobs/one-aaaa/logs?tail=1")
    assert whole.headers["content-type"].startswith("text/plain")
    assert (whole.body, tail.body) == (b"epoch 1 loss 0.5\nepoch 2 loss 0.3\n", b"epoch 2 loss 0.3\n")


def test_followed_logs_are_streamed_to_their_end(api: LiveApi) -> None:
    answer = api.ask("GET", "/v1/jobs/one-aaaa/logs?follow=1")
    assert answer.headers["transfer-encoding"] == "chunked"
    assert answer.body == b"epoch 1 loss 0.5\nepoch 2 loss 0.3\n"


def test_a_database_that_refuses_is_503_and_nothing_is_said_to_be_accepted(api: LiveApi) -> None:
    api.service.failure = StoreFailure("the disk is full.", fix="Free space.")
    answer = api.ask("POST", "/v1/jobs", JOB)
    assert answer.status == 503
    assert (answer.json["detail"], answer.json["fix"]) == ("the disk is full.", "Free space.")


def test_more_gpus_than_any_site_has_is_refused_by_policy(api: LiveApi) -> None:
    api.service.failure = Infeasible("no site has 900 GPUs.", fix="Ask for less.")
    answer = api.ask("POST", "/v1/jobs", JOB)
    assert (answer.status, answer.json["exit_code"]) == (422, 3)
