"""How fast and how hungry GPUs are under a power limit: as a job declares, or as was measured.

Medians over 45 to 68 training configurations per GPU model, from the traces of You et al., "Zeus: Understanding and
Optimizing GPU Energy Consumption of DNN Training" (NSDI 2023; Apache-2.0). Power is relative throughput times
relative energy per epoch. No limit below about half is listed: there the energy per epoch rises again (an A40 at 33 %
needs 1.39 times as much).
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from lowtide.scheduler.model.mode import Mode

POWER_HELP = (
    "write {max_slowdown: 10%}, or power limits and throughput as shares of the full ones: {0.8: 0.97, 0.6: 0.9}"
)
LEAST_FRACTION = 0.1
MOST_LIMITS = 16
"""More are a generated mistake."""

Point = tuple[float, float, float]
"""Limit as a share of the full one; throughput and energy per epoch relative to those without a limit."""

USUAL = "v100"

CURVES: dict[str, tuple[Point, ...]] = {
    "v100": ((0.5, 0.853, 0.796), (0.6, 0.899, 0.806), (0.7, 0.941, 0.845), (0.8, 0.965, 0.897), (0.9, 0.987, 0.954)),
    "p100": ((0.5, 0.944, 0.874), (0.6, 0.965, 0.935), (0.7, 0.984, 0.929), (0.8, 0.995, 0.956)),
    "rtx6000": ((0.58, 0.909, 0.778), (0.67, 0.951, 0.823), (0.77, 0.971, 0.871), (0.87, 0.982, 0.929)),
    "a40": ((0.58, 0.929, 0.839), (0.67, 0.956, 0.866), (0.75, 0.985, 0.936), (0.83, 0.989, 0.956)),
}


def curve_of(gpu_model: str) -> tuple[Point, ...]:
    """The measured points of a GPU model as a site names it, in any case and with any blanks.

    One that was not measured counts as a V100.
    """
    name = "".join(gpu_model.lower().split())
    return next((points for model, points in CURVES.items() if model in name), CURVES[USUAL])


def throttled(mode: Mode, gpu_model: str = USUAL) -> tuple[Mode, ...]:
    """A mode, which is without a limit, and the same under each measured one."""
    return limited(mode, curve_of(gpu_model))


def limited(mode: Mode, curve: Iterable[Point]) -> tuple[Mode, ...]:
    """A mode, which is without a limit, and the same under each limit of a curve."""
    return (mode, *(_limited(mode, *point) for point in curve))


def _limited(mode: Mode, fraction: float, throughput: float, energy: float) -> Mode:
    speed, power_w = mode.speed * throughput, mode.power_w * throughput * energy
    return replace(mode, speed=speed, power_w=power_w, power_fraction=fraction)


Allowed = float | tuple[Point, ...]
"""What a job allows: the most that it may be slowed down, as a share of its run time, or a curve of its own."""


def allowed(value: object) -> Allowed:
    """What a job file says of power limits.

    Of a declared limit only the throughput is known; its GPUs are taken to draw all that they may.

    Raises:
        ValueError: anything else, or a figure out of range.

    """
    if not isinstance(value, Mapping) or not value or len(value) > MOST_LIMITS:
        message = f"{str(value)[:80]!r} names no power limits; {POWER_HELP}"
        raise ValueError(message)
    if "max_slowdown" in value:
        if len(value) > 1:
            message = f"has max_slowdown beside limits of its own; keep one: {POWER_HELP}"
            raise ValueError(message)
        return _share(value["max_slowdown"], least=0.0, most=1.0)
    points = sorted(_point(fraction, throughput) for fraction, throughput in value.items())
    if len({fraction for fraction, *_ in points}) < len(points):
        message = "names a power limit twice; give each once"
        raise ValueError(message)
    return tuple(points)


def within(what: Allowed, gpu_model: str | None) -> tuple[Point, ...]:
    """The curve that a job may be run along; of a measured one what keeps the slowdown that it allows."""
    if isinstance(what, tuple):
        return what
    return tuple(point for point in curve_of(gpu_model or USUAL) if 1 / point[1] <= 1 + what)


def _point(fraction: object, throughput: object) -> Point:
    limit = _share(fraction, least=LEAST_FRACTION, most=1.0)
    speed = _share(throughput, least=0.01, most=1.0)
    if limit == 1 and speed < 1:
        message = f"has a throughput of {speed:g} at full power, which is what 1.0 means; leave 1.0 out"
        raise ValueError(message)
    return limit, speed, limit / speed


def _share(value: object, *, least: float, most: float) -> float:
    """A share from a number, or from text such as ``10%`` or ``0.1``."""
    text = "" if isinstance(value, bool) else str(value).strip()
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not least <= share <= most:
        message = f"{text[:20]!r} is no share between {least:g} and {most:g}; {POWER_HELP}"
        raise ValueError(message)
    return share
