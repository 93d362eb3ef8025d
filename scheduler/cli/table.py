"""Aligned columns for the terminal. Plain on purpose: Rich would double the start-up time of ``status``."""

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

T = TypeVar("T")
CODES = {"red": "31", "green": "32", "yellow": "33", "cyan": "36", "dim": "2", "bold": "1"}
GAP = "  "
MIN_FLEX = 20
READABLE = 40
"""Below this a sentence that was cut says less than its short form."""


@dataclass(frozen=True, slots=True)
class Column:
    """A heading, and how it gives way on a narrow terminal; numbers are right-aligned.

    The flexible column is cut, or goes on below itself where it ``wraps``; columns with a ``drop`` are left out,
    the highest first.
    """

    title: str
    is_number: bool = False
    is_flexible: bool = False
    wraps: bool = False
    drop: int = 0


@dataclass(frozen=True, slots=True)
class Cell:
    """Text, a colour where the colour means something, and a shorter text for a narrow flexible column."""

    text: str
    style: str = ""
    short: str = ""


def has_colour() -> bool:
    """Whether standard output is a terminal that wants colour."""
    plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
    return sys.stdout.isatty() and not plain


def styled(text: str, style: str) -> str:
    """The text in a style, or plain where there is no colour."""
    return f"\x1b[{CODES[style]}m{text}\x1b[0m" if style and has_colour() else text


def terminal_width() -> int | None:
    """Columns of the terminal; None where output goes elsewhere and nothing needs cutting."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], *, whole: bool = False) -> str:
    """The rows under their headings, one line each unless a column wraps; ``whole``: whatever the terminal's width."""
    columns, rows, widths = _fitted(columns, rows, None if whole else terminal_width())
    head = [Cell(column.title, "bold") for column in columns]
    return "\n".join(line for row in (head, *rows) for line in _lines(columns, row, widths))


Rows = Sequence[Sequence[Cell]]


def _fitted(columns: Sequence[Column], rows: Rows, available: int | None) -> tuple[Sequence[Column], Rows, list[int]]:
    """The columns that fit, with their widths: whole, then cut, then in short, then without the least needed."""
    widths = _natural(columns, rows)
    room = 0 if available is None else available - _total(widths)
    flexible = next((i for i, column in enumerate(columns) if column.is_flexible), None)
    brief = [[replace(cell, text=cell.short or cell.text, short="") for cell in row] for row in rows]
    least = READABLE if any(cell.short for row in rows for cell in row) else MIN_FLEX
    if room >= 0:
        return columns, rows, widths
    if flexible is not None and widths[flexible] + room >= least:
        return columns, rows, _changed(widths, flexible, widths[flexible] + room)
    if available is not None and _total(_natural(columns, brief)) <= available:
        return _fitted(columns, brief, available)
    dropped = max(range(len(columns)), key=lambda i: columns[i].drop)
    if columns[dropped].drop:
        return _fitted(_without(columns, dropped), [_without(row, dropped) for row in rows], available)
    if flexible is not None:
        widths = _changed(_natural(columns, brief), flexible, MIN_FLEX)
    return columns, brief, widths


def _changed(widths: Sequence[int], index: int, width: int) -> list[int]:
    return [*widths[:index], min(width, widths[index]), *widths[index + 1 :]]


def _natural(columns: Sequence[Column], rows: Rows) -> list[int]:
    return [max(len(column.title), *(len(row[i].text) for row in rows), 0) for i, column in enumerate(columns)]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _without(many: Sequence[T], index: int) -> list[T]:
    return [*many[:index], *many[index + 1 :]]


def _lines(columns: Sequence[Column], row: Sequence[Cell], widths: Sequence[int]) -> list[str]:
    parts = [_parts(column, cell, width) for column, cell, width in zip(columns, row, widths, strict=True)]
    height = max(len(part) for part in parts)
    lines = []
    for n in range(height):
        cells = [
            styled(_padded(part[n] if n < len(part) else "", column, width), cell.style)
            for part, column, cell, width in zip(parts, columns, row, widths, strict=True)
        ]
        lines.append(GAP.join(cells).rstrip())
    return lines


def _parts(column: Column, cell: Cell, width: int) -> list[str]:
    """The lines of one cell."""
    shown = printable(cell.text)
    if len(shown) <= width:
        return [shown]
    return broken(shown, width) if column.wraps else [shown[: width - 1] + "…"]


def _padded(text: str, column: Column, width: int) -> str:
    return text.rjust(width) if column.is_number else text.ljust(width)


def broken(text: str, width: int, hang: str = "") -> list[str]:
    """The text in lines of at most a width, broken between words; a longer word keeps its line for itself."""
    import textwrap  # noqa: PLC0415 - only what does not fit pays for it

    return textwrap.wrap(text, width, subsequent_indent=hang, break_long_words=False, break_on_hyphens=False)


def flow(text: str, hang: int = 0, width: int | None = None) -> str:
    """A sentence for the terminal: broken between words and indented from its second line on, where it is too long."""
    available = width or terminal_width()
    if available is None or len(text) <= available:
        return text
    indent = text[: len(text) - len(text.lstrip())]
    return "\n".join(indent + line for line in broken(text.lstrip(), available - len(indent), " " * hang))


def printable(text: str) -> str:
    """The text without control characters, which could rewrite the terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def error_flow(text: str) -> str:
    """A sentence for standard error, which may be a terminal where standard output is none."""
    return flow(text, hang=2, width=shutil.get_terminal_size().columns if sys.stderr.isatty() else len(text))


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Label and value, aligned; pairs without a value are left out."""
    kept = [(label, value) for label, value in pairs if value]
    width = max((len(label) for label, _ in kept), default=0)
    return "\n".join(flow(f"  {label.ljust(width)}  {value}", hang=width + 2) for label, value in kept)


def commands(pairs: Sequence[tuple[str, str]]) -> str:
    """What can be typed next and what it does; on a narrow terminal the one above the other."""
    width = max(len(command) for command, _ in pairs)
    available = terminal_width()
    if available is not None and 4 + width + max(len(what) for _, what in pairs) > available:
        return "\n".join(f"  {command}\n      {what}" for command, what in pairs)
    return "\n".join(f"  {command.ljust(width)}  {what}" for command, what in pairs)
