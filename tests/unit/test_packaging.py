"""The wheel holds exactly the tree's files under lowtide/, and the project file tells the truth about it."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
CODE = ("scheduler", "policies", "connectors")
ROOTS = (*CODE, "examples")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
IMPORT_NAMES = {"apscheduler": "apscheduler", "nvidia-ml-py": "pynvml", "pyyaml": "yaml"}
NOT_IMPORTED = {
    "sniffio": "httpcore asks it which event loop runs, and searches the disk at every lock where it is missing",
    "ray": "started as a program",
    "httptools": "uvicorn takes it when it is there",
}


def shipped() -> set[str]:
    """What the folders hold, named as in the wheel."""
    paths = (path for root in ROOTS for path in (ROOT / root).rglob("*") if path.is_file())
    return {f"lowtide/{path.relative_to(ROOT)}" for path in paths if "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel of a copy of the tree, built without network."""
    copy = tmp_path_factory.mktemp("tree")
    for name in ROOTS:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    out = tmp_path_factory.mktemp("wheel")
    command = ["-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-q", "-w", str(out), str(copy)]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = out.glob("*.whl")
    return zipfile.ZipFile(built)


def test_the_wheel_holds_every_file_of_the_tree_and_no_other(wheel: zipfile.ZipFile) -> None:
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert held == shipped()


def test_data_files_arrive_byte_for_byte(wheel: zipfile.ZipFile) -> None:
    data = [name for name in shipped() if not name.endswith(".py")]
    assert any(name.endswith(".gz") for name in data)
    for name in data:
        assert wheel.read(name) == (ROOT / name.removeprefix("lowtide/")).read_bytes(), name


def test_the_wheel_carries_the_licence_and_the_command(wheel: zipfile.ZipFile) -> None:
    info = next(name.split("/")[0] for name in wheel.namelist() if ".dist-info/" in name)
    assert wheel.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    assert "lowtide = lowtide.scheduler.cli" in wheel.read(f"{info}/entry_points.txt").decode()


def test_nothing_generic_lands_beside_other_packages(wheel: zipfile.ZipFile) -> None:
    assert {name.split("/")[0] for name in wheel.namelist() if ".dist-info/" not in name} == {"lowtide"}


@pytest.mark.parametrize("group", ["lowtide.policies", "lowtide.grid_sources"])
def test_every_entry_point_of_ours_loads(group: str) -> None:
    declared = PROJECT["project"]["entry-points"][group]
    found = {point.name: point for point in entry_points(group=group)}
    assert declared.keys() <= found.keys(), "installed from an older tree: make venv"
    for name in declared:
        assert found[name].load().__name__ in declared[name]


@cache
def imported() -> set[str]:
    """The top-level names that our code imports, wherever the import stands; examples need the demo extra."""
    names = set()
    for root in CODE:
        for path in (ROOT / root).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    names |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    names.add(node.module.split(".")[0])
    return names


def declared_names() -> dict[str, str]:
    """Import name by distribution, for what the project file requires at run time."""
    found = (re.match(r"[A-Za-z0-9-]+", requirement) for requirement in PROJECT["project"]["dependencies"])
    names = [match[0].lower() for match in found if match]
    return {name: IMPORT_NAMES.get(name, name.replace("-", "_")) for name in names}


def test_every_declared_dependency_is_used() -> None:
    unused = {name for name, module in declared_names().items() if module not in imported()}
    assert unused == NOT_IMPORTED.keys()


def test_everything_imported_is_declared() -> None:
    foreign = imported() - sys.stdlib_module_names - {"lowtide"} - set(declared_names().values())
    # starlette is FastAPI's foundation and versioned with it; scikit-learn sharpens forecasts where it is installed,
    # and Plotly draws pages
    assert foreign == {"starlette", "sklearn", "plotly"}


def test_the_lock_holds_every_dependency() -> None:
    locked = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    assert declared_names().keys() <= locked


def test_there_is_no_init_file_and_no_folder_named_lowtide() -> None:
    assert [path for root in ROOTS for path in (ROOT / root).rglob("__init__.py")] == []
    assert not (ROOT / "lowtide").exists()
