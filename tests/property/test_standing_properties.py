"""One more job beside a plan that stands: the same decision as by asking the whole queue about it alone."""

from dataclasses import replace

from hypothesis import assume, event, given
from hypothesis import strategies as st

from lowtide.scheduler.decide.decide import decide
from lowtide.scheduler.decide.standing import Standing
from lowtide.scheduler.model.lifecycle import JobState
from lowtide.scheduler.model.plan import JobDecision, JobView, Plan, Snapshot
from tests.property import test_capacity_properties, test_decide_properties

QUEUES = st.one_of(test_decide_properties.snapshots(), test_capacity_properties.snapshots())


@st.composite
def one_more(draw: st.DrawFn) -> tuple[Snapshot, JobView]:
    """A queue, and a job that has just been submitted to it."""
    snapshot = draw(QUEUES)
    waiting = [view for view in snapshot.jobs if view.state is JobState.QUEUED]
    assume(waiting)
    new = draw(st.sampled_from(waiting))
    return replace(snapshot, jobs=tuple(view for view in snapshot.jobs if view is not new), asked=None), new


def beside(snapshot: Snapshot, plan: Plan, new: JobView) -> JobDecision:
    """What ``decide`` says of the job when it is asked about it alone."""
    kept = tuple(replace(view, decided=d) for view, d in zip(snapshot.jobs, plan.decisions, strict=True))
    jobs = tuple(sorted((*kept, new), key=lambda view: view.job_id))
    found = decide(replace(snapshot, jobs=jobs, asked=frozenset({new.job_id})))
    return next(decision for decision in found.decisions if decision.job_id == new.job_id)


@given(one_more())
def test_an_answer_is_what_decide_says_and_leaves_the_next_one_as_it_was(case: tuple[Snapshot, JobView]) -> None:
    snapshot, new = case
    plan = decide(snapshot)
    standing = Standing(snapshot, plan)
    first = standing.one_more(new)
    event("answered" if first is not None else "left to decide")
    assert first is None or first == beside(snapshot, plan, new)
    assert standing.one_more(new) == first
