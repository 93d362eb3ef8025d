"""Only modes that no mixture of others beats are kept."""

import math

import pytest

from lowtide.policies.hull import IDLE, hull, marginals_w
from lowtide.scheduler.model.mode import Mode
from tests.builders import some_modes

RESNET_18 = some_modes((1.0, 150.0), (1.9022, 259.2), (2.8835, 398.6), (3.8088, 458.8), (4.6052, 569.7))
"""Measured: the fourth worker is worth more than the second and the third."""


def test_a_mode_below_the_line_between_its_neighbours_is_left_out() -> None:
    assert hull(RESNET_18, (0, 1, 2, 3, 4), may_idle=True) == (IDLE, 3, 4)


def test_where_it_may_not_idle_the_mode_of_least_power_is_the_first() -> None:
    assert hull(RESNET_18, (0, 1, 2, 3, 4), may_idle=False) == (0, 3, 4)


def test_only_usable_modes_count() -> None:
    assert hull(RESNET_18, (0, 1, 2), may_idle=True) == (IDLE, 1, 2)
    assert hull(RESNET_18, (), may_idle=False) == ()
    assert hull(RESNET_18, (), may_idle=True) == (IDLE,)


def test_a_mode_that_draws_more_and_does_no_more_is_left_out() -> None:
    assert hull(some_modes((1.0, 100.0), (1.0, 90.0), (0.9, 95.0)), (0, 1, 2), may_idle=True) == (IDLE, 1)


def test_the_watts_of_a_step_rise_along_the_hull() -> None:
    levels = hull(RESNET_18, (0, 1, 2, 3, 4), may_idle=True)
    assert marginals_w(RESNET_18, levels) == pytest.approx([458.8 / 3.8088, (569.7 - 458.8) / (4.6052 - 3.8088)])


@pytest.mark.parametrize(
    "wrong", [{"speed": 0.0}, {"speed": math.inf}, {"power_w": -1.0}, {"gpus": -1}, {"power_fraction": 1.5}]
)
def test_a_mode_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="correct the job's profile"):
        Mode(**({"gpus": 1, "cpus": 1, "speed": 1.0, "power_w": 100.0} | wrong))  # type: ignore[arg-type]
