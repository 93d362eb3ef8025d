"""Checkpoints of one job over random histories of attempts, saves and damage (INV-02, INV-06)."""

import contextlib
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lowtide.connectors.jobside import checkpoint, directory


class Checkpoints(RuleBasedStateMachine):
    """A model of what must be on disk: the states of sound checkpoints, oldest first."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self._root = Path(self._folder.name)
        self._number = 0
        self._saves = 0
        self._sound: list[tuple[Path, int]] = []
        self._live: checkpoint.Session | None = None
        self._stale: list[checkpoint.Session] = []

    def _open(self) -> checkpoint.Session:
        return checkpoint.Session(
            {
                "LOWTIDE_CHECKPOINT_DIR": str(self._root),
                "LOWTIDE_ATTEMPT_ID": f"job-a{self._number}",
                "LOWTIDE_FENCE_NUMBER": str(self._number),
            }
        )

    @rule(skip=st.integers(1, 3))
    def attempt_starts(self, skip: int) -> None:
        self._number += skip
        if self._live:
            self._stale.append(self._live)
        self._live = self._open()
        expected = self._sound[-1][1] if self._sound else None
        assert self._live.load() == expected
        assert self._live.resumed == bool(self._sound)

    @precondition(lambda self: self._live)
    @rule()
    def saves(self) -> None:
        assert self._live
        self._saves += 1
        self._live.save(self._saves)
        newest = directory.checkpoints(self._root)[-1][1]
        self._sound = [(p, s) for p, s in self._sound if p.exists()] + [(newest, self._saves)]

    @precondition(lambda self: self._stale)
    @rule(data=st.data())
    def stale_attempt_saves(self, data: Any) -> None:
        before = directory.checkpoints(self._root)
        try:
            data.draw(st.sampled_from(self._stale)).save(-1)
        except checkpoint.StaleAttempt:
            assert directory.checkpoints(self._root) == before
            return
        raise AssertionError("a stale attempt was allowed to write")

    @precondition(lambda self: self._live)
    @rule()
    def save_is_killed_half_way(self) -> None:
        scratch = self._root / f"{directory.SCRATCH}job-a{self._number}-1"
        with contextlib.suppress(FileExistsError):
            scratch.mkdir()
        (scratch / directory.STATE).write_bytes(b"half")

    @precondition(lambda self: self._sound)
    @rule(how=st.sampled_from(["truncate", "flip", "remove", "manifest"]))
    def newest_is_damaged(self, how: str) -> None:
        path, _ = self._sound.pop()
        state = path / directory.STATE
        if how == "truncate":
            state.write_bytes(state.read_bytes()[:-1])
        elif how == "flip":
            content = bytearray(state.read_bytes())
            content[len(content) // 2] ^= 1
            state.write_bytes(bytes(content))
        elif how == "remove":
            state.unlink()
        else:
            (path / directory.MANIFEST).write_bytes(b"\0" * 40)

    @invariant()
    def the_owner_is_the_newest_attempt(self) -> None:
        assert directory.owner(self._root) == self._number

    @invariant()
    def the_newest_sound_checkpoint_is_there(self) -> None:
        if self._sound:
            assert directory.verified(self._sound[-1][0])

    def teardown(self) -> None:
        self._folder.cleanup()


TestCheckpoints = Checkpoints.TestCase
TestCheckpoints.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
