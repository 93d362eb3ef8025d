"""The processes that a runner is answerable for: bound to its life, found by their environment, ended together.

A process group is not enough: a data loader may have called setsid, a daemon may have forked twice. All of
them carry the runner's control directory in their environment, and nothing else on the node does.
"""

import contextlib
import ctypes
import os
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
SETTLE_S = 1.0
"""How long processes left behind by a program that ended have between SIGTERM and SIGKILL."""
POLL_S = 0.05
GOES_ON, GOOD_BYE = b"+", b"."


def die_with_parent(signal_number: int) -> None:
    """Have the kernel send us this signal when our parent dies; without prctl (not Linux) nothing happens."""
    _prctl(PR_SET_PDEATHSIG, signal_number)


def become_bound_group() -> None:
    """Lead a process group of our own and die with the parent: what a program does before it is executed."""
    os.setpgid(0, 0)
    die_with_parent(signal.SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent dies, so that their CPU time is counted here."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def tagged(control: Path, proc: Path = Path("/proc")) -> set[int]:
    """Ids of the living processes that were started with this control directory."""
    mark = f"LOWTIDE_CONTROL_DIR={control}".encode()
    found = set()
    for entry in proc.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it ended meanwhile, or belongs to somebody else
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.add(int(entry.name))
    return found


def reap_adopted(besides: int) -> None:
    """Let go of adopted processes that have ended; their CPU time joins that of our ended children."""
    flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitid(os.P_ALL, 0, flags)) is not None and ended.si_pid != besides:
            os.waitpid(ended.si_pid, 0)


def signal_group(group: int, number: signal.Signals) -> None:
    """Signal a process group, and wake it: a frozen process would act on the signal only later."""
    for each in (number, signal.SIGCONT):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, each)


def end_all(control: Path, settle_s: float) -> None:
    """End every process of the control directory: SIGTERM, up to ``settle_s`` seconds, SIGKILL until none lives."""
    deadline_s = time.monotonic() + settle_s
    number = signal.SIGTERM if settle_s > 0 else signal.SIGKILL
    _signal_each(tagged(control), number)
    while living := tagged(control):
        if time.monotonic() >= deadline_s:
            _signal_each(living, signal.SIGKILL)
        if time.monotonic() >= deadline_s + SETTLE_S:
            return  # in an uninterruptible wait: the kernel ends it when its disk answers
        time.sleep(POLL_S)


def _signal_each(pids: set[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


class Guard:
    """A small process that ends the attempt's processes should the runner be killed or frozen."""

    def __init__(
        self,
        group: int,
        control: Path,
        silence_s: float | None = None,
        *,
        then: Callable[[], None] = lambda: None,
    ) -> None:
        """Fork it; it holds nothing of the job but the reading end of a pipe.

        ``silence_s`` is how long the runner may go without ``reassure``; None: as long as it lives. ``then`` is what
        is left to do once the processes have been ended in the runner's place.
        """
        reading, self._writing = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                os.close(self._writing)
                if not _keep_guard(reading, group, control, silence_s):
                    then()
            finally:
                os._exit(0)
        os.close(reading)

    def reassure(self) -> None:
        """The runner holds its lease: the guard's patience begins anew."""
        self._tell(GOES_ON)

    def _tell(self, word: bytes) -> None:
        with contextlib.suppress(OSError):  # it may have been killed with the rest of the node's processes
            os.write(self._writing, word)

    def dismiss(self) -> None:
        """All is over and in order: the guard leaves without touching anything."""
        self._tell(GOOD_BYE)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGCONT)  # a frozen one would keep us waiting for ever
        os.close(self._writing)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)


def _keep_guard(reading: int, group: int, control: Path, silence_s: float | None) -> bool:
    """Whether the runner came to its end by itself; else all that it started has been ended."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a stop is sent to every descendant; the guard outlasts it
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    while heard := _heard(reading, silence_s):
        if GOOD_BYE in heard:
            return True
    signal_group(group, signal.SIGKILL)
    end_all(control, 0.0)
    return False


def _heard(reading: int, silence_s: float | None) -> bytes:
    """What the runner says; empty when it is gone or has been silent for too long."""
    ready, _, _ = select.select([reading], [], [], silence_s)
    return os.read(reading, 64) if ready else b""
