"""Commands and code in the README and the other pages are real: they exist, and the Python block runs."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from lowtide.scheduler.cli.main import COMMAND_MODULES
from lowtide.scheduler.cli.root import app
from tests.docs.tree import ROOT, files

PAGES = files(".md")
CLI = typer.main.get_group(app)
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
ADMIN = re.compile(r"`lowtide admin policy ([a-z-]+)|^\$ lowtide admin policy ([a-z-]+)", re.MULTILINE)
KEEPING = re.compile(r"`lowtide admin (?:(reservation) )?([a-z-]+)", re.MULTILINE)
SPOKEN = re.compile(r"`lowtide ([a-z-]+)(?: [^`]*)?`|^\$ lowtide ([a-z-]+)", re.MULTILINE)
TYPED = re.compile(r"^\$ lowtide ([a-z-]+)(.*)$|`lowtide ([a-z-]+)( [^`]*)`", re.MULTILINE)
MADE = re.compile(r"`make ([a-z-]+)|^(?:\$ )?make ([a-z-]+)", re.MULTILINE)
PRELUDE = """
import types
epochs = 3
def fresh_state(): return types.SimpleNamespace(epoch=0)
def train_one_epoch(state): state.epoch += 1
"""


def names(pattern: re.Pattern[str]) -> set[str]:
    """What a pattern catches in all pages."""
    found = (match for page in PAGES for match in pattern.findall(page.read_text()))
    return {next(part for part in match if part) for match in found}


def registered(group: typer.Typer) -> list[Any]:
    """The commands of a group and of the groups in it."""
    inner = [
        command for one in group.registered_groups if one.typer_instance for command in registered(one.typer_instance)
    ]
    return [*group.registered_commands, *inner]


def meant(words: list[str]) -> tuple[Any, list[str]]:
    """The command that the words name, groups followed, and the words that are left."""
    command: Any = CLI
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    return command, words


def test_every_command_of_administrators_is_named_in_a_page_and_exists() -> None:
    assert names(ADMIN) == set(meant(["admin", "policy"])[0].commands)


def test_every_command_that_keeps_capacity_free_is_named_in_a_page_and_exists() -> None:
    inner = meant(["admin", "reservation"])[0].commands
    named = {match for page in PAGES for match in KEEPING.findall(page.read_text())}
    assert {name for group, name in named if group} == set(inner)
    assert {name for group, name in named if not group} >= {"drain", "resume"}


def test_every_command_that_a_page_names_exists() -> None:
    spoken = names(SPOKEN)
    assert "submit" in spoken
    assert spoken - CLI.commands.keys() == set()


def test_every_module_of_commands_has_registered_some() -> None:
    owners = {command.callback.__module__ for command in registered(app) if command.callback}
    assert {module.__name__ for module in COMMAND_MODULES} <= owners


def test_every_option_that_a_page_shows_exists() -> None:
    shown = [m for page in PAGES for m in TYPED.findall(page.read_text())]
    assert shown
    for name, rest in ((a or c, b or d) for a, b, c, d in shown):
        ours = rest.split(" -- ")[0].split("#")[0]
        command, _ = meant([name, *ours.split()])
        known = {option for p in command.params for option in (*p.opts, *p.secondary_opts)}
        assert set(re.findall(r"(?<=\s)--?[a-z][a-z-]*", ours)) <= known | {"--help"}, f"lowtide {name}{rest}"


def test_every_target_that_a_page_names_exists() -> None:
    assert {"demo", "test", "check"} <= names(MADE) <= TARGETS


def test_every_target_is_listed_by_help() -> None:
    told = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout
    assert set(re.findall(r"^  make ([a-z-]+) ", told, re.MULTILINE)) == TARGETS


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_python_blocks_of_the_pages_run(page: Path) -> None:
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", PRELUDE + block],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
