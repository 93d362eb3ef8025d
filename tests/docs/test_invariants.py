"""docs/invariants.md names every invariant once, and whatever code or tests name is in it."""

import re

from tests.docs.tree import ROOT, files, links, table_rows

ALL = [f"INV-{number:02}" for number in range(1, 25)]
MENTION = re.compile(r"(?:INV-|_inv)(\d\d(?:(?:, | and )\d\d)*)")
PAGE = ROOT / "docs" / "invariants.md"


def mentioned(text: str) -> set[str]:
    """Every id in a text, written out as in "INV-01, 02", or in the name of a test."""
    return {f"INV-{number}" for found in MENTION.findall(text) for number in re.findall(r"\d\d", found)}


def test_the_table_has_every_invariant_once_in_order() -> None:
    assert [row[0] for row in table_rows(PAGE)] == ALL


def test_every_id_in_code_and_tests_is_in_the_table() -> None:
    named = {(str(path), name) for path in files(".py") for name in mentioned(path.read_text())}
    assert named, "the pattern finds nothing any more"
    assert {entry for entry in named if entry[1] not in ALL} == set()


def test_every_invariant_that_the_code_holds_says_where_it_is_tested() -> None:
    for name, _sentence, held, tested in table_rows(PAGE):
        assert held, name
        assert "later" in tested or links(tested), f"{name} links no test and does not say later"


def test_what_is_marked_later_is_tested_nowhere() -> None:
    tests = [path for path in files(".py") if path.is_relative_to(ROOT / "tests")]
    named = {name for path in tests for name in mentioned(path.read_text())}
    later = {row[0] for row in table_rows(PAGE) if row[3] == "later"}
    assert later & named == set(), "link the tests in docs/invariants.md"
