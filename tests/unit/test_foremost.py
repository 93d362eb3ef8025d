"""A job that would have to pause for clinical work begins only where it could as well go on beside it."""

from dataclasses import replace

import pytest

from lowtide.policies.problem import Choice, Placement
from lowtide.scheduler.decide.decide import decide
from lowtide.scheduler.decide.foremost import Foremost
from lowtide.scheduler.decide.registry import policy_names
from lowtide.scheduler.model.job import JobId, Urgency
from lowtide.scheduler.model.plan import Action, JobView, Snapshot
from tests.builders import HOUR_S, a_dip, a_forecast, a_job_view, a_queue, a_site, a_site_view, a_snapshot, some_modes
from tests.problems import a_problem, a_request
from tests.small import Small, played, starts

CLINICAL = Urgency.CLINICAL


@pytest.mark.parametrize("policy", ["lowest_slots", "threshold", "double_threshold", "elastic"])
def test_clinical_work_does_not_wait_for_a_pause_that_a_later_plan_forgets(policy: str) -> None:
    first, wide = Small(4, 4, 1, may_pause=False, urgency=CLINICAL), Small(1, 1, 2, may_pause=False, urgency=CLINICAL)
    between, pausing = Small(1, 1, 1, may_pause=False), Small(4, 6, 1)
    found = starts(played((first, wide, between, pausing), 2, [0.0, 0.0, 50.0], policy))
    assert found == {"job-0": 0.0, "job-1": 4.0, "job-2": 0.0, "job-3": 5.0}


def test_neither_does_clinical_work_that_was_planned_before() -> None:
    blocking = a_job_view("blocking", hours=1, running_h=1.0)
    clinical = a_job_view("clinical", gpus=2, hours=1, urgency=CLINICAL)
    pausing = a_job_view("pausing", hours=1.5, finish_in_h=4, suspendable=True)
    prices = a_forecast([50.0] * 4 + [300.0] * 4 + [50.0] * 2 + [300.0] * 182)
    queue = a_queue(policy="lowest_slots", switch_cost_s=0.0, min_run_s=900.0, deadline_margin=0.0)
    sites = [a_site_view(a_site(gpus=2), used_gpus=1, used_cpus=1)]

    first = a_snapshot(blocking, clinical, queues=[queue], forecasts=[prices], sites=sites)
    promised = {one.job_id: one for one in decide(first).decisions}
    kept = tuple(replace(view, decided=promised[view.job_id]) for view in first.jobs)
    found = decide(replace(first, jobs=(*kept, pausing), asked=frozenset({JobId("pausing")})))
    assert found.decisions[-1].action is Action.WAIT, "it would have to pause where the clinical job is to start"


def test_a_wide_stretch_before_clinical_work_is_begun_only_where_it_could_go_on_as_wide() -> None:
    wide = some_modes((1.0, 300.0), (2.0, 600.0), (3.0, 900.0), (4.0, 1200.0))
    pausing, clinical = a_request("pausing", hours=12.0, modes=wide), a_request("clinical", gpus=4, is_foremost=True)
    problem = a_problem([[100.0] * 96], pausing, clinical, gpus=6)
    foremost = Foremost(problem.timeline, is_kept=False)
    then = Placement(0, ((2 * HOUR_S, 3 * HOUR_S),), 100.0)
    foremost.add(clinical, Choice(then, then))

    def around(mode: int, hours: float) -> Placement:
        return Placement(0, ((0.0, HOUR_S), (3 * HOUR_S, (2 + hours) * HOUR_S)), 100.0, (mode, mode))

    assert foremost.allows(pausing, around(1, 6.0)), "two GPUs are free beside it"
    assert not foremost.allows(pausing, around(3, 3.0)), "four are not, and going on takes three hours"


@pytest.mark.parametrize("policy", policy_names())
@pytest.mark.parametrize("urgent", [{"urgency": Urgency.CLINICAL}, {"forced": True}], ids=["clinical", "run now"])
def test_what_comes_in_alone_is_not_placed_behind_work_that_waits_for_clean_hours(
    policy: str, urgent: dict[str, object]
) -> None:
    def shot(*views: JobView) -> Snapshot:
        queues = [a_queue(policy=policy, switch_cost_s=0.0)]
        return a_snapshot(*views, sites=[a_site_view(a_site(gpus=1))], queues=queues, forecasts=[a_forecast(a_dip())])

    waits = a_job_view("a", hours=2)
    kept = replace(waits, decided=decide(shot(waits)).decisions[0])
    new = a_job_view("b", hours=5, **urgent)  # type: ignore[arg-type]  # any field of a view
    plan = decide(replace(shot(kept, new), asked=frozenset({new.job_id})))
    if kept.decided is not None and kept.decided.action is Action.WAIT:
        assert plan.decisions[1].action is Action.START
