"""A vendor on the loopback interface: answers as told, misbehaves as told, remembers what it was asked."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HALF_HOUR = timedelta(minutes=30)


@dataclass(frozen=True)
class Reply:
    """What the server does with one request; ``promised`` is a Content-Length larger than the body.

    ``hang`` says nothing, ``drip`` sends a byte now and then for ever, ``raw`` is sent as it stands.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    hang: bool = False
    promised: int | None = None
    drip: bool = False
    raw: bytes | None = None


def json_reply(value: Any, status: int = 200) -> Reply:
    return Reply(status, json.dumps(value).encode(), {"Content-Type": "application/json"})


@dataclass
class Vendor:
    """The running server."""

    url: str
    answer: Callable[[str], Reply]
    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)


def _handler(vendor: Vendor) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            vendor.bodies.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            vendor.paths.append(self.path)
            vendor.headers.append({name.lower(): value for name, value in self.headers.items()})
            reply = vendor.answer(self.path)
            if reply.hang:
                vendor.released.wait(30)
                return
            self.close_connection = True
            if reply.raw is not None:
                self._write(reply.raw)
                return
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(reply.promised or len(reply.body)))
            self.end_headers()
            self._write(reply.body)
            while reply.drip and not vendor.released.wait(0.02) and self._write(b" "):
                pass

        do_POST = do_PUT = do_GET  # noqa: N815 - as above

        def _write(self, body: bytes) -> bool:
            try:
                self.wfile.write(body)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client had its fill: that is what the test is about
                return False
            return True

        def log_message(self, *args: object) -> None:
            pass

    return Handler


@contextmanager
def a_vendor(answer: Callable[[str], Reply]) -> Iterator[Vendor]:
    """Serve until the block ends; hanging requests are released then."""
    vendor = Vendor("", answer)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(vendor))
    vendor.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield vendor
    finally:
        vendor.released.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%MZ")


def made_up_g_per_kwh(start: datetime) -> int:
    """A number that names its slot: no two of one day are equal."""
    return 60 + int(start.timestamp() // 1800) % 48 * 4


def neso_row(start: datetime, *, forecast: object, actual: object) -> dict[str, Any]:
    figures = {"forecast": forecast, "actual": actual, "index": "moderate"}
    return {"from": stamp(start), "to": stamp(start + HALF_HOUR), "intensity": figures}


def neso_like(now: datetime) -> Callable[[str], Reply]:
    """An API of NESO's shape: minute times, null actuals, and at :00 sharp also the slot that ends there."""

    def answer(path: str) -> Reply:
        _, what, begin, end = path.split("/")
        assert what == "intensity"
        start = datetime.fromisoformat(begin)
        stop = start + timedelta(hours=48) if end == "fw48h" else datetime.fromisoformat(end)
        if start >= stop or start > now + timedelta(days=2):
            return json_reply({"error": {"code": "400 Bad Request", "message": "from must be before to"}}, 400)
        if stop < now - timedelta(days=365):
            told = {"code": "500 Internal Server Error", "message": "Requested resource not found."}
            return json_reply({"error": told}, 500)
        offset = start.timestamp() % 1800
        slot = start - timedelta(seconds=offset or 1800)
        rows = []
        while slot < stop:
            g = made_up_g_per_kwh(slot)
            rows.append(neso_row(slot, forecast=g + 5, actual=g if slot + HALF_HOUR <= now else None))
            slot += HALF_HOUR
        return json_reply({"data": rows})

    return answer
