"""What ``lowtide doctor grid`` finds: one real question to each source, and a row for each source and zone."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest

from lowtide.scheduler.control import probe
from lowtide.scheduler.control.gridcheck import FIXES, grid_checks
from lowtide.scheduler.control.gridwatch import GridWatch
from lowtide.scheduler.model.errors import GridFailure, GridFailureKind
from lowtide.scheduler.model.series import Series
from tests.unit.test_zones import AUTH, NOW, Plain, Probing, a_site, a_watch, refreshed

SLOT_S = 900.0
LATER = NOW + timedelta(seconds=90)
OUTAGE = GridFailure(GridFailureKind.UNAVAILABLE, "plain does not answer.")


@dataclass
class Counting(Plain):
    """A source that counts the questions for its forecast."""

    questions: int = 0

    async def forecast(self, zone: str, now: datetime) -> Series | None:
        self.questions += 1
        return await super().forecast(zone, now)


def checks(watch: GridWatch) -> list[dict[str, Any]]:
    return asyncio.run(grid_checks(watch, LATER, SLOT_S))


def test_a_source_that_answers_is_told_with_its_age_meaning_licence_and_rung() -> None:
    (row,) = checks(refreshed(a_watch(Plain()), a_site("GB")))
    assert row == {
        "source": "plain",
        "zone": "GB",
        "in_use": True,
        "status": "ok",
        "outcome": "answered",
        "age_s": pytest.approx(90, abs=1),
        "signal": "average",
        "basis": "direct",
        "accounting": "consumption",
        "licence": "theirs",
        "rung": "fresh_forecast",
        "detail": "",
        "fix": "",
    }


def test_the_question_is_a_real_one_although_the_answer_is_fresh_or_a_cooldown_is_on() -> None:
    source = Counting()
    watch = refreshed(a_watch(source), a_site("GB"))
    source.failure = OUTAGE
    (row,) = checks(watch)
    assert (source.questions, row["status"], row["outcome"]) == (2, "fail", "unavailable")
    assert row["detail"] == "plain does not answer."
    assert row["fix"] == FIXES[GridFailureKind.UNAVAILABLE]
    assert row["licence"] == "theirs"
    source.failure = None
    assert checks(watch)[0]["outcome"] == "answered"
    assert source.questions == 3


def test_the_vendors_word_when_to_come_back_is_kept() -> None:
    limit = GridFailure(GridFailureKind.RATE_LIMITED, "plain answered 429.", retry_at=NOW + timedelta(minutes=5))
    source = Counting(failure=limit)
    watch = refreshed(a_watch(source), a_site("GB"))
    asked = source.questions
    (row,) = checks(watch)
    assert (row["status"], row["outcome"], source.questions) == ("warn", "rate_limited", asked)


def test_the_rung_is_that_of_the_forecasts_that_decisions_rest_on_and_they_are_not_made_anew() -> None:
    watch = refreshed(a_watch(Plain()), a_site("GB"))
    decided_on = watch.forecasts(LATER, SLOT_S)["GB"]
    assert checks(watch)[0]["rung"] == decided_on.rung
    assert watch.forecasts(LATER, SLOT_S)["GB"] is decided_on


def test_every_zone_in_use_has_a_row_and_only_one_of_a_source_is_asked_about() -> None:
    source = Counting(known=("GB", "DE", "FR"))
    watch = refreshed(a_watch(source), *(a_site(zone, name=zone.lower()) for zone in ("GB", "DE", "FR")))
    asked = source.questions
    rows = checks(watch)
    assert {row["zone"]: row["outcome"] for row in rows} == {"GB": "answered", "DE": "cached", "FR": "cached"}
    assert source.questions == asked + 1


def test_a_source_that_no_site_uses_is_asked_about_the_first_zone_that_it_lists() -> None:
    rows = checks(refreshed(a_watch(Plain(), Probing()), a_site("GB")))
    assert [(row["source"], row["zone"], row["in_use"], row["rung"]) for row in rows] == [
        ("plain", "GB", True, "fresh_forecast"),
        ("probing", "DE", False, None),
    ]


def test_a_source_that_tells_no_zones_has_a_row_that_says_why() -> None:
    (row,) = checks(a_watch(Probing(probe_failure=AUTH)))
    assert (row["zone"], row["status"], row["outcome"]) == (None, "fail", "auth")
    assert row["detail"]
    assert row["fix"]


def test_a_source_that_hangs_is_told_of_and_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "PATIENCE_S", 0.05)
    watch = a_watch(Plain(name="slow", hangs=True), Plain())

    async def whole() -> list[dict[str, Any]]:
        found = await grid_checks(watch, LATER, SLOT_S)
        await watch.close()
        return found

    rows = asyncio.run(whole())
    assert [(row["source"], row["outcome"]) for row in rows] == [("slow", "unavailable"), ("plain", "answered")]
    assert rows[0]["detail"] == "slow did not answer within 0.05 s."


def test_every_kind_of_failure_says_what_to_do() -> None:
    assert set(FIXES) == set(GridFailureKind)
