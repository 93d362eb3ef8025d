"""What a command prints: a table for people, or JSON, YAML or CSV for programs."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lowtide.scheduler.model.errors import BadInput

Json = dict[str, Any]
FORMATS = ("table", "wide", "json", "yaml", "csv")


def say(text: str) -> None:
    """Print a line to standard output."""
    print(text)  # noqa: T201 - the one place where commands print


def warn(text: str) -> None:
    """Print a line to standard error, so that it never mixes with data."""
    from lowtide.scheduler.cli.table import error_flow  # noqa: PLC0415 - only who is warned pays for it

    print(error_flow(text), file=sys.stderr)  # noqa: T201 - as above


def check_format(chosen: str) -> str:
    """The format, or BadInput."""
    if chosen not in FORMATS:
        message = f"{chosen!r} is no output format."
        raise BadInput(message, fix=f"Give -o with one of: {', '.join(FORMATS)}.")
    return chosen


def show(
    chosen: str,
    data: Any,
    *,
    human: Callable[[], str],
    rows: Callable[[], Sequence[Mapping[str, Any]]] | None = None,
) -> None:
    """Print ``data`` in the chosen format.

    Args:
        chosen: one of FORMATS.
        data: what JSON and YAML show, unchanged.
        human: makes the table.
        rows: flat rows for CSV; by default ``data`` itself.

    """
    check_format(chosen)
    if chosen == "json":
        say(json.dumps(data, indent=2))
    elif chosen == "yaml":
        import yaml  # noqa: PLC0415 - only who asks for YAML pays for it

        say(yaml.safe_dump(data, sort_keys=False, allow_unicode=True).rstrip())
    elif chosen == "csv":
        _write_csv(rows() if rows else data)
    else:
        say(human())


def _write_csv(rows: Sequence[Mapping[str, Any]]) -> None:
    import csv  # noqa: PLC0415 - as above

    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow([_plain(row.get(name)) for name in names])


def _plain(value: Any) -> Any:
    if value is None:
        return ""
    return json.dumps(value) if isinstance(value, dict | list | bool) else value
