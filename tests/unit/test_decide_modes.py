"""Jobs that can run in several modes, as decide plans, tells and keeps them."""

from dataclasses import replace
from datetime import timedelta

import pytest

from lowtide.policies.holding import is_declared
from lowtide.policies.problem import Choice, Placement, Problem
from lowtide.scheduler.decide.decide import decide
from lowtide.scheduler.decide.explain import decision_to_dict
from lowtide.scheduler.model.job import Urgency
from lowtide.scheduler.model.mode import Mode
from lowtide.scheduler.model.plan import Action, Candidate, JobDecision, JobView, Segment, Snapshot
from lowtide.scheduler.model.reason import Reason, ReasonCode
from tests.builders import NOON, a_dip, a_forecast, a_job_view, a_queue, a_site, a_site_view, a_snapshot, some_modes
from tests.problems import a_request

LINEAR = some_modes((1.0, 300.0), (2.0, 600.0), (3.0, 900.0), (4.0, 1200.0))
LIMITED = (LINEAR[0], Mode(1, 1, 0.9, 220.0, power_fraction=0.6))
DIP = a_forecast(a_dip())
"""High now, low from 16:00 to 20:00."""


def queued(*views: JobView, policy: str = "elastic", gpus: int = 8, **changes: object) -> Snapshot:
    snapshot = a_snapshot(
        *views, queues=[a_queue(policy=policy)], forecasts=[DIP], sites=[a_site_view(a_site(gpus=gpus))]
    )
    return replace(snapshot, **changes)  # type: ignore[arg-type]  # any field of Snapshot


def an_elastic(job_id: str = "job-1", *, hours: float = 16.0, **changes: object) -> JobView:
    return a_job_view(job_id, hours=hours, modes=LINEAR, suspendable=True, **changes)  # type: ignore[arg-type]


def chosen(decision: JobDecision) -> Candidate:
    assert decision.chosen is not None
    return decision.chosen


def test_a_plan_tells_how_wide_each_stretch_is() -> None:
    (decision,) = decide(queued(an_elastic())).decisions
    assert decision.reason.code is ReasonCode.CARBON_WINDOW
    assert {segment.gpus for segment in chosen(decision).segments} == {4}
    told = decision_to_dict(decision)["candidates"]
    assert isinstance(told, list)
    assert next(c for c in told if c["chosen"])["segments"][0]["gpus"] == 4


def test_a_plan_tells_how_hard_each_stretch_is() -> None:
    prices = a_forecast([100.0] * 192)
    view = a_job_view(hours=4.0, modes=LIMITED)
    (decision,) = decide(replace(queued(view), forecasts={"GB": prices})).decisions
    assert [segment.power_fraction for segment in chosen(decision).segments] == [0.6]
    told = decision_to_dict(decision)["candidates"]
    assert isinstance(told, list)
    assert next(c for c in told if c["chosen"])["segments"][0]["power_fraction"] == 0.6


def test_what_is_kept_holds_as_much_as_its_modes_do() -> None:
    first = an_elastic("a")
    (decision,) = decide(queued(first, gpus=4)).decisions
    kept = replace(first, decided=decision)
    plan = decide(queued(kept, an_elastic("b"), gpus=4, asked=frozenset({"b"})))
    assert plan.decisions[0] is decision
    theirs = chosen(plan.decisions[1]).segments
    assert all(s.end <= o.start or o.end <= s.start for s in theirs for o in chosen(decision).segments)


def test_what_is_kept_gives_way_where_its_modes_do_not_fit_any_more() -> None:
    (decision,) = decide(queued(an_elastic("a"))).decisions
    plan = decide(queued(replace(an_elastic("a"), decided=decision), gpus=2, asked=frozenset()))
    assert max(segment.gpus for segment in chosen(plan.decisions[0]).segments) <= 2


def test_clinical_work_runs_at_once_and_as_it_was_declared() -> None:
    view = a_job_view(hours=4, modes=(*LINEAR, LIMITED[1]), suspendable=True, urgency=Urgency.CLINICAL)
    (decision,) = decide(queued(view)).decisions
    assert decision.action is Action.START
    assert [(s.gpus, s.power_fraction) for s in chosen(decision).segments] == [(1, 1.0)]


class Answering:
    """Runs in these hours of the day and modes."""

    def __init__(self, spans: tuple[tuple[float, float], ...], modes: tuple[int, ...]) -> None:
        self.spans, self.modes = tuple((3600 * (a - 12), 3600 * (b - 12)) for a, b in spans), modes

    def plan(self, problem: Problem) -> tuple[Choice, ...]:
        baseline = Placement(0, ((0.0, problem.requests[0].work_s),), 4800.0)
        wish = Placement(0, self.spans, 800.0, self.modes)
        return (Choice(baseline, wish, best=wish),)


def test_modes_that_do_the_work_in_time_are_believed() -> None:
    (decision,) = decide(queued(an_elastic()), find_policy=lambda *_: Answering(((16.0, 20.0),), (3,))).decisions
    assert decision.action is Action.WAIT
    assert [segment.gpus for segment in chosen(decision).segments] == [4]


def test_inv_07_modes_that_there_is_no_room_for_give_way_to_the_earliest_start() -> None:
    wide = Answering(((16.0, 20.0),), (3,))
    (decision,) = decide(queued(an_elastic(), gpus=3), find_policy=lambda *_: wide).decisions
    assert decision.action is Action.START


@pytest.mark.parametrize(
    ("spans", "modes"),
    [
        pytest.param(((16.0, 20.0),), (4,), id="a mode that it does not have"),
        pytest.param(((16.0, 20.0),), (-1,), id="a mode from the end of the list"),
        pytest.param(((16.0, 20.0),), (3, 3), id="more modes than spans"),
        pytest.param(((16.0, 20.0),), (2,), id="too little work"),
        pytest.param(((16.0, 18.5), (18.0, 20.5)), (3, 3), id="two stretches at once"),
        pytest.param(((16.0, 20.0),), ("wide",), id="no index"),
        pytest.param(((16.0, 60.0),), (0,), id="an end after the latest one"),
    ],
)
def test_modes_that_make_no_sense_give_way_to_the_earliest_start(
    spans: tuple[tuple[float, float], ...], modes: tuple[int, ...]
) -> None:
    (decision,) = decide(queued(an_elastic()), find_policy=lambda *_: Answering(spans, modes)).decisions
    assert decision.action is Action.START
    assert [segment.gpus for segment in chosen(decision).segments] == [1]


def test_a_start_within_the_current_slot_is_when_the_job_is_looked_at_again() -> None:
    class Late:
        def plan(self, problem: Problem) -> tuple[Choice, ...]:
            work_s = problem.requests[0].work_s
            now, later = Placement(0, ((0.0, work_s),), 2.0), Placement(0, ((300.0, 300.0 + work_s),), 1.0)
            return (Choice(now, later, best=later, saving_g=1.0),)

    (decision,) = decide(queued(a_job_view(hours=2)), find_policy=lambda *_: Late()).decisions
    assert decision.action is Action.WAIT
    assert decision.next_review_at == NOON + timedelta(seconds=300)


NARROW_TOO = (Mode(1, 1, 0.5, 150.0), Mode(4, 4, 1.0, 1200.0))


def a_wide_one(**changes: object) -> JobView:
    """Running with four GPUs, though half as fast with one would take a quarter of the energy."""
    usual = {"gpus": 4, "cpus": 4, "hours": 4.0, "power_w": 1200.0, "running_h": 1.0, "suspendable": True}
    return a_job_view(modes=NARROW_TOO, **(usual | changes))  # type: ignore[arg-type]  # any field of JobView


def flat(view: JobView, **changes: object) -> Snapshot:
    sites = (a_site_view(a_site(gpus=8), used_gpus=4, used_cpus=4),)
    return replace(queued(view, **changes), forecasts={"GB": a_forecast([100.0] * 192)}, sites=sites)  # type: ignore[arg-type]


def test_a_running_job_is_suspended_to_go_on_at_another_width_and_says_so() -> None:
    (decision,) = decide(flat(a_wide_one())).decisions
    assert (decision.action, decision.reason.code) == (Action.SUSPEND, ReasonCode.OTHER_WIDTH)
    assert decision.reason.sentence.startswith("goes on with 1 instead of 4 GPU(s) at ")


def test_inv10_a_wide_job_is_not_stopped_where_it_could_not_be_done_as_declared_in_time() -> None:
    late = a_wide_one(finish_in_h=10.0)
    assert decide(flat(replace(late, at_stake_s=0.0))).decisions[0].action is Action.SUSPEND
    (decision,) = decide(flat(replace(late, at_stake_s=0.0, declared_s=9.9 * 3600))).decisions
    assert (decision.action, decision.reason.code) == (Action.KEEP, ReasonCode.PROCESS_STARTED)


def test_a_kept_plan_of_two_widths_is_followed_from_one_to_the_other() -> None:
    view = replace(a_wide_one(), remaining_s=2 * 3600.0)
    site = "home"
    stretches = (
        Segment(site, "", NOON - timedelta(hours=1), NOON, 4),
        Segment(site, "", NOON, NOON + timedelta(hours=4), 1),
    )
    decided = JobDecision(
        view.job_id, Action.KEEP, Reason(ReasonCode.MODES_CHOSEN), NOON, (Candidate(stretches, 1.0, chosen=True),)
    )
    (decision,) = decide(flat(replace(view, decided=decided), asked=frozenset())).decisions
    assert (decision.action, decision.reason.code) == (Action.SUSPEND, ReasonCode.OTHER_WIDTH)


def test_a_policy_may_have_a_running_job_change_its_width_at_once() -> None:
    class Narrowing(Answering):
        is_joint = True

    answer = Narrowing(((12.0, 20.5),), (0,))
    (decision,) = decide(flat(a_wide_one()), find_policy=lambda *_: answer).decisions
    assert (decision.action, decision.reason.code) == (Action.SUSPEND, ReasonCode.OTHER_WIDTH)


@pytest.mark.parametrize("urgency", [Urgency.NORMAL, Urgency.CLINICAL])
def test_no_policy_is_shown_other_ways_to_run_clinical_work(urgency: Urgency) -> None:
    seen: list[tuple[Mode, ...]] = []

    class Looking:
        is_joint = True

        def plan(self, problem: Problem) -> tuple[Choice, ...]:
            seen.extend(request.modes for request in problem.requests)
            placed = Placement(0, ((0.0, problem.requests[0].work_s),), 4800.0)
            return (Choice(placed, placed),)

    decide(queued(an_elastic(urgency=urgency)), find_policy=lambda *_: Looking())
    assert set(seen) == {() if urgency is Urgency.CLINICAL else LINEAR}


def test_inv10_nobody_is_promised_the_place_of_a_running_job_that_would_be_too_late_to_be_let_go() -> None:
    running = a_job_view("a", gpus=2, hours=5, finish_in_h=11, suspendable=True, running_h=1.0, power_w=600.0)
    staying = a_job_view("b", hours=4.5, finish_in_h=20, running_h=1.0)
    waiting = a_job_view("c", gpus=2, hours=3, finish_in_h=6, suspendable=True, power_w=600.0)
    modes = Mode(3, 1, 1.0, 900.0), Mode(4, 1, 1.3, 1200.0)
    wide = a_job_view("d", gpus=3, hours=3.5, finish_in_h=6.5, suspendable=True, modes=modes, power_w=900.0)
    site = a_site_view(a_site(gpus=4), used_gpus=3, used_cpus=2)
    queue = a_queue(policy="balanced", switch_cost_s=0.0, min_run_s=0.0, min_savings=0.0)

    def late(*views: JobView) -> set[str]:
        shot = a_snapshot(*views, queues=[queue], forecasts=[a_forecast([300.0] * 96)], sites=[site])
        told = zip(decide(shot).decisions, shot.jobs, strict=True)
        return {view.job_id for one, view in told if one.chosen and one.chosen.finish > view.latest_finish_at}

    assert late(running, staying, waiting, replace(wide, modes=())) == {"c"}
    assert late(running, staying, waiting, wide) == {"c"}


def test_what_runs_is_in_the_mode_of_its_width_speed_and_power() -> None:
    request = a_request(modes=(Mode(1, 1, 1.0, 300.0), Mode(1, 1, 1.0, 90.0)))
    assert [is_declared(mode, request) for mode in request.modes] == [True, False]
