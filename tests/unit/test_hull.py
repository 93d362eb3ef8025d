"""Only modes that no mixture of others beats are kept."""

import math

import numpy as np
import pytest

from lowtide.policies.hull import IDLE, climb
from lowtide.scheduler.model.mode import Mode
from tests.builders import some_modes

RESNET_18 = some_modes((1.0, 150.0), (1.9022, 259.2), (2.8835, 398.6), (3.8088, 458.8), (4.6052, 569.7))
"""Measured: the fourth worker is worth more than the second and the third."""


def hull(modes: tuple[Mode, ...], usable: tuple[int, ...], *, may_idle: bool) -> tuple[list[int], list[float]] | None:
    """The modes of the only slot's hull from its base on, and what each step costs where a watt costs 1."""
    cost, speed = np.array([[mode.power_w] for mode in modes]), np.array([mode.speed for mode in modes])
    room = np.array([[i in usable] for i in range(len(modes))])
    found = climb(cost, speed, room, np.array([not may_idle]))
    return None if found is None else ([int(found.base[0]), *found.mode.tolist()], found.ratio.tolist())


def kept(modes: tuple[Mode, ...], usable: tuple[int, ...], *, may_idle: bool) -> list[int] | None:
    found = hull(modes, usable, may_idle=may_idle)
    return None if found is None else found[0]


def test_a_mode_below_the_line_between_its_neighbours_is_left_out() -> None:
    assert kept(RESNET_18, (0, 1, 2, 3, 4), may_idle=True) == [IDLE, 3, 4]


def test_where_it_may_not_idle_the_mode_of_least_power_is_the_first() -> None:
    assert kept(RESNET_18, (0, 1, 2, 3, 4), may_idle=False) == [0, 3, 4]


def test_only_usable_modes_count() -> None:
    assert kept(RESNET_18, (0, 1, 2), may_idle=True) == [IDLE, 1, 2]
    assert kept(RESNET_18, (), may_idle=False) is None
    assert kept(RESNET_18, (), may_idle=True) == [IDLE]


def test_a_mode_that_draws_more_and_does_no_more_is_left_out() -> None:
    assert kept(some_modes((1.0, 100.0), (1.0, 90.0), (0.9, 95.0)), (0, 1, 2), may_idle=True) == [IDLE, 1]


def test_of_modes_on_one_line_the_fastest_is_one_step_away() -> None:
    assert kept(some_modes((1.0, 30.1), (2.0, 60.2), (3.0, 90.3)), (0, 1, 2), may_idle=True) == [IDLE, 2]


def test_the_watts_of_a_step_rise_along_the_hull() -> None:
    found = hull(RESNET_18, (0, 1, 2, 3, 4), may_idle=True)
    assert found is not None
    assert found[1] == pytest.approx([458.8 / 3.8088, (569.7 - 458.8) / (4.6052 - 3.8088)])


def test_each_slot_has_a_hull_of_its_own() -> None:
    cost = np.array([[100.0, 100.0], [150.0, 350.0]])  # in the second slot two GPUs are dear
    found = climb(cost, np.array([1.0, 2.0]), np.ones((2, 2), dtype=np.bool_), np.zeros(2, dtype=np.bool_))
    assert found is not None
    steps = zip(found.slot.tolist(), found.mode.tolist(), strict=True)
    assert sorted(steps) == [(0, 1), (1, 0), (1, 1)]


@pytest.mark.parametrize(
    "wrong", [{"speed": 0.0}, {"speed": math.inf}, {"power_w": -1.0}, {"gpus": -1}, {"power_fraction": 1.5}]
)
def test_a_mode_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="correct the job's profile"):
        Mode(**({"gpus": 1, "cpus": 1, "speed": 1.0, "power_w": 100.0} | wrong))  # type: ignore[arg-type]
