"""Valid answers gone wrong: keys dropped, values of other types, numbers out of this world, bytes cut off."""

import copy
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

WILD = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 5001, 10**30, 10**400, -0.0, 1e308, float("nan"), float("inf"), -float("inf")]),
    st.sampled_from(["", "NaN", "-1", "1e999", "0", "100", "null", "+Inf", "\ud800", "2026-03-10T12:00", "9" * 5000]),
    st.sampled_from(["0001-01-01T00:00+14:00", "9999-12-31T23:59Z", "2026-03-10T12:30Z", "yesterday"]),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from([[], {}, [[]], [{}], {"data": []}, [1, "2"]]),
)
Way = tuple[str | int, ...]


def thorough() -> settings:
    """Twice the profile's examples, so that the long one reaches ten thousand bodies per source."""
    return settings(max_examples=2 * settings().max_examples)


def _ways(value: Any, way: Way = ()) -> Iterator[Way]:
    yield way
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in inner:
        yield from _ways(below, (*way, key))


def _changed(draw: st.DrawFn, body: Any) -> Any:
    """The body with one change somewhere."""
    way = draw(st.sampled_from(list(_ways(body))))
    if not way:
        return copy.deepcopy(draw(WILD))
    holder = body
    for key in way[:-1]:
        holder = holder[key]
    change = draw(st.sampled_from(["wild", "drop", "double", "shuffle", "swap"]))
    if change == "drop":
        del holder[way[-1]]
    elif change in {"double", "shuffle"} and isinstance(holder, list):
        holder[:] = [*holder, *holder] if change == "double" else draw(st.permutations(holder))
    elif change == "swap":
        other = body
        for key in draw(st.sampled_from(list(_ways(body)))):
            other = other[key]
        holder[way[-1]] = copy.deepcopy(other)
    else:
        holder[way[-1]] = copy.deepcopy(draw(WILD))
    return body


@st.composite
def mutated(draw: st.DrawFn, valid: Any) -> bytes:
    """Bytes of a valid JSON body after up to four changes, sometimes cut off or with a byte turned."""
    body = copy.deepcopy(valid)
    for _ in range(draw(st.integers(0, 4))):
        body = _changed(draw, body)
    told = json.dumps(body).encode()
    cut = draw(st.sampled_from(["whole"] * 6 + ["cut", "turned"]))
    at = draw(st.integers(0, len(told)))
    if cut == "cut":
        return told[:at]
    return told[:at] + draw(st.binary(max_size=2)) + told[at + 1 :] if cut == "turned" else told
