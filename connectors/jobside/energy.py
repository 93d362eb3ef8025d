"""Energy of one job from inside its node: cumulative joules by component since the reader was made.

gpu   NVML's energy counter of the GPUs that the job was given, or NVML's power reading, sampled and
      integrated, for one without a counter (both measured); else, on a node that has GPUs at all, the power
      in LOWTIDE_GPU_TDP_W for the whole wall time (modelled)
cpu   RAPL package counters shared by CPU time (measured); else CPU seconds times a power per busy
      hardware thread (modelled)

Standard library only: NVML is reached through ctypes, so that nothing need be installed beside the job.
"""

import contextlib
import ctypes
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

CPU_W_PER_THREAD = 6.5
"""Modelled power of one busy hardware thread. Server CPUs are specified at 200 to 360 W for 32 to 56
cores with two threads each: an AMD EPYC 7543 at 225 W for 64 threads gives 3.5, an Intel Xeon Gold 6248 at
150 W for 40 threads 3.8, a desktop Core i9-13900K at 253 W for 32 threads 7.9. 6.5 lies on the high side of
that range, so that a modelled footprint errs upwards. Replace it by LOWTIDE_CPU_W_PER_THREAD."""

MEASURED, MODELLED = "measured", "modelled"
POWER_LOOK_S = 1.0
"""Between two power readings: drivers average over up to a second, so that more would tell nothing new."""
GPU_NODES = ("nvidia[0-9]*", "kfd", "dxg")
"""Device files of GPU drivers (NVIDIA, AMD, WSL). A node without any has GPUs in name only."""
NO_GPU = frozenset({"-1", "none", "void", "NoDevFiles"})
"""Entries of CUDA_VISIBLE_DEVICES that hide every GPU from there on."""


def process_tree(root: int, proc: Path = Path("/proc")) -> list[int]:
    """The process ids of ``root`` and all its descendants that live now, parents before their children."""
    children: dict[int, list[int]] = {}
    for entry in proc.iterdir():
        if entry.name.isdigit() and (fields := _stat(entry)) is not None:
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found: dict[int, None] = {}
    open_ids = [root]
    while open_ids:
        current = open_ids.pop()
        if current not in found:
            found[current] = None
            open_ids += children.get(current, [])
    return list(found)


def _stat(entry: Path) -> list[str] | None:
    """Fields of /proc/<pid>/stat from the state on (the command before it may hold spaces)."""
    try:
        return (entry / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


class CpuTime:
    """CPU seconds of a process tree, monotone: a child that ends is counted through its parent's cutime."""

    def __init__(self, root: int, proc: Path = Path("/proc")) -> None:
        """Watch the tree under ``root``."""
        self._root, self._proc = root, proc
        self._tick_s = 1.0 / os.sysconf("SC_CLK_TCK")
        self._best_s = 0.0

    def seconds(self) -> float:
        """User and system time of the tree so far.

        A parent is read before its children: one that ends in between is missed until the next look, while
        the other way round it would be counted twice for good.
        """
        ticks = 0
        for pid in process_tree(self._root, self._proc):
            fields = _stat(self._proc / str(pid))
            if fields is not None:
                ticks += sum(int(f) for f in fields[11:15])
        self._best_s = max(self._best_s, ticks * self._tick_s)
        return self._best_s


class Rapl:
    """Package energy counters of this machine, wrap-around undone."""

    def __init__(self, root: Path = Path("/sys/class/powercap")) -> None:
        """Find the readable packages; none readable raises OSError."""
        self._zones = [p for p in sorted(root.glob("intel-rapl:*")) if self._is_package(p)]
        self._last = {zone: self._read(zone, "energy_uj") for zone in self._zones}
        if not self._last:
            raise FileNotFoundError(root)
        self._range = {zone: self._read(zone, "max_energy_range_uj") for zone in self._zones}
        self._total_uj = 0

    @staticmethod
    def _is_package(zone: Path) -> bool:
        """Not a part of a package (core, dram), nor "psys": the whole platform would count packages twice."""
        return zone.name.count(":") == 1 and (zone / "name").read_text().startswith("package")

    @staticmethod
    def _read(zone: Path, name: str) -> int:
        return int((zone / name).read_text())

    def joules(self) -> float:
        """Energy of all packages since construction."""
        for zone in self._zones:
            value = self._read(zone, "energy_uj")
            delta = value - self._last[zone]
            self._total_uj += delta if delta >= 0 else delta + self._range[zone]
            self._last[zone] = value
        return self._total_uj / 1e6


class Library:
    """NVML through ctypes; every failure is an OSError, or an AttributeError where a driver lacks the call."""

    def __init__(self, load: Callable[[str], Any] = ctypes.CDLL) -> None:
        """Open it."""
        self._lib = load("libnvidia-ml.so.1")
        self._check(self._lib.nvmlInit_v2(), "nvmlInit")

    @staticmethod
    def _check(code: int, call: str) -> None:
        if code != 0:
            message = f"{call} failed with NVML error {code}"
            raise OSError(message)

    def _open(self, device: str) -> Any:
        handle = ctypes.c_void_p()
        if device.isdigit():
            code = self._lib.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(int(device)), ctypes.byref(handle))
        else:
            code = self._lib.nvmlDeviceGetHandleByUUID(device.encode(), ctypes.byref(handle))
        self._check(code, f"opening GPU {device}")
        return handle

    def _value(self, handle: Any, call: str, value: Any) -> int:
        self._check(getattr(self._lib, call)(handle, ctypes.byref(value)), call)
        return int(value.value)


class Nvml(Library):
    """Energy of the given GPUs: by counter, or by power where a GPU has no counter."""

    def __init__(
        self,
        devices: Iterable[str],
        load: Callable[[str], Any] = ctypes.CDLL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open NVML and the devices (indices or UUIDs); raises OSError or AttributeError when that cannot be done."""
        super().__init__(load)
        self._meters = [self._meter(self._open(device), clock) for device in devices]

    def _meter(self, handle: Any, clock: Callable[[], float]) -> "_Counter | _SampledPower":
        try:
            return _Counter(lambda: self._value(handle, "nvmlDeviceGetTotalEnergyConsumption", ctypes.c_ulonglong()))
        except (OSError, AttributeError):  # older than Volta, or an older driver
            return _SampledPower(lambda: self._value(handle, "nvmlDeviceGetPowerUsage", ctypes.c_uint()), clock)

    @property
    def source(self) -> str:
        """``nvml`` where all of it is counted, ``nvml_power`` where some of it is sampled."""
        return "nvml" if all(isinstance(meter, _Counter) for meter in self._meters) else "nvml_power"

    def look(self) -> None:
        """Take the power readings that are due."""
        for meter in self._meters:
            meter.look()

    def joules(self) -> float:
        """Energy of the devices since construction."""
        return sum(meter.joules() for meter in self._meters)


class _Counter:
    """One GPU's energy counter in millijoules; a reset (driver reload) adds nothing."""

    def __init__(self, read_mj: Callable[[], int]) -> None:
        self._read_mj, self._last_mj, self._total_mj = read_mj, read_mj(), 0

    def look(self) -> None:
        """Nothing is lost between two readings of a counter."""

    def joules(self) -> float:
        value = self._read_mj()
        self._total_mj += max(0, value - self._last_mj)
        self._last_mj = value
        return self._total_mj / 1e3


class _SampledPower:
    """One GPU's power in milliwatts, integrated: between two readings the mean of both is taken."""

    def __init__(self, read_mw: Callable[[], int], clock: Callable[[], float]) -> None:
        self._read_mw, self._clock = read_mw, clock
        self._last_mw, self._last_s, self._total_j = read_mw(), clock(), 0.0

    def look(self) -> None:
        if self._clock() - self._last_s >= POWER_LOOK_S:
            self.joules()

    def joules(self) -> float:
        power_mw, now_s = self._read_mw(), self._clock()
        self._total_j += (power_mw + self._last_mw) / 2e3 * (now_s - self._last_s)
        self._last_mw, self._last_s = power_mw, now_s
        return self._total_j


def machine_busy_s(proc: Path = Path("/proc")) -> float:
    """CPU seconds that all cores of the machine have been busy since boot."""
    fields = [int(f) for f in (proc / "stat").read_text().split("\n", 1)[0].split()[1:9]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


class EnergyReader:
    """Cumulative energy of one job, by component, from the best source that this node offers."""

    def __init__(
        self,
        root_pid: int,
        environ: dict[str, str],
        *,
        proc: Path = Path("/proc"),
        powercap: Path = Path("/sys/class/powercap"),
        dev: Path = Path("/dev"),
        load: Callable[[str], Any] = ctypes.CDLL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Choose the sources once; they are named in every sample."""
        self._cpu, self._proc, self._clock = CpuTime(root_pid, proc), proc, clock
        self._begin_s = clock()
        self._w_per_thread = float(environ.get("LOWTIDE_CPU_W_PER_THREAD") or CPU_W_PER_THREAD)
        has_gpu = any(True for pattern in GPU_NODES for _ in dev.glob(pattern))
        self._gpu_tdp_w = float(environ.get("LOWTIDE_GPU_TDP_W") or 0.0) if has_gpu else 0.0
        self.devices = visible_gpus(environ.get("CUDA_VISIBLE_DEVICES", ""))
        self._rapl = self._try(lambda: Rapl(powercap))
        self._nvml = self._try(lambda: Nvml(self.devices, load, clock)) if self.devices else None
        self._rapl_j = self._rapl_last_j = 0.0
        self._cpu_last_s, self._busy_last_s = self._cpu.seconds(), machine_busy_s(proc)
        self._last_j: dict[str, float] = {}
        self.sources = self._name_sources()

    @staticmethod
    def _try(make: Callable[[], Any]) -> Any:
        try:
            return make()
        except (OSError, AttributeError, ValueError):
            return None

    def _name_sources(self) -> dict[str, tuple[str, str]]:
        sources = {"cpu": ("rapl", MEASURED) if self._rapl else ("cpu_time", MODELLED)}
        if self._nvml:
            sources["gpu"] = (self._nvml.source, MEASURED)
        elif self.devices and self._gpu_tdp_w:
            sources["gpu"] = ("gpu_tdp", MODELLED)
        return sources

    def look(self) -> None:
        """To be called about every second between two reads: power, unlike a counter, is gone unless it is read."""
        if self._nvml:
            with contextlib.suppress(OSError):
                self._nvml.look()

    def read(self) -> dict[str, float]:
        """Joules since the job began by component; never decreasing.

        A counter that cannot be read for once keeps its last value: all are cumulative, the next look makes up.
        """
        meters = {"cpu": self._cpu_joules}
        if "gpu" in self.sources:
            meters["gpu"] = self._gpu_joules
        for name, meter in meters.items():
            with contextlib.suppress(OSError, ValueError):
                self._last_j[name] = max(meter(), self._last_j.get(name, 0.0))
        return {name: self._last_j.get(name, 0.0) for name in meters}

    def _gpu_joules(self) -> float:
        if self._nvml:
            return float(self._nvml.joules())
        return len(self.devices) * self._gpu_tdp_w * (self._clock() - self._begin_s)

    def _cpu_joules(self) -> float:
        cpu_s = self._cpu.seconds()
        if not self._rapl:
            return cpu_s * self._w_per_thread
        package_j, busy_s = self._rapl.joules(), machine_busy_s(self._proc)
        spent_s, all_s = cpu_s - self._cpu_last_s, busy_s - self._busy_last_s
        if all_s > 0:  # else less than a clock tick has passed: the next look takes this energy with it
            self._rapl_j += min(1.0, spent_s / all_s) * (package_j - self._rapl_last_j)
            self._rapl_last_j, self._cpu_last_s, self._busy_last_s = package_j, cpu_s, busy_s
        return self._rapl_j


def visible_gpus(text: str) -> list[str]:
    """The GPUs in CUDA_VISIBLE_DEVICES: indices or UUIDs, up to the first entry that hides the rest."""
    found: list[str] = []
    for entry in text.split(","):
        if not entry.strip() or entry.strip() in NO_GPU:
            break
        found.append(entry.strip())
    return found
