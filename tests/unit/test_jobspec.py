from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lowtide.scheduler.api.jobspec import MAX_ARGV_BYTES, JobFile, read_job, read_job_json
from lowtide.scheduler.model.errors import BadInput, Infeasible
from lowtide.scheduler.model.job import JobSpec, Resources, Urgency, spec_from_json, spec_to_json
from lowtide.scheduler.model.run_time import Told

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
COMMAND = {"entrypoint": ["python", "train.py"]}
GPU = {"resources": {"gpus": 1}}
EVERYTHING: dict[str, Any] = {
    "name": "brain-mri",
    "project": "radiology",
    "queue": "greenest",
    "entrypoint": ["python", "train.py", "--epochs", 3],
    "working_dir": "/srv/work",
    "runtime_env": {"pip": ["torch"], "config": {"setup_timeout_seconds": 300}},
    "env": {"EPOCHS": 10, "MODE": "fast"},
    "resources": {"gpus": 2, "gpu_model": "H100", "cpus": 8, "memory": "64GiB"},
    "duration": "3h",
    "begin": "now+1h",
    "deadline": "2026-03-03T18:00:00Z",
    "interruptible": True,
    "own_checkpoints": True,
    "checkpoint_interval": "10m",
    "grace": 45,
    "widths": {1: 1.0, 2: 1.9, "4": 3},
    "power": {0.8: 0.97, "50%": "0.8"},
    "residency": ["de", "FR"],
    "urgency": "normal",
    "retries": 1,
    "power_w": 650,
    "labels": {"study": "S-12"},
}


def refused(values: dict[str, Any]) -> list[dict[str, str]]:
    with pytest.raises(BadInput) as caught:
        read_job(values).spec(NOW)
    errors = caught.value.details["errors"]
    assert isinstance(errors, list)
    return errors


def test_every_key_of_a_job_file_reaches_the_spec() -> None:
    assert read_job(EVERYTHING).spec(NOW) == JobSpec(
        name="brain-mri",
        argv=("python", "train.py", "--epochs", "3"),
        project="radiology",
        queue="greenest",
        working_dir="/srv/work",
        runtime_env={"pip": ["torch"], "config": {"setup_timeout_seconds": 300}},
        env={"EPOCHS": "10", "MODE": "fast"},
        resources=Resources(gpus=2, cpus=8, memory_bytes=64 << 30, gpu_model="H100"),
        duration_s=10_800,
        begin_at=NOW + timedelta(hours=1),
        deadline_at=datetime(2026, 3, 3, 18, 0, tzinfo=UTC),
        interruptible=True,
        own_checkpoints=True,
        checkpoint_interval_s=600,
        grace_s=45,
        widths=((1, 1.0), (2, 1.9), (4, 3.0)),
        power=((0.5, 0.8, 0.5 / 0.8), (0.8, 0.97, 0.8 / 0.97)),
        residency=frozenset({"DE", "FR"}),
        urgency=Urgency.NORMAL,
        retries=1,
        power_w=650,
        labels={"study": "S-12"},
    )


def test_what_a_job_file_leaves_out_has_the_defaults_of_the_spec() -> None:
    assert read_job(COMMAND).spec(NOW) == JobSpec(name="job", argv=("python", "train.py"), told=Told.QUEUE)


def test_a_spec_from_a_full_job_file_survives_the_store() -> None:
    spec = read_job(EVERYTHING).spec(NOW)
    assert spec_from_json(spec_to_json(spec)) == spec


def test_a_spec_that_was_stored_with_fields_of_old_is_read_without_them() -> None:
    spec = read_job(COMMAND).spec(NOW)
    assert spec_from_json({**spec_to_json(spec), "elastic": [1, 4], "throttleable": True}) == spec


def test_widths_are_taken_as_a_mapping_and_as_text_and_only_their_ratios_count() -> None:
    gpus = {"resources": {"gpus": 2, "cpus": 3}}
    spec = read_job(COMMAND | gpus | {"widths": "4=30, 1=10,2=20"}).spec(NOW)
    assert spec.widths == read_job(COMMAND | gpus | {"widths": {"1": 10, "2": 20, "4": 30}}).widths
    assert [spec.speed_at(n) for n in (1, 2, 4)] == [0.5, 1.0, 1.5]
    assert [spec.resources_at(n).cpus for n in (1, 2, 4)] == [2, 3, 6]


@pytest.mark.parametrize(
    ("model", "slowdown", "limits"),
    [("Tesla V100", "12%", [0.6, 0.7, 0.8, 0.9]), ("A40", 0.05, [0.67, 0.75, 0.83]), (None, "1%", []), ("A40", 0, [])],
)
def test_who_bounds_the_slowdown_gets_the_measured_limits_of_its_gpus_that_keep_it(
    model: str | None, slowdown: object, limits: list[float]
) -> None:
    held = {"gpus": 1} | ({"gpu_model": model} if model else {})
    spec = read_job(COMMAND | {"resources": held, "power": {"max_slowdown": slowdown}}).spec(NOW)
    assert [limit for limit, *_ in spec.power] == limits


def test_a_declared_limit_is_taken_to_be_drawn_in_full() -> None:
    spec = read_job(COMMAND | GPU | {"power": {0.6: 0.9}}).spec(NOW)
    assert spec.throughput_at(0.6) == 0.9
    assert spec.draw_at(0.6) == pytest.approx(0.6)
    assert (spec.throughput_at(1.0), spec.draw_at(1.0)) == (1.0, 1.0)


def test_a_job_without_widths_runs_at_full_speed_and_holds_what_it_asks_for() -> None:
    spec = read_job(COMMAND).spec(NOW)
    assert (spec.speed_at(0), spec.resources_at(0)) == (1.0, spec.resources)


def test_a_script_is_handed_to_bash_as_one_argument() -> None:
    job = read_job({"name": "s", "script": "#!/bin/bash\necho hello\n"})
    assert job.argv() == ("bash", "-c", "#!/bin/bash\necho hello\n", "s")


@pytest.mark.parametrize("first", ["#!/usr/bin/env python3", "#!/usr/bin/python", "#!/bin/zsh", "#!"])
def test_a_script_for_another_program_is_refused(first: str) -> None:
    assert "run by bash" in refused({"script": f"{first}\nprint(1)\n"})[0]["message"]


@pytest.mark.parametrize("first", ["#!/bin/sh", "#!/usr/bin/env bash", "#!/bin/bash -l", "#!/bin/dash"])
def test_a_script_for_a_shell_is_taken(first: str) -> None:
    assert read_job({"script": f"{first}\ntrue\n"}).script is not None


@pytest.mark.parametrize(
    ("key", "nearest"),
    [("durations", "duration"), ("entry_point", "entrypoint"), ("dead_line", "deadline"), ("Queue", "queue")],
)
def test_an_unknown_key_is_refused_with_the_nearest_one(key: str, nearest: str) -> None:
    assert refused(COMMAND | {key: "x"}) == [{"field": key, "message": f"unknown key; did you mean '{nearest}'?"}]


def test_an_unknown_key_like_no_other_is_refused_with_all_of_them() -> None:
    message = refused(COMMAND | {"zzz": 1})[0]["message"]
    assert all(key in message for key in JobFile.model_fields)


def test_an_unknown_key_inside_resources_is_refused_with_the_nearest_one() -> None:
    wrong = refused(COMMAND | {"resources": {"gpu": 2}})
    assert wrong == [{"field": "resources.gpu", "message": "unknown key; did you mean 'gpus'?"}]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "a/b"}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 64}, "name"),
        ({"name": "Brain"}, "name"),
        ({"name": 3}, "name"),
        ({"queue": "a b"}, "queue"),
        ({"project": "../x"}, "project"),
        ({"entrypoint": "python train.py"}, "entrypoint"),
        ({"entrypoint": []}, "entrypoint"),
        ({"entrypoint": ["a\0b"]}, "entrypoint.0"),
        ({"entrypoint": [None]}, "entrypoint.0"),
        ({"working_dir": "relative"}, "working_dir"),
        ({"working_dir": "~/x"}, "working_dir"),
        ({"runtime_env": {"env_vars": {"A": "1"}}}, "runtime_env"),
        ({"runtime_env": {"container": {}}}, "runtime_env"),
        ({"env": {"LD_PRELOAD": "x"}}, "env"),
        ({"env": {"PYTHONPATH": "x"}}, "env"),
        ({"env": {"RAY_ADDRESS": "x"}}, "env"),
        ({"env": {"LOWTIDE_JOB_ID": "x"}}, "env"),
        ({"env": {"A=B": "x"}}, "env"),
        ({"env": {"A": "x" * 70_000}}, "env"),
        ({"env": {"A": True}}, "env.A"),
        ({"resources": {"gpus": -1}}, "resources.gpus"),
        ({"resources": {"gpus": 1.5}}, "resources.gpus"),
        ({"resources": {"gpus": True}}, "resources.gpus"),
        ({"resources": {"cpus": 0}}, "resources.cpus"),
        ({"resources": {"memory": "lots"}}, "resources.memory"),
        ({"resources": {"gpu_model": "H100; rm"}}, "resources.gpu_model"),
        ({"duration": "0s"}, "job"),
        ({"duration": "30"}, "duration"),
        ({"duration": float("nan")}, "duration"),
        ({"patience": -1}, "patience"),
        ({"begin": "yesterday"}, "begin"),
        ({"deadline": "2026-03-03T18:00"}, "deadline"),
        ({"deadline": 960}, "deadline"),
        ({"deadline_action": "cancel"}, "deadline_action"),
        ({"interruptible": "yes"}, "interruptible"),
        ({"power": {"max_slowdown": "10%"}}, "job"),
        ({"power": {"max_slowdown": 1}, "widths": dict.fromkeys(range(1, 12), 1.0), **GPU}, "job"),
        ({"power": {"max_slowdown": 1.5}, **GPU}, "power"),
        ({"power": {"max_slowdown": "10 percent"}, **GPU}, "power"),
        ({"power": {"max_slowdown": "10%", 0.8: 0.9}, **GPU}, "power"),
        ({"power": {0.05: 0.5}, **GPU}, "power"),
        ({"power": {0.8: 1.2}, **GPU}, "power"),
        ({"power": {1.0: 0.9, 0.8: 0.9}, **GPU}, "power"),
        ({"power": {0.8: True}, **GPU}, "power"),
        ({"power": {0.8: 0.9, "80%": 0.9}, **GPU}, "power"),
        ({"power": {}, **GPU}, "power"),
        ({"power": 0.8, **GPU}, "power"),
        ({"widths": {0: 1.0}}, "widths"),
        ({"widths": {1: 0.0}}, "widths"),
        ({"widths": {1: True}}, "widths"),
        ({"widths": {1: "inf"}}, "widths"),
        ({"widths": [1, 2]}, "widths"),
        ({"widths": {1: 1.0, "1": 2.0}}, "widths"),
        ({"widths": {2: 1.0, 4: 1.9}, "resources": {"gpus": 1}}, "job"),
        ({"widths": {1: 1.0, 2: 1.9}}, "job"),
        ({"residency": ["Germany"]}, "residency.0"),
        ({"urgency": "high"}, "urgency"),
        ({"retries": -1}, "retries"),
        ({"retries": 21}, "retries"),
        ({"power_w": 0}, "power_w"),
        ({"power_w": float("nan")}, "power_w"),
        ({"power_w": float("inf")}, "power_w"),
        ({"labels": {"a b": "c"}}, "labels.a b.[key]"),
        ({"labels": {"a": "x" * 257}}, "labels.a"),
    ],
)
def test_a_wrong_value_is_refused_at_its_field(change: dict[str, Any], field: str) -> None:
    assert [error["field"] for error in refused(COMMAND | change)] == [field]


def test_nothing_to_run_is_refused() -> None:
    assert "give 'entrypoint' or 'script'" in refused({"name": "x"})[0]["message"]


def test_two_things_to_run_are_refused() -> None:
    assert "keep one" in refused(COMMAND | {"script": "true"})[0]["message"]


def test_a_deadline_and_a_patience_exclude_each_other() -> None:
    wrong = refused(COMMAND | {"deadline": "now+9h", "patience": "1h"})
    assert "both 'deadline' and 'patience'" in wrong[0]["message"]


def test_a_command_that_linux_could_not_start_is_refused() -> None:
    assert read_job({"script": "x" * (MAX_ARGV_BYTES - 100)}).script
    assert "put it in a file" in refused({"script": "é" * (MAX_ARGV_BYTES // 2)})[0]["message"]


def test_a_deadline_that_leaves_exactly_the_run_time_is_taken() -> None:
    spec = read_job(COMMAND | {"duration": "3h", "deadline": "now+3h"}).spec(NOW)
    assert spec.deadline_at == NOW + timedelta(hours=3)


@pytest.mark.parametrize("deadline", ["now+179m", "2020-01-01T00:00Z", "now"])
def test_a_deadline_that_cannot_be_met_is_infeasible_and_names_the_earliest_finish(deadline: str) -> None:
    with pytest.raises(Infeasible, match="earliest finish is 2026-03-02 12:00:00 UTC"):
        read_job(COMMAND | {"duration": "3h", "deadline": deadline}).spec(NOW)


def test_a_begin_time_counts_against_the_deadline() -> None:
    with pytest.raises(Infeasible, match="earliest finish is 2026-03-02 15:00:00 UTC"):
        read_job(COMMAND | {"duration": "3h", "begin": "now+3h", "deadline": "now+5h"}).spec(NOW)


def test_an_impossible_deadline_is_kept_when_the_job_shall_run_anyway() -> None:
    job = read_job(COMMAND | {"duration": "3h", "deadline": "now+1h", "deadline_action": "run"})
    assert job.spec(NOW).deadline_at == NOW + timedelta(hours=1)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"1", b'"x"', b"\xff", b"{" * 100_000, b'{"a":1}'])
def test_a_body_that_is_no_job_is_bad_input(body: bytes) -> None:
    with pytest.raises(BadInput):
        read_job_json(body)


def test_a_refusal_never_repeats_a_long_value() -> None:
    secret = "s3cret" * 5_000
    with pytest.raises(BadInput) as caught:
        read_job(COMMAND | {"env": {"TOKEN": secret, "LD_X": "1"}, "name": secret, secret: 1})
    assert len(str(caught.value)) < 3_000
    assert len(str(caught.value.details)) < 3_000
