"""lowtide admin drain, resume and reservation, against a real server with a fake service behind it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lowtide.scheduler.cli import main
from lowtide.scheduler.cli.root import app
from tests.api_server import TOKEN, LiveApi, serve
from tests.fake_service import FakeService

Run = Callable[..., Result]
assert main.COMMAND_MODULES, "importing the entry point registers the commands"


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

    def invoke(*words: str) -> Result:
        return CliRunner().invoke(app, ["--server", live.url, "admin", *words])

    return invoke


def good(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return str(result.stdout)


def test_a_pool_is_drained_with_the_jobs_that_run_on_and_used_again(run: Run) -> None:
    told = good(run("drain", "lab/h100", "--until", "2026-03-02T18:00Z", "--why", "new disks"))
    assert "Reservation 1: all of lab/h100 from 2026-03-02T09:00:00Z until 2026-03-02T18:00Z." in told
    assert "Job mri-1, to end at 2026-03-02T12:00:00Z, cannot be suspended and runs on." in told
    assert "lab/h100 is drained no more." in good(run("resume", "lab/h100"))
    again = run("resume", "lab/h100")
    assert again.exit_code == 3
    assert "is not drained" in again.output


def test_a_reservation_is_made_listed_and_removed(run: Run) -> None:
    made = good(run("reservation", "add", "lab", "--gpus", "2", "--cpus", "8", "--project", "imaging"))
    assert made.startswith("Reservation 1: 2 GPU(s) and 8 CPU(s) of lab")
    good(run("drain", "lab"))
    lines = good(run("reservation", "list")).splitlines()
    assert lines[0].split()[:4] == ["N", "STATE", "WHERE", "WHAT"]
    assert "nobody" in lines[1]
    assert "project imaging" in lines[2]
    assert lines[3].startswith("Job mri-1")
    assert "Reservation 1 is over." in good(run("reservation", "remove", "1", "--why", "done"))
    found = json.loads(good(run("reservation", "list", "-o", "json")))
    assert [one["state"] for one in found] == ["now", "over"]


def test_an_empty_list_says_so(run: Run) -> None:
    assert good(run("reservation", "list")) == "Nothing is or was reserved.\n"


def test_what_is_no_number_is_refused(run: Run) -> None:
    for words in (("reservation", "remove", "one"), ("reservation", "add", "lab", "--gpus", "two")):
        result = run(*words)
        assert result.exit_code == 2
        assert "is no whole number" in result.output
