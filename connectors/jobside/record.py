"""The report lines that a runner leaves in its job's log, and how the daemon reads them back.

A job has no network path to the daemon and perhaps no disk in common with it, but its log can always be
read over the cluster's HTTP API. So the runner reports there, in single lines of JSON behind a prefix that
carries the attempt's secret fence: other output, and lines of other attempts, are not mistaken for reports.
"""

import json
import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

PREFIX = "::lowtide::"
MAX_LINE = 3900
"""Bytes; below PIPE_BUF, so that a line is written whole even when two processes write at once."""
HEAD_ROOM = 150
"""Bytes of a line for the prefix, the fence and the kind."""
UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)
"""What reading a line of garbage can raise: broken JSON, wrong shapes, numbers and nesting without bound."""


@dataclass(frozen=True)
class Started:
    """The runner began: wall time in Unix seconds, host, process id of the user's program (0 if not told)."""

    wall_s: float
    host: str
    pid: int
    python: str = ""
    gpus: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sample:
    """Cumulative energy since the start, in joules per component, with source and quality of each."""

    wall_s: float
    energy_j: dict[str, float]
    sources: dict[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was saved and read back."""

    wall_s: float
    seq: int
    size: int
    sha256: str


@dataclass(frozen=True)
class Ended:
    """The exit record.

    ``asked_to_stop``: the stop came before the program had ended. ``suspended``: it saved a checkpoint for it.
    ``finished``: the checkpoint helper's session ran to its end. ``lease_lost``: the runner ended the job
    because it could not reach the head of its cluster. ``power_refused``: why no power limit could be set.
    """

    start_wall_s: float
    end_wall_s: float
    exit_code: int | None
    signal: int | None
    asked_to_stop: bool
    suspended: bool
    checkpoint_seq: int | None
    results: dict[str, float]
    energy_j: dict[str, float] = field(default_factory=dict)
    sources: dict[str, tuple[str, str]] = field(default_factory=dict)
    finished: bool = False
    lease_lost: bool = False
    power_refused: str = ""


@dataclass(frozen=True)
class Report:
    """Everything that one attempt reported, in the order of time.

    ``started`` is rebuilt from the exit record when the log's beginning is lost.
    """

    started: Started | None = None
    ended: Ended | None = None
    samples: tuple[Sample, ...] = ()
    checkpoints: tuple[Checkpoint, ...] = ()
    results: dict[str, float] = field(default_factory=dict)
    power_refused: str = ""


def write(fence: str, kind: str, values: dict[str, object], descriptor: int = 1) -> None:
    """Write one report line. Whoever wrote last may not have ended its line, so ours begins with one."""
    line = f"\n{PREFIX}{fence}:: {_compact({'kind': kind, **values})}\n".encode()
    while line:  # one call writes it whole but for a full pipe or disk
        line = line[os.write(descriptor, line) :]


def sample_lines(samples: Sequence[Sample]) -> list[dict[str, object]]:
    """The values of as many ``samples`` lines as are needed to keep each below ``MAX_LINE`` bytes.

    They repeat at the end what was told on the way, for a reader who is left with the log's end only.
    """
    lines: list[dict[str, object]] = []
    rows: list[list[object]] = []
    room = MAX_LINE
    for sample in samples:
        row: list[object] = [sample.wall_s, sample.energy_j]
        size = len(_compact(row)) + 1
        if not rows or size > room:
            rows = []
            lines.append({"sources": {k: list(v) for k, v in sample.sources.items()}, "rows": rows})
            room = MAX_LINE - HEAD_ROOM - len(_compact(lines[-1]))
        rows.append(row)
        room -= size
    return lines


def _compact(values: object) -> str:
    return json.dumps(values, separators=(",", ":"), allow_nan=False)


def parse(text: str, fence: str) -> Report:
    """Read an attempt's report out of a log; garbage, half lines and foreign fences are passed over."""
    mark = f"{PREFIX}{fence}:: "
    found = _Found()
    for line in text.split("\n"):
        if line.startswith(mark):
            found.take(line[len(mark) :])
    return found.report()


class _Found:
    """Facts as they are read; the same fact told twice counts once."""

    def __init__(self) -> None:
        self.started: Started | None = None
        self.ended: Ended | None = None
        self.samples: dict[float, Sample] = {}
        self.checkpoints: dict[int, Checkpoint] = {}
        self.results: dict[str, float] = {}
        self.power_refused = ""

    def take(self, body: str) -> None:
        try:
            values = json.loads(body)
            reader = _READERS.get(values["kind"])
            if reader is not None:
                reader(self, values)
        except UNREADABLE:
            return  # a half line or garbage: what it would have told is told again by the exit record

    def report(self) -> Report:
        started = self.started
        if started is None and self.ended is not None:
            started = Started(self.ended.start_wall_s, "", 0)
        samples = tuple(self.samples[k] for k in sorted(self.samples))
        checkpoints = tuple(self.checkpoints[k] for k in sorted(self.checkpoints))
        results = {**self.results, **(self.ended.results if self.ended else {})}
        refused = self.ended.power_refused if self.ended else self.power_refused
        return Report(started, self.ended, samples, checkpoints, results, refused)


_LINES = re.compile(rf"(?:(?:\A|\n){re.escape(PREFIX)}[^\n]*)+(?:\n|\Z)")


def strip(text: str) -> str:
    """The log as its reader wants it: exactly what was there before ``write`` put its lines in."""
    return _LINES.sub("", text)


def _take_started(found: _Found, values: dict[str, Any]) -> None:
    gpus = tuple(str(g) for g in values.get("gpus", ()))
    python = str(values.get("python", ""))
    found.started = Started(_number(values["wall_s"]), str(values["host"]), int(values["pid"]), python, gpus)


def _take_checkpoint(found: _Found, values: dict[str, Any]) -> None:
    fact = Checkpoint(_number(values["wall_s"]), int(values["seq"]), int(values["size"]), str(values["sha256"]))
    found.checkpoints[fact.seq] = fact


def _take_result(found: _Found, values: dict[str, Any]) -> None:
    found.results.update(_numbers(values["results"]))


def _take_sample(found: _Found, values: dict[str, Any]) -> None:
    fact = Sample(_number(values["wall_s"]), _joules(values["energy_j"]), _sources(values))
    found.samples[fact.wall_s] = fact


def _take_samples(found: _Found, values: dict[str, Any]) -> None:
    sources = _sources(values)
    facts = [Sample(_number(wall_s), _joules(energy_j), sources) for wall_s, energy_j in values["rows"]]
    for fact in facts:
        found.samples.setdefault(fact.wall_s, fact)


def _take_power(found: _Found, values: dict[str, Any]) -> None:
    found.power_refused = str(values.get("refused", ""))


def _take_ended(found: _Found, values: dict[str, Any]) -> None:
    found.ended = Ended(
        start_wall_s=_number(values["start_wall_s"]),
        end_wall_s=_number(values["end_wall_s"]),
        exit_code=_whole(values["exit_code"]),
        signal=_whole(values["signal"]),
        asked_to_stop=values["asked_to_stop"] is True,
        suspended=values["suspended"] is True,
        checkpoint_seq=_whole(values["checkpoint_seq"]),
        results=_numbers(values["results"]),
        energy_j=_joules(values.get("energy_j", {})),
        sources=_sources(values),
        finished=values.get("finished") is True,
        lease_lost=values.get("lease_lost") is True,
        power_refused=str(values.get("power_refused", "")),
    )


def _sources(values: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {str(k): (str(v[0]), str(v[1])) for k, v in values.get("sources", {}).items()}


def _numbers(values: dict[str, Any]) -> dict[str, float]:
    return {str(k): _number(v) for k, v in values.items()}


def _joules(values: dict[str, Any]) -> dict[str, float]:
    joules = _numbers(values)
    if any(value < 0 for value in joules.values()):
        raise ValueError(joules)
    return joules


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(value)
    return float(value)


def _whole(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(value)
    return value


_READERS: dict[str, Callable[[_Found, dict[str, Any]], None]] = {
    "started": _take_started,
    "sample": _take_sample,
    "samples": _take_samples,
    "checkpoint": _take_checkpoint,
    "result": _take_result,
    "power": _take_power,
    "ended": _take_ended,
}
