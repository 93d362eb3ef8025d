"""The tree speaks of the project alone: no path of somebody's machine, nothing left undone, no stray link."""

import re
from pathlib import Path

import pytest

from tests.docs.tree import ROOT, tracked

MACHINE = re.compile(r"(?<![\w.$}])/(?:work|farm|home/[a-z]+|Users/[a-z]+|opt/wheels)/")
UNDONE = re.compile(r"\b(?:" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")) + r")\b")
CONFLICT = re.compile(r"^(?:<{7}|>{7}) ", re.MULTILINE)
BINARY = {".gz", ".png", ".ico"}
TEXTS = [path for path in tracked() if path.suffix not in BINARY]
LOCK = ROOT / "requirements.lock"


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    """Where a pattern stands, as path:line."""
    found = []
    for path in TEXTS:
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            if pattern.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}")
    return found


@pytest.mark.parametrize("pattern", [MACHINE, UNDONE, CONFLICT], ids=["machine path", "undone", "conflict"])
def test_no_file_holds_what_belongs_elsewhere(pattern: re.Pattern[str]) -> None:
    assert lines_with(pattern) == []


def test_the_patterns_find_what_they_look_for() -> None:
    assert MACHINE.search("see /home/" + "ann/data")
    assert UNDONE.search("# TO" + "DO: later")
    assert CONFLICT.search("a\n" + "<" * 7 + " HEAD")


def test_the_lock_names_no_place_and_every_entry_has_hashes() -> None:
    entries = re.split(r"\n(?=\S)", LOCK.read_text().split("\n", 1)[1].strip())
    assert all(re.match(r"[a-z0-9-]+==\S+", entry) for entry in entries)
    assert all("--hash=sha256:" in entry for entry in entries)
    assert not re.search(r"https?:|file:|--index|--find-links", LOCK.read_text())


def test_text_files_end_with_one_line_feed() -> None:
    texts = {path: path.read_text() for path in TEXTS}
    assert [str(p) for p, text in texts.items() if text and not text.endswith("\n")] == []


def test_only_the_import_roots_are_links() -> None:
    links = [path for path in Path(ROOT).glob("**/*") if path.is_symlink() and ".venv" not in path.parts]
    assert {path.relative_to(ROOT).parts[0] for path in links} <= {".typing"}
