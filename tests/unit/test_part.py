"""What is planned in parts: who has to be among the first, and that a part stays one."""

from dataclasses import replace

from lowtide.policies.asap import Asap
from lowtide.policies.problem import Choice, Problem
from lowtide.scheduler.decide.decide import decide
from lowtide.scheduler.decide.part import part
from lowtide.scheduler.model.job import JobId, Urgency
from lowtide.scheduler.model.plan import Action, JobView, Plan, Snapshot
from lowtide.scheduler.model.project import ProjectView
from lowtide.scheduler.model.reason import ReasonCode
from tests.builders import a_dip, a_forecast, a_job_view, a_queue, a_snapshot, a_spending

MOST = 10
QUEUE = a_queue(policy="balanced", deadline_margin=0.0, switch_cost_s=0.0)


def a_crowd(*views: JobView) -> Snapshot:
    """A hundred jobs that have less slack than those of a test."""
    crowd = [a_job_view(f"job-{n:03}", patience_h=5) for n in range(100)]
    return a_snapshot(*crowd, *views, queues=[QUEUE], forecasts=[a_forecast(a_dip(begin=40, slots=20))])


def unplanned(plan: Plan) -> int:
    return sum(one.reason.code is ReasonCode.NOT_YET_PLANNED for one in plan.decisions)


def started(plan: Plan) -> set[JobId]:
    return {one.job_id for one in plan.decisions if one.action is Action.START}


def test_inv_10_what_a_job_near_its_deadline_waits_for_is_in_the_first_part() -> None:
    last = a_job_view("test", finish_in_h=2.0, has_deadline=True, waits_for=(JobId("prep"),))
    plan = decide(part(a_crowd(a_job_view("prep"), last), {}, MOST))
    assert "prep" in started(plan)


def test_what_clinical_work_waits_for_is_in_the_first_part() -> None:
    scan = a_job_view("scan", urgency=Urgency.CLINICAL, waits_for=(JobId("prep"),))
    plan = decide(part(a_crowd(a_job_view("prep"), scan), {}, MOST))
    assert "prep" in started(plan)


def test_a_part_stays_one_where_a_chain_has_somebody_late() -> None:
    asked: list[int] = []

    class Counting:
        def plan(self, problem: Problem) -> tuple[Choice, ...]:
            asked.append(len(problem.requests))
            return Asap().plan(problem)

    late = a_job_view("test", finish_in_h=1.5, has_deadline=True, waits_for=(JobId("prep"),))
    shot = part(a_crowd(a_job_view("prep", patience_h=0), late), {}, MOST)
    decide(shot, lambda _name, _params: Counting())
    assert max(asked) <= MOST


def test_a_part_stays_one_where_all_jobs_have_a_budget() -> None:
    shot = a_crowd()
    jobs = tuple(replace(view, project="scans") for view in shot.jobs)
    own = {"scans": ProjectView("scans", (a_spending(0.0),))}
    plan = decide(part(replace(shot, jobs=jobs, projects=own), {}, MOST))
    assert unplanned(plan) == len(jobs) - MOST
