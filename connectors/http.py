"""The one place that imports httpx: bounded, redirect-free requests with typed troubles.

A successor library takes its place here alone. Messages never carry headers, queries or bodies, since those
may hold secrets. A client with a ``Reach`` speaks to what that allows and to nothing else.
"""

import asyncio
import functools
import logging
import ssl
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Any

import httpcore
import httpx

from lowtide.connectors.reach import OutOfReach, Reach

CONNECT_S = 5.0
READ_S = 10.0
BODY_CAP = 1 << 20
_GZIP_WINDOW = 16 + zlib.MAX_WBITS
_CONNECTIONS, _KEPT = 20, 20
"""All of them are kept for the next refresh: opening one costs two round trips and more with TLS."""
for _library in ("httpx", "httpcore"):
    # They log whole URLs and headers, where some vendors' keys stand.
    logging.getLogger(_library).setLevel(logging.CRITICAL)


class HttpTroubleKind(StrEnum):
    """Why there is no answer."""

    CONNECT = "connect"
    TIMEOUT = "timeout"
    TOO_LARGE = "too_large"
    TLS = "tls"
    PROTOCOL = "protocol"
    OUT_OF_REACH = "out_of_reach"


class HttpTrouble(Exception):
    """No usable answer; the connectors turn it into their own typed error."""

    def __init__(self, kind: HttpTroubleKind, what: str, *, where: str = "") -> None:
        """Take the kind, a predicate without secrets, and whom it is about, for a sentence of both."""
        self.kind, self.what = kind, what
        self.message = f"{where} {what}" if where else what
        super().__init__(self.message)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A complete answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def user_agent() -> str:
    """Own name and version: some grid APIs refuse a library's default."""
    return f"lowtide/{metadata.version('lowtide')}"


@functools.cache
def _usual_tls() -> ssl.SSLContext:
    """One for all clients: reading the certificate authorities costs tens of milliseconds each time."""
    return httpx.create_ssl_context(trust_env=False)


class HttpClient:
    """A pool of connections to one vendor or cluster."""

    def __init__(
        self,
        *,
        headers: dict[str, str] | None = None,
        ca_file: Path | None = None,
        reach: Reach | None = None,
        connect_s: float = CONNECT_S,
        read_s: float = READ_S,
    ) -> None:
        """Take headers for every request (such as a bearer token), a private CA and where it may connect to.

        Without ``reach`` it connects wherever it is told to: for addresses that the administrator writes in full.
        """
        tls = ssl.create_default_context(cafile=str(ca_file)) if ca_file else _usual_tls()
        self._connect_s, self._read_s = connect_s, read_s
        self._room = asyncio.Semaphore(_CONNECTIONS)
        self._client = httpx.AsyncClient(
            headers={"User-Agent": user_agent(), "Accept-Encoding": "gzip", **(headers or {})},
            follow_redirects=False,
            transport=_Pinned(tls, reach) if reach else None,
            verify=tls,
            trust_env=False,
            limits=httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_KEPT),
        )

    async def request(
        self,
        method: str,
        url: str,
        *,
        json: Any = None,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
        read_timeout_s: float | None = None,
        body_cap: int = BODY_CAP,
    ) -> HttpAnswer:
        """One request; it takes at most connect plus twice the read timeout (the client's, if not given).

        It may wait as long again for a free connection. That time is not the vendor's: many zones at once must not
        fail because they stand in line behind each other.

        Raises:
            HttpTrouble: no answer, too slow, more than ``body_cap`` bytes after decompression, or out of reach.

        """
        read_s = self._read_s if read_timeout_s is None else read_timeout_s
        timeout = httpx.Timeout(read_s, connect=self._connect_s)
        try:
            request = self._client.build_request(
                method, url, json=json, content=content, headers=headers, timeout=timeout
            )
        except (httpx.InvalidURL, ValueError):
            raise HttpTrouble(HttpTroubleKind.PROTOCOL, "the address or a header cannot be sent as it is") from None
        limit_s = self._connect_s + 2 * read_s
        try:
            async with asyncio.timeout(limit_s):
                await self._room.acquire()
        except TimeoutError:
            raise self._trouble(HttpTroubleKind.TIMEOUT, request, "left no connection free in time") from None
        try:
            return await self._bounded(request, body_cap, limit_s)
        finally:
            self._room.release()

    async def _bounded(self, request: httpx.Request, body_cap: int, limit_s: float) -> HttpAnswer:
        """The exchange within its limit, its troubles made ours."""
        try:
            async with asyncio.timeout(limit_s):
                return await self._exchange(request, body_cap)
        except TimeoutError:
            raise self._trouble(HttpTroubleKind.TIMEOUT, request, "did not end in time") from None
        except httpx.TimeoutException:
            raise self._trouble(HttpTroubleKind.TIMEOUT, request, "did not answer in time") from None
        except OutOfReach as refusal:
            raise self._trouble(HttpTroubleKind.OUT_OF_REACH, request, str(refusal)) from None
        except httpx.ConnectError as error:
            kind = HttpTroubleKind.TLS if _is_tls(error) else HttpTroubleKind.CONNECT
            raise self._trouble(kind, request, f"cannot be reached ({error})") from None
        except (httpx.HTTPError, zlib.error, ValueError) as error:
            raise self._trouble(HttpTroubleKind.PROTOCOL, request, f"broke off ({type(error).__name__})") from None

    async def _exchange(self, request: httpx.Request, body_cap: int) -> HttpAnswer:
        response = await self._client.send(request, stream=True)
        try:
            body = await self._body(request, response, body_cap)
            return HttpAnswer(response.status_code, dict(response.headers), body)
        finally:
            await response.aclose()

    async def _body(self, request: httpx.Request, response: httpx.Response, body_cap: int) -> bytes:
        """The body, unpacked here and never past the cap: httpx unpacks whole chunks, and layers of them, at once."""
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in {"identity", "gzip"}:
            raise self._trouble(HttpTroubleKind.PROTOCOL, request, "sent an encoding that was not asked for")
        unpack = zlib.decompressobj(_GZIP_WINDOW) if encoding == "gzip" else None
        body = bytearray()
        async for chunk in response.aiter_raw():
            packed = chunk
            while packed:
                room = body_cap + 1 - len(body)
                body += unpack.decompress(packed, room) if unpack else packed[:room]
                if len(body) > body_cap:
                    raise self._trouble(HttpTroubleKind.TOO_LARGE, request, f"sent more than {body_cap} bytes")
                packed = unpack.unconsumed_tail if unpack else b""
        if unpack and body and not unpack.eof:
            raise self._trouble(HttpTroubleKind.PROTOCOL, request, "broke off inside its packed body")
        return bytes(body)

    @staticmethod
    def _trouble(kind: HttpTroubleKind, request: httpx.Request, what: str) -> HttpTrouble:
        return HttpTrouble(kind, what, where=f"{request.url.scheme}://{request.url.netloc.decode()}")

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()


def _is_tls(error: BaseException | None) -> bool:
    """Whether TLS is what failed: the libraries below wrap its error, each in one of its own."""
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error is not None


class _Checked(httpcore.AsyncNetworkBackend):
    """Opens connections to checked addresses alone. TLS still proves the name, since httpcore keeps it for that."""

    def __init__(self, reach: Reach) -> None:
        self._reach, self._sockets = reach, httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the port's own signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        trouble: Exception = httpcore.ConnectError("no address")
        try:
            addresses = await self._reach.addresses(host, port)
        except OSError as error:
            raise httpcore.ConnectError(f"its name cannot be resolved: {error.strerror}") from error
        for address in addresses:
            try:
                return await self._sockets.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                trouble = error
        raise trouble

    async def sleep(self, seconds: float) -> None:
        await self._sockets.sleep(seconds)


@contextmanager
def _httpx_troubles() -> Iterator[None]:
    """Let the errors of the library below look like those of the usual transport."""
    try:
        yield
    except httpcore.TimeoutException as error:
        raise httpx.ReadTimeout(str(error)) from error
    except httpcore.ConnectError as error:
        raise httpx.ConnectError(str(error)) from error
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol) as error:
        raise httpx.RemoteProtocolError(str(error)) from error


class _Pinned(httpx.AsyncBaseTransport):
    """The usual transport, with our own way to open a connection: httpx offers no place to put one in.

    Each connection is a pool of its own, and the one used last is taken first: a larger pool looks at all of its
    connections, and for each idle one at all of them again, whenever a request begins or ends.
    """

    def __init__(self, tls: ssl.SSLContext, reach: Reach) -> None:
        backend = _Checked(reach)
        self._lanes = [_lane(tls, backend) for _ in range(_CONNECTIONS)]
        self._free = list(self._lanes)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        asked = httpcore.Request(
            request.method.encode(),
            target,
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        lane = self._free.pop()  # there is one: the client lets no more requests in than there are lanes
        try:
            with _httpx_troubles():
                answer = await lane.handle_async_request(asked)
        except BaseException:
            self._free.append(lane)
            raise
        body = _Body(answer, done=functools.partial(self._free.append, lane))
        return httpx.Response(answer.status, headers=answer.headers, stream=body, extensions=answer.extensions)

    async def aclose(self) -> None:
        for lane in self._lanes:
            await lane.aclose()


def _lane(tls: ssl.SSLContext, backend: httpcore.AsyncNetworkBackend) -> httpcore.AsyncConnectionPool:
    return httpcore.AsyncConnectionPool(
        ssl_context=tls, max_connections=1, keepalive_expiry=5.0, network_backend=backend
    )


class _Body(httpx.AsyncByteStream):
    """A body as it comes; ``done`` is called once, when nobody reads it any more."""

    def __init__(self, answer: httpcore.Response, done: Callable[[], None]) -> None:
        self._answer, self._done = answer, done

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _httpx_troubles():
            async for chunk in self._answer.aiter_stream():
                yield chunk

    async def aclose(self) -> None:
        try:
            await self._answer.aclose()
        finally:
            done, self._done = self._done, _nothing
            done()


def _nothing() -> None:
    """What a body does that is closed again."""
