"""Aligned columns for the terminal. Plain on purpose: Rich would double the start-up time of ``status``."""

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass

CODES = {"red": "31", "green": "32", "yellow": "33", "cyan": "36", "dim": "2", "bold": "1"}
GAP = "  "
MIN_FLEX = 16


@dataclass(frozen=True, slots=True)
class Column:
    """A heading; numbers are right-aligned; one flexible column gives way on a narrow terminal."""

    title: str
    is_number: bool = False
    is_flexible: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """Text, and a colour where the colour means something."""

    text: str
    style: str = ""


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


def table(columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> str:
    """The rows under their headings, one line each."""
    widths = _widths(columns, rows, terminal_width())
    head = [Cell(column.title, "bold") for column in columns]
    return "\n".join(_line(columns, row, widths) for row in (head, *rows))


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], available: int | None) -> list[int]:
    widths = [max(len(column.title), *(len(row[i].text) for row in rows), 0) for i, column in enumerate(columns)]
    if available is None:
        return widths
    excess = sum(widths) + len(GAP) * (len(widths) - 1) - available
    for i, column in enumerate(columns):
        if column.is_flexible and excess > 0:
            widths[i] = max(min(MIN_FLEX, widths[i]), widths[i] - excess)
    return widths


def _line(columns: Sequence[Column], row: Sequence[Cell], widths: Sequence[int]) -> str:
    parts = []
    for column, cell, width in zip(columns, row, widths, strict=True):
        shown = printable(cell.text)
        text = shown if len(shown) <= width else shown[: width - 1] + "…"
        padded = text.rjust(width) if column.is_number else text.ljust(width)
        parts.append(styled(padded, cell.style))
    return GAP.join(parts).rstrip()


def printable(text: str) -> str:
    """The text without control characters, which could rewrite the terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Label and value, aligned; pairs without a value are left out."""
    kept = [(label, value) for label, value in pairs if value]
    width = max((len(label) for label, _ in kept), default=0)
    return "\n".join(f"  {label.ljust(width)}  {value}" for label, value in kept)
