"""Issues that must not be trusted, told by code, and sound ones left alone."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import pytest

from lowtide.scheduler.forecast.faults import FaultCode, sound
from lowtide.scheduler.forecast.ladder import GridKnowledge, Rung, forecast_for
from lowtide.scheduler.forecast.record import record
from lowtide.scheduler.model.series import Series
from tests.recorded_days import SLOT, recorded_days
from tests.unit.test_forecast_correct import wave
from tests.unit.test_ladder import HOUR, NOON, SLOT_S, a_history, a_series


def an_issue(hours_ago: int, *, hours: int = 48, price: Callable[[int], float] | None = None) -> Series:
    """Made so long before noon; without a price the wave of the history and a little that tells issues apart."""
    made = NOON - hours_ago * HOUR
    tell = price or (lambda i: wave(12 - hours_ago + i) + 0.1 * hours_ago)
    return a_series(made - HOUR, hours, price=lambda i: tell(i - 1), fetched_at=made, issued_at=made)


SOUND = (an_issue(30), an_issue(24), an_issue(18), an_issue(12), an_issue(6))


def codes(*issues: Series, now: datetime = NOON) -> tuple[FaultCode, ...]:
    known = record(issues, a_history(8), now, 3600.0)
    return tuple(fault.code for fault in sound(known, known.slot_of(now))[1])


def test_a_sound_issue_has_no_fault() -> None:
    assert codes(*SOUND, an_issue(1)) == ()
    assert codes(an_issue(1)) == ()


def test_an_unchanged_reissue_is_frozen() -> None:
    last = SOUND[-1]
    again = replace(last, points=last.points[5:], fetched_at=NOON - HOUR, issued_at=NOON - HOUR)
    assert FaultCode.FROZEN in codes(*SOUND, again)


def test_a_flat_forecast_is_not_frozen_for_being_flat() -> None:
    flat = [an_issue(ago, price=lambda _: 200.0) for ago in (18, 12, 6, 1)]
    assert FaultCode.FROZEN not in codes(*flat)


def test_a_shorter_horizon_than_usual_is_told() -> None:
    assert codes(*SOUND, an_issue(1, hours=40)) == (FaultCode.SHRINKING,)


def test_first_figures_far_from_what_came_are_a_glitch() -> None:
    assert FaultCode.GLITCH in codes(*SOUND, an_issue(1, price=lambda i: wave(11 + i) / 3))


def test_figures_that_the_zone_never_has_are_implausible() -> None:
    assert FaultCode.IMPLAUSIBLE in codes(*SOUND, an_issue(1, price=lambda i: 900.0 if i == 20 else wave(11 + i)))
    assert FaultCode.IMPLAUSIBLE in codes(*SOUND, an_issue(1, price=lambda i: 0.0 if i == 20 else wave(11 + i)))


def test_a_level_that_is_wrong_for_two_days_is_a_bias() -> None:
    high = [an_issue(ago, price=lambda i, ago=ago: 1.6 * wave(12 - ago + i) + ago) for ago in (60, 48, 36, 24, 12, 1)]  # type: ignore[misc]
    assert FaultCode.BIASED in codes(*high)


def test_a_faulty_issue_gives_way_to_the_sound_one_before_it_and_the_decision_says_why() -> None:
    bad = an_issue(1, price=lambda i: wave(11 + i) / 3)
    past = record((*SOUND, bad), a_history(8), NOON, 3600.0)
    found = forecast_for(GridKnowledge("GB", bad, a_history(8), past=past), NOON, SLOT_S)
    assert found.rung == Rung.CACHED_FORECAST
    assert found.provenance["issued_at"] == (NOON - 6 * HOUR).isoformat()
    told = found.provenance["faults"]
    assert isinstance(told, list)
    assert {fault["code"] for fault in told} >= {"glitch"}


def test_a_faulty_issue_without_a_sound_one_gives_way_to_the_own_forecast() -> None:
    bad = an_issue(1, price=lambda i: 5.0 + i % 2)
    past = record((bad,), a_history(8), NOON, 3600.0)
    found = forecast_for(GridKnowledge("GB", bad, a_history(8), past=past), NOON, SLOT_S)
    assert found.rung == Rung.OWN_FORECAST
    assert found.provenance["faults"]


@pytest.mark.slow
def test_on_recorded_days_the_faulty_issues_are_flagged_and_no_other() -> None:
    days = recorded_days()
    found: dict[str, set[str]] = {}
    now = days.issues[0].fetched_at
    while now < days.actual.points[-1].end:
        known = days.record_at(now)
        faults = sound(known, known.slot_of(now))[1]
        if faults:
            newest = known.known_at(known.slot_of(now))[-1].series.fetched_at
            found.setdefault(f"{newest:%d %H:%M}", set()).update(fault.code for fault in faults)
        now += 2 * SLOT
    assert found == {
        "23 08:30": {"glitch", "implausible"},
        "24 03:00": {"frozen", "shrinking"},
        "24 13:30": {"frozen", "shrinking"},
    }
