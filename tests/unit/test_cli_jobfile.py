from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lowtide.scheduler.api.jobspec import JobFile
from lowtide.scheduler.cli.flags import FLAGS
from lowtide.scheduler.cli.jobfile import MAX_FILE_BYTES, PLAIN_KEYS, job_body, read_yaml
from lowtide.scheduler.cli.script_lines import read_script, slurm_memory, slurm_time
from lowtide.scheduler.model.errors import BadInput, TooLarge
from lowtide.scheduler.model.job import slug

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def quiet(_sentence: str) -> None:
    """Warnings are looked at elsewhere."""


def body(source: Path | None = None, tail: list[str] | None = None, **flags: Any) -> dict[str, Any]:
    return job_body(
        str(source) if source else None,
        tail,
        flags,
        directives=lambda tokens: {"queue": tokens[1]},
        now=lambda: NOW,
        warn=quiet,
    )


def test_every_plain_flag_stands_for_a_key_of_the_job_file() -> None:
    assert set(PLAIN_KEYS.values()) <= set(JobFile.model_fields)
    assert set(PLAIN_KEYS) <= {flag.name for flag in FLAGS}


def test_a_command_runs_in_the_current_directory_under_the_programs_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert body(tail=["/usr/bin/Python3.11", "x.py"]) == {
        "entrypoint": ["/usr/bin/Python3.11", "x.py"],
        "working_dir": str(tmp_path),
        "name": "python3-11",
    }
    assert "working_dir" not in body(tail=["true"], no_workdir=True)


def test_yaml_times_stay_text_and_numbers_stay_numbers(tmp_path: Path) -> None:
    text = (
        "a: 16:00\nb: 2026-03-01T10:00:00Z\nc: 3\nd: 1.5\ne: 010\nf: 1e3\ng: true\nh: 2026-03-01\ni: 02:30:00\nj: -2\n"
    )
    assert read_yaml(tmp_path / "x.yaml", text) == {
        "a": "16:00",
        "b": "2026-03-01T10:00:00Z",
        "c": 3,
        "d": 1.5,
        "e": "010",
        "f": 1000.0,
        "g": True,
        "h": "2026-03-01",
        "i": "02:30:00",
        "j": -2,
    }


@pytest.mark.parametrize(
    "text", ["", "- a", "text", "a: [", "!!python/object/apply:os.system [id]", "\t", "a: 1\n b: 2"]
)
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(text)
    with pytest.raises(BadInput):
        body(path)


def test_json_is_a_job_file_too(tmp_path: Path) -> None:
    path = tmp_path / "a job.json"
    path.write_text('{"entrypoint": ["true"], "duration": "3h"}')
    assert body(path) == {"entrypoint": ["true"], "duration": "3h", "name": "a-job"}


def test_a_file_over_the_cap_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    path.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    with pytest.raises(TooLarge, match="larger than 256 KiB"):
        body(path)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"\x7fELF\x02"])
def test_a_file_that_is_no_text_or_no_script_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "program"
    path.write_bytes(content)
    with pytest.raises(BadInput):
        body(path)


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        body(tmp_path)


def test_an_unknown_kind_of_file_says_how_to_run_a_program(tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    path.write_text("print(1)\n")
    with pytest.raises(BadInput, match="lowtide submit -- "):
        body(path)


def test_a_clock_time_is_resolved_in_the_local_zone_against_the_daemons_clock() -> None:
    found = datetime.fromisoformat(body(tail=["true"], deadline="tomorrow18:00")["deadline"])
    local = datetime.now().astimezone().tzinfo
    assert found.astimezone(local).strftime("%H:%M") == "18:00"
    assert found > NOW
    assert body(tail=["true"], deadline="now+6h")["deadline"] == "now+6h"


def test_a_deadline_flag_takes_the_place_of_a_patience_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("entrypoint: ['true']\npatience: 6h\n")
    assert "patience" not in body(path, deadline="now+9h")
    path.write_text("entrypoint: ['true']\ndeadline: now+9h\n")
    assert "deadline" not in body(path, patience="6h")


def test_a_runtime_environment_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "env.yaml"
    path.write_text("pip: [torch]\n")
    assert body(tail=["true"], runtime_env=str(path))["runtime_env"] == {"pip": ["torch"]}


@pytest.mark.parametrize(
    ("line", "job"),
    [
        ('--job-name="Brain MRI"', {"name": "brain-mri"}),
        ("-J x -p gpu -A lab", {"name": "x", "queue": "gpu", "project": "lab"}),
        ("-G 2", {"resources": {"gpus": 2}}),
        ("--gpus=a100:2", {"resources": {"gpus": 2, "gpu_model": "a100"}}),
        ("--gres=gpu", {"resources": {"gpus": 1}}),
        ("--gres gpu:3", {"resources": {"gpus": 3}}),
        ("--gpus-per-node=1 -c8 --mem=4G", {"resources": {"gpus": 1, "cpus": 8, "memory": "4G"}}),
        ("-t 90", {"time_limit": "90m"}),
        ("--time=1-12", {"time_limit": "1-12"}),
        ("-b now+1hour --deadline=18:00", {"begin": "now+1hour", "deadline": "18:00"}),
        ("--no-requeue", {"retries": 0}),
        ("-N 1 --ntasks=1", {}),
        ("-t 5 # five minutes", {"time_limit": "5m"}),
    ],
)
def test_the_common_lines_of_slurm_are_understood(line: str, job: dict[str, Any]) -> None:
    script = read_script(f"#!/bin/bash\n#SBATCH {line}\ntrue\n")
    assert (script.job, script.ignored) == (job, [])


@pytest.mark.parametrize(
    ("line", "weight"),
    [
        ("--array=1-10", "changes what would run"),
        ("-N 4", "changes what would run"),
        ("--output=x.log", "no counterpart"),
        ("--mail-type=END", "no counterpart"),
    ],
)
def test_a_line_of_slurm_without_counterpart_is_reported(line: str, weight: str) -> None:
    ignored = read_script(f"#!/bin/bash\n#SBATCH {line}\n").ignored
    assert len(ignored) == 1
    assert weight in ignored[0]


def test_directives_after_the_first_command_are_comments() -> None:
    script = read_script("#!/bin/bash\n\n# note\n#SBATCH -t 5\ncd /x\n#SBATCH -t 9\n#LOWTIDE -q late\n")
    assert (script.job, script.tokens) == ({"time_limit": "5m"}, [])


def test_a_directive_with_open_quotes_is_refused() -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        read_script('#SBATCH --job-name="x\n')


def test_our_own_lines_override_those_of_slurm(tmp_path: Path) -> None:
    path = tmp_path / "a.sh"
    path.write_text("#!/bin/bash\n#SBATCH -p gpu\n#LOWTIDE -q greenest\n")
    assert body(path)["queue"] == "greenest"
    assert body(path, queue="asap")["queue"] == "asap"


@pytest.mark.parametrize(
    ("given", "ours"), [("30", "30m"), ("30:15", "30m15s"), ("2:00:00", "2:00:00"), ("1-6", "1-6")]
)
def test_slurms_times_keep_slurms_meaning(given: str, ours: str) -> None:
    assert slurm_time(given) == ours


@pytest.mark.parametrize(("given", "ours"), [("4000", "4000M"), ("4G", "4G"), ("4GB", "4G")])
def test_slurms_memory_keeps_slurms_meaning(given: str, ours: str) -> None:
    assert slurm_memory(given) == ours


@pytest.mark.parametrize(
    ("text", "name"), [("Brain MRI", "brain-mri"), ("--", "job"), ("Ü", "job"), ("a" * 80, "a" * 63)]
)
def test_any_text_has_a_nearest_name(text: str, name: str) -> None:
    assert slug(text) == name


def test_what_a_job_depends_on_and_reads_may_be_flags_and_go_before_the_file(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("entrypoint: [true]\ndepends_on: afterok:a\ndata: [1GB@leeds]\n")
    assert body(path)["depends_on"] == "afterok:a"
    found = body(path, dependency=["afterok:b,c", "afterany:d"], data=["2GB@paris"])
    assert (found["depends_on"], found["data"]) == (["afterok:b,c", "afterany:d"], ["2GB@paris"])


def test_widths_come_from_a_file_or_a_flag_and_the_flag_wins(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("entrypoint: [x]\nresources: {gpus: 1}\nwidths: {1: 1.0, 2: 1.9}\n")
    assert body(path)["widths"] == {1: 1.0, 2: 1.9}
    assert body(path, widths="1=1.0,4=3.4")["widths"] == "1=1.0,4=3.4"
