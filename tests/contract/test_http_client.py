"""The one HTTP client: bounded in time and size, no redirects, no secrets in what it says."""

import asyncio
import contextlib
import gzip
import logging
import socket
import threading
import tracemalloc
import zlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lowtide.connectors.http import HttpAnswer, HttpClient, HttpTrouble, HttpTroubleKind
from lowtide.connectors.reach import reach_of
from tests.contract.grid_server import Reply, a_vendor

SECRET = "s3cr3t-t0k3n"


def fetch(url: str, *, client: dict[str, Any] | None = None, **rest: Any) -> HttpAnswer:
    async def whole() -> HttpAnswer:
        http = HttpClient(**(client or {}))
        try:
            return await http.request(rest.pop("method", "GET"), url, **rest)
        finally:
            await http.close()

    return asyncio.run(whole())


def trouble(reply: Reply, **rest: Any) -> HttpTrouble:
    with a_vendor(lambda _: reply) as vendor, pytest.raises(HttpTrouble) as caught:
        fetch(f"{vendor.url}/x?token={SECRET}", headers={"Authorization": SECRET}, **rest)
    assert SECRET not in str(caught.value)
    return caught.value


@contextmanager
def raw_server(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """One connection, spoken to byte by byte."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                try:
                    talk(connection)
                except (BrokenPipeError, ConnectionResetError):
                    return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        thread.join(10)


def test_neither_the_url_nor_a_header_is_logged_by_the_libraries_below(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with a_vendor(lambda _: Reply(200)) as vendor:
        fetch(f"{vendor.url}/x?token={SECRET}", headers={"Authorization": SECRET})
    assert SECRET not in caplog.text


def test_an_answer_is_whole_and_its_headers_are_in_lower_case() -> None:
    with a_vendor(lambda _: Reply(418, b"tea", {"X-Thing": "1"})) as vendor:
        answer = fetch(vendor.url)
    assert (answer.status, answer.body, answer.headers["x-thing"]) == (418, b"tea", "1")


def test_it_names_itself_and_asks_for_gzip_only() -> None:
    with a_vendor(lambda _: Reply()) as vendor:
        fetch(vendor.url, client={"headers": {"Authorization": "Bearer x"}})
    told = vendor.headers[0]
    assert told["user-agent"].startswith("lowtide/")
    assert told["accept-encoding"] == "gzip"
    assert told["authorization"] == "Bearer x"


def test_a_packed_body_is_unpacked() -> None:
    body = b"tide " * 10_000
    with a_vendor(lambda _: Reply(body=gzip.compress(body), headers={"Content-Encoding": "gzip"})) as vendor:
        assert fetch(vendor.url).body == body


def test_a_body_of_exactly_the_cap_passes_and_one_byte_more_does_not() -> None:
    for packing in (lambda b: b, gzip.compress):
        headers = {"Content-Encoding": "gzip"} if packing is gzip.compress else {}
        with a_vendor(lambda _, p=packing, h=headers: Reply(body=p(b"x" * 1000), headers=h)) as vendor:  # type: ignore[misc]  # defaults bind the loop's values
            assert len(fetch(vendor.url, body_cap=1000).body) == 1000
            with pytest.raises(HttpTrouble) as caught:
                fetch(vendor.url, body_cap=999)
        assert caught.value.kind == HttpTroubleKind.TOO_LARGE


def test_a_bomb_is_stopped_without_being_unpacked() -> None:
    bomb = gzip.compress(b"\0" * (64 << 20), 9)
    with a_vendor(lambda _: Reply(body=bomb, headers={"Content-Encoding": "gzip"})) as vendor:
        tracemalloc.start()
        with pytest.raises(HttpTrouble) as caught:
            fetch(vendor.url)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert caught.value.kind == HttpTroubleKind.TOO_LARGE
    assert peak < 16 << 20


@pytest.mark.parametrize("encoding", ["gzip, gzip", "br", "zstd", "deflate"])
def test_an_encoding_that_was_not_asked_for_is_refused(encoding: str) -> None:
    packed = gzip.compress(gzip.compress(b"x"))
    assert trouble(Reply(body=packed, headers={"Content-Encoding": encoding})).kind == HttpTroubleKind.PROTOCOL


@pytest.mark.parametrize("body", [b"not packed", gzip.compress(b"tide" * 1000)[:-12], zlib.compress(b"x")])
def test_a_body_that_is_not_what_its_header_says_is_refused(body: bytes) -> None:
    assert trouble(Reply(body=body, headers={"Content-Encoding": "gzip"})).kind == HttpTroubleKind.PROTOCOL


def test_a_redirect_is_an_answer_like_any_other() -> None:
    with a_vendor(lambda _: Reply(302, headers={"Location": "http://127.0.0.1:1/"})) as vendor:
        assert fetch(vendor.url).status == 302


def test_silence_is_a_timeout() -> None:
    assert trouble(Reply(hang=True), read_timeout_s=0.1).kind == HttpTroubleKind.TIMEOUT


def test_a_drip_that_keeps_the_connection_awake_ends_at_the_deadline() -> None:
    over = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not over.wait(0.02):
            connection.sendall(b"x")

    with raw_server(drip) as url:
        with pytest.raises(HttpTrouble) as caught:
            fetch(url, client={"connect_s": 0.1}, read_timeout_s=0.1)
        over.set()
    assert caught.value.kind == HttpTroubleKind.TIMEOUT
    assert "did not end" in caught.value.message


@pytest.mark.parametrize(
    "answer",
    [b"", b"\x16\x03\x01 not http\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"],
    ids=["closed", "not http", "short"],
)
def test_what_is_not_http_is_a_protocol_trouble(answer: bytes) -> None:
    with raw_server(lambda connection: connection.sendall(answer)) as url, pytest.raises(HttpTrouble) as caught:
        fetch(url)
    assert caught.value.kind == HttpTroubleKind.PROTOCOL


def test_nobody_listening_is_a_connect_trouble() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    with pytest.raises(HttpTrouble) as caught:
        fetch(f"http://user:{SECRET}@127.0.0.1:{port}/?key={SECRET}")
    assert caught.value.kind == HttpTroubleKind.CONNECT
    assert SECRET not in str(caught.value)
    assert f"127.0.0.1:{port}" in str(caught.value)


def test_tls_to_a_server_without_it_is_a_trouble_of_its_kind() -> None:
    with a_vendor(lambda _: Reply()) as vendor, pytest.raises(HttpTrouble) as caught:
        fetch(vendor.url.replace("http:", "https:"))
    assert caught.value.kind == HttpTroubleKind.TLS


@pytest.mark.parametrize("url", [f"http://[::1?key={SECRET}", f"ftp://127.0.0.1/{SECRET}", "", f"/{SECRET}"])
def test_an_address_that_is_none_is_a_protocol_trouble_without_the_address(url: str) -> None:
    with pytest.raises(HttpTrouble) as caught:
        fetch(url)
    assert caught.value.kind == HttpTroubleKind.PROTOCOL
    assert SECRET not in str(caught.value)


def test_a_header_with_a_line_break_never_leaves() -> None:
    with a_vendor(lambda _: Reply()) as vendor:
        with pytest.raises(HttpTrouble) as caught:
            fetch(vendor.url, headers={"X": f"{SECRET}\r\nY: 1"})
        assert vendor.paths == []
    assert SECRET not in str(caught.value)


def test_json_and_bytes_are_sent_as_they_are() -> None:
    with a_vendor(lambda _: Reply()) as vendor:
        fetch(vendor.url, method="POST", json={"a": [1]})
        fetch(vendor.url, method="PUT", content=b"\0\1")
    assert vendor.bodies == [b'{"a":[1]}', b"\0\1"]
    assert vendor.headers[0]["content-type"] == "application/json"


def test_who_waits_for_a_free_connection_loses_none_of_its_own_time() -> None:
    """With many zones at once the last ones stand in line for longer than a vendor may take."""

    async def whole(url: str) -> None:
        client = HttpClient(read_s=10.0)
        free = client._room._value
        for _ in range(free):
            await client._room.acquire()
        waiting = asyncio.create_task(client.request("GET", url))
        await asyncio.sleep(0)
        assert not waiting.done()
        client._room.release()
        assert (await waiting).status == 200
        assert client._room._value == 1
        await client._room.acquire()
        client._connect_s = 0.0
        with pytest.raises(HttpTrouble, match="no connection free") as caught:
            await client.request("GET", url, read_timeout_s=0.01)
        assert caught.value.kind == HttpTroubleKind.TIMEOUT
        await client.close()

    with a_vendor(lambda _: Reply()) as vendor:
        asyncio.run(whole(vendor.url))


class Keeper:
    """A vendor that keeps its connections open and counts them; a path of ``/odd`` gets what is not HTTP."""

    def __init__(self) -> None:
        self.talks: list[asyncio.Task[None] | None] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.talks.append(asyncio.current_task())
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                odd = head.startswith(b"GET /odd ")
                writer.write(b"nonsense\r\n\r\n" if odd else b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def kept(use: Callable[[HttpClient, str], Awaitable[None]]) -> int:
    """How many connections a use of a client with a reach has opened."""

    async def whole() -> int:
        keeper = Keeper()
        server = await asyncio.start_server(keeper, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        client = HttpClient(reach=reach_of("v", url, ()), read_s=5.0)
        await use(client, url)
        await client.close()
        server.close()
        await asyncio.gather(*(talk for talk in keeper.talks if talk is not None))
        return len(keeper.talks)

    return asyncio.run(whole())


def test_one_request_after_the_other_goes_over_one_connection() -> None:
    async def use(client: HttpClient, url: str) -> None:
        for _ in range(30):
            assert (await client.request("GET", url)).body == b"ok"

    assert kept(use) == 1


def test_many_at_once_share_the_connections() -> None:
    async def use(client: HttpClient, url: str) -> None:
        answers = await asyncio.gather(*(client.request("GET", url) for _ in range(200)))
        assert {answer.body for answer in answers} == {b"ok"}

    assert 1 < kept(use) <= 20


def test_what_fails_or_is_given_up_takes_no_connection_from_the_others() -> None:
    async def use(client: HttpClient, url: str) -> None:
        for _ in range(30):
            with pytest.raises(HttpTrouble):
                await client.request("GET", f"{url}/odd")
            given_up = asyncio.create_task(client.request("GET", url))
            await asyncio.sleep(0)
            given_up.cancel()
            await asyncio.wait([given_up])
        answers = await asyncio.gather(*(client.request("GET", url) for _ in range(40)))
        assert {answer.status for answer in answers} == {200}

    kept(use)
