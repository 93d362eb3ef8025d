"""Receipts say what is known, how it is known and what is missing; sums never mix what must not be mixed."""

from typing import Any

import pytest

from lowtide.scheduler.ledger.baseline import SENTENCES, BaselineCode
from lowtide.scheduler.report import receipt as receipts
from tests.books import HALF_HOUR, NOON
from tests.fake_service import a_job

Json = dict[str, Any]
KEY = {"source": "neso", "zone": "GB", "signal": "average", "basis": "direct", "accounting": "consumption"}


def a_row(energy_kwh: float = 1.0, grams: float | None = 100.0, **changes: Any) -> Json:
    row: Json = {
        "attempt_id": "mri-1-a1",
        "component": "cpu",
        "start_at": NOON,
        "end_at": NOON + HALF_HOUR,
        "energy_mj": round(energy_kwh * 3.6e9),
        "source": "rapl",
        "quality": "measured",
        "scale": 1.0,
        "emissions_g": grams,
        "pue": 1.0,
        "kind": "actual",
        "attribution": "NESO, CC BY 4.0" if grams is not None else None,
    }
    priced = {"grid_source" if name == "source" else name: value for name, value in KEY.items()}
    return row | (priced if grams is not None else dict.fromkeys([*priced, "kind", "pue"])) | changes


def a_baseline(grams: float | None = 300.0, code: str = "settled", **changes: Any) -> Json:
    data = {"code": code, **(KEY if grams is not None else {}), **changes}
    return {"job_id": "mri-1", "start_at": NOON, "emissions_g": grams, "data": data}


def an_attempt(**changes: Any) -> Json:
    attempt = {"id": "mri-1-a1", "number": 1, "site": "lab", "state": "succeeded", "gpus": 2}
    attempt |= {"power_plan": None, "power_refused": None}
    return attempt | {"started_at": NOON, "ended_at": NOON + HALF_HOUR} | changes


def a_receipt(rows: list[Json], baseline: Json | None = None, **attempt: Any) -> Json:
    return receipts.receipt(a_job(), rows, baseline, [an_attempt(**attempt)])


def energy_note(*rows: Json) -> str:
    return str(a_receipt(list(rows))["notes"][0])


def test_the_share_that_is_modelled_is_told_right_at_both_ends() -> None:
    modelled: Json = {"quality": "modelled", "source": "cpu_time"}
    how = "(CPU time x a power per hardware thread)"
    assert energy_note(a_row()) == "All energy is measured."
    assert energy_note(a_row(**modelled)) == f"All energy is modelled {how}."
    assert energy_note(a_row(0.0, **modelled)) == f"All energy is modelled {how}."
    mixed = [energy_note(a_row(part, **modelled), a_row(1000 - part)) for part in (1, 250, 999)]
    shares = ["Less than 1%", "25%", "More than 99%"]
    assert mixed == [f"{share} of the energy is modelled {how}; the rest is measured." for share in shares]


@pytest.mark.parametrize(("name", "other"), [("source", "file"), ("zone", "DE"), ("basis", "lifecycle")])
def test_a_saving_whose_sides_differ_in_key_is_not_told(name: str, other: str) -> None:
    assert a_receipt([a_row()], a_baseline())["avoided_g"] == pytest.approx(200)
    changed: Json = {name: other}
    told = a_receipt([a_row()], a_baseline(**changed))
    assert (told["baseline_emissions_g"], told["avoided_g"], told["avoided_fraction"]) == (None, None, None)


@pytest.mark.parametrize("code", [code for code in BaselineCode if code not in {"settled", "estimated"}])
def test_every_missing_comparison_says_why(code: BaselineCode) -> None:
    told = a_receipt([a_row()], a_baseline(None, code.value))
    assert told["baseline_code"] == code
    assert SENTENCES[code] in told["notes"]
    assert told["avoided_g"] is None


def test_a_running_job_shows_what_it_emitted_so_far_and_for_how_much_of_its_energy() -> None:
    told = a_receipt([a_row(3.0, 300.0), a_row(1.0, None)], ended_at=None, state="running")
    assert (told["energy_kwh"], told["emissions_g"]) == (pytest.approx(4), None)
    assert (told["emissions_so_far_g"], told["priced_fraction"]) == (300.0, 0.75)
    assert "It still runs: so far its energy is on record in whole half hours." in told["notes"]


def test_gpus_whose_energy_is_not_known_are_named() -> None:
    blind = [note for note in a_receipt([a_row()], gpus=2)["notes"] if note.startswith("GPU energy is missing")]
    assert len(blind) == 1
    for component in ("gpu", "job"):
        told = a_receipt([a_row(), a_row(component=component)], gpus=2)["notes"]
        assert not any(note.startswith("GPU energy is missing") for note in told)


def test_sampled_power_is_told_apart_from_a_counter() -> None:
    told = a_receipt([a_row(component="gpu", source="nvml_power")], gpus=1)["notes"]
    assert told[0] == "All energy is measured."
    assert told[1].startswith("GPU energy is power sampled about once a second")


def test_everybody_whose_figures_priced_the_energy_is_named_once() -> None:
    rows = [a_row(), a_row(), a_row(attribution="Campus plant"), a_row(attribution=None), a_row(grams=None)]
    assert a_receipt(rows)["attribution"] == ["Campus plant", "NESO, CC BY 4.0"]


def test_a_report_adds_savings_job_by_job_and_says_how_many_it_covers() -> None:
    compared = a_receipt([a_row()], a_baseline())
    differing = a_receipt([a_row(grams=50.0)], a_baseline(900.0, basis="lifecycle"))
    running = a_receipt([a_row(grams=None)], ended_at=None)
    told = receipts.report([compared, differing, running, a_receipt([])], now=NOON)
    assert told["energy_kwh"] == pytest.approx(3)
    assert (told["emissions_g"], told["jobs_priced"]) == (pytest.approx(150), 2)
    assert (told["avoided_g"], told["jobs_compared"]) == (pytest.approx(200), 1)
    assert (told["baseline_emissions_g"], told["avoided_fraction"]) == (pytest.approx(300), pytest.approx(2 / 3))
    assert "The sum of emissions covers 2 of 3 jobs: the others are not priced, or not yet." in told["notes"]
    assert "The sums of 'at once' and 'avoided' cover the 1 of 3 jobs that could be compared." in told["notes"]


def test_a_report_over_signals_that_must_not_be_added_gives_no_sum_of_grams() -> None:
    marginal = a_receipt([a_row(signal="marginal")], a_baseline(signal="marginal"))
    told = receipts.report([a_receipt([a_row()], a_baseline()), marginal], now=NOON)
    assert (told["emissions_g"], told["baseline_emissions_g"], told["avoided_g"]) == (None, None, None)
    assert told["energy_kwh"] == pytest.approx(2)


def test_a_report_tells_the_modelled_share_once_over_all_jobs() -> None:
    modelled = a_receipt([a_row(3.0, quality="modelled", source="gpu_tdp")])
    notes = receipts.report([a_receipt([a_row()]), modelled], now=NOON)["notes"]
    assert notes[0] == "75% of the energy is modelled (rated GPU power x run time); the rest is measured."
    assert not any(note.startswith("All energy") for note in notes)


def test_what_was_brought_is_told_apart_and_changes_no_other_figure() -> None:
    moved = {"attempt_id": "mri-1-a1", "sources": ["paris"], "site": "lab", "size_bytes": 10**9}
    moved |= {"energy_mj": round(0.0065 * 3.6e9), "emissions_g": 1.3}
    plain = receipts.receipt(a_job(), [a_row()], a_baseline(), [an_attempt()])
    told = receipts.receipt(a_job(), [a_row()], a_baseline(), [an_attempt()], [moved])
    (one,) = told["transfers"]
    assert (one["energy_kwh"], one["emissions_g"], one["quality"]) == (pytest.approx(0.0065), 1.3, "estimated")
    assert {k: v for k, v in told.items() if k not in {"transfers", "notes"}} == {
        k: v for k, v in plain.items() if k not in {"transfers", "notes"}
    }
    (note,) = set(told["notes"]) - set(plain["notes"])
    assert "in none of the other figures" in note


def test_costs_are_added_up_within_one_currency_and_only_if_all_are_known() -> None:
    euros: Json = {"cost": 0.5, "currency": "EUR"}
    pounds: Json = {"cost": 0.5, "currency": "GBP"}
    assert a_receipt([a_row(**euros), a_row(**euros)])["cost"] == pytest.approx(1.0)
    assert a_receipt([a_row(**euros), a_row(**pounds)])["cost"] is None
    assert a_receipt([a_row(**euros), a_row(cost=None, currency=None)])["cost"] is None
    assert a_receipt([])["cost"] is None


def test_a_job_that_ran_wider_than_it_asked_for_says_what_it_is_compared_with() -> None:
    asked = a_job()["gpus"]
    tries = [an_attempt(gpus=gpus) for gpus in (4, 4, 2)]
    told = receipts.receipt(a_job(), [a_row()], a_baseline(), tries)
    assert [one["gpus"] for one in told["attempts"]] == [4, 4, 2]
    (note,) = [note for note in told["notes"] if note.startswith("It asked for")]
    assert note.startswith(f"It asked for {asked} GPU(s) and ran with 4, then 2: ")
    as_asked = receipts.receipt(a_job(), [a_row()], a_baseline(), [an_attempt(gpus=asked)])
    assert not any(note.startswith("It asked for") for note in as_asked["notes"])


def test_a_report_adds_up_what_was_paid_currency_by_currency_and_says_how_many_it_covers() -> None:
    paid = [a_receipt([a_row(cost=0.5, currency=currency)]) for currency in ("EUR", "GBP", "EUR")]
    told = receipts.report([*paid, a_receipt([a_row()])], now=NOON)
    assert told["costs"] == [
        {"currency": "EUR", "cost": pytest.approx(1.0), "jobs": 2},
        {"currency": "GBP", "cost": pytest.approx(0.5), "jobs": 1},
    ]
    assert "The cost covers 3 of 4 jobs: the others have no tariff, or are not priced yet." in told["notes"]
    without = receipts.report([a_receipt([a_row()])], now=NOON)
    assert without["costs"] == []
    assert not any("cost" in note for note in without["notes"])
