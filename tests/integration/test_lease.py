"""The lease of a real runner on a head that is a listener of ours: kept, lost, and slept through (INV-02)."""

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.test_runner import STUBBORN, TRAIN, Bench, alive, lines, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the runner binds processes with Linux's prctl")
LEASE_S = 1.0
LOST = 75


class Head:
    """Takes connections as a control store does, until it is told not to."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1)
        self.address = "{}:{}".format(*self._listener.getsockname())
        self._held: list[socket.socket] = []
        self._silent = threading.Event()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._listener.settimeout(0.02)
        self._thread.start()

    def _accept(self) -> None:
        while not self._silent.is_set():
            with contextlib.suppress(TimeoutError):
                self._listener.accept()[0].close()

    def close(self) -> None:
        """The head is gone: connections are refused."""
        self._silent.set()
        self._thread.join()
        self._listener.close()
        for held in self._held:
            held.close()

    def fall_silent(self) -> None:
        """Nothing comes back, as under a partition: the queue of connections is full and further ones are dropped."""
        self._silent.set()
        self._thread.join()
        for _ in range(4):
            held = socket.socket()
            held.setblocking(False)
            held.connect_ex(self._listener.getsockname())
            self._held.append(held)


@pytest.fixture
def head() -> Iterator[Head]:
    made = Head()
    yield made
    made.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


def leased(head: Head, lease_s: float = LEASE_S) -> dict[str, str]:
    return {"RAY_ADDRESS": head.address, "LOWTIDE_LEASE_S": str(lease_s), "LOWTIDE_GRACE_S": "600"}


def test_a_job_on_a_healthy_cluster_outlasts_many_leases(bench: Bench, head: Head) -> None:
    ran = bench.run(sys.executable, "-c", f"import time; time.sleep({4 * LEASE_S})", number=1, **leased(head))
    assert (ran.code, ran.ended.exit_code, ran.ended.lease_lost) == (0, 0, False)


@pytest.mark.parametrize("loss", [Head.close, Head.fall_silent], ids=["refuses", "is silent"])
def test_inv02_a_runner_that_cannot_reach_its_head_ends_the_whole_job_and_says_so(
    bench: Bench, head: Head, loss: Callable[[Head], None]
) -> None:
    process = bench.start(sys.executable, bench.script(STUBBORN), number=1, **leased(head))
    pids = [bench.pid_in(f"{name}.pid") for name in ("child", "grandchild")]
    lost_s = time.monotonic()
    loss(head)
    until(lambda: not any(map(alive, pids)), "the job to be gone")
    assert time.monotonic() - lost_s < 2 * LEASE_S
    ran = bench.finish(process)
    assert ran.code == LOST
    assert (ran.ended.lease_lost, ran.ended.signal, ran.ended.asked_to_stop) == (True, signal.SIGKILL, False)


def test_a_short_break_of_the_network_ends_nothing(bench: Bench, head: Head) -> None:
    process = bench.start(sys.executable, bench.script(STUBBORN), number=1, **leased(head, lease_s=30.0))
    child = bench.pid_in("child.pid")
    head.fall_silent()
    silent_s = time.monotonic()
    until(lambda: time.monotonic() - silent_s > LEASE_S, "a while to pass")
    assert alive(child)
    assert process.poll() is None
    process.kill()
    until(lambda: not alive(child), "the guard to end it")


def test_a_frozen_guard_does_not_keep_a_job_from_ending(bench: Bench, head: Head) -> None:
    wait = "while [ ! -e go ]; do sleep 0.05; done"
    process = bench.start("/bin/sh", "-c", wait, number=1, **leased(head, lease_s=30.0))
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    _, guard = until(lambda: (found := children.read_text().split())[1:] and found, "the guard")
    os.kill(int(guard), signal.SIGSTOP)
    (bench.path / "go").touch()
    assert bench.finish(process).code == 0


def test_nothing_is_started_while_the_head_cannot_be_reached(bench: Bench, head: Head) -> None:
    head.close()
    ran = bench.run("/bin/sh", "-c", "touch started", number=1, **leased(head))
    assert ran.code == LOST
    assert ran.ended.lease_lost
    assert "the head of the cluster cannot be reached; the program was not started" in ran.out
    assert not (bench.path / "started").exists()


def test_inv02_a_frozen_runner_is_no_shelter_for_its_job(bench: Bench, head: Head) -> None:
    process = bench.start(sys.executable, bench.script(STUBBORN), number=1, **leased(head))
    pids = [bench.pid_in(f"{name}.pid") for name in ("child", "grandchild")]
    process.send_signal(signal.SIGSTOP)
    until(lambda: not any(map(alive, pids)), "the guard to end the job")
    process.send_signal(signal.SIGCONT)
    ran = bench.finish(process)
    assert (ran.code, ran.ended.lease_lost) == (LOST, True)


def test_inv02_a_runner_that_slept_through_its_lease_ends_the_job_before_anything_else(
    bench: Bench, head: Head
) -> None:
    """Everything was frozen and nobody could look; the head answers, but the job may have begun elsewhere."""
    script, log = bench.script(TRAIN), bench.path / "steps"
    process = bench.start(sys.executable, script, str(log), "100000", number=1, **leased(head))
    until(lambda: len(lines(log)) > 2, "two epochs")
    program, guard = map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())
    os.kill(guard, signal.SIGKILL)
    for pid in (process.pid, program):
        os.kill(pid, signal.SIGSTOP)
    frozen_s, epochs = time.monotonic(), len(lines(log))
    until(lambda: time.monotonic() - frozen_s > 2 * LEASE_S, "the lease to lapse")
    process.send_signal(signal.SIGCONT)  # the program itself stays frozen: only the runner can end it
    ran = bench.finish(process)
    assert (ran.code, ran.ended.lease_lost) == (LOST, True)
    assert len(lines(log)) == epochs


@pytest.mark.parametrize("address", ["", "6379", ":6379", "10.0.0.1", "10.0.0.1:gcs", "no such host:6379"])
def test_a_lease_without_a_head_to_reach_is_refused_in_one_sentence(bench: Bench, address: str) -> None:
    ran = bench.run("/bin/true", RAY_ADDRESS=address, LOWTIDE_LEASE_S="30")
    assert ran.code == 2
    assert "RAY_ADDRESS is " in ran.out
    assert "expected host:port of the cluster's head" in ran.out
    assert "Traceback" not in ran.out
