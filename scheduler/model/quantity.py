"""Durations, moments and memory sizes as people write them: pure, with ``now`` as a parameter.

Every function raises ValueError with a sentence that says what was expected; the boundaries turn it into
an error of the tree.
"""

import re
from datetime import UTC, datetime, timedelta, tzinfo

from lowtide.scheduler.model.units import utc

MAX_DURATION_S = 366 * 86_400.0
"""A year: longer ones are typing errors, and dates beyond it overflow."""

MAX_TEXT = 64
"""The longest sensible text is shorter; keeps messages small and numbers finite."""

_UNIT_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(weeks?|w|days?|d|hours?|hrs?|h|minutes?|mins?|m|seconds?|secs?|s)(?![a-z])")
_CLOCK_DURATION = re.compile(r"(?:(\d+)-)?(\d+):([0-5]?\d):([0-5]?\d)")
_DAYS_HOURS = re.compile(r"(\d+)-(\d+)(?::([0-5]?\d))?")
_CLOCK_TIME = re.compile(r"(?:(today|tomorrow)\s*)?([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?")
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt])(i?b)?", re.IGNORECASE)
_POWER = {"k": 1, "m": 2, "g": 3, "t": 4}

DURATION_HELP = "write for example 90m, 3h, 1d2h, 02:30:00 or 1-12:00:00"
MOMENT_HELP = "write for example 2026-03-01T18:00Z, now+6h, 16:00 or tomorrow18:00"
MEMORY_HELP = "write for example 8GiB, 512MiB or a whole number of bytes"


def duration_s(value: object) -> float:
    """Seconds from a number of seconds or from text.

    Args:
        value: seconds as a number, or text: ``90m``, ``1d2h``, ``02:30:00``, ``1-12:00:00`` (days-hours).

    Returns:
        Seconds, at least 0 and at most a year.

    Raises:
        ValueError: anything else; a bare number as text has no unit and is refused.

    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        message = f"{str(value)[:80]!r} is no duration; {DURATION_HELP}"
        raise ValueError(message)  # noqa: TRY004 - one kind of error for everything that people write
    seconds = _text_s(value) if isinstance(value, str) else value
    if not 0 <= seconds <= MAX_DURATION_S:  # false for NaN; a huge whole number is compared before it is a float
        message = f"{str(value)[:80]!r} is not between 0 and a year; {DURATION_HELP}"
        raise ValueError(message)
    return float(seconds)


def _text_s(text: str) -> float:
    plain = text.strip().lower()
    if len(plain) > MAX_TEXT:
        message = f"a duration of {len(plain)} characters is not understood; {DURATION_HELP}"
        raise ValueError(message)
    if match := _CLOCK_DURATION.fullmatch(plain):
        days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
        return days * 86_400 + hours * 3600 + minutes * 60 + seconds
    if match := _DAYS_HOURS.fullmatch(plain):
        days, hours, minutes = (float(part or 0) for part in match.groups())
        return days * 86_400 + hours * 3600 + minutes * 60
    if plain and not _PART.sub("", plain).strip():
        return sum(float(number) * _UNIT_S[unit[0]] for number, unit in _PART.findall(plain))
    hint = f"{plain!r} has no unit" if re.fullmatch(r"[\d.]+", plain) else f"{plain!r} is no duration"
    message = f"{hint}; {DURATION_HELP}"
    raise ValueError(message)


def duration_text(seconds: float) -> str:
    """A short text that ``duration_s`` reads back, to the second: ``1d2h``, ``90m`` becomes ``1h30m``."""
    rest = round(seconds)
    parts = []
    for unit in ("d", "h", "m", "s"):
        count, rest = divmod(rest, int(_UNIT_S[unit]))
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def moment(text: str, *, now: datetime, zone: tzinfo | None = None) -> datetime:
    """An aware UTC moment from text.

    Args:
        text: ISO 8601 with a zone, ``now``, ``now+6h``, ``16:00`` (the next one), ``tomorrow18:00``.
        now: the present, aware.
        zone: where clock times without a zone are meant; None: clock times are UTC, and an ISO time
            without a zone is refused, because it would be a guess.

    Raises:
        ValueError: not understood, or out of the calendar.

    """
    plain = text.strip()
    if len(plain) > MAX_TEXT:
        message = f"a time of {len(plain)} characters is not understood; {MOMENT_HELP}"
        raise ValueError(message)
    if plain.lower().startswith("now"):
        return _relative(plain, now)
    if match := _CLOCK_TIME.fullmatch(plain.lower()):
        return _clock_time(match, now.astimezone(zone or UTC))
    try:
        found = datetime.fromisoformat(plain)
    except ValueError:
        message = f"{plain!r} is no time; {MOMENT_HELP}"
        raise ValueError(message) from None
    if found.tzinfo is None and zone is not None:
        found = found.replace(tzinfo=zone)
    try:
        return utc(found)
    except OverflowError:
        message = f"{plain!r} is outside the calendar; {MOMENT_HELP}"
        raise ValueError(message) from None


def _relative(text: str, now: datetime) -> datetime:
    rest = text[3:].strip()
    if not rest:
        return utc(now)
    if not rest.startswith("+"):
        message = f"{text!r} is no time; {MOMENT_HELP}"
        raise ValueError(message)
    return utc(now) + timedelta(seconds=duration_s(rest[1:]))


def _clock_time(match: re.Match[str], now: datetime) -> datetime:
    day, hour, minute, second = match.groups()
    at = now.replace(hour=int(hour), minute=int(minute), second=int(second or 0), microsecond=0)
    if day == "tomorrow" or (day is None and at < now):
        at += timedelta(days=1)
    return utc(at)


def memory_bytes(value: object) -> int:
    """Bytes from a whole number of bytes or from text.

    ``G``, ``Gi`` and ``GiB`` are 1024³ as Slurm and Kubernetes users mean them; ``GB`` is 1000³.

    Raises:
        ValueError: anything else, zero, or more than a petabyte.

    """
    amount = value if isinstance(value, int) and not isinstance(value, bool) else None
    if (
        isinstance(value, str)
        and len(value) <= MAX_TEXT
        and (match := _MEMORY.fullmatch(value.strip().removesuffix("i")))
    ):
        number, unit, suffix = match.groups()
        base = 1000 if (suffix or "").lower() == "b" else 1024
        amount = round(float(number) * base ** _POWER[unit.lower()])
    if amount is None or not 0 < amount <= 10**15:
        message = f"{str(value)[:80]!r} is no memory size; {MEMORY_HELP}"
        raise ValueError(message)
    return amount
