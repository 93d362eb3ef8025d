"""The sources that need no network: the user's file, the shipped recording, the yearly averages."""

import asyncio
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lowtide.connectors.grid import recorded as recorded_module
from lowtide.connectors.grid import static as static_module
from lowtide.connectors.grid.file import SIZE_CAP, File
from lowtide.connectors.grid.recorded import Recorded
from lowtide.connectors.grid.static import Static
from lowtide.scheduler.model.errors import GridFailure, GridFailureKind
from lowtide.scheduler.model.series import Basis, PointKind, Series

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ROOT = Path(__file__).parents[2]
COLLECTED = ROOT / ".." / "shared"


def past(source: File, hours: int = 24, now: datetime = NOON) -> Series:
    return asyncio.run(source.actual("campus", now - hours * HOUR, now, now))


def ahead(source: File, now: datetime = NOON) -> Series | None:
    return asyncio.run(source.forecast("campus", now))


def a_file(tmp_path: Path, *lines: str, name: str = "grid.csv", header: str = "start_utc,g_per_kwh") -> File:
    path = tmp_path / name
    path.write_text("\n".join([header, *lines]) + "\n" if name.endswith(".csv") else lines[0])
    return File(str(path), "campus")


def told(source: File) -> str:
    with pytest.raises(GridFailure) as caught:
        past(source)
    assert caught.value.kind == GridFailureKind.BAD_RESPONSE
    assert str(source._path) in caught.value.message
    return caught.value.message


# ---- the user's file ----


def test_a_row_lasts_until_the_next_and_the_last_as_long_as_the_others(tmp_path: Path) -> None:
    series = past(a_file(tmp_path, "2026-03-10T08:00Z,1", "2026-03-10T09:00Z,2", "2026-03-10T10:00Z,3"))
    assert [(p.start.hour, p.end.hour, p.g_per_kwh) for p in series.points] == [(8, 9, 1), (9, 10, 2), (10, 11, 3)]
    assert series.step_s == 3600


def test_a_missing_row_stays_a_gap(tmp_path: Path) -> None:
    rows = [f"2026-03-10T{hour:02}:00Z,{hour}" for hour in (4, 5, 6, 9, 10)]
    series = past(a_file(tmp_path, *rows))
    assert series.at(NOON.replace(hour=7)) is None
    assert series.mean_g_per_kwh(NOON.replace(hour=4), NOON.replace(hour=7)) == 5.0


def test_an_end_that_is_given_holds(tmp_path: Path) -> None:
    header = "start_utc,g_per_kwh,end_utc"
    series = past(a_file(tmp_path, "2026-03-10T08:00Z,1,2026-03-10T08:15Z", header=header))
    assert (series.points[0].end.minute, series.step_s) == (15, 900)


def test_offsets_are_turned_into_utc(tmp_path: Path) -> None:
    series = past(a_file(tmp_path, "2026-03-10T09:00+01:00,1", "2026-03-10T09:00Z,2"))
    assert series.points[0].start == NOON.replace(hour=8)


def test_figures_mean_what_the_settings_say(tmp_path: Path) -> None:
    path = tmp_path / "grid.csv"
    path.write_text("start_utc,g_per_kwh\n2026-03-10T08:00Z,1\n2026-03-10T09:00Z,1\n")
    series = past(File(str(path), "campus", basis="lifecycle", attribution="the campus plant"))
    assert (series.basis, series.attribution) == (Basis.LIFECYCLE, "the campus plant")
    with pytest.raises(ValueError, match="guessed"):
        File(str(path), "campus", basis="guessed")


def test_a_table_of_a_spreadsheet_with_its_mark_at_the_beginning_is_read(tmp_path: Path) -> None:
    path = tmp_path / "grid.csv"
    path.write_bytes(b"\xef\xbb\xbfstart_utc,g_per_kwh\r\n2026-03-10T08:00Z,1\r\n2026-03-10T09:00Z,1\r\n")
    assert len(past(File(str(path), "campus")).points) == 2


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("2026-03-10T09:00Z,nan", "g_per_kwh is 'nan'"),
        ("2026-03-10T09:00Z,", "g_per_kwh is ''"),
        ("2026-03-10T09:00Z", "g_per_kwh is None"),
        ("2026-03-10T09:00Z,null", "g_per_kwh is 'null'"),
        ("2026-03-10T09:00Z,-3", "g_per_kwh is '-3'"),
        ("2026-03-10T09:00Z,5001", "g_per_kwh is '5001'"),
        ("2026-03-10T09:00Z,inf", "g_per_kwh is 'inf'"),
        ("2026-03-10T09:00,1", "start_utc is '2026-03-10T09:00'; expected a time with its zone"),
        ("10/03/2026 09:00,1", "expected a time with its zone"),
        ("9999-12-31T23:59:59Z,1", "expected a time with its zone"),
        (",1", "start_utc is empty"),
        ("2026-03-10T08:00Z,1", "overlaps"),
        ("2026-03-10T07:00Z,1", "out of order"),
    ],
)
def test_a_bad_row_is_named_by_its_line_although_blank_lines_stand_before_it(
    tmp_path: Path, row: str, what: str
) -> None:
    message = told(a_file(tmp_path, "2026-03-10T06:00Z,1", "", "2026-03-10T08:00Z,1", row, "2026-03-10T11:00Z,1"))
    assert "line 5" in message
    assert what in message


@pytest.mark.parametrize(
    ("item", "what"),
    [
        ('{"start_utc": "2026-03-10T09:00Z", "g_per_kwh": null}', "item 2: g_per_kwh is None"),
        ('{"start_utc": "2026-03-10T09:00Z", "g_per_kwh": NaN}', "item 2: g_per_kwh is nan"),
        ('{"start_utc": "2026-03-10T09:00Z", "g_per_kwh": true}', "item 2: g_per_kwh is True"),
        ('{"start_utc": "2026-03-10T09:00Z"}', "item 2: g_per_kwh is None"),
        ('{"start_utc": 7, "g_per_kwh": 1}', "item 2: start_utc is 7"),
        ('{"start_utc": "2026-03-10T09:00Z", "g_per_kwh": 1, "kind": "static"}', "item 2: kind 'static'"),
        ("7", "expected a list of objects"),
        ("{", "not JSON"),
    ],
)
def test_a_bad_item_of_json_is_named_by_its_number(tmp_path: Path, item: str, what: str) -> None:
    first = '{"start_utc": "2026-03-10T08:00Z", "g_per_kwh": 1}'
    assert what in told(a_file(tmp_path, f"[{first}, {item}]", name="grid.json"))


def test_a_table_without_its_columns_is_refused_by_their_names(tmp_path: Path) -> None:
    assert "g_per_kwh or start_utc" in told(a_file(tmp_path, "2026-03-10T09:00Z,1", header="time,carbon"))


def test_a_single_row_needs_its_end(tmp_path: Path) -> None:
    assert "line 2: a single row needs end_utc" in told(a_file(tmp_path, "2026-03-10T09:00Z,1"))


def test_what_is_no_text_or_too_large_or_not_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "grid.csv"
    path.write_bytes(b"start_utc,g_per_kwh\n\xff\xff")
    assert "not UTF-8" in told(File(str(path), "campus"))
    with path.open("r+b") as file:
        file.truncate(SIZE_CAP + 1)
    assert "larger than 32 MiB" in told(File(str(path), "campus"))
    path.unlink()
    with pytest.raises(GridFailure) as caught:
        past(File(str(path), "campus"))
    assert caught.value.kind == GridFailureKind.UNAVAILABLE


def test_a_change_is_seen_and_a_mended_file_is_read_again(tmp_path: Path) -> None:
    source = a_file(tmp_path, "2026-03-10T08:00Z,1", "2026-03-10T09:00Z,1")
    assert past(source).points[0].g_per_kwh == 1
    path = source._path
    before = path.stat()
    path.write_text(path.read_text().replace(",1", ",12"))
    # The same moment of change, as a coarse clock gives it: the size tells.
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert past(source).points[0].g_per_kwh == 12
    path.write_text(path.read_text().replace(",12", ",xx"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert "line 2" in told(source)
    path.write_text(path.read_text().replace(",xx", ",13"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 2))
    assert past(source).points[0].g_per_kwh == 13


def test_an_unchanged_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = a_file(tmp_path, "2026-03-10T08:00Z,1", "2026-03-10T09:00Z,1")
    first = past(source)
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: pytest.fail("read again"))
    assert past(source) == first


def test_the_newest_issue_that_is_known_is_the_forecast(tmp_path: Path) -> None:
    rows = [
        f"2026-03-10T{hour:02}:00Z,{issued * 100 + hour},2026-03-10T{issued:02}:00Z"
        for issued in (13, 6, 11)
        for hour in range(issued, issued + 8)
    ]
    source = a_file(tmp_path, *rows, header="start_utc,g_per_kwh,issued_utc")
    for now, issued in ((NOON, 11), (NOON.replace(hour=10), 6), (NOON.replace(hour=13), 13)):
        series = ahead(source, now)
        assert series is not None
        assert series.issued_at == NOON.replace(hour=issued)
        assert series.points[0].g_per_kwh == issued * 100 + now.hour
    with pytest.raises(GridFailure) as caught:
        ahead(source, NOON.replace(hour=5))
    assert caught.value.kind == GridFailureKind.NO_DATA


def test_a_file_without_forecasts_makes_none(tmp_path: Path) -> None:
    assert ahead(a_file(tmp_path, "2026-03-10T08:00Z,1", "2026-03-10T09:00Z,1")) is None


def test_a_used_up_forecast_is_no_data(tmp_path: Path) -> None:
    rows = ["2026-03-10T08:00Z,1,forecast", "2026-03-10T09:00Z,1,forecast"]
    with pytest.raises(GridFailure) as caught:
        ahead(a_file(tmp_path, *rows, header="start_utc,g_per_kwh,kind"))
    assert caught.value.kind == GridFailureKind.NO_DATA


# ---- the shipped recording ----


def test_the_recording_has_seventeen_days_without_a_gap() -> None:
    source = Recorded()
    series = asyncio.run(source.actual("GB", source.first, source.last, source.last))
    assert source.last - source.first == 17 * DAY
    assert len(series.points) == 816
    assert series.covers(source.first, source.last)
    figures = [p.g_per_kwh for p in series.points]
    assert (min(figures), max(figures), round(sum(figures) / 816, 1)) == (40, 252, 128.3)


def test_an_issue_becomes_known_half_an_hour_after_its_slot_began_and_not_before() -> None:
    source = Recorded()
    known = datetime(2023, 3, 14, 10, 0, tzinfo=UTC)
    before, after = (asyncio.run(source.forecast("GB", now)) for now in (known - timedelta(microseconds=1), known))
    assert before is not None
    assert after is not None
    assert before.issued_at == datetime(2023, 3, 14, 4, 0, tzinfo=UTC)
    assert after.issued_at == known
    assert len(after.points) == 96


def test_the_recording_of_the_gap_in_the_issues_goes_on_with_the_last_one() -> None:
    series = asyncio.run(Recorded().forecast("GB", datetime(2023, 3, 21, 7, 29, tzinfo=UTC)))
    assert series is not None
    assert series.issued_at == datetime(2023, 3, 19, 20, 0, tzinfo=UTC)
    assert series.points[-1].end == datetime(2023, 3, 21, 19, 30, tzinfo=UTC)


def test_outside_of_its_days_the_recording_says_which_days_it_has() -> None:
    with pytest.raises(GridFailure) as caught:
        asyncio.run(Recorded().actual("GB", NOON - DAY, NOON, NOON))
    assert caught.value.kind == GridFailureKind.NO_DATA
    assert "2023-03-14" in caught.value.fix


def test_whoever_gets_the_data_gets_its_attribution() -> None:
    shipped = (recorded_module.DATA.parent / "ATTRIBUTION.txt").read_text()
    for name in (recorded_module.DATA.name, static_module.DATA.name):
        assert name in shipped
    for owner in ("National Energy System Operator", "Nick Powell", "Ember (2025)", "Our World in Data"):
        assert owner in shipped
    assert shipped.count("CC BY 4.0") >= 2


@pytest.mark.skipif(not COLLECTED.is_dir(), reason="the collected tables are not beside this checkout")
def test_the_shipped_bytes_come_from_the_script(tmp_path: Path) -> None:
    inputs = [str(COLLECTED / "bench" / "neso"), str(COLLECTED / "data" / "grid" / "static_intensity.csv")]
    subprocess.run([sys.executable, str(ROOT / "scripts" / "derive_recorded.py"), *inputs, str(tmp_path)], check=True)
    for data in (recorded_module.DATA, static_module.DATA):
        assert (tmp_path / data.name).read_bytes() == data.read_bytes()


# ---- the yearly averages ----


def yearly(zone: str) -> Series:
    return asyncio.run(Static().actual(zone, NOON - DAY, NOON, NOON))


def test_every_country_has_two_names_and_a_recent_year() -> None:
    zones = Static().zones()
    assert len(zones) == len(set(zones)) == 2 * 212
    for zone in zones:
        series = yearly(zone)
        assert series.issued_at is not None
        assert series.issued_at.year >= 2022
        assert series.points[0].kind == PointKind.STATIC


def test_both_names_of_a_country_give_its_figure_and_its_vintage() -> None:
    for zone in ("GBR", "GB"):
        series = yearly(zone)
        assert series.points[0].g_per_kwh == 217.1
        assert series.notes == ("average of GBR in 2025",)
        assert series.basis == Basis.LIFECYCLE


def test_a_yearly_average_and_the_grid_of_the_same_country_may_not_be_compared() -> None:
    source = Recorded()
    grid = asyncio.run(source.actual("GB", source.first, source.last, source.last))
    assert yearly("GB").key != grid.key


def test_a_yearly_average_is_no_forecast() -> None:
    assert asyncio.run(Static().forecast("GB", NOON)) is None


def test_the_file_of_codes_names_each_country_once() -> None:
    lines = static_module.COUNTRIES.read_text().splitlines()[1:]
    pairs = [line.split(",") for line in lines]
    assert all(len(two) == 2 and len(three) == 3 for two, three in pairs)
    assert len({two for two, _ in pairs}) == len({three for _, three in pairs}) == len(pairs)


def test_json_of_a_yearly_average_keeps_its_notes() -> None:
    series = yearly("DE")
    assert Series.from_json(json.loads(json.dumps(series.to_json()))).notes == series.notes
