"""Which sites lack data of a job, and what bringing it there takes by the settings."""

from lowtide.scheduler.model.data import BYTES_PER_GB, Data, Transfer, TransferPart
from lowtide.scheduler.model.job import JobSpec
from lowtide.scheduler.settings import Settings

BITS_PER_BYTE = 8
BITS_PER_GBIT = 1e9


def transfers(spec: JobSpec, settings: Settings) -> tuple[Transfer, ...]:
    """For each configured site that lacks some of the data, what would be brought there, one part after the other.

    Each part travels as fast as the slower of its two ends. An end that is not configured does not slow it down.
    """
    if not spec.data:
        return ()
    speeds = {site.name: site.transfer_gbit_per_s * BITS_PER_GBIT for site in settings.sites}
    found = []
    for name, speed in speeds.items():
        lacking = [one for one in spec.data if one.site != name]
        lasts_s = sum(one.size_bytes * BITS_PER_BYTE / min(speed, speeds.get(one.site, speed)) for one in lacking)
        if lacking:
            found.append(Transfer(name, lasts_s, tuple(_part(one, settings) for one in lacking)))
    return tuple(found)


def _part(one: Data, settings: Settings) -> TransferPart:
    return TransferPart(one.site, one.size_bytes, one.size_bytes / BYTES_PER_GB * settings.transfer_kwh_per_gb)
