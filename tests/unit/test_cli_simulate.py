"""The command ``lowtide simulate`` as a person types it; no daemon is needed."""

import json
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lowtide.scheduler.cli import main
from lowtide.scheduler.cli.root import app

assert main.COMMAND_MODULES, "importing the entry point registers the commands"
JOBS = "submit_s,duration_s,gpus\n0,3600,1\n1800,7200,2\n72000,5400,1\n"
KEYS = [
    *("policy", "params", "zones", "gpus", "sites", "jobs", "completed", "failed"),
    *("emissions_g", "baseline_emissions_g", "ratio", "transfer_g", "transfer_kwh", "energy_kwh"),
    *("cost", "currency", "baseline_cost"),
    *("mean_wait_h", "p95_wait_h", "max_wait_h", "patience_misses", "deadline_misses"),
    *("longest_miss_h", "peak_gpus", "suspensions", "churn"),
    *("lost_work_s", "bound_g", "bound_ratio", "over_bound_fraction", "captured_fraction"),
    *("forecast", "as_issued", "seed", "clairvoyant", "estimate"),
    *("slot_s", "plan_p50_ms", "plan_p99_ms", "projects", "wall_s", "foresight_fraction"),
]


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    begin = datetime(2026, 3, 10, tzinfo=UTC)
    rows = [f"{begin + timedelta(hours=i):%Y-%m-%dT%H:%MZ},{100 if i % 24 < 6 else 300}" for i in range(96)]
    (tmp_path / "jobs.csv").write_text(JOBS)
    (tmp_path / "ci.csv").write_text("start_utc,g_per_kwh\n" + "\n".join(rows))
    return ["--jobs", str(tmp_path / "jobs.csv"), "--intensity", str(tmp_path / "ci.csv")]


def simulate(*words: str) -> Result:
    return CliRunner().invoke(app, ["simulate", *words])


def test_the_document_has_the_keys_that_were_promised(files: list[str]) -> None:
    result = simulate(*files, "--policy", "lowest_window", "--gpus", "4", "--bound", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert list(found) == KEYS
    assert (found["completed"], found["peak_gpus"], found["forecast"]) == (3, 3, "perfect")
    assert found["bound_ratio"] <= found["ratio"] < 1
    assert 0 < found["captured_fraction"] <= 1
    assert found["over_bound_fraction"] == pytest.approx(found["ratio"] / found["bound_ratio"] - 1)


TARIFF = """\
currency: EUR
timezone: UTC
rates:
  - {from: 12:00, to: 18:00, per_kwh: 0.1}
  - {from: "18:00", to: "12:00", per_kwh: 0.5}
"""


def test_a_tariff_tells_the_cost_and_is_weighed_as_money_is_worth(files: list[str], tmp_path: Path) -> None:
    """The grid is clean until six, and electricity cheap from noon on."""
    (tmp_path / "tariff.yaml").write_text(TARIFF)
    options = [*files, "--policy", "balanced", "--tariff", str(tmp_path / "tariff.yaml")]
    green = json.loads(simulate(*options, "--json").output)
    cheap = json.loads(simulate(*options, "--money-g-per-unit", "100000", "--json").output)
    assert green["currency"] == cheap["currency"] == "EUR"
    assert cheap["cost"] < green["cost"]
    assert cheap["emissions_g"] > green["emissions_g"]
    assert "COST" in simulate(*options).output


@pytest.mark.parametrize(
    ("text", "words", "told"),
    [
        (None, ["--money-g-per-unit", "5"], "weighs what electricity costs, and that is not told"),
        (TARIFF, ["--money-g-per-unit", "-5"], "is -5.0"),
        (TARIFF.replace("18:00, per", "17:00, per"), [], "from mon 17:00 to mon 18:00 there is no rate; add one"),
        ("a: [", [], "is not YAML"),
    ],
)
def test_a_tariff_that_cannot_be_used_is_refused(
    files: list[str], tmp_path: Path, text: str | None, words: list[str], told: str
) -> None:
    if text is not None:
        (tmp_path / "tariff.yaml").write_text(text)
        words = ["--tariff", str(tmp_path / "tariff.yaml"), *words]
    result = simulate(*files, "--policy", "asap", *words)
    assert result.exit_code != 0
    assert told in " ".join(result.stderr.split())


def test_the_table_and_the_page_tell_how_far_each_result_is_above_the_bound(files: list[str], tmp_path: Path) -> None:
    pytest.importorskip("plotly")
    page = tmp_path / "page.html"
    options = ["--gpus", "4,none", "--policy", "asap", "--policy", "optimal", "--bound"]
    result = simulate(*files, *options, "--html", str(page))
    assert result.exit_code == 0, result.output
    rows = [line for line in result.output.splitlines() if re.search("asap|optimal", line)]
    assert "OVER BOUND" in result.output
    assert all(re.search(r"\+\d+\.\d\d%", row) for row in rows)
    assert page.read_text().count("over the bound") >= len(rows)


def test_where_no_schedule_is_in_time_the_table_says_why_there_is_no_bound(files: list[str]) -> None:
    Path(files[1]).write_text("submit_s,duration_s,gpus\n" + "0,36000,2\n" * 2)
    result = simulate(*files, "--policy", "asap", "--gpus", "2", "--patience", "short=0h,long=0h,split=2h", "--bound")
    assert result.exit_code == 0, result.output
    assert "No bound with 2 GPUs at ci: no schedule ends all of these jobs in time. Raise --gpus or" in result.output


def test_policies_are_compared_in_one_table(files: list[str]) -> None:
    result = simulate(*files, "--policy", "asap", "--policy", "lowest_slots")
    lines = result.output.splitlines()
    assert "3 jobs from 2026-03-10 00:00 UTC at ci (no limit of GPUs)," in lines[0]
    assert [line.split()[0] for line in lines[2:]] == ["POLICY", "lowest_slots", "asap"]
    assert "1.0000" in lines[4]


def sweep(files: list[str], *words: str) -> list[dict[str, Any]]:
    options = ["--gpus", "none,4", "--policy", "asap", "--policy", "threshold", "--param", "threshold.percentile=20,40"]
    result = simulate(*files, *options, *words, "--json")
    assert result.exit_code == 0, result.output
    timings = {"wall_s", "plan_p50_ms", "plan_p99_ms"}
    return [{k: v for k, v in one.items() if k not in timings} for one in json.loads(result.output)]


def test_caps_policies_and_parameters_are_crossed_in_order(files: list[str]) -> None:
    found = sweep(files)
    assert [(one["gpus"], one["policy"], one["params"]) for one in found] == [
        (cap, *rule)
        for cap in (None, 4)
        for rule in (("asap", {}), ("threshold", {"percentile": 20.0}), ("threshold", {"percentile": 40.0}))
    ]


def test_more_processes_find_the_same(files: list[str]) -> None:
    assert sweep(files, "--workers", "2") == sweep(files)


def test_zones_are_played_together_or_each_on_its_own(files: list[str], tmp_path: Path) -> None:
    rows = (tmp_path / "ci.csv").read_text().splitlines()[1:]
    both = [f"{row},{zone}" for zone in ("DE", "GB") for row in rows]
    (tmp_path / "both.csv").write_text("start_utc,g_per_kwh,zone\n" + "\n".join(both))
    words = [*files[:2], "--intensity", str(tmp_path / "both.csv"), "--policy", "asap", "--json"]
    assert json.loads(simulate(*words).output)["zones"] == ["DE", "GB"]
    assert [one["zones"] for one in json.loads(simulate(*words, "--each-zone").output)] == [["DE"], ["GB"]]
    more = [*words, "--intensity", str(tmp_path / "ci.csv")]
    assert [one["zones"] for one in json.loads(simulate(*more).output)] == [["DE", "GB"], ["ci"]]


def test_the_table_of_a_sweep_is_sorted_within_each_cap(files: list[str]) -> None:
    result = simulate(*files, "--gpus", "none,3", "--policy", "asap", "--policy", "lowest_slots")
    rows = [line.split() for line in result.output.splitlines()[3:]]
    assert [(row[0], "asap" in row) for row in rows] == [("no", False), ("no", True), ("3", False), ("3", True)]


@pytest.mark.parametrize("use", [[], ["--as-issued"]])
def test_forecasts_as_issued_are_measured_against_perfect_foresight(files: list[str], use: list[str]) -> None:
    measured, issued = Path(files[3]).read_text().splitlines()[1:], Path(files[3]).with_name("fc.csv")
    rows = [f"2026-03-1{day}T00:00Z,{row}" for day in range(4) for row in measured[24 * day : 24 * day + 48]]
    issued.write_text("issued_utc,start_utc,g_per_kwh\n" + "\n".join(rows))
    result = simulate(*files, "--forecast", str(issued), *use, "--policy", "lowest_window", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert (list(found), found["forecast"], found["as_issued"]) == (KEYS, "issued", bool(use))
    assert found["foresight_fraction"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--policy", "lowest_windw"], "There is no policy 'lowest_windw'"),
        (["--policy", "asap", "--slot", "soon"], "--slot 'soon' is not understood"),
        (["--policy", "asap", "--gpus", "0"], "--gpus is 0"),
        (["--policy", "asap", "--gpus", "3,many"], "--gpus 'many' is not understood"),
        (["--policy", "asap", "--workers", "0"], "--workers is 0"),
        (["--policy", "asap", "--param", "threshold.percentile=3"], "meant for a policy that is not played"),
        (["--policy", "threshold", "--param", "percentile=20,low"], "is not understood"),
        (["--policy", "asap", "--patience", "middle=3h"], "--patience 'middle=3h' is not understood"),
        (["--policy", "asap", "--as-issued"], "--as-issued says how forecasts are used, and there are none"),
        (["--policy", "asap", "--estimate", "mean"], "Give for example --estimate exact or class-mean"),
        (["--policy", "asap", "--start", "noon"], "--start 'noon' is no time"),
        (["--policy", "asap", "--gpus", "1"], "needs 2 GPUs of 1"),
        (["--policy", "threshold", "--param", "percentile=101"], "does not take these parameters"),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_do(files: list[str], words: list[str], said: str) -> None:
    result = simulate(*files, *words)
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())


def test_the_page_holds_all_that_it_needs_and_every_policy(files: list[str], tmp_path: Path) -> None:
    pytest.importorskip("plotly")
    page = tmp_path / "page.html"
    result = simulate(*files, "--policy", "asap", "--policy", "lowest_slots", "--html", str(page))
    assert result.exit_code == 0, result.output
    text = page.read_text()
    assert "<title>3 jobs from 2026-03-10 00:00 UTC at ci (no limit of GPUs)" in text
    assert [text.count(f'"name":"{name}"') for name in ("asap", "lowest_slots", "ci")] == [2, 2, 1]
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=", text), "nothing is fetched"


def test_a_page_is_refused_before_anything_is_played(files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    result = simulate(*files, "--policy", "asap", "--html", "/nowhere/page.html")
    assert (result.exit_code, "cannot be written" in result.output) == (2, True)
    monkeypatch.setitem(sys.modules, "plotly", None)
    result = simulate(*files, "--policy", "asap", "--html", "page.html")
    assert result.exit_code == 2
    assert "pip install 'lowtide[html]'" in " ".join(result.output.split())


def test_a_file_that_is_not_there_is_named(files: list[str]) -> None:
    result = simulate("--jobs", "nowhere.csv", *files[2:], "--policy", "asap")
    assert result.exit_code == 2
    assert "nowhere.csv cannot be read" in " ".join(result.output.split())
