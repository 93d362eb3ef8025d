"""One test per scheduling rule, each on the smallest snapshot that shows it."""

from datetime import timedelta

import pytest

from lowtide.scheduler.decide.decide import decide
from lowtide.scheduler.decide.registry import policy_names
from lowtide.scheduler.decide.wording import when
from lowtide.scheduler.model.job import Urgency
from lowtide.scheduler.model.lifecycle import JobState
from lowtide.scheduler.model.plan import Action, GridForecast, JobDecision, Snapshot
from lowtide.scheduler.model.reason import ReasonCode
from tests.builders import (
    NOON,
    a_dip,
    a_forecast,
    a_job_view,
    a_queue,
    a_site,
    a_site_view,
    a_snapshot,
)

DIP = a_forecast(a_dip())
"""High now, low from 16:00 to 20:00."""


def only(snapshot: Snapshot) -> JobDecision:
    (decision,) = decide(snapshot).decisions
    return decision


def by_id(snapshot: Snapshot) -> dict[str, JobDecision]:
    return {d.job_id: d for d in decide(snapshot).decisions}


def test_a_patient_job_waits_for_the_low_carbon_window() -> None:
    decision = only(a_snapshot(a_job_view(hours=2), forecasts=[DIP]))
    assert (decision.action, decision.reason.code) == (Action.WAIT, ReasonCode.CARBON_WINDOW)
    assert decision.chosen is not None
    assert decision.chosen.start == NOON + timedelta(hours=4)
    assert decision.baseline_g == pytest.approx(0.3 * 2 * 300)
    assert decision.saving_g == pytest.approx(0.3 * 2 * 250)
    assert "Tue 16:00 UTC" in decision.reason.sentence


def test_an_explanation_says_what_would_start_the_job_now() -> None:
    conditions = only(a_snapshot(a_job_view(hours=2), forecasts=[DIP])).would_start_now_if
    # 2 h of work with 10 % margin, a switch of 2 min and one slot: 2 h 29 min from noon
    assert conditions[0] == "its deadline were before Tue 14:29 UTC"
    assert conditions[1] == "the forecast for 16:00 rose above 297 g/kWh"
    assert conditions[2] == "lowtide run-now job-1 --reason TEXT"


def test_a_later_deadline_than_the_condition_still_waits_and_an_earlier_one_starts() -> None:
    later = a_job_view(hours=2, finish_in_h=7, has_deadline=True)
    sooner = a_job_view(hours=2, finish_in_h=2 + 28 / 60, has_deadline=True)
    assert only(a_snapshot(later, forecasts=[DIP])).action is Action.WAIT
    decision = only(a_snapshot(sooner, forecasts=[DIP]))
    assert (decision.action, decision.reason.code) == (Action.START, ReasonCode.DEADLINE)


def test_a_job_whose_patience_has_ended_runs_whatever_the_carbon() -> None:
    decision = only(a_snapshot(a_job_view(hours=2, patience_h=0.3), forecasts=[DIP]))
    assert (decision.action, decision.reason.code) == (Action.START, ReasonCode.PATIENCE)


def test_the_latest_start_leaves_the_margin_and_one_switch() -> None:
    decision = only(a_snapshot(a_job_view(hours=10, finish_in_h=20), forecasts=[DIP]))
    assert decision.latest_start_at == NOON + timedelta(hours=20 - 11) - timedelta(seconds=120)


def test_a_window_after_the_latest_start_is_not_waited_for() -> None:
    late_dip = a_forecast(a_dip(begin=40))
    decision = only(a_snapshot(a_job_view(hours=2, finish_in_h=8), forecasts=[late_dip]))
    assert decision.action is Action.START


@pytest.mark.parametrize("by_queue", [True, False])
def test_clinical_work_starts_at_once(by_queue: bool) -> None:  # noqa: FBT001 - a table
    urgency = Urgency.NORMAL if by_queue else Urgency.CLINICAL
    queue = a_queue(urgency=Urgency.CLINICAL if by_queue else Urgency.NORMAL)
    decision = only(a_snapshot(a_job_view(urgency=urgency), queues=[queue], forecasts=[DIP]))
    assert (decision.action, decision.reason.code) == (Action.START, ReasonCode.CLINICAL)


def test_clinical_work_prefers_the_greener_of_two_free_sites() -> None:
    job = a_job_view(urgency=Urgency.CLINICAL, allowed_sites=("home", "north"))
    sites = [a_site_view(), a_site_view(a_site("north", zone="SE"))]
    forecasts = [a_forecast([300] * 96), a_forecast([20] * 96, zone="SE")]
    decision = only(a_snapshot(job, sites=sites, forecasts=forecasts))
    assert decision.action is Action.START
    assert decision.chosen is not None
    assert decision.chosen.site == "north"


def test_a_waiting_clinical_job_is_first_in_line() -> None:
    clinical = a_job_view("z", gpus=8, urgency=Urgency.CLINICAL)
    research = a_job_view("a", gpus=4, hours=5, patience_h=0)
    running = a_job_view("r", gpus=4, hours=1, running_h=1)
    decisions = by_id(a_snapshot(clinical, research, running))
    assert decisions["z"].reason.code is ReasonCode.CAPACITY
    assert decisions["a"].action is Action.WAIT  # it would hold what the clinical job needs in an hour
    assert decisions["a"].reason.code is ReasonCode.CAPACITY


def test_a_short_job_backfills_in_front_of_a_waiting_clinical_one() -> None:
    clinical = a_job_view("z", gpus=8, urgency=Urgency.CLINICAL)
    short = a_job_view("a", gpus=4, hours=0.9, patience_h=0)
    running = a_job_view("r", gpus=4, hours=1, running_h=1)
    assert by_id(a_snapshot(clinical, short, running))["a"].action is Action.START


def test_a_running_clinical_job_is_never_suspended() -> None:
    job = a_job_view(hours=4, running_h=2, suspendable=True, urgency=Urgency.CLINICAL)
    decision = only(a_snapshot(job, queues=[a_queue(policy="lowest_slots")], forecasts=[DIP]))
    assert (decision.action, decision.reason.code) == (Action.KEEP, ReasonCode.CLINICAL)


def test_a_saving_within_the_doubt_does_not_delay() -> None:
    doubtful = a_forecast(a_dip(low=280), errors=40.0)
    snapshot = a_snapshot(a_job_view(hours=2), forecasts=[doubtful], queues=[a_queue(confidence=0.8)])
    decision = only(snapshot)
    assert (decision.action, decision.reason.code) == (Action.START, ReasonCode.NO_GAIN)
    # 40 g/kWh on 0.6 kWh in each of two windows apart, as standard deviations
    assert decision.doubt_g == pytest.approx(1.2533 * 24 * 2**0.5, rel=1e-3)
    assert "waiting would save 12 g, not more than the doubt of 36 g" in decision.reason.sentence


def test_errors_cancel_where_the_two_windows_overlap() -> None:
    prices = [100.0] + [99.0] * 100
    job = a_job_view(hours=4, finish_in_h=4.75 + 0.4)
    decision = only(a_snapshot(job, forecasts=[a_forecast(prices, errors=8.0)], queues=[a_queue(min_savings=0.0)]))
    # the best window is one slot later: only one quarter of an hour at each end differs
    assert decision.doubt_g == pytest.approx(1.2533 * 8 * 0.3 * 0.25 * 2**0.5, rel=1e-3)


def test_a_nearer_window_with_less_doubt_is_taken_when_the_cheapest_is_too_doubtful() -> None:
    prices = [300.0] * 8 + [100.0] * 8 + [90.0] * 80
    errors = [5.0] * 16 + [40_000.0] * 80
    decision = only(a_snapshot(a_job_view(hours=2), forecasts=[a_forecast(prices, errors=errors)]))
    assert decision.action is Action.WAIT
    assert decision.chosen is not None
    assert decision.chosen.start == NOON + timedelta(hours=2)
    assert any("within its doubt" in c.note for c in decision.candidates)


def test_savings_below_the_queues_minimum_do_not_delay() -> None:
    small = a_forecast(a_dip(low=290))
    snapshot = a_snapshot(a_job_view(), forecasts=[small], queues=[a_queue(min_savings=0.05)])
    assert only(snapshot).reason.code is ReasonCode.NO_GAIN


@pytest.mark.parametrize("rung", ["static", "blind"])
def test_a_rung_that_may_not_shift_never_delays(rung: str) -> None:
    forecast = a_forecast(a_dip(), rung=rung, may_shift=False)
    decision = only(a_snapshot(a_job_view(), forecasts=[forecast]))
    assert (decision.action, decision.reason.code) == (Action.START, ReasonCode.GRID_DATA_STALE)
    assert decision.rung == rung


@pytest.mark.parametrize(
    "forecasts",
    [
        [],
        [a_forecast([float("nan")] * 96)],
        [a_forecast(())],
        [a_forecast(a_dip(), start=NOON - timedelta(days=9))],
        [a_forecast(a_dip(), start=NOON + timedelta(days=1))],
    ],
)
def test_without_usable_grid_data_jobs_run_at_once(forecasts: list[GridForecast]) -> None:
    decision = only(a_snapshot(a_job_view(), forecasts=forecasts))
    assert (decision.action, decision.reason.code) == (Action.START, ReasonCode.GRID_DATA_STALE)


def test_nothing_is_promised_beyond_the_end_of_the_forecast() -> None:
    short = a_forecast(a_dip(count=20))  # ends at 17:00
    decision = only(a_snapshot(a_job_view(hours=2), forecasts=[short]))
    assert decision.chosen is not None
    assert decision.chosen.finish <= NOON + timedelta(hours=5)


def test_a_job_longer_than_the_forecast_is_not_shifted() -> None:
    decision = only(a_snapshot(a_job_view(hours=72, patience_h=100), forecasts=[DIP]))
    assert decision.action is Action.START


def test_jobs_of_one_plan_do_not_all_take_the_same_window() -> None:
    jobs = [a_job_view(f"j{i}", gpus=8, hours=2) for i in range(3)]
    decisions = decide(a_snapshot(*jobs, forecasts=[DIP])).decisions
    starts = sorted(d.chosen.start for d in decisions if d.chosen is not None)
    assert starts[0] + timedelta(hours=2) <= starts[1]
    assert starts[1] + timedelta(hours=2) <= starts[2]


def test_the_job_with_less_slack_goes_first() -> None:
    patient = a_job_view("a", gpus=8, hours=2, patience_h=20)
    hurried = a_job_view("b", gpus=8, hours=2, patience_h=5)
    decisions = by_id(a_snapshot(patient, hurried, queues=[a_queue(policy="asap")]))
    assert decisions["b"].action is Action.START
    assert decisions["a"].reason.code is ReasonCode.CAPACITY


def test_priority_decides_between_equal_slack() -> None:
    low = a_job_view("a", gpus=8, queue="low")
    high = a_job_view("b", gpus=8, queue="high")
    queues = [a_queue("low", policy="asap"), a_queue("high", policy="asap", priority=5)]
    assert by_id(a_snapshot(low, high, queues=queues))["b"].action is Action.START


def test_run_now_starts_at_once_ahead_of_the_queue() -> None:
    others = [a_job_view(f"a{i}", gpus=8, patience_h=1) for i in range(2)]
    forced = a_job_view("z", gpus=8, forced=True, not_before=NOON + timedelta(hours=9))
    decisions = by_id(a_snapshot(*others, forced, forecasts=[DIP]))
    assert (decisions["z"].action, decisions["z"].reason.code) == (Action.START, ReasonCode.RUN_NOW)
    assert decisions["z"].reason.sentence


def test_run_now_does_not_break_a_retry_backoff() -> None:
    job = a_job_view(forced=True, retrying=True, not_before=NOON + timedelta(minutes=4))
    decision = only(a_snapshot(job))
    assert (decision.action, decision.reason.code) == (Action.WAIT, ReasonCode.RETRY_BACKOFF)
    assert decision.next_review_at == NOON + timedelta(minutes=4)


def test_a_begin_time_is_waited_for_to_the_minute() -> None:
    begin = NOON + timedelta(hours=2, minutes=5)
    decision = only(a_snapshot(a_job_view(not_before=begin), queues=[a_queue(policy="asap")]))
    assert (decision.action, decision.reason.code) == (Action.WAIT, ReasonCode.BEGIN_TIME)
    assert decision.chosen is not None
    assert decision.chosen.start == begin
    assert "Tue 14:05 UTC" in decision.reason.sentence


@pytest.mark.parametrize(
    ("state", "code"),
    [(JobState.QUEUED, ReasonCode.HELD), (JobState.SUSPENDED, ReasonCode.SUSPENDED_BY_USER)],
)
def test_held_jobs_wait_and_reserve_nothing(state: JobState, code: ReasonCode) -> None:
    held = a_job_view("a", gpus=8, held=True, state=state, patience_h=0)
    other = a_job_view("b", gpus=8)
    decisions = by_id(a_snapshot(held, other, queues=[a_queue(policy="asap")]))
    assert decisions["a"].reason.code is code
    assert "lowtide" in decisions["a"].reason.sentence
    assert decisions["b"].action is Action.START


def test_a_job_without_an_allowed_site_waits_for_residency() -> None:
    decision = only(a_snapshot(a_job_view(allowed_sites=())))
    assert (decision.action, decision.reason.code) == (Action.WAIT, ReasonCode.RESIDENCY)
    assert decision.reason.sentence


def test_a_job_never_starts_outside_its_allowed_sites() -> None:
    sites = [a_site_view(used_gpus=8), a_site_view(a_site("abroad", zone="SE"))]
    decision = only(a_snapshot(a_job_view(), sites=sites))
    assert decision.action is Action.WAIT
    assert {s.site for c in decision.candidates for s in c.segments} <= {"home"}


def test_a_job_that_no_site_could_hold_says_so() -> None:
    decision = only(a_snapshot(a_job_view(gpus=9)))
    assert decision.reason.code is ReasonCode.NO_SITE
    assert "9 GPU(s)" in decision.reason.sentence
    assert "8 GPU(s)" in decision.reason.sentence


def test_an_unreachable_site_is_waited_for_and_named() -> None:
    decision = only(a_snapshot(a_job_view(), sites=[a_site_view(reachable=False)]))
    assert decision.reason.code is ReasonCode.SITE_UNREACHABLE
    assert "home" in decision.reason.sentence


def test_a_reachable_site_is_used_when_another_is_not() -> None:
    sites = [a_site_view(reachable=False), a_site_view(a_site("north"))]
    decision = only(a_snapshot(a_job_view(allowed_sites=("home", "north")), sites=sites))
    assert decision.action is Action.START
    assert decision.chosen is not None
    assert decision.chosen.site == "north"


@pytest.mark.parametrize("state", [JobState.STARTING, JobState.SUSPENDING])
def test_jobs_in_transition_are_kept(state: JobState) -> None:
    decision = only(a_snapshot(a_job_view(state=state, site="home")))
    assert (decision.action, decision.reason.code) == (Action.KEEP, ReasonCode.IN_TRANSITION)


def test_capacity_in_use_beyond_the_known_jobs_is_not_sold() -> None:
    decision = only(a_snapshot(a_job_view(gpus=4), sites=[a_site_view(used_gpus=5)]))
    assert (decision.action, decision.reason.code) == (Action.WAIT, ReasonCode.CAPACITY)
    assert "a time after" in decision.reason.sentence


def test_a_job_waits_for_the_expected_end_of_a_running_one() -> None:
    running = a_job_view("a", gpus=8, hours=2, running_h=1)
    waiting = a_job_view("b", gpus=1)
    decision = by_id(a_snapshot(running, waiting))["b"]
    assert decision.reason.code is ReasonCode.CAPACITY
    assert "Tue 14:00 UTC" in decision.reason.sentence


def test_time_and_site_are_chosen_together() -> None:
    job = a_job_view(hours=2, allowed_sites=("home", "north"))
    sites = [a_site_view(), a_site_view(a_site("north", zone="SE", pue=1.5))]
    forecasts = [DIP, a_forecast(a_dip(low=20, begin=30), zone="SE")]
    decision = only(a_snapshot(job, sites=sites, forecasts=forecasts))
    assert decision.chosen is not None
    assert (decision.chosen.site, decision.chosen.start) == ("north", NOON + timedelta(hours=7.5))
    assert decision.chosen.emissions_g == pytest.approx(0.6 * 20 * 1.5)
    assert {c.site for c in decision.candidates} == {"home", "north"}


@pytest.mark.parametrize(("field", "value"), [("signal", "marginal"), ("basis", "market")])
def test_savings_between_different_signals_are_not_counted(field: str, value: str) -> None:
    job = a_job_view(allowed_sites=("home", "north"))
    sites = [a_site_view(), a_site_view(a_site("north", zone="SE"))]
    other = a_forecast([1.0] * 192, zone="SE", **{field: value})  # type: ignore[arg-type]  # either is text
    decision = only(a_snapshot(job, sites=sites, forecasts=[DIP, other]))
    assert {c.site for c in decision.candidates} == {"home"}


def test_a_suspendable_job_is_suspended_for_a_real_gain() -> None:
    job = a_job_view(hours=3, running_h=1, suspendable=True)
    decision = only(a_snapshot(job, queues=[a_queue(policy="lowest_slots")], forecasts=[DIP]))
    assert (decision.action, decision.reason.code) == (Action.SUSPEND, ReasonCode.CARBON_WINDOW)
    assert decision.chosen is not None
    worked = sum((s.end - s.start for s in decision.chosen.segments), timedelta())
    assert worked == timedelta(hours=3, seconds=120)  # the switch is paid for


def test_a_running_job_is_not_suspended_into_slots_that_a_waiting_one_was_promised() -> None:
    running = a_job_view("r", gpus=8, hours=3, patience_h=7, running_h=1, suspendable=True)
    waiting = a_job_view("w", gpus=8, hours=4, patience_h=20)
    queues = [a_queue(policy="lowest_slots")]
    assert by_id(a_snapshot(running, queues=queues, forecasts=[DIP]))["r"].action is Action.SUSPEND
    decisions = by_id(a_snapshot(running, waiting, queues=queues, forecasts=[DIP]))
    assert decisions["w"].chosen is not None
    assert decisions["w"].chosen.start == NOON + timedelta(hours=4)
    assert decisions["r"].action is Action.KEEP


@pytest.mark.parametrize(
    ("changes", "queue_changes"),
    [
        ({"suspendable": False}, {}),
        ({"suspensions": 3}, {}),
        ({"forced": True}, {}),
        ({}, {"policy": "lowest_window"}),
        ({}, {"policy": "asap"}),
        ({}, {"switch_cost_s": 9 * 3600.0}),
        ({}, {"min_savings": 0.7}),
    ],
)
def test_a_job_that_may_not_or_should_not_be_suspended_goes_on(
    changes: dict[str, object], queue_changes: dict[str, object]
) -> None:
    job = a_job_view(hours=3, running_h=1, patience_h=48, **{"suspendable": True, **changes})  # type: ignore[arg-type]
    queue = a_queue(**{"policy": "lowest_slots", **queue_changes})  # type: ignore[arg-type]
    assert only(a_snapshot(job, queues=[queue], forecasts=[DIP])).action is Action.KEEP


def test_a_job_runs_its_minimum_before_it_is_suspended() -> None:
    job = a_job_view(hours=3, running_h=0.25, suspendable=True)
    decision = only(a_snapshot(job, queues=[a_queue(policy="lowest_slots")], forecasts=[DIP]))
    assert (decision.action, decision.reason.code) == (Action.KEEP, ReasonCode.MIN_RUN)


def test_a_job_close_to_its_deadline_is_not_suspended() -> None:
    job = a_job_view(hours=3, running_h=1, suspendable=True, finish_in_h=3.4)
    assert only(a_snapshot(job, queues=[a_queue(policy="lowest_slots")], forecasts=[DIP])).action is Action.KEEP


def test_inv10_a_job_whose_unproved_work_could_not_be_done_again_in_time_is_not_suspended() -> None:
    queue = a_queue(policy="lowest_slots")
    job = a_job_view(hours=3, running_h=8, suspendable=True, finish_in_h=9)
    assert only(a_snapshot(job, queues=[queue], forecasts=[DIP])).action is Action.KEEP
    proved = a_job_view(hours=3, running_h=8, suspendable=True, finish_in_h=9, at_stake_s=60.0)
    assert only(a_snapshot(proved, queues=[queue], forecasts=[DIP])).action is Action.SUSPEND


def test_a_job_at_a_site_that_left_the_settings_says_so() -> None:
    job = a_job_view(hours=3, running_h=1, suspendable=True, site="gone")
    decision = only(a_snapshot(job))
    assert (decision.action, decision.reason.code) == (Action.KEEP, ReasonCode.SITE_REMOVED)


def test_every_decision_has_a_review_after_now() -> None:
    jobs = [
        a_job_view("a", held=True),
        a_job_view("b", gpus=9),
        a_job_view("c"),
        a_job_view("d", running_h=1),
        a_job_view("e", allowed_sites=()),
        a_job_view("f", not_before=NOON + timedelta(seconds=30)),
    ]
    assert all(d.next_review_at > NOON for d in decide(a_snapshot(*jobs, forecasts=[DIP])).decisions)


def test_at_most_six_candidates_are_told_and_one_is_chosen() -> None:
    names = [f"s{i}" for i in range(9)]
    sites = [a_site_view(a_site(n, zone=n)) for n in names]
    forecasts = [a_forecast(a_dip(low=50 + i), zone=n) for i, n in enumerate(names)]
    decision = only(a_snapshot(a_job_view(allowed_sites=tuple(names)), sites=sites, forecasts=forecasts))
    assert len(decision.candidates) <= 6
    assert sum(c.chosen for c in decision.candidates) == 1


def test_moments_are_written_without_the_machines_locale() -> None:
    assert when(NOON) == "Tue 12:00 UTC"


@pytest.mark.parametrize("policy", policy_names())
@pytest.mark.parametrize("changes", [{"hours": 0.0}, {"power_w": 0.0}, {"cpus": 0, "gpus": 0}, {"patience_h": -90}])
def test_odd_jobs_get_a_decision_all_the_same(policy: str, changes: dict[str, object]) -> None:
    job = a_job_view(suspendable=True, **changes)  # type: ignore[arg-type]  # any field of a job
    running = a_job_view("r", running_h=1.0, suspendable=True, **changes)  # type: ignore[arg-type]  # the same
    plan = decide(a_snapshot(job, running, queues=[a_queue(policy=policy)], forecasts=[DIP]))
    for decision in plan.decisions:
        assert decision.reason.sentence
        assert all(c.finish > c.start for c in decision.candidates)
    assert plan.decisions[1].action in {Action.KEEP, Action.SUSPEND}


def test_without_any_site_or_job_there_is_still_a_plan() -> None:
    assert decide(a_snapshot()).decisions == ()
    assert only(a_snapshot(a_job_view(), sites=[])).reason.code is ReasonCode.NO_SITE


def test_negative_prices_end_what_is_known_of_the_forecast() -> None:
    decision = only(a_snapshot(a_job_view(hours=1), forecasts=[a_forecast([300.0] * 8 + [-5.0] * 80)]))
    assert decision.action is Action.START


def test_the_plan_names_the_grid_data_it_rests_on() -> None:
    (row,) = decide(a_snapshot(a_job_view())).grid
    assert (row["zone"], row["rung"], row["signal"]) == ("GB", "fresh", "average")
    assert str(row["from"]).startswith("2026-03-10T12:00")


@pytest.mark.parametrize(("spare_s", "action"), [(900.0, Action.WAIT), (899.0, Action.START)])
def test_a_job_waits_as_long_as_a_start_in_the_next_slot_is_in_time(spare_s: float, action: Action) -> None:
    queue = a_queue(deadline_margin=0.0, switch_cost_s=0.0)
    job = a_job_view(hours=1, finish_in_h=1 + spare_s / 3600, has_deadline=True)
    cheaper_soon = a_forecast([300.0] + [50.0] * 95)
    assert only(a_snapshot(job, queues=[queue], forecasts=[cheaper_soon])).action is action


@pytest.mark.parametrize("policy", policy_names())
def test_clinical_work_goes_before_what_must_end_sooner_under_every_policy(policy: str) -> None:
    ordinary = a_job_view("a", hours=1, finish_in_h=1, has_deadline=True)
    clinical = a_job_view("b", hours=1, patience_h=24, urgency=Urgency.CLINICAL)
    sites = [a_site_view(a_site(gpus=1))]
    found = by_id(a_snapshot(ordinary, clinical, sites=sites, queues=[a_queue(policy=policy)]))
    assert (found["a"].action, found["b"].action) == (Action.WAIT, Action.START)
