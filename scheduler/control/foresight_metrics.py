"""What Prometheus reads about forecasts: how well they did so far, by zone, and which rung is in use."""

import math
from collections.abc import Iterator
from datetime import datetime

from prometheus_client.core import GaugeMetricFamily, Metric

from lowtide.scheduler.control.gridwatch import GridWatch
from lowtide.scheduler.forecast.bands import Band
from lowtide.scheduler.forecast.faults import FaultCode
from lowtide.scheduler.forecast.ladder import Rung


def families(grid: GridWatch, now: datetime, slot_s: float) -> Iterator[Metric]:
    """Figures that are not known yet are left out; rungs and faults are always present."""
    yield from _skill(grid)
    rung = GaugeMetricFamily(
        "lowtide_forecast_rung", "Whether decisions rest on this rung (1) or not (0).", labels=["zone", "rung"]
    )
    fault = GaugeMetricFamily(
        "lowtide_forecast_fault", "Whether the newest forecast has this fault (1) or not (0).", labels=["zone", "fault"]
    )
    for zone, found in grid.forecasts(now, slot_s).items():
        told = found.provenance.get("faults")
        present = {entry["code"] for entry in told} if isinstance(told, list) else set()
        for one in Rung:
            rung.add_metric([zone, one.value], int(found.rung == one))
        for code in FaultCode:
            fault.add_metric([zone, code.value], int(code.value in present))
    yield from (rung, fault)


def _skill(grid: GridWatch) -> Iterator[Metric]:
    coverage = GaugeMetricFamily(
        "lowtide_forecast_coverage_ratio",
        "Share of past actual figures that the 80 % band of their time held, by hours ahead.",
        labels=["zone", "lead"],
    )
    bias = GaugeMetricFamily(
        "lowtide_forecast_bias_grams_per_kwh",
        "Mean of forecast less actual so far in gCO2eq per kWh, by hours ahead.",
        labels=["zone", "lead"],
    )
    captured = GaugeMetricFamily(
        "lowtide_forecast_captured_ratio",
        "Share of the saving of perfect foresight that plans by the forecast would have had so far.",
        labels=["zone", "forecast"],
    )
    for zone, state in grid.foresight.zones.items():
        skill = state.learned.provided
        for group in skill.bands.groups:
            _add(coverage, [zone, _lead(group)], group.coverage)
            _add(bias, [zone, _lead(group)], group.bias_g)
        _add(captured, [zone, "corrected"], skill.captured)
        _add(captured, [zone, "provider"], skill.captured_raw)
        _add(captured, [zone, "own"], state.learned.own.captured)
        _add(captured, [zone, "climatology"], state.learned.climatology.captured)
    yield from (coverage, bias, captured)


def _lead(group: Band) -> str:
    return f"{group.until_h:g}h"


def _add(family: GaugeMetricFamily, labels: list[str], value: float) -> None:
    if not math.isnan(value):
        family.add_metric(labels, value)
