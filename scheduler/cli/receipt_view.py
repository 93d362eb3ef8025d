"""Receipts in the terminal: one job as a designed text, many as a table."""

from collections.abc import Sequence
from typing import Any

from lowtide.scheduler.cli.table import Cell, Column, flow, styled, table
from lowtide.scheduler.cli.words import (
    NONE,
    energy,
    grams,
    kwh,
    local,
    mass,
    moment_of,
    money,
    percent,
    short,
    span,
    zone_name,
)

Json = dict[str, Any]
BYTES_PER_GB = 1e9
WIDTH = 72
LABEL, VALUE = 24, 16


def receipt_text(receipt: Json) -> str:
    """What one job used, emitted and avoided, with the sources of every figure."""
    job = receipt["job"]
    lines = [
        styled(f"RECEIPT  {job['id']}", "bold"),
        f"{job['name']}, project {job['project']}, queue {job['queue']}, {job['state']}",
        _rule(),
        *_figures(receipt),
        _rule(),
        *_energy_lines(receipt),
        *_intensity_lines(receipt),
        *_attempt_lines(receipt["attempts"]),
        *_transfer_lines(receipt.get("transfers", [])),
        _rule(),
        *[flow(f"- {note}", hang=2) for note in receipt["notes"]],
        *[flow(f"- Grid data: {thanks}.", hang=2) for thanks in receipt["attribution"]],
    ]
    return "\n".join(lines)


def _rule() -> str:
    return "-" * WIDTH


def _line(label: str, value: str, note: str = "", style: str = "") -> str:
    figure = f"{label.ljust(LABEL)}{value.rjust(VALUE)}"
    lines = flow(f"{figure}  {note}".rstrip(), hang=len(figure) + 2)
    return lines.replace(figure, label.ljust(LABEL) + styled(value.rjust(VALUE), style), 1)


def _figures(receipt: Json) -> list[str]:
    avoided = receipt["avoided_g"]
    style = "" if avoided is None else "green" if avoided > 0 else "red"
    label = "avoided" if avoided is None or avoided >= 0 else "added (shift was worse)"
    share = receipt["avoided_fraction"]
    lines = [
        _line("energy", energy(receipt["energy_kwh"]), _scale(receipt)),
        _emissions(receipt),
        _line(
            "had it run at once", mass(receipt["baseline_emissions_g"]), _at(receipt["baseline_intensity_g_per_kwh"])
        ),
        _line(
            label,
            mass(None if avoided is None else abs(avoided)),
            "" if share is None else f"{abs(share):.0%} of it",
            style,
        ),
    ]
    if receipt.get("cost") is not None:
        lines.append(_line("electricity", money(receipt["cost"], receipt["currency"]), "by the tariff of its site"))
    if receipt["accuracy"] is not None:
        lines.append(_line("accuracy", f"{receipt['accuracy']:.4g}"))
    if receipt["accuracy_per_kwh"] is not None:
        lines.append(_line("accuracy per kWh", f"{receipt['accuracy_per_kwh']:.4g}"))
    return lines


def _emissions(receipt: Json) -> str:
    so_far, share = receipt["emissions_so_far_g"], receipt["priced_fraction"]
    if receipt["emissions_g"] is None and so_far is not None and share is not None:
        return _line("emissions so far", mass(so_far), f"for {share:.0%} of the energy")
    return _line("emissions", mass(receipt["emissions_g"]), _at(receipt["intensity_mean_g_per_kwh"]))


def _scale(receipt: Json) -> str:
    scale = receipt["scale"]
    return "" if scale in {None, 1.0} else f"scaled by {scale:g}, see the notes"


def _at(intensity: float | None) -> str:
    return "" if intensity is None else f"at {intensity:.0f} gCO2e/kWh"


def _energy_lines(receipt: Json) -> list[str]:
    return [
        _line(f"  {part['component']}", energy(part["energy_kwh"]), f"{part['quality']}, {part['source']}")
        for part in receipt["energy_by"]
    ] + ([_line("  PUE", f"{receipt['pue']:g}")] if receipt["pue"] is not None else [])


def _intensity_lines(receipt: Json) -> list[str]:
    lines = []
    for entry in receipt["intensity"]:
        kind = ", ".join(str(entry[key]) for key in ("signal", "basis", "kind") if entry.get(key))
        share = entry.get("share")
        part = "" if share is None else f"{share:.0%} of the energy, "
        lines.append(_line("  intensity", f"{entry.get('zone') or NONE}", f"{part}{entry.get('source')} ({kind})"))
    return lines


def _attempt_lines(attempts: Sequence[Json]) -> list[str]:
    lines = []
    for number, attempt in enumerate(attempts, start=1):
        ran_s = _ran_s([attempt])
        ran = f", ran {span(ran_s)}" if ran_s is not None else ""
        told = f"  attempt {number} at {attempt['site']}: {attempt['state']}, {energy(attempt['energy_kwh'])}"
        lines.append(flow(f"{told}, began {local(attempt['start'])}{ran}", hang=2))
    return lines


def _transfer_lines(transfers: Sequence[Json]) -> list[str]:
    """What was brought to its sites: estimates, apart from all else."""
    lines = []
    for one in transfers:
        told = f"{one['size_bytes'] / BYTES_PER_GB:.3g} GB from {', '.join(one['sources'])} to {one['site']}"
        lines.append(
            _line("  data brought", mass(one["emissions_g"]), f"estimated, {energy(one['energy_kwh'])}; {told}")
        )
    return lines


def report_text(report: Json) -> str:
    """Many receipts as a table with the sum below."""
    if not report["jobs"]:
        return "No job has used energy yet. A receipt appears when a job starts."
    zone = zone_name(at=report["jobs"][0]["job"]["submitted_at"])
    columns = [
        Column("JOB"),
        Column("STATE", drop=1),
        Column(f"FINISHED {zone}", drop=5),
        Column("RAN", is_number=True, drop=3),
        Column("kWh", is_number=True),
        Column("gCO2e", is_number=True),
        Column("AT ONCE gCO2e", is_number=True, drop=4),
        Column("AVOIDED gCO2e", is_number=True),
        Column("AVOIDED", is_number=True),
        Column("ACCURACY", is_number=True, drop=2),
    ]
    rows = [*(_report_row(receipt, zone) for receipt in report["jobs"]), _total_row(report)]
    if report["costs"]:
        columns.append(Column("COST", is_number=True, drop=1))
        costs = [*(money(receipt["cost"], receipt["currency"]) for receipt in report["jobs"]), _costs(report)]
        rows = [[*row, Cell(cost)] for row, cost in zip(rows, costs, strict=True)]
    notes = [*report["notes"], *(f"Grid data: {thanks}." for thanks in report["attribution"])]
    return "\n".join([table(columns, rows), *[flow(f"- {note}", hang=2) for note in notes]])


def _report_row(receipt: Json, zone: str) -> list[Cell]:
    job = receipt["job"]
    return [
        Cell(job["id"]),
        Cell(job["state"], "red" if job["state"] == "failed" else ""),
        Cell(short(job["finished_at"], zone)),
        Cell(span(_ran_s(receipt["attempts"]))),
        *_sums(receipt),
        Cell(NONE if receipt["accuracy"] is None else f"{receipt['accuracy']:.3f}"),
    ]


def _total_row(report: Json) -> list[Cell]:
    return [Cell("total", "bold"), Cell(""), Cell(""), Cell(""), *_sums(report), Cell("")]


def _costs(report: Json) -> str:
    return " + ".join(money(one["cost"], one["currency"]) for one in report["costs"])


def _sums(figures: Json) -> list[Cell]:
    avoided = figures["avoided_g"]
    return [
        Cell(kwh(figures["energy_kwh"])),
        Cell(grams(figures["emissions_g"])),
        Cell(grams(figures["baseline_emissions_g"])),
        Cell(grams(avoided), "red" if avoided is not None and avoided < 0 else ""),
        Cell(percent(figures["avoided_fraction"])),
    ]


def _ran_s(attempts: Sequence[Json]) -> float | None:
    total, known = 0.0, False
    for attempt in attempts:
        start, end = moment_of(attempt["start"]), moment_of(attempt["end"])
        if start and end:
            total, known = total + (end - start).total_seconds(), True
    return total if known else None


def flat(report: Json) -> list[Json]:
    """The receipts for CSV: one row for each job."""
    figures = ("energy_kwh", "emissions_g", "baseline_emissions_g", "avoided_g", "avoided_fraction", "pue", "accuracy")
    keys = (*figures, "cost", "currency")
    return [
        {"id": r["job"]["id"], "name": r["job"]["name"], "state": r["job"]["state"]} | {k: r[k] for k in keys}
        for r in report["jobs"]
    ]
