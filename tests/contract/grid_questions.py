"""Asks a grid source one question on the loopback interface, and takes the series or the failure."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from lowtide.scheduler.model.errors import GridFailure
from lowtide.scheduler.model.series import GridSource, Series
from tests.contract.grid_server import Reply, a_vendor

NOW = datetime(2026, 3, 10, 12, 10, tzinfo=UTC)
FIXTURES = Path(__file__).parents[2] / ".." / "shared" / "fixtures" / "grid"
needs_recordings = pytest.mark.skipif(not FIXTURES.is_dir(), reason="the recorded answers are not beside this checkout")

Build = Callable[[str], GridSource]
"""A source for the URL of a vendor."""


def ask(source: GridSource, operation: str, zone: str, now: datetime = NOW, hours: float = 6) -> Series:
    """The answer to one question; ``hours`` is how far back actual figures are asked for."""

    async def question() -> Series:
        try:
            if operation == "actual":
                return await source.actual(zone, now - timedelta(hours=hours), now, now)
            found = await source.forecast(zone, now)
            assert found is not None
            return found
        finally:
            await source.close()

    return asyncio.run(question())


def told(
    build: Build, answer: Callable[[str], Reply] | Reply, operation: str, zone: str, now: datetime = NOW
) -> Series:
    """What the source makes of an answer."""
    with a_vendor(answer if callable(answer) else lambda _: answer) as vendor:
        return ask(build(vendor.url), operation, zone, now)


def failure_of(
    build: Build, answer: Callable[[str], Reply] | Reply, operation: str, zone: str, now: datetime = NOW
) -> GridFailure:
    """The failure that the source makes of an answer."""
    with pytest.raises(GridFailure) as caught:
        told(build, answer, operation, zone, now)
    return caught.value


def asked_in(path: str) -> dict[str, str]:
    """The query of a request."""
    return {name: values[-1] for name, values in parse_qs(urlsplit(path).query).items()}
