"""One more job costs one more decision: the others keep what was decided, as long as it holds."""

from dataclasses import replace
from datetime import timedelta

from lowtide.scheduler.decide.decide import decide
from lowtide.scheduler.model.job import JobId
from lowtide.scheduler.model.plan import Action, Candidate, JobDecision, JobView, Segment, Snapshot
from lowtide.scheduler.model.reason import Reason, ReasonCode
from tests.builders import NOON, a_dip, a_forecast, a_job_view, a_site, a_site_view, a_snapshot

DIP = a_forecast(a_dip())
FULL = a_site_view(a_site(gpus=1))


def one_gpu(*views: JobView, asked: frozenset[str] | None = None, **changes: object) -> Snapshot:
    snapshot = a_snapshot(*views, sites=[FULL], forecasts=[DIP])
    return replace(snapshot, asked=asked, **changes)  # type: ignore[arg-type]  # any field of Snapshot


def decided(*views: JobView) -> list[JobView]:
    plan = decide(one_gpu(*views))
    return [replace(view, decided=d) for view, d in zip(views, plan.decisions, strict=True)]


def told(snapshot: Snapshot) -> dict[str, JobDecision]:
    return {decision.job_id: decision for decision in decide(snapshot).decisions}


def test_a_job_that_is_not_asked_about_keeps_its_very_decision_and_its_capacity() -> None:
    (first,) = decided(a_job_view("a", hours=4))
    assert first.decided is not None
    found = told(one_gpu(first, a_job_view("b", hours=4), asked=frozenset({"b"})))
    assert found["a"] is first.decided
    (kept,), (new,) = ((c.segments for c in d.candidates if c.chosen) for d in found.values())
    assert kept[0].end <= new[0].start or new[0].end <= kept[0].start


def test_a_kept_job_starts_when_its_time_has_come() -> None:
    (view,) = decided(a_job_view("a", hours=4))
    assert view.decided is not None
    assert view.decided.chosen is not None
    start = view.decided.chosen.start
    assert told(one_gpu(view, asked=frozenset(), now=start - timedelta(seconds=1)))["a"].action is Action.WAIT
    found = told(one_gpu(view, asked=frozenset(), now=start))["a"]
    assert found.action is Action.START
    assert found.next_review_at > start
    assert (found.reason.code, found.reason.facts["saving_g"]) == (ReasonCode.WINDOW_OPENS, view.decided.saving_g)


def test_a_job_whose_placement_does_not_fit_any_more_is_asked_about() -> None:
    (view,) = decided(a_job_view("a", hours=4))
    running = a_job_view("b", hours=30, running_h=1.0)
    taken = replace(one_gpu(view, running, asked=frozenset()), sites=(replace(FULL, used_gpus=1, used_cpus=1),))
    assert told(taken)["a"].reason.code is ReasonCode.CAPACITY


def test_a_start_that_was_missed_is_asked_about() -> None:
    (view,) = decided(a_job_view("a", hours=4))
    late = NOON + timedelta(hours=5)
    found = told(one_gpu(view, asked=frozenset(), now=late))["a"]
    assert found.chosen is not None
    assert found.chosen.start >= late


def test_a_kept_job_that_waited_for_capacity_starts_because_its_time_has_come() -> None:
    _, view = decided(a_job_view("a", hours=20, running_h=1.0), a_job_view("b", hours=4, patience_h=30))
    assert view.decided is not None
    assert view.decided.reason.code is ReasonCode.CAPACITY
    assert view.decided.chosen is not None
    found = told(one_gpu(view, asked=frozenset(), now=view.decided.chosen.start))["b"]
    assert (found.action, found.reason.code) == (Action.START, ReasonCode.AS_PLANNED)


def a_running_job_with(*hours: tuple[float, float], reason: ReasonCode, action: Action) -> JobView:
    """A running job of the earlier plan, by its stretches in hours after noon."""
    at = [(NOON + timedelta(hours=a), NOON + timedelta(hours=b)) for a, b in hours]
    chosen = Candidate(tuple(Segment("home", "", a, b, 1) for a, b in at), 60.0, chosen=True)
    facts = {"start": "Tue 16:00 UTC", "saving_g": 40.0, "saving_percent": 40.0}
    before = JobDecision(JobId("a"), action, Reason(reason, facts), NOON, (chosen,), baseline_g=100.0, saving_g=40.0)
    return replace(a_job_view("a", hours=2, running_h=1.0, suspendable=True), decided=before)


def test_a_planned_pause_says_that_it_waits_and_not_that_the_job_goes_on() -> None:
    view = a_running_job_with((-1, 0), (4, 6), reason=ReasonCode.KEEP_RUNNING, action=Action.KEEP)
    found = told(one_gpu(view, asked=frozenset()))["a"]
    assert found.action is Action.SUSPEND
    assert found.reason.sentence == "waits for a low-carbon window at Tue 16:00 UTC that saves about 40 g (40 %)"


def test_a_pause_to_make_room_still_says_so() -> None:
    view = a_running_job_with((-1, 0), (4, 6), reason=ReasonCode.GAVE_WAY, action=Action.KEEP)
    found = told(one_gpu(view, asked=frozenset()))["a"]
    assert (found.action, found.reason.code) == (Action.SUSPEND, ReasonCode.GAVE_WAY)


def test_a_running_job_that_was_to_pause_and_goes_on_does_not_say_that_it_waits() -> None:
    view = a_running_job_with((-1, 2), reason=ReasonCode.CARBON_WINDOW, action=Action.SUSPEND)
    found = told(one_gpu(view, asked=frozenset()))["a"]
    assert (found.action, found.reason.code) == (Action.KEEP, ReasonCode.KEEP_RUNNING)
