"""The sites at run time: the connection to each cluster, its health, and what proves an attempt dead there."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from lowtide.scheduler.model.cluster import Cluster
from lowtide.scheduler.model.errors import ClusterFailure
from lowtide.scheduler.model.site import Site
from lowtide.scheduler.settings import SiteSettings


@dataclass(slots=True)
class SiteRuntime:
    """One site: its settings and cluster, and what was last seen of it.

    ``living`` asks the machine itself which attempts have a process (only where the daemon shares the
    machine); None where it cannot be asked. ``elapsed`` gives seconds that never jump: a step of the wall
    clock proves nothing.
    """

    settings: SiteSettings
    site: Site
    cluster: Cluster
    living: Callable[[], set[str] | None] | None = None
    revive: Callable[[], Coroutine[Any, Any, None]] | None = None
    reachable: bool = False
    trouble: str = "not looked at yet"
    cluster_id: str = ""
    ray_version: str = ""
    packages: dict[str, str] = field(default_factory=dict)
    elapsed: Callable[[], float] = time.monotonic
    _silences: dict[str, tuple[float, object]] = field(default_factory=dict)
    """By attempt: since when it is silent, and what was heard of it last. Kept by this daemon's life alone."""

    async def look(self) -> bool:
        """Refresh health and identity; returns whether the site is usable now."""
        try:
            await self.cluster.health()
            identity = await self.cluster.identity()
        except ClusterFailure as error:
            self.reachable, self.trouble = False, error.message
            self._silences.clear()  # silence counts only while the head could have told otherwise
            return False
        self.reachable, self.trouble = True, ""
        self.cluster_id, self.ray_version = identity.cluster_id, identity.ray_version
        return True

    def heard(self, attempt_id: str) -> None:
        """The attempt lives, or has ended: a later silence begins anew."""
        self._silences.pop(attempt_id, None)

    async def proof_of_death(self, attempt_id: str, told: object = None) -> str:
        """Why no process of the attempt can exist any more, or '' while there is no proof (INV-02).

        Elsewhere than on this machine it is silence for ``fence_s`` while the head of the cluster was there all
        the time: a runner that lives reports, and one that cannot reach the head ends its job after ``lease_s``.

        Args:
            attempt_id: the attempt.
            told: all that its runner has reported so far; anything new breaks the silence.

        """
        if self.living is not None:
            alive = await asyncio.to_thread(self.living)
            gone = alive is not None and attempt_id not in alive
            return "no process of it is left on the machine" if gone else ""
        if not self.reachable:
            return ""
        silent_s = self._silent_s(attempt_id, told)
        if silent_s < self.settings.fence_s or not await self.look():
            return ""
        lease_s = self.settings.lease_s
        return f"nothing was heard of it for {silent_s:.0f} s, and its lease on the cluster lasts {lease_s:.0f} s"

    def _silent_s(self, attempt_id: str, told: object) -> float:
        now_s = self.elapsed()
        since_s, last = self._silences.get(attempt_id, (now_s, told))
        if told != last:
            since_s = now_s
        self._silences[attempt_id] = (since_s, told)
        return now_s - since_s
