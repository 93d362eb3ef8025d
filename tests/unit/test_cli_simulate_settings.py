"""``lowtide simulate --settings`` as a person types it: the settings of a daemon, policy sets, reservations, prices."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lowtide.scheduler.cli import main
from lowtide.scheduler.cli.root import app

assert main.COMMAND_MODULES, "importing the entry point registers the commands"
BEGIN = datetime(2026, 3, 10, tzinfo=UTC)
SETTINGS = """\
sites:
  - name: lab
    address: http://lab.example:8265
    zone: GB
    pue: 2
    pools:
      - {name: big, gpus: 2, cpus: 8, gpu_model: H100}
      - {name: small, gpus: 2, cpus: 8, gpu_model: A100}
    tariff:
      currency: GBP
      timezone: UTC
      rates:
        - {from: "00:00", to: "24:00", per_kwh: 0.2}
projects:
  - {name: scans, budgets: [{period: day, gpu_h: 1}]}
queues:
  - {name: research, policy: asap, patience_s: 172800}
  - {name: greedy, policy: lowest_window, patience_s: 172800}
gpu_power_w: 500
slot_s: 1800
"""
JOBS = "job_id,submit_s,duration_s,gpus,gpu_model,project,queue\n"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    rows = [f"{BEGIN + timedelta(hours=i):%Y-%m-%dT%H:%MZ},{100 if i % 24 >= 18 else 300}" for i in range(96)]
    Path("ci.csv").write_text("start_utc,g_per_kwh\n" + "\n".join(rows))
    Path("jobs.csv").write_text(JOBS + "a,0,3600,2,H100,scans,\nb,7200,3600,2,,scans,\nc,0,3600,1,,,greedy\n")
    Path("settings.yaml").write_text(SETTINGS)
    Path("set.yaml").write_text("queues:\n  research: {policy: lowest_window}\n")
    return ["--jobs", "jobs.csv", "--intensity", "ci.csv", "--settings", "settings.yaml"]


def simulate(*words: str) -> Result:
    return CliRunner().invoke(app, ["simulate", *words])


def told(*words: str) -> Any:
    result = simulate(*words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def test_what_the_settings_say_is_played(files: list[str]) -> None:
    found = told(*files)
    assert (found["policy"], found["sites"], found["zones"], found["slot_s"]) == (
        "settings",
        {"lab": 4},
        ["GB"],
        1800.0,
    )
    assert found["energy_kwh"] == pytest.approx(5 * 0.5)
    # a at once, c when the grid is cleanest, b when the budget of the day before is over
    assert found["emissions_g"] == pytest.approx(0.5 * 2 * (2 * 300 + 2 * 300 + 100))
    assert found["max_wait_h"] == pytest.approx(22.0)
    assert (found["cost"], found["currency"]) == (pytest.approx(5 * 0.5 * 2 * 0.2), "GBP")
    assert {one["project"]: one["gpu_h"] for one in found["projects"]} == {"default": 1.0, "scans": 4.0}
    assert simulate(*files).output.startswith("3 jobs from 2026-03-10 00:00 UTC at lab (4 GPUs in GB),")


def test_policies_sets_and_the_settings_are_compared(files: list[str]) -> None:
    found = told(
        *files, "--policy", "settings", "--policy", "set.yaml", "--policy", "greenest", "--policy", "threshold"
    )
    assert [one["policy"] for one in found] == ["settings", "set.yaml", "greenest", "threshold"]
    assert found[1]["emissions_g"] < found[0]["emissions_g"]
    assert all(one["completed"] == 3 for one in found)


def test_the_table_says_of_what_the_bound_does_not_know(files: list[str]) -> None:
    told = "The bound knows the GPUs and the PUE of each site, and neither pools, power, reservations nor budgets."
    assert told in simulate(*files, "--bound").output
    assert told not in simulate(*files).output
    Path("jobs.csv").write_text("submit_s,duration_s,gpus\n" + "0,36000,2\n" * 3)
    late = simulate(*files, "--bound", "--patience", "short=0h,long=0h,split=2h").output
    assert "No bound with 4 GPUs at lab: no schedule ends all of these jobs in time. Raise --patience." in late


def test_more_processes_find_the_same_of_settings(files: list[str]) -> None:
    words = [*files, "--policy", "settings", "--policy", "set.yaml"]
    plain, spread = ([one["emissions_g"] for one in told(*words, *more)] for more in ([], ["--workers", "2"]))
    assert plain == spread


def test_options_stand_in_for_what_the_settings_say(files: list[str]) -> None:
    found = told(*files, "--power-w", "100", "--slot", "15m", "--patience", "short=0h,long=0h,split=2h")
    assert (found["energy_kwh"], found["slot_s"]) == (pytest.approx(0.5), 900.0)
    assert found["max_wait_h"] == 0.0


def test_reservations_are_kept_free_as_they_are_listed(files: list[str]) -> None:
    head = "number,state,site,pool,gpus,cpus,project,queue,actor,why,at,start_at,end_at,ended_at\n"
    row = "1,over,lab,big,,,,,ann,,2026-03-09T00:00:00Z,2026-03-10T00:00:00Z,{},\n"
    Path("kept.csv").write_text(head + row.format("2026-03-10T03:00:00Z"))
    Path("jobs.csv").write_text(JOBS + "a,0,3600,2,H100,,\n")
    assert told(*files, "--reservations", "kept.csv")["max_wait_h"] == pytest.approx(3.0)
    Path("kept.csv").write_text("site,start_at,pool,gpus,project\nlab,2026-03-10T00:00Z,big,2,scans\n")
    assert told(*files, "--reservations", "kept.csv")["completed"] == 0, "for others, and nobody knows until when"


def prices(values: list[str], *, zone: str = "", currency: str = "") -> str:
    head = "start_utc,price_per_kwh,zone,currency\n"
    return head + "\n".join(
        f"{BEGIN + timedelta(hours=i):%Y-%m-%dT%H:%MZ},{value},{zone},{currency}" for i, value in enumerate(values)
    )


def test_prices_of_a_market_tell_the_cost_and_may_be_negative(files: list[str]) -> None:
    Path("jobs.csv").write_text("submit_s,duration_s,gpus\n0,3600,1\n")
    Path("spot.csv").write_text(prices(["0.5"] * 5 + ["-0.1"] + ["0.5"] * 90, currency="EUR"))
    plain = [*files[:4], "--policy", "balanced", "--tariff", "spot.csv", "--patience", "short=24h"]
    green, cheap = told(*plain), told(*plain, "--money-g-per-unit", "100000")
    assert (cheap["cost"], cheap["currency"]) == (pytest.approx(-0.03), "EUR")
    assert green["baseline_cost"] == cheap["baseline_cost"] == pytest.approx(0.15)
    assert green["emissions_g"] < cheap["emissions_g"]
    assert "0.15 EUR" in simulate(*plain).output
    within = told(*files, "--tariff", "spot.csv")
    assert (within["cost"], within["currency"]) == (pytest.approx(0.5 * 0.5 * 2), "EUR"), "in place of the settings'"


def refused(*words: str) -> str:
    result = simulate(*words)
    assert result.exit_code == 2, result.output
    assert "what to do: " in result.stderr
    return " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--gpus", "3"], "--gpus says where to play, and so does --settings"),
        (["--each-zone"], "--each-zone says where to play, and so does --settings"),
        (["--policy", "nowhere.yaml"], "the policy set nowhere.yaml cannot be read"),
        (["--policy", "nowhere"], "There is no policy 'nowhere'"),
        (["--policy", "set.yaml", "--param", "percentile=3"], "set.yaml is a policy set"),
        (["--policy", "bad.yaml"], "line 3: queues.research.polcy: unknown key; policy was meant"),
        (["--reservations", "lap.csv"], "reservation 1 is at 'lap'; there are: lab, lab/big, lab/small"),
        (["--reservations", "which.csv"], "reservation 1 does not say of which pool of lab it is"),
        (["--reservations", "much.csv"], "reservation 1 keeps 3 GPUs of lab/big, which has 2"),
        (["--reservations", "ends.csv"], "ends.csv, line 2: end_at does not lie after start_at"),
        (["--tariff", "gap.csv"], "gap.csv goes from 2026-03-10T01:00 to 2026-03-10T03:00, in steps of 1:00:00"),
        (["--tariff", "dear.csv"], "dear.csv, line 3: price_per_kwh is 'dear'"),
        (["--tariff", "two.csv"], "two.csv, line 3: GBP after EUR"),
        (["--tariff", "fr.csv"], "fr.csv has no prices of GB"),
        (["--tariff", "short.csv"], "the prices of zone 'GB' reach from 2026-03-10T00:00 to 2026-03-10T02:00"),
    ],
)
def test_what_does_not_go_with_settings_is_refused_with_its_place(
    files: list[str], words: list[str], said: str
) -> None:
    Path("bad.yaml").write_text("queues:\n  research:\n    polcy: asap\n")
    Path("lap.csv").write_text("site,start_at\nlap,2026-03-10T00:00Z\n")
    Path("ends.csv").write_text("site,start_at,end_at\nlab,2026-03-10T00:00Z,2026-03-09T00:00Z\n")
    Path("which.csv").write_text("site,start_at,gpus\nlab,2026-03-10T00:00Z,1\n")
    Path("much.csv").write_text("site,start_at,pool,gpus\nlab,2026-03-10T00:00Z,big,3\n")
    gap = prices(["0.1"] * 4).splitlines()
    Path("gap.csv").write_text("\n".join((*gap[:3], gap[4])))
    Path("dear.csv").write_text(prices(["0.1", "dear"]))
    Path("two.csv").write_text(prices(["0.1"], currency="EUR") + "\n2026-03-10T01:00Z,0.1,,GBP")
    Path("fr.csv").write_text(prices(["0.1"] * 96, zone="FR"))
    Path("short.csv").write_text(prices(["0.1"] * 2))
    assert said in refused(*files, *words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no policy is named"),
        (["--policy", "set.yaml"], "is a policy set, and there are no queues that it could decide for"),
        (["--policy", "asap", "--reservations", "kept.csv"], "--reservations are at sites, and none are declared"),
        (["--settings", "nowhere.yaml"], "the settings file nowhere.yaml cannot be read"),
        (["--settings", "empty.yaml"], "empty.yaml declares no sites to play at"),
    ],
)
def test_what_needs_settings_says_so(files: list[str], words: list[str], said: str) -> None:
    Path("empty.yaml").write_text("slot_s: 900\n")
    assert said in refused(*files[:4], *words)
