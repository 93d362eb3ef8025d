"""Rows of the store as the JSON of the API: times in UTC with Z, unknown figures null and never zero."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from lowtide.scheduler.model.reason import Reason, ReasonCode
from lowtide.scheduler.model.run_time import Told

Json = dict[str, Any]


def stamp(moment: datetime | None) -> str | None:
    """ISO 8601 in UTC with Z, to the second."""
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def reason_json(code: str | None, facts: dict[str, object] | None) -> Json | None:
    """Machine code and human sentence of a stored reason."""
    if code is None:
        return None
    return {"code": code, "sentence": Reason(ReasonCode(code), facts or {}).sentence}


def event_json(row: Mapping[Any, Any]) -> Json:
    """One row of the event log."""
    return {
        "seq": row["seq"],
        "at": stamp(row["at"]),
        "job_id": row["job_id"],
        "attempt_id": row["attempt_id"],
        "subject": row["subject"],
        "from": row["source"],
        "to": row["target"],
        "actor": row["actor"],
        "reason": reason_json(row["reason_code"], row["reason_facts"]),
        "plan_id": row["plan_id"],
    }


def _holds(last: Mapping[Any, Any] | None) -> Json | None:
    """What a live attempt holds, and from when on which share of its GPUs' power limit; None where none lives."""
    if last is None or last["ended_at"] is not None:
        return None
    limits = [] if last["power_refused"] else last["power_plan"] or []
    told = [{"since": stamp(datetime.fromisoformat(at)), "power_fraction": share} for at, share in limits]
    return {"gpus": last["gpus"], "cpus": last["cpus"], "limits": told}


def job_json(
    row: Mapping[Any, Any], *, now: datetime, last: Mapping[Any, Any] | None, figures: Mapping[Any, Any] | None
) -> Json:
    """One job; ``last`` is its newest attempt and ``figures`` are its receipt's totals, where it has any."""
    spec = row["spec"]
    figures = figures or {}
    ended = row["finished_at"] is not None
    finish, latest = row["planned_finish_at"], row["latest_finish_at"]
    # its patience begins when what it waits for has ended
    is_bound = row["reason_code"] == ReasonCode.DEPENDENCY and spec["deadline_at"] is None
    return {
        "id": row["id"],
        "name": row["name"],
        "project": row["project"],
        "queue": row["queue"],
        "urgency": row["urgency"],
        "actor": row["actor"],
        "state": row["state"],
        "held": row["held_by"] is not None,
        "submitted_at": stamp(row["submitted_at"]),
        "started_at": stamp(row["started_at"]),
        "finished_at": stamp(row["finished_at"]),
        "deadline_at": spec["deadline_at"],
        "latest_finish_at": None if is_bound else stamp(latest),
        "depends_on": spec.get("depends_on", []),
        "data": spec.get("data", []),
        "duration_s": spec["duration_s"],
        "duration_from": spec.get("told") or Told.DECLARED.value,
        "time_limit_s": spec.get("time_limit_s"),
        "gpus": spec["resources"]["gpus"],
        "cpus": spec["resources"]["cpus"],
        "widths": {str(gpus): throughput for gpus, throughput in spec.get("widths", [])},
        "power": {f"{limit:g}": throughput for limit, throughput, _ in spec.get("power", [])},
        "site": last["site"] if last is not None else None,
        "holds": _holds(last),
        "attempts": row["attempts"],
        "suspensions": row["suspensions"],
        "reason": reason_json(row["reason_code"], row["reason_facts"]),
        "reason_first": reason_json(row["first_reason_code"], row["first_reason_facts"]),
        "next_review_at": stamp(row["next_review_at"]),
        "planned_start_at": None if ended else stamp(row["planned_start_at"]),
        "planned_finish_at": None if ended else stamp(finish),
        "slack_s": None if ended or is_bound or finish is None else (latest - max(finish, now)).total_seconds(),
        "planned_g": row["planned_g"],
        "planned_saving_g": row["planned_saving_g"],
        "energy_kwh": figures.get("energy_kwh"),
        "emissions_g": figures.get("emissions_g"),
        "baseline_emissions_g": figures.get("baseline_emissions_g"),
        "avoided_g": figures.get("avoided_g"),
        "results": row["results"],
        "exit_code": row["exit_code"],
        "labels": spec["labels"],
        "interruptible": spec["interruptible"],
        "flags": [],
    }
