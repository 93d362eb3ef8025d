"""Jobs and receipts are read in pages, however many there are; a report without ids covers every job that ran."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import event

from lowtide.scheduler.control import lookup
from lowtide.scheduler.control.clock import Clock
from lowtide.scheduler.control.lookup import Lookup, Parts
from lowtide.scheduler.control.writer import Writer
from lowtide.scheduler.decide.decide import decide
from lowtide.scheduler.model.bind import BindCode, Insight
from lowtide.scheduler.settings import Settings
from tests.books import HALF_HOUR, NOON, Books, a_series
from tests.builders import a_dip, a_forecast, a_job_view, a_queue, a_snapshot


def a_lookup(books: Books, tmp_path: Path) -> tuple[Lookup, Writer]:
    writer = Writer(books.database)
    unused = dict[str, Any].fromkeys(("observer", "loop", "driver", "grid", "background", "policy_sets", "shadow"))
    parts = Parts(
        settings=Settings(data_dir=tmp_path),
        writer=writer,
        sites={},
        clock=Clock(wall=(NOON + 4 * HALF_HOUR).timestamp),
        **unused,  # type: ignore[arg-type]  # a report needs none of them
    )
    return Lookup(parts), writer


def queries_of(books: Books, work: Coroutine[Any, Any, object]) -> int:
    """How many statements a piece of work takes."""
    told: list[object] = []

    def hear(*statement: object) -> None:
        told.append(statement)

    event.listen(books.database._reader, "before_cursor_execute", hear)
    asyncio.run(work)
    event.remove(books.database._reader, "before_cursor_execute", hear)
    return len(told)


def test_a_list_of_jobs_takes_no_more_queries_for_more_jobs(tmp_path: Path) -> None:
    books = Books(tmp_path)
    made, writer = a_lookup(books, tmp_path)
    taken = []
    for name in ("mri-1", "mri-2", "mri-3"):
        books.ran(name)
        taken.append(queries_of(books, made.jobs()))
    assert set(taken) == {taken[0]}
    assert [job["site"] for job in asyncio.run(made.jobs())] == ["lab"] * 3
    writer.close()
    books.database.close()


def test_a_report_goes_through_all_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "PAGE", 3)
    books = Books(tmp_path)
    for n in range(8):
        books.ran(f"mri-{n}")
    books.settle(NOON + 2 * HALF_HOUR, actual=(a_series(100),))
    made, writer = a_lookup(books, tmp_path)
    told = asyncio.run(made.report(None))
    assert sorted(r["job"]["id"] for r in told["jobs"]) == [f"mri-{n}" for n in range(8)]
    assert told["emissions_g"] == pytest.approx(8 * 125)
    assert (told["jobs_priced"], told["jobs_compared"], told["avoided_g"]) == (8, 8, pytest.approx(0))
    assert [r["job"]["id"] for r in asyncio.run(made.report(["mri-5", "mri-2"]))["jobs"]] == ["mri-5", "mri-2"]
    writer.close()
    books.database.close()


def test_what_binds_is_told_of_the_plan_that_the_snapshot_led_to_and_of_no_other(tmp_path: Path) -> None:
    books = Books(tmp_path)
    made, writer = a_lookup(books, tmp_path)
    view = a_job_view(hours=2, queue="night")
    snapshot = a_snapshot(view, queues=[a_queue("night", policy="asap")], forecasts=[a_forecast(a_dip())])
    plan = decide(snapshot)
    made._loop = SimpleNamespace(latest_snapshot=snapshot)  # type: ignore[assignment]  # all that is asked of it
    assert [bind.code for bind in made._insight(plan, view.job_id).binds] == [BindCode.POLICY]
    assert made._insight(replace(plan, made_at=plan.made_at + HALF_HOUR), view.job_id) == Insight()
    writer.close()
    books.database.close()
