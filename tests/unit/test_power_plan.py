"""The power limits of an attempt over time, from the stretches of its plan."""

from datetime import datetime, timedelta

from lowtide.scheduler.model.plan import Segment
from lowtide.scheduler.model.power_plan import from_json, power_plan, spans, to_json
from tests.builders import NOON


def at(hours: float) -> datetime:
    return NOON + timedelta(hours=hours)


def a_stretch(begin_h: float, end_h: float, share: float = 1.0, *, gpus: int = 1) -> Segment:
    return Segment("lab", "", at(begin_h), at(end_h), gpus, share)


def test_an_attempt_has_the_limits_of_the_stretches_that_touch_and_full_power_after_them() -> None:
    told = power_plan([a_stretch(0, 1), a_stretch(1, 2, 0.6), a_stretch(2, 3, 0.6), a_stretch(3, 4, 0.8)])
    assert told == ((at(1), 0.6), (at(3), 0.8), (at(4), 1.0))


def test_a_pause_or_another_width_ends_an_attempt_and_its_limits() -> None:
    first = a_stretch(0, 1, 0.6)
    assert power_plan([first, a_stretch(2, 3, 0.8)]) == ((at(0), 0.6), (at(1), 1.0))
    assert power_plan([first, a_stretch(1, 3, 0.8, gpus=2)]) == ((at(0), 0.6), (at(1), 1.0))


def test_full_power_throughout_is_no_plan_at_all() -> None:
    assert power_plan([a_stretch(0, 1), a_stretch(1, 2)]) == ()
    assert to_json(()) is None
    assert from_json(None) == ()


def test_a_time_is_parted_at_the_limits_that_change_within_it() -> None:
    plan = power_plan([a_stretch(0, 1, 0.6), a_stretch(1, 2, 0.8)])
    hours = [(lasts.total_seconds() / 3600, share) for lasts, share in spans(plan, at(0.5), at(4))]
    assert hours == [(0.5, 0.6), (1.0, 0.8), (2.0, 1.0)]
    assert list(spans(plan, at(-1), at(-0.5))) == [(timedelta(hours=0.5), 1.0)]
    assert list(spans(plan, at(1), at(1))) == []


def test_a_plan_survives_the_store() -> None:
    plan = power_plan([a_stretch(0, 1, 0.6)])
    assert from_json(to_json(plan)) == plan
