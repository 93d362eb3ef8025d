"""Two schedulers that know nothing of carbon, to compare with: first in, first out, and earliest deadline first."""

import heapq
from dataclasses import dataclass
from datetime import timedelta

from lowtide.scheduler.simulate.play import Play

Stretch = tuple[int, float, float]
"""Which work, and from when to when it ran, in seconds after the trace's start."""
ON_TIME_S = 1.0


@dataclass(frozen=True, slots=True)
class Work:
    """One job: times in seconds after the trace's start; ``due_s`` is the end of its patience if it runs so long."""

    submit_s: float
    run_s: float
    gpus: int
    due_s: float
    power_w: float


def works_of(play: Play) -> list[Work]:
    """The jobs of a backtest, in order of submission."""
    return [
        Work(
            job.submit_s,
            job.duration_s,
            job.gpus,
            job.submit_s + play.patience_s(job) + job.duration_s if job.deadline_s is None else job.deadline_s,
            (play.power_w if job.power_w is None else job.power_w) * max(job.gpus, 1),
        )
        for job in play.jobs
    ]


def fifo(works: list[Work], gpus: int) -> list[Stretch]:
    """Strictly in order: nobody starts before one that was submitted earlier, and nobody is interrupted."""
    ends: list[tuple[float, int]] = []
    found, now_s, free = [], 0.0, gpus
    for i, work in enumerate(works):
        now_s = max(now_s, work.submit_s)
        while ends and (ends[0][0] <= now_s or free < work.gpus):
            ended_s, freed = heapq.heappop(ends)
            now_s, free = max(now_s, ended_s), free + freed
        heapq.heappush(ends, (now_s + work.run_s, work.gpus))
        free -= work.gpus
        found.append((i, now_s, now_s + work.run_s))
    return found


def earliest_deadline(works: list[Work], gpus: int) -> list[Stretch]:
    """At each arrival and end the most urgent run that fit; less urgent ones are interrupted at no cost."""
    arrivals = [work.submit_s for work in works]
    left_s, open_, found = [work.run_s for work in works], set[int](), []
    now_s, arrived = 0.0, 0
    while arrived < len(works) or open_:
        while arrived < len(works) and arrivals[arrived] <= now_s:
            open_.add(arrived)
            arrived += 1
        running = _most_urgent(works, open_, gpus)
        ends = [now_s + left_s[i] for i in running]
        then_s = min(ends + arrivals[arrived : arrived + 1])
        for i in running:
            found.append((i, now_s, then_s))
            left_s[i] -= then_s - now_s
            if left_s[i] <= 1e-6:
                open_.remove(i)
        now_s = then_s
    return found


def _most_urgent(works: list[Work], open_: set[int], gpus: int) -> list[int]:
    running = []
    for i in sorted(open_, key=lambda i: (works[i].due_s, i)):
        if works[i].gpus <= gpus:
            running.append(i)
            gpus -= works[i].gpus
    return running


def missed_h(works: list[Work], stretches: list[Stretch]) -> list[float]:
    """By how many hours jobs ended after they were due; those on time are left out."""
    ended_s = [0.0] * len(works)
    for i, _, end_s in stretches:
        ended_s[i] = max(ended_s[i], end_s)
    late_s = [end_s - work.due_s for work, end_s in zip(works, ended_s, strict=True)]
    return [s / timedelta(hours=1).total_seconds() for s in late_s if s > ON_TIME_S]


def interruptions(stretches: list[Stretch]) -> int:
    """How often work stopped that was taken up again later."""
    count, last = 0, dict[int, float]()
    for i, begin_s, end_s in stretches:
        count += i in last and begin_s > last[i] + 1e-6
        last[i] = end_s
    return count
