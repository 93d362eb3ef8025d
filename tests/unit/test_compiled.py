"""What is compiled is ready before it is needed, wherever it runs."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import pytest

from lowtide.policies import compiled

ROOT = Path(__file__).resolve().parent.parent.parent

PLANS = """
from datetime import timedelta
from lowtide.policies import scarcity, stretches, windows
from lowtide.policies.warm import warm
from lowtide.scheduler.decide.decide import decide
from lowtide.scheduler.model.mode import Mode
from tests.builders import NOON, a_dip, a_forecast, a_job_view, a_queue, a_site, a_site_view, a_snapshot

FUNCTIONS = (stretches.cheapest_stretches, stretches.soonest_stretches, stretches.stretches_of)
FUNCTIONS += (scarcity._answer,)
FUNCTIONS += (windows.earliest_window, windows.window_costs, windows.cheapest_window)
MODES = (Mode(1, 4, 1.0, 300.0), Mode(2, 8, 1.7, 560.0))
warm()
ready = [len(f.signatures) for f in FUNCTIONS]
sites = [a_site_view(a_site(name, zone=name, gpus=2)) for name in ("north", "south")]
forecasts = [a_forecast(a_dip(), zone="north"), a_forecast([90.0, 40.0] * 96, zone="south")]
for policy in ("asap", "balanced", "elastic", "lowest_slots", "lowest_window", "threshold"):
    jobs = [
        a_job_view(
            f"j{n}", hours=2, patience_h=n, suspendable=n % 2 == 0, allowed_sites=("north", "south"),
            not_before=NOON + timedelta(minutes=20) if n > 4 else None,
            modes=MODES if policy in {"elastic", "balanced"} else (),
        )
        for n in range(8)
    ]
    jobs.append(a_job_view("runs", site="north", hours=3, running_h=1, suspendable=True))
    decide(a_snapshot(*jobs, sites=sites, queues=[a_queue(policy=policy)], forecasts=forecasts))
assert [len(f.signatures) for f in FUNCTIONS] == ready == [1] * len(FUNCTIONS), "something was compiled for a plan"
"""


def test_no_plan_waits_for_a_compiler() -> None:
    done = subprocess.run([sys.executable, "-c", PLANS], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_code_is_compiled_even_where_it_cannot_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(*args: Any, **options: Any) -> Any:
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return numba.njit(*args, **options)

    monkeypatch.setattr(compiled, "njit", refusing)
    assert compiled.compiled(lambda slot: slot + 1)(2) == 3
