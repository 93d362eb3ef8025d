"""The pools of each site as the configuration said at the last start; the capacity guard reads them (INV-07)."""

from sqlalchemy import Connection, delete, insert

from lowtide.scheduler.model.site import Site
from lowtide.scheduler.store.tables import pool


def settle(connection: Connection, site: Site) -> None:
    """Write down what pools a site has now, in place of those that it had."""
    connection.execute(delete(pool).where(pool.c.site == site.name))
    for one in site.pools:
        connection.execute(insert(pool).values(site=site.name, name=one.name, gpus=one.gpus, cpus=one.cpus))
