"""What the planner is told of a job: whether it may be suspended where it is, and what a stop may cost it."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lowtide.scheduler.control.observe import Observer
from lowtide.scheduler.decide.decide import decide
from lowtide.scheduler.model.data import Data
from lowtide.scheduler.model.job import Resources
from lowtide.scheduler.model.mode import Mode
from lowtide.scheduler.model.plan import Action, JobView
from lowtide.scheduler.settings import Settings, SiteSettings
from lowtide.scheduler.store import attempts, transfers
from tests.builders import a_dip, a_forecast, a_queue, a_snapshot
from tests.driving import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "data")
    yield made
    made.close()


def seen(
    bench: Bench, *, checkpoint_dir: str = "", gpus: int = 1, plan: list[list[object]] | None = None, **spec: Any
) -> JobView:
    """A running job as the planner sees it."""
    bench.put(**spec)
    bench.begin(gpus=gpus, power_plan=plan)
    bench.step(2)
    bench.pass_s(600)
    site = bench.settings.sites[0].model_copy(update={"checkpoint_dir": checkpoint_dir})
    observer = Observer(Settings(data_dir=bench.data_dir, sites=(site,)))
    with bench.database.read() as connection:
        snapshot, _ = observer.snapshot(connection, now=bench.clock.now(), sites=[bench.site], forecasts={})
    return snapshot.jobs[0]


@pytest.mark.parametrize(
    ("checkpoint_dir", "own", "suspendable"),
    [("/shared/checkpoints", False, True), ("", True, True), ("", False, False)],
)
def test_inv06_a_job_is_suspended_only_where_its_state_is_kept(
    bench: Bench, checkpoint_dir: str, *, own: bool, suspendable: bool
) -> None:
    view = seen(bench, checkpoint_dir=checkpoint_dir, interruptible=True, own_checkpoints=own)
    assert view.suspendable is suspendable


def test_a_job_that_is_not_interruptible_is_never_suspended_whatever_it_saves(bench: Bench) -> None:
    assert not seen(bench, checkpoint_dir="/shared", own_checkpoints=True).suspendable


def test_the_private_cluster_always_keeps_checkpoints(tmp_path: Path) -> None:
    local = SiteSettings(name="here")
    assert Observer(Settings(data_dir=tmp_path, sites=(local,)))._keeping == {"here"}


def test_inv10_all_that_an_attempt_has_run_and_its_grace_are_at_stake_until_it_ends(bench: Bench) -> None:
    view = seen(bench, interruptible=True, grace_s=45.0, duration_s=7200.0)
    assert view.running_since == bench.clock.now() - timedelta(seconds=600)
    assert view.at_stake_s == 600 + 45
    assert view.remaining_s == 7200 - 600


def test_a_waiting_job_can_run_in_a_mode_per_width_each_with_its_share_of_cpus_and_watts(bench: Bench) -> None:
    bench.put(widths=((1, 2.0), (2, 3.0)), power_w=400.0)
    observer = Observer(bench.settings)
    with bench.database.read() as connection:
        shot, _ = observer.snapshot(connection, now=bench.clock.now(), sites=[bench.site], forecasts={})
    (view,) = shot.jobs
    assert view.modes == (Mode(1, 1, 1.0, 400.0), Mode(2, 2, 1.5, 800.0))
    spec = observer.spec("mri")
    assert observer.imagined(spec, bench.clock.now(), shot.sites, view.urgency).modes == view.modes


def test_a_running_job_is_seen_at_the_width_of_its_attempt(bench: Bench) -> None:
    view = seen(bench, gpus=2, widths=((1, 2.0), (2, 3.0)), power_w=400.0, grace_s=45.0, duration_s=7200.0)
    assert view.resources == Resources(gpus=2, cpus=2)
    assert (view.power_w, view.as_declared_s, view.remaining_s) == (800.0, 7200 - 900, (7200 - 900) / 1.5)
    assert view.at_stake_s == 900 + 45
    assert view.modes == (Mode(1, 1, 1 / 1.5, 400.0), Mode(2, 2, 1.0, 800.0))


HARD = ((0.6, 0.9, 0.8),)
"""Nine tenths as fast at 60 % of the power limit, for eight tenths of the energy."""


def test_a_job_that_may_be_limited_has_a_mode_per_limit_at_each_width(bench: Bench) -> None:
    bench.put(widths=((1, 2.0), (2, 3.0)), power=HARD, power_w=400.0)
    assert waiting(bench).modes == (
        Mode(1, 1, 1.0, 400.0),
        Mode(1, 1, 0.9, 400.0 * 0.9 * 0.8, 0.6),
        Mode(2, 2, 1.5, 800.0),
        Mode(2, 2, 1.5 * 0.9, 800.0 * 0.9 * 0.8, 0.6),
    )


def waiting(bench: Bench) -> JobView:
    with bench.database.read() as connection:
        shot, _ = Observer(bench.settings).snapshot(connection, now=bench.clock.now(), sites=[bench.site], forecasts={})
    return next(view for view in shot.jobs if view.site is None)


def test_a_running_job_is_seen_as_it_goes_on_under_its_limits(bench: Bench) -> None:
    begun = bench.clock.now()
    plan = [[begun.isoformat(), 0.6], [(begun + timedelta(seconds=1600)).isoformat(), 1.0]]
    view = seen(bench, plan=plan, power=HARD, power_w=400.0, duration_s=3600.0)
    left_s = 3600 - 600 * 0.9
    rest_s = left_s - 1000 * 0.9
    assert view.as_declared_s == pytest.approx(left_s)
    assert view.remaining_s == pytest.approx(1000 + rest_s)
    assert view.power_w == pytest.approx(400 * (1000 * 0.9 * 0.8 + rest_s) / (1000 + rest_s))


def test_a_job_is_not_ended_sooner_for_being_run_narrower_than_it_declares(bench: Bench) -> None:
    two = Resources(gpus=2, cpus=2)
    view = seen(bench, gpus=1, resources=two, widths=((1, 1.0), (2, 2.0)), time_limit_s=3600.0)
    assert view.limit_left_s == 3600 - 300


def test_a_job_that_is_run_wider_than_it_declares_has_all_of_its_time(bench: Bench) -> None:
    view = seen(bench, gpus=2, widths=((1, 1.0), (2, 2.0)), time_limit_s=3600.0)
    assert view.limit_left_s == 3600 - 600


def test_inv13_a_job_that_runs_under_its_limits_is_not_stopped_to_go_on_under_the_same(bench: Bench) -> None:
    begun = bench.clock.now()
    plan = [[(begun + timedelta(seconds=hours * 3600)).isoformat(), share] for hours, share in ((4, 0.6), (7, 1.0))]
    told: dict[str, Any] = {"power": HARD, "interruptible": True, "own_checkpoints": True, "duration_s": 21_600.0}
    view = seen(bench, plan=plan, power_w=300.0, **told)
    now = bench.clock.now()
    at_home = replace(view, site="home", allowed_sites=("home",), running_since=now - timedelta(hours=1))
    dirty_later = a_forecast(a_dip(begin=0), start=now - timedelta(seconds=600))
    shot = a_snapshot(at_home, now=now, queues=[a_queue(policy="balanced")], forecasts=[dirty_later])
    (decision,) = decide(shot).decisions
    assert decision.action is Action.KEEP
    assert view.modes == ()


def test_a_running_job_with_limits_may_go_on_at_other_widths_and_at_its_own_as_it_does(bench: Bench) -> None:
    plan = [[bench.clock.now().isoformat(), 0.6]]
    view = seen(bench, plan=plan, widths=((1, 2.0), (2, 3.0)), power=HARD, power_w=400.0)
    own, wider = view.modes
    assert own == Mode(1, 1, 1.0, view.power_w)
    assert view.power_w == pytest.approx(400 * 0.9 * 0.8)
    assert wider == Mode(2, 2, wider.speed, 800.0)
    assert wider.speed == pytest.approx(1.5 / 0.9)


def test_a_job_is_not_ended_sooner_for_its_power_limits(bench: Bench) -> None:
    limits = [[bench.clock.now().isoformat(), 0.6]]
    assert seen(bench, plan=limits, power=HARD, time_limit_s=3600.0).limit_left_s == pytest.approx(3600 - 540)


def test_where_no_limit_could_be_set_none_is_planned_for_a_day(bench: Bench) -> None:
    plan = [[bench.clock.now().isoformat(), 0.6]]
    bench.put(power=HARD)
    attempt = bench.begin(power_plan=plan)
    bench.write(lambda c: attempts.set_values(c, attempt, power_refused="no permission"))
    bench.put("other", power=HARD)
    assert waiting(bench).modes == ()
    bench.pass_s(86_401)
    assert len(waiting(bench).modes) == 2


def test_the_time_that_data_takes_is_neither_work_nor_run_time_and_it_is_brought_to_a_site_once(bench: Bench) -> None:
    spec: dict[str, Any] = {"duration_s": 7200.0, "time_limit_s": 9000.0, "data": (Data(45 * 10**9, "archive"),)}
    observer = Observer(bench.settings)
    bench.put(**spec)

    def view() -> JobView:
        with bench.database.read() as connection:
            shot, _ = observer.snapshot(connection, now=bench.clock.now(), sites=[bench.site], forecasts={})
        return shot.jobs[0]

    (lacking,) = view().transfers
    assert (lacking.site, lacking.lasts_s, view().remaining_s) == ("lab", 360.0, 7200.0)
    attempt = bench.begin()
    bench.write(lambda c: transfers.keep(c, attempt, lacking, emissions_g=None, at=bench.clock.now()))
    bench.step(2)
    bench.pass_s(600)
    assert (view().transfers, view().remaining_s) == ((), 7200.0 - 600 + 360)
    assert view().limit_left_s == 9000.0 - 600 + 360
    assert observer.transfer("mri", "lab") is None


def test_what_is_brought_to_a_site_is_known_while_somebody_else_looks(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    observer, seen, brought = Observer(bench.settings), list[bool](), transfers.of_jobs
    bench.put(data=(Data(45 * 10**9, "archive"),))

    def look() -> None:
        with bench.database.read() as connection:
            observer.snapshot(connection, now=bench.clock.now(), sites=[bench.site], forecasts={})

    def looking(*args: Any) -> Any:
        seen.append(observer.transfer("mri", "lab") is not None)
        return brought(*args)

    look()
    monkeypatch.setattr(transfers, "of_jobs", looking)
    look()
    assert seen == [True]
