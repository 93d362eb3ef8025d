"""Packages: the same content gives the same bytes, and nothing outside the directory gets in."""

import io
import os
import zipfile
from pathlib import Path

import pytest

from lowtide.connectors.cluster import package
from lowtide.connectors.cluster.package import MIB, jobside_package, working_dir_package
from lowtide.scheduler.model.errors import BadInput, TooLarge


def names(content: bytes) -> list[str]:
    return zipfile.ZipFile(io.BytesIO(content)).namelist()


def a_folder(root: Path) -> Path:
    for name, text in {"b.py": "print(1)", "a/data.csv": "1,2", "run.sh": "#!/bin/sh"}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "run.sh").chmod(0o755)
    return root


def test_the_same_content_gives_the_same_bytes_whatever_its_age(tmp_path: Path) -> None:
    first, second = a_folder(tmp_path / "one"), a_folder(tmp_path / "two")
    os.utime(second / "b.py", (0, 0))
    content = working_dir_package(first, MIB)
    assert content == working_dir_package(second, MIB)
    assert names(content) == ["a/data.csv", "b.py", "run.sh"]
    (second / "b.py").write_text("print(2)")
    assert content != working_dir_package(second, MIB)


def test_a_script_stays_executable(tmp_path: Path) -> None:
    archive = zipfile.ZipFile(io.BytesIO(working_dir_package(a_folder(tmp_path), MIB)))
    assert archive.getinfo("run.sh").external_attr >> 16 & 0o777 == 0o755


def test_what_can_be_made_again_is_left_behind(tmp_path: Path) -> None:
    a_folder(tmp_path)
    for name in (".git/config", "__pycache__/x.py", ".venv/bin/python", "a/old.pyc", "node_modules/m.js"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    assert names(working_dir_package(tmp_path, MIB)) == ["a/data.csv", "b.py", "run.sh"]


def test_a_link_carries_what_lies_inside_and_nothing_from_outside(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("not yours")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "patient.csv").write_text("not yours")
    root = a_folder(tmp_path / "job")
    for name, target in {"in.py": "b.py", "out": "../secret", "folder": "../outside", "dead": "nothing"}.items():
        (root / name).symlink_to(target)
    (root / "loop").symlink_to(".")
    assert names(working_dir_package(root, MIB)) == ["a/data.csv", "b.py", "in.py", "run.sh"]


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(a_folder(tmp_path) / "pipe")
    assert "pipe" not in names(working_dir_package(tmp_path, MIB))


def test_a_directory_that_is_none_is_refused_with_what_to_do(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere", a_folder(tmp_path) / "b.py"):
        with pytest.raises(BadInput, match="does not exist or is no directory") as caught:
            working_dir_package(path, MIB)
        assert "--workdir" in caught.value.fix


def test_too_much_is_refused_with_the_three_largest(tmp_path: Path) -> None:
    for mib in (1, 2, 3, 4):
        (tmp_path / f"scan{mib}.nii").write_bytes(bytes(mib * MIB))
    assert working_dir_package(tmp_path, 10 * MIB)
    with pytest.raises(TooLarge) as caught:
        working_dir_package(tmp_path, 10 * MIB - 1)
    assert "scan4.nii (4 MiB), scan3.nii (3 MiB), scan2.nii (2 MiB)" in caught.value.message
    assert "scan1" not in caught.value.message


def test_a_name_that_is_not_text_is_refused(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(a_folder(tmp_path)) + b"/\xff.csv")).write_text("x")
    with pytest.raises(BadInput, match="not UTF-8"):
        working_dir_package(tmp_path, MIB)


def test_a_file_that_goes_away_meanwhile_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = a_folder(tmp_path) / "gone.csv"
    monkeypatch.setattr(package, "_walk", lambda _: iter([gone]))
    with pytest.raises(BadInput, match=r"gone\.csv .* cannot be read"):
        working_dir_package(tmp_path, MIB)


def test_the_job_side_is_laid_out_as_it_is_imported() -> None:
    assert jobside_package() == jobside_package()
    held = names(jobside_package())
    assert "lowtide/connectors/jobside/runner.py" in held
    assert all(name.startswith("lowtide/connectors/jobside/") and name.endswith(".py") for name in held)
