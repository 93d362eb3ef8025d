"""Good answers of a vendor spoilt at random, and what may come of them: a sane series or a grid failure (INV-12)."""

import asyncio
import copy
import json
import math
import re
from collections.abc import Callable, Coroutine, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from lowtide.connectors.http import HttpAnswer, HttpClient
from lowtide.scheduler.model.errors import GridFailure
from lowtide.scheduler.model.series import MAX_G_PER_KWH, GridSource, Series

NUMBERS = (0, -1, -0.5, -0.0, 5001, 5000.5, 1e308, -1e308, 10**30, 10**400, 1773144000, *map(float, ("nan", "inf")))
TIMES = ("2026-03-10T12:00", "2026-03-10T12:30Z", "2026-03-10T12:00:00+02:00", "2026-03-10T12:00:00+25:00")
EDGES = ("0001-01-01T00:00:00+14:00", "0001-01-01T00", "9999-12-31T23:59:59", "9999-12-31T23:59:59Z")
WORDS = ("", "0", "12", "-1", "NaN", "+Inf", "1e999", "ND", "null", "DK2", "PJM", "BAT", "yesterday", "x" * 300)
STRANGE: tuple[Any, ...] = ("\u0000", "\ud800", "9" * 5000, [], {}, [None], [[]], [{}], {"data": []}, {"a": 1}, [1])
WILD: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from([None, True, False, *NUMBERS, *TIMES, *EDGES, *WORDS, *STRANGE]),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
)
SCALES = (-1, 0, 1e-9, 1e3, 1e300)
LARGE = 1e6
"""Larger numbers are not scaled: the product would be no float any more."""
LONG = 5000
"""Examples of the long profile."""
Way = tuple[str | int, ...]


def thorough() -> settings:
    """Twice the profile's examples, and six times in the long one: over ten thousand different bodies per source.

    At least two bodies in five are unlike all before (test_mutation.py); the others hypothesis draws again.
    """
    examples = settings().max_examples
    return settings(max_examples=examples * (6 if examples >= LONG else 2))


# ---- answers ----


@st.composite
def mutated(draw: st.DrawFn, good: Any) -> bytes:
    """Bytes of a good JSON body after up to four changes, sometimes cut or with a byte turned; never the good one."""
    body = copy.deepcopy(good)
    for _ in range(draw(st.integers(0, 4))):
        body = _changed(draw, body)
    return _spoilt(draw, json.dumps(body).encode(), json.dumps(good).encode())


@st.composite
def mutated_xml(draw: st.DrawFn, good: bytes) -> bytes:
    """A good XML body with up to four pieces dropped, doubled, moved or replaced, sometimes cut; never the good one."""
    return draw(_mutated_pieces(good, re.findall(rb"<[^>]*>|[^<]+", good)))


@st.composite
def mutated_csv(draw: st.DrawFn, good: bytes) -> bytes:
    """The same of a good CSV: cells, commas and ends of lines."""
    return draw(_mutated_pieces(good, re.findall(rb"[,\n]|[^,\n]+", good)))


@st.composite
def _mutated_pieces(draw: st.DrawFn, good: bytes, whole: list[bytes]) -> bytes:
    pieces = list(whole)
    for _ in range(draw(st.integers(0, 4))):
        at, other = (draw(st.integers(0, len(pieces) - 1)) for _ in range(2))
        way = draw(st.sampled_from(["drop", "double", "move", "wild", "wild"]))
        if way == "move":
            pieces[at], pieces[other] = pieces[other], pieces[at]
        elif way == "wild":
            pieces[at] = str(draw(WILD)).encode("utf-8", "surrogatepass")
        else:
            pieces[at] *= 0 if way == "drop" else 2
    return _spoilt(draw, b"".join(pieces), good)


def _ways(value: Any, way: Way = ()) -> Iterator[Way]:
    yield way
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in inner:
        yield from _ways(below, (*way, key))


def _at(body: Any, way: Way) -> Any:
    for key in way:
        body = body[key]
    return body


def _changed(draw: st.DrawFn, body: Any) -> Any:
    """The body with one change somewhere."""
    ways = list(_ways(body))
    way = draw(st.sampled_from(ways))
    if not way:
        return copy.deepcopy(draw(WILD))
    holder: Any = _at(body, way[:-1])
    key: Any = way[-1]
    change = draw(st.sampled_from(["wild", "wild", "drop", "scale", "double", "shuffle", "swap"]))
    if change == "drop":
        del holder[key]
    elif change == "scale" and isinstance(holder[key], int | float) and abs(holder[key]) < LARGE:
        holder[key] *= draw(st.sampled_from(SCALES))
    elif change == "double" and isinstance(holder, list):
        holder.insert(draw(st.integers(0, len(holder))), copy.deepcopy(holder[key]))
    elif change == "shuffle" and isinstance(holder, list):
        holder[:] = draw(st.permutations(holder))
    else:
        holder[key] = copy.deepcopy(_at(body, draw(st.sampled_from(ways))) if change == "swap" else draw(WILD))
    return body


def _spoilt(draw: st.DrawFn, told: bytes, good: bytes) -> bytes:
    """The body, sometimes cut; surely so where all changes came to nothing."""
    told = _cut(draw, told)
    return told if told != good else told[: draw(st.integers(0, len(told) - 1))]


def _cut(draw: st.DrawFn, told: bytes) -> bytes:
    cut = draw(st.sampled_from(["whole"] * 6 + ["cut", "turned"]))
    at = draw(st.integers(0, len(told)))
    if cut == "cut":
        return told[:at]
    return told[:at] + draw(st.binary(max_size=6)) + told[at + 1 :] if cut == "turned" else told


# ---- questions ----


class Canned(HttpClient):
    """A client that answers with one body, and with another one where a part of the path says so."""

    def __init__(self, body: bytes, others: Mapping[str, bytes] | None = None) -> None:
        self.body, self.others = body, others or {}

    async def request(self, method: str, url: str, **_: Any) -> HttpAnswer:
        assert (method, url.startswith("http://vendor/")) == ("GET", True)
        return HttpAnswer(200, {}, next((body for part, body in self.others.items() if part in url), self.body))

    async def close(self) -> None:
        pass


def outcome(question: Coroutine[Any, Any, Any]) -> Any:
    """The answer, or the grid failure in its place; anything else is raised."""
    try:
        return asyncio.run(question)
    except GridFailure as failure:
        return failure


def answer(source: GridSource, operation: str, zone: str, now: datetime) -> Any:
    """What comes of asking for the last eight hours, or for the forecast."""
    if operation == "forecast":
        return outcome(source.forecast(zone, now))
    return outcome(source.actual(zone, now - timedelta(hours=8), now, now))


def hold(found: Any, zone: str, is_possible: Callable[[float], bool] = lambda _: True) -> None:
    """A failure with a sentence, or a series of that zone: in order, of finite figures that the answer can mean."""
    if isinstance(found, GridFailure):
        assert found.message
        return
    assert found.points
    assert found.zone_returned == zone
    assert math.isfinite(found.step_s)
    assert found.step_s > 0
    last = found.points[0].start
    for point in found.points:
        assert last <= point.start < point.end
        assert type(point.g_per_kwh) in {int, float}
        assert 0 <= point.g_per_kwh <= MAX_G_PER_KWH
        assert is_possible(point.g_per_kwh)
        last = point.end
    assert Series.from_json(json.loads(json.dumps(found.to_json()))) == found
