"""Valid bodies of a vendor, spoilt at random: what a parser must take as a sane series or refuse."""

import copy
import json
import math
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from lowtide.connectors.http import HttpAnswer, HttpClient
from lowtide.scheduler.model.series import MAX_G_PER_KWH, Series

ODD: st.SearchStrategy[Any] = st.sampled_from(
    [
        None,
        True,
        False,
        0,
        -1,
        -0.0,
        1e308,
        -1e308,
        10**400,
        float("nan"),
        float("inf"),
        5000.5,
        "",
        "NaN",
        "75",
        [],
        {},
        [None],
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59Z",
        "2026-03-10T12:00:00",
        "2026-03-10T12:00:00+02:00",
        "\u0000",
    ]
)


LARGE = 1e6


def doubled() -> settings:
    """Twice the examples of the profile: 10,000 bodies of each source in the long one."""
    return settings(max_examples=2 * settings().max_examples)


def _places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything inside a JSON value."""
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [found for key, value in inner for found in ((*path, key), *_places(value, (*path, key)))]


def _at(node: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        node = node[key]
    return node


@st.composite
def mutated(draw: st.DrawFn, body: Any) -> bytes:
    """The body with keys dropped, values of other kinds, rows shuffled and doubled, and perhaps cut short."""
    spoilt = copy.deepcopy(body)
    for _ in range(draw(st.integers(1, 4))):
        places = _places(spoilt)
        if not places:
            break
        *parents, key = draw(st.sampled_from(places))
        parent = _at(spoilt, tuple(parents))
        _spoil(draw, parent, key)
    text = json.dumps(spoilt).encode()
    return text[: draw(st.integers(0, len(text)))] if draw(st.integers(0, 9)) == 0 else text


def _spoil(draw: st.DrawFn, parent: Any, key: Any) -> None:
    what = draw(st.sampled_from(["drop", "replace", "scale", "shuffle", "double"]))
    if what == "drop":
        del parent[key]
    elif what == "scale" and isinstance(parent[key], int | float) and abs(parent[key]) < LARGE:
        parent[key] *= draw(st.sampled_from([-1, 0, 1e-9, 1e3, 1e300]))
    elif what == "shuffle" and isinstance(parent[key], list):
        parent[key] = draw(st.permutations(parent[key]))
    elif what == "double" and isinstance(parent, list):
        parent.insert(key, copy.deepcopy(parent[key]))
    else:
        parent[key] = copy.deepcopy(draw(ODD))


class Answering(HttpClient):
    """A client that gives one body to every question for figures, and other ones as told by path."""

    def __init__(self, body: bytes, others: dict[str, bytes]) -> None:
        self.body, self.others = body, others

    async def request(self, method: str, url: str, **_: Any) -> HttpAnswer:
        assert method == "GET"
        told = next((body for path, body in self.others.items() if path in url), self.body)
        return HttpAnswer(200, {}, told)


def assert_sane(series: Series, zone: str) -> None:
    """Finite figures in range, in time order, for the zone asked."""
    assert series.points
    assert series.zone_returned == zone
    assert math.isfinite(series.step_s)
    assert series.step_s > 0
    last = None
    for point in series.points:
        assert math.isfinite(point.g_per_kwh)
        assert 0 <= point.g_per_kwh <= MAX_G_PER_KWH
        assert last is None or last <= point.start
        assert point.start < point.end
        last = point.end
    assert Series.from_json(json.loads(json.dumps(series.to_json()))) == series
