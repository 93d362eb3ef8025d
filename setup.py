"""Map the top-level folders onto import names: scheduler/ -> lowtide.scheduler, and so on."""

from setuptools import find_namespace_packages, setup

ROOTS = ("scheduler", "policies", "connectors", "examples")


def packages() -> list[str]:
    """Every package under the three roots, so that a new sub-package cannot be forgotten."""
    found = []
    for root in ROOTS:
        found.append(f"lowtide.{root}")
        subs = find_namespace_packages(root, exclude=["*__pycache__*"])
        found += [f"lowtide.{root}.{sub}" for sub in subs]
    return found


setup(packages=packages(), package_dir={f"lowtide.{root}": root for root in ROOTS})
