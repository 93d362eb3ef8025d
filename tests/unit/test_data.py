"""Declared data: what bringing it to another site takes, and that it counts in every decision."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowtide.policies.moves import parts
from lowtide.policies.problem import Move, Request
from lowtide.scheduler.api.jobspec import read_job
from lowtide.scheduler.decide.decide import decide
from lowtide.scheduler.decide.registry import policy_names
from lowtide.scheduler.model.data import Data, Transfer, TransferPart, data_of, transfers
from lowtide.scheduler.model.errors import BadInput
from lowtide.scheduler.model.job import JobSpec, Urgency, spec_from_json, spec_to_json
from lowtide.scheduler.model.plan import Action, JobDecision, JobView, Snapshot
from lowtide.scheduler.model.site import Queue
from tests.builders import NOON, a_forecast, a_job_view, a_queue, a_site, a_site_view, a_snapshot

GB = 10**9


def a_free_queue(policy: str) -> Queue:
    return a_queue(policy=policy, min_savings=0.0, confidence=0.5, deadline_margin=0.0, switch_cost_s=0.0)


def a_transfer(*, site: str = "away", hours: float = 0.5, kwh: float = 0.1) -> Transfer:
    return Transfer(site, hours * 3600, (TransferPart("home", 200 * GB, kwh),))


def a_choice(
    view: JobView,
    *,
    policy: str = "lowest_window",
    home: float = 300.0,
    away: float = 100.0,
    delay_g_per_h: float = 0.0,
) -> JobDecision:
    """One job that may run at two sites of constant intensity, its data at home."""
    sites = [a_site_view(a_site("home", zone="GB")), a_site_view(a_site("away", zone="FR"))]
    shot = a_snapshot(
        replace(view, allowed_sites=("home", "away")),
        sites=sites,
        queues=[replace(a_free_queue(policy), delay_g_per_h=delay_g_per_h)],
        forecasts=[a_forecast([home] * 192), a_forecast([away] * 192, zone="FR")],
    )
    (decision,) = decide(shot).decisions
    return decision


def test_data_is_read_as_people_write_it_and_survives_the_store() -> None:
    job = {"entrypoint": ["true"], "data": ["200GB@paris", "1GiB@leeds", "7@oslo"]}
    spec = read_job(job).spec(datetime.now(UTC))
    assert spec.data == (Data(200 * GB, "paris"), Data(1024**3, "leeds"), Data(7, "oslo"))
    assert spec_from_json(spec_to_json(spec)) == spec
    assert "data" not in spec_to_json(JobSpec("a", ("true",)))


@pytest.mark.parametrize("size", [1, 999, 1500 * 10**6, 2 * 10**12, 3 * 1024**2])
def test_what_is_told_of_data_is_read_back_as_the_same(size: int) -> None:
    assert data_of([str(Data(size, "paris"))]) == (Data(size, "paris"),)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (["200GB"], "names no size or no site"),
        (["@paris"], "names no size or no site"),
        (["many@paris"], "is no memory size"),
        (["1GB@paris", "2GB@paris"], "names a site twice"),
        ({"paris": 1}, "neither text nor a list"),
    ],
)
def test_what_is_no_data_is_refused_with_what_to_write(value: object, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        read_job({"entrypoint": ["true"], "data": value})


def test_bringing_data_takes_the_time_of_the_slower_end_and_energy_by_its_size() -> None:
    speeds = {"paris": 10.0, "leeds": 1.0, "oslo": 10.0}
    data = Data(100 * GB, "paris"), Data(10 * GB, "leeds")
    found = {one.site: one for one in transfers(data, speeds, 0.01)}
    assert {site: one.lasts_s for site, one in found.items()} == {"paris": 80.0, "leeds": 800.0, "oslo": 80.0 + 80.0}
    assert [part.energy_kwh for part in found["oslo"].parts] == [1.0, 0.1]
    assert transfers((Data(10 * GB, "elsewhere"),), {"leeds": 1.0}, 0.01)[0].lasts_s == 80.0
    assert transfers((), speeds, 0.01) == ()


def test_a_job_goes_to_the_greener_site_when_that_saves_more_than_bringing_its_data_emits() -> None:
    view = a_job_view(hours=1, transfers=(a_transfer(kwh=0.1),))
    decision = a_choice(view)
    assert decision.chosen is not None
    assert decision.chosen.site == "away"
    assert decision.chosen.finish - decision.chosen.start == timedelta(hours=1.5)
    assert decision.chosen.transfer_s == 1800.0
    assert decision.chosen.transfer_g == pytest.approx(0.1 * (300 + 100) / 2)
    assert decision.chosen.emissions_g == pytest.approx(0.3 * 1.5 * 100 + 20)
    assert decision.saving_g == pytest.approx(0.3 * 300 - 0.3 * 1.5 * 100 - 20)


@pytest.mark.parametrize("policy", ["lowest_window", "lowest_slots", "carbon_time", "balanced"])
def test_a_job_stays_with_its_data_when_bringing_it_emits_more_than_the_greener_site_saves(policy: str) -> None:
    view = a_job_view(hours=1, suspendable=True, transfers=(a_transfer(kwh=0.3),))
    for hours, kwh in ((0.5, 0.3), (2.0, 0.0)):
        decision = a_choice(replace(view, transfers=(a_transfer(hours=hours, kwh=kwh),)), policy=policy)
        assert decision.chosen is not None
        assert (decision.action, decision.chosen.site) == (Action.START, "home")


@pytest.mark.parametrize("policy", policy_names())
def test_no_deadline_is_missed_for_the_time_that_data_takes(policy: str) -> None:
    view = a_job_view(hours=1, finish_in_h=1.25, has_deadline=True, transfers=(a_transfer(hours=1, kwh=0.0),))
    decision = a_choice(view, policy=policy)
    assert decision.chosen is not None
    assert decision.chosen.site == "home"


@pytest.mark.parametrize("policy", policy_names())
def test_clinical_work_never_ends_later_for_the_sake_of_a_greener_site(policy: str) -> None:
    view = a_job_view(hours=1, urgency=Urgency.CLINICAL, transfers=(a_transfer(hours=0.25, kwh=0.0),))
    decision = a_choice(view, policy=policy)
    assert decision.chosen is not None
    assert (decision.chosen.site, decision.chosen.start) == ("home", NOON)


def test_where_no_other_site_has_room_the_data_is_brought() -> None:
    sites = [a_site_view(a_site("home", gpus=0)), a_site_view(a_site("away", zone="FR"))]
    view = a_job_view(hours=1, allowed_sites=("home", "away"), transfers=(a_transfer(),))
    forecasts = [a_forecast(), a_forecast(zone="FR")]
    for policy in policy_names():
        shot = a_snapshot(view, sites=sites, queues=[a_free_queue(policy)], forecasts=forecasts)
        (decision,) = decide(shot).decisions
        assert decision.chosen is not None
        assert (decision.chosen.site, decision.chosen.transfer_s) == ("away", 1800.0)


each_move = st.builds(Move, st.integers(0, 5), st.floats(0, 9999), st.floats(0, 99))


@given(st.lists(each_move, unique_by=lambda move: move.site))
def test_the_parts_of_a_request_have_each_of_its_sites_once_and_end_as_early(moves: list[Move]) -> None:
    request = Request("a", 1, 1, tuple(range(6)), 3600.0, 0.0, 0.0, 300.0, 0.0, 7200.0, 10_800.0, 0, 0.0, 0.0, 0.0)
    found = parts(replace(request, moves=tuple(moves)))
    assert sorted(site for part, _ in found for site in part.sites) == list(range(6))
    for part, _ in found:
        assert part.latest_start_s + part.work_s == pytest.approx(7200.0 + 3600.0)
        assert (part.must_end_s, part.moves) == (request.must_end_s, ())


def test_a_plan_without_declared_data_is_the_one_that_it_was() -> None:
    def told(shot: Snapshot) -> list[tuple[float, float]]:
        return [(c.transfer_s, c.transfer_g) for d in decide(shot).decisions for c in d.candidates]

    assert set(told(a_snapshot(a_job_view(), a_job_view("job-2")))) == {(0.0, 0.0)}


@pytest.mark.parametrize("urgency", list(Urgency))
@pytest.mark.parametrize("policy", policy_names())
def test_inv_10_a_site_that_is_free_first_is_not_taken_where_the_data_comes_too_late(
    policy: str, urgency: Urgency
) -> None:
    runs = a_job_view("runs", hours=0.5, running_h=1.0)
    view = a_job_view("x", hours=1, finish_in_h=2, has_deadline=True, urgency=urgency, transfers=(a_transfer(hours=4),))
    sites = [a_site_view(a_site("home", gpus=1), used_gpus=1, used_cpus=1), a_site_view(a_site("away", zone="FR"))]
    shot = a_snapshot(
        runs,
        replace(view, allowed_sites=("home", "away")),
        sites=sites,
        queues=[a_free_queue(policy)],
        forecasts=[a_forecast(), a_forecast([20.0] * 192, zone="FR")],
    )
    chosen = decide(shot).decisions[1].chosen
    assert chosen is not None
    assert (chosen.site, chosen.finish) == ("home", NOON + timedelta(hours=1.5))


@pytest.mark.parametrize("policy", policy_names())
@pytest.mark.parametrize("delay_g_per_h", [0.0, 1.0])
def test_under_every_policy_data_takes_its_time_and_its_grams(policy: str, delay_g_per_h: float) -> None:
    view = a_job_view(hours=1, transfers=(a_transfer(kwh=0.1),))
    decision = a_choice(view, policy=policy, delay_g_per_h=delay_g_per_h)
    assert decision.chosen is not None
    if decision.chosen.site == "away":
        assert decision.chosen.finish - decision.chosen.start == timedelta(hours=1.5)
        assert decision.chosen.emissions_g == pytest.approx(0.3 * 1.5 * 100 + 20)


def test_the_time_that_data_takes_is_delay_and_weighed_as_such() -> None:
    view = a_job_view(hours=1, transfers=(a_transfer(hours=0.5, kwh=0.0),))
    near, far = (a_choice(view, delay_g_per_h=worth).chosen for worth in (99.0, 80.0))  # it saves 45 g in half an hour
    assert near is not None
    assert far is not None
    assert (near.site, far.site) == ("home", "away")
