"""docs/errors.md is the error tree: every slug with its status and exit code."""

from collections.abc import Iterator

import pytest

from lowtide.scheduler.model import errors
from lowtide.scheduler.model.errors import LowtideError
from tests.docs.tree import ROOT, table_rows

ROWS = table_rows(ROOT / "docs" / "errors.md")


def tree(root: type[LowtideError] = LowtideError) -> Iterator[type[LowtideError]]:
    """The classes of the error module, depth first; tests may have defined others."""
    if root.__module__ == errors.__name__:
        yield root
    for child in root.__subclasses__():
        yield from tree(child)


def test_the_page_lists_every_error_with_its_status_and_exit_code() -> None:
    documented = {(slug.strip("`"), int(status), int(code)) for slug, status, code, _meaning, _fix in ROWS}
    assert documented == {(error.slug, error.status, error.exit_code) for error in tree()}


def test_every_slug_belongs_to_one_class() -> None:
    slugs = [error.slug for error in tree()]
    assert len(slugs) == len(set(slugs)) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_every_error_says_what_it_means_and_what_to_do(row: list[str]) -> None:
    assert row[3]
    assert row[4]


@pytest.mark.parametrize("error", list(tree()), ids=lambda error: error.slug)
def test_the_tree_in_the_docstring_gives_the_real_codes(error: type[LowtideError]) -> None:
    lines = [line for line in (errors.__doc__ or "").splitlines() if f" {error.__name__} " in line]
    if error is LowtideError:
        return
    assert len(lines) == 1
    assert f"exit {error.exit_code} " in lines[0]
    assert lines[0].endswith(f"HTTP {error.status}")
