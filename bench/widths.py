"""How near the plan of a queue of elastic jobs comes to the least that could be emitted.

The first jobs of a trace, known in advance, may run on up to so many times the GPUs that they ask for, at the speed and
power of a measured profile. ``balanced`` is compared with ``elastic``, which serves job after job, with running all as
declared, and with the fluid linear program over all jobs, modes and hours. Late are jobs that end after their patience.
The inputs (a folder with ``jobs/pai_1k.csv``, ``profiles/scaling.json`` and ``intensity``) are not shipped.
"""

import csv
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bench.elastic import DATA, EPOCH, ZONES, FloatArray, intensity_of, profiles
from lowtide.policies.asap import Asap
from lowtide.policies.balanced import Balanced
from lowtide.policies.elastic import Elastic
from lowtide.policies.problem import Policy, Prices, Problem, Request, SlotGrid
from lowtide.policies.timeline import Timeline
from lowtide.scheduler.model.mode import Mode
from lowtide.scheduler.model.units import S_PER_H
from lowtide.scheduler.simulate.bound import Demand, bound_g

JOBS, START_H, SLOT_S, WIDEST = 200, 7000, 900.0, 4
CAPS = (None, 30, 20)
NO_LIMIT = 100_000
SPLIT_S, SHORT_S, LONG_S = 2 * S_PER_H, 6 * S_PER_H, 24 * S_PER_H
LATE_S = 1.0


@dataclass(frozen=True)
class Found:
    """What one plan comes to."""

    emitted_g: float
    late: int
    took_s: float


def bench_widths(_folder: Path, row: Callable[..., None]) -> None:
    """Emissions above the bound and late jobs by policy, profile, zone and number of GPUs."""
    print(f"One plan for {JOBS} elastic jobs, each up to {WIDEST} times as wide as it asks, against the linear program")
    if not DATA.is_dir():
        row("left out", "no inputs", f"set LOWTIDE_BENCH to the folder of the inputs; there is none at {DATA}")
        return
    for model, modes in profiles().items():
        for zone in ZONES:
            for gpus in CAPS:
                told = f"{model}, {zone}, {gpus or 'no limit of'} GPUs"
                _row(told, problem_of(modes[:WIDEST], intensity_of(zone), gpus), gpus, row)


def _row(told: str, problem: Problem, gpus: int | None, row: Callable[..., None]) -> None:
    least_g = least_of(problem, gpus)
    plain = replace(problem, requests=tuple(replace(request, modes=()) for request in problem.requests))
    found = {"balanced": planned(Balanced(), problem), "elastic": planned(Elastic(), problem)}
    found |= {"balanced as declared": planned(Balanced(), plain), "asap as declared": planned(Asap(), plain)}
    each = (f"{name} {f.emitted_g / least_g - 1:.2%}, late {f.late}, {f.took_s:.1f} s" for name, f in found.items())
    ours, *others = each
    row(f"{told}: over the bound", ours.removeprefix("balanced "), "; ".join(others))


def planned(policy: Policy, problem: Problem) -> Found:
    """What a policy plans."""
    begun = time.process_time()
    choices = policy.plan(problem)
    took_s = time.process_time() - begun
    placed = [(request, choice.chosen) for request, choice in zip(problem.requests, choices, strict=True)]
    late = sum(found is None or found.end_s > request.must_end_s + LATE_S for request, found in placed)
    return Found(math.fsum(math.nan if found is None else found.cost_g for _, found in placed), late, took_s)


def least_of(problem: Problem, gpus: int | None) -> float:
    """The bound in grams, by the hour."""
    price = problem.prices.price_g_per_kwh[:, :-1:4]
    demands = [
        Demand(r.release_s, r.must_end_s, r.work_s, r.gpus, r.power_w, r.sites, r.modes) for r in problem.requests
    ]
    return bound_g(demands, price, S_PER_H, None if gpus is None else [gpus])


def problem_of(modes: tuple[Mode, ...], intensity: FloatArray, gpus: int | None) -> Problem:
    """The queue, the most urgent job first; pauses and changes of width are free."""
    with (DATA / "jobs" / "pai_1k.csv").open() as file:
        lines = [
            (float(line["arrival_time"]), float(line["length"]), int(line["cpus"])) for line in csv.DictReader(file)
        ]
    requests = [_request(number, *line, modes) for number, line in enumerate(lines[:JOBS])]
    requests.sort(key=lambda request: request.latest_start_s)
    hours = math.ceil(max(request.must_end_s for request in requests) / S_PER_H)
    grid = SlotGrid.covering(EPOCH, SLOT_S, hours * S_PER_H)
    price = np.repeat(intensity[START_H : START_H + hours], round(S_PER_H / SLOT_S))[None, :]
    free = np.full((1, grid.count), gpus or NO_LIMIT)
    prices = Prices(grid, price, np.zeros_like(price), grid.edges_s[-1:], np.array([True]), ("one",))
    cpus = np.full_like(free, NO_LIMIT)
    return Problem(tuple(requests), prices, Timeline(free, cpus, grid.slot_at, grid.slots_until), is_brief=True)


def _request(number: int, submit_s: float, run_s: float, gpus: int, modes: tuple[Mode, ...]) -> Request:
    patience_s = SHORT_S if run_s < SPLIT_S else LONG_S
    own = tuple(Mode(gpus * mode.gpus, 0, mode.speed, gpus * mode.power_w) for mode in modes)
    return Request(
        job_id=f"job-{number:03d}",
        gpus=gpus,
        cpus=0,
        sites=(0,),
        work_s=run_s,
        resume_s=0.0,
        switch_s=0.0,
        power_w=own[0].power_w,
        release_s=submit_s,
        latest_start_s=submit_s + patience_s,
        must_end_s=submit_s + patience_s + run_s,
        suspensions_left=1000,
        min_run_s=SLOT_S,
        min_savings=0.0,
        z=0.0,
        modes=own,
    )
