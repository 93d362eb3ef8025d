"""A job's checkpoint directory on disk: what lies there, whether it is sound, and whose it is.

ckpt-000007-train-a2/state.pkl       the state
ckpt-000007-train-a2/manifest.json   size, SHA-256, sequence and attempt number, wall time
fence-000002                         attempt number 2 claimed the directory; the highest number owns it
.new-train-a2-4711/                  a checkpoint that is being written

No lock is needed, so a frozen attempt blocks nobody and any shared file system will do: numbers only grow,
and who claims the directory sweeps away what older attempts are writing, so that their rename fails.
"""

import errno
import hashlib
import json
import os
import shutil
from itertools import count
from pathlib import Path

STATE, MANIFEST = "state.pkl", "manifest.json"
CLAIM, SCRATCH = "fence-", ".new-"


def owner(root: Path) -> int:
    """The highest attempt number that has claimed or saved here; 0 when nobody has."""
    numbers = [int(path.name.removeprefix(CLAIM)) for path in _claims(root)]
    numbers += [_saved_by(path / MANIFEST) for _, path in checkpoints(root)]
    return max(numbers, default=0)


def claim(root: Path, number: int, attempt: str) -> None:
    """Make an attempt the owner: older ones are refused from now on, and what they are writing goes."""
    (root / f"{CLAIM}{number:06d}").touch()
    sync(root)
    for older in _claims(root):
        if int(older.name.removeprefix(CLAIM)) < number:
            older.unlink(missing_ok=True)
    for left in root.glob(f"{SCRATCH}*"):
        if not left.name.startswith(f"{SCRATCH}{attempt}-"):
            shutil.rmtree(left, ignore_errors=True)


def publish(root: Path, scratch: Path, attempt: str, manifest: dict[str, object]) -> tuple[int, Path]:
    """Give a written checkpoint the next free number and its name; returns both."""
    for seq in count((newest(root) or 0) + 1):
        (scratch / MANIFEST).write_text(json.dumps({"seq": seq, **manifest}))
        sync(scratch / MANIFEST)
        sync(scratch)
        final = root / f"ckpt-{seq:06d}-{attempt}"
        try:
            scratch.rename(final)
        except OSError as error:
            if error.errno in {errno.ENOTEMPTY, errno.EEXIST}:
                continue  # another process of this attempt has just taken the number
            raise
        sync(root)
        return seq, final
    raise AssertionError("numbers do not end")


def _claims(root: Path) -> list[Path]:
    return [path for path in root.glob(f"{CLAIM}*") if path.name.removeprefix(CLAIM).isdigit()]


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
    """Flush a file or a directory to the disk; some shared file systems cannot sync a directory and say so."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL or not path.is_dir():
            raise
    finally:
        os.close(descriptor)
