"""The help of every command, held to golden files, and what starting the command line may import."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from lowtide.scheduler.cli import main
from lowtide.scheduler.cli.flags import FLAGS
from lowtide.scheduler.cli.root import EPILOG, app

assert main.COMMAND_MODULES, "importing the entry point registers the commands"


def paths(group: Any, before: str = "") -> Iterator[str]:
    """Every command and group under a group, as it is typed."""
    for name, command in getattr(group, "commands", {}).items():
        yield f"{before}{name}"
        yield from paths(command, f"{before}{name} ")


COMMANDS = sorted(paths(get_command(app)))
HEAVY = (
    "pydantic",
    "fastapi",
    "httpx",
    "rich",
    "ray",
    "numpy",
    "plotext",
    "yaml",
    "sqlalchemy",
    "asyncio",
    "email.mime",
)
STYLE = re.compile(r"\x1b\[[0-9;]*m")


def help_of(*words: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("NO_COLOR", "1")
    result = CliRunner().invoke(
        app, [*words, "--help"], prog_name="lowtide", env={"COLUMNS": "100"}, terminal_width=100
    )
    assert result.exit_code == 0, result.output
    lines = STYLE.sub("", result.output).splitlines()
    return "\n".join(line.rstrip() for line in lines).strip() + "\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_is_kept(
    command: str, golden: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    golden(f"cli/{command.replace(' ', '-')}.txt", help_of(*command.split(), monkeypatch=monkeypatch))


def test_the_help_of_the_whole_is_kept(golden: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    golden("cli/lowtide.txt", help_of(monkeypatch=monkeypatch))


def test_the_help_names_every_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    told = " ".join(help_of(monkeypatch=monkeypatch).split())
    assert all(f"{code} " in EPILOG for code in range(6))
    assert "5 not done in time" in told


def test_no_two_flags_of_submit_share_a_spelling() -> None:
    spellings = [word for flag in FLAGS for spelling in flag.spellings for word in spelling.split("/")]
    assert len(spellings) == len(set(spellings))


def test_starting_the_command_line_imports_nothing_heavy() -> None:
    code = (
        "import sys; import lowtide.scheduler.cli.main, lowtide.scheduler.cli.listing;"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


def test_parsing_the_options_of_status_imports_nothing_heavy() -> None:
    code = (
        "import sys; import lowtide.scheduler.cli.main; from lowtide.scheduler.cli.root import app;"
        "sys.argv = ['lowtide', '--server', 'http://127.0.0.1:9', 'status', '-a', '-q', 'x', '-o', 'json', 'job'];\n"
        "try: app()\n"
        "except SystemExit as end: code = end.code\n"
        f"print(code, [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "4 []\n"
