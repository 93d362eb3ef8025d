"""Drains and reservations over HTTP: the answers, and orders that cannot be taken."""

from collections.abc import Iterator

import pytest

from lowtide.scheduler.api import reservations
from tests.api_server import LiveApi, serve
from tests.fake_service import FakeService

ORDERS = "/v1/reservations"


@pytest.fixture(scope="module")
def live() -> Iterator[LiveApi]:
    with serve(FakeService()) as served:
        yield served


@pytest.fixture
def api(live: LiveApi) -> LiveApi:
    live.service.reset()
    return live


def test_a_reservation_is_made_listed_and_ended(api: LiveApi) -> None:
    made = api.ask("POST", ORDERS, {"site": "lab", "gpus": 2, "project": "imaging", "why": "w"}, Lowtide_Actor="ann")
    assert made.status == 201
    told = reservations.ReservationTold.model_validate(made.json)
    assert (told.number, told.gpus, told.project, told.actor) == (1, 2, "imaging", "ann")
    assert api.ask("GET", ORDERS).json["items"] == [made.json]
    ended = api.ask("POST", f"{ORDERS}/1/end", {"why": "done"}).json
    assert (ended["state"], ended["ended_why"]) == ("over", "done")


def test_a_drain_tells_which_jobs_run_on_and_is_ended_by_place(api: LiveApi) -> None:
    assert api.ask("POST", ORDERS, {"site": "lab", "pool": "h100"}).json["jobs"][0]["can_be_suspended"] is False
    (ended,) = api.ask("POST", f"{ORDERS}/resume", {"site": "lab", "pool": "h100"}).json["items"]
    assert ended["state"] == "over"
    assert api.ask("POST", f"{ORDERS}/resume", {"site": "lab"}).status == 409


@pytest.mark.parametrize("wrong", [{}, {"site": "lab", "gpus": -1}, {"site": "lab", "gpu": 1}, {"site": 3}])
def test_an_order_that_cannot_be_taken_is_refused(api: LiveApi, wrong: dict[str, object]) -> None:
    assert api.ask("POST", ORDERS, wrong).status == 422
    assert api.ask("POST", f"{ORDERS}/9/end").status == 404
