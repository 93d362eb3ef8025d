"""A stand-in for libnvidia-ml that real processes load: one GPU whose power limit is a number in a file."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

NAME = "libnvidia-ml.so.1"
FOUND_MW = 300_000
SOURCE = r"""
#include <stdio.h>
#include <stdlib.h>
typedef void *device;
int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, device *out) { *out = (device)1; return index ? 2 : 0; }
int nvmlDeviceGetUUID(device d, char *text, unsigned length) { snprintf(text, length, "GPU-a"); return 0; }
int nvmlDeviceGetTotalEnergyConsumption(device d, unsigned long long *mj) { *mj = 1; return 0; }
int nvmlDeviceGetPowerManagementLimitConstraints(device d, unsigned *least, unsigned *most) {
    *least = 100000;
    *most = 400000;
    return 0;
}
int nvmlDeviceGetPowerManagementLimit(device d, unsigned *mw) {
    FILE *file = fopen(getenv("FAKE_NVML_LIMIT"), "r");
    int found = file && fscanf(file, "%u", mw) == 1;
    if (file) fclose(file);
    return found ? 0 : 3;
}
int nvmlDeviceSetPowerManagementLimit(device d, unsigned mw) {
    if (getenv("FAKE_NVML_REFUSES")) return 4;
    FILE *file = fopen(getenv("FAKE_NVML_LIMIT"), "w");
    if (!file) return 4;
    fprintf(file, "%u", mw);
    fclose(file);
    return 0;
}
"""

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is needed to build the stand-in for NVML")


def a_library(folder: Path) -> dict[str, Any]:
    """Build it; the environment with which a process finds it, its GPU and its notes."""
    source, library = folder / "nvml.c", folder / NAME
    source.write_text(SOURCE)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
    limit = folder / "limit_mw"
    limit.write_text(str(FOUND_MW))
    found = {"LD_LIBRARY_PATH": str(folder), "FAKE_NVML_LIMIT": str(limit), "CUDA_VISIBLE_DEVICES": "0"}
    return {**found, "LOWTIDE_POWER_NOTES": str(folder / "notes")}


def limit_mw(environ: dict[str, Any]) -> int:
    """What the GPU is limited to now; 0 while it is being written."""
    return int(Path(environ["FAKE_NVML_LIMIT"]).read_text() or 0)
