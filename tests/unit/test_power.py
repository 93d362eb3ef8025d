"""What this machine can measure: every absence is a plain fact."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lowtide.connectors.power import nvml, rapl
from lowtide.scheduler.control.doctor import cpu_finding, gpu_finding


class NVMLError(Exception):
    pass


def a_library(count: int = 1, *, counter: bool = True, driver: bool = True) -> Any:
    calls: list[str] = []

    def init() -> None:
        if not driver:
            raise NVMLError("Driver Not Loaded")

    def energy(_handle: int) -> int:
        if not counter:
            raise NVMLError("Not Supported")
        return 12_345

    return SimpleNamespace(
        NVMLError=NVMLError,
        calls=calls,
        nvmlInit=init,
        nvmlShutdown=lambda: calls.append("shutdown"),
        nvmlDeviceGetCount=lambda: count,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetUUID=lambda handle: f"GPU-{handle}",
        nvmlDeviceGetName=lambda _handle: "NVIDIA A100",
        nvmlDeviceGetTotalEnergyConsumption=energy,
        nvmlDeviceGetPowerManagementLimit=lambda _handle: 300_000,
    )


def test_gpus_are_read_and_the_library_is_let_go() -> None:
    library = a_library(2)
    found = nvml.read(library)
    assert [(g.uuid, g.has_energy_counter, g.power_limit_w) for g in found.gpus] == [
        ("GPU-0", True, 300.0),
        ("GPU-1", True, 300.0),
    ]
    assert library.calls == ["shutdown"]
    assert gpu_finding(found)["status"] == "ok"


def test_no_driver_is_a_fact_and_not_an_error() -> None:
    found = nvml.read(a_library(driver=False))
    assert found.absence == "Driver Not Loaded"
    assert "Driver Not Loaded" in gpu_finding(found)["detail"]


def test_a_gpu_without_an_energy_counter_is_named() -> None:
    told = gpu_finding(nvml.read(a_library(counter=False)))
    assert (told["status"], "GPU-0" in told["detail"]) == ("warn", True)


@pytest.mark.parametrize(("content", "readable"), [("1000", True), ("", False)])
def test_rapl_counts_packages_once_and_says_whether_they_can_be_read(
    tmp_path: Path, content: str, *, readable: bool
) -> None:
    for zone in ("intel-rapl:0", "intel-rapl:0:0"):
        (tmp_path / zone).mkdir()
        (tmp_path / zone / "energy_uj").write_text(content)
    assert rapl.look(tmp_path) == rapl.Rapl(1, readable=readable)
    assert cpu_finding(rapl.look(tmp_path))["status"] == ("ok" if readable else "warn")


def test_no_rapl_means_modelled_cpu_energy(tmp_path: Path) -> None:
    assert "modelled" in cpu_finding(rapl.look(tmp_path))["detail"]
