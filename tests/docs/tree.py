"""The repository as the tests of the docs see it: which files are ours, their tables and their links."""

import re
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


@cache
def tracked() -> tuple[Path, ...]:
    """Files that git keeps or would keep, so that a build folder is not read."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    return tuple(path for path in paths if path.is_file() and not path.is_symlink())


def files(*suffixes: str) -> list[Path]:
    """Our files with these suffixes."""
    return [path for path in tracked() if path.suffix in suffixes]


def table_rows(page: Path) -> list[list[str]]:
    """The body rows of a page's tables, cells stripped; pipes inside code spans must be escaped."""
    rows = [line for line in page.read_text().splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]
    heads = [index for index, row in enumerate(cells) if set("".join(row)) <= set("-:")]
    skipped = {*heads, *(index - 1 for index in heads)}
    return [row for index, row in enumerate(cells) if index not in skipped]


def links(text: str) -> list[str]:
    """The targets of a text's Markdown links, code blocks aside."""
    return LINK.findall(FENCED.sub("", text))
