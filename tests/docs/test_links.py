"""Every relative link leads somewhere, inside the repository."""

from pathlib import Path

import pytest

from tests.docs.tree import ROOT, files, links

PAGES = files(".md")


def anchors(page: Path) -> set[str]:
    """The anchors that headings make: lower case, words joined by hyphens, punctuation dropped."""
    heads = [line.lstrip("#").strip().lower() for line in page.read_text().splitlines() if line.startswith("#")]
    return {"".join(c for c in head.replace(" ", "-") if c.isalnum() or c in "-_") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_every_relative_link_leads_to_a_file_of_the_repository(page: Path) -> None:
    for target in links(page.read_text()):
        if "://" in target or target.startswith("mailto:"):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.is_relative_to(ROOT), f"{target} leads out of the repository"
        assert path.exists(), f"{target} leads nowhere"
        assert not anchor or anchor in anchors(path), f"{target}: there is no such heading"


def test_there_are_pages_and_links_to_look_at() -> None:
    assert sum(len(links(page.read_text())) for page in PAGES) > len(PAGES)
