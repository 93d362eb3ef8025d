"""Gets compiled code ready before anybody waits for a plan."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from lowtide.policies.offer import Offer
from lowtide.policies.pieces import cheapest_pieces, earliest_pieces
from lowtide.policies.problem import Prices, Problem, Request, SlotGrid
from lowtide.policies.scarcity import scarcity
from lowtide.policies.stretches import Asked, stretches_of
from lowtide.policies.timeline import Timeline


def warm() -> None:
    """Compile, or read from where it is kept, what a plan calls; the first time after an update takes some seconds."""
    grid = SlotGrid.covering(datetime(2026, 1, 1, tzinfo=UTC), 900.0, 7200.0)
    price = np.arange(1.0, grid.count + 1)[None]
    known_until_s = grid.edges_s[-1:]
    prices = Prices(grid, price, np.zeros_like(price), known_until_s, np.ones(1, dtype=np.bool_), ("one",))
    free = np.ones((1, grid.count), dtype=np.int64)
    timeline = Timeline(free, free.copy(), grid.slot_at, grid.slots_until)
    request = Request(
        job_id="none",
        gpus=1,
        cpus=1,
        sites=(0,),
        work_s=1800.0,
        resume_s=0.0,
        switch_s=60.0,
        power_w=1.0,
        release_s=0.0,
        latest_start_s=3600.0,
        must_end_s=5400.0,
        suspensions_left=1,
        min_run_s=900.0,
        min_savings=0.0,
        z=0.0,
    )
    offer = Offer(Problem((request,), prices, timeline), timeline, request)
    cheapest_pieces(offer)
    earliest_pieces(offer)
    offer.cheapest()
    scarcity(replace(offer.problem, requests=(replace(request, modes=(request.declared,)),)), 1.0)
    asked = Asked(request.length_s, 60.0, 0, 900.0, 900.0, 2)
    stretches_of(price[0], np.diff(grid.edges_s), free[0] > 0, asked)
