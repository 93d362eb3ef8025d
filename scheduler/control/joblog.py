"""What a job printed: the kept log of an ended attempt, or the cluster's of a live one, read once for all followers."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from lowtide.connectors.cluster.logtail import CUT, last_lines
from lowtide.connectors.jobside.record import strip
from lowtide.scheduler.control.driver import LOG_BYTES, LOG_LINES
from lowtide.scheduler.control.growing import GAP, Growing, following
from lowtide.scheduler.model.cluster import Cluster
from lowtide.scheduler.model.errors import ClusterFailure, NotFound
from lowtide.scheduler.model.lifecycle import AttemptState, JobState

FOLLOW_S = 0.5
NARROW_LINES = 200
"""Enough for what most jobs print in half a second; a wider look follows where it is not."""
REST = 4.0
"""Seconds of rest for each second that a look took, so that a slow head is not asked all the time."""
UNREADABLE = "[lowtide: the log of {} cannot be read now, its cluster does not answer]\n"
CAUGHT_UP = ""
"""What the inner iterators give when there is nothing more to read now."""
Row = Mapping[Any, Any]
"""An attempt as the store has it."""
ClusterOf = Callable[[str], Cluster | None]


@dataclass(frozen=True, slots=True)
class Course:
    """How far a job is: its state, and its attempts from the first on."""

    state: JobState
    attempts: Sequence[Row]

    def is_over(self, number: int) -> bool:
        """Whether an attempt prints no more; of a job that has ended nobody waits for an unknown one."""
        state = AttemptState(self.attempts[number]["state"])
        return not state.is_live or (state == AttemptState.UNKNOWN and self.state.is_terminal)


class JobLogs:
    """The logs of all jobs."""

    def __init__(
        self,
        folder: Path,
        *,
        course: Callable[[str], Awaitable[Course]],
        cluster: ClusterOf,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Take the folder of kept logs, and what finds the course of a job and the cluster of a site."""
        self._folder, self._course, self._cluster, self._pause = folder, course, cluster, pause
        self._live: WeakValueDictionary[str, LiveLog] = WeakValueDictionary()

    async def text(self, job_id: str, *, attempt: int | None = None, tail_lines: int | None = None) -> str:
        """What the job printed so far, attempt after attempt, without lowtide's own lines.

        Raises:
            NotFound: there is no such job, or no such attempt of it.

        """
        every = (await self._course(job_id)).attempts
        wanted = [row for row in every if attempt is None or row["number"] == attempt]
        if attempt is not None and not wanted:
            message = f"job {job_id} has no attempt {attempt}."
            raise NotFound(message, fix=f"It has {len(every)}.")
        text = ""
        for row in wanted:
            text = _joined(text, await self._so_far(row))
        return text if tail_lines is None else await asyncio.to_thread(last_lines, text, tail_lines)

    async def stream(self, job_id: str, *, tail_lines: int | None = None) -> AsyncIterator[str]:
        """The log as it grows, until the job has ended; of what is there at first the last lines only, if told so."""
        early, is_early = "", tail_lines is not None
        async for piece in self._pieces(job_id):
            if is_early and piece != CAUGHT_UP:
                early += piece
                continue
            text = await asyncio.to_thread(last_lines, early, tail_lines or 0) if is_early else piece
            is_early = False
            if text:
                yield text
        if is_early:
            yield last_lines(early, tail_lines or 0)

    async def _pieces(self, job_id: str) -> AsyncIterator[str]:
        """Attempt after attempt; CAUGHT_UP before each wait."""
        done, last = 0, ""
        while True:
            course = await self._course(job_id)
            if done < len(course.attempts):
                start = "" if last in {"", "\n"} else "\n"
                async for piece in self._attempt(job_id, course, done):
                    yield start + piece if piece else CAUGHT_UP
                    start, last = ("", piece[-1]) if piece else (start, last)
                done += 1
            elif course.state.is_terminal:
                return
            else:
                yield CAUGHT_UP
                await self._pause(FOLLOW_S)

    async def _attempt(self, job_id: str, course: Course, number: int) -> AsyncIterator[str]:
        row = course.attempts[number]
        if course.is_over(number):
            yield await self._so_far(row)
            return
        live = self._live.get(row["id"]) or LiveLog(row["id"], self._kept(row), lambda: self._cluster(row["site"]))
        self._live[row["id"]] = live
        at = 0
        while True:
            course = await self._course(job_id)
            await live.look(is_last=course.is_over(number))
            piece, at = live.after(at)
            if piece:
                yield piece
            if live.is_whole:
                return
            yield CAUGHT_UP
            await self._pause(FOLLOW_S)

    async def _so_far(self, row: Row) -> str:
        kept, cluster = self._kept(row), self._cluster(row["site"])
        if kept.exists():
            return await asyncio.to_thread(_read, kept)
        if cluster is None or row["submitted_at"] is None:
            return ""
        try:
            text = await cluster.log_tail(row["id"], max_bytes=LOG_BYTES, lines=LOG_LINES)
        except ClusterFailure:
            return UNREADABLE.format(row["id"])
        return await asyncio.to_thread(strip, text)

    def _kept(self, row: Row) -> Path:
        return self._folder / f"{row['id']}.log"


class LiveLog:
    """The output of one live attempt, looked at together by all who follow it."""

    def __init__(self, attempt_id: str, kept: Path, cluster: Callable[[], Cluster | None]) -> None:
        """Take the attempt, where its log is kept once it has ended, and what finds its cluster."""
        self._id, self._kept, self._cluster = attempt_id, kept, cluster
        self._growing = Growing()
        self._text, self._dropped = "", 0
        self._looking: asyncio.Task[None] | None = None
        self._rested_s = 0.0
        self.is_whole = False

    def after(self, at: int) -> tuple[str, int]:
        """What follows a position, and the position after it; who is too slow is told what is missing."""
        end = self._dropped + len(self._text)
        return (self._text[at - self._dropped :] if at >= self._dropped else GAP + self._text), end

    async def look(self, *, is_last: bool) -> None:
        """Read on; a look that somebody else has begun, or has just finished, serves everybody."""
        if self._looking is None or self._looking.done():
            if time.monotonic() < self._rested_s and not is_last:
                return
            self._looking = asyncio.create_task(self._look(is_last=is_last))
        await asyncio.shield(self._looking)  # who stops following must not tear it off half-way

    async def _look(self, *, is_last: bool) -> None:
        if self.is_whole:
            return
        begun_s = time.monotonic()
        try:
            piece = await self._read_on(is_last=is_last)
        except ClusterFailure:
            piece = None
        if is_last:
            piece = await asyncio.to_thread(self._rest_of_kept) if piece is None else piece
            self.is_whole = True
        self._add(piece or "")
        now_s = time.monotonic()
        self._rested_s = now_s + max(FOLLOW_S / 2, REST * (now_s - begun_s))

    async def _read_on(self, *, is_last: bool) -> str | None:
        cluster = self._cluster()
        if cluster is None:
            return None
        for lines in (NARROW_LINES, LOG_LINES):
            seen = await cluster.log_tail(self._id, max_bytes=LOG_BYTES, lines=lines)
            if not seen:
                return None  # not there yet, or not any more
            widest = lines == LOG_LINES
            piece = await asyncio.to_thread(self._growing.take, seen, is_widest=widest, is_last=is_last)
            if piece is not None:
                return piece
        return None

    def _rest_of_kept(self) -> str:
        """What the kept log has beyond what was read, once the cluster has it no more."""
        kept = _read(self._kept) if self._kept.exists() else ""
        if not kept.startswith(CUT) and self._growing.is_from_start:
            return kept[self._dropped + len(self._text) :]
        new = following(self._text, kept, is_widest=True) if self._text else kept
        return GAP + kept if new is None else new

    def _add(self, piece: str) -> None:
        self._text += piece
        over = max(0, len(self._text) - LOG_BYTES)
        self._text, self._dropped = self._text[over:], self._dropped + over


def _joined(text: str, more: str) -> str:
    """The output of the next attempt on a line of its own."""
    return f"{text}\n{more}" if text and more and not text.endswith("\n") else text + more


def _read(path: Path) -> str:
    """A kept log as it was printed: as text, its carriage returns would become newlines."""
    return path.read_bytes().decode(errors="replace")
