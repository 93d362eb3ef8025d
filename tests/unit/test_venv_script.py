"""scripts/venv.sh: says what is missing on a bare machine, and does nothing when nothing has changed."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
TOOLS = ("bash", "cat", "cut", "dirname", "env", "sha256sum")
WITHOUT_VENV = """#!/bin/bash
case "$2" in
    *ensurepip*) exit 1 ;;
    *%d*) echo 3.12 ;;
esac
"""


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A checkout and a PATH that holds a few tools and no Python."""
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool) or tool)
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "venv.sh", tmp_path / "scripts")
    for name in ("requirements.lock", "pyproject.toml", "setup.py"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def run(machine: Path) -> subprocess.CompletedProcess[str]:
    bash = machine / "bin" / "bash"
    command = [str(bash), str(machine / "scripts" / "venv.sh")]
    path = str(machine / "bin")
    return subprocess.run(command, env={"PATH": path}, capture_output=True, text=True, timeout=60, check=False)


def test_without_python_it_says_which_one_is_needed(machine: Path) -> None:
    done = run(machine)
    assert done.returncode == 1
    assert "no Python 3.11 or newer" in done.stderr


def test_without_the_venv_module_it_names_the_package(machine: Path) -> None:
    python = machine / "bin" / "python3"
    python.write_text(WITHOUT_VENV)
    python.chmod(0o755)
    done = run(machine)
    assert done.returncode == 1
    assert "apt-get install python3.12-venv" in done.stderr
    assert not (machine / ".venv").exists()


def test_it_is_free_while_lock_project_and_path_stay_the_same(machine: Path) -> None:
    held = b"".join((machine / name).read_bytes() for name in ("requirements.lock", "pyproject.toml", "setup.py"))
    sums = subprocess.run(
        ["sha256sum"], input=f"{machine.resolve()}\n".encode() + held, capture_output=True, check=True, timeout=60
    )
    (machine / ".venv").mkdir()
    (machine / ".venv" / "lowtide-stamp").write_text(sums.stdout.decode().split()[0] + "\n")
    assert run(machine).returncode == 0, "no Python is there, so it can only have done nothing"
    (machine / "requirements.lock").write_text("another==1\n")
    assert run(machine).returncode == 1
