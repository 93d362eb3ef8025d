"""One more job costs one more decision: the others keep what was decided, as long as it holds."""

from dataclasses import replace
from datetime import timedelta

from lowtide.scheduler.decide.decide import decide
from lowtide.scheduler.model.plan import Action, JobDecision, JobView, Snapshot
from lowtide.scheduler.model.reason import ReasonCode
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
