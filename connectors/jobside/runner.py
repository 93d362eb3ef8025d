"""Runs the user's program as Ray's entrypoint: forwards the stop, keeps the fence, reports to the log.

Started as ``exec python3 -m lowtide.connectors.jobside.runner`` with everything in the environment. It dies
with its parent, it ends its job when it has not reached the head of its cluster for as long as its lease
lasts, whatever it started dies with it, and it leaves an exit record whatever the program does.
"""

import contextlib
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from lowtide.connectors.jobside import checkpoint, directory, offspring, power, record
from lowtide.connectors.jobside.energy import EnergyReader, visible_gpus
from lowtide.connectors.jobside.lease import Lease

POLL_S = 0.1
GRACE_MARGIN_S = 2.0
"""Of the grace, what is kept back for the exit record before Ray kills everything."""
ORPHAN_GRACE_S = 2.0
"""The patience with a program whose cluster has died: long enough for a small checkpoint, no more."""
KEPT_SAMPLES = 300
"""Samples that the exit record repeats: a point every 5 minutes of a day, about 20 kB of log."""
BAD_ORDER, LEASE_LOST, NOT_EXECUTABLE, NOT_FOUND = 2, 75, 126, 127
"""Exit codes; 75 is EX_TEMPFAIL: nothing is wrong with the job, it may be tried again."""


@dataclass(frozen=True)
class Order:
    """What the daemon asks for, out of the environment."""

    fence: str
    argv: list[str]
    grace_s: float
    sample_s: float
    checkpoint_dir: str
    lease: Lease | None = None
    power_plan: power.Plan = field(default_factory=list)

    @classmethod
    def read(cls, environ: dict[str, str]) -> "Order":
        """Read and check it.

        Raises:
            ValueError: a variable is missing or malformed; the message says which and what was expected.

        """
        fence = environ.get("LOWTIDE_FENCE", "")
        if not fence:
            raise ValueError("LOWTIDE_FENCE is missing; the runner is started by lowtide, not by hand")
        return cls(
            fence=fence,
            argv=_argv(environ.get("LOWTIDE_ARGV", "")),
            grace_s=_seconds(environ, "LOWTIDE_GRACE_S", 30.0),
            sample_s=_seconds(environ, "LOWTIDE_SAMPLE_S", 30.0),
            checkpoint_dir=environ.get("LOWTIDE_CHECKPOINT_DIR", ""),
            lease=_lease(environ),
            power_plan=power.read_plan(environ.get("LOWTIDE_POWER_PLAN", "")),
        )


def _lease(environ: dict[str, str]) -> Lease | None:
    """The lease, where the daemon asks for one: it does not on its own machine, where it can look itself."""
    lease_s = _seconds(environ, "LOWTIDE_LEASE_S", 0.0)
    return Lease(environ.get("RAY_ADDRESS", ""), lease_s) if lease_s else None


def _argv(text: str) -> list[str]:
    try:
        argv = json.loads(text)
    except ValueError:
        argv = None
    strings = isinstance(argv, list) and all(isinstance(a, str) and "\0" not in a for a in argv)
    if not strings or not argv or not argv[0]:
        raise ValueError(f"LOWTIDE_ARGV is {text[:200]!r}; expected a JSON list of strings, the program first")
    return list(argv)


def _seconds(environ: dict[str, str], name: str, default: float) -> float:
    text = environ.get(name) or repr(default)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name} is {text!r}; expected seconds, 0 or more")
    return value


class Runner:
    """One attempt of one job."""

    def __init__(self, order: Order, environ: dict[str, str]) -> None:
        """Take the order and the environment that the program is to have."""
        self._order, self._environ = order, environ
        self._parent = os.getppid()
        self._control = Path(tempfile.mkdtemp(prefix="lowtide-"))
        self._asked_at: float | None = None
        self._group: int | None = None
        self._is_over = self._is_done = False
        self._guard: offspring.Guard | None = None
        self._samples: list[record.Sample] = []
        self._start_wall_s = time.time()
        devices = visible_gpus(environ.get("CUDA_VISIBLE_DEVICES", ""))
        self._limits = power.Limits(devices, order.power_plan, power.notes_of(environ))

    def run(self) -> int:
        """Run to the end; returns the exit code that the shell would see."""
        signal.signal(signal.SIGTERM, self._on_term)
        signal.signal(signal.SIGINT, self._on_term)
        offspring.die_with_parent(signal.SIGTERM)
        offspring.adopt_orphans()
        lease = self._order.lease
        if lease is not None and not lease.acquire():
            _tell("the head of the cluster cannot be reached; the program was not started")
            self._end(LEASE_LOST, lease_lost=True)
            return LEASE_LOST
        try:
            child = self._start()
        except OSError as error:
            _tell(f"cannot run {self._order.argv[0]!r}: {error.strerror}")
            code = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
            self._end(code)
            return code
        self._group = child.pid
        if self._asked_at is not None:  # we were stopped while it started
            self._forward()
        silence_s = lease.lease_s if lease else None
        self._guard = offspring.Guard(child.pid, self._control, silence_s, then=self._limits.restore)
        self._limits.restore()  # what a runner that was killed with its guard has left
        energy = EnergyReader(os.getpid(), self._environ)
        self._say_started(child.pid, energy)
        code = self._watch(child, energy)
        lease_lost = code == -signal.SIGKILL and lease is not None and lease.lapsed()
        self._end(code, lease_lost=lease_lost)
        self._guard.dismiss()
        return LEASE_LOST if lease_lost else code if code >= 0 else 128 - code

    def _start(self) -> subprocess.Popen[bytes]:
        environ = {**self._environ, "LOWTIDE_CONTROL_DIR": str(self._control)}
        return subprocess.Popen(
            self._order.argv,
            env=environ,
            preexec_fn=offspring.become_bound_group,  # noqa: PLW1509 - no thread runs yet
        )

    def _on_term(self, _number: int, _frame: object) -> None:
        """Ray signals every descendant and we may be told twice: only the first time counts.

        A program that is known to have ended by then was not stopped: how it ended is its own doing. One that ended
        within this moment may have had the signal before us; taken for done by itself, its job would be lost.
        """
        if self._asked_at is None and not self._is_done:
            self._asked_at = time.monotonic()
            with contextlib.suppress(OSError):  # a full disk: the program still gets the signal
                (self._control / checkpoint.SUSPEND_FLAG).touch()
            self._forward()

    def _has_ended(self) -> bool:
        if self._group is None:
            return self._is_over
        return os.waitid(os.P_PID, self._group, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _forward(self) -> None:
        if self._group is not None:
            offspring.signal_group(self._group, signal.SIGTERM)

    # ---- watching ----

    def _watch(self, child: subprocess.Popen[bytes], energy: EnergyReader) -> int:
        self._sample(energy)
        next_sample = time.monotonic() + self._order.sample_s
        while not self._over(child):
            self._keep_lease(child)
            if os.getppid() != self._parent:
                self._on_term(signal.SIGTERM, None)
            if self._out_of_patience():
                self._kill(child)
            energy.look()
            self._limit()
            if time.monotonic() >= next_sample:
                self._sample(energy)
                next_sample = time.monotonic() + self._order.sample_s
        self._is_done = True
        offspring.end_all(self._control, offspring.SETTLE_S)  # what it left behind
        offspring.signal_group(child.pid, signal.SIGKILL)  # also what has overwritten its environment
        self._limits.restore()
        self._sample(energy)
        self._is_over, self._group = True, None  # once it is reaped, the id may be somebody else's
        return child.wait()

    def _limit(self) -> None:
        """Limit the power of the job's GPUs as planned, and tell what came of it."""
        if self._limits.refused:
            return
        done = self._limits.follow(time.time())
        if done is not None:
            self._say("power", {"wall_s": time.time(), "share": done[0], "limits_mw": done[1]})
        elif self._limits.refused:
            self._say("power", {"wall_s": time.time(), "refused": self._limits.refused[:500]})

    def _keep_lease(self, child: subprocess.Popen[bytes]) -> None:
        """End the job when the lease has lapsed, which may have been while we were frozen; else renew it."""
        lease = self._order.lease
        if lease is None:
            return
        if lease.lapsed():
            self._kill(child)
        elif lease.renew() and self._guard is not None:
            self._guard.reassure()

    def _kill(self, child: subprocess.Popen[bytes]) -> None:
        offspring.signal_group(child.pid, signal.SIGKILL)
        offspring.end_all(self._control, 0.0)

    def _over(self, child: subprocess.Popen[bytes]) -> bool:
        """Wait a little; True when the program has ended.

        It is not reaped yet, so that its group id stays ours. During a stop the end of the first process (a
        shell) is not the end: what it started may still be saving.
        """
        offspring.reap_adopted(child.pid)
        if self._has_ended() and (self._asked_at is None or not self._may_still_save()):
            return True
        time.sleep(POLL_S)
        return False

    def _may_still_save(self) -> bool:
        return not (self._out_of_patience() or self._marked() or not offspring.tagged(self._control))

    def _marked(self) -> bool:
        return (self._control / checkpoint.SUSPENDED_MARK).exists()

    def _out_of_patience(self) -> bool:
        if self._asked_at is None:
            return False
        patience_s = max(1.0, self._order.grace_s - GRACE_MARGIN_S)
        if os.getppid() != self._parent:
            patience_s = min(ORPHAN_GRACE_S, patience_s)
        return time.monotonic() - self._asked_at > patience_s

    # ---- telling ----

    def _say_started(self, pid: int, energy: EnergyReader) -> None:
        values = {"wall_s": self._start_wall_s, "host": socket.gethostname(), "pid": pid}
        self._say("started", {**values, "python": sys.version.split()[0], "gpus": energy.devices})

    def _sample(self, energy: EnergyReader) -> None:
        joules = {name: round(value, 3) for name, value in energy.read().items()}
        sample = record.Sample(round(time.time(), 3), joules, dict(energy.sources))
        self._say("sample", {"wall_s": sample.wall_s, "energy_j": joules, "sources": energy.sources})
        self._samples.append(sample)
        if len(self._samples) > 2 * KEPT_SAMPLES:
            self._samples = self._samples[:-1:2] + self._samples[-1:]

    def _end(self, code: int, *, lease_lost: bool = False) -> None:
        thin = self._samples[: -1 : 1 + len(self._samples) // KEPT_SAMPLES] + self._samples[-1:]
        for values in record.sample_lines(thin):
            self._say("samples", values)
        asked = self._asked_at is not None
        self._say(
            "ended",
            {
                "start_wall_s": self._start_wall_s,
                "end_wall_s": time.time(),
                "exit_code": code if code >= 0 else None,
                "signal": -code if code < 0 else None,
                "asked_to_stop": asked,
                "finished": (self._control / checkpoint.FINISHED_MARK).exists(),
                "lease_lost": lease_lost,
                # Once the state is safe and a stop was asked for, it matters no more how the program ended.
                "suspended": self._marked() and (code == 0 or asked),
                "checkpoint_seq": self._newest_checkpoint(),
                "results": self._results(),
                "energy_j": thin[-1].energy_j if thin else {},
                "sources": thin[-1].sources if thin else {},
                "power_refused": self._limits.refused[:500],
            },
        )
        shutil.rmtree(self._control, ignore_errors=True)

    def _newest_checkpoint(self) -> int | None:
        if not self._order.checkpoint_dir:
            return None
        with contextlib.suppress(OSError):
            return directory.newest(Path(self._order.checkpoint_dir))
        return None

    def _results(self) -> dict[str, float]:
        try:
            return dict(json.loads((self._control / checkpoint.RESULTS).read_text()))
        except (OSError, ValueError):
            return {}

    def _say(self, kind: str, values: dict[str, object]) -> None:
        with contextlib.suppress(OSError):  # a closed log must not stop the job
            record.write(self._order.fence, kind, values)


def _tell(sentence: str) -> None:
    with contextlib.suppress(OSError):
        print(f"lowtide: {sentence}", file=sys.stderr, flush=True)  # noqa: T201


def main() -> int:
    """Run the order in the environment."""
    environ = dict(os.environ)
    try:
        order = Order.read(environ)
    except ValueError as error:
        _tell(str(error))
        return BAD_ORDER
    return Runner(order, environ).run()


if __name__ == "__main__":
    sys.exit(main())
