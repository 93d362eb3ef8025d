"""The bound against what can be worked out by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest

from lowtide.scheduler.model.mode import Mode
from lowtide.scheduler.simulate.bound import Demand, bound_g

HOUR_S = 3600.0
PRICE = np.array([[300.0, 100.0, 200.0, 400.0]])


def a_demand(begin_h: float = 0.0, end_h: float = 4.0, run_h: float = 1.0, gpus: int = 1) -> Demand:
    return Demand(begin_h * HOUR_S, end_h * HOUR_S, run_h * HOUR_S, gpus, 1000.0 * gpus, (0,))


def test_without_a_limit_every_job_has_the_cheapest_hours_of_its_own_time() -> None:
    assert bound_g([a_demand(), a_demand()], PRICE, HOUR_S, None) == pytest.approx(200.0)
    assert bound_g([a_demand(run_h=1.5)], PRICE, HOUR_S, None) == pytest.approx(200.0)
    assert bound_g([a_demand(begin_h=1.5, run_h=1.0)], PRICE, HOUR_S, None) == pytest.approx(150.0)


def test_capacity_pushes_the_second_job_into_the_next_cheapest_hour() -> None:
    assert bound_g([a_demand(), a_demand()], PRICE, HOUR_S, [1]) == pytest.approx(300.0)
    assert bound_g([a_demand(), a_demand()], PRICE, HOUR_S, [2]) == pytest.approx(200.0)
    assert bound_g([a_demand(), a_demand(gpus=2)], PRICE, HOUR_S, [2]) == pytest.approx(400.0)


def test_a_cheaper_site_is_used_where_the_job_may() -> None:
    price = np.vstack((PRICE, PRICE / 2))
    free = Demand(0.0, 4 * HOUR_S, HOUR_S, 1, 1000.0, (0, 1))
    assert bound_g([free], price, HOUR_S, [1, 1]) == pytest.approx(50.0)
    assert bound_g([a_demand()], price, HOUR_S, [1, 1]) == pytest.approx(100.0)


def test_what_cannot_be_done_in_time_has_no_bound() -> None:
    assert math.isnan(bound_g([a_demand(end_h=0.5)], PRICE, HOUR_S, None))
    assert math.isnan(bound_g([a_demand(end_h=1.0), a_demand(end_h=1.0)], PRICE, HOUR_S, [1]))


def test_modes_are_mixed_as_emits_least_and_share_the_time_of_a_step() -> None:
    modes = (Mode(1, 0, 1.0, 1000.0), Mode(2, 0, 2.0, 1500.0))
    prices = np.array([[100.0, 300.0]])
    elastic = replace(a_demand(0, 2, 3), modes=modes)
    assert bound_g([elastic], prices, HOUR_S, None) == pytest.approx(1.5 * 100 + 0.75 * 300)
    assert bound_g([elastic], prices, HOUR_S, [2]) == pytest.approx(1.5 * 100 + 0.75 * 300)


def test_what_is_wide_leaves_less_to_others() -> None:
    modes = (Mode(1, 0, 1.0, 1000.0), Mode(2, 0, 2.0, 1500.0))
    prices = np.array([[100.0, 300.0]])
    elastic, plain = replace(a_demand(0, 2, 2), modes=modes), a_demand(0, 2, 1)
    assert bound_g([elastic, plain], prices, HOUR_S, [2]) == pytest.approx(0.75 * 100 + 100 + 0.75 * 300)
    assert bound_g([elastic, plain], prices, HOUR_S, [3]) == pytest.approx(1.5 * 100 + 1 * 100)
    assert math.isnan(bound_g([elastic, plain], prices, HOUR_S, [0]))
