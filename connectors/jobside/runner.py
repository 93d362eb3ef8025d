"""Runs the user's program as Ray's entrypoint: forwards the stop, keeps the fence, reports to the log.

Started as ``exec python3 -m lowtide.connectors.jobside.runner`` with everything in the environment. It dies
with its parent (a runner whose cluster has gone must not live on), its child dies with it, and it leaves an
exit record whatever the child does.
"""

import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lowtide.connectors.jobside import checkpoint, record
from lowtide.connectors.jobside.energy import EnergyReader

PR_SET_PDEATHSIG = 1
POLL_S = 0.1
GRACE_MARGIN_S = 2.0
"""Of the grace, what is kept back for the exit record before Ray kills everything."""
NOT_FOUND = 127


def _die_with_parent(signal_number: int) -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0)


class Runner:
    """One attempt of one job."""

    def __init__(self, environ: dict[str, str]) -> None:
        """Read the order from the environment."""
        self._environ = environ
        self._fence = environ["LOWTIDE_FENCE"]
        self._argv: list[str] = json.loads(environ["LOWTIDE_ARGV"])
        self._grace_s = float(environ.get("LOWTIDE_GRACE_S") or 30.0)
        self._sample_s = float(environ.get("LOWTIDE_SAMPLE_S") or 30.0)
        self._parent = os.getppid()
        self._control = Path(tempfile.mkdtemp(prefix="lowtide-"))
        self._asked_at: float | None = None
        self._start_wall_s = time.time()

    def run(self) -> int:
        """Run to the end; returns the exit code that the shell would see."""
        _die_with_parent(signal.SIGTERM)
        signal.signal(signal.SIGTERM, self._on_term)
        signal.signal(signal.SIGINT, self._on_term)
        try:
            child = self._start()
        except OSError as error:
            print(f"lowtide: cannot run {self._argv[0]!r}: {error.strerror}", file=sys.stderr, flush=True)  # noqa: T201
            self._end(NOT_FOUND)
            return NOT_FOUND
        energy = EnergyReader(child.pid, dict(os.environ))
        self._say("started", {"wall_s": self._start_wall_s, "host": socket.gethostname(), "pid": child.pid})
        code = self._watch(child, energy)
        self._end(code)
        return code if code >= 0 else 128 - code

    def _start(self) -> subprocess.Popen[bytes]:
        environ = {**self._environ, "LOWTIDE_CONTROL_DIR": str(self._control)}
        return subprocess.Popen(
            self._argv,
            env=environ,
            start_new_session=False,
            process_group=0,
            preexec_fn=lambda: _die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - no thread runs yet
        )

    def _on_term(self, _number: int, _frame: object) -> None:
        """Ray signals every descendant and we may be told twice: only the first time counts."""
        if self._asked_at is None:
            self._asked_at = time.monotonic()
            (self._control / checkpoint.SUSPEND_FLAG).touch()

    def _watch(self, child: subprocess.Popen[bytes], energy: EnergyReader) -> int:
        self._sample(energy)
        next_sample = time.monotonic() + self._sample_s
        forwarded = killed = False
        while not self._wait(child):
            now = time.monotonic()
            if os.getppid() != self._parent and self._asked_at is None:
                self._on_term(signal.SIGTERM, None)
            if self._asked_at is not None and not forwarded:
                forwarded = True
                self._signal(child, signal.SIGTERM)
            overdue = self._asked_at is not None and now - self._asked_at > self._patience_s()
            if overdue and not killed:
                killed = True
                self._signal(child, signal.SIGKILL)
            if now >= next_sample:
                self._sample(energy)
                next_sample = now + self._sample_s
        self._sample(energy)
        return child.wait()

    def _wait(self, child: subprocess.Popen[bytes]) -> bool:
        """Wait a little; True when the child has ended but is not reaped, so its CPU time can be read."""
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        if os.waitid(os.P_PID, child.pid, flags) is not None:
            return True
        time.sleep(POLL_S)
        return False

    def _patience_s(self) -> float:
        if os.getppid() != self._parent:
            return min(2.0, self._grace_s)  # the cluster has gone: be gone as well
        return max(1.0, self._grace_s - GRACE_MARGIN_S)

    @staticmethod
    def _signal(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, number)

    def _sample(self, energy: EnergyReader) -> None:
        with contextlib.suppress(OSError):
            joules = {name: round(value, 3) for name, value in energy.read().items()}
            sources = {name: list(value) for name, value in energy.sources.items()}
            self._say("sample", {"wall_s": time.time(), "energy_j": joules, "sources": sources})

    def _end(self, code: int) -> None:
        self._say(
            "ended",
            {
                "start_wall_s": self._start_wall_s,
                "end_wall_s": time.time(),
                "exit_code": code if code >= 0 else None,
                "signal": -code if code < 0 else None,
                "asked_to_stop": self._asked_at is not None,
                "suspended": code == 0 and (self._control / checkpoint.SUSPENDED_MARK).exists(),
                "checkpoint_seq": self._newest_checkpoint(),
                "results": self._results(),
            },
        )
        shutil.rmtree(self._control, ignore_errors=True)

    def _newest_checkpoint(self) -> int | None:
        directory = self._environ.get("LOWTIDE_CHECKPOINT_DIR")
        if not directory:
            return None
        names = [p.name.split("-", 2)[1] for p in Path(directory).glob("ckpt-*-*")]
        return max((int(n) for n in names if n.isdigit()), default=None)

    def _results(self) -> dict[str, float]:
        try:
            return dict(json.loads((self._control / checkpoint.RESULTS).read_text()))
        except (OSError, ValueError):
            return {}

    def _say(self, kind: str, values: dict[str, object]) -> None:
        with contextlib.suppress(OSError):  # a closed log must not stop the job
            record.write(self._fence, kind, values)


def main() -> int:
    """Run the order in the environment."""
    return Runner(dict(os.environ)).run()


if __name__ == "__main__":
    sys.exit(main())
