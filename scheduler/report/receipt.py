"""What one job, or several, used, emitted and avoided: pure, from the ledger's rows."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

from lowtide.scheduler.ledger.baseline import OPEN_SENTENCE, SENTENCES, BaselineCode
from lowtide.scheduler.ledger.cost import by_currency, total
from lowtide.scheduler.model.units import kwh_from_j
from lowtide.scheduler.report.shape import Json, stamp

HOW = {
    "cpu_time": "CPU time x a power per hardware thread",
    "declared_power": "declared power x run time",
    "gpu_tdp": "rated GPU power x run time",
}
KEY = ("source", "zone", "signal", "basis", "accounting")


def totals(rows: Sequence[Mapping[Any, Any]], baseline: Mapping[Any, Any] | None) -> Json:
    """Energy and grams of one job; a figure that is not complete yet is None.

    ``emissions_so_far_g`` is what the priced part emitted, ``priced_fraction`` that part's share of the energy.
    """
    priced = [r for r in rows if r["emissions_g"] is not None]
    so_far = sum(r["emissions_g"] for r in priced) if priced else None
    emitted = so_far if len(priced) == len(rows) else None
    base = baseline["emissions_g"] if baseline is not None and _is_comparable(priced, baseline) else None
    energy_mj, priced_mj = sum(r["energy_mj"] for r in rows), sum(r["energy_mj"] for r in priced)
    return {
        "energy_kwh": kwh_from_j(energy_mj / 1000) if rows else None,
        "emissions_g": emitted,
        "emissions_so_far_g": so_far,
        "priced_fraction": priced_mj / energy_mj if energy_mj else None,
        "baseline_emissions_g": base,
        "avoided_g": None if base is None or emitted is None else base - emitted,
    }


def _is_comparable(priced: Sequence[Mapping[Any, Any]], baseline: Mapping[Any, Any]) -> bool:
    """Whether both sides of a saving come from one (source, zone, signal, basis, accounting)."""
    own = {(r["grid_source"], r["zone"], r["signal"], r["basis"], r["accounting"]) for r in priced}
    return own == {tuple(baseline["data"].get(name) for name in KEY)}


def receipt(
    job: Json,
    rows: Sequence[Mapping[Any, Any]],
    baseline: Mapping[Any, Any] | None,
    attempts: Sequence[Mapping[Any, Any]],
    transfers: Sequence[Mapping[Any, Any]] = (),
) -> Json:
    """The receipt of one job.

    Args:
        job: the job as the API shows it.
        rows: its energy rows with their prices, see ``store.accounts.energy_by_job``.
        baseline: its counterfactual row, or None.
        attempts: its attempts, oldest first.
        transfers: what they had brought to their sites; estimated, and in none of the sums.

    """
    figures = totals(rows, baseline)
    energy_kwh, emitted, base = figures["energy_kwh"], figures["emissions_g"], figures["baseline_emissions_g"]
    accuracy = job["results"].get("accuracy")
    cost, currency = total(rows)
    return {
        "job": job,
        **figures,
        "avoided_fraction": figures["avoided_g"] / base if base else None,
        "cost": cost,
        "currency": currency,
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
        "baseline_code": baseline["data"].get("code") if baseline else None,
        "transfers": [_transfer(row) for row in transfers],
        "notes": [*notes(rows, baseline, attempts), *_way_notes(job, attempts), *_transfer_notes(transfers)],
        "attribution": sorted({r["attribution"] for r in rows if r["attribution"]}),
    }


def _transfer(row: Mapping[Any, Any]) -> Json:
    return {
        "attempt_id": row["attempt_id"],
        "sources": row["sources"],
        "site": row["site"],
        "size_bytes": row["size_bytes"],
        "energy_kwh": kwh_from_j(row["energy_mj"] / 1000),
        "emissions_g": row["emissions_g"],
        "quality": "estimated",
    }


def _transfer_notes(transfers: Sequence[Mapping[Any, Any]]) -> list[str]:
    if not transfers:
        return []
    told = "The data that was brought to its site is estimated by size and by the forecast at the start"
    return [f"{told}; it is in none of the other figures, and published estimates differ by an order of magnitude."]


def _way_notes(job: Json, attempts: Sequence[Mapping[Any, Any]]) -> list[str]:
    """Where it ran otherwise than it asked for: at another width, or under power limits."""
    ran = [a for a in attempts if a["started_at"] is not None]
    notes = [_limit_note(a) for a in ran if a["power_plan"]]
    widths = [a["gpus"] for a in ran]
    if any(gpus != job["gpus"] for gpus in widths):
        notes.append(_width_note(job, widths))
    return notes


def _limit_note(attempt: Mapping[Any, Any]) -> str:
    if attempt["power_refused"]:
        why = attempt["power_refused"]
        return (
            f"Attempt {attempt['number']} ran at full power: no power limit could be set at {attempt['site']} ({why})."
        )
    least = min(share for _, share in attempt["power_plan"])
    return f"Attempt {attempt['number']} was to run with its GPUs limited to {least:.0%} of their power at least."


def _width_note(job: Json, ran: Sequence[int]) -> str:
    told = f"It asked for {job['gpus']} GPU(s) and ran with {', then '.join(str(gpus) for gpus, _ in groupby(ran))}"
    return f"{told}: running at once is compared by the energy that it used, at whatever width."


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
        "gpus": attempt["gpus"],
        "start": stamp(attempt["started_at"]),
        "end": stamp(attempt["ended_at"]),
        "state": attempt["state"],
        "energy_kwh": figures["energy_kwh"],
        "emissions_g": figures["emissions_g"],
    }


def notes(
    rows: Sequence[Mapping[Any, Any]], baseline: Mapping[Any, Any] | None, attempts: Sequence[Mapping[Any, Any]]
) -> list[str]:
    """What was measured, modelled, scaled and left out, in sentences."""
    if not rows:
        return ["No energy is on record for it yet."]
    told = [*_energy_notes(_by_component(rows)), *_gpu_notes(rows, attempts)]
    scale = max(r["scale"] for r in rows)
    if scale != 1:
        told.append(f"Time-lapse: 1 s of run stands for {scale:.0f} s, and energy is multiplied by {scale:.0f}.")
    if any(a["ended_at"] is None for a in attempts):
        told.append("It still runs: so far its energy is on record in whole half hours.")
    if any(r["kind"] in {"estimated", "static"} for r in rows):
        told.append("Part of the intensity is an estimate or a yearly average, not an actual figure.")
    told.append(_comparison(baseline))
    told.append("Left out: memory, network, cooling beyond the PUE, and embodied carbon.")
    return told


def _energy_notes(parts: Sequence[Json]) -> list[str]:
    """How the parts of ``energy_by``, of one job or of several, came about."""
    modelled = [p for p in parts if p["quality"] == "modelled"]
    sources: set[str] = {p["source"] for p in modelled}
    by = ", ".join(sorted(HOW.get(source, source) for source in sources))
    whole_kwh, modelled_kwh = sum(p["energy_kwh"] for p in parts), sum(p["energy_kwh"] for p in modelled)
    if not modelled:
        told = ["All energy is measured."]
    elif len(modelled) == len(parts):
        told = [f"All energy is modelled ({by})."]
    else:
        told = [f"{_share(modelled_kwh, whole_kwh)} of the energy is modelled ({by}); the rest is measured."]
    if any(p["source"] == "nvml_power" for p in parts):
        told.append("GPU energy is power sampled about once a second: peaks between two samples are not seen.")
    return told


def _share(part: float, whole: float) -> str:
    """A share between nothing and all, never rounded to either."""
    share = part / whole if whole else 0.0
    if share < 0.01:  # noqa: PLR2004 - the finest that is told
        return "Less than 1%"
    return "More than 99%" if share > 0.99 else f"{share:.0%}"  # noqa: PLR2004


def _gpu_notes(rows: Sequence[Mapping[Any, Any]], attempts: Sequence[Mapping[Any, Any]]) -> list[str]:
    """Attempts that held GPUs and of whose energy nothing is known; declared power holds all of a job."""
    known = {r["attempt_id"] for r in rows if r["component"] in {"gpu", "job"}}
    using = {r["attempt_id"] for r in rows}
    if not any(a["gpus"] and a["id"] in using - known for a in attempts):
        return []
    why = "NVML cannot be reached in the job, or they are GPUs in name only"
    return [f"GPU energy is missing: it held GPUs that gave neither energy nor power ({why})."]


def _comparison(baseline: Mapping[Any, Any] | None) -> str:
    code = baseline["data"].get("code") if baseline is not None else None
    return OPEN_SENTENCE if code is None else SENTENCES[BaselineCode(code)]


def report(receipts: Sequence[Json], *, now: datetime) -> Json:
    """Several receipts and their sums.

    A sum covers the jobs whose figure is known, and how many those are is told. What was avoided is added up from
    the jobs that have both sides of the comparison, never from the difference of two sums; what was paid, currency by
    currency.
    """
    ran = [r for r in receipts if r["energy_kwh"] is not None]
    priced = [r for r in ran if r["emissions_g"] is not None]
    compared = [r for r in priced if r["avoided_g"] is not None]
    mixed = len({(i["signal"], i["basis"], i["accounting"]) for r in priced for i in r["intensity"]}) > 1
    base, avoided = _sum(compared, "baseline_emissions_g"), _sum(compared, "avoided_g")
    parts = [part for r in ran for part in r["energy_by"]]
    own: set[str] = {note for r in ran for note in _energy_notes(r["energy_by"])}
    others: set[str] = {note for r in ran for note in r["notes"]} - own
    told = (_energy_notes(parts) if ran else []) + sorted(others)
    if mixed:
        base = avoided = None
        told.append("The jobs were priced by signals that must not be added (average and marginal, or two bases).")
    return {
        "at": stamp(now),
        "jobs": list(receipts),
        "energy_kwh": _sum(ran, "energy_kwh"),
        "emissions_g": None if mixed else _sum(priced, "emissions_g"),
        "baseline_emissions_g": base,
        "avoided_g": avoided,
        "avoided_fraction": avoided / base if avoided is not None and base else None,
        "costs": [{"currency": c, "cost": cost, "jobs": jobs} for c, (cost, jobs) in by_currency(ran).items()],
        "jobs_priced": len(priced),
        "jobs_compared": len(compared),
        "notes": [*told, *_coverage(len(ran), len(priced), len(compared)), *_cost_coverage(ran)],
        "attribution": sorted({line for r in ran for line in r["attribution"]}),
    }


def _coverage(ran: int, priced: int, compared: int) -> list[str]:
    told = []
    if priced < ran:
        told.append(f"The sum of emissions covers {priced} of {ran} jobs: the others are not priced, or not yet.")
    if compared < ran:
        told.append(f"The sums of 'at once' and 'avoided' cover the {compared} of {ran} jobs that could be compared.")
    return told


def _cost_coverage(ran: Sequence[Json]) -> list[str]:
    """Nothing where no cost is known at all: most sites have no tariff."""
    known = sum(jobs for _, jobs in by_currency(ran).values())
    if known in {0, len(ran)}:
        return []
    return [f"The cost covers {known} of {len(ran)} jobs: the others have no tariff, or are not priced yet."]


def _sum(receipts: Sequence[Json], name: str) -> float | None:
    return sum(r[name] for r in receipts) if receipts else None
