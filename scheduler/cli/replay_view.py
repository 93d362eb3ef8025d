"""The past of an installation as the daemon tells it, and the table of a replay."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from lowtide.scheduler.cli.table import Cell, Column, table
from lowtide.scheduler.cli.words import NONE, grams, money
from lowtide.scheduler.model.job import JobId, Resources, Urgency
from lowtide.scheduler.model.lifecycle import JobState
from lowtide.scheduler.model.plan import JobView
from lowtide.scheduler.model.project import project_from_json
from lowtide.scheduler.model.reservation import Reservation
from lowtide.scheduler.model.series import Series
from lowtide.scheduler.model.site import site_from_json
from lowtide.scheduler.model.spending import used_from_json
from lowtide.scheduler.policy_set import over, parsed
from lowtide.scheduler.report.issues import issues_of
from lowtide.scheduler.settings import QueueSettings
from lowtide.scheduler.simulate.installation import Booked
from lowtide.scheduler.simulate.replay import Outcome, Past, PastJob, Told, replayed, side_by_side, usable

Json = dict[str, Any]
FORESIGHT = {
    "issued": "Replays plan with the forecasts as they were issued.",
    "perfect": (
        "No forecast from before these days is on record: replays know the intensity in advance, so compare them with"
        " each other."
    ),
    "mixed": (
        "Replays plan with the forecasts as they were issued in {zones}; of the other zones none are on record, and"
        " their intensity is known in advance, so compare replays with each other."
    ),
}
HAPPENED, IN_FORCE = "what happened", "set in force"


def replay(found: Json, text: str, name: str) -> Json:
    """Play a past under the queues in force and under a set laid over them, beside what happened.

    Raises:
        BadInput: the set cannot be taken, or there is nothing to play.

    """
    queues = tuple(QueueSettings.model_validate(one) for one in found["queues"])
    other = over(queues, parsed(text))
    past = usable(_past(found))
    happened = {job.view.job_id: job.happened for job in past.jobs}
    outlook = Told(past)
    columns: Mapping[str, Mapping[JobId, Outcome]] = {
        HAPPENED: happened,
        IN_FORCE: replayed(past, {queue.name: queue.queue() for queue in queues}, outlook),
        name: replayed(past, {queue.name: queue.queue() for queue in other}, outlook),
    }
    span = {"start": past.start.isoformat(), "end": past.end.isoformat()}
    return {**span, **side_by_side(past, columns, outlook)}


def _past(found: Json) -> Past:
    projects = found["projects"]
    return Past(
        jobs=tuple(_job(one) for one in reversed(found["jobs"])),
        sites=tuple(site_from_json(one) for one in found["sites"]),
        intensity={zone: Series.from_json(plain) for zone, plain in found["intensity"].items()},
        start=_moment(found["start"]),
        end=_moment(found["end"]),
        slot_s=found["slot_s"],
        issues={zone: issues_of(plain) for zone, plain in found["issues"].items()},
        projects=tuple(project_from_json(one) for one in projects["declared"]),
        half_life=timedelta(hours=projects["half_life_h"]),
        used=used_from_json(projects["used"]),
        reservations=tuple(_booked(one) for one in found["reservations"]),
    )


def _booked(one: Json) -> Booked:
    made, start, end, ended = (
        None if one[name] is None else _moment(one[name]) for name in ("at", "start_at", "end_at", "ended_at")
    )
    assert made is not None and start is not None  # noqa: S101, PT018 - both always are
    amounts = (one[name] for name in ("gpus", "cpus", "project", "queue"))
    return Booked(Reservation(one["number"], one["site"], one["pool"], start, end, *amounts), made, ended)


def _job(one: Json) -> PastJob:
    deadline, begin = one["deadline_at"], one["begin_at"]
    view = JobView(
        job_id=JobId(one["id"]),
        queue=one["queue"],
        project=one["project"],
        urgency=Urgency(one["urgency"] or Urgency.NORMAL),
        state=JobState.QUEUED,
        submitted_at=_moment(one["submitted_at"]),
        resources=Resources(gpus=one["gpus"], cpus=one["cpus"], gpu_model=one["gpu_model"]),
        remaining_s=one["duration_s"],
        power_w=one["power_w"],
        latest_finish_at=_moment(deadline or one["finished_at"]),
        has_deadline=deadline is not None,
        not_before=_moment(begin) if begin is not None else None,
        allowed_sites=tuple(one["allowed_sites"]),
        suspendable=one["suspendable"],
        waits_for=tuple(map(JobId, one["depends_on"])),
    )
    stretches = tuple((site, _moment(first), _moment(last)) for site, first, last in one["stretches"])
    happened = Outcome(stretches, _moment(one["finished_at"]), one["suspensions"])
    return PastJob(view, one["run_s"], one["patience_s"], one["urgency"] is not None, happened)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def replay_text(found: Json) -> str:
    """The columns of a replay as rows, and what they can and cannot tell."""
    numbers = ("gCO2e", "AGAINST IN FORCE", "WAIT MEAN", "P95", "MAX", "LATE", "SUSPENSIONS", "NOT ENDED")
    heads = [Column("SCHEDULE"), *(Column(name, is_number=True) for name in numbers)]
    reference = next(one["emissions_g"] for one in found["columns"] if one["name"] == IN_FORCE)
    rows = [[Cell(text) for text in _row(one, reference)] for one in found["columns"]]
    if any(one["cost"] is not None for one in found["columns"]):
        heads.append(Column("COST", is_number=True))
        costs = [Cell(money(one["cost"], one["currency"])) for one in found["columns"]]
        rows = [[*row, paid] for row, paid in zip(rows, costs, strict=True)]
    told = (
        f"{found['compared']} of {found['jobs']} jobs, {found['start'][:16]} to {found['end'][:16]} UTC, at"
        f" planned power. {FORESIGHT[found['forecast']]}"
    ).format(zones=", ".join(found["issued_zones"]))
    return f"{table(heads, rows)}\n{told}"


def _row(one: Json, reference_g: float) -> list[str]:
    change = f"{one['emissions_g'] / reference_g - 1:+.1%}" if reference_g > 0 else NONE
    waits = [NONE if one[key] is None else f"{one[key]:.1f} h" for key in ("mean_wait_h", "p95_wait_h", "max_wait_h")]
    counts = [str(one[key]) for key in ("deadline_misses", "suspensions", "not_ended")]
    return [one["name"], grams(one["emissions_g"]), change, *waits, *counts]
