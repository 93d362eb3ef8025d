"""What is right and wrong with this installation, each finding with what to do."""

import asyncio
import contextlib
import shutil
from collections import Counter
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from lowtide.connectors.power import nvml, rapl
from lowtide.scheduler.control.clock import JUMP_S, Clock
from lowtide.scheduler.control.gridwatch import GridWatch
from lowtide.scheduler.control.sites import SiteRuntime
from lowtide.scheduler.report.shape import Json
from lowtide.scheduler.settings import Settings

LOW_DISK_GIB = 2.0
GIB = 1 << 30
LOOK_S = 10.0
"""Doctor answers within the patience of its caller, also where a cluster does not."""


def _finding(name: str, status: str, detail: str, fix: str = "") -> Json:
    return {"check": name, "status": status, "detail": detail, "fix": fix}


async def findings(
    settings: Settings, sites: dict[str, SiteRuntime], grid: GridWatch, clock: Clock, live_at: Iterable[str] = ()
) -> list[Json]:
    """All checks: ``status`` is ok, warn or fail. ``live_at`` names the site of each live attempt."""
    told = [_finding("lowtide", "ok", f"version {version('lowtide')}"), _disk(settings.data_dir), _clock(clock)]
    looked = await asyncio.gather(*(_site(runtime) for runtime in sites.values()))
    for runtime, finding in zip(sites.values(), looked, strict=True):
        told += [finding, _zone(runtime, grid)]
    told += [_removed(name, count) for name, count in sorted(Counter(live_at).items()) if name not in sites]
    return [*told, gpu_finding(nvml.read()), cpu_finding(rapl.look())]


def _disk(data_dir: Path) -> Json:
    free_gib = shutil.disk_usage(data_dir).free / GIB
    detail = f"{data_dir} has {free_gib:.1f} GiB free"
    if free_gib < LOW_DISK_GIB:
        return _finding("data directory", "warn", detail, "Free space: a full disk refuses submissions.")
    return _finding("data directory", "ok", detail)


def _clock(clock: Clock) -> Json:
    now = clock.now()
    if clock.jumped_back_s >= JUMP_S:
        lead = f"is still {clock.ahead_s:.0f} s ahead and waits for it" if clock.ahead_s else "has met it again"
        detail = f"the machine's clock jumped back by {clock.jumped_back_s:.0f} s; lowtide's went on and {lead}"
        return _finding("clock", "warn", detail, "Run a time service such as chrony, and see that its time is right.")
    note = "" if clock.rate == 1 else f" (time-lapse: 1 s = {clock.rate:.0f} s)"
    return _finding("clock", "ok", f"{now:%Y-%m-%d %H:%M:%S} UTC{note}")


async def _site(runtime: SiteRuntime) -> Json:
    name, trouble = f"site {runtime.site.name}", f"it has not answered for {LOOK_S:.0f} s"
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LOOK_S):
            found = await runtime.look()
        if found:
            site = runtime.site
            return _finding(name, "ok", f"Ray {runtime.ray_version}, {site.gpus} GPU(s), {site.cpus} CPU(s)")
        trouble = runtime.trouble
    return _finding(name, "fail", trouble, "Is the cluster up, and is its token right?")


def _removed(name: str, count: int) -> Json:
    detail = f"{count} attempt(s) were started at site {name}, which is not in the settings any more"
    return _finding(f"site {name}", "fail", detail, "Add the site again, or cancel their jobs.")


def limit_finding(site: str, why: str) -> Json:
    """A site where no power limit could be set within the last day."""
    detail = f"no power limit could be set ({why}); for a day its jobs are planned without"
    return _finding(
        f"power limits of {site}", "warn", detail, "Setting them needs root on the node, and an NVIDIA GPU."
    )


def _zone(runtime: SiteRuntime, grid: GridWatch) -> Json:
    name = f"grid of {runtime.site.name}"
    state = grid.zones.get(runtime.site.zone)
    if state is None:
        return _finding(name, "warn", "no zone: its jobs run carbon-blind, at once", "Set the site's 'zone'.")
    region = f" for {runtime.settings.region}" if runtime.settings.region else ""
    zone = f"zone {state.zone}{region} from {state.source or 'no source'}"
    if state.trouble:
        trouble = state.trouble.removeprefix(f"{state.source}: ")
        return _finding(name, "warn", f"{zone}: {trouble}", "Jobs go on with the next best data meanwhile.")
    series = state.forecast or state.actual
    if series is None:
        return _finding(name, "warn", f"{zone}: nothing has come yet")
    return _finding(name, "ok", f"{zone} ({series.signal}, {series.basis}, {series.accounting})")


def gpu_finding(found: nvml.Gpus) -> Json:
    """What NVML says of this machine's GPUs."""
    if not found.gpus:
        why = found.absence or "NVML sees none"
        detail = f"no NVIDIA GPU can be read here ({why}); GPU energy is measured on the nodes that have one"
        return _finding("gpu energy", "ok", detail)
    without = [gpu.uuid for gpu in found.gpus if not gpu.has_energy_counter]
    if without:
        detail = f"GPU {', '.join(without)} has no energy counter (it came with Volta)"
        return _finding("gpu energy", "warn", detail, "Declare power_w for jobs on it.")
    names = ", ".join(sorted({gpu.name for gpu in found.gpus}))
    return _finding("gpu energy", "ok", f"{len(found.gpus)} GPU(s) with an energy counter: {names}")


def cpu_finding(found: rapl.Rapl) -> Json:
    """Whether CPU energy can be measured here."""
    if not found.packages:
        return _finding("cpu energy", "ok", "no RAPL here: CPU energy is modelled from CPU time")
    if not found.readable:
        fix = "Give the jobs' user read access to /sys/class/powercap/*/energy_uj to measure it."
        return _finding("cpu energy", "warn", "RAPL is there but not readable: CPU energy is modelled", fix)
    return _finding("cpu energy", "ok", f"{found.packages} RAPL package(s) can be read")
