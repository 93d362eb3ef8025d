"""lowtide admin policy, against a real server with a fake service behind it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from lowtide.scheduler.cli import main
from lowtide.scheduler.cli.root import app
from tests.api_server import TOKEN, LiveApi, serve
from tests.fake_service import FakeService

Run = Callable[..., Result]
assert main.COMMAND_MODULES, "importing the entry point registers the commands"
SET = "queues:\n  research:\n    policy: lowest_window\n"
WRONG = "queues:\n  research:\n    polcy: best\n    confidence: 1.5\n"


@pytest.fixture(scope="module")
def live() -> Iterator[LiveApi]:
    with serve(FakeService()) as served:
        yield served


@pytest.fixture
def run(live: LiveApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    live.service.reset()
    monkeypatch.setenv("LOWTIDE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("LOWTIDE_TOKEN", TOKEN)
    monkeypatch.setenv("USER", "ada")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "set.yaml").write_text(SET)
    (tmp_path / "wrong.yaml").write_text(WRONG)

    def invoke(*words: str, server: str = live.url, stdin: str | None = None) -> Result:
        return CliRunner().invoke(app, ["--server", server, "admin", "policy", *words], input=stdin)

    return invoke


def good(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return str(result.stdout)


def test_get_shows_how_the_queues_decide_as_a_file_to_begin_with(run: Run) -> None:
    assert yaml.safe_load(good(run("get")))["queues"]["research"]["policy"] == "balanced"
    assert json.loads(good(run("get", "-o", "json")))["revision"] == 0
    assert good(run("get", "-o", "csv")).startswith("name,policy,")
    assert yaml.safe_load(good(run("get", "--set", "punctual")))["name"] == "punctual"


def test_a_set_is_compared_applied_listed_and_taken_back(run: Run) -> None:
    assert "is a sound policy set" in good(run("validate", "set.yaml"))
    assert good(run("diff", "set.yaml")).split() == [
        *("QUEUE", "FIELD", "NOW", "THEN"),
        *("research", "policy", "balanced", "lowest_window"),
    ]
    assert good(run("history")).startswith("No policy set")
    applied = good(run("apply", "set.yaml", "--why", "a trial"))
    assert "In force from the next plan on: revision 1" in applied
    assert "lowest_window" in applied
    assert "Nothing changes" in good(run("diff", "set.yaml"))
    assert "In force from the next plan on: revision 2" in good(run("rollback"))
    told = good(run("history")).splitlines()
    assert "rolled back to 0" in told[1]
    assert "ada" in told[2]
    assert "a trial" in told[2]


@pytest.mark.parametrize("word", ["validate", "diff", "apply"])
def test_each_fault_of_a_file_is_a_line_of_its_own_with_its_place(run: Run, word: str) -> None:
    result = run(word, "wrong.yaml")
    assert result.exit_code == 2
    assert "line 3: queues.research.polcy: unknown key; policy was meant" in result.stderr
    assert "line 4: queues.research.confidence: " in result.stderr
    assert "what to do: " in result.stderr
    assert good(run("history")).startswith("No policy set")


@pytest.mark.parametrize("name", ["balanced", "cheapest", "greenest", "punctual"])
def test_the_sets_that_come_with_lowtide_are_given_by_name(run: Run, name: str) -> None:
    good(run("validate", name))
    good(run("apply", name))


def test_a_set_is_read_from_standard_input(run: Run) -> None:
    assert "lowest_window" in good(run("diff", "-", stdin=SET))


def test_without_a_daemon_a_file_is_checked_with_what_is_installed_here(run: Run) -> None:
    result = run("validate", "set.yaml", server="http://127.0.0.1:9")
    assert "sound" in good(result)
    assert "queues could not be looked at" in result.stderr
    assert run("validate", "wrong.yaml", server="http://127.0.0.1:9").exit_code == 2
    assert run("apply", "set.yaml", server="http://127.0.0.1:9").exit_code == 4


@pytest.mark.parametrize("words", [("apply", "nothing.yaml"), ("apply", "."), ("rollback", "last"), ("apply",)])
def test_what_is_no_file_or_revision_is_refused_with_what_to_do(run: Run, words: tuple[str, ...]) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert "what to do: " in result.stderr


def test_the_shadow_shows_what_it_would_have_saved_until_it_is_stopped(run: Run) -> None:
    assert good(run("shadow")).startswith("No policy set has decided in the shadow yet.")
    text = good(run("shadow", "set.yaml"))
    assert "decides in the shadow since 2026-03-02T09:00:00Z, by ada" in text
    assert "80.0 gCO2e planned by the active set, 60.0 gCO2e by the shadow: 20.0 gCO2e less (25%)" in text
    assert "It would start 1 of 3 waiting jobs now." in text
    assert "mri-1" in text
    assert good(run("shadow", "-o", "csv")).startswith("job_id,")
    assert "has ended" in good(run("shadow", "--stop"))
    assert run("shadow", "set.yaml", "--stop").exit_code == 2
    assert run("shadow", "wrong.yaml").exit_code == 2


def test_the_last_days_are_played_beside_what_happened(run: Run) -> None:
    text = good(run("simulate", "set.yaml", "--days", "2"))
    rows = {line.split("  ")[0]: line.split() for line in text.splitlines()[1:4]}
    assert list(rows) == ["what happened", "set in force", "set.yaml"]
    assert rows["what happened"][2] == "90.0"
    assert rows["set.yaml"][1] == "15.0"
    assert "1 of 1 jobs" in text
    told = json.loads(good(run("simulate", "set.yaml", "-o", "json")))
    assert told["forecast"] == "perfect"
    assert run("simulate", "wrong.yaml").exit_code == 2
    assert run("simulate", "set.yaml", "--days", "99").exit_code == 2


def test_a_name_that_is_neither_a_set_nor_a_file_is_refused_with_the_sets_that_there_are(run: Run) -> None:
    result = run("apply", "slowest")
    assert result.exit_code == 2
    assert "balanced, cheapest, greenest, punctual" in result.stderr


def test_budgets_are_listed_with_what_is_used_and_left_and_how_they_stand(run: Run, live: LiveApi) -> None:
    def shown(*words: str) -> str:
        return good(CliRunner().invoke(app, ["--server", live.url, "admin", "budget", *words]))

    run("get")
    header, row = shown().splitlines()
    assert header.split() == ["PROJECT", "PERIOD", "UNTIL", "LIMIT", "USED", "PROMISED", "LEFT", "UNIT", "STATE"]
    assert row.split() == ["scans", "month", "2026-04-01", "10,000", "8,200", "90.0", "1,710", "g", "near"]
    assert json.loads(shown("-o", "json"))[0]["left"] == 1709.5
    live.service.purses = []
    assert "No project has a budget" in shown()
