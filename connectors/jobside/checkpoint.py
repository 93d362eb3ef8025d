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

import hashlib
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

from lowtide.connectors.jobside import record

KEEP = 2
STATE, MANIFEST, CLAIM = "state.pkl", "manifest.json", "fence"
SUSPEND_FLAG, SUSPENDED_MARK, RESULTS = "suspend", "suspended", "results.json"


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
    ) -> None:
        """Read the runner's environment; ``dump`` and ``load`` replace pickle (torch.save, ...)."""
        self._dump, self._load, self._clock = dump, load, clock
        self._fence = environ.get("LOWTIDE_FENCE", "")
        self._attempt = environ.get("LOWTIDE_ATTEMPT_ID", "")
        self._number = int(environ.get("LOWTIDE_FENCE_NUMBER") or 0)
        self._interval_s = float(environ.get("LOWTIDE_CHECKPOINT_INTERVAL_S") or math.inf)
        directory, control = environ.get("LOWTIDE_CHECKPOINT_DIR"), environ.get("LOWTIDE_CONTROL_DIR")
        self._root = Path(directory) if directory else None
        self._control = Path(control) if control else None
        self._saved_at_s = clock()
        self._asked = False
        self.resumed = False
        if self._root is not None:
            self._root.mkdir(parents=True, exist_ok=True)
            self._claim()
        self._watch()

    # ---- asking ----

    @property
    def asked(self) -> bool:
        """Whether lowtide wants this job to save and stop now."""
        if self._control is not None:
            self._watch()
            self._asked = self._asked or (self._control / SUSPEND_FLAG).exists()
        return self._asked

    def _watch(self) -> None:
        """Keep our SIGTERM handler in place: ray.init() replaces handlers that were installed before it."""
        in_main = threading.current_thread() is threading.main_thread()
        if self._control is not None and in_main and signal.getsignal(signal.SIGTERM) is not self._on_term:
            self._on_term = self._note_term
            signal.signal(signal.SIGTERM, self._on_term)

    def _note_term(self, _number: int, _frame: object) -> None:
        self._asked = True

    _on_term: Any = None

    # ---- saving ----

    def save_if_asked(self, state: Any) -> bool:
        """Save when lowtide asks to suspend, or when the checkpoint interval has passed.

        Returns:
            True when the state is safe and the script should return now; False to go on.

        Raises:
            StaleAttempt: a newer attempt of this job exists.

        """
        if self.asked:
            if self._root is None:
                return False  # nowhere to save: better to be killed late than to lose the work early
            self.save(state)
            if self._control is not None:
                (self._control / SUSPENDED_MARK).touch()
            return True
        if self._root is not None and self._clock() - self._saved_at_s >= self._interval_s:
            self.save(state)
        return False

    def save(self, state: Any) -> None:
        """Write, sync, rename and read back one checkpoint; then drop all but the newest two."""
        if self._root is None:
            return
        self._refuse_if_stale()
        seq = max((s for s, _ in self._checkpoints()), default=0) + 1
        scratch = self._root / f".new-{self._attempt}-{os.getpid()}"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        self._dump(state, scratch / STATE)
        manifest = {"seq": seq, "attempt": self._attempt, "number": self._number, **_digest(scratch / STATE)}
        (scratch / MANIFEST).write_text(json.dumps(manifest))
        for path in (scratch / STATE, scratch / MANIFEST, scratch):
            _sync(path)
        final = self._root / f"ckpt-{seq:06d}-{self._attempt}"
        scratch.rename(final)
        _sync(self._root)
        if not _verified(final):
            message = f"checkpoint {final.name} does not read back as it was written; the disk may be failing"
            raise OSError(message)
        self._saved_at_s = self._clock()
        self._prune()
        self._say("checkpoint", {"wall_s": self._clock(), **{k: manifest[k] for k in ("seq", "size", "sha256")}})

    def load(self) -> Any | None:
        """The state of the newest checkpoint that verifies, or None when there is none."""
        for seq, path in reversed(self._checkpoints()):
            if _verified(path):
                self.resumed = True
                return self._load(path / STATE)
            print(f"lowtide: checkpoint {seq} is damaged; the one before is used", file=sys.stderr)  # noqa: T201
        return None

    def report(self, **numbers: float) -> None:
        """Hand results such as ``accuracy=0.93`` to the receipt; only finite numbers are taken."""
        for name, value in numbers.items():
            if isinstance(value, bool) or not math.isfinite(float(value)):
                message = f"{name}={value!r} is no finite number"
                raise ValueError(message)
        self._say("result", {"results": {name: float(value) for name, value in numbers.items()}})
        if self._control is not None:
            path = self._control / RESULTS
            known = json.loads(path.read_text()) if path.exists() else {}
            path.write_text(json.dumps({**known, **{k: float(v) for k, v in numbers.items()}}))

    def _say(self, kind: str, values: dict[str, object]) -> None:
        if self._fence:
            sys.stdout.flush()
            record.write(self._fence, kind, values)

    # ---- directories ----

    def _checkpoints(self) -> list[tuple[int, Path]]:
        assert self._root is not None  # noqa: S101 - callers have checked
        found = []
        for path in self._root.glob("ckpt-*-*"):
            seq = path.name.split("-", 2)[1]
            if seq.isdigit():
                found.append((int(seq), path))
        return sorted(found)

    def _prune(self) -> None:
        for _, path in self._checkpoints()[:-KEEP]:
            shutil.rmtree(path, ignore_errors=True)

    def _claim(self) -> None:
        """Fence off earlier attempts: the highest number that was ever here owns the directory (INV-02)."""
        self._refuse_if_stale()
        assert self._root is not None  # noqa: S101
        scratch = self._root / f".{CLAIM}-{os.getpid()}"
        scratch.write_text(str(self._number))
        _sync(scratch)
        scratch.rename(self._root / CLAIM)

    def _refuse_if_stale(self) -> None:
        assert self._root is not None  # noqa: S101
        claim = self._root / CLAIM
        owner = int(claim.read_text() or 0) if claim.exists() else 0
        if owner > self._number:
            message = f"attempt {self._attempt} may not write: attempt number {owner} owns the checkpoints"
            raise StaleAttempt(message)


def _digest(path: Path) -> dict[str, object]:
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            sha.update(block)
    return {"size": path.stat().st_size, "sha256": sha.hexdigest()}


def _verified(path: Path) -> bool:
    try:
        manifest = json.loads((path / MANIFEST).read_text())
        return _digest(path / STATE) == {"size": manifest["size"], "sha256": manifest["sha256"]}
    except (OSError, ValueError, KeyError):
        return False


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def session(
    *, dump: Callable[[Any, Path], None] = dump_pickle, load: Callable[[Path], Any] = load_pickle
) -> Iterator[Session]:
    """Open the job's checkpoints; an exception of the script passes through unchanged."""
    yield Session(dict(os.environ), dump=dump, load=load)
