"""Real components that a test may need: skipped where one is missing, failed where it is required.

``LOWTIDE_REQUIRE=ray,promtool`` names the components that must be there, so that a run which should have
tried them cannot pass by skipping them.
"""

import importlib.util
import os
import shutil
from collections.abc import Mapping

import pytest

INSTALL = {
    "ray": "pip install -r requirements.lock",
    "promtool": "apt-get install prometheus",
}
"""How each component is had; the keys are the closed list."""


def is_present(component: str) -> bool:
    """Whether the component is on this machine."""
    if component == "ray":
        return importlib.util.find_spec("ray") is not None
    return shutil.which(component) is not None


def required(environ: Mapping[str, str] = os.environ) -> frozenset[str]:
    """The components that ``LOWTIDE_REQUIRE`` names.

    Raises:
        pytest.UsageError: it names one that does not exist; a misspelt name would require nothing.

    """
    names = frozenset(name.strip() for name in environ.get("LOWTIDE_REQUIRE", "").split(",") if name.strip())
    unknown = names - INSTALL.keys()
    if unknown:
        message = f"LOWTIDE_REQUIRE names {', '.join(sorted(unknown))}; known are {', '.join(sorted(INSTALL))}."
        raise pytest.UsageError(message)
    return names


def require(component: str) -> None:
    """Return when the component is here; else skip the test, or fail it when the component is required."""
    if is_present(component):
        return
    told = f"{component} is not on this machine; to have it: {INSTALL[component]}"
    if component in required():
        pytest.fail(f"required by LOWTIDE_REQUIRE: {told}", pytrace=False)
    pytest.skip(told)
