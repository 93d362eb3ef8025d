"""Who is let in, how much is read, and what an error tells."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from lowtide.scheduler.api.app import create_app, openapi
from lowtide.scheduler.api.gate import MAX_BODY_BYTES
from lowtide.scheduler.api.jobspec import JobFile
from tests.api_server import TOKEN, LiveApi, serve
from tests.fake_service import FakeService, a_job

PATHS = [
    "/v1/jobs",
    "/v1/sites",
    "/v1/zones",
    "/v1/regions",
    "/v1/budgets",
    "/v1/openapi.json",
    "/v1/doctor",
    "/v1/doctor/grid",
    "/v1/report",
    "/v1/policy",
    "/v1/policy/history",
    "/v1/policy/shadow",
    "/v1/policy/past",
    "/v1/nothing",
    "/metrics/",
]


@pytest.fixture(scope="module")
def live() -> Iterator[LiveApi]:
    with serve(FakeService()) as served:
        yield served


@pytest.fixture
def api(live: LiveApi) -> LiveApi:
    live.service.reset(a_job("one-aaaa"))
    return live


@pytest.mark.parametrize("path", PATHS)
def test_without_a_token_nothing_but_health_and_metrics_answers(api: LiveApi, path: str) -> None:
    answer = api.ask("GET", path, token=None)
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json["type"] == "urn:lowtide:problem:unauthorized"


@pytest.mark.parametrize("token", ["", "x", TOKEN + "x", TOKEN[:-1], TOKEN.upper()])
def test_a_wrong_token_is_refused(api: LiveApi, token: str) -> None:
    assert api.ask("GET", "/v1/jobs", token=token).status == 401


def test_a_token_under_another_scheme_is_refused(api: LiveApi) -> None:
    assert api.ask("GET", "/v1/jobs", token=None, Authorization=f"Basic {TOKEN}").status == 401


def test_a_token_of_other_bytes_is_refused_and_not_an_error(api: LiveApi) -> None:
    assert api.ask("GET", "/v1/jobs", token=None, Authorization="Bearer \xff\xfe").status == 401


def test_health_and_metrics_need_no_token(api: LiveApi) -> None:
    assert api.ask("GET", "/v1/health", token=None).json["status"] == "ready"
    metrics = api.ask("GET", "/metrics", token=None)
    assert b"lowtide_up 1" in metrics.body
    assert metrics.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


def test_a_scrape_that_takes_long_keeps_nobody_waiting() -> None:
    begun, over = threading.Event(), threading.Event()

    def slow() -> bytes:
        begun.set()
        over.wait(30)
        return b"lowtide_up 1\n"

    with serve(FakeService(), metrics=slow) as api, ThreadPoolExecutor() as pool:
        scrapes = [pool.submit(api.ask, "GET", "/metrics") for _ in range(8)]
        assert begun.wait(10)
        assert api.ask("GET", "/v1/health").status == 200
        assert api.ask("GET", "/v1/jobs").status == 200
        over.set()
        assert {scrape.result().status for scrape in scrapes} == {200}


def test_health_is_503_while_the_daemon_starts(api: LiveApi) -> None:
    api.service.status = "starting"
    assert api.ask("GET", "/v1/health", token=None).status == 503


def test_an_empty_token_would_let_everybody_in_and_is_refused() -> None:
    app = create_app(FakeService(), token="", metrics=lambda: b"")
    with pytest.raises(ValueError, match="needs a token"):
        app.build_middleware_stack()


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "", "127.0.0.1.evil.example", "[::2]"])
def test_a_foreign_host_name_is_refused_even_for_health(api: LiveApi, host: str) -> None:
    answer = api.ask("GET", "/v1/health", Host=host)
    assert answer.status == 421
    assert answer.json["type"] == "urn:lowtide:problem:wrong-host"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8470", "LOCALHOST", "[::1]:8470"])
def test_loopback_names_are_served(api: LiveApi, host: str) -> None:
    assert api.ask("GET", "/v1/health", Host=host).status == 200


def test_a_path_that_does_not_exist_is_a_problem_document(api: LiveApi) -> None:
    answer = api.ask("GET", "/v1/job")
    assert answer.status == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["detail"] == "there is nothing at '/v1/job'."


def test_a_wrong_method_is_a_problem_document(api: LiveApi) -> None:
    answer = api.ask("DELETE", "/v1/jobs")
    assert answer.status == 405
    assert answer.headers["content-type"] == "application/problem+json"
    assert "POST" in answer.headers["allow"] or "GET" in answer.headers["allow"]


def test_an_unexpected_error_tells_nothing_of_the_inside(api: LiveApi) -> None:
    api.service.failure = RuntimeError("password=hunter2 in /srv/secret.db")
    answer = api.ask("GET", "/v1/jobs/one-aaaa")
    assert answer.status == 500
    assert answer.json["type"] == "urn:lowtide:problem:internal"
    assert b"hunter2" not in answer.body
    assert b"secret" not in answer.body
    assert api.log[-1]["event"] == "request_failed"
    assert isinstance(api.log[-1]["exc_info"], RuntimeError)


def test_a_nan_from_inside_never_leaves_as_a_number(api: LiveApi) -> None:
    api.service.by_id["one-aaaa"]["slack_s"] = float("nan")
    answer = api.ask("GET", "/v1/jobs/one-aaaa")
    assert answer.status == 500


def test_a_body_of_fifty_megabytes_is_refused_before_it_is_read(api: LiveApi) -> None:
    head = (
        f"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Length: {50 << 20}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", api.port), timeout=5) as connection:
        connection.sendall(head.encode())  # and not one byte of the body
        answer = connection.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"urn:lowtide:problem:too-large" in answer


def test_a_chunked_body_is_cut_off_at_the_cap(api: LiveApi) -> None:
    head = (
        f"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
    )
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    sent = 0
    with socket.create_connection(("127.0.0.1", api.port), timeout=5) as connection:
        connection.sendall(head.encode())
        connection.settimeout(0.05)
        answer = b""
        deadline = time.monotonic() + 10
        while not answer and sent < 50 << 20 and time.monotonic() < deadline:
            connection.sendall(chunk)
            sent += len(chunk)
            try:
                answer = connection.recv(65_536)
            except TimeoutError:
                continue
    assert answer.startswith(b"HTTP/1.1 413")
    assert sent < 4 * MAX_BODY_BYTES


def test_a_body_at_the_cap_is_read(api: LiveApi) -> None:
    job = json.dumps({"entrypoint": ["true"]}).encode()
    assert api.ask("POST", "/v1/jobs", job + b" " * (MAX_BODY_BYTES - len(job))).status == 201
    assert api.ask("POST", "/v1/jobs", job + b" " * (MAX_BODY_BYTES - len(job) + 1)).status == 413


@pytest.mark.parametrize("length", ["-1", "x", "1e3"])
def test_an_odd_content_length_is_refused(api: LiveApi, length: str) -> None:
    head = (
        f"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Length: {length}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", api.port), timeout=5) as connection:
        connection.sendall(head.encode())
        assert connection.recv(65_536).startswith((b"HTTP/1.1 400", b"HTTP/1.1 413"))


def test_shutdown_is_asked_of_the_service(api: LiveApi) -> None:
    assert api.ask("POST", "/v1/shutdown").status == 202
    assert api.ask("POST", "/v1/shutdown", {"stop_cluster": True}).status == 202
    assert api.ask("POST", "/v1/shutdown", {"stop": True}).status == 422
    assert api.service.shutdowns == [False, True]


def test_the_openapi_document_is_kept(golden: Callable[[str, str], None]) -> None:
    document = openapi(create_app(FakeService(), token=TOKEN, metrics=lambda: b""))
    golden("openapi.json", json.dumps(document, indent=1, sort_keys=True) + "\n")


def test_the_openapi_document_describes_the_job_file_and_points_only_at_what_it_holds(api: LiveApi) -> None:
    document = api.ask("GET", "/v1/openapi.json").json
    schemas = document["components"]["schemas"]
    assert set(schemas["JobFile"]["properties"]) == set(JobFile.model_fields)
    body = document["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/JobFile"}
    text = json.dumps(document)
    for name in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert name in schemas


def test_every_operation_but_the_open_ones_asks_for_the_token(api: LiveApi) -> None:
    document = api.ask("GET", "/v1/openapi.json").json
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation["security"] == ([] if path in {"/v1/health", "/metrics"} else [{"token": []}])
