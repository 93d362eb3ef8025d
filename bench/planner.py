"""How long one plan takes: by jobs, by sites and by slots, for the default policy beside ``asap`` in the same run.

Jobs are drawn with a fixed seed: 1 to 8 GPUs, a few minutes to a day of work, 6, 24 or 48 h of patience, all of them
interruptible and free to run anywhere; the sites together hold the queue in about a day. Prices are hourly, a wave
over the day with another hour of it at each site.
"""

import math
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import plotext

from lowtide.policies.warm import warm
from lowtide.scheduler.control.daemon import keep_answering
from lowtide.scheduler.decide.decide import decide
from lowtide.scheduler.decide.market import market
from lowtide.scheduler.decide.standing import Standing
from lowtide.scheduler.model.job import JobId
from lowtide.scheduler.model.plan import Plan, Snapshot
from tests.builders import a_forecast, a_job_view, a_queue, a_site, a_site_view, a_snapshot

SEED, POLICIES = 7, ("asap", "lowest_window", "balanced")
JOBS, SITES, HOURS = 10_000, 10, 96
GOALS = {JOBS: "goal < 1 s", 100_000: "goal < 15 s"}
GPUS_PER_JOB, LEAST_GPUS, MEAN_LOAD = 0.35, 80, 0.5
MEBI = 1024
MORE = 100
TIMES = 10_000


def queue_of(jobs: int, sites: int, hours: int, policy: str) -> Snapshot:
    """A queue of so many jobs before so many sites, with prices for so many hours."""
    rng = np.random.default_rng(SEED)
    names, gpus = tuple(f"s{i}" for i in range(sites)), int(max(LEAST_GPUS, jobs * GPUS_PER_JOB) / sites)
    views = [
        a_job_view(
            f"j{i:06d}",
            gpus=int(rng.choice([1, 1, 1, 2, 4, 8])),
            hours=float(np.clip(rng.lognormal(0.7, 0.9), 0.1, 24)),
            patience_h=float(rng.choice([6, 24, 48])),
            allowed_sites=names,
            suspendable=True,
        )
        for i in range(jobs)
    ]
    day = 250 + 120 * np.sin(2 * np.pi * np.arange(24) / 24)
    noise = rng.normal(0, 15, (sites, hours))
    forecasts = [
        a_forecast(np.repeat(np.resize(np.roll(day, 5 * i), hours) + noise[i], 4).tolist(), zone=name)
        for i, name in enumerate(names)
    ]
    found = [a_site_view(a_site(name, zone=name, gpus=gpus, cpus=10**6)) for name in names]
    queues = [a_queue(policy=policy, switch_cost_s=0.0)]
    snapshot = a_snapshot(*views, sites=found, queues=queues, forecasts=forecasts)
    return replace(snapshot, inflow_gpus=MEAN_LOAD * gpus * sites, is_brief=True)


def timed(snapshot: Snapshot) -> tuple[Plan, float]:
    """A plan and the seconds that it took."""
    begun = time.perf_counter()
    plan = decide(snapshot)
    return plan, time.perf_counter() - begun


def bench_planner(_folder: Path, row: Callable[..., None]) -> None:
    """Whole plans, one more job, and growth."""
    warm()
    keep_answering()  # as the daemon sets it: collections look at what is new
    print(f"One plan; unless told otherwise {JOBS:,} jobs, {SITES} sites, {HOURS} h of 15-min slots")
    for policy in POLICIES:
        plan, took_s = timed(queue_of(JOBS, SITES, HOURS, policy))
        row(f"{policy}: all jobs", f"{took_s:.2f} s", GOALS[JOBS])
        more_s, ready_s = _one_more(queue_of(JOBS, SITES, HOURS, policy), plan)
        told = f"goal < 5 ms; once per plan {ready_s * 1000:.0f} ms to have it at hand"
        row(f"{policy}: one more job", f"{more_s * 1000:.2f} ms", told)
    _one_placement(row)
    for what, sizes in (
        ("jobs", (1000, 3000, 10_000, 30_000)),
        ("sites", (1, 3, 10, 30)),
        ("hours", (24, 48, 96, 168)),
    ):
        _draw(what, sizes, _growth(what, sizes, row))
    for policy in POLICIES:
        _, took_s = timed(queue_of(100_000, SITES, HOURS, policy))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEBI
        row(
            f"{policy}: 100,000 jobs", f"{took_s:.1f} s", f"{GOALS[100_000]}; peak memory {peak:,.0f} MiB, goal < 1,500"
        )


def _one_placement(row: Callable[..., None]) -> None:
    """Microseconds to add, resize and remove one placement, with and without a power budget at every site."""
    for what, budget_w in (("", None), (", power budgets", 1e6)):
        snapshot = queue_of(0, SITES, HOURS, "asap")
        sites = tuple(replace(v, site=replace(v.site, power_budget_w=budget_w)) for v in snapshot.sites)
        timeline, spans = market(replace(snapshot, sites=sites)).timeline, ((3600.0, 18_000.0),)
        begun = time.perf_counter()
        for _ in range(TIMES):
            timeline.sell(3, spans, 2, 8, 600.0)
            timeline.give_back(3, spans, 2, 8, 600.0)
            timeline.sell(3, spans, 4, 16, 1200.0)
            timeline.give_back(3, spans, 4, 16, 1200.0)
        each_us = (time.perf_counter() - begun) / TIMES * 1e6
        row(f"one placement added, resized, removed{what}", f"{each_us:.1f} us", "goal: microseconds")


def _growth(what: str, sizes: tuple[int, ...], row: Callable[..., None]) -> list[tuple[float, float]]:
    """Seconds by the size of one thing, the others as usual: of ``asap`` and of ``balanced``."""
    found = []
    for size in sizes:
        jobs, sites, hours = (size if what == name else usual for name, usual in _USUAL.items())
        _, base_s = timed(queue_of(jobs, sites, hours, "asap"))
        _, took_s = timed(queue_of(jobs, sites, hours, "balanced"))
        row(f"balanced: {size:,} {what}", f"{took_s:.2f} s", f"{took_s / base_s:.1f} x asap's {base_s:.2f} s")
        found.append((base_s, took_s))
    return found


def _draw(what: str, sizes: tuple[int, ...], found: list[tuple[float, float]]) -> None:
    """Both on a chart whose scales are logarithmic, so that what grows in proportion is a diagonal."""
    figure = plotext.figure
    figure.clear()
    figure.theme("colorless")
    figure.plot_size(76, 14)
    for number, marker in enumerate("ab"):
        taken_s = [math.log10(pair[number]) for pair in found]
        signal = figure.signal([math.log10(size) for size in sizes], taken_s, marker=marker)
        signal.lines()
        figure.draw(signal)
    figure.title(f"seconds by {what}: a is asap, b is balanced")
    figure.ruler("x").ticks([math.log10(size) for size in sizes], [f"{size:,}" for size in sizes])
    least_s, most_s = min(base_s for base_s, _ in found), max(took_s for _, took_s in found)
    seconds = [10.0**n for n in range(-4, 4) if least_s / 10 < 10.0**n < 10 * most_s]
    figure.ruler("y").ticks([math.log10(s) for s in seconds], [f"{s:g} s" for s in seconds])
    print(plotext.uncolorize(str(figure.build()).rstrip()))


_USUAL = {"jobs": 3000, "sites": SITES, "hours": HOURS}


def _one_more(snapshot: Snapshot, plan: Plan) -> tuple[float, float]:
    """Seconds of one more job's decision beside a plan that stands, and of going through that plan once before."""
    begun = time.perf_counter()
    standing = Standing(snapshot, plan)
    ready_s = time.perf_counter() - begun
    views = [replace(snapshot.jobs[i], job_id=JobId(f"one-more-{i}")) for i in range(MORE)]
    begun = time.perf_counter()
    answers = [standing.one_more(view) for view in views]
    if not all(answers):
        sys.exit("A job that the sites have room for could not be planned beside the others.")
    return (time.perf_counter() - begun) / MORE, ready_s
