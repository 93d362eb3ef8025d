"""Keeps what sources answered across restarts: one small file per question, in the data directory.

A file is written aside and moved into place, so that it is whole or not there; one that cannot be read is
ignored. What was answered under other settings (another key, address or zone table) is forgotten.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import structlog

from lowtide.scheduler.model.errors import GridFailure, GridFailureKind
from lowtide.scheduler.model.series import Series
from lowtide.scheduler.model.units import utc

log = structlog.get_logger()
VERSION = 1
FILE_CAP = 4 << 20
"""Bytes; eight days in steps of five minutes take about a twentieth of it."""
FOLDER_CAP, FILES_CAP = 64 << 20, 2000
"""Bytes and files of one source that are read at the start; older ones beyond them are removed."""

MAX_FAILURES = 10
"""No cooldown grows beyond that many in a row; a larger count would only make larger powers of two."""

Question = tuple[str, str]
"""An operation and a zone."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What is known about one question: the last answer, and the failure since then with when to ask again."""

    answer: Series | None = None
    span: timedelta = timedelta(0)
    answered_at: datetime | None = None
    failure: GridFailure | None = None
    not_before: datetime | None = None
    failures: int = 0


class Shelf:
    """The files of one source under one set of options."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        """Take the source's own folder, made when it is first needed, and what its options come to."""
        self._folder, self._fingerprint = folder, fingerprint

    def load(self, source: str) -> dict[Question, Memory]:
        """Everything that can be read and belongs to these options."""
        found: dict[Question, Memory] = {}
        for path in self._files():
            try:
                plain = json.loads(path.read_bytes())
                if (plain["version"], plain["fingerprint"]) != (VERSION, self._fingerprint):
                    path.unlink()
                    continue
                question, memory = _read(plain, source)
                found[question] = memory
            except (OSError, GridFailure, ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
                log.warning("grid_cache_broken", file=str(path), why=type(error).__name__)
        return found

    def save(self, question: Question, memory: Memory) -> None:
        """Write one question down; a disk that refuses costs the memory of it and nothing else."""
        name = hashlib.sha256(json.dumps(question).encode()).hexdigest()[:32]
        path = self._folder / f"{name}.json"
        plain = {"version": VERSION, "fingerprint": self._fingerprint, **_plain(question, memory)}
        content = json.dumps(plain, separators=(",", ":")).encode()
        try:
            if len(content) > FILE_CAP:
                path.unlink(missing_ok=True)
                return
            self._folder.mkdir(parents=True, exist_ok=True)
            aside = path.with_suffix(".tmp")
            aside.write_bytes(content)
            os.replace(aside, path)  # noqa: PTH105 - beside the write that it completes
        except OSError as error:
            log.warning("grid_cache_not_written", file=str(path), why=error.strerror)

    def _files(self) -> Iterator[Path]:
        """Newest first, as many as may be; the others and what a crash left half written are removed."""
        with contextlib.suppress(OSError):
            for rest in self._folder.glob("*.tmp"):
                rest.unlink()
        room = FOLDER_CAP
        for number, (_, size, path) in enumerate(sorted(self._dated(), reverse=True)):
            room -= size
            if number < FILES_CAP and room >= 0 and size <= FILE_CAP:
                yield path
            else:
                with contextlib.suppress(OSError):
                    path.unlink()

    def _dated(self) -> Iterator[tuple[int, int, Path]]:
        for path in self._folder.glob("*.json"):
            with contextlib.suppress(OSError):
                facts = path.stat()
                yield facts.st_mtime_ns, facts.st_size, path


def fingerprint_of(options: Mapping[str, Any]) -> str:
    """A text that changes when the options do, or a key that they name; no key can be guessed from it.

    A key's file counts by its time and size. A key in the environment counts by sixteen bits of its digest: enough
    to notice another one, too few to try keys against.
    """
    told = [json.dumps(options, sort_keys=True, default=str), *_keys(options)]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]


def _keys(value: Any, name: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _keys(inner, str(key))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _keys(inner, name)
    elif isinstance(value, str) and name.endswith("file"):
        with contextlib.suppress(OSError, ValueError):
            facts = Path(value).stat()
            yield f"{name} {facts.st_mtime_ns} {facts.st_size}"
    elif isinstance(value, str) and name.endswith("env"):
        yield f"{name} {hashlib.sha256(os.environ.get(value, '').encode()).hexdigest()[:4]}"


def _plain(question: Question, memory: Memory) -> dict[str, Any]:
    failure = memory.failure
    return {
        "question": question,
        "answer": memory.answer.to_json() if memory.answer else None,
        "span_s": memory.span.total_seconds(),
        "answered_at": _text(memory.answered_at),
        "failure": failure and {"kind": failure.kind, "message": failure.message, "fix": failure.fix},
        "retry_at": _text(failure.retry_at) if failure else None,
        "not_before": _text(memory.not_before),
        "failures": memory.failures,
    }


def _read(plain: dict[str, Any], source: str) -> tuple[Question, Memory]:
    operation, zone = plain["question"]
    answer = None if plain["answer"] is None else Series.from_json(plain["answer"])
    if answer is not None and (answer.source.partition("/")[0], answer.zone_requested) != (source, zone):
        message = f"a stored series is of {answer.source} and {answer.zone_requested}"
        raise ValueError(message)
    return (str(operation), str(zone)), Memory(
        answer=answer,
        span=timedelta(seconds=plain["span_s"]),
        answered_at=_moment(plain["answered_at"]),
        failure=_failure(plain),
        not_before=_moment(plain["not_before"]),
        failures=min(max(0, int(plain["failures"])), MAX_FAILURES),
    )


def _failure(plain: dict[str, Any]) -> GridFailure | None:
    told = plain["failure"]
    if told is None:
        return None
    kind, message, fix = GridFailureKind(told["kind"]), str(told["message"]), str(told["fix"])
    return GridFailure(kind, message, retry_at=_moment(plain["retry_at"]), fix=fix)


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _moment(text: str | None) -> datetime | None:
    return utc(datetime.fromisoformat(text)) if text else None
