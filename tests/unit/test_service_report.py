"""A report without ids covers every job that ran, however many there are."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from lowtide.scheduler.control import service
from lowtide.scheduler.control.clock import Clock
from lowtide.scheduler.control.service import Service
from lowtide.scheduler.control.writer import Writer
from lowtide.scheduler.settings import Settings
from tests.books import HALF_HOUR, NOON, Books, a_series


def a_service(books: Books, tmp_path: Path) -> tuple[Service, Writer]:
    writer, unused = (
        Writer(books.database),
        dict[str, Any].fromkeys(("observer", "loop", "driver", "grid", "background", "waits_for")),
    )
    made = Service(
        settings=Settings(data_dir=tmp_path),
        writer=writer,
        sites={},
        clock=Clock(wall=(NOON + 4 * HALF_HOUR).timestamp),
        url=str,
        shutdown=lambda _stop_cluster: None,
        **unused,  # type: ignore[arg-type]  # a report needs none of them
    )
    return made, writer


def test_a_report_goes_through_all_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "REPORT_PAGE", 3)
    books = Books(tmp_path)
    for n in range(8):
        books.ran(f"mri-{n}")
    books.settle(NOON + 2 * HALF_HOUR, actual=(a_series(100),))
    made, writer = a_service(books, tmp_path)
    told = asyncio.run(made.report(None))
    assert sorted(r["job"]["id"] for r in told["jobs"]) == [f"mri-{n}" for n in range(8)]
    assert told["emissions_g"] == pytest.approx(8 * 125)
    assert (told["jobs_priced"], told["jobs_compared"], told["avoided_g"]) == (8, 8, pytest.approx(0))
    assert [r["job"]["id"] for r in asyncio.run(made.report(["mri-5", "mri-2"]))["jobs"]] == ["mri-5", "mri-2"]
    writer.close()
    books.database.close()
