"""Capacity that is kept for somebody, or from everybody: what is drained is reserved for nobody."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Reservation:
    """What is kept free at a site in [start_at, end_at), aware UTC; ``end_at`` None is until it is ended.

    An empty ``pool`` is the whole site. ``gpus`` and ``cpus`` None are all of it. Its members are the jobs of
    ``project`` in ``queue``, None being any; with neither it has no members, and nothing starts in it.
    """

    number: int
    site: str
    pool: str
    start_at: datetime
    end_at: datetime | None = None
    gpus: int | None = None
    cpus: int | None = None
    project: str | None = None
    queue: str | None = None

    @property
    def has_members(self) -> bool:
        """Whether anybody may use it."""
        return self.project is not None or self.queue is not None

    @property
    def is_drain(self) -> bool:
        """Whether all of a place is kept from everybody."""
        return self.gpus is None and not self.has_members

    def admits(self, project: str, queue: str) -> bool:
        """Whether a job of this project in this queue is a member."""
        return self.has_members and self.project in {None, project} and self.queue in {None, queue}

    def covers(self, site: str, pool: str) -> bool:
        """Whether it lies in this pool."""
        return self.site == site and self.pool in {"", pool}


@dataclass(frozen=True, slots=True)
class Wish:
    """A reservation as it is asked for; times as text, empty ones being now and until it is ended."""

    site: str
    pool: str = ""
    start: str = ""
    end: str = ""
    gpus: int | None = None
    cpus: int | None = None
    project: str | None = None
    queue: str | None = None
