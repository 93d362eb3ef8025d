"""A required component that is missing fails the run; an optional one is skipped."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.components import INSTALL, required

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_names_are_split_and_stripped() -> None:
    assert required({"LOWTIDE_REQUIRE": "ray, promtool,"}) == {"ray", "promtool"}
    assert required({}) == frozenset()


def test_a_misspelt_component_is_refused() -> None:
    with pytest.raises(pytest.UsageError, match="names rya; known are"):
        required({"LOWTIDE_REQUIRE": "rya"})


def run_pytest(requirement: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """One test marked promtool that skips itself, on a machine whose PATH holds nothing but a pretended promtool."""
    (folder / "test_one.py").write_text(
        "import pytest\n@pytest.mark.promtool\ndef test_one():\n    pytest.skip('not today')\n"
    )
    tool = folder / "promtool"
    tool.touch(mode=0o755)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.conftest"]
    return subprocess.run(
        [*command, "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), str(folder / "test_one.py")],
        cwd=ROOT,
        env={"PATH": str(folder), "LOWTIDE_REQUIRE": requirement, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(("requirement", "code", "word"), [("", 0, "1 skipped"), ("promtool", 1, "1 failed")])
def test_a_test_of_a_required_component_may_not_skip_itself(
    tmp_path: Path, requirement: str, code: int, word: str
) -> None:
    done = run_pytest(requirement, tmp_path)
    assert done.returncode == code, done.stdout + done.stderr
    assert word in done.stdout


def test_a_missing_required_component_stops_the_run_at_once(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--collect-only", str(Path(__file__))],
        cwd=ROOT,
        env={"PATH": str(tmp_path / "none"), "LOWTIDE_REQUIRE": "promtool"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert INSTALL["promtool"] in done.stderr
