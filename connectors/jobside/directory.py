"""A job's checkpoint directory on disk: what lies there, whether it is sound, and whose it is.

ckpt-000007-train-a2/state.pkl       the state
ckpt-000007-train-a2/manifest.json   size, SHA-256, sequence and attempt number, wall time
fence                                the highest attempt number that ever claimed the directory
"""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STATE, MANIFEST, CLAIM, LOCK = "state.pkl", "manifest.json", "fence", ".lock"
LOCK_WAIT_S = 10.0
"""A lock is held for milliseconds; who holds it longer is frozen, and a frozen attempt must not block the next."""


def owner(root: Path) -> int:
    """The highest attempt number that has claimed or saved here."""
    numbers = [_claimed(root / CLAIM)]
    numbers += [_saved_by(path / MANIFEST) for _, path in checkpoints(root)]
    return max(numbers)


def _claimed(path: Path) -> int:
    try:
        return int(path.read_text())
    except (FileNotFoundError, ValueError):
        return 0


def _saved_by(path: Path) -> int:
    try:
        return int(json.loads(path.read_text())["number"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0  # a damaged checkpoint owns nothing; the claim still does


def checkpoints(root: Path) -> list[tuple[int, Path]]:
    """Sequence number and path of each checkpoint, oldest first."""
    found = []
    for path in root.glob("ckpt-*-*"):
        seq = path.name.split("-", 2)[1]
        if seq.isdigit():
            found.append((int(seq), path))
    return sorted(found)


def newest(root: Path) -> int | None:
    """The number of the newest checkpoint in a directory, None when there is none."""
    return max((seq for seq, _ in checkpoints(root)), default=None)


def digest(path: Path) -> dict[str, object]:
    """Size in bytes and SHA-256 of a file, as the manifest holds them."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            sha.update(block)
    return {"size": path.stat().st_size, "sha256": sha.hexdigest()}


def verified(path: Path) -> bool:
    """Whether a checkpoint reads back as its manifest says."""
    try:
        manifest = json.loads((path / MANIFEST).read_text())
        return digest(path / STATE) == {"size": manifest["size"], "sha256": manifest["sha256"]}
    except (OSError, ValueError, KeyError, TypeError):
        return False


def sync(path: Path) -> None:
    """Flush a file or a directory to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the directory against other attempts, also on other machines where the file system can."""
    give_up_s = time.monotonic() + LOCK_WAIT_S
    with (root / LOCK).open("w") as file:
        with contextlib.suppress(OSError):  # a shared file system without locks: the two looks still stand
            while time.monotonic() < give_up_s and not _took(file.fileno()):
                time.sleep(0.02)
        yield


def _took(descriptor: int) -> bool:
    import fcntl  # noqa: PLC0415 - where it is missing there is no runner either, and scripts must import this

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
