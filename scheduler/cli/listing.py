"""The list of jobs: which columns, and what stands in them."""

from collections.abc import Sequence
from datetime import tzinfo
from typing import Any

from lowtide.scheduler.cli.table import Cell, Column, table
from lowtide.scheduler.cli.words import NONE, grams, short, span, zone_name

Json = dict[str, Any]
STYLES = {"running": "green", "starting": "green", "failed": "red", "suspended": "yellow", "cancelled": "dim"}
FLAT = (
    "id",
    "name",
    "project",
    "queue",
    "urgency",
    "state",
    "held",
    "gpus",
    "cpus",
    "site",
    "attempts",
    "suspensions",
    "submitted_at",
    "started_at",
    "finished_at",
    "planned_start_at",
    "planned_finish_at",
    "deadline_at",
    "latest_finish_at",
    "slack_s",
    "duration_s",
    "energy_kwh",
    "emissions_g",
    "baseline_emissions_g",
    "avoided_g",
    "exit_code",
)


def job_table(jobs: Sequence[Json], *, wide: bool, zone: tzinfo | None = None) -> str:
    """The jobs as aligned columns; times in the local zone, which the headings name."""
    name = zone_name(zone, jobs[0]["submitted_at"] if jobs else None)
    columns = [
        Column("ID"),
        Column("NAME", drop=9),  # the id begins with it
        Column("QUEUE", drop=8),
        Column("STATE"),
        Column("REASON", is_flexible=True),
        Column("GPUS", is_number=True, drop=7),
        Column(f"START {name}", drop=1),
        Column(f"FINISH BY {name}", drop=6),
        Column("SLACK", is_number=True, drop=2),
        Column("gCO2e", is_number=True, drop=3),
    ]
    rows = [_row(job, name, zone) for job in jobs]
    if wide:
        columns += [Column("PROJECT", drop=14), Column("SITE", drop=12), Column("CPUS", is_number=True, drop=15)]
        columns += [Column("SUSPENDED", is_number=True, drop=11), Column("SAVES gCO2e", is_number=True, drop=10)]
        columns += [Column(f"SUBMITTED {name}", drop=13)]
        rows = [row + _wide_cells(job, name, zone) for row, job in zip(rows, jobs, strict=True)]
    return table(columns, rows, whole=wide)


def _row(job: Json, zone_name_: str, zone: tzinfo | None) -> list[Cell]:
    slack_s = job["slack_s"]
    late = slack_s is not None and slack_s < 0
    return [
        Cell(job["id"]),
        Cell(job["name"]),
        Cell(job["queue"]),
        Cell(state_text(job), STYLES.get(job["state"], "")),
        Cell(job["reason"]["sentence"], short=job["reason"]["code"].replace("_", " ")),
        Cell(str(job["gpus"])),
        Cell(_start(job, zone_name_, zone)),
        Cell(_finish_by(job, zone_name_, zone)),
        Cell(span(slack_s), "red" if late else ""),
        Cell(grams(job["emissions_g"])),
    ]


def _wide_cells(job: Json, zone_name_: str, zone: tzinfo | None) -> list[Cell]:
    return [
        Cell(job["project"]),
        Cell(job["site"] or NONE),
        Cell(str(job["cpus"])),
        Cell(str(job["suspensions"])),
        Cell(grams(job["planned_saving_g"])),
        Cell(short(job["submitted_at"], zone_name_, zone)),
    ]


def state_text(job: Json) -> str:
    """The state with what qualifies it: held, throttled."""
    marks = (["held"] if job["held"] else []) + list(job["flags"])
    return f"{job['state']} ({', '.join(marks)})" if marks else str(job["state"])


def _start(job: Json, zone_name_: str, zone: tzinfo | None) -> str:
    if job["started_at"]:
        return short(job["started_at"], zone_name_, zone)
    planned = job["planned_start_at"]
    return f"~{short(planned, zone_name_, zone)}" if planned else NONE


def _finish_by(job: Json, zone_name_: str, zone: tzinfo | None) -> str:
    if job["deadline_at"]:
        return short(job["deadline_at"], zone_name_, zone)
    latest = job["latest_finish_at"]
    return f"({short(latest, zone_name_, zone)})" if latest else NONE


def flat(jobs: Sequence[Json]) -> list[Json]:
    """The jobs for CSV: one level, with the reason split in two columns."""
    return [
        {key: job.get(key) for key in FLAT}
        | {"reason_code": job["reason"]["code"], "reason": job["reason"]["sentence"]}
        for job in jobs
    ]
