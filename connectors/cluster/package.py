"""Zips that travel with a job: our job side and the working directory. Same content, same bytes."""

import io
import os
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from lowtide.connectors.jobside import record
from lowtide.scheduler.model.errors import BadInput, TooLarge

SKIPPED = frozenset(
    {".git", "__pycache__", ".venv", "venv", ".mypy_cache", ".ruff_cache", ".pytest_cache", "node_modules"}
)
EPOCH = (1980, 1, 1, 0, 0, 0)
MIB = 1 << 20


@cache
def jobside_package() -> bytes:
    """The job side as a py_module: its top folder is ``lowtide`` (a namespace, it joins others)."""
    folder = Path(record.__file__).parent
    files = {f"lowtide/connectors/jobside/{path.name}": path for path in sorted(folder.glob("*.py"))}
    # Ray puts the folder *inside* a py_module's top level on the path only for its own packages; for an
    # uploaded zip the unpacked folder itself goes there, so the layout is that of site-packages.
    return _zip(files)


def working_dir_package(path: Path, max_bytes: int) -> bytes:
    """The working directory as a zip.

    Raises:
        BadInput: it does not exist, is no directory or cannot be read.
        TooLarge: it holds more than ``max_bytes``; the message names the largest entries.

    """
    if not path.is_dir():
        message = f"the working directory {path} does not exist or is no directory."
        raise BadInput(message, fix="Give an existing directory with --workdir, or --no-workdir for none.")
    try:
        files = {str(found.relative_to(path)): found for found in _walk(path)}
        _check_size(path, files, max_bytes)
        return _zip(files)
    except OSError as error:
        message = f"{error.filename} in the working directory cannot be read: {error.strerror}."
        raise BadInput(message, fix="Make it readable or leave it out.") from error
    except UnicodeEncodeError as error:
        message = f"a name in the working directory is not UTF-8: {error.object!r}."
        raise BadInput(message, fix="Rename it or leave it out.") from error


def _check_size(path: Path, files: dict[str, Path], max_bytes: int) -> None:
    sizes = {name: found.stat().st_size for name, found in files.items()}
    if sum(sizes.values()) <= max_bytes:
        return
    largest = sorted(sizes, key=lambda name: -sizes[name])[:3]
    told = ", ".join(f"{name} ({sizes[name] / MIB:.0f} MiB)" for name in largest)
    total_mib, cap_mib = sum(sizes.values()) / MIB, max_bytes / MIB
    message = f"the working directory {path} holds {total_mib:.0f} MiB, more than {cap_mib:.0f} MiB. Largest: {told}."
    raise TooLarge(message, fix="Keep data outside it, or give --no-workdir and absolute paths.")


def _walk(root: Path) -> Iterator[Path]:
    """Files below ``root``, not through links that lead outside it."""
    real_root = root.resolve()
    for folder, folders, names in os.walk(root, onerror=_refuse):
        folders[:] = sorted(name for name in folders if name not in SKIPPED)
        for name in sorted(names):
            found = Path(folder) / name
            inside = found.resolve().is_relative_to(real_root)
            if inside and found.is_file() and not name.endswith(".pyc"):
                yield found


def _refuse(error: OSError) -> None:
    """A folder that cannot be read is told, not left out in silence."""
    raise error


def _zip(files: dict[str, Path]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (files[name].stat().st_mode & 0xFFFF) << 16
            archive.writestr(entry, files[name].read_bytes())
    return target.getvalue()
