"""What every test shares: hypothesis profiles, the golden files, and real components that must not be skipped."""

import importlib.util
import os
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.components import INSTALL, is_present, require, required

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"
GENERATED = "docs/"
"""Names that begin with this are pages of the repository which are made from the code."""
PROFILES = {"dev": 50, "ci": 200, "long": 5_000}
"""Examples per property, by the name in LOWTIDE_HYPOTHESIS; ``ci`` costs about a minute on two cores."""

if importlib.util.find_spec("tests.ray_fixtures"):
    pytest_plugins = ["tests.ray_fixtures"]

for name, examples in PROFILES.items():
    # No deadline: a shared machine's pause is no defect of the code under test.
    settings.register_profile(
        name,
        max_examples=examples,
        deadline=None,
        derandomize=name == "ci",
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],
    )
settings.load_profile(os.environ.get("LOWTIDE_HYPOTHESIS", "dev"))


def pytest_configure() -> None:
    """Refuse a run whose required components are missing or misspelt, before it takes its minutes."""
    missing = [name for name in sorted(required()) if not is_present(name)]
    if missing:
        told = "; ".join(f"{name} ({INSTALL[name]})" for name in missing)
        message = f"LOWTIDE_REQUIRE names what is not on this machine: {told}."
        raise pytest.UsageError(message)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that write golden files, so that ``make golden`` runs those alone."""
    for item in items:
        if "golden" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.golden)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, or fail, a test marked with a component that is not here."""
    for component in INSTALL:
        if item.get_closest_marker(component):
            require(component)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test that is marked with a required component and skips itself for any other reason."""
    report = yield
    skipped_by_itself = report.skipped and not hasattr(report, "wasxfail")
    marked = [name for name in required() if item.get_closest_marker(name)]
    if skipped_by_itself and marked:
        report.outcome = "failed"
        report.longrepr = f"skipped, though LOWTIDE_REQUIRE names {', '.join(marked)}: {report.longrepr}"
    return report


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    """Compare a text with ``tests/golden/<name>`` or a page of docs/, or write it when ``LOWTIDE_GOLDEN=1``."""

    def compare(name: str, text: str) -> None:
        path = ROOT / name if name.startswith(GENERATED) else GOLDEN / name
        if os.environ.get("LOWTIDE_GOLDEN") == "1":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        assert path.exists(), f"{name} is not there yet; write it with: make golden"
        assert text == path.read_text(), f"{name} differs; if that is meant: make golden, then read the diff"

    return compare
