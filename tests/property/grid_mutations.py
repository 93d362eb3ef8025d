"""Spoils a good answer in random ways, and asks a source what it makes of it."""

import asyncio
import json
import math
import re
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from lowtide.connectors.http import HttpAnswer, HttpClient
from lowtide.scheduler.model.errors import GridFailure
from lowtide.scheduler.model.series import GridSource, Series

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
BODIES = 2 * settings().max_examples
"""10,000 bodies and more for each source in the long profile."""
NASTY: list[Any] = [
    *(None, True, False, 0, -1, -0.5, 5001, 1e308, 10**400, math.nan, math.inf, -math.inf, 1773144000, 10**15),
    *("", "NaN", "-inf", "1e999", "12", "ND", "null", "DK2", "PJM", "BAT", "ZZZ", "x" * 300, "\u0000", "\ud800"),
    *("2026-03-10T12:00", "2026-03-10T12:00:00+25:00", "9999-12-31T23:59:59", "0001-01-01T00", "2026-03-10T12:00Z"),
    *([], {}, [None], [[]], {"a": 1}),
]


class Canned(HttpClient):
    """A client that answers everything with one body."""

    def __init__(self, body: bytes) -> None:
        self.body = body

    async def request(self, method: str, url: str, **_: Any) -> HttpAnswer:
        assert (method, url.partition("/")[0]) == ("GET", "http:")
        return HttpAnswer(200, {}, self.body)

    async def close(self) -> None:
        pass


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every container and key of a JSON value."""
    held = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, inner in held for place in ((value, key), *_places(inner))]


def _spoil(draw: st.DrawFn, root: Any) -> None:
    places = _places(root)
    if not places:
        return
    holder, key = places[draw(st.integers(0, len(places) - 1))]
    way = draw(st.sampled_from(["drop", "replace", "replace", "double", "turn", "move"]))
    if way == "replace":
        holder[key] = deepcopy(draw(st.sampled_from(NASTY)))
    elif way == "drop":
        del holder[key]
    elif way == "double" and isinstance(holder, list):
        holder.insert(draw(st.integers(0, len(holder))), deepcopy(holder[key]))
    elif way == "turn" and isinstance(holder, list):
        holder.reverse()
    elif way == "move":
        other, there = places[draw(st.integers(0, len(places) - 1))]
        holder[key] = deepcopy(other[there])


@st.composite
def spoilt_json(draw: st.DrawFn, good: Any) -> bytes:
    """A JSON body with up to four things changed, sometimes cut or with bytes of another kind in it."""
    root = deepcopy(good)
    for _ in range(draw(st.integers(0, 4))):
        _spoil(draw, root)
    return _cut(draw, json.dumps(root).encode())


@st.composite
def spoilt_xml(draw: st.DrawFn, good: bytes) -> bytes:
    """An XML body with up to four pieces dropped, doubled, moved or replaced, sometimes cut."""
    pieces = re.findall(rb"<[^>]*>|[^<]+", good)
    for _ in range(draw(st.integers(0, 4))):
        at, other = (draw(st.integers(0, len(pieces) - 1)) for _ in range(2))
        way = draw(st.sampled_from(["drop", "double", "move", "replace", "replace"]))
        if way == "drop":
            pieces[at] = b""
        elif way == "double":
            pieces[at] *= 2
        elif way == "move":
            pieces[at], pieces[other] = pieces[other], pieces[at]
        else:
            pieces[at] = str(draw(st.sampled_from(NASTY))).encode("utf-8", "surrogatepass")
    return _cut(draw, b"".join(pieces))


def _cut(draw: st.DrawFn, body: bytes) -> bytes:
    way = draw(st.sampled_from(["whole"] * 6 + ["cut", "bytes"]))
    at = draw(st.integers(0, len(body)))
    if way == "cut":
        return body[:at]
    return body[:at] + draw(st.binary(max_size=6)) + body[at:] if way == "bytes" else body


def outcome(source: GridSource, body: bytes, operation: str, zone: str) -> Series | GridFailure | None:
    """What the source makes of the body; anything but a series or a grid failure is raised."""
    source._api._http = Canned(body)  # type: ignore[attr-defined]  # every source keeps its vendor there
    try:
        if operation == "forecast":
            return asyncio.run(source.forecast(zone, NOON))
        return asyncio.run(source.actual(zone, NOON - timedelta(hours=8), NOON, NOON))
    except GridFailure as failure:
        return failure


def check(found: Series | GridFailure | None, zone: str, is_possible: Callable[[float], bool]) -> None:
    """A failure with a sentence, or a series of that zone, in order, of figures that the good body could give."""
    if isinstance(found, GridFailure):
        assert found.message
        return
    assert found is not None
    assert found.points
    assert found.zone_returned == zone
    last = found.points[0].start
    for point in found.points:
        assert last <= point.start < point.end
        assert type(point.g_per_kwh) in {int, float}
        assert 0 <= point.g_per_kwh <= 5000
        assert is_possible(point.g_per_kwh)
        last = point.end
