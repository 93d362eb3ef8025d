"""Checkpoints for training scripts: saved atomically, verified, fenced; a no-op when no daemon is around.

::

    from lowtide.connectors.jobside import checkpoint

    with checkpoint.session() as session:
        state = session.load() or fresh_state()
        for epoch in range(state.epoch, epochs):
            ...
            if session.save_if_asked(state):
                return
        session.report(accuracy=0.93)

A checkpoint is a directory ``ckpt-<seq>-<attempt>`` with the state and a manifest (size, SHA-256); it is
written under another name, synced and renamed, so a half-written one is never seen.
"""

import contextlib
import json
import math
import os
import pickle
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lowtide.connectors.jobside import directory, record
from lowtide.connectors.jobside.directory import SCRATCH, STATE

KEEP = 2
SUSPEND_FLAG, SUSPENDED_MARK, FINISHED_MARK, RESULTS = "suspend", "suspended", "finished", "results.json"
FLAG_WAIT_S = 0.5
"""How long a forked worker that gets SIGTERM waits for the suspend flag before it dies of the signal. The
cluster signals the runner first and every descendant within milliseconds of it."""


class StaleAttempt(RuntimeError):
    """A newer attempt of the same job owns the checkpoints; this one must not write any more."""


def dump_pickle(state: Any, path: Path) -> None:
    """Write any picklable state; the default way to save."""
    with path.open("wb") as file:
        pickle.dump(state, file, protocol=pickle.HIGHEST_PROTOCOL)


def load_pickle(path: Path) -> Any:
    """Read what ``dump_pickle`` wrote. The file is the job's own: nobody else can write there."""
    with path.open("rb") as file:
        return pickle.load(file)  # noqa: S301


class Session:
    """One attempt's view of its job's checkpoints; every method is a no-op outside lowtide."""

    def __init__(
        self,
        environ: dict[str, str],
        *,
        dump: Callable[[Any, Path], None] = dump_pickle,
        load: Callable[[Path], Any] = load_pickle,
        clock: Callable[[], float] = time.time,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read the runner's environment; ``dump`` and ``load`` replace pickle (torch.save, ...).

        Args:
            environ: the environment that the runner gave to the program.
            dump: writes a state to a path.
            load: reads it back.
            clock: Unix seconds, for the manifest.
            elapsed: seconds that never jump, for the checkpoint interval.

        Raises:
            StaleAttempt: a newer attempt of this job owns the checkpoints.

        """
        self._dump, self._load, self._clock, self._elapsed = dump, load, clock, elapsed
        self._fence = environ.get("LOWTIDE_FENCE", "")
        self._attempt = environ.get("LOWTIDE_ATTEMPT_ID", "")
        self._number = int(environ.get("LOWTIDE_FENCE_NUMBER") or 0)
        self._interval_s = float(environ.get("LOWTIDE_CHECKPOINT_INTERVAL_S") or math.inf)
        root, control = environ.get("LOWTIDE_CHECKPOINT_DIR"), environ.get("LOWTIDE_CONTROL_DIR")
        self._root = Path(root) if root else None
        self._control = Path(control) if control else None
        self._saved_at_s = elapsed()
        self._asked = self._told = False
        self._pid = os.getpid()
        self._damaged: set[Path] = set()
        self._replaced: Any = None
        self._handler = self._note_term  # one object: a bound method is a new one at each look
        self.resumed = False
        if self._root is not None:
            self._root.mkdir(parents=True, exist_ok=True)
            self._refuse_if_stale(self._root)
            directory.claim(self._root, self._number, self._attempt)
        self._watch()

    def close(self) -> None:
        """Give SIGTERM back to whom it belonged, unless a stop is under way: a second signal must not hurt it."""
        in_main = threading.current_thread() is threading.main_thread()
        ours = in_main and signal.getsignal(signal.SIGTERM) is self._handler
        if ours and not self._is_asked():
            signal.signal(signal.SIGTERM, self._replaced)

    def finish(self) -> None:
        """Tell the runner that the script ran to its end, so that a stop on the way cut nothing short.

        A script that was told of the stop may have left early for it: of that one nothing is claimed.
        """
        if self._control is not None and not self._told and os.getpid() == self._pid:
            with contextlib.suppress(OSError):  # a full disk: the work then counts as not proved to be whole
                (self._control / FINISHED_MARK).touch()

    # ---- asking ----

    @property
    def asked(self) -> bool:
        """Whether lowtide wants this job to save and stop now."""
        self._told = self._is_asked()
        return self._told

    def _is_asked(self) -> bool:
        if self._control is not None:
            self._watch()
            self._asked = self._asked or (self._control / SUSPEND_FLAG).exists()
        return self._asked

    def _watch(self) -> None:
        """Keep our SIGTERM handler in place: ray.init() replaces handlers that were installed before it."""
        if self._control is None or threading.current_thread() is not threading.main_thread():
            return
        if signal.getsignal(signal.SIGTERM) is not self._handler:
            replaced = signal.signal(signal.SIGTERM, self._handler)
            self._replaced = signal.SIG_DFL if replaced is None else replaced

    @staticmethod
    def _rest() -> None:
        """All is safe: a late signal must not kill the exit. A handler would be gone when Python winds down."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def _note_term(self, number: int, _frame: object) -> None:
        if os.getpid() == self._pid:
            self._asked = True
        elif not self._worker_is_needed():
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def _worker_is_needed(self) -> bool:
        """A forked worker (a data loader) lives on until the state is saved, but not against its own parent."""
        assert self._control is not None  # noqa: S101 - the handler is installed only with a runner around
        deadline_s = time.monotonic() + FLAG_WAIT_S
        while not (self._control / SUSPEND_FLAG).exists():
            if time.monotonic() > deadline_s:
                return False
            time.sleep(0.01)
        return not (self._control / SUSPENDED_MARK).exists()

    # ---- saving ----

    def save_if_asked(self, state: Any) -> bool:
        """Save when lowtide asks to suspend, or when the checkpoint interval has passed.

        A disk that refuses the checkpoint does not end the training: it is told on stderr, the checkpoint
        before stays, and the next call tries again.

        Returns:
            True when the state is safe and the script should return now; False to go on.

        Raises:
            StaleAttempt: a newer attempt of this job exists.

        """
        if self._root is None:
            return False  # nowhere to save: better to be killed late than to lose the work early
        asked = self._is_asked()
        if not asked and self._elapsed() - self._saved_at_s < self._interval_s:
            return False
        try:
            self.save(state)
        except OSError as error:
            _warn(f"the checkpoint could not be written ({error}); going on with the one before")
            self._saved_at_s = self._elapsed()
            return False
        if asked and self._control is not None:
            self._told = True
            (self._control / SUSPENDED_MARK).touch()
            self._rest()
        return asked

    def save(self, state: Any) -> None:
        """Write, sync, rename and read back one checkpoint; then drop all but the newest two.

        Raises:
            StaleAttempt: a newer attempt of this job exists; nothing was written.
            OSError: the disk is full or failing; the checkpoints before are untouched.

        """
        if self._root is None:
            return
        self._refuse_if_stale(self._root)
        scratch = self._root / f"{SCRATCH}{self._attempt}-{os.getpid()}"
        try:
            manifest = self._write(self._root, scratch, state)
        except OSError:
            self._refuse_if_stale(self._root)  # a newer attempt cleared our scratch away: say that instead
            raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        self._saved_at_s = self._elapsed()
        if directory.owner(self._root) <= self._number:  # else what lies there is no longer ours to tidy
            self._prune(self._root)
        self._say("checkpoint", {k: manifest[k] for k in ("wall_s", "seq", "size", "sha256")})

    def _write(self, root: Path, scratch: Path, state: Any) -> dict[str, object]:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        self._dump(state, scratch / STATE)
        manifest: dict[str, object] = {
            "attempt": self._attempt,
            "number": self._number,
            "wall_s": self._clock(),
            **directory.digest(scratch / STATE),
        }
        directory.sync(scratch / STATE)
        self._refuse_if_stale(root)  # writing may have taken long
        seq, final = directory.publish(root, scratch, self._attempt, manifest)
        if not directory.verified(final):
            self._damaged.add(final)
            message = f"checkpoint {final.name} does not read back as it was written; the disk may be failing"
            raise OSError(message)
        return {"seq": seq, **manifest}

    def load(self) -> Any | None:
        """The state of the newest checkpoint that verifies, or None when there is none."""
        for _, path in reversed(directory.checkpoints(self._root) if self._root else []):
            if directory.verified(path):
                self.resumed = True
                return self._load(path / STATE)
            self._damaged.add(path)
            _warn(f"checkpoint {path.name} is damaged; the one before it is tried")
        return None

    def report(self, **numbers: float) -> None:
        """Hand results such as ``accuracy=0.93`` to the receipt.

        Raises:
            ValueError: a value is not a finite number.

        """
        taken = {name: _finite(name, value) for name, value in numbers.items()}
        self._say("result", {"results": taken})
        if self._control is not None:
            path = self._control / RESULTS
            known = json.loads(path.read_text()) if path.exists() else {}
            scratch = path.with_suffix(".new")
            scratch.write_text(json.dumps({**known, **taken}))
            scratch.replace(path)

    def _say(self, kind: str, values: dict[str, object]) -> None:
        """Tell the log; the runner tells the same at the end, so a closed log loses nothing."""
        if self._fence:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
                record.write(self._fence, kind, values)

    # ---- directories ----

    def _prune(self, root: Path) -> None:
        """Keep the newest two that are sound: a damaged one would push out the one to fall back to."""
        sound = [path for _, path in directory.checkpoints(root) if path not in self._damaged]
        for path in {*sound[:-KEEP], *self._damaged}:
            shutil.rmtree(path, ignore_errors=True)

    def _refuse_if_stale(self, root: Path) -> None:
        owner = directory.owner(root)
        if owner > self._number:
            message = (
                f"attempt {self._attempt or '(unnamed)'} (number {self._number}) may not write: attempt number {owner} "
                f"owns {root}. Only the newest attempt of a job saves checkpoints; stop this process."
            )
            raise StaleAttempt(message)


def _finite(name: str, value: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]  # numpy scalars and 0-d tensors are welcome
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool | str) or not math.isfinite(number):
        message = f"{name}={value!r} is no finite number; report takes numbers such as accuracy=0.93"
        raise ValueError(message)
    return number


def _warn(sentence: str) -> None:
    print(f"lowtide: {sentence}", file=sys.stderr, flush=True)  # noqa: T201


@contextmanager
def session(
    *, dump: Callable[[Any, Path], None] = dump_pickle, load: Callable[[Path], Any] = load_pickle
) -> Iterator[Session]:
    """Open the job's checkpoints; an exception of the script passes through unchanged."""
    opened = Session(dict(os.environ), dump=dump, load=load)
    try:
        yield opened
        opened.finish()
    finally:
        opened.close()
