"""What was answered outlives a restart, and so does what was refused; a broken file costs nothing but itself."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from lowtide.connectors.grid import shelf as module
from lowtide.connectors.grid.reader import MAX_COOLDOWN_S, GridReader
from lowtide.connectors.grid.shelf import Memory, Shelf, fingerprint_of
from lowtide.scheduler.model.errors import GridFailure, GridFailureKind
from lowtide.scheduler.model.series import PointKind
from tests.contract.test_grid_reader import HOUR, NOON, World, a_series, kind_of, outage


def live(world: World, folder: Path, script: Callable[[GridReader], Awaitable[None]], options: str = "") -> None:
    """One life of the daemon: a new reader over the same folder, closed at the end."""

    async def whole() -> None:
        reader = GridReader(world, world.clock, shelf=Shelf(folder, options))
        await script(reader)
        await reader.close()

    asyncio.run(whole())
    world.asked = [told for told in world.asked if told != "close"]


async def ask_both(reader: GridReader) -> None:
    assert await reader.forecast("GB") is not None
    assert (await reader.actual("GB", HOUR)).points


async def refused(reader: GridReader) -> None:
    await kind_of(reader.forecast("GB"))


def test_an_answer_is_fresh_after_a_restart_for_the_rest_of_its_time_and_no_longer(tmp_path: Path) -> None:
    world = World()
    live(world, tmp_path, ask_both)
    world.later(899)
    live(world, tmp_path, ask_both)
    assert world.asked == ["forecast GB", "actual GB 1d"]
    world.later(1)
    live(world, tmp_path, ask_both)
    assert len(world.asked) == 4


def test_an_answer_is_the_same_after_a_restart(tmp_path: Path) -> None:
    world, told = World(), []

    async def script(reader: GridReader) -> None:
        told.append((await reader.forecast("GB"), await reader.actual("GB", HOUR)))

    live(world, tmp_path, script)
    live(world, tmp_path, script)
    assert told[0] == told[1]
    assert len(world.asked) == 2


def test_that_a_source_makes_no_forecast_is_remembered_as_well(tmp_path: Path) -> None:
    world = World(makes_forecasts=False)

    async def script(reader: GridReader) -> None:
        assert await reader.forecast("GB") is None

    live(world, tmp_path, script)
    live(world, tmp_path, script)
    assert world.asked == ["forecast GB"]


def test_a_stale_answer_serves_during_an_outage_that_a_restart_interrupts(tmp_path: Path) -> None:
    world = World()
    live(world, tmp_path, ask_both)
    world.failure = outage()
    world.later(7199)
    live(world, tmp_path, ask_both)
    world.later(1 + 4 * 3600)
    live(world, tmp_path, refused)


@pytest.mark.parametrize("kind", [kind for kind in GridFailureKind if kind.is_permanent])
def test_a_permanent_failure_is_not_asked_about_again_because_of_a_restart(
    tmp_path: Path, kind: GridFailureKind
) -> None:
    world = World(failure=outage(kind))
    live(world, tmp_path, refused)
    world.later(MAX_COOLDOWN_S - 1)
    live(world, tmp_path, refused)
    assert world.asked == ["forecast GB"]
    world.later(1)
    live(world, tmp_path, refused)
    assert len(world.asked) == 2


def test_a_rate_limit_holds_for_all_zones_after_a_restart(tmp_path: Path) -> None:
    world = World(failure=outage(GridFailureKind.RATE_LIMITED, NOON + timedelta(seconds=600)))
    live(world, tmp_path, refused)
    world.failure = None

    async def other(reader: GridReader) -> None:
        assert await kind_of(reader.actual("DE", HOUR)) == GridFailureKind.RATE_LIMITED

    live(world, tmp_path, other)
    assert world.asked == ["forecast GB"]


def test_other_settings_forget_what_was_answered_and_refused_under_the_old_ones(tmp_path: Path) -> None:
    world = World(failure=outage(GridFailureKind.AUTH))
    live(world, tmp_path, refused, "old")
    world.failure = None
    live(world, tmp_path, ask_both, "new")
    assert world.asked == ["forecast GB", "forecast GB", "actual GB 1d"]


def test_a_clock_that_was_set_back_makes_nothing_fresh_for_ever(tmp_path: Path) -> None:
    world = World()
    live(world, tmp_path, ask_both)
    world.later(-86_400)
    live(world, tmp_path, ask_both)
    assert len(world.asked) == 4


BROKEN = [
    b"", b"{", b"null", b"[]", b"{}", b"\xff\xfe", b"[" * 100_000,
    b'{"version": 1, "fingerprint": ""}',
    b'{"version": 1, "fingerprint": "", "question": ["forecast", "GB"], "answer": {"points": 7}}',
]  # fmt: skip


@pytest.mark.parametrize("content", BROKEN, ids=range(len(BROKEN)))
def test_a_broken_file_is_ignored_and_written_anew(tmp_path: Path, content: bytes) -> None:
    world = World()
    live(world, tmp_path, ask_both)
    for path in tmp_path.iterdir():
        path.write_bytes(content)
    live(world, tmp_path, ask_both)
    live(world, tmp_path, ask_both)
    assert len(world.asked) == 4


@pytest.mark.parametrize("key", ["answered_at", "not_before", "span_s", "failures", "failure", "answer", "question"])
@pytest.mark.parametrize("value", [7, "2026-03-10T12:00", "x", [], {}, 1e300])
def test_a_file_with_a_wrong_value_is_ignored_or_harmless(tmp_path: Path, key: str, value: object) -> None:
    world = World()
    live(world, tmp_path, ask_both)
    for path in tmp_path.iterdir():
        path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    live(world, tmp_path, ask_both)


def test_a_file_for_another_zone_is_never_that_zones_answer(tmp_path: Path) -> None:
    world = World()
    live(world, tmp_path, ask_both)
    mine, other_zone = '"question":["forecast","GB"]', '"question":["forecast","DE"]'
    (path,) = [path for path in tmp_path.iterdir() if mine in path.read_text()]
    path.write_text(path.read_text().replace(mine, other_zone))

    async def other(reader: GridReader) -> None:
        series = await reader.forecast("DE")
        assert series is not None
        assert series.zone_returned == "DE"

    live(world, tmp_path, other)


def test_a_disk_that_refuses_costs_nothing_but_the_memory(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    live(World(), blocked / "grid", ask_both)


def test_what_a_crash_left_half_written_is_removed(tmp_path: Path) -> None:
    (tmp_path / "x.tmp").write_text("half")
    assert Shelf(tmp_path, "").load("fake") == {}
    assert list(tmp_path.iterdir()) == []


def test_the_folder_is_bounded_and_keeps_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FILES_CAP", 3)
    shelf = Shelf(tmp_path, "")
    for number in range(8):
        shelf.save(("forecast", f"zone {number}"), Memory(failures=number))
        newest = max(tmp_path.iterdir(), key=lambda path: path.stat().st_ctime_ns)
        os.utime(newest, ns=(number, number))
    assert sorted(shelf.load("fake")) == [("forecast", f"zone {number}") for number in (5, 6, 7)]
    assert len(list(tmp_path.iterdir())) == 3


def test_an_answer_larger_than_the_cap_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf, question = Shelf(tmp_path, ""), ("forecast", "GB")
    shelf.save(question, Memory(failures=1))
    monkeypatch.setattr(module, "FILE_CAP", 1000)
    shelf.save(question, Memory(answer=a_series(NOON, 48, PointKind.FORECAST, "GB", NOON), answered_at=NOON))
    assert list(tmp_path.iterdir()) == []


def test_the_fingerprint_follows_options_key_files_and_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "key"
    key.write_text("one")
    monkeypatch.setenv("A_KEY", "one")
    options = {"token_file": str(key), "headers": {"auth": {"env": "A_KEY"}}, "zones": ["a"]}
    told = [fingerprint_of(options), fingerprint_of({**options, "zones": ["b"]})]
    monkeypatch.setenv("A_KEY", "two")
    told.append(fingerprint_of(options))
    key.write_text("three")
    told.append(fingerprint_of(options))
    assert len(set(told)) == 4
    assert fingerprint_of(options) == told[-1]


def test_failures_of_the_past_carry_their_words_and_their_fix(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, "")
    failure = GridFailure(GridFailureKind.GONE, "it is gone.", retry_at=NOON, fix="Look elsewhere.")
    shelf.save(("actual", "GB"), Memory(failure=failure, not_before=NOON, failures=3))
    found = shelf.load("fake")["actual", "GB"]
    assert found.failure is not None
    assert (str(found.failure), found.failure.retry_at) == (str(failure), NOON)
    assert (found.not_before, found.failures) == (NOON, 3)
