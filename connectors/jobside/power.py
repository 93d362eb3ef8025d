"""Limits the power of one job's own GPUs over time, and puts back what was found, whatever happens.

A limit set through NVML outlives the process that set it. So what was found is written down before anything is
changed, in a folder of the node; the runner puts it back at its end, its guard does when the runner was killed, and the
next runner that is given the GPU when even the guard was. Setting a limit needs root; where it cannot be done all of
the job's GPUs stay as they were found, and the job runs at full power.
"""

import contextlib
import ctypes
import json
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lowtide.connectors.jobside.energy import Library

UUID_BYTES = 96
"""NVML asks for as many at most."""
Load = Callable[[str], Any]
Plan = list[tuple[float, float]]
"""From which Unix second on which share of the limit that was found holds; full power before the first."""


def read_plan(text: str) -> Plan:
    """The limits over time as the daemon writes them.

    Raises:
        ValueError: anything else than JSON pairs of seconds and a share above 0 and up to 1.

    """
    try:
        plan = [(float(at_s), float(share)) for at_s, share in json.loads(text or "[]")]
    except (TypeError, ValueError):
        plan = [(math.nan, 0.0)]
    if not all(math.isfinite(at_s) and 0 < share <= 1 for at_s, share in plan):
        raise ValueError(
            f"LOWTIDE_POWER_PLAN is {text[:200]!r}; expected JSON pairs of Unix seconds and a share up to 1"
        )
    return plan


def notes_of(environ: Mapping[str, str]) -> Path:
    """The folder of this node and user in which it is written down what was found.

    It is one for all jobs, whatever scratch folder (``TMPDIR``) each has: the next runner on a GPU looks there.
    """
    usual = f"/tmp/lowtide-power-{os.geteuid()}"  # noqa: S108 - our own, and nobody else's is believed
    return Path(environ.get("LOWTIDE_POWER_NOTES") or usual)


class Limits:
    """The power limits of the given GPUs; nothing is touched before a limit is due."""

    def __init__(self, devices: Sequence[str], plan: Plan, notes: Path, load: Load = ctypes.CDLL) -> None:
        """Take the GPUs as CUDA names them, the plan and where to write down what is found."""
        self._devices, self._plan, self._notes, self._load = devices, plan, notes, load
        self._share, self.refused = 1.0, ""
        self._found_mw: dict[Path, int] = {}

    def follow(self, wall_s: float) -> tuple[float, list[int]] | None:
        """Set what is due; the share and the limits in milliwatts where that is news. ``refused`` says why not."""
        share = next((share for at_s, share in reversed(self._plan) if at_s <= wall_s), 1.0)
        if share == self._share or self.refused:
            return None
        self._share = share
        try:
            gpus = _Gpus(self._devices, self._load)
            if not self._devices:
                self.refused = "the job sees no GPU"
                return None
            return share, [self._set(gpus, device, share) for device in self._devices]
        except (OSError, AttributeError, ValueError) as error:
            self.refused = str(error) or type(error).__name__
            self.restore()
            return None

    def _set(self, gpus: "_Gpus", device: str, share: float) -> int:
        note = _note(self._notes, gpus.uuid(device))
        self._found_mw.setdefault(note, _read(note) or gpus.limit_mw(device))
        found_mw = self._keep(note)
        limit_mw = min(found_mw, max(gpus.least_mw(device), round(found_mw * share)))
        gpus.set(device, limit_mw)
        return limit_mw

    def _keep(self, note: Path) -> int:
        """What was found, written down still: the guard of a runner that was killed may take the note away late."""
        if _read(note) is None:
            _write(note, self._found_mw[note])
        return self._found_mw[note]

    def restore(self) -> None:
        """Put back what was found."""
        with contextlib.suppress(OSError):
            for note in self._found_mw:
                self._keep(note)
        self._found_mw.clear()
        put_back(self._devices, self._notes, self._load)


def put_back(devices: Sequence[str], notes: Path, load: Load = ctypes.CDLL) -> None:
    """Give those of the GPUs whose limit was changed the one that was found, and forget it once that is done.

    Where it cannot be done the note stays, for the next who may.
    """
    if not any(notes.glob("*.mw")):
        return  # as nearly always: NVML need not be opened
    for device in devices:
        with contextlib.suppress(OSError, AttributeError):
            gpus = _Gpus([device], load)
            note = _note(notes, gpus.uuid(device))
            found_mw = _read(note)
            if found_mw is not None:
                gpus.set(device, found_mw)
                note.unlink()


class _Gpus(Library):
    """The limits of some GPUs through NVML; every failure is an OSError that names the call."""

    def __init__(self, devices: Sequence[str], load: Load) -> None:
        super().__init__(load)
        self._handles = {device: self._open(device) for device in devices}

    def uuid(self, device: str) -> str:
        """What tells it from all others; an index means another GPU in another container."""
        text = ctypes.create_string_buffer(UUID_BYTES)
        call = "nvmlDeviceGetUUID"
        self._check(getattr(self._lib, call)(self._handles[device], text, ctypes.c_uint(UUID_BYTES)), call)
        return text.value.decode()

    def limit_mw(self, device: str) -> int:
        return self._value(self._handles[device], "nvmlDeviceGetPowerManagementLimit", ctypes.c_uint())

    def least_mw(self, device: str) -> int:
        least, most = ctypes.c_uint(), ctypes.c_uint()
        call = "nvmlDeviceGetPowerManagementLimitConstraints"
        self._check(getattr(self._lib, call)(self._handles[device], ctypes.byref(least), ctypes.byref(most)), call)
        return int(least.value)

    def set(self, device: str, limit_mw: int) -> None:
        """Set it and read it back: some hosts put their own in force again."""
        call = "nvmlDeviceSetPowerManagementLimit"
        if self.limit_mw(device) != limit_mw:
            self._check(getattr(self._lib, call)(self._handles[device], ctypes.c_uint(limit_mw)), call)
        if (stands_mw := self.limit_mw(device)) != limit_mw:
            message = f"GPU {device} has a limit of {stands_mw} mW after {limit_mw} mW were set"
            raise OSError(message)


def _note(notes: Path, uuid: str) -> Path:
    return notes / f"{re.sub(r'[^A-Za-z0-9-]', '_', uuid)}.mw"


def _read(note: Path) -> int | None:
    """What was found in milliwatts, of a note of our own alone: in a shared folder anybody may leave one."""
    try:
        is_ours = note.parent.lstat().st_uid == os.geteuid()
        return int(note.read_text()) if is_ours else None
    except (OSError, ValueError):
        return None


def _write(note: Path, found_mw: int) -> None:
    """Write down what was found, for good, before it is changed."""
    note.parent.mkdir(mode=0o700, exist_ok=True)
    if note.parent.lstat().st_uid != os.geteuid():
        message = f"{note.parent} belongs to somebody else, so what was found cannot be kept there"
        raise OSError(message)
    scratch = note.with_suffix(".new")
    with scratch.open("w") as file:
        file.write(str(found_mw))
        file.flush()
        os.fsync(file.fileno())
    scratch.rename(note)
