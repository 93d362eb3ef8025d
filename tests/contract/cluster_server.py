"""A Ray head on the loopback interface that answers as told, also as no healthy one would."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HANG = object()
BREAK = object()
"""Answers that are none: silence until the test ends, and a connection that closes without a word."""


@dataclass
class Head:
    """Answers by ``METHOD /path`` (query left out): (status, body), HANG, BREAK, or a list of them in turn."""

    answers: dict[str, Any]
    url: str = ""
    asked: list[str] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def next_answer(self, what: str) -> Any:
        answer = self.answers.get(what, (404, "no such thing"))
        if isinstance(answer, list):
            return answer.pop(0) if len(answer) > 1 else answer[0]
        return answer


def _handler(head: Head) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.close_connection = True
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            what = f"{self.command} {self.path.split('?')[0]}"
            head.bodies.append(body)
            head.headers.append({name.lower(): value for name, value in self.headers.items()})
            head.asked.append(f"{self.command} {self.path}")
            answer = head.next_answer(what)
            if answer is HANG:
                head.released.wait(30)
            if answer is not HANG and answer is not BREAK:
                self._send(*answer)

        do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - as above

        def _send(self, status: int, body: Any) -> None:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            try:
                self.wfile.write(content)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client had its fill

        def log_message(self, *args: object) -> None:
            pass

    return Handler


@contextmanager
def a_head(answers: dict[str, Any]) -> Iterator[Head]:
    """Serve until the block ends; what hangs is released then."""
    head = Head(answers)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(head))
    head.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield head
    finally:
        head.released.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
