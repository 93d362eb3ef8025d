"""The state diagram of docs/architecture.md is the transition table (INV-03)."""

import re

from lowtide.scheduler.model.lifecycle import JOB_TRANSITIONS, JobState
from tests.docs.tree import ROOT

ARROW = re.compile(r"^\s+(\S+) --> (\S+)$", re.MULTILINE)


def drawn() -> list[tuple[str, str]]:
    text = (ROOT / "docs" / "architecture.md").read_text()
    diagram = text.split("stateDiagram-v2\n", 1)[1].split("```", 1)[0]
    return ARROW.findall(diagram)


def test_the_diagram_draws_exactly_the_transitions_of_the_table() -> None:
    table = {(source.value, target.value) for source, targets in JOB_TRANSITIONS.items() for target in targets}
    ends = {(state.value, "[*]") for state in JobState if state.is_terminal}
    assert set(drawn()) == table | ends | {("[*]", "queued")}


def test_no_arrow_is_drawn_twice() -> None:
    assert len(drawn()) == len(set(drawn()))
