"""What people read: tables, words, plans, receipts, charts."""

from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from lowtide.scheduler.cli import forecast_view, listing, plan_view, receipt_view, table, words
from lowtide.scheduler.cli.table import Cell, Column
from tests.fake_service import NOW, a_candidate, a_finished_job, a_job, a_plan, a_receipt, iso

BERLIN = ZoneInfo("Europe/Berlin")


def test_columns_are_aligned_and_numbers_to_the_right() -> None:
    text = table.table([Column("A"), Column("N", is_number=True)], [[Cell("x"), Cell("1")], [Cell("long"), Cell("22")]])
    assert text == "A      N\nx      1\nlong  22"


def test_the_flexible_column_gives_way_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "terminal_width", lambda: 40)
    columns = [Column("ID"), Column("REASON", is_flexible=True), Column("N", is_number=True)]
    lines = table.table(columns, [[Cell("a" * 10), Cell("because " * 10), Cell("1")]]).splitlines()
    assert [len(line) for line in lines] == [40, 40]
    assert "…" in lines[1]


def test_control_characters_never_reach_the_terminal() -> None:
    assert table.table([Column("A")], [[Cell("x\x1b[2Jy\nz")]]) == "A\nx [2Jy z"


def test_there_is_no_colour_without_a_terminal_or_against_its_wish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert table.styled("x", "red") == "x"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert table.styled("x", "red") == "\x1b[31mx\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "")
    assert table.styled("x", "red") == "x"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.0, "0.000"), (0.1234, "0.123"), (5.25, "5.2"), (240.4, "240"), (-0.5, "-0.500")],
)
def test_grams_are_short_and_unknown_is_never_zero(value: float | None, text: str) -> None:
    assert words.grams(value) == text


def test_figures_carry_units() -> None:
    assert words.mass(1234.0) == "1.23 kgCO2e"
    assert words.mass(None) == "-"
    assert words.energy(1.8) == "1.80 kWh"
    assert words.energy(0.2) == "200 Wh"
    assert words.energy(None) == "-"
    assert words.kwh(0.0000002) == "2e-07"


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-"), (25_200, "7h"), (-5_400, "-1h30m"), (93_790, "1d2h3m"), (59, "59s")]
)
def test_spans_are_told_to_the_minute(seconds: float | None, text: str) -> None:
    assert words.span(seconds) == text


def test_a_time_in_another_offset_than_the_heading_names_its_own() -> None:
    assert words.short("2026-03-02T09:00:00Z", "CET", BERLIN) == "02 Mar 10:00"
    assert words.short("2026-03-30T09:00:00Z", "CET", BERLIN) == "30 Mar 11:00 CEST"
    assert words.local("2026-03-30T09:00:00Z", BERLIN) == "Mon 30 Mar 11:00 CEST"


def test_a_job_that_is_late_shows_negative_slack() -> None:
    text = listing.job_table([a_job(slack_s=-600.0)], wide=False, zone=BERLIN)
    assert "-10m" in text
    assert "START CET" in text


def test_state_names_what_qualifies_it() -> None:
    assert listing.state_text(a_job(state="running", held=True, flags=["throttled"])) == "running (held, throttled)"


def test_the_wide_table_holds_all_of_the_narrow_one() -> None:
    narrow = listing.job_table([a_job()], wide=False).splitlines()[0]
    wide = listing.job_table([a_job()], wide=True).splitlines()[0]
    assert wide.startswith(narrow)
    assert "SAVES g" in wide


def test_of_many_candidates_now_the_chosen_and_the_best_are_shown_and_the_rest_counted() -> None:
    many = [a_candidate(h, 800.0 - h, chosen=h == 40, note="now" if h == 0 else "") for h in range(60)]
    plan = a_plan(None) | {"candidates": many}
    lines = plan_view.candidates_text(plan).splitlines()
    assert lines[-1] == "48 more were considered (-o json lists all)."
    assert len(lines) == 1 + 12 + 1
    assert "now" in lines[1]
    assert sum("CHOSEN" in line for line in lines[1:]) == 1


def test_a_plan_without_a_candidate_still_says_what_happens_and_why() -> None:
    reason = {"code": "residency", "sentence": "may only run in FR, and no site lies there; it stays queued"}
    nothing: dict[str, Any] = {"candidates": [], "saving_g": None, "grid": [], "binds": []}
    text = plan_view.plan_text(a_plan(None) | nothing | {"reason": reason})
    assert text == "Decision: wait. Reason: may only run in FR, and no site lies there; it stays queued."


def test_what_binds_is_listed_in_aligned_columns() -> None:
    title, first, second = plan_view.binds_text(a_plan(None)).splitlines()
    assert title == "What keeps it from a greener plan:"
    assert first.startswith("  capacity  2 GPU(s) missing at local ")
    assert second.startswith("  patience  Wed 03:00 UTC at local would save 12 g")


def test_alternatives_tell_what_they_emit_more_and_how_much_later_they_end() -> None:
    rows = [line.split() for line in plan_view.candidates_text(a_plan(None)).splitlines()]
    assert rows[1][-3:] == ["+240.4", "-17h", "now"]
    assert rows[2][-3:] == ["-", "-", "CHOSEN"]
    assert rows[3][-2:] == ["+21.4", "+3h"]


def test_grams_that_nobody_knows_are_a_dash_among_the_candidates() -> None:
    unknown = a_candidate(0, 0.0, chosen=True) | {"emissions_g": None, "more_g": None}
    text = plan_view.candidates_text(a_plan(None) | {"candidates": [unknown] * 20, "baseline_g": None})
    assert "None" not in text


def test_a_running_job_says_what_would_pause_it() -> None:
    plan = a_plan(a_job(state="running")) | {"would_start_now_if": [], "would_suspend_if": ["lowtide suspend mri-1"]}
    assert "It would pause if\n  - lowtide suspend mri-1\n" in plan_view.explain_text(plan)


def test_a_plan_that_starts_now_says_now() -> None:
    plan = a_plan(None) | {"action": "start", "candidates": [a_candidate(0, 780.0, chosen=True)]}
    assert plan_view.headline(plan).startswith("Decision: starts now at local.")


def test_a_repeated_reason_is_told_once_from_when_it_first_held() -> None:
    def entry(minutes: int, code: str) -> dict[str, Any]:
        reason = {"code": code, "sentence": f"because of {code}"}
        return {
            "at": iso(NOW + timedelta(minutes=minutes)),
            "plan_id": 1,
            "action": "wait",
            "reason": reason,
            "saving_g": 1,
        }

    history = [entry(45, "b"), entry(30, "b"), entry(15, "b"), entry(0, "a")]
    lines = plan_view._history(history, 8)
    assert [line.split("wait: ")[1] for line in lines[1:]] == ["because of b", "because of a"]
    assert "09:15" in lines[1]


def test_an_ended_job_is_explained_without_a_future() -> None:
    text = plan_view.explain_text(a_plan(a_finished_job()))
    assert "next review" not in text
    assert "planned" not in text


def test_a_receipt_says_plainly_when_the_shift_was_worse() -> None:
    receipt = a_receipt(a_finished_job(avoided_g=-12.0)) | {"avoided_fraction": -0.03}
    text = receipt_view.receipt_text(receipt)
    assert "added (shift was worse)" in text
    assert "12.0 gCO2e  3% of it" in text


def test_a_receipt_shows_unknown_figures_as_unknown() -> None:
    receipt = a_receipt(a_finished_job(energy_kwh=None, emissions_g=None, baseline_emissions_g=None, avoided_g=None))
    receipt |= dict.fromkeys(
        (
            "intensity_mean_g_per_kwh",
            "baseline_intensity_g_per_kwh",
            "avoided_fraction",
            "accuracy",
            "accuracy_per_kwh",
            "pue",
        )
    )
    lines = receipt_view.receipt_text(receipt).splitlines()
    assert [line.split()[-1] for line in lines[3:7]] == ["-", "-", "-", "-"]


def test_a_receipt_that_is_priced_in_part_says_for_how_much() -> None:
    running = a_receipt(a_finished_job(emissions_g=None)) | {"emissions_so_far_g": 90.0, "priced_fraction": 0.5}
    line = receipt_view.receipt_text(running).splitlines()[4]
    assert line.split() == ["emissions", "so", "far", "90.0", "gCO2e", "for", "50%", "of", "the", "energy"]


def test_a_report_sums_what_was_paid_by_currency_and_its_rows_have_it() -> None:
    prices = {"EUR": 1.5, "GBP": 2.5}
    paid = [a_receipt(a_finished_job()) | {"cost": cost, "currency": currency} for currency, cost in prices.items()]
    costs = [{"currency": one["currency"], "cost": one["cost"], "jobs": 1} for one in paid]
    report = {**a_receipt(a_finished_job()), "jobs": [*paid, a_receipt(a_finished_job())], "costs": costs}
    head, first, _, unknown, total, *_ = receipt_view.report_text(report).splitlines()
    assert head.endswith("COST")
    assert first.endswith("1.5 EUR")
    assert unknown.endswith("-")
    assert total.endswith("1.5 EUR + 2.5 GBP")
    assert "COST" not in receipt_view.report_text({**report, "costs": []})
    assert [(row["cost"], row["currency"]) for row in receipt_view.flat(report)][1:] == [(2.5, "GBP"), (None, None)]


def test_what_electricity_costs_is_told_where_it_is_known() -> None:
    receipt = a_receipt(a_finished_job()) | {"cost": 1.2345, "currency": "EUR"}
    line = next(line for line in receipt_view.receipt_text(receipt).splitlines() if line.startswith("electricity"))
    assert line.split() == ["electricity", "1.23", "EUR", "by", "the", "tariff", "of", "its", "site"]
    assert "electricity" not in receipt_view.receipt_text(a_receipt(a_finished_job()))
    plan = a_plan(None)
    plain = plan_view.candidates_text(plan)
    priced = [dict(one, cost=0.5, currency="EUR") for one in plan["candidates"]]
    priced[0] |= {"cost": None}
    told = plan_view.candidates_text(plan | {"candidates": priced})
    assert "COST" not in plain
    assert "COST" in told
    assert told.count("0.5 EUR") == len(priced) - 1


def test_a_scaled_receipt_says_so() -> None:
    assert "scaled by 600" in receipt_view.receipt_text(a_receipt(a_finished_job()) | {"scale": 600.0})


def a_forecast(**changes: Any) -> dict[str, Any]:
    slots = [
        {"start": iso(NOW + timedelta(hours=h)), "end": iso(NOW + timedelta(hours=h + 1)), "g_per_kwh": 200.0 - h}
        for h in range(24)
    ]
    window = {
        "start": iso(NOW + timedelta(hours=20)),
        "end": iso(NOW + timedelta(hours=23)),
        "mean_g_per_kwh": 150.0,
        "note": "best",
    }
    return {
        "zone": "GB",
        "now": iso(NOW),
        "source": "recorded",
        "rung": "fresh_forecast",
        "signal": "average",
        "basis": "generation",
        "issued_at": iso(NOW),
        "age_s": 60.0,
        "attribution": "NESO",
        "actual": [],
        "forecast": slots,
        "windows": [window],
    } | changes


def test_a_window_is_compared_with_the_forecast_for_now() -> None:
    text = forecast_view.windows_text(a_forecast())
    assert "-25%" in text
    assert "best" in text


def test_a_chart_marks_the_windows_and_fits_its_width() -> None:
    lines = forecast_view.chart(a_forecast(), BERLIN).splitlines()
    assert "times in CET" in lines[0]
    assert any("███" in line for line in lines[1:-1])
    assert max(len(line) for line in lines) <= forecast_view.CHART_WIDTH


def test_a_zone_without_figures_says_what_that_means() -> None:
    text = forecast_view.forecast_text(a_forecast(forecast=[], windows=[], source=None, rung="blind", age_s=None))
    assert "jobs run at once" in text
    assert "source   none" in text


def test_the_source_line_says_how_the_forecast_was_corrected_and_what_its_band_rests_on() -> None:
    calibration = {"basis": "calibrated", "moments": 312}
    text = forecast_view.source_text(a_forecast(correction="fitted", calibration=calibration))
    assert "captured most so far" in text
    assert "calibrated on what came, from 312 past forecasts" in text
    young = forecast_view.source_text(a_forecast(correction="default", calibration={"basis": "default"}))
    assert "too few past forecasts" in young


CLIMATOLOGY = {"basis": "calibrated", "moments": 168}


@pytest.mark.parametrize(
    ("captured", "words"),
    [
        (0.42, "42% of the possible saving on 168 past moments"),
        (-0.1, "-10% of the possible saving on 168 past moments, so no job is delayed"),
        (None, "not known yet, so no job is delayed"),
    ],
)
def test_a_climatology_says_what_it_is_and_what_it_captured(captured: float | None, words: str) -> None:
    told = a_forecast(rung="climatology", calibration={**CLIMATOLOGY, "captured": captured})
    text = " ".join(forecast_view.source_text(told).split())
    assert "what was usual at that time of day" in text
    assert words in text
    entry = {"zone": "GB", "source": "neso", "rung": "climatology", "age_s": 3e5, "pairs": 168, "captured": captured}
    explained = " ".join(plan_view.grid_text([entry]).split())
    assert "what was usual at that time of day" in explained
    assert words in explained


def test_a_faulty_forecast_is_named_with_what_is_wrong() -> None:
    frozen = {"code": "frozen", "sentence": "the issue repeats that of 2023-03-23 20:30 UTC unchanged."}
    text = forecast_view.source_text(a_forecast(faults=[frozen]))
    assert "set aside" in text
    assert "repeats that of 2023-03-23" in text


def test_a_chart_of_a_single_point_is_drawn() -> None:
    point = a_forecast()["forecast"][:1]
    assert "GB" in forecast_view.chart(a_forecast(forecast=point, windows=[]))


# ---- narrow terminals ----


@pytest.fixture
def columns_80(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "terminal_width", lambda: 80)


def widest(text: str) -> int:
    return max(len(line) for line in text.splitlines())


@pytest.mark.usefixtures("columns_80")
def test_a_narrow_list_of_jobs_leaves_out_what_matters_least_and_tells_the_reason_in_short() -> None:
    reason = {
        "code": "carbon_window",
        "sentence": "waits for a low-carbon window at Thu 10:30 UTC that saves 24 g",
    }
    text = listing.job_table([a_job("brain-mri-mepxdm5e", reason=reason)], wide=False, zone=BERLIN)
    assert widest(text) <= 80
    assert "…" not in text
    assert text.splitlines()[0].split() == ["ID", "STATE", "REASON", "START", "CET", "SLACK", "gCO2e"]
    assert "carbon window" in text


@pytest.mark.usefixtures("columns_80")
def test_the_wide_list_is_whole_on_any_terminal() -> None:
    text = listing.job_table([a_job()], wide=True, zone=BERLIN)
    assert "SUBMITTED" in text.splitlines()[0]
    assert "…" not in text


@pytest.mark.usefixtures("columns_80")
def test_what_wraps_goes_on_below_itself() -> None:
    rows = [
        [Cell("ok"), Cell("one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen")]
    ]
    lines = table.table([Column("STATE"), Column("FOUND", is_flexible=True, wraps=True)], rows).splitlines()
    assert lines[1].startswith("ok     one two")
    assert lines[2].startswith("       ")
    assert " ".join(" ".join(lines[1:]).split()).endswith("fourteen fifteen")


@pytest.mark.usefixtures("columns_80")
@pytest.mark.parametrize("sentence", ["  - a reason " + "of many words " * 12, "short", "x" * 200])
def test_a_sentence_is_broken_between_words_and_loses_none(sentence: str) -> None:
    text = table.flow(sentence, hang=2)
    assert text.split() == sentence.split()
    assert widest(text) <= 80 or " " not in sentence


def test_a_sentence_is_not_broken_where_it_goes_to_a_program() -> None:
    assert table.flow("word " * 50) == "word " * 50


@pytest.mark.usefixtures("columns_80")
def test_receipts_plans_and_the_next_commands_fit_eighty_columns() -> None:
    job = a_job("brain-mri-mepxdm5e")
    receipt = a_receipt(a_finished_job("brain-mri-mepxdm5e")) | {"notes": ["a note " * 20]}
    texts = [
        plan_view.plan_text(a_plan(job)),
        plan_view.explain_text(a_plan(job)),
        plan_view.submitted_text(job, a_plan(job)),
        receipt_view.receipt_text(receipt),
        receipt_view.report_text({**receipt, "jobs": [receipt] * 2, "costs": []}),
    ]
    assert [widest(text) for text in texts if widest(text) > 80] == []


def test_only_a_job_that_waits_is_offered_to_run_now() -> None:
    job = a_job("brain-mri-mepxdm5e")
    assert "run-now brain-mri-mepxdm5e --reason" in plan_view.submitted_text(job, a_plan(job) | {"action": "wait"})
    assert "run-now" not in plan_view.submitted_text(job, a_plan(job) | {"action": "start"})


def test_an_old_average_is_dated_with_its_year() -> None:
    forecast = a_forecast(issued_at="2024-12-31T00:00:00Z", rung="static_average")
    text = forecast_view.source_text(forecast)
    assert "31 Dec 2024" in text
    assert "a yearly average, which never delays a job" in text


def test_what_was_brought_for_a_job_stands_on_a_line_of_its_own() -> None:
    moved = {"sources": ["paris", "oslo"], "site": "leeds", "size_bytes": 210 * 10**9}
    moved |= {"energy_kwh": 1.365, "emissions_g": 204.8, "attempt_id": "done-1-a1", "quality": "estimated"}
    text = receipt_view.receipt_text(a_receipt(a_finished_job()) | {"transfers": [moved]})
    assert "data brought" in text
    assert "210 GB from paris, oslo to leeds" in " ".join(text.split())


def test_a_candidate_tells_what_bringing_its_data_takes_and_a_job_on_what_it_depends() -> None:
    plan = a_plan(a_job(depends_on=["afterok:prep-1"], data=["200GB@paris"]))
    plan["candidates"][1] |= {"transfer_s": 1800.0, "transfer_g": 20.0}
    text = " ".join(plan_view.explain_text(plan).split())
    assert "brings its data: 30m, 20" in text
    assert "depends on afterok:prep-1" in text
    assert "data 200GB@paris" in text


def test_how_wide_and_how_hard_a_job_would_run_is_told_where_its_placements_differ_in_it() -> None:
    plan = a_plan(None)
    first, *others = plan["candidates"]
    stretch = first["segments"][0]
    stretches = [{**stretch, "gpus": 4, "power_fraction": 0.6}, {**stretch, "gpus": 4, "power_fraction": 0.6}, stretch]
    text = plan_view.candidates_text(plan | {"candidates": [{**first, "segments": stretches}, *others]})
    assert "4 GPUs at 60% power, then" in " ".join(text.split())
    assert "GPU" not in plan_view.candidates_text(plan)


@pytest.mark.parametrize(
    ("told", "limit_s", "shown"),
    [
        ("history", None, "run time about 3h, as earlier runs had"),
        ("queue", 14_400.0, "run time about 3h, as its queue expects; ended after 4h"),
        ("declared", 14_400.0, "run time ended after 4h"),
    ],
)
def test_explain_tells_where_a_run_time_comes_from(told: str, limit_s: float | None, shown: str) -> None:
    job = a_job() | {"duration_from": told, "time_limit_s": limit_s}
    assert shown in " ".join(plan_view.explain_text(a_plan(job)).split())
    assert "run time" not in plan_view.explain_text(a_plan(a_job() | {"duration_from": "declared"}))


def test_explain_tells_how_a_job_runs_where_it_does_not_run_as_it_asked_for() -> None:
    limits = [
        {"since": iso(NOW), "power_fraction": 0.6},
        {"since": iso(NOW + timedelta(hours=1)), "power_fraction": 1.0},
    ]
    job = a_job() | {
        "widths": {"2": 1.0, "4": 1.9},
        "power": {"0.6": 0.9},
        "holds": {"gpus": 4, "cpus": 8, "limits": limits},
    }
    text = " ".join(plan_view.explain_text(a_plan(job)).split())
    assert "runs with 4 GPUs, 60% power from " in text
    assert ", 100% power from " in text
    assert "widths 2, 4 GPUs" in text
    assert "power limits 60%" in text
    as_asked = a_job() | {"holds": {"gpus": job["gpus"], "cpus": 4, "limits": []}}
    assert "runs with" not in plan_view.explain_text(a_plan(as_asked))
