"""Backtests: what is decided is followed to the letter, and counted as the ledger counts."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from lowtide.scheduler.decide.registry import policy_names
from lowtide.scheduler.model.data import Data
from lowtide.scheduler.model.errors import BadInput
from lowtide.scheduler.model.series import Accounting, Basis, Point, PointKind, Series, Signal
from lowtide.scheduler.simulate.play import Estimate, Patience, Play, played, result
from lowtide.scheduler.simulate.trace import TraceJob

START = datetime(2026, 3, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
H = 3600.0
Report = dict[str, object]
NIGHT_AND_DAY = ([100.0] * 6 + [300.0] * 18) * 10


def a_series(values: list[float], zone: str = "GB") -> Series:
    points = tuple(Point(START + i * HOUR, START + (i + 1) * HOUR, v, PointKind.ACTUAL) for i, v in enumerate(values))
    return Series("t", zone, zone, points, H, Signal.AVERAGE, Basis.DIRECT, Accounting.CONSUMPTION, START)


def a_play(*jobs: TraceJob, policy: str = "asap", values: list[float] | None = None, **changes: object) -> Play:
    series = a_series(NIGHT_AND_DAY if values is None else values)
    play = Play(jobs, {"GB": series}, policy, START, series.points[-1].end)
    return replace(play, **changes)  # type: ignore[arg-type]  # any field of Play


def some_jobs(count: int = 40) -> list[TraceJob]:
    return [TraceJob(f"j{i:02d}", i * 1777.0, 900.0 + (i * 7919) % 20_000, 1 + i % 3) for i in range(count)]


def test_run_at_once_without_limit_emits_what_the_baseline_does() -> None:
    found = played(a_play(*some_jobs()))
    assert found["ratio"] == pytest.approx(1.0)
    assert (found["completed"], found["failed"], found["mean_wait_h"]) == (40, 0, 0.0)
    assert found["energy_kwh"] == pytest.approx(sum(j.duration_s * j.gpus for j in some_jobs()) * 0.3 / H)


def test_a_job_that_may_wait_moves_into_the_night_and_is_counted_there() -> None:
    job = TraceJob("a", 20 * H, 3 * H, 2)
    found = played(a_play(job, policy="lowest_window", is_bound_wanted=True))
    assert found["emissions_g"] == pytest.approx(3 * 0.6 * 100)
    assert found["baseline_emissions_g"] == pytest.approx(3 * 0.6 * 300)
    assert (found["captured_fraction"], found["mean_wait_h"]) == (pytest.approx(1.0), pytest.approx(4.0))


def test_an_interrupted_job_pays_for_its_switch_in_run_time() -> None:
    values = [100.0, 300.0] * 120
    job = TraceJob("a", 0.0, 3 * H, 1)
    free = played(a_play(job, policy="lowest_slots", values=values))
    paid = played(a_play(job, policy="lowest_slots", values=values, switch_s=600.0))
    assert (free["suspensions"], free["lost_work_s"], free["emissions_g"]) == (2, 0.0, pytest.approx(90.0))
    assert paid["lost_work_s"] == 600.0 * int(str(paid["suspensions"]))
    whole = played(a_play(job, policy="lowest_slots", values=values, is_interruptible=False))
    assert whole["suspensions"] == 0


# the exact program takes minutes where everybody is late; its own tests hold it to capacity and to what is possible
@pytest.mark.parametrize("policy", [name for name in policy_names() if name != "optimal"])
# on three GPUs some of 24 jobs are late already, and a joint plan costs the square of those that are
@pytest.mark.parametrize(("gpus", "count"), [(3, 24), (6, 40)])
def test_capacity_holds_all_work_is_done_and_no_bound_is_beaten(policy: str, gpus: int, count: int) -> None:
    jobs = some_jobs(count)
    found = played(a_play(*jobs, policy=policy, gpus=gpus, is_bound_wanted=True))
    assert found["completed"] == count
    assert int(str(found["peak_gpus"])) <= gpus
    assert found["energy_kwh"] == pytest.approx(sum(j.duration_s * j.gpus for j in jobs) * 0.3 / H)
    if found["bound_g"] is not None and not found["patience_misses"]:
        assert float(str(found["emissions_g"])) >= float(str(found["bound_g"])) * (1 - 1e-9)


def test_the_same_play_gives_the_same_result() -> None:
    timings = {"plan_p50_ms", "plan_p99_ms"}
    first, second = (played(a_play(*some_jobs(), policy="lowest_slots", gpus=4)) for _ in range(2))
    assert {k: v for k, v in first.items() if k not in timings} == {k: v for k, v in second.items() if k not in timings}


def classed(*jobs: TraceJob, policy: str = "asap", values: list[float] | None = None, **changes: object) -> Report:
    return played(a_play(*jobs, policy=policy, values=values, estimate=Estimate.CLASS_MEAN, **changes))


@pytest.mark.parametrize("policy", ["asap", "lowest_window", "lowest_slots", "threshold"])
def test_with_wrong_estimates_all_work_is_done_within_capacity(policy: str) -> None:
    found = classed(*some_jobs(), policy=policy, gpus=4)
    assert (found["completed"], found["estimate"]) == (40, "class-mean")
    assert int(str(found["peak_gpus"])) <= 4
    assert found["energy_kwh"] == pytest.approx(sum(j.duration_s * j.gpus for j in some_jobs()) * 0.3 / H)


def test_an_overrun_runs_on_and_whoever_was_to_follow_waits_for_its_true_end() -> None:
    long, short, late = TraceJob("long", 0.0, 100.0 * 60, 1), TraceJob("short", 0.0, 600.0, 1), 3 * H
    found = classed(long, short, TraceJob("next", late, 600.0, 1), gpus=1, values=[200.0] * 240)
    assert (found["completed"], found["peak_gpus"], found["suspensions"]) == (3, 1, 0)
    assert found["max_wait_h"] == pytest.approx(100 / 60), "the short one begins as the long one ends"


def test_an_early_end_lets_the_next_job_start_at_once() -> None:
    jobs = TraceJob("a", 0.0, 60.0, 1), TraceJob("b", 1.0, 60.0, 1), TraceJob("c", 50 * H, 119.0 * 60, 1)
    found = classed(*jobs, gpus=1, values=[200.0] * 240)
    assert found["max_wait_h"] == pytest.approx(59 / H)


@pytest.mark.parametrize("policy", ["lowest_window", "lowest_slots", "threshold"])
def test_no_job_waits_longer_than_its_patience_for_a_wrong_estimate(policy: str) -> None:
    lengths = [2.5 * H, 3 * H, 40 * H, 90 * H, 0.1 * H, 1.9 * H]
    jobs = [TraceJob(f"j{i}", i * 7.3 * H, length, 1) for i, length in enumerate(lengths)]
    found = classed(*jobs, policy=policy)
    assert (found["completed"], found["patience_misses"]) == (6, 0)


@pytest.mark.parametrize("policy", ["asap", "lowest_window", "lowest_slots", "threshold"])
def test_jobs_shown_in_advance_begin_no_earlier_than_they_are_submitted(policy: str) -> None:
    dearer_later = [100.0] * 10 + [300.0] * 230
    job = TraceJob("a", 10 * H, 3 * H, 1)
    found = played(a_play(job, policy=policy, values=dearer_later, is_clairvoyant=True))
    assert (found["clairvoyant"], found["ratio"], found["mean_wait_h"]) == (True, pytest.approx(1.0), 0.0)


@pytest.mark.parametrize("policy", ["asap", "lowest_window", "lowest_slots", "threshold"])
def test_jobs_shown_in_advance_are_counted_from_their_submission(policy: str) -> None:
    found = played(a_play(*some_jobs(), policy=policy, gpus=12, is_clairvoyant=True))
    blind = played(a_play(*some_jobs(), policy=policy, gpus=12))
    assert (found["completed"], found["patience_misses"]) == (40, 0)
    assert found["baseline_emissions_g"] == pytest.approx(blind["baseline_emissions_g"])


def test_what_is_known_in_advance_is_left_room_for() -> None:
    jobs = TraceJob("long", 19 * H, 4 * H, 1), TraceJob("due", 22 * H, H, 1, deadline_s=23.5 * H)
    known, unknown = (played(a_play(*jobs, gpus=1, is_clairvoyant=known)) for known in (True, False))
    assert (known["deadline_misses"], unknown["deadline_misses"]) == (0, 1)


def test_a_seed_plays_another_sample_of_the_trace() -> None:
    plain, one, again, other = (
        played(a_play(*some_jobs(), policy="lowest_window", seed=seed))["emissions_g"] for seed in (None, 1, 1, 2)
    )
    assert one == again
    assert len({plain, one, other}) == 3


def test_constant_intensity_leaves_nothing_to_wait_for() -> None:
    found = played(a_play(*some_jobs(), policy="lowest_slots", values=[200.0] * 240))
    assert (found["ratio"], found["mean_wait_h"], found["suspensions"]) == (pytest.approx(1.0), 0.0, 0)


def test_what_has_not_ended_when_the_time_is_over_counts_as_failed() -> None:
    found = played(a_play(TraceJob("a", 0.0, 5 * H, 1), TraceJob("b", 0.0, H, 1), end=START + 3 * HOUR))
    assert (found["completed"], found["failed"]) == (1, 1)


def test_the_longest_miss_is_told_and_0_without_one() -> None:
    jobs = [TraceJob(f"j{i}", 0.0, 4 * H, 1) for i in range(10)]
    assert played(a_play(*jobs, gpus=1))["longest_miss_h"] == pytest.approx(9 * 4 - 24)
    assert played(a_play(*jobs, gpus=10))["longest_miss_h"] == 0.0


def test_churn_counts_how_often_a_promised_start_was_moved() -> None:
    night = [300.0] * 20 + [100.0] * 4 + [250.0] * 216
    first, urgent = TraceJob("a", 0.0, 4 * H, 1), TraceJob("b", H, 4 * H, 1, deadline_s=24.5 * H)
    assert played(a_play(first, policy="lowest_window", values=night, gpus=1))["churn"] == 0.0
    assert played(a_play(first, urgent, policy="lowest_window", values=night, gpus=1))["churn"] == 0.5


def test_a_start_that_was_promised_stands_when_all_are_decided_anew() -> None:
    # Seen from the start 30 g/kWh within 3 h are worth more than 110 within 13 h; seen from hour 2, no more.
    values = [200.0] * 2 + [170.0] * 2 + [200.0] * 8 + [90.0] * 228
    play = a_play(TraceJob("a", 0.0, H, 1), policy="carbon_time", values=values, patience=Patience(short_s=24 * H))
    assert played(play)["emissions_g"] == pytest.approx(0.3 * 170)


def test_a_rule_is_played_as_published_without_savings_to_reach_and_without_margin() -> None:
    play = a_play(TraceJob("a", 0.0, 20 * H, 1), policy="lowest_window", values=[200.0] * 24 + [199.0] * 216)
    assert played(play)["mean_wait_h"] == 0.0
    assert played(replace(play, min_savings=0.0))["mean_wait_h"] == pytest.approx(22.0)
    assert played(replace(play, min_savings=0.0, deadline_margin=0.0))["mean_wait_h"] == pytest.approx(24.0)


@pytest.mark.parametrize(
    ("play", "word"),
    [
        (a_play(TraceJob("a", 0.0, H, 4), gpus=2), "needs 4 GPUs of 2"),
        (a_play(TraceJob("a", 0.0, H, 1, site="DE")), "names site 'DE'"),
        (a_play(TraceJob("a", 0.0, H, 1), end=START + 999 * HOUR), "reaches from 2026-03-10T00:00"),
    ],
)
def test_a_play_that_cannot_be_is_refused(play: Play, word: str) -> None:
    with pytest.raises(BadInput) as caught:
        played(play)
    assert word in caught.value.message


def a_chain(**last: float) -> tuple[TraceJob, ...]:
    first, second = TraceJob("prep", 0.0, 2 * H, 1), TraceJob("train", 0.0, 3 * H, 1, depends_on=("prep",))
    return first, second, replace(TraceJob("test", 0.0, H, 1, depends_on=("train", "prep")), **last)  # type: ignore[arg-type]  # as above


@pytest.mark.parametrize("policy", policy_names())
def test_inv24_under_every_policy_a_chain_runs_in_order_and_each_has_its_whole_patience(policy: str) -> None:
    values = ([300.0] * 8 + [100.0] * 4) * 20
    found = result(a_play(*a_chain(), policy=policy, values=values, gpus=1))
    assert (found.report["completed"], found.report["patience_misses"]) == (3, 0)
    assert found.report["peak_gpus"] == 1
    assert max(found.waits_h) <= 24.0


def test_at_once_a_chain_is_its_own_baseline_and_nothing_waits() -> None:
    found = played(a_play(*a_chain(), is_bound_wanted=True))
    assert found["ratio"] == pytest.approx(1.0)
    assert found["max_wait_h"] == 0.0
    assert isinstance(bound := found["bound_ratio"], float)
    assert bound <= 1.0


def test_inv10_a_deadline_at_the_end_of_a_chain_is_kept_though_its_begin_would_rather_wait() -> None:
    found = played(a_play(*a_chain(deadline_s=7 * H), policy="balanced", values=[300.0] * 8 + [100.0] * 232))
    assert (found["deadline_misses"], found["completed"]) == (0, 3)


def test_a_job_that_is_submitted_after_the_end_of_what_it_waits_for_is_not_held_up() -> None:
    jobs = TraceJob("prep", 0.0, H, 1), TraceJob("train", 5 * H, H, 1, depends_on=("prep",))
    assert played(a_play(*jobs))["max_wait_h"] == 0.0


def test_a_sample_of_a_trace_waits_only_for_what_was_drawn() -> None:
    jobs = [TraceJob("j0", 0.0, H, 1)]
    jobs += [TraceJob(f"j{i}", i * H, H, 1, depends_on=(f"j{i - 1}",)) for i in range(1, 20)]
    found = played(a_play(*jobs, seed=3))
    assert found["completed"] == 20


@pytest.mark.parametrize(
    ("jobs", "told"),
    [
        ([TraceJob("a", 0.0, H, 1, depends_on=("b",))], "waits for 'b', which is not in it"),
        ([TraceJob(a, 0.0, H, 1, depends_on=(b,)) for a, b in ("ab", "ba")], "jobs wait in a circle"),
    ],
)
def test_a_trace_whose_jobs_wait_in_vain_is_refused(jobs: list[TraceJob], told: str) -> None:
    with pytest.raises(BadInput, match=told):
        played(a_play(*jobs))


@pytest.mark.parametrize("policy", policy_names())
def test_data_that_is_brought_takes_its_time_and_is_counted_apart(policy: str) -> None:
    job = TraceJob("a", 0.0, 2 * H, 1, data=(Data(450 * 10**9, "GB"),))
    zones = {"GB": a_series([400.0] * 240), "FR": a_series([100.0] * 240, "FR")}
    play = replace(a_play(job, policy=policy), intensity=zones, transfer_kwh_per_gb=0.0001, transfer_gbit_per_s=1.0)
    away, home = result(play), result(replace(play, transfer_gbit_per_s=0.01))
    assert (home.report["transfer_g"], home.report["emissions_g"]) == (0.0, pytest.approx(2 * 0.3 * 400))
    if policy in {"balanced", "lowest_window", "lowest_slots"}:
        assert away.report["transfer_kwh"] == pytest.approx(450 * 0.0001)
    if away.report["transfer_kwh"]:
        assert away.report["transfer_g"] == pytest.approx(450 * 0.0001 * 250)
        assert away.report["emissions_g"] == pytest.approx(3 * 0.3 * 100)  # an hour for the data, two for the work


def test_data_in_a_zone_that_there_is_not_is_refused() -> None:
    with pytest.raises(BadInput, match="names site 'DE'; the zones are: GB"):
        played(a_play(TraceJob("a", 0.0, H, 1, data=(Data(1, "DE"),))))
