"""The log of a job as it is read and followed, over a cluster whose log grows as told."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from lowtide.connectors.cluster.logtail import CUT, end_of_log
from lowtide.connectors.jobside.record import PREFIX, strip
from lowtide.scheduler.control import joblog
from lowtide.scheduler.control.driver import LOG_LINES
from lowtide.scheduler.control.joblog import Course, JobLogs
from lowtide.scheduler.model.cluster import Cluster
from lowtide.scheduler.model.errors import ClusterFailure, ClusterFailureKind, NotFound
from lowtide.scheduler.model.lifecycle import AttemptState, JobState


@dataclass
class Head:
    """A cluster, as far as logs go."""

    logs: dict[str, str] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)
    answers: bool = True

    async def log_tail(self, submission_id: str, *, max_bytes: int, lines: int) -> str:
        self.asked.append(lines)
        await asyncio.sleep(0)
        if not self.answers:
            raise ClusterFailure(ClusterFailureKind.UNREACHABLE, "no answer")
        return end_of_log(self.logs.get(submission_id, ""), lines)[-max_bytes:]


@dataclass
class Scene:
    """One job whose story is told step by step: each pause of a follower takes the next step."""

    folder: Path
    head: Head = field(default_factory=Head)
    state: JobState = JobState.RUNNING
    rows: list[dict[str, Any]] = field(default_factory=list)
    steps: list[Callable[[], None]] = field(default_factory=list)

    def logs(self) -> JobLogs:
        return JobLogs(
            self.folder,
            course=self.course,
            cluster=lambda _: cast("Cluster", self.head),
            pause=self.pause,
        )

    async def course(self, job_id: str) -> Course:
        if job_id != "job":
            raise NotFound("there is no such job.")
        return Course(self.state, [dict(row) for row in self.rows])

    async def pause(self, _seconds: float) -> None:
        await asyncio.sleep(0)
        assert self.steps, "a follower waits after the end of the story"
        self.steps.pop(0)()

    def attempt(self, number: int) -> str:
        attempt_id = f"job-a{number}"
        row = {"id": attempt_id, "number": number, "site": "here", "submitted_at": 1, "state": AttemptState.RUNNING}
        self.rows.append(row)
        self.head.logs[attempt_id] = ""
        return attempt_id

    def says(self, attempt_id: str, text: str) -> None:
        self.head.logs[attempt_id] += text

    def ends(self, attempt_id: str, state: AttemptState = AttemptState.SUCCEEDED) -> None:
        next(row for row in self.rows if row["id"] == attempt_id)["state"] = state
        kept = strip(end_of_log(self.head.logs[attempt_id], LOG_LINES))
        (self.folder / f"{attempt_id}.log").write_text(kept)

    def is_over(self, state: JobState = JobState.SUCCEEDED) -> None:
        self.state = state


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(joblog, "REST", 0.0)
    monkeypatch.setattr(joblog, "FOLLOW_S", 0.0)
    return Scene(tmp_path)


def run(work: Callable[[], Awaitable[str]]) -> str:
    async def whole() -> str:
        return await work()

    return asyncio.run(whole())


async def followed(logs: JobLogs, tail_lines: int | None = None) -> str:
    return "".join([piece async for piece in logs.stream("job", tail_lines=tail_lines)])


def _cancel(task: asyncio.Task[str]) -> None:
    task.cancel()


def numbered(first: int, end: int) -> str:
    return "".join(f"step {n} of the training\n" for n in range(first, end))


def test_following_goes_on_beyond_the_lines_that_are_kept_and_repeats_none(scene: Scene) -> None:
    """A count of characters in a sliding window stops at its size, or gives shifted text."""
    one = scene.attempt(1)
    size, total = 700, 12_600
    scene.steps = [partial(scene.says, one, numbered(n, n + size)) for n in range(0, total, size)]
    scene.steps += [lambda: scene.ends(one), scene.is_over]
    assert run(lambda: followed(scene.logs())) == numbered(0, total)


def test_the_next_attempt_follows_on_its_own_line(scene: Scene) -> None:
    scene.state = JobState.QUEUED

    def second() -> None:
        scene.says(scene.attempt(2), "again from epoch 3\n")

    scene.steps = [
        lambda: scene.says(scene.attempt(1), "epoch 3 is saved"),
        lambda: scene.ends("job-a1", AttemptState.STOPPED),
        lambda: None,
        second,
        lambda: scene.ends("job-a2"),
        scene.is_over,
    ]
    assert run(lambda: followed(scene.logs())) == "epoch 3 is saved\nagain from epoch 3\n"
    assert run(lambda: scene.logs().text("job")) == "epoch 3 is saved\nagain from epoch 3\n"


def test_many_followers_cost_what_one_costs(scene: Scene) -> None:
    one = scene.attempt(1)
    scene.says(one, "a\n")
    scene.steps = [lambda: None] * 10 + [lambda: scene.says(one, "b\n")] + [lambda: None] * 10
    scene.steps += [lambda: scene.ends(one), scene.is_over] + [lambda: None] * 60
    logs = scene.logs()

    async def all_of_them() -> str:
        texts = await asyncio.gather(*(followed(logs) for _ in range(20)))
        assert set(texts) == {"a\nb\n"}
        return ""

    run(all_of_them)
    assert len(scene.head.asked) < 40


def test_who_begins_to_follow_late_is_told_that_the_beginning_is_left_out(scene: Scene) -> None:
    one = scene.attempt(1)
    scene.says(one, numbered(0, 9000))
    scene.steps = [lambda: scene.says(one, numbered(9000, 9002)), lambda: scene.ends(one), scene.is_over]
    assert run(lambda: followed(scene.logs())) == CUT + numbered(9000 - LOG_LINES, 9002)


def test_a_kept_log_says_that_its_beginning_is_left_out(scene: Scene) -> None:
    one = scene.attempt(1)
    scene.says(one, numbered(0, 9000))
    scene.ends(one)
    scene.is_over()
    assert run(lambda: scene.logs().text("job")) == CUT + numbered(9000 - LOG_LINES, 9000)
    assert run(lambda: scene.logs().text("job", tail_lines=1)) == numbered(8999, 9000)


def test_the_end_is_taken_from_the_kept_log_when_the_cluster_has_gone(scene: Scene) -> None:
    one = scene.attempt(1)

    def ends() -> None:
        scene.says(one, "the very last line\n")
        scene.ends(one)
        scene.is_over()
        scene.head.answers = False

    scene.steps = [lambda: scene.says(one, numbered(0, 5)), lambda: None, ends]
    assert run(lambda: followed(scene.logs())) == numbered(0, 5) + "the very last line\n"


def test_a_cluster_that_does_not_answer_for_a_while_costs_no_line(scene: Scene) -> None:
    one = scene.attempt(1)
    head = scene.head
    scene.steps = [
        lambda: scene.says(one, numbered(0, 150)),
        lambda: setattr(head, "answers", False),
        lambda: scene.says(one, numbered(150, 3000)),
        lambda: setattr(head, "answers", True),
        lambda: scene.ends(one),
        scene.is_over,
    ]
    assert run(lambda: followed(scene.logs())) == numbered(0, 3000)


def test_a_log_that_cannot_be_read_is_said_to_be_so(scene: Scene) -> None:
    scene.attempt(1)
    scene.head.answers = False
    assert run(lambda: scene.logs().text("job")) == joblog.UNREADABLE.format("job-a1")


def test_following_can_begin_at_the_last_lines(scene: Scene) -> None:
    one = scene.attempt(1)
    scene.says(one, numbered(0, 10))
    scene.steps = [lambda: scene.says(one, numbered(10, 12)), lambda: scene.ends(one), scene.is_over]
    assert run(lambda: followed(scene.logs(), tail_lines=2)) == numbered(8, 12)


def test_a_carriage_return_is_kept_as_it_was_printed(scene: Scene) -> None:
    one = scene.attempt(1)
    scene.says(one, "10 %\r20 %\r\ndone\n")
    scene.ends(one)
    scene.is_over()
    (scene.folder / "job-a1.log").write_bytes(b"10 %\r20 %\r\ndone\n")
    assert run(lambda: scene.logs().text("job")) == "10 %\r20 %\r\ndone\n"


def test_of_a_cancelled_job_the_output_is_followed_until_its_process_has_ended(scene: Scene) -> None:
    one = scene.attempt(1)
    scene.steps = [
        lambda: scene.is_over(JobState.CANCELLED),
        lambda: scene.says(one, "asked to stop: cleaning up\n"),
        lambda: scene.ends(one, AttemptState.STOPPED),
    ]
    assert run(lambda: followed(scene.logs())) == "asked to stop: cleaning up\n"


def test_nobody_waits_for_an_attempt_that_cannot_be_asked_of_a_job_that_has_ended(scene: Scene) -> None:
    scene.attempt(1)
    scene.rows[0]["state"] = AttemptState.UNKNOWN
    scene.is_over(JobState.CANCELLED)
    assert run(lambda: followed(scene.logs())) == ""


def test_who_stops_following_takes_nothing_away_from_the_others(scene: Scene) -> None:
    one = scene.attempt(1)
    scene.says(one, f"a\n\n{PREFIX}f:: sample\n")
    logs = scene.logs()

    async def story() -> str:
        leaves = asyncio.create_task(followed(logs))
        for _ in range(3):
            await asyncio.sleep(0)
        stays = asyncio.create_task(followed(logs))
        scene.steps = [lambda: scene.says(one, "b\n"), lambda: _cancel(leaves), lambda: scene.ends(one), scene.is_over]
        scene.steps += [lambda: None] * 20
        return await stays

    assert run(story) == "a\nb\n"


def test_an_unknown_attempt_is_refused_with_how_many_there_are(scene: Scene) -> None:
    scene.attempt(1)
    with pytest.raises(NotFound, match="no attempt 2"):
        run(lambda: scene.logs().text("job", attempt=2))
