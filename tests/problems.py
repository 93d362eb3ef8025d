"""Problems for policies, without a snapshot: prices by slot, free capacity by site, requests."""

from collections.abc import Sequence

import numpy as np

from lowtide.policies.problem import Placement, Prices, Problem, Request, SlotGrid
from lowtide.policies.timeline import Timeline
from tests.builders import HOUR_S, NOON, SLOT_S


def a_request(
    job_id: str = "job-1", *, hours: float = 2.0, window_h: float = 12.0, resume_s: float = 0.0, **changes: object
) -> Request:
    """One GPU of 300 W at the one site; may be paused at will and for free, and trusts the forecast."""
    usual: dict[str, object] = {
        "gpus": 1,
        "cpus": 1,
        "sites": (0,),
        "resume_s": resume_s,
        "switch_s": 0.0,
        "power_w": 300.0,
        "release_s": 0.0,
        "latest_start_s": (window_h - hours) * HOUR_S - resume_s,
        "must_end_s": window_h * HOUR_S,
        "suspensions_left": 1000,
        "min_run_s": 0.0,
        "min_savings": 0.0,
        "z": 0.0,
    }
    return Request(job_id=job_id, work_s=hours * HOUR_S, **(usual | changes))  # type: ignore[arg-type]  # any field


def a_problem(
    prices: Sequence[Sequence[float]],
    *requests: Request,
    gpus: int = 8,
    cpus: int = 64,
    errors: float = 0.0,
    slot_s: float = SLOT_S,
) -> Problem:
    """Sites with these prices, all forecast, in slots from now on."""
    row = np.array(prices, dtype=np.float64)
    grid = SlotGrid.covering(NOON, slot_s, row.shape[1] * slot_s)
    known_s = np.full(len(row), row.shape[1] * slot_s)
    sure = np.ones(len(row), dtype=np.bool_)
    told = Prices(grid, row, np.full_like(row, errors), known_s, sure, ("one kind",) * len(row))
    free = np.ones(row.shape, dtype=np.int64)
    return Problem(requests, told, Timeline(free * gpus, free * cpus, grid.slot_at, grid.slots_until))


def hours(placed: Placement) -> list[tuple[float, float]]:
    """The spans in hours after now."""
    return [(start_s / HOUR_S, end_s / HOUR_S) for start_s, end_s in placed.spans]
