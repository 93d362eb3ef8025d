"""The compiled search for stretches against all subsets of slots."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from lowtide.policies.problem import EPSILON_S
from lowtide.policies.stretches import Asked, cheapest_stretches, soonest_stretches

SLOT_S, MOST_SLOTS = 900.0, 9

Spans = list[tuple[float, float]]


class Field:
    """Two sites with a few slots each, the first slot perhaps cut off, and a job."""

    def __init__(self, prices: list[list[int]], room: list[list[bool]], first_s: float, asked: Asked) -> None:
        self.price = np.array(prices, dtype=np.float64)
        self.room, self.asked = np.array(room), asked
        count = self.price.shape[1]
        self.edges_s = np.concatenate(([0.0], first_s + SLOT_S * np.arange(count)))

    def __repr__(self) -> str:
        return f"Field({self.price.tolist()}, {self.room.tolist()}, {self.edges_s[1]}, {self.asked})"

    def found(self) -> tuple[int, Spans]:
        order = self.price.argsort(axis=1, kind="stable")
        count = self.price.shape[1]
        site, starts, ends = cheapest_stretches(
            self.price,
            order,
            self.room,
            self.edges_s,
            np.arange(2),
            np.ones(2, dtype=np.bool_),
            np.full(2, count),
            0,
            0.0,
            self.asked,
        )
        return site, list(zip(starts.tolist(), ends.tolist(), strict=True))

    def cost(self, site: int, spans: Spans) -> float:
        total = 0.0
        for i, price in enumerate(self.price[site]):
            for start_s, end_s in spans:
                total += price * max(0.0, min(end_s, self.edges_s[i + 1]) - max(start_s, self.edges_s[i]))
        return total

    def least(self, site: int) -> float:
        """The cost of the cheapest subset of slots, less what can be cut off its dearest edge."""
        return min(
            (self._of(site, used) for used in product((False, True), repeat=self.price.shape[1])), default=math.inf
        )

    def _of(self, site: int, used: tuple[bool, ...]) -> float:
        asked, widths = self.asked, np.diff(self.edges_s)
        is_held = all(used[: asked.hold]) and asked.hold <= len(used)
        if not is_held or not any(used) or (np.array(used) & ~self.room[site]).any():
            return math.inf
        slots = np.flatnonzero(used)
        runs = [run.tolist() for run in np.split(slots, np.flatnonzero(np.diff(slots) > 1) + 1)]
        spare_s = sum(widths[i] for run in runs for i in run) - asked.need_s - asked.switch_s * (len(runs) - 1)
        if len(runs) > asked.most or spare_s < -EPSILON_S:
            return math.inf
        cost = sum(self.price[site][i] * widths[i] for run in runs for i in run)
        best = math.inf
        for run in runs:
            length_s = sum(widths[i] for i in run)
            least_s = 0.0 if len(runs) == 1 else asked.first_run_s if run[0] == 0 and asked.hold else asked.min_run_s
            if length_s < least_s - EPSILON_S:
                return math.inf
            for edge, at_begin in ((run[0], True), (run[-1], False)):
                held = edge < asked.hold and (at_begin or len(runs) > 1)
                if (
                    not held
                    and spare_s <= widths[edge] + EPSILON_S
                    and length_s - spare_s >= max(least_s, EPSILON_S) - EPSILON_S
                ):
                    best = min(best, cost - max(0.0, spare_s) * self.price[site][edge])
        return best if spare_s > EPSILON_S else cost


@st.composite
def fields(draw: st.DrawFn, *, is_free: bool = False) -> Field:
    """Anything small; ``is_free``: pauses cost nothing and are as many and as short as one likes."""
    count = draw(st.integers(2, MOST_SLOTS))
    level = st.integers(0, draw(st.sampled_from([2, 6, 400])))
    prices = draw(st.lists(st.lists(level, min_size=count, max_size=count), min_size=2, max_size=2))
    room = draw(
        st.lists(st.lists(st.sampled_from([True, True, False]), min_size=count, max_size=count), min_size=2, max_size=2)
    )
    need_s = draw(st.integers(1, 9 * count)) * 100.0
    min_run_s = draw(st.sampled_from([0.0, 0.0, 1800.0]))
    hold = draw(st.sampled_from([0, 0, 1, 2]))
    asked = Asked(
        need_s=need_s,
        switch_s=0.0 if is_free else draw(st.sampled_from([0.0, 120.0, 900.0])),
        hold=0 if is_free else hold,
        first_run_s=draw(st.sampled_from([0.0, min_run_s])),
        min_run_s=0.0 if is_free else min_run_s,
        most=MOST_SLOTS if is_free else draw(st.integers(1, 4)),
    )
    return Field(prices, room, draw(st.sampled_from([900.0, 900.0, 300.0])), asked)


def assert_keeps_bounds(field: Field, site: int, spans: Spans) -> None:
    asked = field.asked
    assert len(spans) <= asked.most
    assert sum(b - a for a, b in spans) == pytest.approx(asked.need_s + asked.switch_s * (len(spans) - 1))
    for n, (start_s, end_s) in enumerate(spans):
        touched = (field.edges_s[1:] > start_s + EPSILON_S) & (field.edges_s[:-1] < end_s - EPSILON_S)
        assert field.room[site][touched].all()
        assert n == 0 or start_s > spans[n - 1][1]
        if len(spans) > 1:
            least_s = asked.first_run_s if n == 0 and asked.hold else asked.min_run_s
            assert end_s - start_s >= least_s - EPSILON_S
    if asked.hold:
        assert spans[0][0] == 0.0
        assert spans[0][1] >= min(field.edges_s[asked.hold], asked.need_s) - EPSILON_S


@given(fields())
def test_stretches_keep_every_bound_and_cost_no_less_than_can_be(field: Field) -> None:
    site, spans = field.found()
    least = min(field.least(0), field.least(1))
    if site < 0:
        assert least == math.inf
        return
    assert_keeps_bounds(field, site, spans)
    cost = field.cost(site, spans)
    event(f"at the least cost: {cost <= least * (1 + 1e-9) + 1e-6}")
    assert cost >= least * (1 - 1e-9) - 1e-6


@given(fields(is_free=True))
def test_where_pauses_are_free_no_more_than_a_slot_could_cost_less(field: Field) -> None:
    site, spans = field.found()
    least = min(field.least(0), field.least(1))
    assert (site < 0) == (least == math.inf)
    if site >= 0:
        assert field.cost(site, spans) <= least + SLOT_S * (field.price.max() - field.price.min()) + EPSILON_S


@given(fields())
def test_the_soonest_stretches_end_no_later_than_the_cheapest(field: Field) -> None:
    count = field.price.shape[1]
    site, starts, ends = soonest_stretches(field.room, field.edges_s, np.arange(2), 0, count, 0.0, field.asked)
    if site < 0:
        return
    assert_keeps_bounds(field, site, list(zip(starts.tolist(), ends.tolist(), strict=True)))
    cheapest, spans = field.found()
    assert cheapest >= 0
    assert ends[-1] <= spans[-1][1] + EPSILON_S
