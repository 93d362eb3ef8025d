"""How rows of somebody's JSON are read: a declared mapping, checked at the start, and what it makes of an answer."""

from collections import defaultdict
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from lowtide.connectors.grid.meaning import factor_of
from lowtide.connectors.grid.rows import SHOWN, bad, moment, number, scaled, unix_moment
from lowtide.scheduler.model.units import utc

TWICE = 2


class TimeFormat(StrEnum):
    """How a time is written."""

    ISO = "iso"
    UNIX_S = "unix_s"
    UNIX_MS = "unix_ms"
    NAIVE = "naive"


class RowMapping(BaseModel):
    """One question to an API. Places in an answer are keys and list positions joined by dots: ``data.0.rows``."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    path: Annotated[str, Field(description="with {zone}, {start} and {end}; begins with a slash")]
    rows: Annotated[str, Field(description="where the list of rows is; empty for the answer itself")] = ""
    time: Annotated[str, Field(description="where a row's time is")]
    value: Annotated[str, Field(description="where a row's figure is")]
    time_format: TimeFormat = TimeFormat.ISO
    timezone: Annotated[str, Field(description="of naive times, such as Europe/Berlin")] = ""
    ask_format: Annotated[TimeFormat, Field(description="how {start} and {end} are written")] = TimeFormat.ISO
    time_is: Annotated[Literal["start", "end"], Field(description="which end of its interval")] = "start"
    unit: Annotated[str, Field(description="g, kg or lb per kWh or MWh")] = "g/kWh"
    text_numbers: Annotated[bool, Field(description="whether figures are written as texts")] = False
    step_s: Annotated[float, Field(gt=0, le=86_400, description="seconds, where one row does not tell")] = 3600.0
    max_days: Annotated[float, Field(gt=0, le=366, description="how much one answer may span")] = 8.0
    kind: Annotated[Literal["actual", "estimated"], Field(description="of past figures")] = "actual"
    zone: Annotated[str, Field(description="where the answer names its zone")] = ""
    row_zone: Annotated[str, Field(description="where a row names its zone")] = ""
    issued: Annotated[str, Field(description="where the answer says when the forecast was made")] = ""

    @field_validator("path")
    @classmethod
    def _absolute(cls, path: str) -> str:
        if not path.startswith("/") or path.startswith("//") or "#" in path:
            raise ValueError("expected what follows the host, beginning with one slash")
        return path

    @field_validator("unit")
    @classmethod
    def _unit(cls, unit: str) -> str:
        if factor_of(unit) is None:
            raise ValueError("expected g, kg or lb per kWh or MWh")
        return unit

    @model_validator(mode="after")
    def _zoned(self) -> "RowMapping":
        if TimeFormat.NAIVE in {self.time_format, self.ask_format}:
            try:
                ZoneInfo(self.timezone)
            except (OSError, ValueError, KeyError):
                message = "naive times need a 'timezone' that this machine knows, such as Europe/Berlin"
                raise ValueError(message) from None
        return self

    @property
    def factor(self) -> float:
        """What makes g/kWh of a figure."""
        return factor_of(self.unit) or 1.0


def found_at(value: Any, place: str) -> Any:
    """What stands at a place; None where there is nothing."""
    if isinstance(value, dict) and "." not in place and place:
        return value.get(place)
    for key in place.split(".") if place else ():
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list) and key.isdecimal() and len(key) < SHOWN and int(key) < len(value):
            value = value[int(key)]
        else:
            return None
    return value


def written(when: datetime, mapping: RowMapping) -> str:
    """A moment as the address wants it."""
    if mapping.ask_format == TimeFormat.UNIX_S:
        return f"{when.timestamp():.0f}"
    if mapping.ask_format == TimeFormat.UNIX_MS:
        return f"{when.timestamp() * 1000:.0f}"
    if mapping.ask_format == TimeFormat.NAIVE:
        return when.astimezone(ZoneInfo(mapping.timezone)).strftime("%Y-%m-%dT%H:%M:%S")
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def readable(source: str, value: Any, mapping: RowMapping) -> datetime:
    """One time of an answer as aware UTC; of a local one that comes twice, the first.

    Raises:
        GridFailure: (bad_response) it is no time, or none in the declared format.

    """
    if mapping.time_format == TimeFormat.NAIVE:
        return _folds(source, _local(source, value), mapping)[0]
    if mapping.time_format == TimeFormat.ISO:
        return moment(source, value)
    per_s = 1000.0 if mapping.time_format == TimeFormat.UNIX_MS else 1.0
    return unix_moment(source, value, per_s=per_s, as_text=mapping.text_numbers)


def figures_of(source: str, rows: list[Any], mapping: RowMapping) -> list[tuple[datetime, float | None]]:
    """Times and figures in g/kWh; null stays missing.

    Raises:
        GridFailure: (bad_response) a row without a time, or with something that is no figure.

    """
    factor = mapping.factor
    told = [(found_at(row, mapping.time), _figure(source, row, mapping, factor)) for row in rows]
    if mapping.time_format != TimeFormat.NAIVE:
        return [(readable(source, time, mapping), figure) for time, figure in told]
    return _from_local(source, [(_local(source, time), figure) for time, figure in told], mapping)


def _figure(source: str, row: Any, mapping: RowMapping, factor: float) -> float | None:
    if not isinstance(row, dict | list):
        raise bad(source, f"a row that is neither an object nor a list: {str(row)[:SHOWN]!r}")
    return scaled(source, number(source, found_at(row, mapping.value), as_text=mapping.text_numbers), factor)


def _from_local(
    source: str, told: list[tuple[datetime, float | None]], mapping: RowMapping
) -> list[tuple[datetime, float | None]]:
    """Local times to UTC. One that the clocks show twice is taken where it is there twice, in the order of the rows.

    Where it is there once nobody can say which of the two hours it was: it is left out.
    """
    descending = len(told) > 1 and told[0][0] > told[-1][0]
    times: dict[datetime, list[float | None]] = defaultdict(list)
    for local, figure in reversed(told) if descending else told:
        times[local].append(figure)
    found: list[tuple[datetime, float | None]] = []
    for local, figures in times.items():
        folds = _folds(source, local, mapping)
        if len(folds) == 1:
            found += [(folds[0], figure) for figure in figures]
        elif len(figures) == TWICE:
            found += zip(folds, figures, strict=True)
    return found


def _local(source: str, value: Any) -> datetime:
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise bad(source, f"{str(value)[:SHOWN]!r} where a time was expected") from None
    if found.tzinfo is not None:
        raise bad(source, f"{str(value)[:SHOWN]!r} with a zone, declared as a time without one")
    return found


def _folds(source: str, local: datetime, mapping: RowMapping) -> list[datetime]:
    """The moments at which clocks there show this time: one, or two when they are set back."""
    zone = ZoneInfo(mapping.timezone)
    try:
        found = sorted({utc(local.replace(tzinfo=zone, fold=fold)) for fold in (0, 1)})
        shown = [when for when in found if when.astimezone(zone).replace(tzinfo=None) == local]
    except OverflowError:
        raise bad(source, f"{local.isoformat()[:SHOWN]} at the end of the calendar") from None
    if not shown:
        raise bad(source, f"{local.isoformat()[:SHOWN]}, which no clock in {mapping.timezone} ever shows")
    return shown


def begun(
    source: str, figures: list[tuple[datetime, float | None]], step: timedelta
) -> list[tuple[datetime, float | None]]:
    """Figures that were told for the end of their interval, at its start.

    Raises:
        GridFailure: (bad_response) a time at the beginning of the calendar.

    """
    try:
        return [(end - step, figure) for end, figure in figures]
    except OverflowError:
        raise bad(source, "a time at the beginning of the calendar") from None
