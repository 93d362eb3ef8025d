"""YAML whose every key knows its line, so that a refusal can say where; hostile files cost no more than their bytes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from lowtide.scheduler.model.errors import BadInput

Path = tuple[str, ...]
MAX_DEPTH = 8
"""Nothing that people write by hand is deeper, and a thousand brackets would exhaust the reader's stack."""
MAX_TOLD = 5
"""Faults in one sentence; the document lists them all."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong at a line (from 1 on) and field, as a sentence that says what was expected."""

    line: int
    field: str
    message: str


@dataclass(frozen=True, slots=True)
class Lined:
    """The plain values of a document, and the line of every key in it."""

    values: Any
    lines: dict[Path, int]

    def line_of(self, path: Path) -> int:
        """The line of a key, or of the nearest that encloses it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def fault(self, path: Path, message: str) -> Fault:
        """A fault at a key."""
        return Fault(self.line_of(path), ".".join(path), message)


def refused(what: str, faults: list[Fault], fix: str) -> BadInput:
    """One error from faults; ``details['errors']`` lists each with line and field."""
    ordered = sorted(faults, key=lambda fault: (fault.line, fault.field))
    told = "; ".join(_told(fault) for fault in ordered[:MAX_TOLD])
    more = f"; and {len(ordered) - MAX_TOLD} more" if len(ordered) > MAX_TOLD else ""
    listed = [{"field": f.field, "line": str(f.line), "message": f.message} for f in ordered]
    return BadInput(f"{what} cannot be taken: {told}{more}.", fix=fix, details={"errors": listed})


def _told(fault: Fault) -> str:
    return f"line {fault.line}: {f'{fault.field}: ' if fault.field else ''}{fault.message}"


def read(text: str) -> tuple[Lined, list[Fault]]:
    """Read one YAML document.

    Returns:
        What was read, and keys given twice. Where the text is no YAML, or of a kind that is not taken (anchors,
        deep nesting), nothing but the fault.

    """
    nothing = Lined(None, {})
    try:
        odd = _odd(text)
        if odd is not None:
            return nothing, [odd]
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = _line(error.problem_mark or error.context_mark)
        return nothing, [Fault(line, "", f"this is not YAML ({error.problem or error.context})")]
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the last two: a date that no calendar has
        return nothing, [Fault(1, "", f"this is not YAML ({' '.join(str(error).split())[:200]})")]
    lines: dict[Path, int] = {}
    doubled = list(_walk(node, (), lines))
    return Lined(values, lines), doubled


def _odd(text: str) -> Fault | None:
    """The first thing that only a file made to do harm has; found without building anything."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = _line(event.start_mark)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            return Fault(line, "", "anchors and aliases are not taken; write the value out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            return Fault(line, "", f"nested deeper than {MAX_DEPTH} levels")
    return None


def _walk(node: Any, path: Path, lines: dict[Path, int]) -> Iterator[Fault]:
    """Note the line of every key; yields keys that are given twice, of which YAML would silently take the last."""
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        here = (*path, str(key.value))
        line = _line(key.start_mark)
        if here in lines:
            yield Fault(line, ".".join(here), f"given before, in line {lines[here]}; keep one")
        lines[here] = line
        yield from _walk(value, here, lines)


def _line(mark: Any) -> int:
    """The line of a mark, from 1 on; the first where the reader gives none."""
    return 1 if mark is None else int(mark.line) + 1


def line_at(text: str, path: Sequence[str | int]) -> int | None:
    """The line of what a path of keys and places leads to, or of the last of it that is there; None before the first.

    ``text`` is known to be YAML.
    """
    node, found = yaml.compose(text, Loader=yaml.SafeLoader), None
    for step in path:
        node = _inside(node, step)
        if node is None:
            break
        found = _line(node.start_mark)
    return found


def _inside(node: Any, step: str | int) -> Any:
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step]
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == str(step)), None)
    return None
