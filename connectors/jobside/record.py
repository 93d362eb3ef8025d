"""The report lines that a runner leaves in its job's log, and how the daemon reads them back.

A job has no network path to the daemon and perhaps no disk in common with it, but its log can always be
read over the cluster's HTTP API. So the runner reports there, in single lines of JSON behind a prefix that
carries the attempt's secret fence: other output, and lines of other attempts, are not mistaken for reports.
"""

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

PREFIX = "::lowtide::"
MAX_LINE = 3900
"""Bytes; below PIPE_BUF, so that a line is written whole even when two processes write at once."""


@dataclass(frozen=True)
class Started:
    """The runner began: wall time in Unix seconds, host, process id of the user's program."""

    wall_s: float
    host: str
    pid: int


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
    """The exit record."""

    start_wall_s: float
    end_wall_s: float
    exit_code: int | None
    signal: int | None
    asked_to_stop: bool
    suspended: bool
    checkpoint_seq: int | None
    results: dict[str, float]


@dataclass(frozen=True)
class Report:
    """Everything that one attempt reported, in the order of time."""

    started: Started | None = None
    ended: Ended | None = None
    samples: tuple[Sample, ...] = ()
    checkpoints: tuple[Checkpoint, ...] = ()
    results: dict[str, float] = field(default_factory=dict)


def write(fence: str, kind: str, values: dict[str, object], descriptor: int = 1) -> None:
    """Write one report line. Whoever wrote last may not have ended its line, so ours begins with one."""
    body = json.dumps({"kind": kind, **values}, separators=(",", ":"), allow_nan=False)
    os.write(descriptor, f"\n{PREFIX}{fence}:: {body}\n".encode())


def parse(text: str, fence: str) -> Report:
    """Read an attempt's report out of a log; garbage, half lines and foreign fences are passed over."""
    mark = f"{PREFIX}{fence}:: "
    started: Started | None = None
    ended: Ended | None = None
    samples: dict[float, Sample] = {}
    checkpoints: dict[int, Checkpoint] = {}
    results: dict[str, float] = {}
    for line in text.splitlines():
        found = line.find(mark)
        if found < 0:
            continue
        fact = _fact(line[found + len(mark) :])
        if isinstance(fact, Started):
            started = fact
        elif isinstance(fact, Ended):
            ended = fact
            results.update(fact.results)
        elif isinstance(fact, Sample):
            samples[fact.wall_s] = fact
        elif isinstance(fact, Checkpoint):
            checkpoints[fact.seq] = fact
        elif isinstance(fact, dict):
            results.update(fact)
    return Report(
        started,
        ended,
        tuple(samples[k] for k in sorted(samples)),
        tuple(checkpoints[k] for k in sorted(checkpoints)),
        results,
    )


def strip(text: str) -> str:
    """The log as its reader wants it: without report lines and the blank lines that they brought."""
    kept: list[str] = []
    for line in text.split("\n"):
        if line.startswith(PREFIX):
            if kept and kept[-1] == "":
                kept.pop()
            continue
        kept.append(line)
    return "\n".join(kept)


def _fact(body: str) -> Started | Ended | Sample | Checkpoint | dict[str, float] | None:
    try:
        values = json.loads(body)
        read = _READERS.get(values["kind"])
        return read(values) if read else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _started(values: dict[str, Any]) -> Started:
    return Started(_number(values["wall_s"]), str(values["host"]), int(values["pid"]))


def _checkpoint(values: dict[str, Any]) -> Checkpoint:
    return Checkpoint(_number(values["wall_s"]), int(values["seq"]), int(values["size"]), str(values["sha256"]))


def _result(values: dict[str, Any]) -> dict[str, float]:
    return {str(k): _number(v) for k, v in values["results"].items()}


def _sample(values: dict[str, Any]) -> Sample:
    energy = values["energy_j"]
    sources = values.get("sources", {})
    if not isinstance(energy, dict) or not isinstance(sources, dict):
        raise TypeError(energy)
    joules = {str(k): _number(v) for k, v in energy.items()}
    if any(j < 0 for j in joules.values()):
        raise ValueError(joules)
    return Sample(_number(values["wall_s"]), joules, {str(k): (str(v[0]), str(v[1])) for k, v in sources.items()})


def _ended(values: dict[str, Any]) -> Ended:
    results = values["results"]
    if not isinstance(results, dict):
        raise TypeError(results)
    return Ended(
        start_wall_s=_number(values["start_wall_s"]),
        end_wall_s=_number(values["end_wall_s"]),
        exit_code=_whole(values["exit_code"]),
        signal=_whole(values["signal"]),
        asked_to_stop=values["asked_to_stop"] is True,
        suspended=values["suspended"] is True,
        checkpoint_seq=_whole(values["checkpoint_seq"]),
        results={str(k): _number(v) for k, v in results.items()},
    )


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


_READERS: dict[str, Callable[[dict[str, Any]], Started | Ended | Sample | Checkpoint | dict[str, float]]] = {
    "started": _started,
    "sample": _sample,
    "checkpoint": _checkpoint,
    "result": _result,
    "ended": _ended,
}
