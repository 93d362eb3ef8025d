"""Plans and decisions as JSON."""

import json
from datetime import datetime

import pytest

from lowtide.scheduler.decide.decide import decide
from lowtide.scheduler.decide.explain import explain, plan_to_json
from tests.builders import NOON, a_dip, a_forecast, a_job_view, a_snapshot


def test_an_explanation_has_the_keys_of_the_interface() -> None:
    plan = decide(a_snapshot(a_job_view(hours=2), forecasts=[a_forecast(a_dip())]))
    told = explain(plan.decisions[0], plan, job={"id": "job-1"})
    assert {"job", "now", "action", "reason", "next_review_at", "baseline_g", "saving_g"} <= told.keys()
    assert {"doubt_g", "latest_start_at", "would_start_now_if", "candidates", "grid", "history"} <= told.keys()
    assert told["now"] == "2026-03-10T12:00:00Z"
    rows = json.loads(json.dumps(told))["candidates"]
    known = {"site", "pool", "start", "finish", "emissions_g", "more_g", "later_s", "segments", "chosen", "note"}
    assert known | {"transfer_s", "transfer_g", "cost", "currency"} == rows[0].keys()
    assert {"binds", "would_suspend_if"} <= told.keys()
    assert [row["chosen"] for row in rows].count(True) == 1


def test_alternatives_are_set_against_the_chosen_placement() -> None:
    plan = decide(a_snapshot(a_job_view(hours=2), forecasts=[a_forecast(a_dip())]))
    now, chosen = explain(plan.decisions[0], plan)["candidates"][:2]  # type: ignore[index]  # rows of JSON
    assert (now["more_g"], now["later_s"]) == (pytest.approx(150.0), -4 * 3600.0)
    assert (chosen["more_g"], chosen["later_s"]) == (0.0, 0.0)


def test_unknown_grams_are_null_and_never_zero() -> None:
    plan = decide(a_snapshot(a_job_view(), forecasts=[]))
    whole = json.loads(plan_to_json(plan))
    assert whole["decisions"][0]["baseline_g"] is None
    assert whole["decisions"][0]["candidates"][0]["emissions_g"] is None


def test_moments_in_provenance_are_written_as_text() -> None:
    forecast = a_forecast()
    forecast.provenance["issued_at"] = NOON
    (row,) = json.loads(plan_to_json(decide(a_snapshot(a_job_view(), forecasts=[forecast]))))["grid"]
    assert datetime.fromisoformat(row["issued_at"]) == NOON


def test_provenance_that_json_cannot_carry_is_refused() -> None:
    forecast = a_forecast()
    forecast.provenance["issued_at"] = object()
    plan = decide(a_snapshot(a_job_view(), forecasts=[forecast]))
    with pytest.raises(TypeError, match="provenance"):
        plan_to_json(plan)
