"""What must not change, or only for the better, when a small queue is played to its end under every policy."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowtide.scheduler.decide.registry import policy_for, policy_names
from lowtide.scheduler.model.job import Urgency
from lowtide.scheduler.simulate.world import WAITS
from tests.small import Small, late, noted, played, starts

JOINT = tuple(name for name in policy_names() if getattr(policy_for(name), "is_joint", False))
ROOT = Path(__file__).resolve().parents[2]
PLAY_ALL = """
from lowtide.scheduler.decide.registry import policy_names
from tests.small import Small, noted

jobs = tuple(Small(1 + n % 4, 3 + 2 * n % 17, 1 + n % 2, n % 3 > 0) for n in range(12))
for name in policy_names():
    print(name, noted(jobs, 4, [50.0 * (7 * n % 5) for n in range(24)], name))
"""
each_policy = pytest.mark.parametrize("policy", policy_names())
prices = st.lists(st.integers(0, 6).map(lambda n: 50.0 * n), min_size=3, max_size=20)


@st.composite
def queues(draw: st.DrawFn, *, widest: int = 2) -> tuple[Small, ...]:
    """Up to six jobs, some that must end soon and some that need not."""
    found = []
    for _ in range(draw(st.integers(1, 6))):
        length, slack = draw(st.integers(1, 5)), draw(st.integers(0, 15))
        found.append(Small(length, length + slack, draw(st.integers(1, widest)), draw(st.booleans())))
    return tuple(found)


@each_policy
@given(jobs=queues(), price=st.integers(0, 6), gpus=st.integers(2, 4))
def test_with_a_constant_intensity_everything_starts_as_it_would_as_soon_as_possible(
    policy: str, jobs: tuple[Small, ...], price: int, gpus: int
) -> None:
    level = [50.0 * price]
    soonest = played(jobs, gpus, level, "asap")
    if late(soonest) and policy in JOINT:
        return  # a plan for the whole queue serves in another order then
    assert starts(played(jobs, gpus, level, policy)) == starts(soonest)


@each_policy
@given(jobs=queues(), prices=prices, gpus=st.integers(2, 4), factor=st.sampled_from([0.25, 2.0, 64.0]))
def test_scaling_every_intensity_changes_nothing_that_happens(
    policy: str, jobs: tuple[Small, ...], prices: list[float], gpus: int, factor: float
) -> None:
    scaled = played(jobs, gpus, [price * factor for price in prices], policy)
    assert {i: c.stretches for i, c in scaled.items()} == {
        i: c.stretches for i, c in played(jobs, gpus, prices, policy).items()
    }


@each_policy
@given(jobs=queues(), prices=prices)
def test_inv_10_with_room_for_all_nobody_ends_later_than_patience_allows(
    policy: str, jobs: tuple[Small, ...], prices: list[float]
) -> None:
    assert not late(played(jobs, sum(job.gpus for job in jobs), prices, policy))


@each_policy
@given(jobs=queues(), prices=prices, gpus=st.integers(2, 4))
def test_inv_10_who_is_late_only_with_more_capacity_waited_for_others_and_not_for_carbon(
    policy: str, jobs: tuple[Small, ...], prices: list[float], gpus: int
) -> None:
    before = set(late(played(jobs, gpus, prices, policy)))
    courses, why = noted(jobs, gpus + 1, prices, policy)
    assert all(why[job_id] in WAITS for job_id in late(courses) if job_id not in before)


@each_policy
@given(jobs=queues(), prices=prices, gpus=st.integers(2, 4), count=st.integers(1, 3))
def test_clinical_work_starts_as_it_would_without_carbon_and_is_never_paused(
    policy: str, jobs: tuple[Small, ...], prices: list[float], gpus: int, count: int
) -> None:
    mixed = tuple(replace(job, urgency=Urgency.CLINICAL) for job in jobs[:count]) + jobs[count:]
    courses, soonest = played(mixed, gpus, prices, policy), starts(played(mixed, gpus, prices, "asap"))
    for job_id, start in starts(courses).items():
        if courses[job_id].view.urgency is Urgency.CLINICAL:
            assert start <= soonest[job_id]
            assert len(courses[job_id].stretches) == 1


def test_inv_14_two_processes_with_other_hash_seeds_play_to_the_same_byte() -> None:
    def told(seed: str) -> bytes:
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        return subprocess.run([sys.executable, "-c", PLAY_ALL], env=environment, check=True, capture_output=True).stdout

    first = told("1")
    assert first.count(b"job-0") >= len(policy_names())
    assert first == told("2")
