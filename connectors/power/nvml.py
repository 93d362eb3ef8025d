"""What NVML says of this machine's GPUs. Reads only; no GPU, no driver and no library are plain facts, not errors."""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pynvml


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU: its energy counter came with Volta; ``power_limit_w`` is None where it cannot be read."""

    uuid: str
    name: str
    has_energy_counter: bool
    power_limit_w: float | None


@dataclass(frozen=True, slots=True)
class Gpus:
    """All GPUs of this machine, or why there are none to be read."""

    gpus: tuple[Gpu, ...] = ()
    absence: str = ""


def read(nvml: ModuleType | Any = pynvml) -> Gpus:
    """Ask NVML once and let it go again."""
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return Gpus(absence=str(error))
    try:
        return Gpus(tuple(_gpu(nvml, index) for index in range(nvml.nvmlDeviceGetCount())))
    except nvml.NVMLError as error:
        return Gpus(absence=str(error))
    finally:
        nvml.nvmlShutdown()


def _gpu(nvml: Any, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    return Gpu(
        uuid=str(nvml.nvmlDeviceGetUUID(handle)),
        name=str(nvml.nvmlDeviceGetName(handle)),
        has_energy_counter=_try(nvml, lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle)) is not None,
        power_limit_w=_watts(_try(nvml, lambda: nvml.nvmlDeviceGetPowerManagementLimit(handle))),
    )


def _try(nvml: Any, ask: Any) -> int | None:
    try:
        value: int = ask()
    except nvml.NVMLError:
        return None
    return value


def _watts(milliwatts: int | None) -> float | None:
    return None if milliwatts is None else milliwatts / 1000
