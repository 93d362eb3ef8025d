"""The sites as the settings declare them, in the store: what their attempts are added up against."""

from collections.abc import Iterable

from sqlalchemy import Connection, insert, select

from lowtide.scheduler.model.site import Site
from lowtide.scheduler.store import tables as t


def declare(connection: Connection, sites: Iterable[Site]) -> None:
    """Write down what each site is now; one that is known by name is changed."""
    for site in sites:
        values = {"zone": site.zone, "gpus": site.gpus, "cpus": site.cpus, "jurisdiction": site.jurisdiction}
        known = connection.execute(select(t.site.c.name).where(t.site.c.name == site.name)).first()
        if known:
            connection.execute(t.site.update().where(t.site.c.name == site.name).values(**values))
        else:
            connection.execute(insert(t.site).values(name=site.name, **values))
