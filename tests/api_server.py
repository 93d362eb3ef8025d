"""A real uvicorn on a free loopback port, serving the API over a fake service."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
from structlog.testing import capture_logs

from lowtide.scheduler.api.app import create_app
from tests.fake_service import FakeService

TOKEN = "a-token-for-tests"
START_S = 20.0
METRICS = b"# TYPE lowtide_up gauge\nlowtide_up 1\n"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class LiveApi:
    service: FakeService
    port: int
    log: list[Any]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, body: Any = None, *, token: str | None = TOKEN, **headers: str) -> Answer:
        """One request; header names are written with underscores."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body=content, headers=sent)
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()


@contextmanager
def serve(service: FakeService, metrics: Callable[[], bytes] = lambda: METRICS) -> Iterator[LiveApi]:
    """Serve until the block ends."""
    app = create_app(service, token=TOKEN, metrics=metrics)
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, access_log=False, lifespan="off", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        # Without the capture structlog draws a coloured traceback of every expected error, for seconds.
        with capture_logs() as log:
            yield LiveApi(service, _port(server), log)
    finally:
        server.should_exit = True
        thread.join(START_S)


def _port(server: uvicorn.Server) -> int:
    deadline = time.monotonic() + START_S
    while not server.started:
        assert time.monotonic() < deadline, "uvicorn did not start"
        time.sleep(0.005)
    return int(server.servers[0].sockets[0].getsockname()[1])
