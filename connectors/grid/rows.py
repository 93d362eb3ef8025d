"""Turns what vendors write into numbers, moments and points; what is not one is refused, never guessed (INV-12)."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from lowtide.scheduler.model.errors import GridFailure, GridFailureKind
from lowtide.scheduler.model.series import Point, PointKind, Series
from lowtide.scheduler.model.units import from_timestamp, utc

SHOWN = 40
"""Characters of a vendor's text that a message repeats."""


def bad(source: str, what: str) -> GridFailure:
    """The failure of an answer that is not as documented."""
    return GridFailure(GridFailureKind.BAD_RESPONSE, f"{source} sent {what}.")


def number(source: str, value: Any, *, as_text: bool = False) -> float | None:
    """A figure; None while it is missing (null). Its range is checked where the series is made.

    Args:
        source: the vendor's name for messages.
        value: what stands in the answer.
        as_text: whether the vendor writes numbers as strings; otherwise a string is refused.

    Raises:
        GridFailure: (bad_response) a boolean, a text that is no number, or anything else.

    """
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if as_text and isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            pass
    raise bad(source, f"{str(value)[:SHOWN]!r} where a number was expected")


def moment(source: str, value: Any, *, naive_is_utc: bool = False) -> datetime:
    """An ISO 8601 time as aware UTC.

    Args:
        source: the vendor's name for messages.
        value: what stands in the answer; more than six digits of a second are cut.
        naive_is_utc: whether the vendor documents that a time without an offset is UTC; otherwise it is refused.

    Raises:
        GridFailure: (bad_response) no time, or one without a zone.

    """
    try:
        found = datetime.fromisoformat(value)
        return found.replace(tzinfo=UTC) if naive_is_utc and found.tzinfo is None else utc(found)
    except (OverflowError, TypeError, ValueError):
        raise bad(source, f"{str(value)[:SHOWN]!r} where a time with its zone was expected") from None


def unix_moment(source: str, value: Any, *, per_s: float = 1.0, as_text: bool = False) -> datetime:
    """A Unix time, counted ``per_s`` to the second, as aware UTC.

    Raises:
        GridFailure: (bad_response) no number, or one beyond the calendar.

    """
    told = number(source, value, as_text=as_text)
    try:
        if told is not None:
            return from_timestamp(told / per_s)
    except (OSError, OverflowError, ValueError):
        pass
    raise bad(source, f"{str(value)[:SHOWN]!r} where a Unix time was expected")


def scaled(source: str, figure: float | None, factor: float) -> float | None:
    """A figure times what makes g/kWh of its unit; a missing one stays missing.

    Raises:
        GridFailure: (bad_response) the figure is larger than any number.

    """
    try:
        return None if figure is None else figure * factor
    except OverflowError:
        raise bad(source, f"{str(figure)[:SHOWN]} where an intensity was expected") from None


def rows_of(source: str, body: Any, *keys: str) -> list[dict[str, Any]]:
    """The list of objects under a path of keys.

    Raises:
        GridFailure: (bad_response) it is not there, no list, or holds something that is no object.

    """
    for key in keys:
        body = body.get(key) if isinstance(body, dict) else None
    if not isinstance(body, list) or not all(isinstance(row, dict) for row in body):
        raise bad(source, f"no list of rows under {'.'.join(keys) or 'its answer'}")
    return body


def step_of(starts: Sequence[datetime], usual: timedelta) -> timedelta:
    """The commonest distance between neighbours, the smaller of equals; ``usual`` where there is only one.

    Read from the data and not from the question: some vendors coarsen without a word.
    """
    gaps = Counter(b - a for a, b in pairwise(sorted(set(starts))))
    return min(gaps, key=lambda gap: (-gaps[gap], gap)) if gaps else usual


def points_of(
    source: str, figures: Iterable[tuple[datetime, float | None]], kind: PointKind, usual: timedelta
) -> list[Point]:
    """Points out of (start, figure) in any order; a missing figure leaves a gap.

    A point reaches to the next start, at most one usual step: a missing row stays a gap.

    Raises:
        GridFailure: (bad_response) two different figures for one start.

    """
    told = list(figures)
    step = step_of([start for start, _ in told], usual)
    known: dict[datetime, float] = {}
    for start, figure in told:
        if figure is not None and known.setdefault(start, figure) != figure:
            raise bad(source, f"two figures for {start:%Y-%m-%d %H:%M} UTC")
    starts = sorted(known)
    if not starts:
        return []
    try:
        ends = [
            min(start + step, after)
            for start, after in zip(starts, [*starts[1:], datetime.max.replace(tzinfo=UTC)], strict=True)
        ]
    except OverflowError:
        raise bad(source, "a time at the end of the calendar") from None
    return [Point(start, end, known[start], kind) for start, end in zip(starts, ends, strict=True)]


def some(series: Series, points: Sequence[Point]) -> Series:
    """The series with some of its points.

    Raises:
        GridFailure: (no_data) there are none.

    """
    if not points:
        raise GridFailure(GridFailureKind.NO_DATA, f"{series.source} has no figures for that time.")
    return replace(series, points=tuple(points))
