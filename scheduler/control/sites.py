"""The sites at run time: the connection to each cluster, its health, and what proves an attempt dead there."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lowtide.scheduler.model.cluster import Cluster
from lowtide.scheduler.model.errors import ClusterFailure
from lowtide.scheduler.model.site import Site
from lowtide.scheduler.settings import SiteSettings


@dataclass(slots=True)
class SiteRuntime:
    """One site: its settings and cluster, and what was last seen of it.

    ``living`` asks the machine itself which attempts have a process (only where the daemon shares the
    machine); None where it cannot be asked.
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

    async def look(self) -> bool:
        """Refresh health and identity; returns whether the site is usable now."""
        try:
            await self.cluster.health()
            identity = await self.cluster.identity()
        except ClusterFailure as error:
            self.reachable, self.trouble = False, error.message
            return False
        self.reachable, self.trouble = True, ""
        self.cluster_id, self.ray_version = identity.cluster_id, identity.ray_version
        return True

    def proof_of_death(self, attempt_id: str, unknown_since: datetime | None, now: datetime, rate: float) -> str:
        """Why no process of the attempt can exist any more, or '' while there is no proof (INV-02)."""
        if self.living is not None and (alive := self.living()) is not None:
            return "" if attempt_id in alive else "no process of it is left on the machine"
        if unknown_since is None or not self.reachable:
            return ""
        silent_s = (now - unknown_since).total_seconds() / rate
        if silent_s < self.settings.fence_s:
            return ""
        return f"its runner ends itself when its cluster has gone, and {silent_s:.0f} s have passed"
