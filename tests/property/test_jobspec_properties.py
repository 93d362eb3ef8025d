"""Whatever is sent as a job file, the answer is a spec or a BadInput that names fields (INV-12)."""

import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowtide.scheduler.api.jobspec import JobFile, read_job, read_job_json
from lowtide.scheduler.model.errors import BadInput
from lowtide.scheduler.model.job import ID_PATTERN, JobSpec, spec_from_json, spec_to_json
from lowtide.scheduler.model.quantity import duration_s, duration_text, moment

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
anything = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)
keys = st.sampled_from(sorted(JobFile.model_fields)) | st.text(max_size=12)
slugs = st.from_regex(ID_PATTERN, fullmatch=True)
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
good_jobs = st.fixed_dictionaries(
    {"entrypoint": st.lists(texts, min_size=1, max_size=5)},
    optional={
        "name": slugs,
        "queue": slugs,
        "duration": st.integers(1, 10_000_000),
        "patience": st.integers(0, 1_000_000),
        "resources": st.fixed_dictionaries({"gpus": st.integers(0, 64), "cpus": st.integers(1, 512)}),
        "interruptible": st.booleans(),
        "power_w": st.floats(0.1, 1e6),
        "retries": st.integers(0, 20),
    },
)


def _is_sound(spec: JobSpec) -> bool:
    moments = [at for at in (spec.begin_at, spec.deadline_at) if at is not None]
    numbers = [spec.duration_s, spec.checkpoint_interval_s, spec.grace_s, spec.patience_s or 0, spec.power_w or 1]
    return (
        bool(spec.argv)
        and all(math.isfinite(number) and number >= 0 for number in numbers)
        and all(at.utcoffset() == timedelta(0) for at in moments)
        and ID_PATTERN.fullmatch(spec.name) is not None
    )


@given(st.dictionaries(keys, anything, max_size=6))
def test_any_mapping_gives_a_sound_spec_or_an_error_that_names_fields(values: dict[str, Any]) -> None:
    try:
        spec = read_job(values).spec(NOW)
    except BadInput as refused:
        errors = refused.details["errors"]
        assert isinstance(errors, list)
        assert errors
        assert all(set(error) == {"field", "message"} for error in errors)
    else:
        assert _is_sound(spec)


@given(st.binary(max_size=200))
def test_any_bytes_give_a_job_or_bad_input(body: bytes) -> None:
    try:
        job = read_job_json(body)
    except BadInput:
        return
    assert job.argv()


@given(good_jobs)
def test_a_good_job_is_taken_and_survives_json_and_the_store(values: dict[str, Any]) -> None:
    spec = read_job_json(json.dumps(values).encode()).spec(NOW)
    assert _is_sound(spec)
    assert spec_from_json(json.loads(json.dumps(spec_to_json(spec)))) == spec


@given(good_jobs, st.text(min_size=1, max_size=12).filter(lambda key: key not in JobFile.model_fields))
def test_one_unknown_key_is_enough_to_refuse_a_good_job(values: dict[str, Any], key: str) -> None:
    with pytest.raises(BadInput, match="unknown key"):
        read_job(values | {key: 1})


@given(st.integers(0, 366 * 86_400))
def test_a_duration_reads_back_as_it_was_written(seconds: int) -> None:
    assert duration_s(duration_text(seconds)) == seconds


@given(st.text(max_size=70))
def test_any_text_is_a_moment_or_a_value_error(text: str) -> None:
    try:
        at = moment(text, now=NOW)
    except ValueError:
        return
    assert at.utcoffset() == timedelta(0)


@given(st.text(max_size=70) | st.floats() | st.integers())
def test_any_value_is_a_finite_duration_or_a_value_error(value: object) -> None:
    try:
        seconds = duration_s(value)
    except ValueError:
        return
    assert 0 <= seconds <= 366 * 86_400
