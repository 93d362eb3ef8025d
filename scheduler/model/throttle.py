"""How fast and how hungry GPUs are under a power limit, as measured: for jobs that declare no curve of their own.

Medians over 45 to 68 training configurations per GPU model, from the traces of You et al., "Zeus: Understanding and
Optimizing GPU Energy Consumption of DNN Training" (NSDI 2023; Apache-2.0). Power is relative throughput times
relative energy per epoch. No limit below about half is listed: there the energy per epoch rises again (an A40 at 33 %
needs 1.39 times as much).
"""

from dataclasses import replace

from lowtide.scheduler.model.mode import Mode

Point = tuple[float, float, float]
"""Limit as a share of the full one; throughput and energy per epoch relative to those without a limit."""

USUAL = "v100"

CURVES: dict[str, tuple[Point, ...]] = {
    "v100": ((0.5, 0.853, 0.796), (0.6, 0.899, 0.806), (0.7, 0.941, 0.845), (0.8, 0.965, 0.897), (0.9, 0.987, 0.954)),
    "p100": ((0.5, 0.944, 0.874), (0.6, 0.965, 0.935), (0.7, 0.984, 0.929), (0.8, 0.995, 0.956)),
    "rtx6000": ((0.58, 0.909, 0.778), (0.67, 0.951, 0.823), (0.77, 0.971, 0.871), (0.87, 0.982, 0.929)),
    "a40": ((0.58, 0.929, 0.839), (0.67, 0.956, 0.866), (0.75, 0.985, 0.936), (0.83, 0.989, 0.956)),
}


def throttled(mode: Mode, gpu_model: str = USUAL) -> tuple[Mode, ...]:
    """A mode and the same under each measured power limit.

    Args:
        mode: without a limit.
        gpu_model: as a site names it, in any case and with any blanks; one that was not measured counts as a V100.

    """
    name = "".join(gpu_model.lower().split())
    curve = next((points for model, points in CURVES.items() if model in name), CURVES[USUAL])
    return (mode, *(_limited(mode, *point) for point in curve))


def _limited(mode: Mode, fraction: float, throughput: float, energy: float) -> Mode:
    speed, power_w = mode.speed * throughput, mode.power_w * throughput * energy
    return replace(mode, speed=speed, power_w=power_w, power_fraction=fraction)
