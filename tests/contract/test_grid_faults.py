"""Every source that speaks HTTP against everything that can happen to an answer (INV-11, INV-12, INV-22).

Each cell is a right value or a typed failure, in bounded time, and the key shows nowhere. A fault strikes either at
once or after one good answer, so that sources which log in first meet it behind the door as well.
"""

import asyncio
import gzip
import importlib
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime
from importlib.metadata import entry_points
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from lowtide.connectors.grid.reader import GridReader
from lowtide.connectors.http import HttpAnswer, HttpClient
from lowtide.scheduler.model.errors import GridFailure, GridFailureKind
from lowtide.scheduler.model.series import GridSource, Series
from tests.contract.grid_server import Reply, Vendor, a_vendor
from tests.contract.grid_speakers import KEY, KEY_ENV, SPEAKERS, Speaker

for module in sorted(Path(__file__).parent.glob("test_grid_*.py")):
    if module.stem != Path(__file__).stem:
        importlib.import_module(f"tests.contract.{module.stem}")

LOCAL = {"file", "recorded", "static"}
HOUR = timedelta(hours=1)
LONGEST_S = 8.0
"""Of a cell: two requests, each with the connect time and twice the read time below, on a busy machine."""
K = GridFailureKind
Strike = Callable[[Reply], Reply]
"""What becomes of the right answer."""


@dataclass(frozen=True)
class Fault:
    """What happens to an answer, and which failures tell of it rightly; none of them: the value stays right."""

    name: str
    strike: Strike
    kinds: frozenset[GridFailureKind] = frozenset()
    retry_s: float | None = field(default=None)
    """Seconds until ``retry_at``, where the vendor named a usable time."""


def instead(reply: Reply) -> Strike:
    return lambda _: reply


def cut(reply: Reply) -> Reply:
    return Reply(body=reply.body[: len(reply.body) // 2], headers=reply.headers)


def broken_off(reply: Reply) -> Reply:
    return Reply(body=reply.body[: len(reply.body) // 2], headers=reply.headers, promised=len(reply.body) + 1)


def mislabelled(reply: Reply) -> Reply:
    return Reply(reply.status, reply.body, {**reply.headers, "Content-Type": "text/html"})


def packed(reply: Reply) -> Reply:
    return Reply(reply.status, gzip.compress(reply.body), {**reply.headers, "Content-Encoding": "gzip"})


OUTAGE, WRONG = frozenset({K.UNAVAILABLE}), frozenset({K.BAD_RESPONSE})
NOTHING = frozenset({K.NO_DATA, K.BAD_RESPONSE})
KEY_TROUBLE = frozenset({K.AUTH, K.NOT_ENTITLED})
LIMITED = frozenset({K.RATE_LIMITED})
BOMB = gzip.compress(b" " * (32 << 20), 9)
FAULTS = [
    Fault("nothing happens", lambda reply: reply),
    Fault("wrong content type", mislabelled),
    Fault("packed as asked", packed),
    Fault("hang", instead(Reply(hang=True)), OUTAGE),
    Fault("slow drip", lambda reply: Reply(body=reply.body[:20], promised=1 << 19, drip=True), OUTAGE),
    Fault("broken off", broken_off, OUTAGE),
    Fault("cut in half and called whole", cut, WRONG),
    Fault("closed without a word", instead(Reply(raw=b"")), OUTAGE),
    Fault("not HTTP", instead(Reply(raw=b"220 mail ready\r\n")), OUTAGE),
    Fault("HTML with 200", instead(Reply(body=b"<!doctype html><title>Maintenance</title>")), NOTHING),
    Fault("10 MB", instead(Reply(body=b" " * (10 << 20))), OUTAGE),
    Fault("gzip bomb", instead(Reply(body=BOMB, headers={"Content-Encoding": "gzip"})), OUTAGE),
    Fault("another packing", instead(Reply(body=b"x", headers={"Content-Encoding": "br"})), OUTAGE),
    Fault("null", instead(Reply(body=b"null")), NOTHING),
    Fault("{}", instead(Reply(body=b"{}")), NOTHING),
    Fault("[]", instead(Reply(body=b"[]")), NOTHING),
    Fault("empty", instead(Reply()), NOTHING),
    Fault("a number", instead(Reply(body=b"0")), NOTHING),
    Fault("not UTF-8", instead(Reply(body=b"\xff\xfe\x00")), NOTHING),
    Fault("too deep", instead(Reply(body=b"[" * 200_000)), NOTHING),
    Fault("401", instead(Reply(401)), KEY_TROUBLE),
    Fault("403", instead(Reply(403)), KEY_TROUBLE),
    Fault("404", instead(Reply(404)), frozenset({K.NO_DATA, K.UNKNOWN_ZONE})),
    Fault("410", instead(Reply(410)), frozenset({K.GONE})),
    Fault("500", instead(Reply(500, b"oops")), OUTAGE),
    Fault("502", instead(Reply(502, b"<html>bad gateway</html>")), OUTAGE),
    Fault("503", instead(Reply(503, headers={"Retry-After": "90"})), OUTAGE, 90),
    Fault("429 without a time", instead(Reply(429)), LIMITED),
]
RETRY_AFTER: list[tuple[str, str | timedelta, float | None]] = [
    ("seconds", "90", 90),
    ("a date", timedelta(seconds=420), 420),
    ("a date that has passed", timedelta(days=-7), 0),
    ("absurd seconds", "999999999999", 3600),
    ("an absurd date", timedelta(days=700), 3600),
    ("negative seconds", "-3", None),
    ("words", "soon", None),
    ("nothing", "", None),
]
SPOKEN = [pytest.param(speaker, id=name) for name, speaker in sorted(SPEAKERS.items())]


@dataclass
class Impatience:
    """The timeouts of every client, shortened from the moment when the fault strikes."""

    read_s: float = 10.0
    connect_s: float = 5.0


@pytest.fixture
def impatience(monkeypatch: pytest.MonkeyPatch) -> Impatience:
    limits, request = Impatience(), HttpClient.request

    async def impatient(self: HttpClient, method: str, url: str, **rest: Any) -> HttpAnswer:
        self._connect_s = limits.connect_s
        return await request(self, method, url, **{**rest, "read_timeout_s": limits.read_s})

    monkeypatch.setattr(HttpClient, "request", impatient)
    monkeypatch.setenv(KEY_ENV, KEY)
    return limits


def question(speaker: Speaker, operation: str) -> Callable[[GridSource], Awaitable[Series | None]]:
    if operation == "actual":
        return lambda source: source.actual(speaker.zone, speaker.now - 6 * HOUR, speaker.now, speaker.now)
    return lambda source: source.forecast(speaker.zone, speaker.now)


async def told(source: GridSource, ask: Callable[[GridSource], Awaitable[Series | None]]) -> Any:
    """The answer, or the failure in its place; anything else goes up and fails the cell."""
    try:
        return await ask(source)
    except GridFailure as failure:
        return failure


def play(speaker: Speaker, operation: str, strike: Strike, limits: Impatience, *, late: bool) -> tuple[Any, Any]:
    """The right answer and what comes of the fault, with the same question."""
    ask, struck = question(speaker, operation), False

    def answer(path: str) -> Reply:
        return strike(speaker.answer(path)) if struck else speaker.answer(path)

    async def whole(vendor: Vendor) -> tuple[Any, Any]:
        nonlocal struck
        source = speaker.build(vendor.url)
        right = await told(source, ask)
        if not late:
            await source.close()
            source = speaker.build(vendor.url)
        struck, limits.read_s, limits.connect_s = True, 0.3, 0.5
        begun = time.monotonic()
        found = await told(source, ask)
        assert time.monotonic() - begun < LONGEST_S
        await source.close()
        return right, found

    with a_vendor(answer) as vendor:
        return asyncio.run(whole(vendor))


def shown(failure: BaseException) -> str:
    return "".join(traceback.format_exception(failure)) + repr(failure) + str(vars(failure))


def judge(found: Any, right: Any, fault: Fault, now: datetime, ban_s: float | None = None) -> None:
    assert right is None or isinstance(right, Series), right
    if right is None or not fault.kinds:
        assert found == right
        return
    assert isinstance(found, GridFailure), found
    assert found.kind in fault.kinds
    assert KEY not in shown(found)
    retry_s = ban_s if fault.retry_s is None and found.kind == K.RATE_LIMITED else fault.retry_s
    if retry_s is not None:
        assert found.retry_at == now + timedelta(seconds=retry_s)
    else:
        assert found.retry_at is None


def test_every_entry_point_that_speaks_http_is_in_the_matrix() -> None:
    installed = {point.name for point in entry_points(group="lowtide.grid_sources")}
    assert installed - LOCAL == set(SPEAKERS), "join with speaks_http(...), see CONTRIBUTING.md"


def test_every_source_in_the_matrix_can_be_let_into_a_private_network() -> None:
    points = {point.name: point for point in entry_points(group="lowtide.grid_sources")}
    refusing = [name for name in SPEAKERS if "private_networks" not in signature(points[name].load()).parameters]
    assert refusing == []


@pytest.mark.parametrize("late", [False, True], ids=["at once", "after an answer"])
@pytest.mark.parametrize("operation", ["actual", "forecast"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
@pytest.mark.parametrize("speaker", SPOKEN)
def test_a_fault_is_a_right_value_or_a_typed_failure(
    speaker: Speaker, fault: Fault, operation: str, impatience: Impatience, *, late: bool
) -> None:
    with capture_logs() as logs:
        right, found = play(speaker, operation, fault.strike, impatience, late=late)
    judge(found, right, fault, speaker.now, speaker.ban_s)
    assert KEY not in str(logs)


@pytest.mark.parametrize(("form", "header", "retry_s"), RETRY_AFTER, ids=[form for form, _, _ in RETRY_AFTER])
@pytest.mark.parametrize("speaker", SPOKEN)
def test_429_says_when_to_come_back_in_every_form(
    speaker: Speaker, form: str, header: str | timedelta, retry_s: float | None, impatience: Impatience
) -> None:
    text = header if isinstance(header, str) else format_datetime(speaker.now + header, usegmt=True)
    moment = speaker.now.replace(microsecond=0) if isinstance(header, timedelta) else speaker.now
    fault = Fault(form, instead(Reply(429, headers={"Retry-After": text})), LIMITED, retry_s)
    right, found = play(speaker, "actual", fault.strike, impatience, late=True)
    judge(found, right, fault, moment, speaker.ban_s)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("speaker", SPOKEN)
def test_a_redirect_to_another_host_is_not_followed_and_carries_no_key(
    speaker: Speaker, status: int, impatience: Impatience
) -> None:
    with a_vendor(speaker.answer) as elsewhere:
        away = instead(Reply(status, headers={"Location": f"{elsewhere.url}/stolen?{KEY}"}))
        for operation in ("actual", "forecast"):
            right, found = play(speaker, operation, away, impatience, late=True)
            judge(found, right, Fault("redirect", away, OUTAGE), speaker.now)
        assert elsewhere.paths == []


@pytest.mark.parametrize("speaker", SPOKEN)
def test_tls_that_cannot_be_trusted_is_an_outage(speaker: Speaker, impatience: Impatience) -> None:
    async def whole(url: str) -> Any:
        source = speaker.build(url)
        found = await told(source, question(speaker, "actual"))
        await source.close()
        return found

    impatience.read_s = 1.0
    with a_vendor(speaker.answer) as vendor:
        found = asyncio.run(whole(vendor.url.replace("http://", "https://")))
        assert vendor.paths == []
    assert isinstance(found, GridFailure)
    assert found.kind == K.UNAVAILABLE
    assert KEY not in shown(found)


@pytest.mark.usefixtures("impatience")
@pytest.mark.parametrize("speaker", SPOKEN)
def test_a_clock_that_jumps_back_or_ahead_leaves_a_value_or_a_typed_failure(speaker: Speaker) -> None:
    now, found = speaker.now, list[Any]()

    async def whole(url: str) -> None:
        nonlocal now
        source = speaker.build(url)
        reader = GridReader(source, lambda: now)
        for jump in (timedelta(0), -24 * HOUR, timedelta(0), 30 * 24 * HOUR, timedelta(0)):
            now = speaker.now + jump
            found.append(await told(source, lambda _: reader.forecast(speaker.zone)))
            found.append(await told(source, lambda _: reader.actual(speaker.zone, 24 * HOUR)))
        await reader.close()

    with a_vendor(speaker.answer) as vendor:
        asyncio.run(whole(vendor.url))
    assert all(one is None or isinstance(one, GridFailure) or one.zone_returned == speaker.zone for one in found)
    assert isinstance(found[1], Series)
    assert isinstance(found[-1], Series)
