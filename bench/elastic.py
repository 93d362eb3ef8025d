"""How near elastic plans come to the least that could be emitted, on measured profiles and intensities.

A job of 24 h of work for one worker starts at random hours and must end within 24 or 48 h. What our policy plans is
compared with the linear program over all modes and hours, and with the published greedy rule, which adds one worker
at a time where the marginal throughput per marginal gram is greatest. The inputs (a folder with
``profiles/scaling.json`` and ``intensity/DE_2022.csv``, ``GB_2022.csv``) are not shipped.
"""

import csv
import heapq
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import linprog

from lowtide.policies.balanced import Balanced
from lowtide.policies.elastic import Elastic
from lowtide.policies.problem import Placement, Policy, Prices, Problem, Request, SlotGrid
from lowtide.policies.timeline import Timeline
from lowtide.scheduler.model.mode import Mode
from lowtide.scheduler.model.units import S_PER_H, kwh_per_s

DATA = Path(os.environ.get("LOWTIDE_BENCH", Path(__file__).resolve().parents[2] / "shared" / "bench"))
FloatArray = NDArray[np.float64]
ZONES, WINDOWS_H, STARTS, SEED = ("DE", "GB"), (24, 48), 300, 20221019
WORK_H = 24
EPOCH = datetime(2022, 1, 1, tzinfo=UTC)
GOAL = 0.005


@dataclass(frozen=True)
class Losses:
    """Emissions above the optimum, as shares of it, by start."""

    ours: FloatArray
    balanced: FloatArray
    greedy: FloatArray


def bench_elastic(_folder: Path, row: Callable[..., None]) -> None:
    """The largest and the mean loss against the optimum, by model, window and zone."""
    print(f"Elastic plans of {WORK_H} h of one-worker work against the linear program, {STARTS} starts each")
    if not DATA.is_dir():
        row("left out", "no inputs", f"set LOWTIDE_BENCH to the folder of the inputs; there is none at {DATA}")
        return
    for model, modes in profiles().items():
        for hours in WINDOWS_H:
            for zone in ZONES:
                found = losses(modes, intensity_of(zone), hours)
                figures = f"mean {round(found.ours.mean(), 9) + 0.0:.4%}; balanced: {found.balanced.max():.4%}; "
                figures += f"greedy: mean {found.greedy.mean():.2%}, "
                figures += f"largest {found.greedy.max():.2%}; goal <= {GOAL:.1%}"
                row(f"{model}, {zone}, within {hours} h: largest loss", f"{found.ours.max():.4%}", figures)


def profiles() -> dict[str, tuple[Mode, ...]]:
    """The modes of each model, one for each number of workers."""
    told = json.loads((DATA / "profiles" / "scaling.json").read_text())
    return {
        model: tuple(
            Mode(workers, 0, speed, power_w)
            for workers, speed, power_w in zip(
                told[model]["workers"], told[model]["relative_throughput"], told[model]["power_w"], strict=True
            )
        )
        for model in told
    }


def intensity_of(zone: str) -> FloatArray:
    """g/kWh by hour of the year."""
    with (DATA / "intensity" / f"{zone}_2022.csv").open() as file:
        return np.array([float(line["g_per_kwh"]) for line in csv.DictReader(file)])


def losses(modes: tuple[Mode, ...], intensity: FloatArray, hours: int) -> Losses:
    """Our policies and the greedy rule against the optimum, at the same random starts for every model and zone."""
    starts = np.random.default_rng(SEED).choice(len(intensity) - hours, STARTS, replace=False)
    ours, balanced, greedy = [], [], []
    for start in starts.tolist():
        price = intensity[start : start + hours]
        least = optimum_g(modes, price)
        ours.append(_planned_g(Elastic(), modes, price) / least - 1)
        balanced.append(_planned_g(Balanced(), modes, price) / least - 1)
        greedy.append(greedy_g(modes, price) / least - 1)
    return Losses(np.array(ours), np.array(balanced), np.array(greedy))


def _planned_g(policy: Policy, modes: tuple[Mode, ...], price: FloatArray) -> float:
    """What a policy's plan emits, counted here from its spans and their modes."""
    (choice,) = policy.plan(_problem(modes, price))
    placed = choice.chosen
    assert placed is not None
    done_h = sum((b - a) / S_PER_H * modes[m].speed for (a, b), m in _parts(placed))
    assert abs(done_h - WORK_H) < 1e-6, done_h
    assert placed.end_s <= len(price) * S_PER_H + 1e-6
    return sum(_grams(price, a, b, modes[m].power_w) for (a, b), m in _parts(placed))


def _parts(placed: Placement) -> list[tuple[tuple[float, float], int]]:
    return list(zip(placed.spans, placed.modes or (0,) * len(placed.spans), strict=True))


def _grams(price: FloatArray, begin_s: float, end_s: float, power_w: float) -> float:
    edges_s = np.arange(len(price) + 1) * S_PER_H
    inside_s = np.clip(np.minimum(edges_s[1:], end_s) - np.maximum(edges_s[:-1], begin_s), 0.0, None)
    return float(inside_s @ price) * kwh_per_s(power_w)


def _problem(modes: tuple[Mode, ...], price: FloatArray) -> Problem:
    """One job that knows the prices until it must end; pauses and changes of width are free."""
    window_s, one = len(price) * S_PER_H, modes[0]
    fastest = max(mode.speed for mode in modes)
    request = Request(
        job_id="elastic",
        gpus=one.gpus,
        cpus=one.cpus,
        sites=(0,),
        work_s=WORK_H * S_PER_H,
        resume_s=0.0,
        switch_s=0.0,
        power_w=one.power_w,
        release_s=0.0,
        latest_start_s=window_s - WORK_H * S_PER_H / fastest,
        must_end_s=window_s,
        suspensions_left=len(price),
        min_run_s=0.0,
        min_savings=0.0,
        z=0.0,
        modes=modes,
    )
    grid = SlotGrid.covering(EPOCH, S_PER_H, window_s)
    row, free = price[None, :], np.full((1, grid.count), modes[-1].gpus)
    prices = Prices(grid, row, np.zeros_like(row), np.array([window_s]), np.array([True]), ("one",))
    return Problem((request,), prices, Timeline(free, free.copy(), grid.slot_at, grid.slots_until))


def optimum_g(modes: tuple[Mode, ...], price: FloatArray) -> float:
    """The linear program: hours of each mode in each hour."""
    count, hours = len(modes), len(price)
    power_kw = np.array([kwh_per_s(mode.power_w) * S_PER_H for mode in modes])
    speed = np.array([mode.speed for mode in modes])
    found = linprog(
        np.outer(price, power_kw).ravel(),
        A_ub=sparse.kron(sparse.eye(hours), np.ones((1, count)), format="csr"),
        b_ub=np.ones(hours),
        A_eq=np.tile(speed, hours)[None, :],
        b_eq=[WORK_H],
        method="highs",
    )
    assert found.status == 0, found.message
    return float(found.fun)


def greedy_g(modes: tuple[Mode, ...], price: FloatArray) -> float:
    """The published rule: the next worker goes where its marginal throughput per marginal gram is greatest."""
    points = [(0.0, 0.0), *((mode.speed, mode.power_w) for mode in modes)]
    gains = [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(points)]
    queue = [(-gains[0][0] / (gains[0][1] * g), hour, 0) for hour, g in enumerate(price.tolist())]
    heapq.heapify(queue)
    done_h, emitted_g = 0.0, 0.0
    while done_h < WORK_H:
        _, hour, worker = heapq.heappop(queue)
        speed, power_w = gains[worker]
        part = min(1.0, (WORK_H - done_h) / speed)
        done_h += part * speed
        emitted_g += part * kwh_per_s(power_w) * S_PER_H * float(price[hour])
        if worker + 1 < len(gains):
            speed, power_w = gains[worker + 1]
            heapq.heappush(queue, (-speed / (power_w * float(price[hour])), hour, worker + 1))
    return emitted_g
