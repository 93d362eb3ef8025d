"""Random problems for policies, such as decide could pose them: small, crowded, with ties, holes and doubt."""

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import numpy as np
from hypothesis import strategies as st

from lowtide.policies.holding import ways
from lowtide.policies.problem import (
    EPSILON_S,
    FloatArray,
    IntArray,
    Placement,
    Prices,
    Problem,
    Request,
    SlotGrid,
)
from lowtide.policies.timeline import Common, Rows, Timeline, milliwatts
from lowtide.scheduler.model.difference import Difference
from lowtide.scheduler.model.mode import Mode
from tests.builders import HOUR_S, NOON, SLOT_S

MOST_SITES, MOST_REQUESTS = 3, 12
MOST_GPUS, MOST_CPUS = 4, 8
LONGEST_S = 6 * HOUR_S


@st.composite
def stretches(draw: st.DrawFn, count: int, values: st.SearchStrategy[float]) -> FloatArray:
    """[slot] values of a few levels, constant over stretches, so that many are equal."""
    cuts = sorted(draw(st.sets(st.integers(1, count), max_size=8)))
    levels = draw(st.lists(values, min_size=len(cuts) + 1, max_size=len(cuts) + 1))
    return np.repeat(np.array(levels), np.diff([0, *cuts, count]))


@st.composite
def prices_on(draw: st.DrawFn, grid: SlotGrid, sites: int) -> Prices:
    """What is told of some sites: how far ahead, how surely, and whether it may justify a delay."""
    levels = st.integers(0, 12).map(lambda n: 40.0 * n)
    price = np.array([draw(stretches(grid.count, levels)) for _ in range(sites)])
    doubt = st.sampled_from([0.0, 0.0, 20.0, 150.0])
    error = np.array([np.full(grid.count, draw(doubt)) for _ in range(sites)])
    whole = st.just(grid.count)
    known = [draw(st.one_of(whole, whole, st.integers(0, grid.count))) for _ in range(sites)]
    for site, count in enumerate(known):
        price[site, count:] = price[site, :count].mean() if count else 0.0
    told = np.array([draw(st.sampled_from([True, True, True, False])) for _ in range(sites)])
    together = st.sampled_from([None, None, Difference(15.0, 2 * HOUR_S)])
    return Prices(
        grid,
        price,
        error,
        np.array([grid.edges_s[count] for count in known]),
        told & (np.array(known) > 0),
        tuple(draw(st.sampled_from(["one kind", "one kind", "another"])) for _ in range(sites)),
        tuple(draw(together) for _ in range(sites)),
    )


@st.composite
def ways_to_run(draw: st.DrawFn, request: Request) -> tuple[Mode, ...]:
    """None, or as declared and up to three others: wider, narrower, at a lower power limit."""
    if draw(st.booleans()):
        return ()
    tenths = st.integers(3, 30).map(lambda n: n / 10)
    other = st.builds(
        lambda gpus, speed, draws, limit: Mode(gpus, request.cpus, speed, draws * request.power_w, limit),
        st.one_of(st.just(request.gpus), st.integers(1, MOST_GPUS)),
        tenths,
        tenths,
        st.sampled_from([1.0, 0.8, 0.6]),
    )
    return request.declared, *draw(st.lists(other, max_size=3))


@st.composite
def requests(draw: st.DrawFn, number: int, sites: int, *, is_joint: bool) -> Request:
    """One job that waits, was suspended or runs; joint policies alone hear of what is due or must run on."""
    is_running, slack_s = draw(st.sampled_from([False, False, True])), draw(st.integers(-4, 60)) * 600.0
    work_s = float(draw(st.one_of(st.sampled_from([1, 900, 1800, 3600]), st.integers(1, int(LONGEST_S)))))
    is_due = is_joint and not is_running and (slack_s <= SLOT_S or draw(st.sampled_from([True, False, False, False])))
    latest_start_s = slack_s if is_due else max(slack_s, SLOT_S + 1.0)
    switch_s, min_run_s = draw(st.sampled_from([0.0, 0.0, 120.0, 1800.0])), draw(st.sampled_from([0.0, 900.0, 2700.0]))
    is_resumed = is_running or draw(st.booleans())
    allowed = draw(st.lists(st.integers(0, sites - 1), min_size=1, max_size=1 if is_running else sites, unique=True))
    request = Request(
        job_id=f"job-{number}",
        gpus=draw(st.integers(0, MOST_GPUS)),
        cpus=draw(st.integers(0, 3)),
        sites=tuple(allowed),
        work_s=work_s,
        resume_s=switch_s if is_resumed else 0.0,
        switch_s=switch_s,
        power_w=300.0,
        release_s=0.0 if is_running else draw(st.sampled_from([0.0, 0.0, 0.0, 500.0, 2 * SLOT_S, 4000.0])),
        latest_start_s=latest_start_s,
        must_end_s=latest_start_s + work_s + switch_s,
        suspensions_left=draw(st.sampled_from([1, 2, 1000] if is_running else [0, 1, 2, 1000])),
        min_run_s=min_run_s,
        min_savings=draw(st.sampled_from([0.0, 0.01, 0.2])),
        z=draw(st.sampled_from([0.0, 0.25])),
        running_at=allowed[0] if is_running else None,
        pinned_s=draw(st.sampled_from([None, None, -100.0, 0.0, 1500.0, 2 * HOUR_S])),
        hold_s=draw(st.sampled_from([0.0, min_run_s / 3, min_run_s])) if is_running and is_joint else 0.0,
        is_due=is_due,
        importance=draw(st.sampled_from([0.0, 0.3, 1.0])),
    )
    return replace(request, modes=draw(ways_to_run(request)))


@st.composite
def commons(draw: st.DrawFn, sites: int, slots: int) -> Common | None:
    """Mostly nothing; else a power budget for all sites together, and the first two rows the same GPUs."""
    if draw(st.sampled_from([True, True, False])):
        return None
    alike = min(2, sites)
    twins: tuple[Rows, ...] = tuple(np.arange(alike) if site < alike else np.array([site]) for site in range(sites))
    watts = draw(stretches(slots, st.sampled_from([-100.0, 0.0, 300.0, 500.0, 2000.0])))
    free_mw = np.array([[milliwatts(w) for w in watts]] * sites)
    return Common(twins, (np.arange(sites),) * sites, free_mw)


@st.composite
def problems(draw: st.DrawFn, *, is_joint: bool) -> Problem:
    """Up to a dozen requests at up to three sites; running ones hold what they run on unless the policy is joint."""
    sites, now = draw(st.integers(1, MOST_SITES)), NOON + timedelta(seconds=draw(st.sampled_from([0, 1, 450, 899])))
    grid = SlotGrid.covering(now, SLOT_S, draw(st.integers(2, 96)) * SLOT_S)
    drawn = [draw(requests(n, sites, is_joint=is_joint)) for n in range(draw(st.integers(1, MOST_REQUESTS)))]
    asked = sorted(drawn, key=lambda request: (request.running_at is not None, request.latest_start_s))
    few = [draw(stretches(grid.count, st.integers(-1, MOST_GPUS))) for _ in range(sites)]
    cpus = [draw(stretches(grid.count, st.integers(0, MOST_CPUS))) for _ in range(sites)]
    common = draw(commons(sites, grid.count))
    free = np.array(few, dtype=np.int64), np.array(cpus, dtype=np.int64)
    if common is not None:
        for rows in free:
            rows[common.twins[0]] = rows[0]
    timeline = Timeline(*free, grid.slot_at, grid.slots_until, common)
    for request in asked:
        if request.running_at is not None and is_joint:  # it runs, so there is room for it besides all else
            timeline.give_back(request.running_at, ((0.0, request.work_s),), *request.need)
    inflow = draw(st.sampled_from([(), (0.5,) * sites, (3.0,) * sites]))
    return Problem(tuple(asked), draw(prices_on(grid, sites)), timeline, inflow, draw(st.booleans()))


def held(problem: Problem, request: Request, placed: Placement) -> IntArray:
    """[site, GPUs, CPUs or mW, slot] that a placement takes of the problem's capacity; whole slots, each once."""
    grid, mine = problem.grid, np.zeros((len(problem.prices.groups), 3, problem.grid.count), dtype=np.int64)
    common, site = problem.timeline.common, placed.site
    rows, kin = ([site], [site]) if common is None else (common.twins[site], common.kin[site])
    for (start_s, end_s), way in zip(placed.spans, ways(request, placed), strict=True):
        touched = slice(grid.slot_at(start_s), grid.slots_until(end_s))
        mine[rows, 0, touched] = np.maximum(mine[rows, 0, touched], way.gpus)
        mine[rows, 1, touched] = np.maximum(mine[rows, 1, touched], way.cpus)
        if common is not None:
            mine[kin, 2, touched] = np.maximum(mine[kin, 2, touched], milliwatts(way.power_w))
    return mine


def runs(placed: Placement) -> list[tuple[float, float]]:
    """The spans, with those that follow each other without a pause as one."""
    joined = [placed.spans[0]]
    for before, after in pairwise(placed.spans):
        if after[0] - before[1] > EPSILON_S:
            joined.append(after)
        else:
            joined[-1] = (joined[-1][0], after[1])
    return joined
