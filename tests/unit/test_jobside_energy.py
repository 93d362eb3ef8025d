"""Energy from fake /proc, fake RAPL and a fake NVML: attribution, wrap-around, resets, fallbacks."""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lowtide.connectors.jobside.energy import (
    CPU_W_PER_THREAD,
    CpuTime,
    EnergyReader,
    Nvml,
    Rapl,
    process_tree,
    visible_gpus,
)

NOT_SUPPORTED = 3
"""NVML's error for a GPU that lacks what is asked for."""
TICKS = os.sysconf("SC_CLK_TCK")


class Node:
    """A machine made of files."""

    def __init__(self, path: Path) -> None:
        self.proc, self.powercap, self.dev = path / "proc", path / "powercap", path / "dev"
        for folder in (self.proc, self.powercap, self.dev):
            folder.mkdir()
        self.busy(0)

    def process(self, pid: int, parent: int, own_s: float, children_s: float = 0.0, name: str = "python") -> None:
        folder = self.proc / str(pid)
        folder.mkdir(exist_ok=True)
        ticks = [int(own_s * TICKS), 0, int(children_s * TICKS), 0]
        (folder / "stat").write_text(
            f"{pid} ({name}) S {parent} 1 1 0 -1 0 0 0 0 0 {' '.join(map(str, ticks))} 20 0 1\n"
        )

    def gone(self, pid: int) -> None:
        shutil.rmtree(self.proc / str(pid))

    def busy(self, seconds: float) -> None:
        (self.proc / "stat").write_text(f"cpu {int(seconds * TICKS)} 0 0 99999 99999 0 0 0 0 0\ncpu0 0 0 0 0\n")

    def zone(self, name: str, uj: int, label: str = "package-0", top_uj: int = 1_000_000_000) -> Path:
        folder = self.powercap / name
        folder.mkdir(exist_ok=True)
        (folder / "name").write_text(f"{label}\n")
        (folder / "energy_uj").write_text(f"{uj}\n")
        (folder / "max_energy_range_uj").write_text(f"{top_uj}\n")
        return folder


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


class FakeNvml:
    """What ctypes sees of the library: pointers are filled, codes returned."""

    def __init__(self, counters: dict[str, int], power_mw: dict[str, int] | None = None) -> None:
        self.counters, self.power_mw, self.failing = counters, power_mw or {}, 0
        self._names: list[str] = []

    def load(self, name: str) -> "FakeNvml":
        assert name == "libnvidia-ml.so.1"
        return self

    def nvmlInit_v2(self) -> int:  # noqa: N802 - NVML's name
        return 0

    def _open(self, name: str, pointer: Any) -> int:
        if name not in {**self.counters, **self.power_mw}:
            return 6
        self._names.append(name)
        pointer._obj.value = len(self._names)
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index: Any, pointer: Any) -> int:  # noqa: N802 - NVML's name
        return self._open(str(index.value), pointer)

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes, pointer: Any) -> int:  # noqa: N802 - NVML's name
        return self._open(uuid.decode(), pointer)

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: Any, pointer: Any) -> int:  # noqa: N802 - NVML's name
        return self._tell(self.counters, handle, pointer)

    def nvmlDeviceGetPowerUsage(self, handle: Any, pointer: Any) -> int:  # noqa: N802 - NVML's name
        return self._tell(self.power_mw, handle, pointer)

    def _tell(self, values: dict[str, int], handle: Any, pointer: Any) -> int:
        name = self._names[handle.value - 1]
        if name not in values:
            return NOT_SUPPORTED
        if not self.failing:
            pointer._obj.value = values[name]
        return self.failing


def no_library(_name: str) -> Any:
    raise OSError("libnvidia-ml.so.1: cannot open shared object file")


def reader(node: Node, load: Callable[[str], Any] = no_library, **environ: str) -> EnergyReader:
    return EnergyReader(1, environ, proc=node.proc, powercap=node.powercap, dev=node.dev, load=load)


# ---- CPU time ----


def test_the_tree_is_all_descendants_and_nobody_else_parents_first(node: Node) -> None:
    for pid, parent in ((7, 0), (3, 7), (5, 3), (4, 99), (1, 5)):
        node.process(pid, parent, 0.0)
    assert process_tree(7, node.proc) == [7, 3, 5, 1]


def test_a_command_with_brackets_and_spaces_is_read_right(node: Node) -> None:
    node.process(1, 0, 2.0, name="my) (S 7 prog")
    assert CpuTime(1, node.proc).seconds() == 2.0


def test_time_of_an_ended_child_stays_counted_through_its_parent(node: Node) -> None:
    node.process(1, 0, 1.0)
    node.process(2, 1, 3.0)
    cpu = CpuTime(1, node.proc)
    assert cpu.seconds() == 4.0
    node.gone(2)
    assert cpu.seconds() == 4.0  # ended, not yet reaped into its parent's figures
    node.process(1, 0, 1.5, children_s=3.0)
    assert cpu.seconds() == 4.5


def test_cpu_time_never_goes_back_when_the_whole_tree_is_gone(node: Node) -> None:
    node.process(1, 0, 2.0)
    cpu = CpuTime(1, node.proc)
    assert cpu.seconds() == 2.0
    node.gone(1)
    assert cpu.seconds() == 2.0


# ---- the model ----


def test_without_any_counter_cpu_time_is_priced_by_the_documented_power(node: Node) -> None:
    node.process(1, 0, 10.0)
    energy = reader(node)
    assert energy.read() == {"cpu": pytest.approx(10.0 * CPU_W_PER_THREAD)}
    assert energy.sources == {"cpu": ("cpu_time", "modelled")}


def test_the_power_of_a_thread_can_be_given(node: Node) -> None:
    node.process(1, 0, 10.0)
    assert reader(node, LOWTIDE_CPU_W_PER_THREAD="3.5").read() == {"cpu": 35.0}


# ---- RAPL ----


def test_rapl_is_shared_by_cpu_time(node: Node) -> None:
    """INV-15: the job gets what it was busy of what the machine was busy."""
    node.process(1, 0, 1.0)
    node.busy(100.0)
    node.zone("intel-rapl:0", 0)
    energy = reader(node)
    assert energy.sources == {"cpu": ("rapl", "measured")}
    node.process(1, 0, 2.0)
    node.busy(104.0)
    node.zone("intel-rapl:0", 80_000_000)
    assert energy.read() == {"cpu": pytest.approx(80.0 / 4)}


def test_a_job_never_gets_more_than_the_machine_used(node: Node) -> None:
    node.process(1, 0, 0.0)
    node.zone("intel-rapl:0", 0)
    energy = reader(node)
    node.process(1, 0, 5.0)
    node.busy(4.0)  # the two files are not read at the same instant
    node.zone("intel-rapl:0", 80_000_000)
    assert energy.read() == {"cpu": 80.0}


def test_energy_of_less_than_a_tick_is_taken_with_the_next_look(node: Node) -> None:
    node.process(1, 0, 0.0)
    node.zone("intel-rapl:0", 0)
    energy = reader(node)
    node.zone("intel-rapl:0", 10_000_000)
    assert energy.read() == {"cpu": 0.0}
    node.process(1, 0, 1.0)
    node.busy(1.0)
    assert energy.read() == {"cpu": 10.0}


def test_a_counter_that_wraps_loses_nothing(node: Node) -> None:
    node.zone("intel-rapl:0", 999_000_000)
    rapl = Rapl(node.powercap)
    node.zone("intel-rapl:0", 4_000_000)
    assert rapl.joules() == 5.0


def test_packages_add_up_and_their_parts_and_the_platform_do_not(node: Node) -> None:
    names = {
        "intel-rapl:0": "package-0",
        "intel-rapl:1": "package-1",
        "intel-rapl:0:0": "core",
        "intel-rapl:0:1": "dram",
        "intel-rapl:2": "psys",
    }
    for name, label in names.items():
        node.zone(name, 0, label)
    rapl = Rapl(node.powercap)
    for name, label in names.items():
        node.zone(name, 7_000_000, label)
    assert rapl.joules() == 14.0


def test_counters_that_may_not_be_read_leave_the_model(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    zone = node.zone("intel-rapl:0", 0)
    found = Path.read_text

    def refused(path: Path, *args: Any) -> str:
        if path == zone / "energy_uj":
            raise PermissionError(13, "Permission denied")
        return found(path, *args)

    monkeypatch.setattr(Path, "read_text", refused)  # root may read everything, so permissions are played
    assert reader(node).sources == {"cpu": ("cpu_time", "modelled")}


def test_a_counter_that_fails_for_once_keeps_its_last_value(node: Node) -> None:
    node.process(1, 0, 0.0)
    zone = node.zone("intel-rapl:0", 0)
    energy = reader(node)
    node.process(1, 0, 1.0)
    node.busy(1.0)
    node.zone("intel-rapl:0", 5_000_000)
    assert energy.read() == {"cpu": 5.0}
    (zone / "energy_uj").write_text("")
    assert energy.read() == {"cpu": 5.0}
    node.process(1, 0, 2.0)
    node.busy(2.0)
    node.zone("intel-rapl:0", 9_000_000)
    assert energy.read() == {"cpu": 9.0}


# ---- GPUs ----


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("0", ["0"]),
        ("0, 2", ["0", "2"]),
        ("GPU-a,GPU-b", ["GPU-a", "GPU-b"]),
        ("-1", []),
        ("0,-1,2", ["0"]),
        ("NoDevFiles", []),
        ("0,,1", ["0"]),
    ],
)
def test_the_list_of_visible_gpus_is_read_as_cuda_reads_it(text: str, expected: list[str]) -> None:
    assert visible_gpus(text) == expected


def test_gpu_energy_is_the_counters_growth_over_the_jobs_own_gpus(node: Node) -> None:
    nvml = FakeNvml({"GPU-a": 1_000, "1": 500, "GPU-other": 0})
    energy = reader(node, nvml.load, CUDA_VISIBLE_DEVICES="GPU-a,1")
    assert energy.sources["gpu"] == ("nvml", "measured")
    assert energy.read()["gpu"] == 0.0
    nvml.counters.update({"GPU-a": 4_000, "1": 1_500, "GPU-other": 99_000})
    assert energy.read()["gpu"] == 4.0


def test_a_driver_reload_is_a_new_epoch_and_never_a_negative_amount() -> None:
    """INV-17."""
    nvml = FakeNvml({"0": 50_000})
    gpu = Nvml(["0"], nvml.load)
    nvml.counters["0"] = 60_000
    assert gpu.joules() == 10.0
    nvml.counters["0"] = 100  # since the reload
    assert gpu.joules() == 10.0
    nvml.counters["0"] = 2_100
    assert gpu.joules() == 12.0


def test_a_gpu_that_falls_silent_keeps_its_last_value_and_the_cpu_goes_on(node: Node) -> None:
    nvml = FakeNvml({"0": 0})
    node.process(1, 0, 1.0)
    energy = reader(node, nvml.load, CUDA_VISIBLE_DEVICES="0")
    nvml.counters["0"] = 3_000
    assert energy.read()["gpu"] == 3.0
    nvml.failing = 15
    node.process(1, 0, 2.0)
    assert energy.read() == {"cpu": 2.0 * CPU_W_PER_THREAD, "gpu": 3.0}
    nvml.failing, nvml.counters["0"] = 0, 7_000
    assert energy.read()["gpu"] == 7.0


class Timed:
    """A reader on a clock that the test moves."""

    def __init__(self, node: Node, load: Callable[[str], Any], **environ: str) -> None:
        self.now_s = 0.0
        self.reader = EnergyReader(
            1,
            environ,
            proc=node.proc,
            powercap=node.powercap,
            dev=node.dev,
            load=load,
            clock=lambda: self.now_s,
        )


@pytest.mark.parametrize("driver", ["nvidia0", "kfd", "dxg"])
def test_an_unreadable_gpu_is_modelled_by_the_given_power(node: Node, driver: str) -> None:
    (node.dev / driver).touch()
    timed = Timed(node, no_library, CUDA_VISIBLE_DEVICES="0,1", LOWTIDE_GPU_TDP_W="300")
    timed.now_s = 10.0
    assert timed.reader.sources["gpu"] == ("gpu_tdp", "modelled")
    assert timed.reader.read()["gpu"] == 6000.0
    assert "gpu" not in reader(node, CUDA_VISIBLE_DEVICES="0,1").read()


def test_gpus_in_name_only_use_nothing(node: Node) -> None:
    (node.dev / "nvidiactl").touch()
    energy = reader(node, CUDA_VISIBLE_DEVICES="0,1", LOWTIDE_GPU_TDP_W="300")
    assert "gpu" not in energy.sources
    assert "gpu" not in energy.read()


def test_power_of_a_gpu_without_a_counter_is_sampled_and_integrated(node: Node) -> None:
    nvml = FakeNvml({}, {"0": 100_000})
    timed = Timed(node, nvml.load, CUDA_VISIBLE_DEVICES="0", LOWTIDE_GPU_TDP_W="300")
    assert timed.reader.sources["gpu"] == ("nvml_power", "measured")
    timed.now_s = 0.5
    timed.reader.look()  # too soon after the last
    timed.now_s, nvml.power_mw["0"] = 2.0, 200_000
    timed.reader.look()
    timed.now_s, nvml.power_mw["0"] = 3.0, 50_000
    assert timed.reader.read()["gpu"] == pytest.approx(2 * 150 + 125)


def test_a_power_reading_that_fails_is_made_up_for_by_the_next(node: Node) -> None:
    nvml = FakeNvml({}, {"0": 100_000})
    timed = Timed(node, nvml.load, CUDA_VISIBLE_DEVICES="0")
    timed.now_s, nvml.failing = 10.0, 15
    timed.reader.look()
    assert timed.reader.read()["gpu"] == 0.0
    timed.now_s, nvml.failing = 20.0, 0
    assert timed.reader.read()["gpu"] == pytest.approx(2000)


def test_one_gpu_without_a_counter_makes_the_sum_a_sampled_one(node: Node) -> None:
    nvml = FakeNvml({"0": 0}, {"1": 100_000})
    timed = Timed(node, nvml.load, CUDA_VISIBLE_DEVICES="0,1")
    assert timed.reader.sources["gpu"] == ("nvml_power", "measured")
    timed.now_s, nvml.counters["0"] = 1.0, 5_000
    assert timed.reader.read()["gpu"] == pytest.approx(5 + 100)


def test_a_gpu_that_nvml_does_not_know_is_not_called_measured(node: Node) -> None:
    energy = reader(node, FakeNvml({"0": 0}).load, CUDA_VISIBLE_DEVICES="0,MIG-x")
    assert "gpu" not in energy.sources


def test_no_gpu_given_means_none_is_looked_at(node: Node) -> None:
    energy = reader(node, FakeNvml({"0": 0}).load, CUDA_VISIBLE_DEVICES="")
    assert "gpu" not in energy.read()


LIBRARY = r"""
#include <string.h>
typedef void *device;
static int known;
static unsigned long long counter = 1000;
int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, device *out) { *out = &known; return index == 3 ? 0 : 2; }
int nvmlDeviceGetHandleByUUID(const char *uuid, device *out) { *out = &known; return strcmp(uuid, "GPU-a") ? 6 : 0; }
int nvmlDeviceGetTotalEnergyConsumption(device d, unsigned long long *mj) {
    if (d != &known) return 2;
    *mj = counter;
    counter += 0x100000000ULL;
    return 0;
}
int nvmlDeviceGetPowerUsage(device d, unsigned *mw) { *mw = 70000; return d == &known ? 0 : 2; }
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is needed to build the stand-in for libnvidia-ml")
def test_the_calls_fit_a_real_shared_library(tmp_path: Path) -> None:
    source, library = tmp_path / "nvml.c", tmp_path / "libnvidia-ml.so.1"
    source.write_text(LIBRARY)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
    load = lambda _name: ctypes.CDLL(str(library))  # noqa: E731
    gpus = Nvml(["3", "GPU-a"], load)
    assert gpus.joules() == pytest.approx(4 * 2**32 / 1000)  # two readings each, 64 bits wide
    assert gpus.source == "nvml"
    power = ctypes.c_uint()
    assert gpus._value(gpus._open("3"), "nvmlDeviceGetPowerUsage", power) == 70_000
    with pytest.raises(OSError, match="opening GPU 4 failed with NVML error 2"):
        Nvml(["4"], load)
