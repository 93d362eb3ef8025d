"""What a job depends on, as people write it."""

from datetime import UTC, datetime

import pytest

from lowtide.scheduler.api.jobspec import read_job
from lowtide.scheduler.cli.script_lines import read_script
from lowtide.scheduler.model.dependency import After, Dependency, dependencies
from lowtide.scheduler.model.errors import BadInput
from lowtide.scheduler.model.job import JobSpec, spec_from_json, spec_to_json

OK_A, OK_B, ANY_C = Dependency(After.OK, "a"), Dependency(After.OK, "b"), Dependency(After.ANY, "c")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("afterok:a", (OK_A,)),
        ("afterok:a:b", (OK_A, OK_B)),
        ("afterok:a,b", (OK_A, OK_B)),
        ("afterok:a,afterok:b,afterany:c", (OK_A, OK_B, ANY_C)),
        (["afterok:a", "afterany:c", "afterok:a"], (OK_A, ANY_C)),
        ([], ()),
    ],
)
def test_dependencies_are_read_as_slurm_writes_them(text: object, meant: tuple[Dependency, ...]) -> None:
    assert dependencies(text) == meant


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a", "names no condition or no job"),
        ("afterok:", "names no condition or no job"),
        ("afterok:a,,b", "names no condition or no job"),
        ("afterok:a?afterok:b", "asks for one of several jobs"),
        ("afternotok:a", "is no condition that is known"),
        ("singleton", "names no condition or no job"),
        ("afterok:a,afterany:a", "waits for a job both ways"),
        (7, "neither text nor a list of it"),
        ("afterok:" + ":".join(f"j{n}" for n in range(1001)), "more than 1000 jobs"),
    ],
)
def test_what_is_no_dependency_is_refused_with_what_to_write(text: object, told: str) -> None:
    with pytest.raises(ValueError, match=told) as refused:
        dependencies(text)
    assert "afterok:JOB" in str(refused.value) or "name each of at most 1000 once" in str(refused.value)


def test_a_job_file_names_the_field_that_is_wrong() -> None:
    with pytest.raises(BadInput, match="depends_on"):
        read_job({"entrypoint": ["true"], "depends_on": "after:a"})


def test_dependencies_survive_the_store_and_leave_other_specs_as_they_were() -> None:
    spec = read_job({"entrypoint": ["true"], "depends_on": ["afterok:a:b", "afterany:c"]}).spec(datetime.now(UTC))
    assert spec.depends_on == (OK_A, OK_B, ANY_C)
    assert spec_from_json(spec_to_json(spec)) == spec
    assert "depends_on" not in spec_to_json(JobSpec("a", ("true",)))


def test_the_line_of_a_slurm_script_is_heeded() -> None:
    script = read_script("#!/bin/bash\n#SBATCH --dependency=afterok:a:b\n#SBATCH -d afterany:c\ntrue\n")
    assert script.job["depends_on"] == "afterany:c"
    assert script.ignored == []
