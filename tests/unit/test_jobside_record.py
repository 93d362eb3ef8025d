"""Report lines: written whole, read back exactly, and nothing a log may hold makes the reader stumble."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from lowtide.connectors.jobside import record

FENCE = "0f3c"
ENDED: dict[str, Any] = {
    "start_wall_s": 10.0,
    "end_wall_s": 20.0,
    "exit_code": 0,
    "signal": None,
    "asked_to_stop": False,
    "suspended": False,
    "checkpoint_seq": None,
    "results": {},
}


def line(kind: str, values: dict[str, Any], fence: str = FENCE) -> str:
    return f"\n{record.PREFIX}{fence}:: {json.dumps({'kind': kind, **values})}\n"


def sample(wall_s: float, cpu_j: float) -> dict[str, Any]:
    return {"wall_s": wall_s, "energy_j": {"cpu": cpu_j}, "sources": {"cpu": ["rapl", "measured"]}}


def test_a_written_line_is_read_back(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as file:
        record.write(FENCE, "started", {"wall_s": 1.5, "host": "node-é", "pid": 7, "gpus": ["GPU-a"]}, file.fileno())
        record.write(FENCE, "ended", ENDED, file.fileno())
    report = record.parse(log.read_text(), FENCE)
    assert report.started == record.Started(1.5, "node-é", 7, "", ("GPU-a",))
    assert report.ended == record.Ended(
        10.0, 20.0, 0, None, asked_to_stop=False, suspended=False, checkpoint_seq=None, results={}
    )


def test_a_write_that_is_cut_short_goes_on_where_it_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    out = bytearray()

    def few(_descriptor: int, data: bytes) -> int:
        out.extend(data[:7])
        return min(7, len(data))

    monkeypatch.setattr(os, "write", few)
    record.write(FENCE, "result", {"results": {"accuracy": 0.5}})
    assert record.parse(out.decode(), FENCE).results == {"accuracy": 0.5}


def test_a_number_that_is_not_finite_is_never_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        record.write(FENCE, "result", {"results": {"accuracy": float("nan")}})


def test_a_line_behind_unfinished_output_is_found(capfd: pytest.CaptureFixture[str]) -> None:
    os.write(1, b"50 %")
    record.write(FENCE, "result", {"results": {"accuracy": 0.5}})
    os.write(1, b" done\n")
    text = capfd.readouterr().out
    assert record.parse(text, FENCE).results == {"accuracy": 0.5}
    assert record.strip(text) == "50 % done\n"


def test_lines_with_another_fence_are_not_ours() -> None:
    text = line("result", {"results": {"accuracy": 1.0}}, "other") + line("ended", ENDED, "0f3")
    assert record.parse(text, FENCE) == record.Report()


def test_a_report_quoted_in_the_middle_of_a_line_is_not_one() -> None:
    quoted = "see: " + line("result", {"results": {"accuracy": 1.0}}).strip()
    assert record.parse(quoted, FENCE) == record.Report()


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[]",
        "null",
        "7",
        '"text"',
        "[" * 100_000,
        '{"kind":"unknown"}',
        '{"kind":["ended"]}',
        '{"kind":"started","wall_s":NaN,"host":"h","pid":1}',
        '{"kind":"started","wall_s":1e999,"host":"h","pid":1}',
        '{"kind":"started","wall_s":1,"host":"h","pid":1e999}',
        f'{{"kind":"started","wall_s":1{"0" * 400},"host":"h","pid":1}}',
        '{"kind":"started","wall_s":true,"host":"h","pid":1}',
        '{"kind":"started","wall_s":1,"host":"h","pid":1,"gpus":7}',
        '{"kind":"sample","wall_s":1,"energy_j":{"cpu":-1}}',
        '{"kind":"sample","wall_s":1,"energy_j":{"cpu":null}}',
        '{"kind":"sample","wall_s":1,"energy_j":[1]}',
        '{"kind":"sample","wall_s":1,"energy_j":{"cpu":1},"sources":{"cpu":[]}}',
        '{"kind":"samples","rows":[[1]],"sources":{}}',
        '{"kind":"samples","rows":7}',
        '{"kind":"checkpoint","wall_s":1,"seq":"x","size":1,"sha256":""}',
        '{"kind":"result","results":{"accuracy":"high"}}',
        '{"kind":"result","results":null}',
        '{"kind":"ended"}',
        json.dumps({"kind": "ended", **ENDED, "exit_code": True}),
        json.dumps({"kind": "ended", **ENDED, "results": []}),
        json.dumps({"kind": "ended", **ENDED})[:-1],
    ],
)
def test_garbage_behind_the_right_fence_is_passed_over(body: str) -> None:
    good = line("result", {"results": {"accuracy": 0.5}})
    report = record.parse(f"\n{record.PREFIX}{FENCE}:: {body}\n{good}", FENCE)
    assert report == record.Report(results={"accuracy": 0.5})


def test_late_and_repeated_samples_change_nothing() -> None:
    """INV-16, on the way in."""
    early, late = line("sample", sample(1.0, 5.0)), line("sample", sample(2.0, 9.0))
    again = line(
        "samples", {"sources": {"cpu": ["rapl", "measured"]}, "rows": [[1.0, {"cpu": 5.0}], [2.0, {"cpu": 9.0}]]}
    )
    reports = [record.parse(text, FENCE) for text in (early + late, late + early + late, again, again + early)]
    assert reports[0].samples == tuple(
        record.Sample(s, {"cpu": j}, {"cpu": ("rapl", "measured")}) for s, j in ((1.0, 5.0), (2.0, 9.0))
    )
    assert all(report == reports[0] for report in reports)


def test_the_end_of_a_log_stands_for_the_whole() -> None:
    text = line("samples", {"sources": {}, "rows": [[15.0, {"cpu": 5.0}]]}) + line(
        "ended", {**ENDED, "results": {"f1": 0.5}}
    )
    report = record.parse("d half of a line" + text, FENCE)
    assert report.started == record.Started(10.0, "", 0)
    assert [s.energy_j for s in report.samples] == [{"cpu": 5.0}]
    assert report.results == {"f1": 0.5}


def test_repeated_samples_fit_their_lines_and_are_all_there(tmp_path: Path) -> None:
    sources = {"cpu": ("cpu_time", "modelled"), "gpu": ("nvml", "measured")}
    samples = [record.Sample(1_800_000_000.123 + n, {"cpu": n * 123.456, "gpu": n * 1e4}, sources) for n in range(600)]
    fence = "f" * 64
    with (tmp_path / "log").open("wb") as file:
        for values in record.sample_lines(samples):
            record.write(fence, "samples", values, file.fileno())
    text = (tmp_path / "log").read_text()
    assert record.parse(text, fence).samples == tuple(samples)
    assert max(map(len, text.split("\n"))) <= record.MAX_LINE


def test_no_samples_need_no_line() -> None:
    assert record.sample_lines([]) == []


def test_stripping_a_log_that_begins_or_ends_within_a_report() -> None:
    strip = record.strip
    assert strip('::lowtide::x:: {"kind"') == ""
    assert strip('a\n\n::lowtide::x:: {"kind"') == "a\n"
    assert strip("::lowtide::x:: {}\nb\n") == "b\n"
    assert strip("") == ""
