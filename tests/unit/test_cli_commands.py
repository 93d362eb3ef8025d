"""Every command against a real server with a fake service behind it."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from lowtide.scheduler.cli import main
from lowtide.scheduler.cli.root import app
from lowtide.scheduler.model.errors import Infeasible
from tests.api_server import TOKEN, LiveApi, serve
from tests.fake_service import FakeService, a_finished_job, a_job, a_reason

Run = Callable[..., Result]
assert main.COMMAND_MODULES, "importing the entry point registers the commands"


@pytest.fixture(scope="module")
def live() -> Iterator[LiveApi]:
    with serve(FakeService()) as served:
        yield served


@pytest.fixture
def api(live: LiveApi) -> LiveApi:
    live.service.reset(
        a_job("brain-mri-aaaa"),
        a_job("brain-mri-bbbb", state="running", started_at="2026-03-02T08:00:00Z", site="local"),
        a_finished_job("genes-cccc"),
    )
    return live


@pytest.fixture
def run(api: LiveApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    for name in ("LOWTIDE_SERVER", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LOWTIDE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("LOWTIDE_TOKEN", TOKEN)
    monkeypatch.setenv("USER", "ada")
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.chdir(tmp_path)

    def invoke(*words: str) -> Result:
        return CliRunner().invoke(app, ["--server", api.url, *words])

    return invoke


def good(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return str(result.stdout)


# ---- status ----


def test_status_lists_what_waits_or_runs_with_its_reason(run: Run) -> None:
    text = good(run("status"))
    assert "brain-mri-aaaa" in text
    assert "waits for a low-carbon window" in text
    assert "genes-cccc" not in text
    for heading in ("ID", "NAME", "QUEUE", "STATE", "REASON", "GPUS", "START UTC", "FINISH BY UTC", "SLACK", "gCO2e"):
        assert heading in text.splitlines()[0]


@pytest.mark.parametrize("word", ["ps", "queue"])
def test_other_words_for_status_do_the_same(run: Run, word: str) -> None:
    assert good(run(word)) == good(run("status"))


def test_status_all_shows_ended_jobs_too(run: Run) -> None:
    assert "genes-cccc" in good(run("status", "-a"))


def test_status_of_named_jobs_shows_these_alone(run: Run) -> None:
    text = good(run("status", "genes", "-o", "json"))
    assert [job["id"] for job in json.loads(text)] == ["genes-cccc"]


def test_status_has_no_colour_where_nobody_sees_it(run: Run) -> None:
    assert "\x1b" not in good(run("status", "-a", "-o", "wide"))


def test_each_format_holds_the_same_jobs(run: Run) -> None:
    ids = ["brain-mri-aaaa", "brain-mri-bbbb", "genes-cccc"]
    assert [job["id"] for job in json.loads(good(run("status", "-a", "-o", "json")))] == ids
    assert [job["id"] for job in yaml.safe_load(good(run("status", "-a", "-o", "yaml")))] == ids
    rows = list(csv.DictReader(io.StringIO(good(run("status", "-a", "-o", "csv")))))
    assert [row["id"] for row in rows] == ids
    assert rows[0]["emissions_g"] == ""


def test_an_unknown_format_is_a_usage_error(run: Run) -> None:
    result = run("status", "-o", "xml")
    assert result.exit_code == 2
    assert "what to do: Give -o with one of: table, wide, json, yaml, csv." in result.stderr


def test_an_empty_queue_says_what_to_do(run: Run, api: LiveApi) -> None:
    api.service.reset()
    assert "lowtide status --all" in good(run("status"))
    assert "lowtide submit" in good(run("status", "-a"))
    assert json.loads(good(run("status", "-o", "json"))) == []


def test_of_thousands_of_jobs_a_person_gets_the_newest_and_a_program_gets_all(run: Run, api: LiveApi) -> None:
    api.service.reset(*[a_job(f"many-{n:04d}") for n in range(1_201)])
    result = run("status")
    assert len(good(result).splitlines()) == 1 + 200
    assert "Only the newest 200 jobs are shown" in result.stderr
    assert len(json.loads(good(run("status", "-o", "json")))) == 1_201


def test_watch_shows_the_list_again_until_it_is_interrupted(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = []

    def pause(_seconds: float) -> None:
        rounds.append(1)
        if len(rounds) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("lowtide.scheduler.cli.job_commands.time.sleep", pause)
    result = run("status", "-w")
    assert result.stdout.count("brain-mri-aaaa") == 2
    assert "Traceback" not in result.output


# ---- naming a job ----


def test_a_job_can_be_named_by_a_unique_beginning_or_a_unique_name(run: Run) -> None:
    assert "brain-mri-aaaa is queued" in good(run("explain", "brain-mri-a"))
    assert "genes-cccc" in good(run("explain", "genes"))


def test_an_ambiguous_beginning_lists_the_jobs_it_fits(run: Run) -> None:
    result = run("explain", "brain")
    assert result.exit_code == 2
    assert "fits 2 jobs: brain-mri-aaaa, brain-mri-bbbb" in result.stderr


@pytest.mark.parametrize("name", ["nobody", "a/b", "../../v1/sites", "%", "ä"])
def test_an_unknown_job_is_a_usage_error_that_says_how_to_list_them(run: Run, name: str) -> None:
    result = run("explain", name)
    assert result.exit_code == 2
    assert "lowtide status --all" in result.stderr


# ---- explain, logs, orders ----


def test_explain_tells_the_reason_the_window_and_what_would_start_it_now(run: Run) -> None:
    text = good(run("explain", "brain-mri-aaaa"))
    assert text.startswith("brain-mri-aaaa is queued: waits for a low-carbon window")
    assert "planned start   Tue 03 Mar 02:00 UTC" in text
    assert "the intensity fell below 121 g/kWh" in text
    assert "CHOSEN" in text
    assert "NESO, CC BY 4.0" in text


def test_explain_events_shows_the_log_of_changes(run: Run) -> None:
    assert "submitted by ada" in good(run("explain", "brain-mri-aaaa", "--events"))


def test_explain_of_a_job_that_nobody_has_decided_on_yet_is_no_error(
    run: Run, api: LiveApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def sparse(job_id: str) -> dict[str, Any]:
        job = api.service.by_id[job_id]
        return {"job": job, "now": job["submitted_at"], "reason": a_reason("not_reviewed", "submitted")}

    monkeypatch.setattr(api.service, "explain", sparse)
    assert "brain-mri-aaaa is queued: submitted." in good(run("explain", "brain-mri-aaaa"))


def test_logs_are_shown_whole_by_tail_and_followed(run: Run) -> None:
    whole = "epoch 1 loss 0.5\nepoch 2 loss 0.3\n"
    assert good(run("logs", "brain-mri-b")) == whole
    assert good(run("logs", "brain-mri-b", "-f")) == whole
    assert good(run("logs", "brain-mri-b", "--tail", "1")) == "epoch 2 loss 0.3\n"
    assert run("logs", "brain-mri-b", "--tail", "x").exit_code == 2


@pytest.mark.parametrize(
    ("word", "order"),
    [
        ("hold", "hold"),
        ("release", "release"),
        ("suspend", "suspend"),
        ("pause", "suspend"),
        ("resume", "resume"),
        ("activate", "resume"),
        ("cancel", "cancel"),
    ],
)
def test_an_order_reaches_the_daemon_under_the_users_name(run: Run, api: LiveApi, word: str, order: str) -> None:
    assert "brain-mri-aaaa" in good(run(word, "brain-mri-a"))
    assert api.service.orders == [(order, "brain-mri-aaaa", "ada")]


def test_one_refused_order_does_not_keep_the_others_from_their_jobs(run: Run, api: LiveApi) -> None:
    result = run("cancel", "genes", "brain-mri-a")
    assert result.exit_code == 3
    assert "genes: job genes-cccc is succeeded" in result.stderr
    assert api.service.orders == [("cancel", "brain-mri-aaaa", "ada")]


def test_a_refused_order_is_told_without_a_traceback(run: Run) -> None:
    result = run("hold", "genes")
    assert result.exit_code == 3
    assert result.stderr == (
        "error: job genes-cccc is succeeded; it cannot be changed any more.\nwhat to do: Submit it again.\n"
    )


def test_cancel_by_name_and_all(run: Run, api: LiveApi) -> None:
    good(run("cancel", "-n", "brain-mri"))
    assert [order[1] for order in api.service.orders] == ["brain-mri-aaaa", "brain-mri-bbbb"]
    assert "No job fits" in good(run("cancel", "--all"))
    assert run("cancel").exit_code == 2


def test_run_now_needs_a_reason_and_hands_it_on(run: Run, api: LiveApi) -> None:
    assert run("run-now", "brain-mri-a").exit_code == 2
    good(run("run-now", "brain-mri-a", "--reason", "tumour board"))
    assert api.service.orders == [("run_now:tumour board", "brain-mri-aaaa", "ada")]


# ---- submit and plan ----


def test_submit_takes_a_command_and_prints_the_plan_and_what_to_type_next(
    run: Run, api: LiveApi, tmp_path: Path
) -> None:
    text = good(run("submit", "-n", "train", "-G", "H100:2", "-c", "4", "-t", "3h", "--", "python", "train.py", "-q"))
    spec = api.service.specs[0]
    assert spec.argv == ("python", "train.py", "-q")
    assert (spec.resources.gpus, spec.resources.gpu_model, spec.resources.cpus) == (2, "H100", 4)
    assert spec.working_dir == str(tmp_path)
    assert text.startswith("Submitted train-0001 to queue research.")
    assert "Decision: starts Tue 03 Mar 02:00 UTC at local." in text
    assert "lowtide logs -f train-0001" in text


def test_flags_override_the_job_file(run: Run, api: LiveApi, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "job.yaml").write_text(
        "name: from-file\nentrypoint: [python, train.py, --epochs, 3]\nworking_dir: work\n"
        "duration: 02:30:00\nresources: {gpus: 1, cpus: 2}\nenv: {A: 1, B: 2}\npatience: 6h\n"
    )
    good(run("submit", "job.yaml", "--gpus", "4", "--env", "B=3", "--deadline", "now+9h", "--parsable"))
    spec = api.service.specs[0]
    assert (spec.name, spec.duration_s) == ("from-file", 9_000)
    assert (spec.resources.gpus, spec.resources.cpus) == (4, 2)
    assert spec.env == {"A": "1", "B": "3"}
    assert spec.patience_s is None
    assert spec.working_dir == str(tmp_path / "work")


def test_a_script_with_directives_is_understood(run: Run, api: LiveApi, tmp_path: Path) -> None:
    (tmp_path / "train.sbatch").write_text(
        "#!/bin/bash -l\n#SBATCH --job-name=Brain_MRI -t 90 --mem=16000\n#SBATCH --gres=gpu:a100:2\n"
        "#SBATCH --array=1-3\n#LOWTIDE --queue greenest --interruptible\npython train.py\n#SBATCH --time=5\n"
    )
    result = run("submit", "train.sbatch", "--cpus", "8")
    good(result)
    spec = api.service.specs[0]
    assert spec.name == "brain_mri"
    assert spec.queue == "greenest"
    assert spec.interruptible
    assert spec.time_limit_s == 5_400
    assert spec.resources.memory_bytes == 16_000 << 20
    assert (spec.resources.gpus, spec.resources.gpu_model, spec.resources.cpus) == (2, "a100", 8)
    assert "#SBATCH --array is ignored; this changes what would run." in result.stderr


def test_parsable_prints_the_id_alone(run: Run) -> None:
    assert good(run("submit", "-n", "x", "--parsable", "--", "true")) == "x-0001\n"


def test_the_same_idempotency_key_gives_the_same_job(run: Run, api: LiveApi) -> None:
    words = ("submit", "-n", "x", "--idempotency-key", "k", "--parsable", "--", "true")
    assert good(run(*words)) == good(run(*words))
    assert len(api.service.specs) == 1


def test_a_dry_run_submits_nothing(run: Run, api: LiveApi) -> None:
    before = len(api.service.by_id)
    assert good(run("submit", "--dry-run", "--", "true")) == good(run("plan", "--", "true"))
    assert len(api.service.by_id) == before


def test_plan_shows_the_considered_windows_and_marks_the_chosen_one(run: Run) -> None:
    lines = good(run("plan", "--", "true")).splitlines()
    assert [line for line in lines if "CHOSEN" in line][1].split()[:2] == ["local", "03"]
    assert any("-31%" in line for line in lines)
    assert json.loads(good(run("plan", "-o", "json", "--", "true")))["saving_g"] == 240.4


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["submit"], "there is nothing to run"),
        (["submit", "missing.yaml"], "missing.yaml does not exist"),
        (["submit", "job.yaml", "--", "true"], "there are two things to run"),
        (["submit", "--gpus", "many", "--", "true"], "--gpus 'many' is no whole number"),
        (["submit", "--env", "A", "--", "true"], "is not KEY=VALUE"),
        (["submit", "--power-w", "x", "--", "true"], "is no number"),
        (["submit", "--deadline", "soon", "--", "true"], "deadline: 'soon' is no time"),
        (["submit", "-t", "3", "--", "true"], "'3' has no unit"),
        (["submit", "--name", "A/B", "--", "true"], "is not a slug"),
        (["submit", "--nonsense", "--", "true"], "No such option"),
    ],
)
def test_bad_input_is_a_usage_error_that_says_what_was_wrong(run: Run, words: list[str], told: str) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert told in " ".join(result.stderr.split())
    assert "Traceback" not in result.output


def test_what_no_site_can_run_has_its_own_exit_code(run: Run, api: LiveApi) -> None:
    api.service.failure = Infeasible("no site has 900 GPUs.", fix="Ask for less.")
    result = run("submit", "-G", "900", "--", "true")
    assert result.exit_code == 3
    assert result.stderr == "error: no site has 900 GPUs.\nwhat to do: Ask for less.\n"


def test_a_deadline_that_cannot_be_met_is_refused_with_exit_code_3(run: Run) -> None:
    result = run("submit", "--duration", "3h", "--deadline", "now+1h", "--", "true")
    assert result.exit_code == 3
    assert "earliest finish is 2026-03-02 12:00:00 UTC" in result.stderr


def test_wait_ends_with_1_when_the_job_failed(run: Run, api: LiveApi, monkeypatch: pytest.MonkeyPatch) -> None:
    def end(_seconds: float) -> None:
        api.service.by_id["x-0001"].update(
            state="failed", reason=a_reason("exit_code", "its program exited with code 2")
        )

    monkeypatch.setattr("lowtide.scheduler.cli.submit_commands.time.sleep", end)
    result = run("submit", "-n", "x", "-W", "--parsable", "--", "false")
    assert result.exit_code == 1
    assert "x-0001 is failed: its program exited with code 2" in result.stderr


def test_wait_gives_up_with_5(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lowtide.scheduler.cli.submit_commands.time.sleep", lambda _seconds: None)
    result = run("submit", "-n", "x", "-W", "--timeout", "0s", "--parsable", "--", "true")
    assert result.exit_code == 5


# ---- grid, accounts, daemon ----


def test_forecast_draws_the_curve_and_lists_the_windows(run: Run) -> None:
    text = good(run("forecast", "GB", "--duration", "3h"))
    assert "GB: grid intensity, gCO2e/kWh, times in UTC" in text
    assert "Tue 03 Mar 03:00 UTC" in text
    assert "NESO, CC BY 4.0" in text
    assert "\x1b" not in text
    assert len(json.loads(good(run("forecast", "--hours", "12", "-o", "json")))["forecast"]) == 24
    assert run("forecast", "--duration", "x").exit_code == 2


def test_a_receipt_tells_what_one_job_used_and_avoided(run: Run) -> None:
    text = good(run("report", "genes"))
    assert text.startswith("RECEIPT  genes-cccc")
    for told in ("1.80 kWh", "180 gCO2e", "420 gCO2e", "240 gCO2e  57% of it", "measured, nvml", "NESO, CC BY 4.0"):
        assert told in text


def test_a_report_adds_the_jobs_up(run: Run) -> None:
    lines = good(run("report")).splitlines()
    assert lines[1].split()[:2] == ["genes-cccc", "succeeded"]
    assert lines[2].split()[0] == "total"
    rows = list(csv.DictReader(io.StringIO(good(run("report", "-o", "csv")))))
    assert rows[0]["avoided_g"] == "240.0"


def test_a_report_of_nothing_says_so(run: Run, api: LiveApi) -> None:
    api.service.reset()
    assert "No job has used energy yet" in good(run("report"))


def test_doctor_shows_every_finding(run: Run) -> None:
    assert "no NVML" in good(run("doctor"))


def test_doctor_grid_shows_each_source_what_is_wrong_and_what_to_do_and_ends_with_1(run: Run) -> None:
    result = run("doctor", "grid")
    assert result.exit_code == 1
    assert "fresh forecast" in result.stdout
    assert "25m" in result.stdout
    assert "electricity_maps answered 401. What to do: Check the token." in result.stdout
    assert json.loads(run("doctor", "grid", "-o", "json").stdout)[0]["licence"] == "NESO, CC BY 4.0"
    wrong = run("doctor", "grids")
    assert wrong.exit_code == 2
    assert "lowtide doctor grid" in wrong.stderr


def test_zones_shows_each_source_with_what_it_gives_and_what_is_wrong_with_it(run: Run) -> None:
    told = good(run("zones"))
    assert "neso" in told
    assert "average" in told
    assert "\nelectricity_maps answered 401. Check the token." in told
    rows = list(csv.DictReader(io.StringIO(good(run("zones", "-o", "csv")))))
    assert [(row["source"], row["zone"], row["forecasts"]) for row in rows] == [
        ("neso", "GB", "true"),
        ("electricity_maps", "", ""),
    ]


def test_a_cloud_region_is_mapped_with_its_source_and_without_a_daemon(run: Run) -> None:
    alone = CliRunner().invoke(app, ["zones", "--region", "aws:eu-west-1"])
    told = good(alone)
    assert "without the rows of its settings" in alone.stderr
    assert "IE" in told
    assert "public tables" in told
    assert "Green Software Foundation" in told
    rows = json.loads(good(run("zones", "--region", "aws:eu-west-1", "-o", "json")))
    assert {row["naming"]: row["zone"] for row in rows} == {"electricity_maps": "IE", "watttime": "IE"}


def test_a_region_that_the_settings_place_is_shown_with_its_origin(run: Run) -> None:
    told = good(run("zones", "--region", "onprem:hall-2"))
    assert "settings" in told
    assert "the contract of 2026" in told
    listing = good(run("zones"))
    assert "any source" in listing
    assert "onprem:hall-2" in listing


def test_an_ambiguous_or_unknown_cloud_region_is_refused_with_candidates(run: Run) -> None:
    ambiguous = run("zones", "--region", "aws:eu-north-1")
    assert ambiguous.exit_code == 2
    assert "SE (Green" in ambiguous.stderr
    assert "SE-SE3 (Electricity" in ambiguous.stderr
    unknown = run("zones", "--region", "aws:eu-west-11")
    assert unknown.exit_code == 2
    assert "aws:eu-west-1" in unknown.stderr


def test_version_names_both_sides(run: Run) -> None:
    assert set(json.loads(good(run("version", "-o", "json")))) == {"lowtide", "daemon"}
    assert good(run("--version")).startswith("lowtide ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(run: Run, shell: str) -> None:
    assert "_LOWTIDE_COMPLETE" in good(run("completion", shell))
    assert run("completion", "tcsh").exit_code == 2


def test_down_asks_a_remote_daemon_to_end_and_gives_up_waiting(
    run: Run, api: LiveApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lowtide.scheduler.cli.process.END_S", 0.0)
    assert run("down", "--keep-cluster").exit_code == 5
    assert api.service.shutdowns == [False]


# ---- a daemon that is not there ----


def test_without_a_daemon_every_command_says_how_to_start_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOWTIDE_SERVER", raising=False)
    monkeypatch.setenv("LOWTIDE_DATA_DIR", str(tmp_path))
    for words in (["status"], ["explain", "x"], ["submit", "--", "true"], ["forecast"], ["report"], ["logs", "x"]):
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 4, words
        assert "lowtide up --detach" in result.stderr


def test_a_daemon_that_died_is_told_from_one_that_never_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOWTIDE_SERVER", raising=False)
    monkeypatch.setenv("LOWTIDE_DATA_DIR", str(tmp_path))
    (tmp_path / "daemon.json").write_text('{"url": "http://127.0.0.1:9", "pid": 999999999}')
    result = CliRunner().invoke(app, ["status"])
    assert result.exit_code == 4
    assert "does not answer at http://127.0.0.1:9" in result.stderr
    findings = CliRunner().invoke(app, ["doctor", "-o", "json"])
    assert findings.exit_code == 4
    assert "process 999999999 is gone" in json.loads(findings.stdout)[-1]["detail"]


def test_down_without_a_daemon_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOWTIDE_SERVER", raising=False)
    result = CliRunner().invoke(app, ["--data-dir", str(tmp_path), "down"])
    assert result.exit_code == 0
    assert "No daemon runs" in result.stdout


def test_a_wrong_token_is_refused_with_where_to_find_the_right_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOWTIDE_TOKEN", "wrong")
    result = run("status")
    assert result.exit_code == 3
    assert "the file 'token' in the data directory" in result.stderr


# ---- usage errors ----


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("submit", "--submission-id", "x", "--", "true"), "--idempotency-key"),
        (("submit", "-N", "2", "--", "true"), "One attempt runs on one node"),
        (("submit", "--array", "1-10", "--", "true"), "Submit one job for each element"),
        (("submit", "python", "train.py"), "lowtide submit -- python train.py"),
        (("submit", "python", "train.py", "--lr", "1"), "lowtide submit -- python train.py"),
        (("run-now", "brain"), "lowtide run-now --help"),
        (("statsu",), "Did you mean 'status'?"),
    ],
)
def test_a_usage_error_says_what_was_wrong_and_what_to_do(run: Run, words: tuple[str, ...], told: str) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert "\nwhat to do: " in result.stderr
    assert told in result.stderr


def test_a_missing_job_file_is_not_taken_for_a_program(run: Run) -> None:
    assert "what to do: Give the path of an existing file." in run("submit", "nowhere.yaml").stderr


# ---- logs ----


def test_following_can_begin_at_the_last_lines(run: Run, api: LiveApi) -> None:
    api.service.logs = "one\ntwo\nthree\n"
    assert good(run("logs", "-f", "--tail", "2", "genes")) == "two\nthree\n"


def test_a_job_that_has_printed_nothing_says_why_and_not_into_the_output(run: Run, api: LiveApi) -> None:
    api.service.logs = ""
    result = run("logs", "brain-mri-a")
    assert good(result) == ""
    assert "has printed nothing; it is queued: waits for a low-carbon window" in result.stderr


def test_ctrl_c_ends_a_follow_with_its_own_exit_code(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lowtide.scheduler.cli.client.Server.stream", interrupted)
    result = run("logs", "-f", "genes")
    assert (result.exit_code, result.stderr) == (130, "")


def test_truth_is_written_in_csv_as_programs_read_it(run: Run) -> None:
    rows = list(csv.DictReader(io.StringIO(good(run("status", "-o", "csv")))))
    assert {row["held"] for row in rows} == {"false"}
