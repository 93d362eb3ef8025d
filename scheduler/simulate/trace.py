"""Traces as CSV text, jobs and all that they meet: read whole, checked, with the line named that is wrong."""

import csv
import io
import math
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np

from lowtide.scheduler.model.data import Data, data_of
from lowtide.scheduler.model.errors import BadInput
from lowtide.scheduler.model.reservation import Reservation
from lowtide.scheduler.model.series import MAX_G_PER_KWH, Accounting, Basis, Point, PointKind, Series, Signal
from lowtide.scheduler.model.tariff import SpotPrices
from lowtide.scheduler.model.units import utc
from lowtide.scheduler.simulate.installation import Booked

ALIASES = {"arrival_time": "submit_s", "length": "duration_s", "cpus": "gpus"}
"""The column names of GAIA's traces, whose CPUs stand for GPUs here."""
NEEDED = ("submit_s", "duration_s", "gpus")
UNITS = "units"
"""The currency of prices that name none."""
MAX_PRICE = 1000.0
"""Per kWh; less than its negative is a typing error."""
TRUE, FALSE = frozenset({"1", "true", "yes", "y"}), frozenset({"0", "false", "no", "n"})
DEFAULT_PROJECT = "default"
"""The project of a job that names none, as when it is submitted."""
ZONE = "zone"
"""What the only zone is called where nothing names it."""
EVER = datetime.min.replace(tzinfo=UTC)
"""Since when a reservation is known of which nobody says when it was made."""
LAST_YEAR = 2200
"""Later times are typing errors, and near the end of the calendar there is no room for a step."""
Row = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TraceJob:
    """One job of a trace; times in seconds after the trace's start, power in W per GPU, empty where not told.

    ``depends_on`` names the jobs that must have ended before it begins, ``data`` what it reads and at which site.
    ``queue``, ``project`` and ``gpu_model`` count where an installation is played.
    """

    job_id: str
    submit_s: float
    duration_s: float
    gpus: int
    deadline_s: float | None = None
    interruptible: bool | None = None
    power_w: float | None = None
    site: str = ""
    depends_on: tuple[str, ...] = ()
    data: tuple[Data, ...] = ()
    queue: str = ""
    project: str = DEFAULT_PROJECT
    gpu_model: str | None = None

    def bound_to(self, known: Container[str]) -> "TraceJob":
        """The same job, waiting for none but these."""
        return replace(self, depends_on=tuple(before for before in self.depends_on if before in known))


def read_jobs(text: str, name: str) -> tuple[TraceJob, ...]:
    """The jobs in order of submission.

    Raises:
        BadInput: a column is missing, a figure cannot be one, or an id comes twice; names file and line.

    """
    jobs = [_job(row, at, number) for number, (row, at) in enumerate(_rows(text, name, NEEDED, ALIASES))]
    seen: set[str] = set()
    for job in jobs:
        if job.job_id in seen:
            raise BadInput(f"{name}: two jobs are called {job.job_id!r}.", fix="Give each a job_id of its own.")
        seen.add(job.job_id)
    return tuple(sorted(jobs, key=lambda job: (job.submit_s, job.job_id)))


def _job(row: Row, at: str, number: int) -> TraceJob:
    duration_s, gpus = _number(row, "duration_s", at), _number(row, "gpus", at)
    if duration_s <= 0:
        raise BadInput(f"{at}: duration_s is {duration_s:g}.", fix="Give the run time in seconds, more than 0.")
    if gpus != int(gpus):
        raise BadInput(f"{at}: gpus is {gpus:g}.", fix="Give a whole number.")
    return TraceJob(
        row.get("job_id") or f"job-{number:06d}",
        _number(row, "submit_s", at),
        duration_s,
        int(gpus),
        _number(row, "deadline_s", at) if row.get("deadline_s") else None,
        _flag(row, "interruptible", at),
        _number(row, "power_w", at) if row.get("power_w") else None,
        row.get("site") or "",
        tuple((row.get("depends_on") or "").split()),
        _data(row, at),
        row.get("queue") or "",
        row.get("project") or DEFAULT_PROJECT,
        row.get("gpu_model") or None,
    )


def resampled(jobs: Sequence[TraceJob], seed: int) -> tuple[TraceJob, ...]:
    """As many jobs, drawn with replacement, each at its own time: one bootstrap sample of the trace.

    Equal seeds draw the same. A job that is drawn again has the number of the draw behind its id.
    """
    drawn = Counter(np.random.default_rng(seed).integers(len(jobs), size=len(jobs)).tolist())
    again = ((jobs[i], number) for i, count in drawn.items() for number in range(1, count + 1))
    named = (job if number == 1 else replace(job, job_id=f"{job.job_id}~{number}") for job, number in again)
    return tuple(sorted(named, key=lambda job: (job.submit_s, job.job_id)))


def read_intensity(text: str, name: str, only: str = ZONE) -> dict[str, Series]:
    """Measured intensity by zone, in the file's order of zones; each zone in one regular step.

    ``only`` is what the zone is called where the file names none.

    Raises:
        BadInput: as for jobs; or a zone has fewer than two rows, or steps that differ.

    """
    found: dict[str, dict[datetime, float]] = {}
    for row, at in _rows(text, name, ("start_utc", "g_per_kwh"), {}):
        found.setdefault(row.get("zone") or only, {})[_moment(row, "start_utc", at)] = _intensity(row, at)
    if not found:
        raise BadInput(f"{name} holds no rows.", fix="Give start_utc,g_per_kwh[,zone].")
    return {zone: _series(zone, values, name) for zone, values in found.items()}


def read_forecasts(text: str, name: str, intensity: Mapping[str, Series]) -> dict[str, tuple[Series, ...]]:
    """Forecasts as issued by zone, each known from when it was issued, in the meaning of the measured intensity.

    Raises:
        BadInput: as for jobs; or a zone is not among those of the intensity, or none is named where there are several.

    """
    found: dict[str, dict[datetime, dict[datetime, float]]] = {zone: {} for zone in intensity}
    for row, at in _rows(text, name, ("issued_utc", "start_utc", "g_per_kwh"), {}):
        zone = row.get("zone") or (next(iter(intensity)) if len(intensity) == 1 else "")
        if zone not in intensity:
            raise BadInput(f"{at}: zone {zone!r} is not in the intensity.", fix=f"It holds: {', '.join(intensity)}.")
        issue = found[zone].setdefault(_moment(row, "issued_utc", at), {})
        issue[_moment(row, "start_utc", at)] = _intensity(row, at)
    return {zone: _issues(issues, intensity[zone]) for zone, issues in found.items()}


def read_prices(text: str, name: str, zones: Iterable[str]) -> dict[str, SpotPrices]:
    """What electricity costs by zone; rows without a zone hold for all zones, and prices may be negative.

    Raises:
        BadInput: as for the intensity; or a zone has no prices, or several currencies.

    """
    found: dict[str, dict[datetime, float]] = {}
    currencies: dict[str, str] = {}
    for row, at in _rows(text, name, ("start_utc", "price_per_kwh"), {}):
        zone, currency = row.get("zone") or "", row.get("currency") or UNITS
        if currencies.setdefault(zone, currency) != currency:
            raise BadInput(f"{at}: {currency} after {currencies[zone]}.", fix="Give each zone one currency.")
        found.setdefault(zone, {})[_moment(row, "start_utc", at)] = _number(row, "price_per_kwh", at, least=-MAX_PRICE)
    lacking = [zone for zone in zones if zone not in found and "" not in found]
    if lacking:
        raise BadInput(f"{name} has no prices of {', '.join(lacking)}.", fix="Add rows, or leave the zone out of all.")
    return {z: _prices(z if z in found else "", found, currencies, name) for z in zones}


def _prices(
    zone: str, found: Mapping[str, Mapping[datetime, float]], currencies: Mapping[str, str], name: str
) -> SpotPrices:
    values, step = found[zone], _step(zone, found[zone], name)
    starts = sorted(values)
    return SpotPrices(currencies[zone], starts[0], step.total_seconds(), tuple(values[start] for start in starts))


def read_reservations(text: str, name: str) -> tuple[Booked, ...]:
    """What is kept free, in columns as ``lowtide admin reservation list -o csv`` has them; two of them are needed.

    Raises:
        BadInput: as for jobs; or an end does not lie after its start.

    """
    rows = _rows(text, name, ("site", "start_at"), {})
    return tuple(_reservation(row, at, number) for number, (row, at) in enumerate(rows, start=1))


def _reservation(row: Row, at: str, number: int) -> Booked:
    start = _moment(row, "start_at", at)
    made, end, ended = (_moment(row, what, at) if row.get(what) else None for what in ("at", "end_at", "ended_at"))
    if end is not None and end <= start:
        raise BadInput(
            f"{at}: end_at does not lie after start_at.", fix="Give a later end, or none: until it is ended."
        )
    amounts = [int(_number(row, what, at)) if row.get(what) else None for what in ("gpus", "cpus")]
    gpus, cpus = (0 if one is None and any(amounts) else one for one in amounts)
    members = row.get("project") or None, row.get("queue") or None
    kept = Reservation(number, row["site"], row.get("pool") or "", start, end, gpus, cpus, *members)
    return Booked(kept, made or EVER, ended)


def _issues(issues: Mapping[datetime, Mapping[datetime, float]], like: Series) -> tuple[Series, ...]:
    steps = [b - a for values in issues.values() for a, b in pairwise(sorted(values))]
    step = min(steps, default=timedelta(seconds=like.step_s))
    return tuple(
        replace(
            like,
            points=tuple(Point(at, at + step, values[at], PointKind.FORECAST) for at in sorted(values)),
            step_s=step.total_seconds(),
            fetched_at=issued,
            issued_at=issued,
        )
        for issued, values in sorted(issues.items())
    )


def _series(zone: str, values: dict[datetime, float], name: str) -> Series:
    starts, step = sorted(values), _step(zone, values, name)
    points = tuple(Point(start, start + step, values[start], PointKind.ACTUAL) for start in starts)
    meaning = (Signal.AVERAGE, Basis.UNKNOWN, Accounting.UNKNOWN)
    return Series(name, zone, zone, points, step.total_seconds(), *meaning, fetched_at=starts[0])


def _step(zone: str, values: Iterable[datetime], name: str) -> timedelta:
    """The one step in which a zone's rows follow each other."""
    starts, where = sorted(values), f"{name}: zone {zone!r}" if zone else name
    if len(starts) < 2:  # noqa: PLR2004 - a step needs two
        raise BadInput(f"{where} has {len(starts)} row(s).", fix="Give at least two, so that steps show.")
    step = starts[1] - starts[0]
    for before, after in pairwise(starts):
        if after - before != step:
            message = f"{where} goes from {before:%Y-%m-%dT%H:%M} to {after:%Y-%m-%dT%H:%M}, in steps of"
            raise BadInput(f"{message} {step}.", fix="Fill the gaps: every zone needs one regular step.")
    return step


def _rows(text: str, name: str, needed: Iterable[str], aliases: Mapping[str, str]) -> Iterator[tuple[Row, str]]:
    """Every row by the column names of ours, and where it stands."""
    reader = csv.reader(io.StringIO(text))
    header = [aliases.get(n, n) for n in (cell.strip().lower() for cell in next(reader, []))]
    missing = [column for column in needed if column not in header]
    if missing:
        told = ", ".join(header) or "nothing"
        raise BadInput(f"{name} lacks the column(s) {', '.join(missing)}; it has: {told}.", fix="Name them in line 1.")
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        at = f"{name}, line {reader.line_num}"
        if len(cells) != len(header):
            raise BadInput(f"{at}: {len(cells)} values for {len(header)} columns.", fix="Mend the line.")
        yield dict(zip(header, (cell.strip() for cell in cells), strict=True)), at


def _number(row: Row, column: str, at: str, *, least: float = 0.0) -> float:
    try:
        value = float(row[column])
    except ValueError:
        value = math.nan
    if not least <= value < math.inf:
        raise BadInput(f"{at}: {column} is {row[column]!r}.", fix=f"Give a number, {least:g} or more.")
    return value


def _intensity(row: Row, at: str) -> float:
    value = _number(row, "g_per_kwh", at)
    if value > MAX_G_PER_KWH:
        raise BadInput(f"{at}: {value:g} g/kWh.", fix=f"No grid emits more than {MAX_G_PER_KWH:g}; check the unit.")
    return value


def _moment(row: Row, column: str, at: str) -> datetime:
    """A moment; one without a zone is UTC here, as the column's name says."""
    try:
        moment = datetime.fromisoformat(row[column])
    except ValueError:
        moment = datetime.max  # noqa: DTZ901 - as wrong as what is told
    if moment.year > LAST_YEAR:
        raise BadInput(f"{at}: {column} is {row[column]!r}.", fix="Give a time such as 2022-10-19T16:00Z.")
    return utc(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _data(row: Row, at: str) -> tuple[Data, ...]:
    try:
        return data_of((row.get("data") or "").split())
    except ValueError as error:
        raise BadInput(f"{at}: data: {error}.", fix="Give SIZE@ZONE, several with spaces between.") from None


def _flag(row: Row, column: str, at: str) -> bool | None:
    told = (row.get(column) or "").lower()
    if not told:
        return None
    if told not in TRUE | FALSE:
        raise BadInput(f"{at}: {column} is {row[column]!r}.", fix="Give true or false.")
    return told in TRUE
