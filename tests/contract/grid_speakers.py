"""The sources that speak HTTP, for the fault matrix. Each joins with one call beside its conformance class."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from lowtide.scheduler.model.series import GridSource
from tests.contract.grid_server import Reply

KEY_ENV = "LOWTIDE_TEST_KEY"
"""The variable that holds a key during the matrix: pass its name as ``token_env`` or what the source calls it."""
KEY = "k3y-that-must-not-show"


@dataclass(frozen=True)
class Speaker:
    """A source at a base URL, a zone and a time at which ``answer`` has figures for it; see ``speaks_http``."""

    build: Callable[[str], GridSource]
    zone: str
    now: datetime
    answer: Callable[[str], Reply]
    ban_s: float | None


SPEAKERS: dict[str, Speaker] = {}


def speaks_http(
    entry_point: str,
    build: Callable[[str], GridSource],
    zone: str,
    now: datetime,
    answer: Callable[[str], Reply],
    *,
    ban_s: float | None = None,
) -> None:
    """Join the matrix: ``speaks_http("neso", Neso, "GB", NOW, neso_like(NOW))``.

    ``ban_s`` is how long the vendor documents to refuse who asked too often, where its 429 does not say.
    """
    SPEAKERS[entry_point] = Speaker(build, zone, now, answer, ban_s)
