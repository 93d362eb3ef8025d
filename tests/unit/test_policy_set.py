"""Policy sets: what is taken, what is refused at which line, and what a set does to the queues of the settings."""

import pytest
import yaml

from lowtide.scheduler.lined import MAX_DEPTH
from lowtide.scheduler.model.errors import BadInput
from lowtide.scheduler.policy_set import MAX_CHARS, as_yaml, changes, over, parsed, ready_made
from lowtide.scheduler.settings import DEFAULT_QUEUES, QueueSettings

BY_NAME = {queue.name: queue for queue in DEFAULT_QUEUES}


def faults(text: str) -> list[tuple[str, str]]:
    """Line and field of everything that is wrong with a text."""
    with pytest.raises(BadInput) as caught:
        parsed(text)
    assert caught.value.fix
    listed = caught.value.details.get("errors", [])
    assert isinstance(listed, list)
    return [(one["line"], one["field"]) for one in listed]


def refusal(text: str) -> str:
    with pytest.raises(BadInput) as caught:
        parsed(text)
    return caught.value.message


def laid(text: str) -> dict[str, QueueSettings]:
    return {queue.name: queue for queue in over(DEFAULT_QUEUES, parsed(text))}


@pytest.mark.parametrize("name", ready_made())
def test_every_ready_made_set_is_sound_and_leaves_clinical_and_asap_queues_alone(name: str) -> None:
    chosen = parsed(ready_made()[name])
    assert chosen.name == name
    assert chosen.note
    after = laid(ready_made()[name])
    assert after["clinical"] == BY_NAME["clinical"]
    assert after["asap"] == BY_NAME["asap"]
    assert after["research"] != BY_NAME["research"] or name == "balanced"


def test_three_sets_come_with_lowtide_and_balanced_is_what_a_queue_has_by_itself() -> None:
    assert list(ready_made()) == ["balanced", "cheapest", "greenest", "punctual"]
    assert laid(ready_made()["balanced"])["research"] == BY_NAME["research"]


def test_what_a_set_does_not_say_stays_as_the_settings_have_it() -> None:
    after = laid("queues:\n  research:\n    patience_s: 7200\n")
    assert after["research"] == BY_NAME["research"].model_copy(update={"patience_s": 7200.0})
    assert {name: queue for name, queue in after.items() if name != "research"} == {
        name: queue for name, queue in BY_NAME.items() if name != "research"
    }


def test_parameters_go_with_the_policy_that_they_belong_to() -> None:
    base = (QueueSettings(name="research", policy="balanced", params={"reserve": 0.5}),)
    (kept,) = over(base, parsed("queues: {research: {patience_s: 60}}"))
    (changed,) = over(base, parsed("queues: {research: {policy: lowest_window}}"))
    assert kept.params == {"reserve": 0.5}
    assert changed.params == {}


def test_a_named_queue_is_not_among_the_others() -> None:
    after = laid("queues:\n  '*': {min_savings: 0.2}\n  research: {confidence: 0.9}\n")
    assert (after["research"].min_savings, after["research"].confidence) == (0.01, 0.9)
    assert after["greenest"].min_savings == 0.2


def test_a_queue_that_the_settings_do_not_have_is_refused_with_the_nearest() -> None:
    with pytest.raises(BadInput, match=r"'reserch'.*research was meant"):
        over(DEFAULT_QUEUES, parsed("queues: {reserch: {policy: asap}}"))


@pytest.mark.parametrize(
    ("text", "line", "field"),
    [
        ("queues:\n  research:\n    polcy: asap\n", "3", "queues.research.polcy"),
        ("queues:\n  research:\n    name: x\n", "3", "queues.research.name"),
        ("queues:\n  research:\n    policy: best\n", "3", "queues.research.policy"),
        ("queues:\n  research:\n\n    confidence: 1.5\n", "4", "queues.research.confidence"),
        ("queues:\n  research:\n    patience_s: .inf\n", "3", "queues.research.patience_s"),
        ("queues:\n  research:\n    urgency: high\n", "3", "queues.research.urgency"),
        ("queues:\n  '*':\n    urgency: clinical\n", "3", "queues.*.urgency"),
        ("queues:\n  research:\n    params: {reserve: 0.1}\n", "3", "queues.research.params"),
        ("queues:\n  research: {policy: balanced, params: {reserve: 7}}\n", "2", "queues.research.params.reserve"),
        ("queues:\n  research: {policy: balanced, params: {reserv: 1}}\n", "2", "queues.research.params.reserv"),
        ("queues:\n  research: asap\n", "2", "queues.research"),
        ("queues:\n  research: {}\n  research: {}\n", "3", "queues.research"),
        ("name: x\nqueue: {}\nqueues: {}\n", "2", "queue"),
        ("name: x\n", "1", "queues"),
        ("name: x\nqueues: [\n", "3", ""),
        ("queues:\n  a: &a {}\n  b: *a\n", "2", ""),
        ("queues:\n  a: !!python/object:os.x {}\n", "2", ""),
        ("- queues\n", "1", ""),
        ("", "1", ""),
        ("queues:\n  2026-99-99: {}\n", "1", ""),
        ("[" * (MAX_DEPTH + 1), "1", ""),
        ("{" * 30_000, "1", ""),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, line: str, field: str) -> None:
    assert faults(text) == [(line, field)]


def test_every_fault_is_told_at_once_in_the_order_of_the_file() -> None:
    text = "queues:\n  a:\n    policy: best\n  b:\n    confidence: 7\n    speed: 1\n"
    assert [line for line, _ in faults(text)] == ["3", "5", "6"]


def test_a_refusal_says_what_was_given_and_what_was_expected() -> None:
    assert "line 3: queues.research.confidence: Input should be less than 1, not 1.5" in refusal(
        "queues:\n  research:\n    confidence: 1.5\n"
    )
    assert "known policies: asap, balanced" in refusal("queues:\n  research:\n    policy: best\n")
    assert "policy was meant" in refusal("queues:\n  research:\n    polcy: asap\n")
    assert "expected at most" in refusal("#" * (MAX_CHARS + 1))


def test_changes_name_the_queue_the_field_and_both_values() -> None:
    after = over(DEFAULT_QUEUES, parsed("queues: {research: {policy: lowest_window, priority: 3}}"))
    told = [(c.queue, c.field, c.before, c.after) for c in changes(DEFAULT_QUEUES, after)]
    assert told == [("research", "policy", "balanced", "lowest_window"), ("research", "priority", 0, 3)]
    assert changes(DEFAULT_QUEUES, DEFAULT_QUEUES) == ()


def test_what_is_in_force_written_out_is_a_set_that_changes_nothing() -> None:
    queues = (*DEFAULT_QUEUES, QueueSettings(name="own", policy="balanced", params={"reserve": 0.2}))
    text = as_yaml(queues, head="in force\nsince today")
    assert text.startswith("# in force\n# since today\n")
    assert yaml.safe_load(text)["queues"]["own"]["params"] == {"reserve": 0.2}
    assert over(queues, parsed(text)) == queues
