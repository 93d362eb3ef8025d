"""Policy sets over HTTP: the answers, wrong input with lines, and who is named in the history."""

from collections.abc import Iterator

import pytest

from lowtide.scheduler.api import policy
from tests.api_server import LiveApi, serve
from tests.fake_service import FakeService

SET = "queues:\n  research:\n    policy: lowest_window\n"
WRONG = "queues:\n  research:\n    policy: best\n    confidence: 0.7\n"


@pytest.fixture(scope="module")
def live() -> Iterator[LiveApi]:
    with serve(FakeService()) as served:
        yield served


@pytest.fixture
def api(live: LiveApi) -> LiveApi:
    live.service.reset()
    return live


def test_a_set_is_compared_applied_and_taken_back(api: LiveApi) -> None:
    compared = api.ask("POST", "/v1/policy/diff", {"text": SET}).json
    policy.PolicyChangeList.model_validate(compared)
    (change,) = compared["items"]
    assert change == {"queue": "research", "field": "policy", "before": "balanced", "after": "lowest_window"}
    assert api.ask("GET", "/v1/policy").json["revision"] == 0

    applied = api.ask("POST", "/v1/policy", {"text": SET, "why": "a trial"}, Lowtide_Actor="ann")
    assert applied.status == 200
    policy.PolicyApplied.model_validate(applied.json)
    assert applied.json["changes"] == [change]

    back = api.ask("POST", "/v1/policy/rollback", {"revision": 0}).json
    assert back["changes"][0]["after"] == "balanced"
    told = api.ask("GET", "/v1/policy/history").json["items"]
    assert [(row["revision"], row["actor"], row["why"], row["copy_of"]) for row in told] == [
        (2, "api", None, 0),
        (1, "ann", "a trial", None),
    ]


@pytest.mark.parametrize("path", ["/v1/policy", "/v1/policy/diff"])
def test_what_is_wrong_with_a_set_is_told_with_its_line_and_changes_nothing(api: LiveApi, path: str) -> None:
    answer = api.ask("POST", path, {"text": WRONG})
    assert answer.status == 422
    assert [(one["line"], one["field"]) for one in answer.json["errors"]] == [("3", "queues.research.policy")]
    assert answer.json["fix"]
    assert api.ask("GET", "/v1/policy/history").json["items"] == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/policy", {}),
        ("/v1/policy", {"text": ""}),
        ("/v1/policy", {"text": SET, "who": "me"}),
        ("/v1/policy", {"text": SET, "why": "x" * 1001}),
        ("/v1/policy", {"text": "#" * 64_001}),
        ("/v1/policy/diff", {"text": 7}),
        ("/v1/policy/rollback", {"revision": -1}),
        ("/v1/policy/rollback", {"revision": "last"}),
    ],
)
def test_an_order_of_the_wrong_shape_is_refused(api: LiveApi, path: str, body: dict[str, object]) -> None:
    answer = api.ask("POST", path, body)
    assert answer.status == 422
    assert "the order cannot be taken" in answer.json["detail"]


@pytest.mark.parametrize(
    "path", ["/v1/policy", "/v1/policy/diff", "/v1/policy/rollback", "/v1/policy/shadow", "/v1/policy/shadow/stop"]
)
def test_no_order_is_taken_without_a_token(api: LiveApi, path: str) -> None:
    assert api.ask("POST", path, {"text": SET}, token=None).status == 401
    assert api.service.revisions == []


def test_a_set_is_put_in_the_shadow_and_taken_out(api: LiveApi) -> None:
    assert api.ask("GET", "/v1/policy/shadow").json["is_running"] is False
    begun = api.ask("POST", "/v1/policy/shadow", {"text": SET}, Lowtide_Actor="ann").json
    policy.ShadowTold.model_validate(begun)
    assert (begun["is_running"], begun["actor"]) == (True, "ann")
    assert api.ask("POST", "/v1/policy/shadow", {"text": WRONG}).status == 422
    assert api.ask("POST", "/v1/policy/shadow/stop", {"file": "x"}).status == 422
    assert api.ask("POST", "/v1/policy/shadow/stop").json["is_running"] is False


def test_with_nothing_applied_there_is_nothing_to_take_back(api: LiveApi) -> None:
    assert api.ask("POST", "/v1/policy/rollback").status == 409
