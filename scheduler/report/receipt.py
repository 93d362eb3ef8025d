"""What one job, or several, used, emitted and avoided: pure, from the ledger's rows."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from lowtide.scheduler.model.units import kwh_from_j
from lowtide.scheduler.report.shape import Json, stamp

ATTRIBUTIONS = {
    "neso": "Contains data from the Carbon Intensity API, National Energy System Operator (NESO), CC BY 4.0.",
    "recorded": (
        "Contains data from the Carbon Intensity API, National Energy System Operator (NESO),"
        " carbonintensity.org.uk, CC BY 4.0; selected and reformatted."
    ),
    "static": "Data: Ember (2025), Energy Institute - processed by Our World in Data, CC BY 4.0.",
}
COUNTERFACTUAL = (
    "Avoided: the same energy, had the job run without a pause from the moment it could first have started,"
    " at the intensity recorded then, less what it emitted. An estimate, and it may be negative."
)


def totals(rows: Sequence[Mapping[Any, Any]], baseline: Mapping[Any, Any] | None) -> Json:
    """Energy and grams of one job; a figure that is not complete yet is None."""
    if not rows:
        return {"energy_kwh": None, "emissions_g": None, "baseline_emissions_g": None, "avoided_g": None}
    keys = {(r["grid_source"], r["zone"], r["signal"], r["basis"], r["accounting"]) for r in rows}
    priced = all(r["emissions_g"] is not None for r in rows)
    emitted = sum(r["emissions_g"] for r in rows) if priced else None
    # Savings hold only within one (source, zone, signal, basis, accounting).
    base = baseline["emissions_g"] if baseline is not None and len(keys) == 1 else None
    return {
        "energy_kwh": kwh_from_j(sum(r["energy_mj"] for r in rows) / 1000),
        "emissions_g": emitted,
        "baseline_emissions_g": base,
        "avoided_g": None if base is None or emitted is None else base - emitted,
    }


def receipt(
    job: Json,
    rows: Sequence[Mapping[Any, Any]],
    baseline: Mapping[Any, Any] | None,
    attempts: Sequence[Mapping[Any, Any]],
) -> Json:
    """The receipt of one job.

    Args:
        job: the job as the API shows it.
        rows: its energy rows with their prices, see ``store.accounts.energy_of``.
        baseline: its counterfactual row, or None.
        attempts: its attempts, oldest first.

    """
    figures = totals(rows, baseline)
    energy_kwh, emitted, base = figures["energy_kwh"], figures["emissions_g"], figures["baseline_emissions_g"]
    accuracy = job["results"].get("accuracy")
    return {
        "job": job,
        **figures,
        "avoided_fraction": figures["avoided_g"] / base if base else None,
        "energy_by": _by_component(rows),
        "baseline_start_at": stamp(baseline["start_at"]) if baseline else None,
        "intensity_mean_g_per_kwh": _per_kwh(emitted, energy_kwh),
        "baseline_intensity_g_per_kwh": _per_kwh(base, energy_kwh),
        "intensity": _intensities(rows),
        "pue": rows[0]["pue"] if rows else None,
        "accuracy": accuracy,
        "accuracy_per_kwh": accuracy / energy_kwh if accuracy is not None and energy_kwh else None,
        "attempts": [_attempt(a, rows) for a in attempts],
        "scale": max((r["scale"] for r in rows), default=1.0),
        "notes": notes(rows, complete=base is not None),
        "attribution": _attributions(rows),
    }


def _per_kwh(grams: float | None, energy_kwh: float | None) -> float | None:
    return grams / energy_kwh if grams is not None and energy_kwh else None


def _by_component(rows: Sequence[Mapping[Any, Any]]) -> list[Json]:
    sums: dict[tuple[str, str, str], int] = {}
    for row in rows:
        key = (row["component"], row["quality"], row["source"])
        sums[key] = sums.get(key, 0) + row["energy_mj"]
    return [
        {"component": c, "quality": q, "source": s, "energy_kwh": kwh_from_j(mj / 1000)}
        for (c, q, s), mj in sorted(sums.items())
    ]


def _intensities(rows: Sequence[Mapping[Any, Any]]) -> list[Json]:
    """Where the intensities came from, with their shares of the energy."""
    whole = sum(r["energy_mj"] for r in rows) or 1
    sums: dict[tuple[str, ...], int] = {}
    for row in rows:
        if row["emissions_g"] is not None:
            key = tuple(row[n] for n in ("grid_source", "zone", "signal", "basis", "accounting", "kind"))
            sums[key] = sums.get(key, 0) + row["energy_mj"]
    names = ("source", "zone", "signal", "basis", "accounting", "kind")
    return [{**dict(zip(names, key, strict=True)), "share": mj / whole} for key, mj in sorted(sums.items())]


def _attempt(attempt: Mapping[Any, Any], rows: Sequence[Mapping[Any, Any]]) -> Json:
    own = [r for r in rows if r["attempt_id"] == attempt["id"]]
    figures = totals(own, None)
    return {
        "id": attempt["id"],
        "site": attempt["site"],
        "start": stamp(attempt["started_at"]),
        "end": stamp(attempt["ended_at"]),
        "state": attempt["state"],
        "energy_kwh": figures["energy_kwh"],
        "emissions_g": figures["emissions_g"],
    }


def notes(rows: Sequence[Mapping[Any, Any]], *, complete: bool) -> list[str]:
    """What was measured, modelled, scaled and left out, in sentences."""
    if not rows:
        return ["No energy is on record for it yet."]
    told = []
    whole = sum(r["energy_mj"] for r in rows) or 1
    modelled = sum(r["energy_mj"] for r in rows if r["quality"] == "modelled") / whole
    sources = {r["source"] for r in rows if r["quality"] == "modelled"}
    if modelled:
        how = {"cpu_time": "CPU time x a power per hardware thread", "declared_power": "declared power x run time"}
        by = ", ".join(sorted(how.get(s, s) for s in sources))
        told.append(f"{modelled:.0%} of the energy is modelled ({by}); the rest is measured.")
    else:
        told.append("All energy is measured.")
    scale = max(r["scale"] for r in rows)
    if scale != 1:
        told.append(f"Time-lapse: 1 s of run stands for {scale:.0f} s, and energy is multiplied by {scale:.0f}.")
    if any(r["kind"] in {"estimated", "static"} for r in rows):
        told.append("Part of the intensity is an estimate or a yearly average, not an actual figure.")
    told.append(COUNTERFACTUAL if complete else "The comparison with running at once is not settled yet.")
    told.append("Left out: memory, network, cooling beyond the PUE, and embodied carbon.")
    return told


def _attributions(rows: Sequence[Mapping[Any, Any]]) -> list[str]:
    return [ATTRIBUTIONS[s] for s in sorted({r["grid_source"] for r in rows if r["grid_source"]}) if s in ATTRIBUTIONS]


def report(receipts: Sequence[Json], *, now: datetime) -> Json:
    """Several receipts and their sums; a sum is None as soon as one of its parts is."""
    ran = [r for r in receipts if r["energy_kwh"] is not None]
    whole: Json = {name: _sum([r[name] for r in ran]) for name in ("energy_kwh", "emissions_g", "baseline_emissions_g")}
    keys = {(i["source"], i["zone"], i["signal"], i["basis"], i["accounting"]) for r in ran for i in r["intensity"]}
    mixed = len({key[2:] for key in keys}) > 1
    if mixed:
        whole |= {"emissions_g": None, "baseline_emissions_g": None}
    base, emitted = whole["baseline_emissions_g"], whole["emissions_g"]
    avoided = None if base is None or emitted is None else base - emitted
    told = sorted({note for r in ran for note in r["notes"]})
    if mixed:
        told.append("The jobs were priced by signals that must not be added (average and marginal, or two bases).")
    return {
        "at": stamp(now),
        "jobs": list(receipts),
        **whole,
        "avoided_g": avoided,
        "avoided_fraction": avoided / base if avoided is not None and base else None,
        "notes": told,
        "attribution": sorted({line for r in ran for line in r["attribution"]}),
    }


def _sum(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return sum(known) if values and len(known) == len(values) else None
