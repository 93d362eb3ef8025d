"""What binds a job: each bound is named with what it costs, and only where it costs something."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from lowtide.scheduler.decide.decide import decide
from lowtide.scheduler.decide.insight import insight
from lowtide.scheduler.model.bind import SENTENCES, Bind, BindCode, Insight
from lowtide.scheduler.model.data import Transfer, TransferPart
from lowtide.scheduler.model.job import JobId, Urgency
from lowtide.scheduler.model.plan import GridForecast, JobView, SiteView, Snapshot
from lowtide.scheduler.model.reservation import Reservation
from lowtide.scheduler.model.site import Pool, Queue, Share
from tests.builders import HOUR_S, NOON, a_dip, a_forecast, a_job_view, a_queue, a_site, a_site_view, a_snapshot

DIP = a_forecast(a_dip(slots=8))
"""High now, low from 16:00 to 18:00: room for one job of two hours a GPU."""
LATE_DIP = a_forecast(a_dip(begin=40))
"""Low from 22:00 to 02:00."""


def seen(
    *views: JobView,
    gpus: int = 1,
    queue: Queue | None = None,
    forecasts: Sequence[GridForecast] = (DIP,),
    sites: Sequence[SiteView] = (),
) -> Insight:
    """What is found of the last of the jobs."""
    held = sum(view.resources.gpus for view in views if view.site)
    found = sites or [a_site_view(a_site(gpus=gpus), used_gpus=held, used_cpus=held)]
    snapshot: Snapshot = a_snapshot(*views, sites=found, queues=[queue or a_queue()], forecasts=forecasts)
    return insight(snapshot, decide(snapshot), views[-1].job_id)


def by_code(found: Insight) -> dict[BindCode, Bind]:
    return {bind.code: bind for bind in found.binds}


def test_every_bind_has_a_sentence() -> None:
    assert SENTENCES.keys() == set(BindCode)


def test_a_greener_window_that_others_have_names_the_gpus_that_are_missing_and_when() -> None:
    found = seen(a_job_view("a", hours=2, patience_h=5), a_job_view("b", hours=2, patience_h=23))
    bind = by_code(found)[BindCode.CAPACITY]
    told = "1 GPU(s) missing at home from Tue 16:00 UTC to Tue 18:00 UTC; it would save 150 g"
    assert bind.sentence == told
    assert bind.saving_g == pytest.approx(150.0)


def test_with_room_for_both_capacity_binds_nobody() -> None:
    found = seen(a_job_view("a", hours=2, patience_h=5), a_job_view("b", hours=2, patience_h=23), gpus=2)
    assert BindCode.CAPACITY not in by_code(found)


def test_a_job_that_waits_for_capacity_is_told_what_is_missing_now() -> None:
    found = seen(a_job_view("a", hours=20, running_h=1.0), a_job_view("b", hours=2, patience_h=30))
    assert by_code(found)[BindCode.CAPACITY].sentence.startswith("1 GPU(s) missing at home from Tue ")
    assert "1 GPU(s) more became free at home now" in found.would_start_now_if


@pytest.mark.parametrize(("has_deadline", "code"), [(False, BindCode.PATIENCE), (True, BindCode.DEADLINE)])
def test_a_greener_window_after_the_latest_start_names_what_ends(*, has_deadline: bool, code: BindCode) -> None:
    job = a_job_view(hours=2, patience_h=4, has_deadline=has_deadline)
    bind = by_code(seen(job, forecasts=[LATE_DIP]))[code]
    assert bind.sentence.startswith("Tue 22:00 UTC at home would save 150 g, but ")
    assert bind.saving_g == pytest.approx(150.0)


def test_a_saving_that_the_guard_refuses_is_set_against_its_bar() -> None:
    unsure = a_forecast(a_dip(low=250), errors=300.0)
    bind = by_code(seen(a_job_view(hours=2), forecasts=[unsure]))[BindCode.GUARD]
    assert bind.sentence.startswith("Tue 16:00 UTC at home would save 30 g, not more than the ")
    assert bind.sentence.endswith(" that the doubt of the forecast asks for")


def test_a_saving_below_what_the_queue_asks_for_names_the_queue() -> None:
    found = seen(a_job_view(hours=2), queue=a_queue(min_savings=0.9))
    assert by_code(found)[BindCode.GUARD].sentence.endswith("162 g that its queue asks for")


def test_a_window_that_the_policy_does_not_want_names_the_policy() -> None:
    found = seen(a_job_view(hours=2), queue=a_queue(policy="asap"))
    assert by_code(found)[BindCode.POLICY].sentence.endswith("its queue's policy asap does not choose it")


def two_sites() -> tuple[list[SiteView], list[GridForecast]]:
    """Home in GB, and a cleaner one in FR that the job may not use."""
    clean = replace(a_site("lyon", zone="FR"), jurisdiction="FR")
    return [a_site_view(), a_site_view(clean)], [a_forecast(), a_forecast([50.0] * 192, zone="FR")]


def test_a_greener_site_that_residency_forbids_is_named_with_its_jurisdiction() -> None:
    sites, forecasts = two_sites()
    found = seen(a_job_view(hours=2), sites=sites, forecasts=forecasts)
    told = "Tue 12:00 UTC at lyon would save 90 g, but the job may not run in FR"
    assert by_code(found)[BindCode.RESIDENCY].sentence == told


def test_clinical_work_is_bound_by_residency_alone() -> None:
    sites, forecasts = two_sites()
    clinical = a_job_view(hours=2, urgency=Urgency.CLINICAL)
    assert set(by_code(seen(clinical, sites=sites, forecasts=forecasts))) == {BindCode.RESIDENCY}
    assert seen(clinical).binds == ()


def test_a_job_that_no_site_may_run_is_told_where_it_could() -> None:
    sites, forecasts = two_sites()
    found = seen(a_job_view(hours=2, allowed_sites=()), sites=sites, forecasts=forecasts)
    assert "it were allowed in FR, at lyon, where there is room now" in found.would_start_now_if


def test_pauses_that_a_job_may_not_have_are_told_with_their_saving() -> None:
    comb = a_forecast([50.0 if i // 4 % 2 else 300.0 for i in range(192)])
    found = seen(a_job_view(hours=3), forecasts=[comb])
    assert by_code(found)[BindCode.SUSPENSIONS].sentence == "pauses would save 73.5 g, but it may not be suspended"
    able = seen(a_job_view(hours=3, suspendable=True), forecasts=[comb], queue=a_queue(policy="lowest_slots"))
    assert BindCode.SUSPENSIONS not in by_code(able)


def test_a_forecast_that_ends_before_the_patience_is_told() -> None:
    found = seen(a_job_view(hours=2), forecasts=[a_forecast([200.0] * 24)])
    assert by_code(found)[BindCode.FORECAST_END].sentence.startswith("the forecast ends at Tue 18:00 UTC")


def test_grid_data_that_delays_nobody_is_told() -> None:
    found = seen(a_job_view(hours=2), forecasts=[a_forecast(a_dip(), may_shift=False, rung="static_average")])
    assert by_code(found)[BindCode.GRID_DATA].sentence == "the grid data (static average) does not justify a delay"


def test_what_the_guard_lets_pass_says_at_which_bar_it_would_not() -> None:
    found = seen(a_job_view(hours=2))
    assert "its queue asked for savings of 83 % or more; it asks for 1 %" in found.would_start_now_if


def test_a_held_job_is_told_how_it_is_released() -> None:
    assert seen(a_job_view(held=True)).would_start_now_if == ("lowtide release job-1",)


def test_a_running_job_is_told_what_would_pause_it() -> None:
    job = a_job_view(hours=4, running_h=1.0, suspendable=True)
    found = seen(job, queue=a_queue(policy="lowest_slots"), forecasts=[a_forecast()])
    rise, order = found.would_suspend_if
    assert rise.startswith("the forecast until Tue ")
    assert order == "lowtide suspend job-1"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, BindCode.SUSPENSIONS),
        ({"suspendable": True, "suspensions": 3}, BindCode.SUSPENSIONS),
        ({"suspendable": True, "finish_in_h": 9.0, "running_h": 5.0}, BindCode.PATIENCE),
        ({"suspendable": True, "running_h": 0.1}, BindCode.MIN_RUN),
    ],
)
def test_a_running_job_that_may_not_pause_is_told_why(changes: dict[str, object], code: BindCode) -> None:
    usual: dict[str, object] = {"hours": 3.0, "running_h": 1.0, **changes}
    found = seen(a_job_view(**usual), queue=a_queue(policy="lowest_slots"))  # type: ignore[arg-type]  # any of them
    assert code in by_code(found)


def test_clinical_work_that_runs_is_bound_by_nothing() -> None:
    assert seen(a_job_view(hours=3, running_h=1.0, suspendable=True, urgency=Urgency.CLINICAL)).binds == ()


def test_of_a_job_that_is_not_in_the_plan_nothing_is_known() -> None:
    snapshot = a_snapshot(a_job_view())
    assert insight(snapshot, decide(snapshot), JobId("other")) == Insight()


def test_capacity_binds_by_the_pool_that_a_job_needs() -> None:
    site = replace(a_site(gpus=12), pools=(Pool("h100", 4, 32, "H100"), Pool("a40", 8, 32, "A40")))
    runs = a_job_view("a", gpus=4, hours=5, running_h=1.0, pool="h100")
    waits = a_job_view("b", gpus=4, hours=2)
    waits = replace(waits, resources=replace(waits.resources, gpu_model="H100"))
    found = seen(runs, waits, sites=[a_site_view(site, used_gpus=4, used_cpus=1)], forecasts=[a_forecast()])
    told = "4 GPU(s) missing at home/h100 from Tue 12:00 UTC to Tue 14:00 UTC"
    assert by_code(found)[BindCode.CAPACITY].sentence == told
    assert "4 GPU(s) more became free at home/h100 now" in found.would_start_now_if


def test_the_power_that_others_draw_binds() -> None:
    sites = [a_site_view(replace(a_site(), power_budget_w=600.0), used_gpus=1, used_cpus=1)]
    runs, waits = a_job_view("a", power_w=500.0, running_h=1.0, hours=5), a_job_view("b", power_w=600.0)
    found = seen(runs, waits, sites=sites, forecasts=[a_forecast()])
    assert by_code(found)[BindCode.CAPACITY].sentence.startswith("500 W missing at home from ")


def test_what_is_drained_or_not_offered_was_not_taken_by_others() -> None:
    drain = Reservation(1, "home", "", NOON, NOON + timedelta(hours=8))
    drained = replace(a_snapshot(a_job_view(), forecasts=[DIP]), reservations=(drain,))
    shy = replace(a_site(), virtual_capacity=(Share(100.0, 0.0),))
    dirty = a_snapshot(a_job_view(), sites=[a_site_view(shy)], forecasts=[DIP])
    for snapshot in (drained, dirty):
        assert BindCode.CAPACITY not in by_code(insight(snapshot, decide(snapshot), JobId("job-1")))


def test_what_members_of_a_reservation_have_binds_others_and_is_no_other_site() -> None:
    kept = Reservation(1, "home", "", NOON, gpus=8, project="scans")
    for view in (a_job_view(), a_job_view(project="scans"), a_job_view(urgency=Urgency.CLINICAL)):
        snapshot = replace(a_snapshot(view, forecasts=[DIP]), reservations=(kept,))
        found = insight(snapshot, decide(snapshot), view.job_id)
        assert BindCode.RESIDENCY not in by_code(found)
        assert not any("allowed" in told for told in found.would_start_now_if)


def test_no_site_is_told_to_have_room_now_where_its_power_is_drawn() -> None:
    away = a_site_view(replace(a_site("away", zone="FR"), power_budget_w=200.0))
    views = a_job_view("a", gpus=8, running_h=1.0, hours=5), a_job_view("b", power_w=300.0)
    found = seen(*views, sites=[a_site_view(used_gpus=8, used_cpus=1), away], forecasts=[a_forecast()])
    assert not any("away" in told for told in found.would_start_now_if)


def test_the_time_and_the_grams_of_bringing_data_are_no_alternative() -> None:
    sites = [a_site_view(), a_site_view(a_site("away", zone="FR"))]
    brought = Transfer("away", 2 * HOUR_S, (TransferPart("home", 1, 1.0),))
    view = a_job_view(hours=2, allowed_sites=("home", "away"), transfers=(brought,))
    found = seen(view, sites=sites, forecasts=[a_forecast([150.0] * 192), a_forecast([100.0] * 192, zone="FR")])
    assert found.binds == ()


def test_a_job_that_waits_for_another_could_not_have_the_hours_before_that_ends() -> None:
    early = a_forecast([50.0] * 8 + [300.0] * 184)
    other = a_job_view("a", hours=2)
    found = seen(other, a_job_view("b", hours=2, patience_h=2, waits_for=(JobId("a"),)), forecasts=[early])
    assert found.binds == ()
    lost = seen(replace(other, held=True), a_job_view("b", waits_for=(JobId("a"),)), forecasts=[DIP])
    assert lost.binds == ()
